"""The balancers that ignore keys: turns, chance, load."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from math import sqrt
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipd.balancing import LeastOutstanding, PeakEwma, RoundRobin, SmoothWeighted, UniformRandom, WeightedRandom
from tests.balancing.builders import NO_TIMES, an_endpoint, endpoints, fed, nodes

SIGMAS = 4.5
"""A count strays further from its mean less than once in 100,000 draws; with a fixed seed the test always says the same."""


# ------------------------------------------------------------------------------------------------------------------ turns


def test_round_robin_gives_each_one_turn_in_every_round() -> None:
    balancer = fed(RoundRobin(Random(1)), endpoints(7))
    picks = nodes(balancer, 70)
    assert all(len(set(picks[at : at + 7])) == 7 for at in range(63))


def test_round_robin_begins_anywhere() -> None:
    first = Counter(nodes(fed(RoundRobin(Random(seed)), endpoints(4)), 1)[0] for seed in range(200))
    assert len(first) == 4
    assert max(first.values()) < 80


def test_round_robin_goes_on_behind_who_had_the_last_turn() -> None:
    known = endpoints(4)
    balancer = fed(RoundRobin(Random(1)), known)
    while balancer.pick(now=0.0).node != "n01":
        pass
    balancer.update([*known[:1], *known[2:]])
    assert nodes(balancer, 3) == ["n02", "n03", "n00"]
    balancer.update([*known, an_endpoint("n001")])
    assert nodes(balancer, 2) == ["n001", "n01"]
    balancer.update([])
    balancer.update(known)
    assert nodes(balancer, 1) == ["n02"]


def test_round_robin_passes_by_whom_it_is_to_avoid() -> None:
    balancer = fed(RoundRobin(Random(1)), endpoints(3))
    picks = [balancer.pick(now=0.0, avoid=frozenset({("n01", "web")})).node for _ in range(4)]
    assert picks in (["n00", "n02"] * 2, ["n02", "n00"] * 2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(0, 99), st.integers(0, 40))
def test_smooth_weighted_gives_each_its_weight_in_any_cycle(weights: list[int], seed: int, before: int) -> None:
    known = [an_endpoint(f"n{number}", weight=weight) for number, weight in enumerate(weights)]
    balancer = fed(SmoothWeighted(Random(seed)), known)
    nodes(balancer, before)
    assert Counter(nodes(balancer, sum(weights))) == {endpoint.node: endpoint.weight for endpoint in known}


def test_smooth_weighted_spreads_the_turns_of_the_heavy_one() -> None:
    """nginx's own example, 5 to 1 to 1: a plain weighted rotation gives the first five turns in a row."""
    runs = []
    for seed in range(50):
        picks = nodes(fed(SmoothWeighted(Random(seed)), [an_endpoint("a", weight=50), *endpoints(50)]), 200)
        runs.append(max(len(run) for run in "".join("a" if node == "a" else " " for node in picks).split()))
    assert max(runs) <= 12
    assert sum(runs) / len(runs) < 7


def test_smooth_weighted_begins_with_anybody_by_weight() -> None:
    known = [an_endpoint("a", weight=3), an_endpoint("b", weight=1)]
    first = Counter(nodes(fed(SmoothWeighted(Random(seed)), known), 1)[0] for seed in range(400))
    assert first["a"] > 240
    assert first["b"] > 20


def test_smooth_weighted_keeps_the_turns_of_those_who_stay() -> None:
    known = endpoints(3)
    balancer = fed(SmoothWeighted(Random(1)), known)
    order = nodes(balancer, 3)
    nodes(balancer, 1)
    balancer.update([*known, an_endpoint("new")])
    picks = nodes(balancer, 8)
    assert [node for node in picks if node != "new"][:3] == [*order[1:], order[0]]
    assert picks.count("new") == 2
    balancer.update([replace(endpoint, weight=10 if endpoint.node == "n00" else 1) for endpoint in known])
    assert Counter(nodes(balancer, 120)) == {"n00": 100, "n01": 10, "n02": 10}


