"""Near first: our own zone, then our region, then all others, each as much as its ready part can carry."""

from collections.abc import Callable
from random import Random

from gossipd.balancing.base import NOBODY, Balancer, WorkKey
from gossipd.balancing.consistent import part_of
from gossipd.balancing.endpoint import Endpoint, Key
from gossipd.balancing.hashes import work_hash
from gossipd.nearness import TIERS, shares, tier


class ZoneAware(Balancer):
    """Picks a tier, then lets that tier's own balancer, made by *make*, pick. As quick as these.

    All goes to our own zone while five in seven of its instances are ready; below, what it cannot carry goes to the rest of the
    region, then to all others (`gossipd.nearness.shares`). Who is to be avoided counts as not ready. With a key, the key decides
    the tier too. Who has no *zone* and *region* is far from everybody.
    Source: Envoy's priority levels. Departs: what is not compared is how many callers each zone has: a zone with many callers and
    few instances is not relieved.
    """

    def __init__(self, make: Callable[[], Balancer], *, zone: str | None, region: str | None, rng: Random) -> None:
        super().__init__()
        self._here = (zone, region)
        self._rng = rng
        self._tiers = [make() for _ in range(TIERS)]
        self._counts: list[tuple[int, int]] = [(0, 0)] * TIERS
        self._tier_of: dict[Key, int] = {}
        self._shares: list[float] = []
        self._shares_of: frozenset[Key] = NOBODY

    def _prepared(self, known: tuple[Endpoint, ...], usable: tuple[Endpoint, ...]) -> Callable[[], None]:
        tier_of = {endpoint.key: self._tier(endpoint) for endpoint in usable}
        counted = [endpoint for endpoint in known if endpoint.weight or endpoint.key in tier_of]
        ready, all_known = [0] * TIERS, [0] * TIERS
        for endpoint in counted:
            all_known[self._tier(endpoint)] += 1
            ready[self._tier(endpoint)] += endpoint.key in tier_of
        counts = list(zip(ready, all_known, strict=True))
        parts = [[endpoint for endpoint in usable if tier_of[endpoint.key] == number] for number in range(TIERS)]
        puts = [balancer.staged(part) for balancer, part in zip(self._tiers, parts, strict=True)]

        def install() -> None:
            self._counts, self._tier_of, self._shares_of = counts, tier_of, NOBODY
            self._shares = shares(counts)
            for put in puts:
                put()

        return install

    def begin(self, endpoint: Endpoint, *, now: float) -> None:
        self._tiers[self._tier(endpoint)].begin(endpoint, now=now)

    def end(self, endpoint: Endpoint, *, now: float, latency_s: float | None = None, failed: bool = False) -> None:
        self._tiers[self._tier(endpoint)].end(endpoint, now=now, latency_s=latency_s, failed=failed)

    def _pick(self, key: WorkKey, now: float, avoid: frozenset[Key]) -> Endpoint:
        spot = self._rng.random() if key is None else part_of(work_hash(key))
        chosen = 0
        for number, share in enumerate(self._shares_without(avoid)):
            if share > 0.0:
                chosen = number
                if spot < share:
                    break
                spot -= share
        return self._tiers[chosen].pick(key, now=now, avoid=avoid)

    def _shares_without(self, avoid: frozenset[Key]) -> list[float]:
        """Return the share of each tier; those of the last *avoid* are kept, since the ejected change seldom."""
        if avoid is not self._shares_of:
            ready = [count for count, _ in self._counts]
            for key in avoid:
                number = self._tier_of.get(key)
                if number is not None:
                    ready[number] -= 1
            self._shares = shares([(left, known) for left, (_, known) in zip(ready, self._counts, strict=True)])
            self._shares_of = avoid
        return self._shares

    def _tier(self, endpoint: Endpoint) -> int:
        return tier((endpoint.zone, endpoint.region), here=self._here)
