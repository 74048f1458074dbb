"""TCP: accept, connect, read, write, close. Numbers and bytes go to a `StreamFeed`; what they mean is the node's.

A stream belongs to the node until the node closes it, or is told that it closed. After that it only lingers here, to
write out what was sent: the sending side is shut first and the peer's end awaited, because closing with unread bytes
would make the kernel throw away what the peer has not read yet. Reading never waits for our own writing: two peers that
both had much to say would wait for each other. What waits to be written is bounded instead, for each stream and in all.
"""

import errno
import math
import os
import socket
from collections import Counter, deque
from collections.abc import Sequence
from typing import Protocol

import trio

from gossipd.ids import Address
from gossipd.limits import STREAM_BYTES_MAX, STREAMS_INBOUND_MAX, STREAMS_OUTBOUND_MAX
from gossipd.shell import addresses
from gossipd.shell.log import Log

READ_BYTES = 65_536
"""Most bytes taken from a stream before others have their turn: one sealed frame."""

WAITING_BYTES_MAX = 2 * STREAM_BYTES_MAX
"""Bytes waiting to be written on all streams together: 64 MiB, two full states of the largest cluster."""

LINGERING_MAX = STREAMS_INBOUND_MAX + STREAMS_OUTBOUND_MAX
"""Streams that the node has closed and that still write out; past it a new one is cut off at once instead."""

FLUSH_S = 30.0
"""Most seconds to write out a closed stream, however slowly its peer reads."""

LINGER_S = 2.0
"""Seconds that a peer has to close its end after we closed ours."""

ACCEPT_PAUSE_MIN_S, ACCEPT_PAUSE_MAX_S = 0.005, 1.0
"""Pause after a failed accept, doubled each time until one succeeds (memberlist's)."""


class StreamFeed(Protocol):
    """Who owns the streams: the driver."""

    def accept_stream(self, source: Address) -> int | None:
        """Return the number of a stream that *source* opened, or None to refuse it."""

    def stream_opened(self, stream: int) -> None: ...

    def receive_stream(self, stream: int, data: bytes) -> None: ...

    def stream_closed(self, stream: int, *, error: str | None) -> None: ...


class _Connection:
    """One TCP connection; *owned* while the node knows its *number*."""

    def __init__(self, number: int, *, connected: bool) -> None:
        self.number = number
        self.owned = True
        self.connected = connected
        self.scope = trio.CancelScope()
        self.waiting: deque[bytes] = deque()
        self.waiting_bytes = 0
        self.wake = trio.Event()


