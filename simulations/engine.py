"""The engine of a world: its clock, its event heap, its history, and those who look on. Knows no nodes."""

import heapq
import math
import struct
from collections.abc import Callable
from hashlib import blake2b
from itertools import count
from typing import Any

from gossipd.core.events import Event
from simulations.host import Host
from simulations.watching import Violation, Watcher

VIOLATIONS_MAX = 100
HASHED_AT_ONCE = 1 << 16
_RECORD = struct.Struct("<dBii")
RECEIVED, WOKEN, STREAMED, EVENT, DONE = range(5)
"""Kinds of entries in the history."""


class Engine:
    """Calls what is due, in the order of time and then of asking."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        """Events that were taken from the heap."""
        self.violations: list[Violation] = []
        self.heap: list[tuple[float, int, Callable[..., None], Any, Any, Any]] = []
        self.order = count()
        self.log = bytearray()
        """What happened since it was last hashed."""
        self._hash = blake2b(digest_size=16)
        self.watchers: list[Watcher] = []
        self.hearing: list[Callable[[Host, Event], None]] = []
        self.looking: list[Callable[[Host], None]] = []
        self.schedule(1.0, self._tick)

    # ------------------------------------------------------------------------------------------------------------ watching

    def _add(self, watcher: Watcher) -> None:
        kind = type(watcher)
        self.watchers.append(watcher)
        if kind.on_event is not Watcher.on_event:
            self.hearing.append(watcher.on_event)
        if kind.on_input is not Watcher.on_input:
            self.looking.append(watcher.on_input)

    def fail(self, checker: str, what: str) -> None:
        """A checker saw what must not be."""
        if len(self.violations) < VIOLATIONS_MAX:
            self.violations.append(Violation(self.now, checker, what))

    def note(self, text: str) -> None:
        """Write into the history what a story or a fault did; watchers hear of it."""
        self.record(DONE, len(text), 0)
        self.log += text.encode()
        for watcher in self.watchers:
            watcher.on_note(text)

    def history_hash(self) -> str:
        """Return the hash, 32 hex digits, of everything that happened so far."""
        self._hash.update(self.log)
        self.log.clear()
        return self._hash.hexdigest()

    def finish(self) -> list[Violation]:
        """Let every watcher look once more; return what was seen that must not be."""
        for watcher in self.watchers:
            watcher.finish()
        return self.violations

    # ---------------------------------------------------------------------------------------------------------------- time

    def schedule(self, at: float, step: Callable[..., None], a: Any = None, b: Any = None, c: Any = None) -> None:
        """Call ``step(a, b, c)`` at *at*, the world's time; equal times in the order they were asked for."""
        heapq.heappush(self.heap, (at, next(self.order), step, a, b, c))

    def run(self, seconds: float) -> None:
        """Let *seconds* pass."""
        self.run_to(self.now + seconds)

    def run_to(self, end: float) -> None:
        """Let time pass until *end*."""
        heap, pop = self.heap, heapq.heappop
        done = 0
        while heap and heap[0][0] <= end:
            self.now, _, step, a, b, c = pop(heap)
            step(a, b, c)
            done += 1
        self.steps += done
        self.now = max(self.now, end)

    def run_until(self, condition: Callable[[], bool], *, within_s: float, every_s: float = 0.1) -> float | None:
        """Run until *condition* holds, looked at every *every_s*; return how long it took, None if not within *within_s*."""
        began = self.now
        while not condition():
            if self.now >= began + within_s - 1e-9:
                return None
            self.run_to(min(self.now + every_s, began + within_s))
        return self.now - began

    def _tick(self, *_: object) -> None:
        for watcher in self.watchers:
            watcher.on_second()
        self.schedule(math.floor(self.now) + 1.0, self._tick)

    def record(self, kind: int, a: int, b: int) -> None:
        self.log += _RECORD.pack(self.now, kind, a, b)
        if len(self.log) > HASHED_AT_ONCE:
            self._hash.update(self.log)
            self.log.clear()
