"""A small blocking client of the local socket: one request, one answer; a watch as an iterator. No threads, only the
stdlib.

Speaks lines of JSON (docs/reference/local-api.md). Meant for commands, tests and scripts.
"""

import json
import os
import socket
import stat
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

from gossipd.errors import RequestError

SYSTEM_SOCKET = "/run/gossipd/gossipd.sock"
"""Where the daemon of the host listens."""

READ_BYTES = 64 * 1024

CONNECT_RETRY_S = 0.01
"""Pause between two tries to connect to a daemon that is busy."""


def user_directory(uid: int) -> str:
    """Return the directory that holds the socket of *uid*'s own daemon where the system gives users none."""
    return f"/tmp/gossipd-{uid}"


def socket_places(environ: Mapping[str, str], *, uid: int | None = None) -> tuple[str, ...]:
    """Return where a daemon of *uid* (None: of this process) listens, followed by where else its clients look.

    GOSSIPD_SOCKET alone, if it is set. Else the user's own: for root, and for whom /run/gossipd belongs to, SYSTEM_SOCKET;
    else `gossipd.sock` in XDG_RUNTIME_DIR, if that is a directory of this user; else in `user_directory`. Then
    SYSTEM_SOCKET: who runs no daemon means the host's.
    """
    chosen = environ.get("GOSSIPD_SOCKET")
    if chosen:
        return (chosen,)
    uid = os.geteuid() if uid is None else uid
    if uid == 0:
        return (SYSTEM_SOCKET,)
    name = os.path.basename(SYSTEM_SOCKET)
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and _owner(runtime) == uid:
        return (os.path.join(runtime, name), SYSTEM_SOCKET)
    if _owner(os.path.dirname(SYSTEM_SOCKET)) == uid:
        return (SYSTEM_SOCKET,)
    return (os.path.join(user_directory(uid), name), SYSTEM_SOCKET)


def distrusted(path: str, *, uid: int | None = None) -> str | None:
    """Return why nobody of *uid* should use the socket at *path*, or None: in /tmp others may have been there first."""
    uid = os.geteuid() if uid is None else uid
    directory = os.path.dirname(path)
    if directory != user_directory(uid):
        return None
    try:
        found = os.lstat(directory)
    except OSError:
        return None
    if stat.S_ISDIR(found.st_mode) and found.st_uid == uid and not found.st_mode & 0o077:
        return None
    return f"{directory} is not trusted, expected a directory of user {uid} with mode 0700: remove it, or choose another socket"


def _owner(directory: str) -> int | None:
    """Return whom *directory* belongs to; None if it is none."""
    try:
        found = os.stat(directory)
    except (OSError, ValueError):
        return None
    return found.st_uid if stat.S_ISDIR(found.st_mode) else None


