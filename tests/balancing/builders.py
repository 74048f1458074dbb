"""Endpoints, and every balancer with a name, for the tests of balancing."""

from collections.abc import Callable, Sequence
from math import nan
from random import Random
from typing import Any

from gossipd.balancing import (
    Balancer,
    Endpoint,
    LeastOutstanding,
    Maglev,
    PeakEwma,
    Rendezvous,
    RingHash,
    RoundRobin,
    SmoothWeighted,
    UniformRandom,
    WeightedRandom,
    ZoneAware,
)

NO_TIMES: tuple[Any, ...] = (-1.0, nan, True, "5")
"""What is no number of seconds, whatever it is for."""

Make = Callable[[int], Balancer]

PLAIN: dict[str, Make] = {
    "round robin": lambda seed: RoundRobin(Random(seed)),
    "smooth weighted": lambda seed: SmoothWeighted(Random(seed)),
    "random": lambda seed: UniformRandom(Random(seed)),
    "weighted random": lambda seed: WeightedRandom(Random(seed)),
    "least outstanding": lambda seed: LeastOutstanding(Random(seed)),
    "peak ewma": lambda seed: PeakEwma(Random(seed)),
}
"""Those that ignore keys."""

BY_KEY: dict[str, Make] = {
    "ring": lambda _: RingHash(points=20),
    "rendezvous": lambda _: Rendezvous(),
    "maglev": lambda _: Maglev(slots=251),
}

ALL: dict[str, Make] = {
    **PLAIN,
    **BY_KEY,
    "zones of round robin": lambda seed: zoned(PLAIN["round robin"], seed),
    "zones of peak ewma": lambda seed: zoned(PLAIN["peak ewma"], seed),
    "zones of maglev": lambda seed: zoned(BY_KEY["maglev"], seed),
}


def zoned(make: Make, seed: int) -> Balancer:
    """Return a balancer in zone a of region r."""
    return ZoneAware(lambda: make(seed), zone="a", region="r", rng=Random(seed))


def an_endpoint(
    node: str, *, id: str = "web", weight: int = 1, ready: bool = True, zone: str | None = None
) -> Endpoint:
    region = None if zone is None else "r"
    return Endpoint(node=node, id=id, address="10.0.0.1", port=80, weight=weight, ready=ready, zone=zone, region=region)


def endpoints(count: int, *, weights: Sequence[int] = (1,)) -> list[Endpoint]:
    """Return n00, n01, ... with *weights* over and over."""
    return [an_endpoint(f"n{number:02}", weight=weights[number % len(weights)]) for number in range(count)]


def fed(balancer: Balancer, known: Sequence[Endpoint]) -> Balancer:
    balancer.update(known)
    return balancer


def nodes(balancer: Balancer, picks: int) -> list[str]:
    """Return the nodes of *picks* picks at 0.0, without a key."""
    return [balancer.pick(now=0.0).node for _ in range(picks)]
