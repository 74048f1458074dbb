"""What changes too often is held out until it has been quiet, and no longer than so long."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipd.config import ChecksConfig
from gossipd.core.checks.damping import Damping
from gossipd.limits import PENALTIES_MAX

CONFIG = ChecksConfig()


def test_a_few_changes_are_forgiven_and_halve_with_time() -> None:
    damping = Damping(CONFIG)
    assert [damping.fell("a", now=at) for at in (0.0, 30.0)] == [False, False]
    assert damping.penalty("a", now=30.0) == pytest.approx(1_000 + 1_000 / math.sqrt(2))
    assert damping.penalty("a", now=90.0) == pytest.approx((1_000 + 1_000 / math.sqrt(2)) / 2)
    assert damping.penalty("b", now=90.0) == 0.0
    assert not damping.damped("a")


def test_the_fourth_change_in_a_minute_holds_it_out_until_its_penalty_is_low_again() -> None:
    damping = Damping(CONFIG)
    assert [damping.fell("a", now=at) for at in (0.0, 10.0, 20.0, 30.0, 40.0)] == [False, False, False, True, False]
    until = damping.next_deadline()
    assert damping.penalty("a", now=until) == pytest.approx(CONFIG.damping_reuse)
    assert damping.pop_due(now=until - 0.001) == []
    assert damping.damped("a")
    assert damping.pop_due(now=until) == ["a"]
    assert not damping.damped("a")


def test_what_is_worth_no_memory_is_forgotten() -> None:
    damping = Damping(CONFIG)
    damping.fell("a", now=0.0)
    assert damping.next_deadline() == pytest.approx(60.0)
    assert damping.pop_due(now=60.0) == []
    assert (len(damping), damping.next_deadline()) == (0, math.inf)


def test_what_is_forgotten_is_let_in() -> None:
    damping = Damping(CONFIG)
    for _ in range(5):
        damping.fell("a", now=0.0)
    damping.forget("a")
    assert (damping.damped("a"), damping.penalty("a", now=0.0), damping.next_deadline()) == (False, 0.0, math.inf)


def test_nothing_is_held_out_for_longer_than_that_after_it_became_quiet() -> None:
    damping = Damping(CONFIG)
    for number in range(10_000):
        damping.fell("a", now=number * 0.01)
    assert damping.next_deadline() - 99.99 == pytest.approx(CONFIG.damping_hold_most_s)


def test_a_penalty_of_zero_switches_damping_off() -> None:
    damping = Damping(replace(CONFIG, damping_penalty=0))
    assert not any(damping.fell("a", now=0.0) for _ in range(100))
    assert len(damping) == 0


def test_one_too_many_to_remember_is_not_held_against_anybody() -> None:
    damping = Damping(CONFIG)
    for number in range(PENALTIES_MAX + 1):
        damping.fell(f"web-{number}", now=0.0)
    assert len(damping) == PENALTIES_MAX
    assert [damping.fell(f"web-{PENALTIES_MAX}", now=0.0) for _ in range(9)] == [False] * 9
    assert any(damping.fell("web-0", now=0.0) for _ in range(9))


@settings(max_examples=50, deadline=None)
@given(falls=st.lists(st.floats(0.0, 300.0), min_size=1, max_size=30), half_life_s=st.sampled_from([10.0, 60.0, 300.0]))
def test_a_penalty_only_sinks_between_changes_and_damping_lasts_from_suppress_to_reuse(
    falls: list[float], half_life_s: float
) -> None:
    config = replace(CONFIG, damping_half_life_s=half_life_s)
    damping = Damping(config)
    now, left = 0.0, sorted(falls)
    while left or damping.next_deadline() < math.inf:
        at = min(left[0] if left else math.inf, damping.next_deadline())
        looks = [damping.penalty("a", now=now + (at - now) * part / 4) for part in range(5)]
        assert looks == sorted(looks, reverse=True)
        now = at
        was = damping.damped("a")
        if damping.next_deadline() <= now:
            let_in = damping.pop_due(now=now)
            assert let_in == (["a"] if was else [])
        else:
            left.pop(0)
            began = damping.fell("a", now=now)
            assert began == (not was and damping.penalty("a", now=now) >= config.damping_suppress)
        if damping.damped("a"):
            assert damping.penalty("a", now=now) >= config.damping_reuse * 0.999
    assert not damping.damped("a")
