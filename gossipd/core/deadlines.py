"""Deadlines by key: set, cancel, ask for the next, pop what is due. A heap with lazy deletion.

Times are seconds of the caller's monotonic clock.
"""

import heapq
import math
from collections.abc import Hashable
from itertools import count
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Deadlines(Generic[K]):
    """At most one deadline a key; equal deadlines pop in the order they were set."""

    def __init__(self) -> None:
        self._at: dict[K, tuple[float, int, K]] = {}
        self._heap: list[tuple[float, int, K]] = []
        """Entries that are no longer the ones in *_at* are void."""
        self._order = count()

    def __len__(self) -> int:
        return len(self._at)

    def __contains__(self, key: K) -> bool:
        return key in self._at

    def set(self, key: K, at: float) -> None:
        """Set or move the deadline of *key* to *at*."""
        entry = self._at[key] = (at, next(self._order), key)
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._at) + 16:
            self._rebuild()

    def cancel(self, key: K) -> None:
        """Forget the deadline of *key*; nothing happens when it has none."""
        self._at.pop(key, None)

    def at(self, key: K) -> float:
        """Return the deadline of *key*, `math.inf` when it has none."""
        entry = self._at.get(key)
        return math.inf if entry is None else entry[0]

    def next(self) -> float:
        """Return the earliest deadline, `math.inf` when there is none."""
        heap = self._heap
        while heap:  # most are empty, and asked after every packet
            entry = heap[0]
            if self._at.get(entry[2]) is entry:
                return entry[0]
            heapq.heappop(heap)
        return math.inf

    def pop_first(self) -> K:
        """Remove and return the key with the earliest deadline, whenever it is. There must be one."""
        self.next()
        key = heapq.heappop(self._heap)[2]
        del self._at[key]
        return key

    def pop_due(self, now: float) -> list[K]:
        """Remove and return the keys whose deadline is at or before *now*, earliest first."""
        due: list[K] = []
        while self._at and self.next() <= now:
            due.append(heapq.heappop(self._heap)[2])
            del self._at[due[-1]]
        return due

    def shift(self, by_s: float) -> None:
        """Move every deadline by *by_s* seconds."""
        self._at = {key: (at + by_s, order, key) for key, (at, order, _) in self._at.items()}
        self._rebuild()

    def _rebuild(self) -> None:
        self._heap = list(self._at.values())
        heapq.heapify(self._heap)
