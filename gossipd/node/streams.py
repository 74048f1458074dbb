"""Streams: what needs more than a datagram. A sync or a fetch of records, or a ping where datagrams may be blocked.

Bytes are cut into sealed frames; each conversation is a machine of `core.sync`. Every stream has a deadline that progress moves,
and a cap on the bytes in each direction.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gossipd.core.deadlines import Deadlines
from gossipd.core.events import TO_OURSELVES, SyncFinished
from gossipd.core.sync.session import SyncFetcher, SyncStep
from gossipd.errors import MalformedPacket, OversizedPacket, OwnStream, PeerError
from gossipd.ids import Address, NodeId
from gossipd.limits import STREAM_BYTES_MAX, STREAM_FRAME_BYTES_MAX, STREAMS_INBOUND_MAX, STREAMS_OUTBOUND_MAX
from gossipd.node.actions import Action, CloseStream, OpenStream, Publish, SendStream
from gossipd.node.counters import Counters
from gossipd.records import Claim, Record
from gossipd.wire.codec import decode_stream_untrusted, encode_message, join_envelope
from gossipd.wire.frames import FrameReader, frame
from gossipd.wire.messages import Ack, Ping, StreamMessage

Item = Claim | Record


class Seal(Protocol):
    """One end of a stream's sealing (`crypto.seal`)."""

    session: bytes

    def seal(self, payload: bytes) -> bytes: ...
    def open_untrusted(self, data: bytes) -> bytes: ...


class Machine(Protocol):
    """One end of a conversation (`core.sync.session`)."""

    def start(self) -> list[StreamMessage]: ...
    def receive(self, message: StreamMessage) -> SyncStep: ...

    @property
    def may_end(self) -> bool: ...


@dataclass(slots=True, kw_only=True)
class Stream:
    """One stream. *machine* None: a ping, or a peer's stream that has not said yet what it is for."""

    id: int
    address: Address
    by_us: bool
    seal: Seal
    machine: Machine | None
    reader: FrameReader
    ping: Ping | None = None
    peer: NodeId | None = None
    """Who is at the other end; None until it has said something authentic."""
    to_ourselves: bool = False
    """Whether its opening frame came in at ourselves. Anybody who saw the frame can do that, so it ends nothing by itself."""
    answered: bool = False
    lonely: bool = False
    """Whether we knew nobody when it began: what it teaches us is no news to anybody."""
    changed: bool = False
    """Whether it changed anything here."""
    items_received: int = 0
    items_sent: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0


Merge = Callable[[Sequence[Item], Stream], None]
"""Takes in the items that a stream brought."""


