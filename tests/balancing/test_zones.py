"""Near first, and what cannot be carried there goes further."""

from collections import Counter
from random import Random

import pytest

from gossipd.balancing import Balancer, Endpoint, Maglev, RoundRobin, ZoneAware
from tests.balancing.builders import fed


def at(node: str, zone: str | None, region: str | None = "r", *, ready: bool = True, weight: int = 1) -> Endpoint:
    return Endpoint(node=node, id="web", address="::1", port=80, zone=zone, region=region, ready=ready, weight=weight)


def in_zone_a(known: list[Endpoint]) -> Balancer:
    return fed(ZoneAware(lambda: RoundRobin(Random(1)), zone="a", region="r", rng=Random(1)), known)


def zones(balancer: Balancer, picks: int = 4_000) -> dict[str | None, float]:
    """Return the share of each zone."""
    counts = Counter(balancer.pick(now=0.0).zone for _ in range(picks))
    return {zone: count / picks for zone, count in counts.items()}


def many(zone: str, ready: int, known: int, region: str = "r") -> list[Endpoint]:
    return [at(f"{zone}{number}", zone, region, ready=number < ready) for number in range(known)]


def test_all_goes_to_the_own_zone_while_five_in_seven_are_ready() -> None:
    assert zones(in_zone_a([*many("a", 5, 7), *many("b", 9, 9)])) == {"a": 1.0}


def test_what_the_own_zone_cannot_carry_goes_to_the_region_then_to_all() -> None:
    balancer = in_zone_a([*many("a", 1, 2), *many("b", 9, 9), *many("c", 9, 9, "s")])
    assert zones(balancer) == {"a": pytest.approx(0.7, abs=0.03), "b": pytest.approx(0.3, abs=0.03)}
    balancer.update([*many("a", 1, 4), *many("b", 1, 4), *many("c", 9, 9, "s")])
    shares = zones(balancer)
    assert shares == {zone: pytest.approx(share, abs=0.03) for zone, share in (("a", 0.35), ("b", 0.35), ("c", 0.3))}
    balancer.update(many("c", 1, 9, "s"))
    assert zones(balancer) == {"c": 1.0}


def test_who_is_to_be_avoided_counts_as_not_ready() -> None:
    balancer = in_zone_a([*many("a", 2, 2), *many("b", 9, 9)])
    avoid = frozenset({("a0", "web"), ("elsewhere", "web")})
    counts = Counter(balancer.pick(now=0.0, avoid=avoid).node for _ in range(4_000))
    assert counts["a0"] == 0
    assert counts["a1"] / 4_000 == pytest.approx(0.7, abs=0.03)
    assert zones(balancer) == {"a": 1.0}


def test_an_own_zone_without_weight_carries_nothing() -> None:
    balancer = in_zone_a([at("a0", "a", weight=0), at("b0", "b")])
    assert zones(balancer, 50) == {"b": 1.0}


def test_who_has_no_weight_is_not_missed() -> None:
    """Neither ready nor meant to get work: the zone is no weaker for it."""
    balancer = in_zone_a([at("a0", "a"), *[at(f"a{n}", "a", ready=False, weight=0) for n in (1, 2)], at("b0", "b")])
    assert zones(balancer, 50) == {"a": 1.0}


def test_a_key_keeps_its_zone_and_its_instance() -> None:
    known = [*many("a", 2, 4), *many("b", 3, 3)]
    balancer = fed(ZoneAware(lambda: Maglev(slots=251), zone="a", region="r", rng=Random(1)), known)
    first = [balancer.pick(key, now=0.0).node for key in range(2_000)]
    assert first == [balancer.pick(key, now=0.0).node for key in range(2_000)]
    assert sum(node.startswith("a") for node in first) / 2_000 == pytest.approx(0.7, abs=0.04)
    inside = Counter(node for node in first if node.startswith("b"))
    assert min(inside.values()) > 0.2 * sum(inside.values())


def test_a_client_that_does_not_say_where_it_is_uses_all_alike() -> None:
    balancer = fed(ZoneAware(lambda: RoundRobin(Random(1)), zone=None, region=None, rng=Random(1)), many("a", 2, 2))
    assert zones(balancer, 10) == {"a": 1.0}