def test_who_was_avoided_does_not_get_its_missed_turns_all_at_once() -> None:
    balancer = fed(SmoothWeighted(Random(1)), endpoints(4))
    for _ in range(1_000):
        balancer.pick(now=0.0, avoid=frozenset({("n00", "web")}))
    assert Counter(nodes(balancer, 8)) == {"n00": 2, "n01": 2, "n02": 2, "n03": 2}


def test_a_heavy_one_that_is_avoided_costs_no_more_than_a_light_one() -> None:
    """Its 65,535 turns are passed over in one step."""
    balancer = fed(SmoothWeighted(Random(1)), [an_endpoint("a", weight=65_535), an_endpoint("b")])
    picks = [balancer.pick(now=0.0, avoid=frozenset({("a", "web")})).node for _ in range(2_000)]
    assert set(picks) == {"b"}


# ----------------------------------------------------------------------------------------------------------------- chance


def test_random_shares_are_within_the_expected_interval() -> None:
    counts = Counter(nodes(fed(UniformRandom(Random(1)), endpoints(10, weights=(1, 9))), 20_000))
    assert all(abs(count - 2_000) < SIGMAS * sqrt(20_000 * 0.1 * 0.9) for count in counts.values())


def test_weighted_random_shares_follow_the_weights() -> None:
    known = [
        an_endpoint("a", weight=1),
        an_endpoint("b", weight=3),
        an_endpoint("c", weight=0),
        an_endpoint("d", weight=6),
    ]
    counts = Counter(nodes(fed(WeightedRandom(Random(1)), known), 20_000))
    for node, share in (("a", 0.1), ("b", 0.3), ("d", 0.6)):
        assert abs(counts[node] - 20_000 * share) < SIGMAS * sqrt(20_000 * share * (1 - share))
    assert counts["c"] == 0


def test_when_nearly_all_are_to_be_avoided_the_others_are_found() -> None:
    known = endpoints(500, weights=(1, 60_000))
    avoid = frozenset(endpoint.key for endpoint in known if endpoint.node not in ("n00", "n02"))
    for balancer in (UniformRandom(Random(1)), WeightedRandom(Random(1)), PeakEwma(Random(1))):
        balancer.update(known)
        assert {balancer.pick(now=0.0, avoid=avoid).node for _ in range(60)} == {"n00", "n02"}


# ------------------------------------------------------------------------------------------------------------------- load


def test_least_outstanding_picks_who_has_the_fewest_calls_for_its_weight() -> None:
    known = [an_endpoint("a", weight=1), an_endpoint("b", weight=3)]
    balancer = fed(LeastOutstanding(Random(1)), known)
    taken = []
    for _ in range(8):
        endpoint = balancer.pick(now=0.0)
        balancer.begin(endpoint, now=0.0)
        taken.append(endpoint.node)
    assert Counter(taken) == {"b": 6, "a": 2}
    for _ in range(6):
        balancer.end(known[1], now=1.0)
    assert balancer.pick(now=1.0).node == "b"


def test_of_equals_least_outstanding_takes_who_has_waited_longest() -> None:
    balancer = fed(LeastOutstanding(Random(1)), endpoints(5))
    taken = []
    for _ in range(50):
        endpoint = balancer.pick(now=0.0)
        balancer.begin(endpoint, now=0.0)
        balancer.end(endpoint, now=0.0)
        taken.append(endpoint.node)
    assert all(len(set(taken[at : at + 5])) == 5 for at in range(45))
    starts = {nodes(fed(LeastOutstanding(Random(seed)), endpoints(5)), 1)[0] for seed in range(50)}
    assert len(starts) == 5


def test_least_outstanding_keeps_the_count_of_those_who_stay() -> None:
    a, b = an_endpoint("a"), an_endpoint("b")
    balancer = fed(LeastOutstanding(Random(1)), [a])
    balancer.begin(a, now=0.0)
    balancer.update([a, b])
    assert balancer.pick(now=0.0).node == "b"
    balancer.begin(b, now=0.0)
    balancer.end(a, now=0.0)
    assert balancer.pick(now=0.0).node == "a"


