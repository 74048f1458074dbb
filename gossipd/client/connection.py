"""A small blocking client of the local socket: one connection, one request, one answer; a watch as an iterator. No threads.

Meant for commands, tests and scripts.
"""

import os
import socket
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Self

from gossipd.client.connecting import connect
from gossipd.client.patience import seconds, seconds_or_none
from gossipd.client.places import socket_places
from gossipd.client.protocol import Answered, Conversation, Message, Refused, Told, request
from gossipd.errors import RequestError

READ_BYTES = 64 * 1024


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
        self._timeout_s = seconds("timeout_s", timeout_s)
        self._socket: socket.socket | None = None
        self._conversation = Conversation()
        self._events: dict[int, deque[Message]] = {}
        self._last_id = 0

    def __enter__(self) -> Self:
        self._connected()
        return self

    def __exit__(self, *_: object) -> None:
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
            if isinstance(message, Answered) and message.id == id:
                return message.result
            if isinstance(message, Refused) and message.id in (id, None):
                raise message.error
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
        seconds_or_none("timeout_s", timeout_s)
        id = self._ask("watch", {"service": service, "members": members or None, "services": services, "since": since})
        self._events[id] = deque()
        ended = False
        try:
            while not ended:
                message = self._events[id].popleft() if self._events[id] else self._read(timeout_s)
                if message.id != id:
                    self._put_aside(message)
                elif isinstance(message, Told):
                    yield message.event
                else:
                    ended = True
                    if isinstance(message, Refused):
                        raise message.error
        except RequestError:
            ended = True
            raise
        finally:
            if not ended and self._socket is not None and self._socket.fileno() >= 0:
                with suppress(RequestError):  # whatever ended the loop matters more
                    self.call("unwatch", id=id)
            del self._events[id]

    def _put_aside(self, message: Message) -> None:
        """Keep *message* for the watch that it belongs to; what belongs to none is a watch's that ended."""
        if message.id is not None and message.id in self._events:
            self._events[message.id].append(message)

    def _ask(self, method: str, params: Mapping[str, object]) -> int:
        self._last_id += 1
        line = request(self._last_id, method, params)
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

    def _read(self, timeout_s: float | None) -> Message:
        """Return the next message, in the order of arrival."""
        connected = self._connected()
        connected.settimeout(timeout_s)
        while (message := self._next_message()) is None:
            try:
                data = connected.recv(READ_BYTES)
            except TimeoutError:
                raise self._fail("timeout", f"gossipd at {self.path} said nothing within {timeout_s:g} s") from None
            except OSError as error:
                raise self._fail("disconnected", f"gossipd at {self.path}: {error.strerror or error}") from None
            if not data:
                raise self._fail("disconnected", f"gossipd at {self.path} closed the connection: has it stopped?")
            self._conversation.receive(data)
        return message

    def _next_message(self) -> Message | None:
        try:
            return self._conversation.next_message()
        except RequestError as error:
            raise self._fail(error.code, f"{self.path}: {error}") from None

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket, self.path = connect(self._places, timeout_s=self._timeout_s)
        if self._socket.fileno() < 0:
            raise RequestError("disconnected", f"the connection to {self.path} is closed")
        return self._socket

    def _fail(self, code: str, message: str) -> RequestError:
        self.close()
        return RequestError(code, message)
