"""Chance: anybody, or anybody by weight. No state, so nothing to get wrong; the price is that some wait in line by bad luck."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from random import Random

from gossipd.balancing.base import Balancer, WorkKey, others
from gossipd.balancing.endpoint import Endpoint, Key

DRAWS_MAX = 8
"""Draws before those to be avoided are sorted out one by one: where they are half, one time in 256."""


class UniformRandom(Balancer):
    """Anybody, with equal chance, whatever their weights. O(1)."""

    def __init__(self, rng: Random) -> None:
        super().__init__()
        self._rng = rng

    def _prepared(self, known: tuple[Endpoint, ...], usable: tuple[Endpoint, ...]) -> Callable[[], None]:
        return lambda: None

    def _pick(self, key: WorkKey, now: float, avoid: frozenset[Key]) -> Endpoint:
        usable, random = self._usable, self._rng.random
        for _ in range(DRAWS_MAX):
            endpoint = usable[int(random() * len(usable))]
            if endpoint.key not in avoid:
                return endpoint
        rest = others(usable, avoid)
        return rest[int(random() * len(rest))]


class WeightedRandom(Balancer):
    """Anybody, with a chance in proportion to the weight. O(log n)."""

    def __init__(self, rng: Random) -> None:
        super().__init__()
        self._rng = rng
        self._urn = Urn(())

    def _prepared(self, known: tuple[Endpoint, ...], usable: tuple[Endpoint, ...]) -> Callable[[], None]:
        urn = Urn(usable)

        def install() -> None:
            self._urn = urn

        return install

    def _pick(self, key: WorkKey, now: float, avoid: frozenset[Key]) -> Endpoint:
        return self._urn.without(avoid, self._rng)


class Urn:
    """*endpoints* to draw from, each with a chance in proportion to its weight; all alike if all weights are 0."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.endpoints = endpoints
        self.weights = [endpoint.weight or 1 for endpoint in endpoints]
        self._sums = list(accumulate(self.weights))

    def draw(self, rng: Random) -> int:
        """Return the index of one."""
        return bisect_right(self._sums, int(rng.random() * self._sums[-1]))

    def draw_other(self, first: int, rng: Random) -> int:
        """Return the index of one besides *first*; there must be two."""
        weight = self.weights[first]
        spot = int(rng.random() * (self._sums[-1] - weight))
        if spot >= self._sums[first] - weight:
            spot += weight
        return bisect_right(self._sums, spot)

    def without(self, avoid: frozenset[Key], rng: Random) -> Endpoint:
        """Return one that is not in *avoid*; there must be one."""
        for _ in range(DRAWS_MAX):
            endpoint = self.endpoints[self.draw(rng)]
            if endpoint.key not in avoid:
                return endpoint
        rest = Urn(others(self.endpoints, avoid))
        return rest.endpoints[rest.draw(rng)]