class Streams:
    """The streams that are open: at most STREAMS_INBOUND_MAX of peers and STREAMS_OUTBOUND_MAX of ours."""

    def __init__(
        self,
        *,
        me: NodeId,
        timeout_s: float,
        counters: Counters,
        initiator: Callable[[], Seal],
        acceptor: Callable[[], Seal],
        answer: Callable[[StreamMessage], Machine],
        sent: Callable[[int], None],
    ) -> None:
        """*answer* makes the machine for a stream that a peer opened, from its first message; *sent* hears of bytes."""
        self._me = me
        self._timeout_s = timeout_s
        self._counters = counters
        self._initiator = initiator
        self._acceptor = acceptor
        self._answer = answer
        self._sent = sent
        self._open: dict[int, Stream] = {}
        self._deadlines: Deadlines[int] = Deadlines()
        self._next_id = 0

    @property
    def syncing(self) -> bool:
        """Whether a sync or a fetch is under way, ours or a peer's, and the other end has been heard."""
        return any(stream.peer is not None and stream.ping is None for stream in self._open.values())

    def syncing_with(self, address: Address) -> bool:
        """Return whether a sync or a fetch of ours with *address* is under way."""
        return any(stream.by_us and stream.ping is None and stream.address == address for stream in self._open.values())

    def open(
        self,
        address: Address,
        *,
        machine: Machine | None,
        ping: Ping | None = None,
        lonely: bool,
        timeout_s: float,
        now: float,
    ) -> tuple[int | None, list[Action]]:
        """Open a stream for *machine* or *ping*; None when too many are open already, which is counted."""
        if sum(stream.by_us for stream in self._open.values()) >= STREAMS_OUTBOUND_MAX:
            self._counters.drop("streams_outbound")
            return None, []
        stream = self._add(address, by_us=True, seal=self._initiator(), machine=machine, now=now, timeout_s=timeout_s)
        stream.ping = ping
        stream.lonely = lonely
        self._counters.streams_opened += 1
        return stream.id, [OpenStream(stream=stream.id, target=address, timeout_s=timeout_s)]

    def accept(self, source: Address, *, now: float) -> tuple[int | None, list[Action]]:
        """Return the number of a stream that *source* opened. If too many are open, which is counted, the oldest of those
        that have said nothing authentic makes room, or strangers could hold all; None when there is none."""
        actions: list[Action] = []
        inbound = [stream for stream in self._open.values() if not stream.by_us]
        if len(inbound) >= STREAMS_INBOUND_MAX:
            self._counters.drop("streams_inbound")
            silent = next((stream for stream in inbound if stream.peer is None), None)
            if silent is None:
                return None, []
            actions = [CloseStream(stream=silent.id), *self._end(silent, error="made room for another")]
        self._counters.streams_accepted += 1
        seal = self._acceptor()
        stream = self._add(source, by_us=False, seal=seal, machine=None, now=now, timeout_s=self._timeout_s)
        return stream.id, actions

    def opened(self, id: int) -> list[Action]:
        """It is connected: begin."""
        stream = self._open.get(id)
        if stream is None:
            return []
        first: list[StreamMessage] = [] if stream.ping is None else [stream.ping]
        if stream.machine is not None:
            first = stream.machine.start()
        return self._write(stream, first)

    def receive(self, id: int, data: bytes, *, merge: Merge, now: float) -> tuple[list[Action], Stream | None]:
        """Take in bytes; return what to do, and the stream if it was a ping that is now answered.

        An unacceptable frame closes the stream and is counted; what came whole before it counts.
        """
        stream = self._open.get(id)
        if stream is None:
            return [], None
        actions: list[Action] = []
        try:
            stream.bytes_received += len(data)
            if stream.bytes_received > STREAM_BYTES_MAX:
                raise OversizedPacket(f"stream of {stream.bytes_received} bytes, expected at most {STREAM_BYTES_MAX}")
            for part in stream.reader.feed(data):
                actions += self._message(stream, stream.seal.open_untrusted(part), merge=merge)
                if id not in self._open:
                    return actions, stream if stream.answered else None
                if stream.ping is None:  # only a whole authentic frame is progress
                    self._deadlines.set(id, now + self._timeout_s)
        except OwnStream as error:
            self._counters.drop(error.reason)
            for other in self._open.values():
                other.to_ourselves = other.to_ourselves or (other.by_us and other.seal.session == error.session)
            return [CloseStream(stream=id), *self._end(stream, error=None)], None
        except PeerError as error:
            self._counters.drop(error.reason)
            actions += [CloseStream(stream=id), *self._end(stream, error=f"{error.reason}: {error}")]
            return actions, None
        return actions, None

    def closed(self, id: int, *, error: str | None) -> list[Action]:
        """The peer, or the network, ended it."""
        stream = self._open.get(id)
        if stream is None:
            return []
        if error is None and stream.machine is not None and stream.machine.may_end:
            return self._end(stream, error=None)
        if stream.to_ourselves and stream.peer is None:
            return self._end(stream, error=TO_OURSELVES)
        if stream.by_us or stream.machine is not None:
            error = error or "closed by the peer before the end: are key and cluster name the same on both sides?"
        return self._end(stream, error=error)

    def next_deadline(self) -> float:
        return self._deadlines.next()

    def handle_timer(self, *, now: float) -> list[Action]:
        """End the streams that made no progress for too long."""
        actions: list[Action] = []
        for id in self._deadlines.pop_due(now):
            actions += [CloseStream(stream=id), *self._end(self._open[id], error="timed out")]
        return actions

    def _add(
        self, address: Address, *, by_us: bool, seal: Seal, machine: Machine | None, timeout_s: float, now: float
    ) -> Stream:
        self._next_id += 1
        reader = FrameReader(STREAM_FRAME_BYTES_MAX)
        stream = Stream(id=self._next_id, address=address, by_us=by_us, seal=seal, machine=machine, reader=reader)
        self._open[stream.id] = stream
        self._deadlines.set(stream.id, now + timeout_s)
        return stream

    def _message(self, stream: Stream, payload: bytes, *, merge: Merge) -> list[Action]:
        sender, message = decode_stream_untrusted(payload)
        if stream.peer is None:
            stream.peer = sender
        elif stream.peer != sender:
            raise MalformedPacket(f"sender={sender!r}, expected {stream.peer!r} as before")
        if stream.ping is not None:
            if message != Ack(sequence=stream.ping.sequence) or sender != stream.ping.target:
                raise MalformedPacket(f"{type(message).__name__} by {sender} to a ping, expected the Ack of its target")
            stream.answered = True
            return [CloseStream(stream=stream.id), *self._end(stream, error=None)]
        if stream.machine is None:
            if isinstance(message, Ping):
                answer = [Ack(sequence=message.sequence)] if message.target == self._me else []
                return [*self._write(stream, answer), CloseStream(stream=stream.id), *self._end(stream, error=None)]
            stream.machine = self._answer(message)
        return self._step(stream, stream.machine, message, merge=merge)

    def _step(self, stream: Stream, machine: Machine, message: StreamMessage, *, merge: Merge) -> list[Action]:
        """Let the machine take *message*, merge what it brought, send what it answers."""
        step = machine.receive(message)
        if step.items:
            stream.items_received += len(step.items)
            merge(step.items, stream)
        actions = self._write(stream, step.send)
        if step.done:
            actions += [CloseStream(stream=stream.id), *self._end(stream, error=None)]
        return actions

    def _write(self, stream: Stream, messages: Sequence[StreamMessage]) -> list[Action]:
        actions: list[Action] = []
        for message in messages:
            data = frame(stream.seal.seal(join_envelope(self._me, [encode_message(message)])))
            stream.bytes_sent += len(data)
            self._sent(len(data))
            stream.items_sent += len(getattr(message, "items", ()))
            actions.append(SendStream(stream=stream.id, data=data))
        return actions

    def _end(self, stream: Stream, *, error: str | None) -> list[Action]:
        """Forget *stream*; return the event that says how its sync ended, if it was one."""
        del self._open[stream.id]
        self._deadlines.cancel(stream.id)
        failed = error is not None and error != TO_OURSELVES
        self._counters.streams_failed += failed
        if stream.machine is None and not (stream.by_us and stream.ping is None):
            return []
        event = SyncFinished(
            stream=stream.id,
            address=stream.address,
            peer=stream.peer,
            opened_by_us=stream.by_us,
            items_received=stream.items_received,
            items_sent=stream.items_sent,
            bytes_received=stream.bytes_received,
            bytes_sent=stream.bytes_sent,
            changed=stream.changed,
            fetch=isinstance(stream.machine, SyncFetcher),
            error=error,
        )
        self._counters.syncs_completed += error is None
        self._counters.syncs_failed += failed
        return [Publish(event=event)]
