"""Whether what real daemons did lies within what simulated ones do: intervals, verdicts and the table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulations.experiments.result import Cell, Table, Verdict, holds
from simulations.reality.observed import NEVER
from simulations.reality.trials import Samples

TAIL = 0.01
"""Part of the simulated samples beyond either end of the interval, if there are enough of them."""

ENOUGH = 200
"""Simulated samples from which on the interval is cut at TAIL; with fewer it reaches from the least to the greatest."""

UNLIKELY = 0.01
"""A row is outside if so many real samples outside its interval, or so few, would come by chance less often than this."""

COLUMNS = ("what", "unit", "real", "min", "median", "max", "simulated", "from", "median ", "to", "inside", "verdict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing that was measured on both sides. A sample that is NEVER did not happen."""

    what: str
    unit: str
    real: Sequence[float]
    simulated: Sequence[float]

    @property
    def interval(self) -> tuple[float, float]:
        """Where simulated samples lie that happened: all of them, or all but TAIL at either end. NEVER: none happened."""
        happened = np.asarray([value for value in self.simulated if value < NEVER])
        if not len(happened):
            return NEVER, NEVER
        if len(happened) < ENOUGH:
            return float(happened.min()), float(happened.max())
        low, high = np.quantile(happened, (TAIL, 1 - TAIL), method="closest_observation")
        return float(low), float(high)

    @property
    def happened(self) -> list[float]:
        return [value for value in self.real if value < NEVER]

    @property
    def inside(self) -> int:
        """How many real samples that happened are within the interval."""
        low, high = self.interval
        return sum(low <= value <= high for value in self.happened)

    @property
    def good(self) -> bool:
        """Whether chance explains how many real samples are outside, and how many never happened."""
        outside = len(self.happened) - self.inside
        beyond = 2 * TAIL if len(self.simulated) >= ENOUGH else 2 / (len(self.simulated) + 1)
        if at_least(outside, len(self.happened), beyond) < UNLIKELY:
            return False
        share = (sum(value < NEVER for value in self.simulated) + 0.5) / (len(self.simulated) + 1)
        did, of = len(self.happened), len(self.real)
        return min(at_least(did, of, share), at_least(of - did, of, 1 - share)) >= UNLIKELY / 2

    def cells(self) -> tuple[Cell, ...]:
        low, high = self.interval
        verdict = "OUTSIDE" if not self.good else "inside" if self.inside == len(self.happened) else "by chance"
        return (
            *(self.what, self.unit, _count(self.real), *_spread(self.real), _count(self.simulated)),
            *(_shown(low), _shown(_median(self.simulated)), _shown(high)),
            *(f"{self.inside} of {len(self.happened)}", verdict),
        )

    def verdict(self) -> Verdict:
        low, high = self.interval
        ours = f"{_shown(min(self.real))} to {_shown(max(self.real))} {self.unit} in {_count(self.real)}"
        wanted = f"{_shown(low)} to {_shown(high)} {self.unit} in {_count(self.simulated)}"
        return holds(self.what, self.good, ours=ours, wanted=wanted)


def rows(real: Samples, simulated: Sequence[Samples]) -> list[Row]:
    """Return what was measured on both sides, in the order in which it was taken."""
    pooled = Samples()
    for each in simulated:
        pooled.extend(each)
    return [
        Row(what=what, unit=unit, real=values, simulated=pooled.taken[what, unit])
        for (what, unit), values in real.taken.items()
    ]


def table(rows: Sequence[Row], notes: Sequence[str]) -> Table:
    return Table(
        name="reality",
        title="Real daemons beside simulated ones",
        columns=COLUMNS,
        rows=tuple(row.cells() for row in rows),
        notes=tuple(notes),
    )


def at_least(hits: int, of: int, chance: float) -> float:
    """Return the probability of *hits* or more in *of* draws, each with *chance*."""
    return sum(math.comb(of, k) * chance**k * (1 - chance) ** (of - k) for k in range(hits, of + 1))


def _count(values: Sequence[float]) -> str:
    """Return how many samples there are; if some never happened, how many did, of how many."""
    did = sum(value < NEVER for value in values)
    return str(did) if did == len(values) else f"{did} of {len(values)}"


def _median(values: Sequence[float]) -> float:
    happened = sorted(value for value in values if value < NEVER)
    return happened[len(happened) // 2] if happened else NEVER


def _spread(values: Sequence[float]) -> tuple[str, str, str]:
    happened = [value for value in values if value < NEVER] or [NEVER]
    return _shown(min(happened)), _shown(_median(values)), _shown(max(happened))


def _shown(value: float) -> str:
    return f"{value:.3f}" if 0 < value < 10 and value != round(value) else "never" if value == NEVER else f"{value:.4g}"
