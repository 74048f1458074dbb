"""How often news is sent, and how fast."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipd.core.broadcast.budget import TokenBucket, transmit_limit


@pytest.mark.parametrize(
    ("factor", "members", "limit"),
    [
        (3.0, 0, 0),
        (3.0, 1, 3),
        (3.0, 99, 6),
        (1.0, 10, 2),
        (4.0, 9, 4),
        (4.0, 10, 8),
        (4.0, 99, 8),
        (4.0, 999, 12),
        (4.0, 9_999, 16),
        (1.5, 10, 3),
    ],
)
def test_sends_grow_with_the_logarithm_of_the_members(factor: float, members: int, limit: int) -> None:
    """Scenario 41."""
    assert transmit_limit(members, factor=factor) == limit


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
