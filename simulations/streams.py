"""A reliable, ordered stream beside the datagrams, as TCP gives it, without its congestion control.

Connecting takes one round trip; a lost SYN is sent again after 1, 3, 7 ... s. What is sent goes in order; a chunk of which a
segment is lost, or that meets a cut, is sent again after 0.2 s, doubled each time, so that a stream survives a cut that is
shorter than the patience of its ends. A frozen process is still connected to by its kernel, and is silent. A process that was
killed resets its streams; a machine that is gone leaves the other end waiting.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gossipd.ids import Address
from gossipd.node.actions import Action, CloseStream, OpenStream, SendStream
from simulations.host import Host
from simulations.network import Network

SEGMENT_BYTES = 1_448
HEADER_BYTES = 40
CHANCES = 10
"""Segments of a chunk that are exposed to loss for each time-out: the rest are repaired by fast retransmission."""
RETRY_S, RETRY_MAX_S = 0.2, 60.0
CONNECT_RETRY_S = 1.0
EPHEMERAL_PORT = 50_000
GIVE_UP_S = 900.0
"""Seconds without progress after which a kernel gives up (Linux: 924 s by default)."""


Turn = Callable[[Host, Any, Any], Sequence[Action]]
"""What is done when a process gets to an input; returns what the node then wants."""


class StreamWorld(Protocol):
    """What streams need of the world."""

    now: float
    network: Network
    hosts: list[Host]

    def schedule(self, at: float, step: Callable[..., None], a: Any = None, b: Any = None, c: Any = None) -> None: ...
    def give(self, host: Host, step: Turn, a: Any, b: Any, size: int) -> None: ...


@dataclass(slots=True, eq=False)
class _End:
    """One end of a connection: whose it is, its number there, and what it has still to say."""

    host: Host
    run: int
    number: int | None = None
    unsent: deque[bytes | None] = field(default_factory=deque)
    """Chunks in order; None is the end."""
    trying: bool = False
    attempt: int = 0
    stalled_since: float = 0.0
    free_at: float = 0.0
    closed: bool = False

    @property
    def lives(self) -> bool:
        """Whether the process that it belongs to still runs."""
        return self.host.node is not None and self.host.run == self.run


@dataclass(slots=True, eq=False)
class Connection:
    """Two ends; *client* opened it."""

    client: _End
    server: _End
    deadline: float
    established: bool = False
    dead: bool = False

    def other(self, end: _End) -> _End:
        return self.server if end is self.client else self.client


class Streams:
    """All streams of a world."""

    def __init__(self, world: StreamWorld) -> None:
        self._world = world
        self._ends: dict[tuple[int, int, int], tuple[Connection, _End]] = {}
        """By host, its run, and the number that its process knows the stream by."""

    def __len__(self) -> int:
        """Return how many ends of streams are known to processes."""
        return len(self._ends)

    # ---------------------------------------------------------------------------------------- asked for by a process

    def open(self, host: Host, action: OpenStream, target: Host | None) -> None:
        """Connect; the process hears of it by `stream_opened` or `stream_closed`."""
        if target is None:
            end = _End(host, host.run, action.stream)
            self._ends[host.number, host.run, action.stream] = (Connection(end, end, 0.0, dead=True), end)
            self._world.schedule(self._world.now, self._no_route, end)
            return
        client, server = _End(host, host.run, action.stream), _End(target, target.run)
        connection = Connection(client, server, self._world.now + action.timeout_s / host.rate)
        self._ends[host.number, host.run, action.stream] = (connection, client)
        self._syn(connection, 0)

    def send(self, host: Host, action: SendStream) -> None:
        """Write; ignored when the stream is gone."""
        found = self._ends.get((host.number, host.run, action.stream))
        if found is not None and not found[1].closed:
            found[1].unsent.append(action.data)
            self._push(*found)

    def close(self, host: Host, action: CloseStream) -> None:
        """Write out what is left, then end it; the process hears no more of it."""
        found = self._ends.pop((host.number, host.run, action.stream), None)
        if found is not None:
            connection, end = found
            if not connection.established:
                connection.dead = True
                return
            end.unsent.append(None)
            self._push(connection, end)

    def reset_all(self, host: Host) -> None:
        """The process of *host* died; with its kernel still there, its streams are reset."""
        for key in [key for key in self._ends if key[0] == host.number]:
            connection, end = self._ends.pop(key)
            if host.silent:
                connection.dead = not connection.established
            else:
                self._reset(connection, end)

    # ------------------------------------------------------------------------------------------------------ connecting

    def _no_route(self, end: _End, _: object, __: object) -> None:
        self._end(end, "no route to host")

    def _syn(self, connection: Connection, attempt: int, _: object = None) -> None:
        world, client, server = self._world, connection.client, connection.server
        if connection.dead or not client.lives:
            return
        _count(client.host, server.host, HEADER_BYTES)
        there = world.network.transit(client.host.number, server.host.number, HEADER_BYTES, world.now)
        back = there
        if there < math.inf:
            back = world.network.transit(server.host.number, client.host.number, HEADER_BYTES, there)
        if back < math.inf:
            world.schedule(there, self._syn_arrived, connection, back, attempt)
        else:
            self._syn_again(connection, attempt)

    def _syn_again(self, connection: Connection, attempt: int) -> None:
        again = self._world.now + CONNECT_RETRY_S * 2**attempt
        if again < connection.deadline:
            self._world.schedule(again, self._syn, connection, attempt + 1)
        else:
            self._world.schedule(connection.deadline, self._give_up, connection)

    def _give_up(self, connection: Connection, _: object, __: object) -> None:
        if not connection.established:
            self._end(connection.client, "connection timed out")

    def _syn_arrived(self, connection: Connection, back: float, attempt: int) -> None:
        world, server = self._world, connection.server
        host = server.host
        _count(host, connection.client.host, HEADER_BYTES)
        if host.node is None and host.silent:
            self._syn_again(connection, attempt)
        elif host.node is None:
            world.schedule(back, self._refused, connection)
        else:  # its kernel answers, whatever the process is doing
            server.run = host.run
            connection.established = True
            world.schedule(back, self._syn_ack_arrived, connection)
            world.give(host, self._accept, connection, None, HEADER_BYTES)

    def _refused(self, connection: Connection, _: object, __: object) -> None:
        self._end(connection.client, "connection refused")

    def _syn_ack_arrived(self, connection: Connection, _: object, __: object) -> None:
        client = connection.client
        if client.lives and not connection.dead:
            self._world.give(client.host, self._opened, connection, None, HEADER_BYTES)

    # ---------------------------------------------------------------------------------------------------- what is sent

    def _push(self, connection: Connection, end: _End) -> None:
        if not end.trying and connection.established:
            end.stalled_since = self._world.now
            self._try(connection, end)

    def _try(self, connection: Connection, end: _End, _: object = None) -> None:
        """Send chunks until one is lost; then again a little later."""
        world, peer = self._world, connection.other(end)
        end.trying = False
        while end.unsent and not connection.dead:
            data = end.unsent[0]
            size = 0 if data is None else len(data)
            segments = max(1, -(-size // SEGMENT_BYTES))
            sent = size + HEADER_BYTES * segments
            _count(end.host, peer.host, sent)
            _count(peer.host, end.host, HEADER_BYTES * -(-segments // 2))
            at = world.network.transit(end.host.number, peer.host.number, sent, world.now)
            for _ in range(min(CHANCES, segments) - 1):
                if at < math.inf and world.network.transit(end.host.number, peer.host.number, 0, world.now) == math.inf:
                    at = math.inf
            if at == math.inf:
                if world.now - end.stalled_since > GIVE_UP_S:
                    self._reset(connection, end)
                    return
                end.trying = True
                wait_s = min(RETRY_MAX_S, RETRY_S * 2.0**end.attempt)
                end.attempt += 1
                world.schedule(world.now + wait_s, self._try, connection, end)
                return
            end.attempt = 0
            end.stalled_since = world.now
            end.unsent.popleft()
            at = end.free_at = max(at, end.free_at + 1e-9)
            world.schedule(at, self._arrived, connection, end, data)

    def _arrived(self, connection: Connection, end: _End, data: bytes | None) -> None:
        """What *end* sent is at the other end's kernel."""
        peer = connection.other(end)
        host = peer.host
        if connection.dead:
            return
        if not peer.lives:
            if host.node is not None or not host.silent:
                self._reset(connection, peer)
        elif data is None:
            self._end(peer, None)
        else:
            self._world.give(host, self._data, peer, data, len(data))

    def _reset(self, connection: Connection, by: _End) -> None:
        """*by* ends the connection at once; the other end hears of it if a packet can reach it."""
        connection.dead = True
        peer = connection.other(by)
        at = self._world.network.transit(by.host.number, peer.host.number, HEADER_BYTES, self._world.now)
        if at < math.inf:
            self._world.schedule(at, self._reset_arrived, peer)

    def _reset_arrived(self, peer: _End, _: object, __: object) -> None:
        self._end(peer, "connection reset by peer")

    def _end(self, end: _End, error: str | None) -> None:
        """The kernel of *end* knows that it is over; its process is told in its turn."""
        if end.lives:
            self._world.give(end.host, self._closed, end, error, HEADER_BYTES)

    # ------------------------------------------------------------------------------------ when the process gets to it

    def _accept(self, host: Host, connection: Connection, _: object) -> Sequence[Action]:
        assert host.node is not None
        source = Address(connection.client.host.address.host, EPHEMERAL_PORT)
        number, actions = host.node.accept_stream(source, now=host.clock(self._world.now))
        server = connection.server
        if number is None:
            server.closed = True
            self._reset(connection, server)
        else:
            server.number = number
            self._ends[host.number, host.run, number] = (connection, server)
        return actions

    def _opened(self, host: Host, connection: Connection, _: object) -> Sequence[Action]:
        assert host.node is not None
        number = connection.client.number
        if (host.number, host.run, number) not in self._ends or number is None:
            return ()  # the process has closed it meanwhile
        return host.node.stream_opened(number, now=host.clock(self._world.now))

    def _data(self, host: Host, end: _End, data: bytes) -> Sequence[Action]:
        assert host.node is not None
        if end.number is None or end.closed:
            return ()
        return host.node.receive_stream(end.number, data, now=host.clock(self._world.now))

    def _closed(self, host: Host, end: _End, error: str | None) -> Sequence[Action]:
        assert host.node is not None
        if end.number is None or self._ends.pop((host.number, host.run, end.number), None) is None:
            return ()
        end.closed = True
        return host.node.stream_closed(end.number, now=host.clock(self._world.now), error=error)


def _count(source: Host, target: Host, size: int) -> None:
    source.traffic.stream_bytes_out += size
    target.traffic.stream_bytes_in += size