class Streams:
    """The TCP *listeners*, bound and non-blocking, which become ours to close, and every connection.

    *write_timeout_s*: how long a peer may take no byte before the stream has failed.
    """

    def __init__(self, listeners: Sequence[socket.socket], *, write_timeout_s: float, log: Log) -> None:
        self._listeners = list(listeners)
        self._write_timeout_s = write_timeout_s
        self._log = log
        self._connections: dict[int, _Connection] = {}
        self._lingering = 0
        self._waiting_bytes = 0
        self._feed: StreamFeed | None = None
        self._nursery: trio.Nursery | None = None
        self.accept_errors: Counter[str] = Counter()
        self.overflows = 0
        """Streams ended because more waited to be written than the limits allow."""

    async def run(self, feed: StreamFeed, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve *feed* until cancelled; then close everything. Started: `open` may be called."""
        self._feed = feed
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for listener in self._listeners:
                    nursery.start_soon(self._accept, trio.socket.from_stdlib_socket(listener), feed)
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self.close_listeners()

    def close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()

    def open(self, number: int, target: Address, *, timeout_s: float) -> None:
        """Connect to *target*; `stream_opened` or `stream_closed` of *number* follows, later and from another task."""
        assert self._nursery is not None, "not running"
        assert self._feed is not None
        connection = self._add(number, connected=False)
        self._nursery.start_soon(self._connect, connection, target, timeout_s, self._feed)

    def send(self, number: int, data: bytes) -> None:
        """Write *data* when the peer takes it; ignored if there is no stream *number*. Too much ends the stream."""
        connection = self._connections.get(number)
        if connection is None or not connection.owned:
            return
        over = connection.waiting_bytes + len(data) > STREAM_BYTES_MAX
        if over or self._waiting_bytes + len(data) > WAITING_BYTES_MAX:
            self.overflows += 1
            connection.scope.cancel()  # its task reports stream_closed, because the stream is still owned
            return
        connection.waiting.append(data)
        connection.waiting_bytes += len(data)
        self._waiting_bytes += len(data)
        connection.wake.set()

    def close(self, number: int) -> None:
        """Write out what was sent, then close; ignored if there is no stream *number*. No `stream_closed` follows."""
        connection = self._connections.get(number)
        if connection is None or not connection.owned:
            return
        self._disown(connection)
        self._lingering += 1
        if self._lingering > LINGERING_MAX or not connection.connected:
            connection.scope.cancel()
        else:
            connection.scope.deadline = trio.current_time() + FLUSH_S
            connection.wake.set()

    def _add(self, number: int, *, connected: bool) -> _Connection:
        assert len(self._connections) < STREAMS_INBOUND_MAX + STREAMS_OUTBOUND_MAX, "the node keeps to both limits"
        assert number not in self._connections, number
        connection = self._connections[number] = _Connection(number, connected=connected)
        return connection

    def _disown(self, connection: _Connection) -> None:
        """The node is done with *connection*: nothing more is reported for its number."""
        connection.owned = False
        del self._connections[connection.number]

    async def _accept(self, listener: trio.socket.SocketType, feed: StreamFeed) -> None:
        pause_s = ACCEPT_PAUSE_MIN_S
        while True:
            try:
                accepted, sockaddr = await listener.accept()
            except OSError as error:
                self.accept_errors[errno.errorcode.get(error.errno or 0, "unknown")] += 1
                if error.errno != errno.ECONNABORTED:  # gone before we looked: nobody's trouble
                    self._log.warning("streams cannot be accepted", error=error)
                    await trio.sleep(pause_s)
                    pause_s = min(2 * pause_s, ACCEPT_PAUSE_MAX_S)
                continue
            pause_s = ACCEPT_PAUSE_MIN_S
            number = feed.accept_stream(addresses.from_sockaddr(sockaddr))
            if number is None:
                accepted.close()
                continue
            connection = self._add(number, connected=True)
            assert self._nursery is not None
            self._nursery.start_soon(self._serve, connection, accepted, feed)

    async def _connect(self, connection: _Connection, target: Address, timeout_s: float, feed: StreamFeed) -> None:
        opened: trio.socket.SocketType | None = None
        error = ""
        try:
            kind, sockaddr = addresses.to_sockaddr(target)
            opened = trio.socket.socket(kind, socket.SOCK_STREAM)
            with connection.scope, trio.move_on_after(timeout_s) as patience:
                await opened.connect(sockaddr)
            if patience.cancelled_caught:
                error = f"no answer within {timeout_s:g} s"
            elif connection.scope.cancelled_caught:
                error = "closed before it was open"
        except OSError as failure:
            error = _reason(failure)
        except ValueError as failure:
            error = str(failure)
        if error or not connection.owned:
            self._end(connection, opened, feed, error)
            return
        assert opened is not None
        connection.connected = True
        connection.scope = trio.CancelScope()  # the former one has been left
        feed.stream_opened(connection.number)
        await self._serve(connection, opened, feed)

    async def _serve(self, connection: _Connection, peer: trio.socket.SocketType, feed: StreamFeed) -> None:
        """Move bytes both ways until the peer or the node is done with *connection*."""
        error: str | None = "more waits to be written than the limit allows"  # why else would the scope be cancelled
        try:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write, connection, peer)
                    await self._read(connection, peer, feed)
                    nursery.cancel_scope.cancel()
                error = None
        except* OSError as failures:
            error = _reason(failures.exceptions[0])
        finally:
            self._end(connection, peer, feed, error)

    async def _read(self, connection: _Connection, peer: trio.socket.SocketType, feed: StreamFeed) -> None:
        """Hand what arrives to *feed* until the peer ends; once the node is done with the stream, to nobody."""
        while data := await peer.recv(READ_BYTES):
            if connection.owned:
                feed.receive_stream(connection.number, data)

    async def _write(self, connection: _Connection, peer: trio.socket.SocketType) -> None:
        while True:
            while connection.waiting:
                rest = memoryview(connection.waiting[0])
                while rest:
                    with trio.move_on_after(self._write_timeout_s) as patience:
                        rest = rest[await peer.send(rest) :]
                    if patience.cancelled_caught:
                        raise TimeoutError(f"took no byte for {self._write_timeout_s:g} s")
                self._forget_waiting(connection)
            if not connection.owned:
                peer.shutdown(socket.SHUT_WR)
                connection.scope.deadline = min(connection.scope.deadline, trio.current_time() + LINGER_S)
                return
            connection.wake = trio.Event()
            await connection.wake.wait()

    def _forget_waiting(self, connection: _Connection) -> None:
        size = len(connection.waiting.popleft())
        connection.waiting_bytes -= size
        self._waiting_bytes -= size

    def _end(
        self, connection: _Connection, peer: trio.socket.SocketType | None, feed: StreamFeed, error: str | None
    ) -> None:
        """Close the socket, and tell the node unless it knows."""
        if peer is not None:
            peer.close()
        self._waiting_bytes -= connection.waiting_bytes
        connection.waiting.clear()
        if not connection.owned:
            self._lingering -= 1
            return
        self._disown(connection)
        if trio.current_effective_deadline() > -math.inf:  # else the daemon itself is ending
            feed.stream_closed(connection.number, error=error or None)


def _reason(error: BaseException) -> str:
    """Return the system's words for *error*, in lower case: "connection refused"; or our own."""
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if number else str(error)
