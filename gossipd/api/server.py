"""The Unix socket: who is connected, and moving bytes without waiting for anyone.

What is said is decided in `conversation`; each client is attended to in `connection`.
"""

import errno
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

import trio

from gossipd.api.backlog import Backlog
from gossipd.api.connection import ClientRow, Connection, send_if_possible
from gossipd.api.dispatch import Answers, Counters
from gossipd.api.encoding import JSON
from gossipd.api.socketfile import SocketFile
from gossipd.api.watches import Watches
from gossipd.core.events import Event
from gossipd.errors import ConfigError, StorageError
from gossipd.limits import API_CONNECTIONS_MAX, API_UNREAD_BYTES_MAX
from gossipd.node.view import Commands, View

PATH_BYTES_MAX = 107
"""Linux keeps the path of a Unix socket in 108 bytes, the last of them 0."""

FLUSH_INTERVAL_S = 0.01
"""Between two looks at what changed: the first is at once, a burst shares the next."""

ACCEPT_RETRY_S = 0.1
"""Before accepting again when the process or the system is out of file descriptors."""


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
        self._clients: dict[int, Connection] = {}
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
        most = min(API_CONNECTIONS_MAX, os.sysconf("SC_OPEN_MAX") // 2)  # the cluster needs descriptors, too
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
            if len(self._clients) >= most:
                self._refuse(accepted, most)
                continue
            number += 1
            self._counters.connections_accepted += 1
            self._counters.connections = len(self._clients) + 1
            client = Connection(
                number,
                accepted,
                answers=self._answers,
                watches=self._watches,
                counters=self._counters,
                backlog=self._backlog,
            )
            self._clients[number] = client
            nursery.start_soon(self._attend, number, client)

    async def _attend(self, number: int, client: Connection) -> None:
        try:
            await client.serve(self._commands)
        finally:
            client.close()
            self._backlog.drop(number)
            del self._clients[number]
            self._counters.connections = len(self._clients)
            self._commands.connection_lost(number, now=trio.current_time())

    def _refuse(self, accepted: socket.socket, most: int) -> None:
        """Say why in a line of JSON, whatever the client would have spoken; a frame never begins with '{'."""
        self._counters.connections_refused += 1
        message = f"{most} clients are connected, expected fewer; close one, or try again later"
        error = JSON.value({"code": "too_many_connections", "message": message})
        send_if_possible(accepted, JSON.message(None, "error", error))
        accepted.close()
