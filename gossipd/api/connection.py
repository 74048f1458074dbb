"""One client on its socket: a reader that has done what is asked, a writer that sends what could not be sent at once.

What is said is decided in `conversation`. Sockets are non-blocking, so that a request read is mostly answered in the same
step of the loop.
"""

import select
import socket
import struct
from dataclasses import dataclass
from math import inf
from typing import assert_never

import trio

from gossipd.api.backlog import Backlog
from gossipd.api.conversation import Asked, Conversation
from gossipd.api.dispatch import Answers, Caller, Counters
from gossipd.api.encoding import RequestId
from gossipd.api.kept import AGE_STALE_S
from gossipd.api.requests import Join, Leave, Wait
from gossipd.api.watches import Watches
from gossipd.errors import RequestError
from gossipd.node.view import Commands

READ_BYTES = 64 * 1024
"""Read from a client at once."""

STALL_S = 30.0
"""A client that is owed answers and takes not a byte for so long, or leaves a message half sent, is closed. Watching
without reading is harmless (`watches`) and may go on."""

LINGER_S = 2.0
"""After the last words to a client that broke the framing, its input is read and thrown away for so long, so that it
gets to read them."""

GONE_LOOK_S = 0.25
"""Between two looks whether a client that waits, and has sent or ended more than its request, is still there."""


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


class Connection:
    """Of *accepted*, which it closes at the end; *number* is its name."""

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
        self._answers = answers
        self._watches = watches
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
        self._stirred = trio.Event()
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
        self._conversation.close(reason="closed", now=trio.current_time())
        last, _ = self._conversation.output(now=trio.current_time())
        send_if_possible(self._socket, bytes(self._unsent) + last)
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
        said.close(reason="closed", now=trio.current_time())
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
        if not self._send():  # what was answered before does not wait
            self._rouse()
        said = self._conversation
        try:
            match asked.request:
                case Join():
                    said.reply(asked.id, {"joined": await commands.join(asked.request.targets)})
                case Leave():
                    await commands.leave()
                    said.reply(asked.id, {})
                case Wait():
                    await self._wait(asked.id, asked.request)
                case _:
                    assert_never(asked.request)
        except RequestError as error:
            said.fail(asked.id, error)

    async def _wait(self, id: RequestId, request: Wait) -> None:
        """Answer when enough is ready, or say why not; if the client goes, nothing. Raises: RequestError."""
        answer: bytes | RequestError | None = None
        with self._watches.waiting(request.resolve.service, self._stir, now=trio.current_time()):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._notice_end, nursery.cancel_scope)
                answer = await self._until_ready(request)
                nursery.cancel_scope.cancel()
        if isinstance(answer, RequestError):
            raise answer
        if answer is not None:
            self._conversation.reply_encoded(id, answer)

    async def _until_ready(self, request: Wait) -> bytes | RequestError:
        """Return the result of *request*, or when its time is over what was missing."""
        encoding, unmet = self._conversation.encoding, None
        look_again_s = inf if request.resolve.demand is None else AGE_STALE_S  # ages change without an event
        with trio.move_on_after(request.timeout_s):
            while True:
                self._stirred = trio.Event()  # before looking, or a change in between is lost
                try:
                    result = self._answers.waited(request, encoding=encoding, now=trio.current_time())
                    unmet = None
                except RequestError as error:
                    result, unmet = None, error
                if result is not None:
                    return result
                with trio.move_on_after(look_again_s):
                    await self._stirred.wait()
        return self._answers.waited_in_vain(request, unmet, now=trio.current_time())

    def _stir(self) -> None:
        self._stirred.set()

    async def _notice_end(self, waiting: trio.CancelScope) -> None:
        """Cancel *waiting* when the client has gone. One that has only ended its own side hears its answer."""
        await trio.lowlevel.wait_readable(self._socket)
        poll = select.poll()
        poll.register(self._socket, 0)  # for POLLHUP, which needs no asking
        while not poll.poll(0):
            await trio.sleep(GONE_LOOK_S)
        waiting.cancel()

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


def send_if_possible(to: socket.socket, data: bytes) -> None:
    try:
        to.send(data)
    except OSError:
        return
