"""How soon and how often a call is tried again."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipd.balancing import RetryPolicy
from gossipd.balancing.retries import RetryBudget
from gossipd.errors import ConfigError


def test_pauses_double_up_to_the_longest_and_are_anything_from_zero() -> None:
    policy, rng = RetryPolicy(base_s=0.1, pause_max_s=0.5), Random(1)
    for failures, longest in ((1, 0.1), (2, 0.2), (3, 0.4), (4, 0.5), (90, 0.5)):
        pauses = [policy.pause_s(failures, rng) for _ in range(500)]
        assert 0.0 <= min(pauses) < 0.05 * longest
        assert 0.95 * longest < max(pauses) <= longest
        assert sum(pauses) / 500 == pytest.approx(longest / 2, rel=0.1)


def test_a_budget_allows_a_share_of_the_calls() -> None:
    budget = RetryBudget(RetryPolicy(budget_min_per_s=0.0))
    for _ in range(100):
        budget.deposit(now=0.5)
    assert [budget.withdraw(now=0.6) for _ in range(21)] == [True] * 20 + [False]


def test_a_client_with_few_calls_has_a_budget_too() -> None:
    budget = RetryBudget(RetryPolicy(budget_min_per_s=1.0, budget_s=5))
    assert [budget.withdraw(now=0.0) for _ in range(6)] == [True] * 5 + [False]
    assert not budget.withdraw(now=4.9)
    assert [budget.withdraw(now=5.0) for _ in range(6)] == [True] * 5 + [False]


def test_a_budget_of_parts_of_a_second_is_one_of_whole_ones() -> None:
    budget = RetryBudget(RetryPolicy(budget_min_per_s=0.0, budget_share=1.0, budget_s=1.5))  # type: ignore[arg-type]
    budget.deposit(now=0.0)
    assert budget.withdraw(now=1.9)
    budget.deposit(now=2.0)
    assert not budget.withdraw(now=4.0)


def test_what_was_saved_up_is_forgotten_after_its_time() -> None:
    budget = RetryBudget(RetryPolicy(budget_min_per_s=0.0, budget_s=10))
    for _ in range(100):
        budget.deposit(now=0.0)
    assert budget.withdraw(now=9.9)
    assert not budget.withdraw(now=10.0)
    assert not budget.withdraw(now=1_000_000.0)


def test_a_clock_that_goes_back_gives_nothing() -> None:
    budget = RetryBudget(RetryPolicy(budget_min_per_s=0.1, budget_s=10))
    assert budget.withdraw(now=50.0)
    assert not budget.withdraw(now=0.0)
    assert not budget.withdraw(now=59.0)
    assert budget.withdraw(now=60.0)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([0.0, 0.2, 1.0]),
    st.sampled_from([0.0, 0.5]),
    st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=150),
)
def test_no_span_allows_more_retries_than_its_share_and_the_minimum(
    share: float, least: float, history: list[tuple[float, bool]]
) -> None:
    """In any ten seconds: calls of these and of the ten before them times the share, and the reserve, twice at the most."""
    budget = RetryBudget(RetryPolicy(budget_share=share, budget_min_per_s=least))
    now, calls, retries = 0.0, list[float](), list[float]()
    for step, is_call in history:
        now += step
        if is_call:
            budget.deposit(now=now)
            calls.append(now)
        elif budget.withdraw(now=now):
            retries.append(now)
        recent = sum(now - at <= 10.0 for at in retries)
        assert recent <= share * sum(now - at <= 21.0 for at in calls) + 2 * 10 * least + 1e-6


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("attempts_max", 0),
        ("base_s", -1.0),
        ("pause_max_s", 0.001),
        ("budget_share", float("nan")),
        ("budget_min_per_s", -1.0),
        ("budget_s", 61),
    ],
)
def test_a_wrong_setting_is_refused_with_field_value_and_expectation(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"retry.{field}={value}, expected"):
        replace(RetryPolicy(), **{field: value})  # type: ignore[arg-type]
