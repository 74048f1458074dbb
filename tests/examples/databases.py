"""Databases that speak just enough of their protocol to be called by real clients, and that a test can promote and demote."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

HOST = "127.0.0.1"


class Database(socketserver.ThreadingTCPServer):
    """One of them, at a free port. `standby` is what it says of itself, `asked` all that it was told."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, handler: type[socketserver.StreamRequestHandler], *, standby: bool) -> None:
        super().__init__((HOST, 0), handler)
        self.standby = standby
        self.asked: list[str] = []
        self.kept: dict[str, str] = {}

    @property
    def port(self) -> int:
        return int(self.server_address[1])


@contextmanager
def serving(handler: type[socketserver.StreamRequestHandler], *, standby: bool = False) -> Iterator[Database]:
    """Serve within the block."""
    with Database(handler, standby=standby) as database:
        thread = threading.Thread(target=database.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield database
        finally:
            database.shutdown()
            thread.join()


class Redis(socketserver.StreamRequestHandler):
    """SET and GET, and what redis-py says while it connects."""

    server: Database

    def handle(self) -> None:
        while line := self.rfile.readline():
            words = [self._word() for _ in range(int(line[1:]))]
            self.wfile.write(self._answer(*words))

    def _word(self) -> str:
        length = int(self.rfile.readline()[1:])
        return self.rfile.read(length + 2)[:-2].decode()

    def _answer(self, command: str, *arguments: str) -> bytes:
        if command == "HELLO":
            return b"%2\r\n+server\r\n+redis\r\n+proto\r\n:3\r\n"
        if command == "CLIENT":
            return b"+OK\r\n"
        self.server.asked.append(" ".join([command, *arguments]))
        match command, *arguments:
            case "SET", key, value:
                self.server.kept[key] = value
                return b"+OK\r\n"
            case "GET", key:
                value = self.server.kept.get(key, "nothing")
                return f"${len(value)}\r\n{value}\r\n".encode()
            case _:
                return f"-ERR unknown command '{command}'\r\n".encode()


class Postgres(socketserver.StreamRequestHandler):
    """Lets everybody in, says whether it is a standby, and answers each query with a tag that names its port."""

    server: Database
    SETTINGS: ClassVar[dict[str, str]] = {"server_version": "16.0", "client_encoding": "UTF8"}

    def handle(self) -> None:
        self._startup()
        self._say(b"R", bytes(4))
        for name, value in {**self.SETTINGS, "in_hot_standby": "on" if self.server.standby else "off"}.items():
            self._say(b"S", f"{name}\0{value}\0".encode())
        self._say(b"K", bytes(8))
        self._say(b"Z", b"I")
        while (kind := self.rfile.read(1)) not in (b"", b"X"):
            text = self._body()[:-1].decode()
            assert kind == b"Q", f"only simple queries, not {kind!r}"
            if "app:" in text:  # else it is a pool that tidies up
                self.server.asked.append(text)
            self._say(b"C", f"PORT {self.server.port}\0".encode())
            self._say(b"Z", b"I")

    def _startup(self) -> None:
        while self._body()[:4] == (80877103).to_bytes(4):  # asked for TLS: no
            self.wfile.write(b"N")

    def _body(self) -> bytes:
        return self.rfile.read(int.from_bytes(self.rfile.read(4)) - 4)

    def _say(self, kind: bytes, body: bytes) -> None:
        self.wfile.write(kind + (len(body) + 4).to_bytes(4) + body)
