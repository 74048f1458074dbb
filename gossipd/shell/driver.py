"""The driver: the only one who calls the node. Bytes, time and commands in; what the node asks for is done at once.

Everything here but `run` is synchronous, so the node is never entered twice, and a local command has taken effect when
its call returns. `run` wakes at the node's next deadline and at no other time.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, assert_never

import trio

from gossipd.checks import Check, CheckResult
from gossipd.core.events import Event, SyncFinished
from gossipd.ids import Address
from gossipd.node.actions import (
    Action,
    CancelCheck,
    CloseStream,
    OpenStream,
    Publish,
    RunCheck,
    SendDatagram,
    SendStream,
    UnwatchPid,
    WatchPid,
)
from gossipd.node.view import DrainRow, Holder, RegistrationRow
from gossipd.records import Service

T = TypeVar("T")


class DrivenNode(Protocol):
    """What the driver needs of `gossipd.node.node.Node`; tests drive a fake one."""

    def start(self, *, now: float) -> list[Action]: ...
    def receive_datagram(self, data: bytes, source: Address, *, now: float) -> list[Action]: ...
    def next_deadline(self) -> float: ...
    def handle_timer(self, *, now: float) -> list[Action]: ...
    def accept_stream(self, source: Address, *, now: float) -> tuple[int | None, list[Action]]: ...
    def stream_opened(self, stream: int, *, now: float) -> list[Action]: ...
    def receive_stream(self, stream: int, data: bytes, *, now: float) -> list[Action]: ...
    def stream_closed(self, stream: int, *, now: float, error: str | None = None) -> list[Action]: ...
    def set_seeds(self, seeds: Sequence[Address], *, now: float) -> list[Action]: ...
    def sync_with(self, target: Address, *, now: float) -> tuple[int, list[Action]]: ...
    def register(
        self, service: Service, *, holder: Holder, checks: Sequence[Check] = (), now: float
    ) -> tuple[RegistrationRow, list[Action]]: ...
    def deregister(self, id: str, *, now: float) -> list[Action]: ...
    def connection_lost(self, connection: int, *, now: float) -> list[Action]: ...
    def pid_exited(self, pid: int, *, now: float) -> list[Action]: ...
    def check_finished(self, run: int, result: CheckResult, *, now: float) -> list[Action]: ...
    def renew(self, id: str, *, now: float) -> list[Action]: ...
    def report(self, id: str, check: str | None, result: CheckResult, *, now: float) -> list[Action]: ...
    def drain(
        self, id: str | None, *, reason: str = "", deadline_s: float | None = None, now: float
    ) -> tuple[DrainRow, list[Action]]: ...
    def undrain(self, id: str | None, *, now: float) -> list[Action]: ...
    def maintain(self, id: str | None, *, reason: str | None, now: float) -> list[Action]: ...
    def progress(self, id: str, remaining: int, *, now: float) -> tuple[DrainRow, list[Action]]: ...
    def undamp(self, id: str, *, now: float) -> list[Action]: ...
    def set_labels(self, labels: Sequence[tuple[str, str]], *, now: float) -> list[Action]: ...
    def note_lag(self, lag_s: float, *, now: float) -> None: ...
    def leave(self, *, now: float) -> list[Action]: ...


class DatagramPort(Protocol):
    """Where datagrams go: `gossipd.shell.udp.Udp`."""

    def send(self, data: bytes, target: Address) -> None: ...

    def drain(self) -> None:
        """Receive what has arrived already."""


class StreamPort(Protocol):
    """Where streams go: `gossipd.shell.streams.Streams`. None of these may call back before it returns."""

    def open(self, number: int, target: Address, *, timeout_s: float) -> None: ...
    def send(self, number: int, data: bytes) -> None: ...
    def close(self, number: int) -> None: ...


class CheckPort(Protocol):
    """Who tries checks: `gossipd.shell.checkers.Checkers`. Neither may call back before it returns."""

    def run(self, run: int, check: Check, service: Service, host: str) -> None: ...
    def cancel(self, run: int) -> None: ...


class PidPort(Protocol):
    """Who watches processes: `gossipd.shell.pids.Pids`. Neither may call back before it returns."""

    def watch(self, pid: int) -> None: ...
    def unwatch(self, pid: int) -> None: ...


Subscriber = Callable[[Sequence[Event]], None]
"""Hears every event, in order; may call the driver; must not block and must not raise."""


class LateListener(Protocol):
    """Hears by how many seconds a wake-up of `run` was late, before the node does."""

    def __call__(self, late_s: float, *, now: float) -> None: ...


class Driver:
    """Drives *node*; `start` it once, when *streams* is running, and then `run` it."""

    def __init__(
        self,
        node: DrivenNode,
        *,
        datagrams: DatagramPort,
        streams: StreamPort,
        checks: CheckPort,
        pids: PidPort,
        late_s: float = 0.05,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        """*late_s*: from this lateness on, what waits in the sockets is read before a timer may accuse anyone."""
        self._node = node
        self._datagrams = datagrams
        self._streams = streams
        self._checks = checks
        self._pids = pids
        self._late_s = late_s
        self._clock = clock
        self._subscribers: list[Subscriber] = []
        self._late_listeners: list[LateListener] = []
        self._syncs: dict[int, Callable[[SyncFinished], None]] = {}
        self._undone: deque[Action] = deque()
        self._performing = False
        self._rearm = trio.Event()
        self._armed = -math.inf  # nobody sleeps until then, so nobody needs to be woken
        self._known_at = -math.inf  # since when we could have met the deadline: lateness counts from there
        self.wakes = 0
        """Times that `run` woke up."""

    def subscribe(self, subscriber: Subscriber) -> None:
        self._subscribers.append(subscriber)

    def listen_for_lateness(self, listener: LateListener) -> None:
        self._late_listeners.append(listener)

    # ---------------------------------------------------------------------------------------------------- in: the world

    def start(self) -> None:
        self._perform(self._node.start(now=self._clock()))

    def receive_datagram(self, data: bytes, source: Address) -> None:
        self._perform(self._node.receive_datagram(data, source, now=self._clock()))

    def accept_stream(self, source: Address) -> int | None:
        number, actions = self._node.accept_stream(source, now=self._clock())
        self._perform(actions)
        return number

    def stream_opened(self, stream: int) -> None:
        self._perform(self._node.stream_opened(stream, now=self._clock()))

    def receive_stream(self, stream: int, data: bytes) -> None:
        self._perform(self._node.receive_stream(stream, data, now=self._clock()))

    def stream_closed(self, stream: int, *, error: str | None) -> None:
        self._perform(self._node.stream_closed(stream, now=self._clock(), error=error))

    def check_finished(self, run: int, result: CheckResult) -> None:
        self._perform(self._node.check_finished(run, result, now=self._clock()))

    def pid_exited(self, pid: int) -> None:
        self._perform(self._node.pid_exited(pid, now=self._clock()))

    # ----------------------------------------------------------------------------------------------------- in: commands

    def tell(self, command: Callable[[DrivenNode, float], Sequence[Action]]) -> None:
        """Let *command(node, now)* say what is to be done. Raises: RequestError."""
        self._perform(command(self._node, self._clock()))

    def ask(self, command: Callable[[DrivenNode, float], tuple[T, Sequence[Action]]]) -> T:
        """Let *command(node, now)* say what is to be done; return its answer. Raises: RequestError."""
        answer, actions = command(self._node, self._clock())
        self._perform(actions)
        return answer

    def set_seeds(self, seeds: Sequence[Address]) -> None:
        self._perform(self._node.set_seeds(seeds, now=self._clock()))

    def set_labels(self, labels: Sequence[tuple[str, str]]) -> None:
        self._perform(self._node.set_labels(labels, now=self._clock()))

    def sync_with(self, target: Address, finished: Callable[[SyncFinished], None]) -> int:
        """Sync with *target* and return the stream's number; *finished* is called when it ended, unless forgotten."""
        number, actions = self._node.sync_with(target, now=self._clock())
        self._syncs[number] = finished  # before the actions, which may end it at once
        self._perform(actions)
        return number

    def forget_sync(self, stream: int) -> None:
        """Whoever waited for the sync on *stream* no longer does."""
        self._syncs.pop(stream, None)

    def leave(self) -> None:
        self._perform(self._node.leave(now=self._clock()))

    # --------------------------------------------------------------------------------------------------------- in: time

    async def run(self) -> None:
        """Wake the node at its deadlines, until cancelled."""
        try:
            while True:
                self._rearm = trio.Event()  # before reading the deadline, or a change in between is lost
                self._armed = self._node.next_deadline()
                self._known_at = self._clock()
                with trio.move_on_at(self._armed):
                    await self._rearm.wait()
                self.wakes += 1
                self._wake()
        finally:
            self._armed = -math.inf

    def _wake(self) -> None:
        """Handle what is due; when we come late, let those be heard first who answered in time."""
        now = self._clock()
        deadline = self._node.next_deadline()
        if now < deadline:
            return  # moved away meanwhile, or moved closer: sleep again
        late_s = now - max(deadline, self._known_at)  # an input may make due what was not
        for listener in self._late_listeners:
            listener(late_s, now=now)
        if late_s >= self._late_s:
            self._datagrams.drain()
        self._perform(self._node.handle_timer(now=self._clock()))

    # -------------------------------------------------------------------------------------------------------------- out

    def _perform(self, actions: Sequence[Action]) -> None:
        """Perform *actions* in order, after those that are under way; then see to it that the next deadline is met."""
        self._undone.extend(actions)
        if not self._performing:
            self._performing = True
            try:
                while self._undone:
                    self._perform_one(self._undone.popleft())
            finally:
                self._performing = False
        if self._node.next_deadline() < self._armed:  # a later one needs no waking: `run` finds it when it wakes
            self._known_at = min(self._clock(), self._armed)
            self._armed = -math.inf
            self._rearm.set()

    def _perform_one(self, action: Action) -> None:
        match action:
            case SendDatagram():
                for target in action.targets:
                    self._datagrams.send(action.data, target)
            case OpenStream():
                self._streams.open(action.stream, action.target, timeout_s=action.timeout_s)
            case SendStream():
                self._streams.send(action.stream, action.data)
            case CloseStream():
                self._streams.close(action.stream)
            case Publish():
                self._publish(action.event)
            case RunCheck():
                self._checks.run(action.run, action.check, action.service, action.host)
            case CancelCheck():
                self._checks.cancel(action.run)
            case WatchPid():
                self._pids.watch(action.pid)
            case UnwatchPid():
                self._pids.unwatch(action.pid)
            case _:
                assert_never(action)

    def _publish(self, event: Event) -> None:
        """Tell the subscribers of *event*, together with those that follow it directly."""
        events = [event]
        while self._undone and isinstance(following := self._undone[0], Publish):
            events.append(following.event)
            self._undone.popleft()
        for each in events:
            if isinstance(each, SyncFinished) and (finished := self._syncs.pop(each.stream, None)) is not None:
                finished(each)
        for subscriber in self._subscribers:
            subscriber(events)
