"""What the node asks of the shell: frozen values, to be performed in order. Nothing here can fail back into the node but by
`Node.stream_closed` and `Node.check_finished`; a datagram that cannot be sent is lost, as on any network."""

from dataclasses import dataclass, field

from gossipd.checks import Check
from gossipd.core.events import Event
from gossipd.ids import Address
from gossipd.records import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class SendDatagram:
    """Send *data* to each of *targets*: the same sealed bytes, each receiver sees them once."""

    data: bytes = field(repr=False)
    targets: tuple[Address, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStream:
    """Connect to *target* within *timeout_s*; then report `stream_opened(stream)`, or `stream_closed(stream, error=...)`.

    Streams that peers open get their number from `Node.accept_stream`.
    """

    stream: int
    target: Address
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SendStream:
    """Write *data* to *stream*; ignored when the stream is gone."""

    stream: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseStream:
    """Write out what was sent, then close *stream*; no `stream_closed` follows."""

    stream: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Log *event*, tell the watchers, persist what it says must be."""

    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCheck:
    """Try *check* of *service*, which is reached at *host* from here, within the check's time-out; then report
    `check_finished(run, result)`, once, unless it was cancelled."""

    run: int
    check: Check
    service: Service
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelCheck:
    """Nobody waits for *run* any more: no `check_finished` follows; ignored when it is over."""

    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchPid:
    """Report `pid_exited(pid)` when process *pid* ends, or at once if there is none."""

    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnwatchPid:
    """Nobody waits for *pid* any more; ignored when it is not watched."""

    pid: int


Action = SendDatagram | OpenStream | SendStream | CloseStream | Publish | RunCheck | CancelCheck | WatchPid | UnwatchPid
