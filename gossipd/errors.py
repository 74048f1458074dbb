"""Every error gossipd raises on purpose, by whose fault it is.

`ConfigError`: the operator's; `PeerError`: a peer's; `RequestError`: a local client's; `StorageError`: the disk's.
`CallError`: nobody's, perhaps: a call to an instance cannot be made now. A broken invariant of our own is an `assert`, and is
never caught.
"""

from collections.abc import Mapping
from typing import ClassVar


class GossipdError(Exception):
    """Base of every error below; never raised itself."""


class ConfigError(GossipdError):
    """A setting has a wrong value. The message names the field, the value and what was expected; nothing was started."""


class StorageError(GossipdError):
    """The data directory cannot be used (not writable, held by another daemon). Nothing was changed."""


class PeerError(GossipdError):
    """A peer sent something unacceptable. The packet is dropped and counted under `reason`; no state has changed."""

    reason: ClassVar[str] = "peer"


class MalformedPacket(PeerError):
    """The bytes are not a message of this protocol: wrong type, length, range, or bytes left over."""

    reason = "malformed"


class OversizedPacket(PeerError):
    """A datagram or frame is larger than its limit."""

    reason = "oversized"


class UnknownVersion(PeerError):
    """The first byte names a packet format that we do not speak."""

    reason = "unknown_version"


class UnknownKey(PeerError):
    """The key id belongs to no key of our keyring: another cluster, a retired key, or an unsealed packet."""

    reason = "unknown_key"


class BrokenSeal(PeerError):
    """The key id is ours but authentication failed: a forged or damaged packet."""

    reason = "broken_seal"


class ReplayedPacket(PeerError):
    """The session's counter was seen before, or is older than the replay window."""

    reason = "replayed"


class OwnStream(ReplayedPacket):
    """A stream that we opened, under *session*, came out at ourselves: a seed is one of our own addresses."""

    reason = "own_stream"

    def __init__(self, session: bytes) -> None:
        super().__init__("we opened this stream ourselves")
        self.session = session


class RequestError(GossipdError):
    """A local request cannot be carried out. Nothing has changed; `code` is stable, the message is for people.

    `details`: what else programs may want to know, in plain values.
    """

    def __init__(self, code: str, message: str, *, details: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.details: Mapping[str, object] = details or {}


class CallError(GossipdError):
    """A call to an instance cannot be made now. Nothing was sent; the message says what to do."""


class NoInstance(CallError):
    """No instance is ready to get the call."""


class TooManyCalls(CallError):
    """The limiter lets no further call through for *wait_s* seconds."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"more calls than the limiter allows: wait {wait_s:.3g} s, or raise its rate")
        self.wait_s = wait_s


class DeadlineExceeded(CallError):
    """The call's deadline has passed before an attempt began."""
