"""The Unix socket: who is connected, and moving bytes without waiting for anyone.

What is said is decided in `conversation`. Each client has one reader and one writer; sockets are non-blocking, so that
a request read is mostly answered in the same step of the loop.
"""

import errno
import os
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf

import trio

from gossipd.api.backlog import Backlog
from gossipd.api.conversation import Asked, Conversation
from gossipd.api.dispatch import Answers, Caller, Counters
from gossipd.api.encoding import JSON
from gossipd.api.requests import Join
from gossipd.api.socketfile import SocketFile
from gossipd.api.watches import Watches
from gossipd.core.events import Event
from gossipd.errors import ConfigError, RequestError, StorageError
from gossipd.limits import API_CONNECTIONS_MAX, API_UNREAD_BYTES_MAX
from gossipd.node.view import Commands, View

PATH_BYTES_MAX = 107
"""Linux keeps the path of a Unix socket in 108 bytes, the last of them 0."""

READ_BYTES = 64 * 1024
"""Read from a client at once."""

STALL_S = 30.0
"""A client that is owed answers and takes not a byte for so long, or leaves a message half sent, is closed. Watching
without reading is harmless (`watches`) and may go on."""

LINGER_S = 2.0
"""After the last words to a client that broke the framing, its input is read and thrown away for so long, so that it
gets to read them."""

FLUSH_INTERVAL_S = 0.01
"""Between two looks at what changed: the first is at once, a burst shares the next."""

ACCEPT_RETRY_S = 0.1
"""Before accepting again when the process or the system is out of file descriptors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end, as the kernel saw it when it connected."""

    pid: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRow:
    """One connection, for the log and for tests."""

    connection: int
    peer: Peer
    registered: tuple[str, ...]
    watches: int
    held_events: int


class ApiServer:
    """The local door at *path*; *shell* gives the counters that `statistics` answers under that name.

    Raises: ConfigError if *path* does not fit a socket address.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        view: View,
        commands: Commands,
        mode: int = 0o660,
        shell: Callable[[], Mapping[str, object]] = dict,
        unread_bytes_max: int = API_UNREAD_BYTES_MAX,
    ) -> None:
        self._path = os.fspath(path)
        size = len(os.fsencode(self._path))
        if not 0 < size <= PATH_BYTES_MAX:
            raise ConfigError(f"socket path {self._path!r} has {size} bytes, expected 1 to {PATH_BYTES_MAX}")
        self._mode = mode
        self._commands = commands
        self._counters = Counters()
        self._answers = Answers(view=view, commands=commands, statistics=self.statistics, shell=shell)
        self._watches = Watches(view=view, answers=self._answers, counters=self._counters)
        self._backlog = Backlog(unread_bytes_max)
        self._clients: dict[int, _Client] = {}
        self._published = trio.Event()

    def publish(self, events: Sequence[Event]) -> None:
        """Tell the watchers that *events* happened: they are noted now and told within FLUSH_INTERVAL_S. Never
        waits."""
        if self._watches.note(events):
            self._published.set()

    def statistics(self) -> dict[str, int]:
        """Return the counters of this socket, by name."""
        return asdict(self._counters)

    def clients(self) -> list[ClientRow]:
        """Return who is connected, in the order of arrival."""
        return [client.row() for client in self._clients.values()]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, then remove the socket; started once clients can connect.

        Raises: StorageError if the socket cannot be had; nothing was changed.
        """
        try:
            file = SocketFile(self._path, mode=self._mode)
        except OSError as error:
            raise StorageError(f"cannot listen on {self._path}: {error.strerror or error}") from error
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hand_out)
                task_status.started()
                await self._accept(file.socket, nursery)
        finally:
            file.close()

    async def _hand_out(self) -> None:
        while True:
            await self._published.wait()
            self._published = trio.Event()
            self._watches.flush(now=trio.current_time())
            await trio.sleep(FLUSH_INTERVAL_S)

    async def _accept(self, listener: socket.socket, nursery: trio.Nursery) -> None:
        number = 0
        while True:
            await trio.lowlevel.wait_readable(listener)
            try:
                accepted, _ = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                continue
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                await trio.sleep(ACCEPT_RETRY_S)
                continue
            accepted.setblocking(False)
            if len(self._clients) >= API_CONNECTIONS_MAX:
                self._refuse(accepted)
                continue
            number += 1
            self._counters.connections_accepted += 1
            self._counters.connections = len(self._clients) + 1
            client = _Client(
                number,
                accepted,
                answers=self._answers,
                watches=self._watches,
                counters=self._counters,
                backlog=self._backlog,
            )
            self._clients[number] = client
            nursery.start_soon(self._attend, number, client)

    async def _attend(self, number: int, client: "_Client") -> None:
        try:
            await client.serve(self._commands)
        finally:
            client.close()
            self._backlog.drop(number)
            del self._clients[number]
            self._counters.connections = len(self._clients)
            self._commands.connection_lost(number, now=trio.current_time())

    def _refuse(self, accepted: socket.socket) -> None:
        """Say why in a line of JSON, whatever the client would have spoken; a frame never begins with '{'."""
        self._counters.connections_refused += 1
        message = f"{API_CONNECTIONS_MAX} clients are connected, expected fewer; close one, or try again later"
        error = JSON.value({"code": "too_many_connections", "message": message})
        _send_if_possible(accepted, JSON.message(None, "error", error))
        accepted.close()


