"""The figures, side by side, and whether each budget is met."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum


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


@dataclass(slots=True, kw_only=True)
class Report:
    """All rows so far, and under what conditions they were measured."""

    conditions: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def as_table(self) -> str:
        head = ("what", "unit", "gossipd", "serf", "ratio", "budget", "met?")
        lines = [head, *(_cells(row) for row in self.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        text = [f"{name}: {value}" for name, value in self.conditions.items()] + [""]
        for number, line in enumerate(lines):
            text.append("  ".join(_pad(cell, widths[column], column) for column, cell in enumerate(line)).rstrip())
            if number == 0:
                text.append("  ".join("-" * width for width in widths))
        notes = [f"{row.what}: {row.note}" for row in self.rows if row.note]
        return "\n".join([*text, "", *notes, *(f"NOT MEASURED: {problem}" for problem in self.problems)])

    def as_json(self) -> str:
        rows = [
            asdict(row) | {"budget": row.wanted, "limit": None, "ratio": row.ratio, "met": row.met} for row in self.rows
        ]
        return json.dumps({"conditions": self.conditions, "rows": rows, "problems": self.problems}, indent=2) + "\n"


def percentile(values: Sequence[float], part: float) -> float:
    """Return the smallest of *values* that at least *part* of them, 0 to 1, do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def _cells(row: Row) -> tuple[str, ...]:
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    met = {True: "yes", False: "NO", None: ""}[row.met]
    return (row.what, row.unit, _figure(row.ours), _figure(row.serfs), ratio, row.wanted, met)


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    if value >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _pad(cell: str, width: int, column: int) -> str:
    return cell.rjust(width) if 2 <= column <= 4 else cell.ljust(width)
