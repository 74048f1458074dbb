"""A real HTTP server that misbehaves as it is told."""

import socket
import ssl
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from tests.served import DEADLINE_S


class Server:
    """An HTTP server at a port of its own that answers as it is told, at first with 200; it notes what it was asked."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.answers: list[str] = []
        """What comes next: a status, "close" without a word, "half" of a body, "hang"."""
        self.asked: list[tuple[str, str, str, bytes]] = []
        """Method, path, Host header and body."""
        self.free = threading.Event()
        """Ends what hangs."""
        self._connections: set[socket.socket] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # or each body waits 40 ms for the acknowledgement of its head

            def setup(self) -> None:
                super().setup()
                outer._connections.add(self.connection)

            def finish(self) -> None:
                super().finish()
                outer._connections.discard(self.connection)

            def answer(self) -> None:
                outer._answer(self)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it and its connections, as if it were killed; once more does nothing."""
        self.free.set()
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._connections):
            with suppress(OSError):  # it has just ended by itself
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        said = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        self.asked.append((handler.command, handler.path, handler.headers["host"], said))
        what = self.answers.pop(0) if self.answers else "200"
        if what == "hang":
            self.free.wait(DEADLINE_S)
        if what in ("close", "hang"):
            handler.close_connection = True
            return
        body = str(self.port).encode()
        handler.send_response(200 if what == "half" else int(what.partition(" ")[0]))
        if what.startswith("302 "):
            handler.send_header("location", what.partition(" ")[2])
        handler.send_header("content-length", str(len(body) * (2 if what == "half" else 1)))
        handler.end_headers()
        handler.wfile.write(body)
        handler.close_connection = what == "half"
