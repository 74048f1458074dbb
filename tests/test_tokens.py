"""How often something may happen."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipd.tokens import TokenBucket


def test_a_bucket_gives_its_burst_at_once_and_then_its_rate() -> None:
    bucket = TokenBucket(per_s=10.0, burst=3, now=0.0)
    assert [bucket.take(1, now=0.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(1, now=0.099)
    assert bucket.take(1, now=0.1)
    assert bucket.take(3, now=99.0)
    assert not bucket.take(1, now=99.0)


def test_a_bucket_gives_all_that_is_asked_or_nothing() -> None:
    bucket = TokenBucket(per_s=1.0, burst=3, now=0.0)
    assert not bucket.take(4, now=0.0)
    assert bucket.take(3, now=0.0)


def test_a_clock_that_goes_back_neither_gives_nor_takes() -> None:
    bucket = TokenBucket(per_s=10.0, burst=3, now=1.0)
    assert bucket.take(3, now=1.0)
    assert not bucket.take(1, now=0.0)
    assert not bucket.take(1, now=1.0)
    assert bucket.take(1, now=1.1)


@pytest.mark.parametrize("wrong", [-1, math.inf, math.nan, True, "5"])
@pytest.mark.parametrize("field", ["per_s", "burst"])
def test_a_rate_or_a_burst_that_is_none_is_refused(field: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=f"{field}={wrong!r}, expected a finite number, 0 or more"):
        TokenBucket(**{"per_s": 1.0, "burst": 1.0, "now": 0.0} | {field: wrong})


@given(
    st.floats(0.1, 1_000),
    st.integers(1, 100),
    st.lists(st.tuples(st.floats(-1, 10), st.integers(0, 20)), max_size=100),
)
def test_no_span_of_time_gives_more_than_the_burst_and_the_rate(
    per_s: float, burst: int, asks: list[tuple[float, int]]
) -> None:
    """Not even with a clock that goes back."""
    bucket = TokenBucket(per_s=per_s, burst=burst, now=0.0)
    now = latest = 0.0
    given_out = 0
    for step, wanted in asks:
        now += step
        latest = max(latest, now)
        given_out += wanted if bucket.take(wanted, now=now) else 0
        assert given_out <= burst + per_s * latest * (1 + 1e-9) + 1e-6


def test_a_debt_is_paid_off_before_anybody_takes_and_is_never_more_than_a_burst() -> None:
    bucket = TokenBucket(per_s=10.0, burst=20, now=0.0)
    bucket.spend(25, now=0.0)
    assert bucket.left(now=0.0) == 0.0
    assert bucket.wait_s(1, now=0.0) == pytest.approx(0.6)
    bucket.spend(1_000_000, now=0.0)
    assert bucket.wait_s(1, now=0.0) == pytest.approx(2.1)
    assert bucket.left(now=3.0) == pytest.approx(10.0)
    assert bucket.left(now=99.0) == 20


def test_a_bucket_says_how_long_to_wait_and_takes_nothing_for_it() -> None:
    bucket = TokenBucket(per_s=10.0, burst=3, now=0.0)
    assert bucket.wait_s(3, now=0.0) == 0.0
    assert bucket.take(3, now=0.0)
    assert [bucket.wait_s(1, now=now) for now in (0.0, 0.05, 0.1)] == pytest.approx([0.1, 0.05, 0.0])
    assert bucket.take(1, now=0.1)
    assert bucket.take(1, now=0.1 + bucket.wait_s(1, now=0.1))
    assert bucket.wait_s(4, now=99.0) == math.inf
    assert TokenBucket(per_s=0.0, burst=0.0, now=0.0).wait_s(1, now=0.0) == math.inf
