"""A node that does what a test tells it, ports that remember, and a log that can be read."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from gossipd.errors import RequestError
from gossipd.ids import Address
from gossipd.node.actions import Action
from gossipd.node.view import RegistrationRow
from gossipd.records import Service
from gossipd.shell.log import Log


@dataclass
class FakeNode:
    """Notes every call; answers with the actions in *replies*, by method name; *deadline* is the test's to set."""

    deadline: float = math.inf
    calls: list[tuple[object, ...]] = field(default_factory=list)
    replies: dict[str, list[Action]] = field(default_factory=dict)
    next_stream: int | None = 1
    moves_by: float = math.inf
    """What handle_timer adds to the deadline."""

    def _note(self, name: str, *details: object) -> list[Action]:
        self.calls.append((name, *details))
        return list(self.replies.get(name, []))

    def named(self, name: str) -> list[tuple[object, ...]]:
        return [call for call in self.calls if call[0] == name]

    def start(self, *, now: float) -> list[Action]:
        return self._note("start", now)

    def receive_datagram(self, data: bytes, source: Address, *, now: float) -> list[Action]:
        return self._note("receive_datagram", data, source)

    def next_deadline(self) -> float:
        return self.deadline

    def handle_timer(self, *, now: float) -> list[Action]:
        self.deadline += self.moves_by
        return self._note("handle_timer", now)

    def accept_stream(self, source: Address, *, now: float) -> tuple[int | None, list[Action]]:
        number = self.next_stream
        if number is not None:
            self.next_stream = number + 1
        return number, self._note("accept_stream", source)

    def stream_opened(self, stream: int, *, now: float) -> list[Action]:
        return self._note("stream_opened", stream)

    def receive_stream(self, stream: int, data: bytes, *, now: float) -> list[Action]:
        return self._note("receive_stream", stream, data)

    def stream_closed(self, stream: int, *, now: float, error: str | None = None) -> list[Action]:
        return self._note("stream_closed", stream, error)

    def set_seeds(self, seeds: Sequence[Address], *, now: float) -> list[Action]:
        return self._note("set_seeds", tuple(seeds))

    def sync_with(self, target: Address, *, now: float) -> tuple[int, list[Action]]:
        return 9, self._note("sync_with", target)

    def register(self, service: Service, *, connection: int | None, now: float) -> tuple[RegistrationRow, list[Action]]:
        holder = "kept" if connection is None else "connection"
        return RegistrationRow(id=service.id, service=service.name, holder=holder), self._note("register", service)

    def deregister(self, id: str, *, now: float) -> list[Action]:
        raise RequestError("not_found", id)

    def connection_lost(self, connection: int, *, now: float) -> list[Action]:
        return self._note("connection_lost", connection)

    def set_labels(self, labels: Sequence[tuple[str, str]], *, now: float) -> list[Action]:
        return self._note("set_labels", tuple(labels))

    def note_lag(self, lag_s: float, *, now: float) -> None:
        self._note("note_lag", lag_s)

    def leave(self, *, now: float) -> list[Action]:
        return self._note("leave")


@dataclass
class FakePorts:
    """Datagrams and streams that go nowhere; *calls* in order."""

    calls: list[tuple[object, ...]] = field(default_factory=list)
    drains: int = 0

    def send(self, *details: object) -> None:
        self.calls.append(("send", *details))

    def drain(self) -> None:
        self.drains += 1

    def open(self, number: int, target: Address, *, timeout_s: float) -> None:
        self.calls.append(("open", number, target, timeout_s))

    def close(self, number: int) -> None:
        self.calls.append(("close", number))


class ReadableLog:
    """A log into a pipe. `lines` returns what was written since the last call."""

    def __init__(self, *, level: str = "debug", format: str = "text", clock: float = 0.0) -> None:
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        self.write = write
        self.now = clock
        self.log = Log(write, level=level, format=format, wall_clock=lambda: 1_700_000_000.25, clock=lambda: self.now)

    def lines(self) -> list[str]:
        data = b""
        try:
            while more := os.read(self._read, 1_000_000):
                data += more
        except BlockingIOError:
            pass
        return data.decode().splitlines()

    def close(self) -> None:
        os.close(self._read)
        os.close(self.write)