def test_peak_ewma_believes_a_slow_answer_at_once_and_a_quick_one_slowly() -> None:
    a, b = an_endpoint("a"), an_endpoint("b")
    balancer = fed(PeakEwma(Random(1), decay_s=10.0), [a, b])

    def call(endpoint: object, latency_s: float, now: float, *, failed: bool = False) -> None:
        assert endpoint in (a, b)
        target = a if endpoint is a else b
        balancer.begin(target, now=now)
        balancer.end(target, now=now, latency_s=latency_s, failed=failed)

    call(a, 0.010, 0.0)
    call(b, 0.020, 0.0)
    assert set(nodes(balancer, 20)) == {"a"}
    call(a, 0.500, 0.0)
    assert set(nodes(balancer, 20)) == {"b"}
    call(a, 0.010, 0.1)  # one good answer is not enough
    assert {balancer.pick(now=0.1).node for _ in range(20)} == {"b"}
    call(b, 0.015, 30.0)
    call(a, 0.010, 30.0)  # after three times decay_s, 5 % of the old average is left: 0.034
    assert {balancer.pick(now=30.0).node for _ in range(20)} == {"b"}
    call(a, 0.010, 60.0)
    call(b, 0.015, 60.0)
    assert {balancer.pick(now=60.0).node for _ in range(20)} == {"a"}


def test_an_instance_that_fails_quickly_does_not_get_all_the_work() -> None:
    a, b = an_endpoint("a"), an_endpoint("b")
    balancer = fed(PeakEwma(Random(1)), [a, b])
    for endpoint in (a, b):
        balancer.begin(endpoint, now=0.0)
        balancer.end(endpoint, now=0.0, latency_s=0.1)
    picked = Counter[str]()
    for step in range(500):
        endpoint = balancer.pick(now=step / 10)
        picked[endpoint.node] += 1
        balancer.begin(endpoint, now=step / 10)
        balancer.end(endpoint, now=step / 10, latency_s=0.001 if endpoint is a else 0.1, failed=endpoint is a)
    assert picked["a"] < 10


def test_who_has_never_answered_gets_one_call_at_a_time() -> None:
    known = endpoints(2)
    balancer = fed(PeakEwma(Random(1)), known)
    balancer.begin(known[0], now=0.0)
    balancer.end(known[0], now=0.0, latency_s=9.0)
    assert set(nodes(balancer, 10)) == {"n01"}
    balancer.begin(known[1], now=0.0)
    assert set(nodes(balancer, 10)) == {"n00"}
    balancer.end(known[1], now=0.0)  # cancelled: still nothing known
    assert set(nodes(balancer, 10)) == {"n01"}


def test_peak_ewma_draws_by_weight_and_counts_calls_by_weight() -> None:
    known = [an_endpoint(f"n{number}", weight=weight) for number, weight in enumerate((1, 1, 2, 4))]
    balancer = fed(PeakEwma(Random(1)), known)
    for endpoint in known:
        balancer.begin(endpoint, now=0.0)
        balancer.end(endpoint, now=0.0, latency_s=0.1)
    counts = Counter(nodes(balancer, 4_000))
    assert counts["n3"] > counts["n2"] > max(counts["n0"], counts["n1"])
    for endpoint in known:
        balancer.begin(endpoint, now=0.0)
    assert Counter(nodes(balancer, 4_000))["n3"] > 2_000


@pytest.mark.parametrize("decay_s", [0.0, float("inf"), *NO_TIMES])
def test_a_decay_that_is_none_is_refused(decay_s: float) -> None:
    with pytest.raises(ValueError, match=r"decay_s=.*, expected seconds above 0"):
        PeakEwma(Random(1), decay_s=decay_s)


def test_the_cost_of_an_exact_heap_stays_bounded() -> None:
    """Entries left behind by calls are cleared away."""
    balancer = LeastOutstanding(Random(1))
    balancer.update(endpoints(3))
    sizes = []
    for step in range(2_000):
        endpoint = balancer.pick(now=0.0)
        balancer.begin(endpoint, now=0.0)
        if step % 2:
            balancer.end(endpoint, now=0.0)
        sizes.append(len(balancer._heap))
    assert max(sizes) <= 4 * 3 + 64 + 1
    assert any(later < sooner for sooner, later in pairwise(sizes))
