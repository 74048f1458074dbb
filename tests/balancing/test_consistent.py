"""Ring, rendezvous, Maglev: equal work to the same instance, in every process, and little of it moved."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipd.balancing import Balancer, Maglev, Rendezvous, RingHash
from gossipd.balancing.consistent import part_of
from gossipd.balancing.hashes import MASK, instance_points, mixed, work_hash
from tests.balancing.builders import BY_KEY, an_endpoint, endpoints, fed

every = pytest.mark.parametrize("name", BY_KEY)
FULL = {"ring": RingHash, "rendezvous": Rendezvous, "maglev": Maglev}
KEYS = range(3_000)
ROOT = Path(__file__).resolve().parents[2]


def owners(balancer: Balancer) -> list[str]:
    return [balancer.pick(key, now=0.0).node for key in KEYS]


@every
def test_equal_keys_go_to_the_same_instance_whatever_is_picked_in_between(name: str) -> None:
    balancer = fed(BY_KEY[name](1), endpoints(8))
    assert owners(balancer) == owners(balancer) == owners(fed(BY_KEY[name](2), endpoints(8)[::-1]))


@every
def test_another_process_agrees(name: str) -> None:
    program = (
        "from tests.balancing.builders import *;"
        f"b = fed(BY_KEY[{name!r}](1), endpoints(8, weights=(1, 2, 3)));"
        "print(*[b.pick(f'user-{k}', now=0.0).node for k in range(40)])"
    )
    balancer = fed(BY_KEY[name](1), endpoints(8, weights=(1, 2, 3)))
    here = [balancer.pick(f"user-{key}", now=0.0).node for key in range(40)]
    env = {**os.environ, "PYTHONHASHSEED": "12345"}
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert run.stdout.split() == here


def test_hashes_are_the_same_in_every_version() -> None:
    """Clients of different versions must agree: these numbers never change."""
    assert work_hash("user-1") == work_hash(b"user-1") == 0x9AAC5A8621EAE188
    assert work_hash(5) == work_hash("5") == 0x8B54089FEE8D99A0
    assert instance_points(("ann", "web"), 9)[0] == 0x689CCB33E7CBC52B
    assert len(set(instance_points(("ann", "web"), 200))) == 200
    assert instance_points(("ann", "web"), 200)[:9] == instance_points(("ann", "web"), 9)


@every
@settings(max_examples=15, deadline=None)
@given(st.integers(2, 12), st.integers(0, 11))
def test_when_one_leaves_only_its_keys_move_and_come_back_with_it(name: str, count: int, gone: int) -> None:
    """Maglev lets a few others change hands too; its paper says so."""
    known = endpoints(count)
    lost = known[gone % count]
    balancer = fed(BY_KEY[name](1), known)
    before = owners(balancer)
    balancer.update([endpoint for endpoint in known if endpoint is not lost])
    after = owners(balancer)
    moved = sum(old != new for old, new in zip(before, after, strict=True) if old != lost.node)
    assert lost.node not in after
    assert moved <= (len(KEYS) * 0.35 if name == "maglev" else 0)
    balancer.update(known)
    assert owners(balancer) == before


@pytest.mark.parametrize("name", FULL)
def test_about_one_nth_of_the_keys_move_when_one_of_n_leaves(name: str) -> None:
    known = endpoints(10)
    balancer = fed(FULL[name](), known)
    before = owners(balancer)
    moved = []
    for lost in known[:4]:
        balancer.update([endpoint for endpoint in known if endpoint is not lost])
        moved.append(sum(old != new for old, new in zip(before, owners(balancer), strict=True)) / len(KEYS))
    assert 0.07 < sum(moved) / 4 < 0.14
    assert max(moved) < 0.16


@pytest.mark.parametrize(("name", "most"), [("ring", 1.35), ("rendezvous", 1.2), ("maglev", 1.2)])
def test_shares_are_nearly_even(name: str, most: float) -> None:
    counts = Counter(owners(fed(FULL[name](), endpoints(10))))
    assert max(counts.values()) < most * len(KEYS) / 10


@pytest.mark.parametrize("name", FULL)
def test_shares_follow_the_weights(name: str) -> None:
    known = [
        an_endpoint("a", weight=1),
        an_endpoint("b", weight=3),
        an_endpoint("c", weight=0),
        an_endpoint("d", weight=6),
    ]
    counts = Counter(owners(fed(FULL[name](), known)))
    assert counts["c"] == 0
    for node, share in (("a", 0.1), ("b", 0.3), ("d", 0.6)):
        assert counts[node] / len(KEYS) == pytest.approx(share, rel=0.25)


@pytest.mark.parametrize("name", FULL)
def test_a_key_whose_owner_is_to_be_avoided_has_a_second_home(name: str) -> None:
    """Always the same one, and not one for all keys."""
    balancer = fed(FULL[name](), endpoints(6))
    mine = [key for key in KEYS if balancer.pick(key, now=0.0).node == "n00"]
    avoid = frozenset({("n00", "web")})
    second = [balancer.pick(key, now=0.0, avoid=avoid).node for key in mine]
    assert second == [balancer.pick(key, now=0.0, avoid=avoid).node for key in mine]
    assert max(Counter(second).values()) < 0.5 * len(mine)
    assert len(set(second)) == 5


def test_rendezvous_moves_only_what_a_weight_gains() -> None:
    known = [an_endpoint("a"), an_endpoint("b"), an_endpoint("c", weight=2)]
    before = owners(fed(Rendezvous(), known))
    after = owners(fed(Rendezvous(), [*known[:2], an_endpoint("c", weight=4)]))
    assert {new for old, new in zip(before, after, strict=True) if old != new} == {"c"}


def test_maglev_fills_its_table_anew_only_when_it_must() -> None:
    known = endpoints(3)
    balancer = Maglev(slots=251)
    balancer.update(known)
    filled = balancer._owners
    balancer.update([*known[:2], an_endpoint("n02", zone="b")])
    assert balancer._owners is filled
    balancer.update(known[:2])
    assert balancer._owners is not filled


def test_the_ring_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gossipd.balancing.consistent.RING_POINTS_MAX", 100)
    balancer = RingHash(points=160)
    balancer.update(endpoints(30))
    assert len(balancer._ring) == 90
    assert len(balancer._owners) == 90


@every
@pytest.mark.parametrize(
    ("key", "message"),
    [
        (None, "key is missing, expected text, bytes or a whole number"),
        (1.5, "key=1.5 is a float, expected text, bytes or a whole number"),
        (("a", 1), "is a tuple, expected text"),
        (True, "key=True is a bool"),
    ],
)
def test_a_key_that_cannot_be_hashed_is_an_error_that_says_what_to_do(name: str, key: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        fed(BY_KEY[name](1), endpoints(2)).pick(key, now=0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("slots", [-1, 0, 1, 4, 65_536, 655_379, 1_000_003])
def test_a_table_that_is_no_prime_or_too_large_is_refused(slots: int) -> None:
    with pytest.raises(ValueError, match=f"slots={slots}, expected a prime up to"):
        Maglev(slots=slots)


@pytest.mark.parametrize("points", [0, 1_001])
def test_too_few_or_too_many_points_are_refused(points: int) -> None:
    with pytest.raises(ValueError, match=f"points={points}, expected 1 to 1000"):
        RingHash(points=points)


def test_the_highest_hash_is_below_one_and_the_lowest_above_zero() -> None:
    """Or the logarithm of weighted rendezvous would fail, once in a very long time."""
    parts = [part_of(spot) for spot in range(2_000)]
    assert 0.0 < min(parts) < 0.01
    assert 0.99 < max(parts) < 1.0
    inverse = next(spot for spot in (_unmixed(MASK) ^ MASK,) if mixed(spot ^ MASK) == MASK)
    assert part_of(inverse) < 1.0


def _unmixed(value: int) -> int:
    """Return what `mixed` makes *value* of: its steps backwards."""
    value ^= value >> 33
    value = value * pow(0xC4CEB9FE1A85EC53, -1, 2**64) & MASK
    value ^= value >> 33
    value = value * pow(0xFF51AFD7ED558CCD, -1, 2**64) & MASK
    return value ^ value >> 33
