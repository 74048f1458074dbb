"""A local API in a thread: answers each method from a table, so that the command line is tested without a daemon."""

import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from gossipd.api.session import Call, Session
from gossipd.errors import RequestError

Answer = dict[str, Any] | RequestError
"""A result, or an error to be sent."""


class FakeDaemon:
    """Listens at *path* while it is entered. *answers* by method; a watch sends the events of *watch*.

    Then the watch ends, unless *endless*.

    *calls* are the (method, params) that came.
    """

    def __init__(
        self,
        path: Path,
        answers: Mapping[str, Answer],
        *,
        watch: list[dict[str, Any]] | None = None,
        endless: bool = False,
    ) -> None:
        self.calls: list[tuple[str, dict[str, object]]] = []
        self._answers = answers
        self._watch = [("event", event) for event in watch or []]
        if not endless:
            self._watch.append(("end", {"reason": "over"}))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen(8)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "FakeDaemon":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._socket.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        session = Session()
        while data := connection.recv(65_536):
            session.receive(data)
            for call in iter(session.next, None):
                assert isinstance(call, Call), call
                self.calls.append((call.method, call.params))
                for kind, value in self._reply(call.method):
                    connection.sendall(session.encoding.message(call.id, kind, session.encoding.value(value)))

    def _reply(self, method: str) -> list[tuple[str, Any]]:
        if method == "watch":
            return list(self._watch)
        answer = self._answers.get(method, RequestError("unknown_method", f"no {method} here"))
        if isinstance(answer, RequestError):
            return [("error", {"code": answer.code, "message": str(answer), **answer.details})]
        return [("result", answer)]
