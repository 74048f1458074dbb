"""What an experiment is, is told, and returns: values only. Drawing is in `plots`, printing in `tables`, the face in `command`."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from joblib import Parallel, delayed  # type: ignore[import-untyped]

from simulations.experiments.statistics import Summary

Cell = str | float | int | None
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How large an experiment is to be."""

    out: Path = Path("build/lab")
    quick: bool = False
    """Only show that it runs: figures mean nothing."""
    short: bool = False
    """As usual, but without worlds that take minutes: what a report has time for."""
    full: bool = False
    """The whole grid, for hours on many cores."""
    seeds: int | None = None
    """Worlds for each cell; None: what the experiment deems enough."""
    first_seed: int = 1
    jobs: int = -1
    """Processes; -1 for one a core. One in --quick."""

    def __post_init__(self) -> None:
        if self.quick + self.short + self.full > 1:
            raise ValueError("quick, short and full exclude each other")
        if self.seeds is not None and self.seeds < 1:
            raise ValueError(f"seeds={self.seeds!r}, expected 1 or more")

    def flags(self) -> str:
        """Return what `experiment` is to be told for the same figures: a blank and a flag each."""
        chosen = [name for name in ("quick", "short", "full") if getattr(self, name)]
        seeds = [] if self.seeds is None else [f"seeds {self.seeds}"]
        first = [] if self.first_seed == 1 else [f"first-seed {self.first_seed}"]
        return "".join(f" --{flag}" for flag in chosen + seeds + first)

    def seed_list(self, *, quick: int, usual: int, full: int) -> list[int]:
        """Return the seeds of each cell: as many as were asked for, or what the size of the run wants."""
        count = self.seeds or (quick if self.quick else full if self.full else usual)
        return list(range(self.first_seed, self.first_seed + count))

    def pick(self, quick: T, usual: T, full: T) -> T:
        """Return what goes with the size of the run."""
        return quick if self.quick else full if self.full else usual


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """*name* is the CSV's; a column that holds what others published says so, with its tag."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What we measured: points, joined by a line if *joined*; *low* and *high* are error bars, if given."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    joined: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What theory or a paper says: a level over the whole width if there is no *x*, else a curve or single points."""

    label: str
    y: Sequence[float]
    x: Sequence[float] = ()
    points: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    name: str
    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    limits: tuple[Limit, ...] = ()
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Computed from the figures, never written by hand."""

    claim: str
    outcome: str
    """"reproduced", "beaten" or "NOT reproduced"."""
    ours: str
    wanted: str

    @property
    def good(self) -> bool:
        return self.outcome != NOT_REPRODUCED

    def __str__(self) -> str:
        if self.good:
            return f"{self.claim}: {self.outcome} (ours {self.ours}, wanted {self.wanted})"
        return f"{self.claim}: {self.outcome}: ours {self.ours}, wanted {self.wanted}"


REPRODUCED, BEATEN, NOT_REPRODUCED = "reproduced", "beaten", "NOT reproduced"


def within(
    claim: str,
    ours: float,
    *,
    wanted: float,
    tolerance: float,
    unit: str = "",
    interval: tuple[float, float] | None = None,
) -> Verdict:
    """Judge whether *ours* is at most the part *tolerance* off *wanted*. NaN never is.

    *interval* is that of *ours*, which proves nothing if half of it is wider than what is tolerated.
    """
    allowed = tolerance * abs(wanted)
    good = abs(ours - wanted) <= allowed
    shown = f"{ours:.4g}{unit}"
    if interval is not None:
        low, high = interval
        good = good and (high - low) / 2 <= allowed
        shown += f" ({low:.4g} to {high:.4g})"
    return Verdict(claim=claim, outcome=_word(good), ours=shown, wanted=f"{wanted:.4g}{unit} ± {tolerance:.0%}")


def between(claim: str, ours: float, *, low: float, high: float, unit: str = "") -> Verdict:
    """Judge whether *ours* is within *low* to *high*."""
    good = low <= ours <= high
    target = f"{low:.4g} to {high:.4g}{unit}"
    return Verdict(claim=claim, outcome=_word(good), ours=f"{ours:.4g}{unit}", wanted=target)


def at_most(claim: str, ours: float, *, wanted: float, beat: float | None = None, unit: str = "") -> Verdict:
    """Judge whether *ours* is at most *wanted*, and beaten if it is at most *beat*; a figure equal to *wanted* is reproduced."""
    target = f"at most {wanted:.4g}{unit}"
    if beat is not None and ours <= beat:
        return Verdict(claim=claim, outcome=BEATEN, ours=f"{ours:.4g}{unit}", wanted=f"at most {beat:.4g}{unit}")
    return Verdict(claim=claim, outcome=_word(ours <= wanted), ours=f"{ours:.4g}{unit}", wanted=target)


def holds(claim: str, good: bool, *, ours: str, wanted: str, better: bool = False) -> Verdict:
    """Judge something that is no single figure; *better*: it is more than what was published."""
    return Verdict(
        claim=claim, outcome=(BEATEN if better else REPRODUCED) if good else NOT_REPRODUCED, ours=ours, wanted=wanted
    )


def _word(good: bool) -> str:
    return REPRODUCED if good else NOT_REPRODUCED


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    tables: tuple[Table, ...]
    plots: tuple[Plot, ...]
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()
    """What was reduced, and what the figures do not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    title: str
    run: Callable[[Settings], Result]


SUMMARY_COLUMNS = ("count", "mean", "95 % low", "95 % high", "p50", "p99", "p99.9")


def summary_cells(summary: Summary) -> tuple[Cell, ...]:
    """Return the cells under SUMMARY_COLUMNS."""
    return (summary.count, summary.mean, summary.low, summary.high, summary.p50, summary.p99, summary.p999)


def spread(settings: Settings, function: Callable[..., T], cells: Iterable[tuple[Any, ...]]) -> list[T]:
    """Return ``function(*cell)`` for each of *cells*, in order, worked out on all cores; each cell is a world with its seed."""
    jobs = 1 if settings.quick else settings.jobs
    done: list[T] = Parallel(n_jobs=jobs)(delayed(function)(*cell) for cell in cells)
    return done