class Client:
    """A connection to the daemon at *path*, opened at its first use; *timeout_s* bounds each wait for an answer.

    *path* None: at the first of `socket_places` where one answers; `path` is then that one.

    What was registered through it without `kept` goes when it closes. Every failure is a RequestError whose code is the
    daemon's or one of: no_daemon, no_permission, timeout, disconnected, bad_answer. After those the client cannot be
    used.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, timeout_s: float = 10.0) -> None:
        self._places = socket_places(os.environ) if path is None else (os.fspath(path),)
        self.path = self._places[0]
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._buffer = bytearray()
        self._lines: deque[bytes] = deque()
        self._events: dict[int, deque[dict[str, object]]] = {}
        self._last_id = 0

    def __enter__(self) -> Self:
        self._connected()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; once more does nothing."""
        if self._socket is not None:
            self._socket.close()

    def fileno(self) -> int:
        """Return the connection's descriptor, for select: ready while nothing is asked means that the daemon has gone."""
        return self._connected().fileno()

    def call(self, method: str, /, **params: object) -> dict[str, object]:
        """Return the result of *method*. Parameters that are None are left out. Raises: RequestError."""
        id = self._ask(method, params)
        while True:
            message = self._read(self._timeout_s)
            if message.get("id") == id or ("error" in message and message.get("id") is None):
                return _result(message)
            self._put_aside(message)

    def watch(
        self,
        service: str | None = None,
        *,
        members: bool = False,
        services: bool | None = None,
        since: int | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[dict[str, object]]:
        """Yield the snapshot, then every change, until the daemon ends the watch; other calls may be made in between.

        *service*: its instances; *services*: those of all services, the default if nothing else is asked for. *since*: an
        index up to which all is known already.
        *timeout_s* bounds the wait for one event; None waits for ever. Leaving the loop ends the watch. Raises:
        RequestError.
        """
        id = self._ask("watch", {"service": service, "members": members or None, "services": services, "since": since})
        self._events[id] = deque()
        ended = False
        try:
            while not ended:
                message = self._events[id].popleft() if self._events[id] else self._read(timeout_s)
                if message.get("id") == id:
                    event = message.get("event")
                    if isinstance(event, dict):
                        yield event
                    else:
                        ended = True
                        if "error" in message:
                            _result(message)
                else:
                    self._put_aside(message)
        except RequestError:
            ended = True
            raise
        finally:
            if not ended and self._socket is not None and self._socket.fileno() >= 0:
                with suppress(RequestError):  # whatever ended the loop matters more
                    self.call("unwatch", id=id)
            del self._events[id]

    def _put_aside(self, message: dict[str, object]) -> None:
        """Keep *message* for the watch that it belongs to; what belongs to none is a watch's that ended."""
        id = message.get("id")
        if isinstance(id, int) and id in self._events:
            self._events[id].append(message)

    def _ask(self, method: str, params: Mapping[str, object]) -> int:
        self._last_id += 1
        given = {name: value for name, value in params.items() if value is not None}
        line = json.dumps({"id": self._last_id, "method": method, "params": given}).encode("ascii") + b"\n"
        connected = self._connected()
        connected.settimeout(self._timeout_s)
        try:
            connected.sendall(line)
        except TimeoutError:
            raise self._fail("timeout", f"gossipd at {self.path} does not read within {self._timeout_s:g} s") from None
        except (BrokenPipeError, ConnectionResetError):
            pass  # it said why before it closed: the answer to come
        except OSError as error:
            raise self._fail("disconnected", f"gossipd at {self.path}: {error.strerror or error}") from None
        return self._last_id

    def _read(self, timeout_s: float | None) -> dict[str, object]:
        """Return the next message, in the order of arrival."""
        connected = self._connected()
        connected.settimeout(timeout_s)
        while not self._lines:
            try:
                data = connected.recv(READ_BYTES)
            except TimeoutError:
                raise self._fail("timeout", f"gossipd at {self.path} said nothing within {timeout_s:g} s") from None
            except OSError as error:
                raise self._fail("disconnected", f"gossipd at {self.path}: {error.strerror or error}") from None
            if not data:
                raise self._fail("disconnected", f"gossipd at {self.path} closed the connection: has it stopped?")
            *lines, rest = data.split(b"\n")
            if lines:
                lines[0] = bytes(self._buffer) + lines[0]
                self._buffer.clear()
                self._lines.extend(lines)
            self._buffer += rest
        try:
            message = json.loads(self._lines.popleft())
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise self._fail("bad_answer", f"what listens at {self.path} does not speak gossipd's protocol")
        return message

    def _connected(self) -> socket.socket:
        if self._socket is None:
            for place in self._places:
                self.path = place
                self._socket = self._connect()
                if self._socket is not None:
                    return self._socket
            raise RequestError("no_daemon", f"no gossipd answers at {' or '.join(self._places)}: is it running?")
        if self._socket.fileno() < 0:
            raise RequestError("disconnected", f"the connection to {self.path} is closed")
        return self._socket

    def _connect(self) -> socket.socket | None:
        """Return a connection to `path`, None if nobody listens there. Raises: RequestError."""
        why = distrusted(self.path)
        if why is not None:
            raise RequestError("no_daemon", why)
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        opened.settimeout(self._timeout_s)
        try:
            self._reach(opened)
        except (FileNotFoundError, ConnectionRefusedError):
            opened.close()
            return None
        except PermissionError:
            opened.close()
            message = f"no permission to open {self.path}: does this user belong to the group of the socket?"
            raise RequestError("no_permission", message) from None
        except OSError as error:
            opened.close()
            raise RequestError("no_daemon", f"no gossipd answers at {self.path}: {error.strerror or error}") from None
        return opened

    def _reach(self, opened: socket.socket) -> None:
        """Connect *opened*. A full queue of connections is an error at once on a Unix socket: wait for it here."""
        patience_ends = time.monotonic() + self._timeout_s
        while True:
            try:
                opened.connect(self.path)
                return
            except BlockingIOError:
                if time.monotonic() >= patience_ends:
                    raise TimeoutError(f"it takes no connection within {self._timeout_s:g} s") from None
                time.sleep(CONNECT_RETRY_S)

    def _fail(self, code: str, message: str) -> RequestError:
        self.close()
        return RequestError(code, message)


def _result(message: dict[str, object]) -> dict[str, object]:
    error, result = message.get("error"), message.get("result")
    if isinstance(error, dict):
        details = {key: value for key, value in error.items() if key not in ("code", "message")}
        raise RequestError(str(error.get("code")), str(error.get("message")), details=details)
    if not isinstance(result, dict):
        raise RequestError("bad_answer", "the answer has neither a result nor an error")
    return result
