"""What is said of a sample: mean with its 95 % interval, quantiles, proportions, slopes, ratios of paired seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
_T_975_MORE = (2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)
_Z = 1.959964


def student_t(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t: tabled to 30 degrees of freedom, then Fisher's expansion (right to 0.001)."""
    if freedom < 1:
        return math.inf
    table = _T_975 + _T_975_MORE
    if freedom <= len(table):
        return table[freedom - 1]
    return _Z + (_Z**3 + _Z) / (4 * freedom) + (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / (96 * freedom**2)


@dataclass(frozen=True, slots=True)
class Summary:
    """*low* and *high* bound the mean's 95 % interval (Student's t); one value alone has an infinite one."""

    count: int
    mean: float
    low: float
    high: float
    p50: float
    p99: float
    p999: float


def summarise(values: Sequence[float]) -> Summary:
    """Return the summary of *values*; NaN everywhere if there is none."""
    if not values:
        return Summary(0, *[math.nan] * 6)
    sample = np.asarray(values, dtype=float)
    mean = float(sample.mean())
    half = math.inf
    if len(sample) > 1:
        half = student_t(len(sample) - 1) * float(sample.std(ddof=1)) / math.sqrt(len(sample))
    p50, p99, p999 = (float(at) for at in np.quantile(sample, (0.5, 0.99, 0.999)))
    return Summary(len(sample), mean, mean - half, mean + half, p50, p99, p999)


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the median, from the order of *values* alone; infinite below six of them."""
    count, ordered = len(values), sorted(values)
    low = math.floor((count - _Z * math.sqrt(count)) / 2)
    if count < 6:
        return -math.inf, math.inf
    return ordered[max(0, low - 1)], ordered[min(count - 1, count - low)]


def proportion_interval(hits: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a proportion (Wilson's score), which holds for no hit as well."""
    if of < 1:
        return 0.0, 1.0
    part, spread = hits / of, _Z * _Z / of
    middle = part + spread / 2
    half = _Z * math.sqrt(part * (1 - part) / of + spread / (4 * of))
    return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))


@dataclass(frozen=True, slots=True)
class Slope:
    value: float
    low: float
    high: float

    @property
    def flat(self) -> bool:
        """Whether a slope of nothing is within the 95 % interval."""
        return self.low <= 0 <= self.high


def slope(x: Sequence[float], y: Sequence[float]) -> Slope:
    """Return the least-squares slope of *y* over *x*, of three points or more, with its 95 % interval."""
    if len(x) < 3:
        raise ValueError(f"{len(x)} points, expected 3 or more")
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    away = xs - xs.mean()
    spread = float((away * away).sum())
    if spread == 0:
        raise ValueError("all x are equal, expected at least two different")
    value = float((away * ys).sum()) / spread
    rest = ys - ys.mean() - value * away
    half = student_t(len(xs) - 2) * math.sqrt(float((rest * rest).sum()) / (len(xs) - 2) / spread)
    return Slope(value, value - half, value + half)


@dataclass(frozen=True, slots=True)
class Ratio:
    """NaN when there is nothing to divide by."""

    value: float
    low: float
    high: float


def paired_ratio(ours: Sequence[float], theirs: Sequence[float], *, draws: int = 2_000) -> Ratio:
    """Return sum of *ours* by sum of *theirs*, which are of the same worlds and seeds, one by one.

    The 95 % interval is a bootstrap over pairs (Efron's percentiles), drawn from a fixed seed.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} and {len(theirs)} values, expected pairs")
    one, other = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    if not len(one) or other.sum() == 0:
        return Ratio(math.nan, math.nan, math.nan)
    picks = np.random.default_rng(1).integers(0, len(one), size=(draws, len(one)))
    below = other[picks].sum(axis=1)
    ratios = one[picks].sum(axis=1)[below > 0] / below[below > 0]
    low, high = (float(at) for at in np.quantile(ratios, (0.025, 0.975)))
    return Ratio(float(one.sum() / other.sum()), low, high)
