"""Load: who has the least to do, as far as this client knows. Told of each call's begin and end; a lease does that."""

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from random import Random

from gossipd.balancing.base import Balancer, WorkKey
from gossipd.balancing.chance import DRAWS_MAX, Urn
from gossipd.balancing.endpoint import Endpoint, Key
from gossipd.ranges import check_seconds

STALE_ENTRIES = 4
"""Entries of the heap for each instance, and 64 more, before it is made anew: what has changed leaves its old entry behind."""

UNKNOWN_COST_S = 1e9
"""Cost of an instance that has calls and has never answered one: more than any latency."""

FAILED_COST_S = 1.0
"""What a failed call counts as at the least: far more than an answer takes where quickness matters."""


@dataclass(slots=True, eq=False)
class _Load:
    endpoint: Endpoint
    weight: int
    outstanding: int = 0
    entry: int = 0
    """Which entry of the heap is the last one."""


class LeastOutstanding(Balancer):
    """Who has the fewest calls under way for its weight: least (calls + 1) / weight; of equals, who has waited longest. O(log n).

    Source: nginx's least_conn and Envoy's weighted least request, whose weight / (active + 1) is this upside down. Departs:
    Envoy looks at two drawn at random, to spare a look at all; a heap is as quick and exact. `pick` alone counts nothing.
    """

    def __init__(self, rng: Random) -> None:
        super().__init__()
        self._rng = rng
        self._loads: dict[Key, _Load] = {}
        self._heap: list[tuple[float, int, _Load]] = []
        self._entries = count(1)

    def _prepared(self, known: tuple[Endpoint, ...], usable: tuple[Endpoint, ...]) -> Callable[[], None]:
        return lambda: self._install(usable)

    def _install(self, usable: tuple[Endpoint, ...]) -> None:
        old, self._loads = self._loads, {}
        for endpoint in usable:
            before = old.get(endpoint.key)
            load = _Load(
                endpoint, endpoint.weight or 1, before.outstanding if before else 0, before.entry if before else 0
            )
            self._loads[endpoint.key] = load
        new = [load for load in self._loads.values() if not load.entry]
        self._rng.shuffle(new)  # or all clients that start together would begin with the same
        for load in new:
            load.entry = next(self._entries)
        self._rebuild()

    def begin(self, endpoint: Endpoint, *, now: float) -> None:
        self._change(endpoint, 1)

    def end(self, endpoint: Endpoint, *, now: float, latency_s: float | None = None, failed: bool = False) -> None:
        self._change(endpoint, -1)

    def _change(self, endpoint: Endpoint, by: int) -> None:
        with self._lock:
            load = self._loads.get(endpoint.key)
            if load is None:
                return
            load.outstanding = max(0, load.outstanding + by)
            load.entry = next(self._entries)
            heapq.heappush(self._heap, _entry(load))
            if len(self._heap) > STALE_ENTRIES * len(self._loads) + 64:
                self._rebuild()

    def _rebuild(self) -> None:
        self._heap = [_entry(load) for load in self._loads.values()]
        heapq.heapify(self._heap)

    def _pick(self, key: WorkKey, now: float, avoid: frozenset[Key]) -> Endpoint:
        heap, passed = self._heap, []
        while True:
            _, entry, load = heap[0]
            if entry != load.entry:
                heapq.heappop(heap)
            elif load.endpoint.key in avoid:
                passed.append(heapq.heappop(heap))
            else:
                break
        for avoided in passed:
            heapq.heappush(heap, avoided)
        return load.endpoint


def _entry(load: _Load) -> tuple[float, int, _Load]:
    return ((load.outstanding + 1) / load.weight, load.entry, load)


@dataclass(slots=True, eq=False)
class _Latency:
    outstanding: int = 0
    cost_s: float = 0.0
    """The moving average at *at*; 0.0: nothing is known."""
    at: float = 0.0


class PeakEwma(Balancer):
    """The better of two drawn by weight, judged by latency and calls under way. O(log n), O(1) to judge.

    The cost is (moving average of the latency, in s) x (calls under way + 1). The average jumps to a latency above it at once, and
    comes down with *decay_s*, 10 s by default, also while nothing is heard. Who has never answered gets one call at a time.
    Source: Finagle's Peak EWMA (PeakEwma.scala), also linkerd's; the two choices are Mitzenmacher's (2001). Departs: a failed
    call counts as one of a second at least, or an instance that fails quickly would get all the work; and weights say how often
    one is drawn, and how many calls under way count as one.
    """

    def __init__(self, rng: Random, *, decay_s: float = 10.0) -> None:
        super().__init__()
        self._rng = rng
        self._decay_s = check_seconds("decay_s", decay_s)
        self._urn = Urn(())
        self._mean_weight = 1.0
        self._latencies: dict[Key, _Latency] = {}

    def _prepared(self, known: tuple[Endpoint, ...], usable: tuple[Endpoint, ...]) -> Callable[[], None]:
        urn = Urn(usable)

        def install() -> None:
            self._urn = urn
            self._mean_weight = sum(urn.weights) / len(urn.weights) if usable else 1.0
            old = self._latencies
            self._latencies = {endpoint.key: old.get(endpoint.key) or _Latency() for endpoint in usable}

        return install

    def begin(self, endpoint: Endpoint, *, now: float) -> None:
        with self._lock:
            latency = self._latencies.get(endpoint.key)
            if latency is not None:
                latency.outstanding += 1

    def end(self, endpoint: Endpoint, *, now: float, latency_s: float | None = None, failed: bool = False) -> None:
        with self._lock:
            latency = self._latencies.get(endpoint.key)
            if latency is None:
                return
            latency.outstanding = max(0, latency.outstanding - 1)
            if latency_s is None:
                return
            if failed:
                latency.cost_s = max(latency.cost_s, latency_s, FAILED_COST_S)
            elif latency_s >= latency.cost_s:
                latency.cost_s = latency_s
            else:
                keep = math.exp(-max(0.0, now - latency.at) / self._decay_s)
                latency.cost_s = latency.cost_s * keep + latency_s * (1.0 - keep)
            latency.at = now

    def _pick(self, key: WorkKey, now: float, avoid: frozenset[Key]) -> Endpoint:
        urn, rng = self._urn, self._rng
        if avoid:
            return self._pick_besides(now, avoid)
        first = urn.draw(rng)
        if len(urn.endpoints) == 1:
            return urn.endpoints[0]
        other = urn.draw_other(first, rng)
        chosen = first if self._cost(first, now) <= self._cost(other, now) else other
        return urn.endpoints[chosen]

    def _pick_besides(self, now: float, avoid: frozenset[Key]) -> Endpoint:
        """Return the better of the first two drawn that are not in *avoid*; the same may be drawn twice."""
        urn, found = self._urn, list[int]()
        for _ in range(DRAWS_MAX):
            index = urn.draw(self._rng)
            if urn.endpoints[index].key not in avoid:
                found.append(index)
                if len(found) == 2:
                    break
        if not found:
            return urn.without(avoid, self._rng)
        return urn.endpoints[min(found, key=lambda index: self._cost(index, now))]

    def _cost(self, index: int, now: float) -> float:
        latency = self._latencies[self._urn.endpoints[index].key]
        under_way = latency.outstanding * self._mean_weight / self._urn.weights[index]
        if latency.cost_s == 0.0:
            return UNKNOWN_COST_S + under_way if under_way else 0.0
        return latency.cost_s * math.exp(-max(0.0, now - latency.at) / self._decay_s) * (under_way + 1.0)
