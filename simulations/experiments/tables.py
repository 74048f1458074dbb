"""Tables as text for people and as CSV for programs."""

import csv
from io import StringIO
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from simulations.experiments.result import Cell, Table

WIDTH = 240


def shown(cell: Cell) -> str:
    """Return *cell* as people read it: four figures that count, nothing for None."""
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:,.0f}" if 1_000 <= abs(cell) < 1e9 else f"{cell:.4g}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def as_text(table: Table) -> str:
    """Return *table* with its title above and its notes below."""
    drawn = RichTable(title=table.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for at, column in enumerate(table.columns):
        number = all(not isinstance(row[at], str) for row in table.rows)
        drawn.add_column(column, justify="right" if number else "left", no_wrap=len(column) < 14)
    for row in table.rows:
        drawn.add_row(*map(shown, row))
    out = StringIO()
    Console(file=out, width=WIDTH, color_system=None, highlight=False, markup=False).print(drawn)
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    return "\n".join([*lines, *(f"  {note}" for note in table.notes)]) + "\n"


def write_csv(table: Table, folder: Path) -> Path:
    """Write *table*, unrounded, as <name>.csv into *folder*; return where."""
    path = folder / f"{table.name}.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table.columns)
        writer.writerows(["" if cell is None else cell for cell in row] for row in table.rows)
    return path
