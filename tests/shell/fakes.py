"""A node that does what a test tells it, ports that remember, and a log that can be read."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from gossipd.checks import Check, CheckResult
from gossipd.errors import RequestError
from gossipd.ids import Address
from gossipd.node.actions import Action
from gossipd.node.view import DrainRow, Holder, RegistrationRow
from gossipd.records import Service
from gossipd.shell.log import Log

DRAIN = DrainRow(since_s=0.0, deadline_left_s=None, heard=False, remaining=None, done=False)


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

    def register(
        self, service: Service, *, holder: Holder, checks: Sequence[Check] = (), now: float
    ) -> tuple[RegistrationRow, list[Action]]:
        row = RegistrationRow(id=service.id, service=service.name, holder=holder.kind)
        return row, self._note("register", service, holder, tuple(checks))

    def deregister(self, id: str, *, now: float) -> list[Action]:
        raise RequestError("not_found", id)

    def connection_lost(self, connection: int, *, now: float) -> list[Action]:
        return self._note("connection_lost", connection)

    def pid_exited(self, pid: int, *, now: float) -> list[Action]:
        return self._note("pid_exited", pid)

    def check_finished(self, run: int, result: CheckResult, *, now: float) -> list[Action]:
        return self._note("check_finished", run, result)

    def renew(self, id: str, *, now: float) -> list[Action]:
        return self._note("renew", id)

    def report(self, id: str, check: str | None, result: CheckResult, *, now: float) -> list[Action]:
        return self._note("report", id, check, result)

    def drain(
        self, id: str | None, *, reason: str = "", deadline_s: float | None = None, now: float
    ) -> tuple[DrainRow, list[Action]]:
        return DRAIN, self._note("drain", id, reason, deadline_s)

    def undrain(self, id: str | None, *, now: float) -> list[Action]:
        return self._note("undrain", id)

    def maintain(self, id: str | None, *, reason: str | None, now: float) -> list[Action]:
        return self._note("maintain", id, reason)

    def progress(self, id: str, remaining: int, *, now: float) -> tuple[DrainRow, list[Action]]:
        return DRAIN, self._note("progress", id, remaining)

    def undamp(self, id: str, *, now: float) -> list[Action]:
        return self._note("undamp", id)

    def set_labels(self, labels: Sequence[tuple[str, str]], *, now: float) -> list[Action]:
        return self._note("set_labels", tuple(labels))

    def note_lag(self, lag_s: float, *, now: float) -> None:
        self._note("note_lag", lag_s)

    def leave(self, *, now: float) -> list[Action]:
        return self._note("leave")


@dataclass
class FakePorts:
    """Datagrams, streams, checks and processes that go nowhere; *calls* in order."""

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

    def run(self, run: int, check: Check, service: Service, host: str) -> None:
        self.calls.append(("run", run, check, service, host))

    def cancel(self, run: int) -> None:
        self.calls.append(("cancel", run))

    def watch(self, pid: int) -> None:
        self.calls.append(("watch", pid))

    def unwatch(self, pid: int) -> None:
        self.calls.append(("unwatch", pid))


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
