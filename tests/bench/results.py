"""The figures, side by side, and whether each budget is met."""

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum

MET = {True: "yes", False: "NO", None: ""}


class Budget(Enum):
    """What a figure is held against."""

    NONE = "none"
    AT_MOST = "at most"
    AT_LEAST = "at least"
    AT_MOST_SERF = "at most serf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: *ours* and *serfs* in *unit*; None: not measured. *limit* belongs to AT_MOST and AT_LEAST."""

    what: str
    unit: str
    ours: float | None
    serfs: float | None = None
    budget: Budget = Budget.NONE
    limit: float = math.nan
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours divided by serf's."""
        return self.ours / self.serfs if self.ours is not None and self.serfs else None

    @property
    def met(self) -> bool | None:
        """Whether the budget is met; None if there is none, or what it needs was not measured."""
        if self.ours is None:
            return None
        match self.budget:
            case Budget.NONE:
                return None
            case Budget.AT_MOST:
                return self.ours <= self.limit
            case Budget.AT_LEAST:
                return self.ours >= self.limit
            case Budget.AT_MOST_SERF:
                return None if self.serfs is None else self.ours <= self.serfs

    @property
    def wanted(self) -> str:
        """The budget in words."""
        if self.budget in (Budget.AT_MOST, Budget.AT_LEAST):
            return f"{self.budget.value} {_figure(self.limit)}"
        return "" if self.budget is Budget.NONE else self.budget.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """So many requests in so many seconds, how long one took, and what processor time both ends used for all of them."""

    requests: int
    seconds: float
    client_cpu_s: float
    server_cpu_s: float
    p50_s: float = math.nan
    p99_s: float = math.nan
    """NaN where single requests are not timed."""

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    @property
    def per_server_core_second(self) -> float:
        """What one core would answer if clients and kernel cost nothing to wait for."""
        return self.requests / self.server_cpu_s if self.server_cpu_s else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedRow:
    """One line of a table of speeds; *at_least* is the budget in requests per second, None: there is none."""

    what: str
    speed: Speed
    at_least: float | None = None

    @property
    def met(self) -> bool | None:
        return None if self.at_least is None else self.speed.per_second >= self.at_least

    def figures(self) -> dict[str, float | None]:
        """Return what is told of it: requests per second, and microseconds."""
        speed = self.speed
        return {
            "per_second": speed.per_second,
            "p50_us": speed.p50_s * 1e6,
            "p99_us": speed.p99_s * 1e6,
            "client_cpu_us": speed.client_cpu_s / speed.requests * 1e6,
            "server_cpu_us": speed.server_cpu_s / speed.requests * 1e6,
            "at_least": self.at_least,
        }


@dataclass(slots=True, kw_only=True)
class Report:
    """All rows so far, and under what conditions they were measured."""

    conditions: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    speeds: dict[str, list[SpeedRow]] = field(default_factory=dict)
    """Tables of their own, by their titles."""
    problems: list[str] = field(default_factory=list)

    def as_table(self) -> str:
        text = [f"{name}: {value}" for name, value in self.conditions.items()]
        if self.rows:
            head = ("what", "unit", "gossipd", "serf", "ratio", "budget", "met?")
            text += ["", *_columns([head, *(_cells(row) for row in self.rows)], right=(2, 3, 4)), ""]
            text += [f"{row.what}: {row.note}" for row in self.rows if row.note]
        for title, speeds in self.speeds.items():
            speed_head = ("what", "per second", "p50 us", "p99 us", "client CPU us", "server CPU us", "budget", "met?")
            text += ["", title, *_columns([speed_head, *(_speed_cells(row) for row in speeds)], right=range(1, 6))]
        return "\n".join([*text, *(f"NOT MEASURED: {problem}" for problem in self.problems)])

    def as_json(self) -> str:
        rows = [
            asdict(row) | {"budget": row.wanted, "limit": None, "ratio": row.ratio, "met": row.met} for row in self.rows
        ]
        speeds = {
            title: [{"what": row.what, **row.figures(), "met": row.met} for row in rows]
            for title, rows in self.speeds.items()
        }
        told = {"conditions": self.conditions, "rows": rows, "speeds": speeds, "problems": self.problems}
        return json.dumps(told, indent=2) + "\n"


def percentile(values: Sequence[float], part: float) -> float:
    """Return the smallest of *values* that at least *part* of them, 0 to 1, do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def _columns(lines: Sequence[tuple[str, ...]], *, right: Collection[int]) -> list[str]:
    """Return *lines*, the first of them the head, in columns; those of the numbers *right* end alike."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def cell(text: str, at: int) -> str:
        return text.rjust(widths[at]) if at in right else text.ljust(widths[at])

    told = ["  ".join(cell(text, at) for at, text in enumerate(line)).rstrip() for line in lines]
    return [told[0], "  ".join("-" * width for width in widths), *told[1:]]


def _cells(row: Row) -> tuple[str, ...]:
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    return (row.what, row.unit, _figure(row.ours), _figure(row.serfs), ratio, row.wanted, MET[row.met])


def _speed_cells(row: SpeedRow) -> tuple[str, ...]:
    *figures, at_least = row.figures().values()
    budget = "" if at_least is None else f"{Budget.AT_LEAST.value} {_figure(at_least)}"
    return (row.what, *map(_figure, figures), budget, MET[row.met])


def _figure(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    if value >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
