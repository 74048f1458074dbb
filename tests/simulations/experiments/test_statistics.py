"""Statistics against values known by heart or by table."""

import math

import pytest

from simulations.experiments.statistics import (
    median_interval,
    paired_ratio,
    proportion_interval,
    slope,
    student_t,
    summarise,
)


def test_a_summary_of_one_to_five() -> None:
    summary = summarise([1, 2, 3, 4, 5])
    assert (summary.count, summary.mean, summary.p50) == (5, 3.0, 3.0)
    half = 2.776 * math.sqrt(2.5 / 5)
    assert (summary.low, summary.high) == pytest.approx((3 - half, 3 + half))
    assert summary.p99 == pytest.approx(4.96)
    assert summary.p999 == pytest.approx(4.996)


def test_one_value_has_no_interval_and_none_has_nothing() -> None:
    assert (summarise([7]).low, summarise([7]).high) == (-math.inf, math.inf)
    assert math.isnan(summarise([]).mean)


@pytest.mark.parametrize(
    ("freedom", "expected"), [(1, 12.706), (10, 2.228), (30, 2.042), (31, 2.040), (60, 2.000), (10**6, 1.960)]
)
def test_student_s_t(freedom: int, expected: float) -> None:
    assert student_t(freedom) == pytest.approx(expected, abs=1.5e-3)


def test_the_median_s_interval_is_that_of_the_binomial() -> None:
    assert median_interval(list(range(1, 101))) == (40, 61)  # tabled: the 40th and the 61st of a hundred
    assert median_interval([3.0] * 5) == (-math.inf, math.inf)


def test_wilson_s_interval() -> None:
    assert proportion_interval(10, 100) == pytest.approx((0.05523, 0.17437), abs=1e-4)
    assert proportion_interval(0, 100) == pytest.approx((0.0, 0.03699), abs=1e-4)
    assert proportion_interval(0, 0) == (0.0, 1.0)


def test_a_slope_and_when_it_is_flat() -> None:
    steep = slope([1, 2, 3, 4], [2.1, 3.9, 6.1, 7.9])
    assert steep.value == pytest.approx(1.96)
    assert not steep.flat
    assert slope([1, 2, 3, 4], [1.0, 1.1, 0.9, 1.0]).flat


@pytest.mark.parametrize(("x", "expected"), [([1, 2], "3 or more"), ([2, 2, 2], "all x are equal")])
def test_a_slope_of_nothing_is_refused(x: list[float], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        slope(x, x)


def test_a_ratio_of_pairs_is_tight_where_the_pairs_agree() -> None:
    base = [10.0, 200.0, 30.0, 400.0]
    ratio = paired_ratio([of / 2 for of in base], base)
    assert (ratio.value, ratio.low, ratio.high) == (0.5, 0.5, 0.5)
    assert math.isnan(paired_ratio([1.0], [0.0]).value)
    with pytest.raises(ValueError, match="expected pairs"):
        paired_ratio([1.0], [])
