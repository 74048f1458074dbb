"""Turns: each instance in its turn, or as often as its weight says. No load, no keys."""

import heapq
import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from gossipd.balancing.base import Balancer, WorkKey
from gossipd.balancing.endpoint import Endpoint, Key


class RoundRobin(Balancer):
    """Each in its turn, by node and id, whatever their weights. O(1).

    Begins at a random one, or all clients that start together would begin at the same. Whoever leaves or comes, the turn goes
    on behind who had it last. Exact: in as many picks as there are instances each gets one.
    """

    def __init__(self, rng: Random) -> None:
        super().__init__()
        self._start = rng.random()
        self._next = 0
        self._last: Key | None = None

    def _prepared(self, known: tuple[Endpoint, ...], usable: tuple[Endpoint, ...]) -> Callable[[], None]:
        order = [endpoint.key for endpoint in usable]

        def install() -> None:
            start = int(self._start * len(order)) if self._last is None else bisect_right(order, self._last)
            self._next = start if start < len(order) else 0

        return install

    def _pick(self, key: WorkKey, now: float, avoid: frozenset[Key]) -> Endpoint:
        usable = self._usable
        while True:
            endpoint = usable[self._next]
            self._next = self._next + 1 if self._next + 1 < len(usable) else 0
            if endpoint.key not in avoid:
                self._last = endpoint.key
                return endpoint


@dataclass(slots=True, eq=False)
class _Turns:
    """When an instance has its turns: at *phase*, and every 1 / *weight* from then on; *taken* of them are over."""

    endpoint: Endpoint
    weight: int
    phase: float
    taken: int = 0

    @property
    def due(self) -> float:
        return self.phase + self.taken / self.weight


class SmoothWeighted(Balancer):
    """Each as often as its weight says, and spread evenly: for weights 5, 1 and 1 never five times the first in a row. O(log n).

    In as many picks as all weights make together each gets exactly its weight, counted from any pick.
    Source: the aim is that of nginx's smooth weighted round robin (2012), which looks at every instance for each pick. Departs:
    the means are those of Envoy's weighted round robin, earliest deadline first: who has weight w is due w times in a unit of
    virtual time. Phases are random, so that neither the light ones come in a row nor all clients begin with the same.
    """

    def __init__(self, rng: Random) -> None:
        super().__init__()
        self._rng = rng
        self._turns: dict[Key, _Turns] = {}
        self._heap: list[tuple[float, Key, _Turns]] = []
        self._time = 0.0

    def _prepared(self, known: tuple[Endpoint, ...], usable: tuple[Endpoint, ...]) -> Callable[[], None]:
        return lambda: self._install(usable)

    def _install(self, usable: tuple[Endpoint, ...]) -> None:
        turns = {}
        for endpoint in usable:
            weight = endpoint.weight or 1
            old = self._turns.get(endpoint.key)
            if old is None:
                kept = _Turns(endpoint, weight, self._time + (1.0 - self._rng.random()) / weight)
            elif old.weight != weight:  # what it had still to wait is as long in its new turns as in its old
                kept = _Turns(endpoint, weight, self._time + (old.due - self._time) * old.weight / weight)
            else:
                kept = _Turns(endpoint, weight, old.phase, old.taken)
            turns[endpoint.key] = kept
        self._turns = turns
        self._heap = [(turn.due, key, turn) for key, turn in turns.items()]
        heapq.heapify(self._heap)

    def _pick(self, key: WorkKey, now: float, avoid: frozenset[Key]) -> Endpoint:
        heap, passed = self._heap, []
        while heap[0][1] in avoid:
            passed.append(heapq.heappop(heap)[2])
        self._time, _, turn = heap[0]
        turn.taken += 1
        heapq.heapreplace(heap, (turn.due, turn.endpoint.key, turn))
        for other in passed:  # its turns up to now are lost: it is not to get them all at once when it comes back
            other.taken = max(other.taken, math.floor((self._time - other.phase) * other.weight) + 1)
            heapq.heappush(heap, (other.due, other.endpoint.key, other))
        return turn.endpoint