class _Client:
    """One connection: its reader performs what is asked, its writer sends what could not be sent at once."""

    def __init__(
        self,
        number: int,
        accepted: socket.socket,
        *,
        answers: Answers,
        watches: Watches,
        counters: Counters,
        backlog: Backlog,
    ) -> None:
        self._number = number
        self._backlog = backlog
        self._ended = trio.CancelScope()
        self._socket = accepted
        self._peer = _peer_of(accepted)
        self._counters = counters
        caller = Caller(connection=number, pid=self._peer.pid, uid=self._peer.uid)
        self._conversation = Conversation(
            caller, answers=answers, watches=watches, counters=counters, on_output=self._rouse
        )
        self._news = trio.Event()
        self._sent = trio.Event()
        self._unsent = memoryview(b"")
        self._owes = False
        self._stall = trio.CancelScope()

    def row(self) -> ClientRow:
        said = self._conversation
        return ClientRow(
            connection=said.caller.connection,
            peer=self._peer,
            registered=tuple(sorted(said.registered)),
            watches=said.watches,
            held_events=said.held_events,
        )

    async def serve(self, commands: Commands) -> None:
        """Return when the client has gone, or has been told why it must."""
        with self._ended:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, nursery.cancel_scope)
                await self._read(commands)
                nursery.cancel_scope.cancel()

    def close(self) -> None:
        """Say what can be said without waiting, the ends of watches included, and close."""
        self._conversation.close(reason="closed")
        last, _ = self._conversation.output(now=trio.current_time())
        _send_if_possible(self._socket, bytes(self._unsent) + last)
        self._socket.close()

    async def _read(self, commands: Commands) -> None:
        said = self._conversation
        deadline = inf
        while not said.broken:
            with trio.CancelScope(deadline=deadline) as patience:
                await trio.lowlevel.wait_readable(self._socket)
            if patience.cancelled_caught:
                self._counters.connections_stalled += 1
                said.break_off(f"{said.half_bytes} bytes of a message, and no end of it within {STALL_S:g} s")
                break
            try:
                data = self._socket.recv(READ_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                return
            half_before, taken_before = said.half_bytes, said.taken
            said.receive(data)
            if not data:
                said.finish()
            await self._answer(commands)
            if not data:
                break
            if not said.half_bytes:
                deadline = inf
            elif said.taken > taken_before or not half_before:
                deadline = trio.current_time() + STALL_S
        said.close(reason="closed")
        await self._drain()
        if said.broken:
            await self._linger()

    async def _answer(self, commands: Commands) -> None:
        """Answer all that was read; wait for the client to read answers when too many are waiting."""
        said = self._conversation
        while True:
            asked = said.work(now=trio.current_time())
            if asked is not None:
                await self._perform(asked, commands)
            if not self._send():
                self._expect_progress(anew=False)
                self._rouse()
            if asked is None:
                if not said.waiting:
                    return
                if said.full:
                    await self._drain()
                await trio.lowlevel.checkpoint()

    async def _perform(self, asked: Asked, commands: Commands) -> None:
        self._send()  # what was answered before does not wait
        try:
            if isinstance(asked.request, Join):
                joined = await commands.join(asked.request.targets)
                self._conversation.reply(asked.id, {"joined": joined})
            else:
                await commands.leave()
                self._conversation.reply(asked.id, {})
        except RequestError as error:
            self._conversation.fail(asked.id, error)

    async def _drain(self) -> None:
        """Return when every answer is sent; the writer sees to it that this ends."""
        while self._owes or self._conversation.owes_replies:
            self._sent = trio.Event()
            self._rouse()
            await self._sent.wait()

    async def _write(self, connection: trio.CancelScope) -> None:
        while True:
            self._news = trio.Event()  # before looking, or news in between is lost
            if self._send():
                self._sent.set()
                await self._news.wait()
                continue
            with trio.CancelScope() as self._stall:
                self._expect_progress(anew=True)
                await trio.lowlevel.wait_writable(self._socket)
            if self._stall.cancelled_caught:
                self._counters.connections_stalled += 1
                connection.cancel()
                return

    def _send(self) -> bool:
        """Send what fits now; return whether nothing is left. A client that has gone takes everything."""
        read = False
        while True:
            if not self._unsent:
                data, self._owes = self._conversation.output(now=trio.current_time())
                if not data:
                    self._backlog.drop(self._number)
                    return True
                self._unsent = memoryview(data)
            try:
                count = self._socket.send(self._unsent)
                read = True
            except BlockingIOError:
                self._backlog.hold(self._number, len(self._unsent), read=read, close=self._give_up)
                return False
            except OSError:  # the reader learns the same, and ends the connection
                count = len(self._unsent)
            self._unsent = self._unsent[count:]
            self._expect_progress(anew=True)

    def _give_up(self) -> None:
        """Others need the room that this client's unread bytes take."""
        self._counters.connections_stalled += 1
        self._ended.cancel()

    def _expect_progress(self, *, anew: bool) -> None:
        """Set until when the writer waits: for ever while only events are held; *anew* if something was just taken."""
        if not (self._owes or self._conversation.owes_replies):
            self._stall.deadline = inf
        elif anew or self._stall.deadline == inf:
            self._stall.deadline = trio.current_time() + STALL_S

    def _rouse(self) -> None:
        self._news.set()

    async def _linger(self) -> None:
        """Throw away what the client still sends, so that closing does not cost it our last words."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
            with trio.move_on_after(LINGER_S):
                while True:
                    await trio.lowlevel.wait_readable(self._socket)
                    if not self._socket.recv(READ_BYTES):
                        return
        except OSError:
            return


def _peer_of(accepted: socket.socket) -> Peer:
    credentials = struct.Struct("3i")
    pid, uid, gid = credentials.unpack(accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size))
    return Peer(pid=pid, uid=uid, gid=gid)


def _send_if_possible(to: socket.socket, data: bytes) -> None:
    try:
        to.send(data)
    except OSError:
        return
