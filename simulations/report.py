"""One page of all that the experiments wrote: tables, plots and verdicts, each with the command that made it.

Reads the folder that ``experiment`` and ``sweep`` write into, and what else has left a text there; needs nothing to be read: styles
and plots are in the page, and it has no script. With a budget it first runs all of it.
"""

import csv
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path

import click

from simulations import sweep
from simulations.experiments import EXPERIMENTS
from simulations.experiments.command import MADE_BY, perform
from simulations.experiments.result import Settings
from simulations.options import make_folder, processes

PAGE = "report.html"

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 75em; margin: 2em auto; padding: 0 1em; color: #222; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5em; border-top: 1px solid #ccc; padding-top: 1em; }
table { border-collapse: collapse; margin: .5em 0 1.5em; font-variant-numeric: tabular-nums; font-size: 13px; }
caption { text-align: left; font-weight: 600; padding: .3em 0; }
th, td { border-bottom: 1px solid #ddd; padding: .2em .7em; text-align: right; vertical-align: bottom; }
th { border-bottom: 2px solid #888; } td.text, th.text { text-align: left; }
code { background: #f3f3f3; padding: .15em .4em; } img { max-width: 100%; display: block; margin: 1em 0; }
.scroll { overflow-x: auto; } .good::before { content: "\\2713 "; color: #171; } .bad::before { content: "\\2717 "; color: #a11; }
.bad { font-weight: 600; } ul.verdicts { list-style: none; padding: 0; } .none { color: #777; }
"""


def page(folder: Path) -> str:
    """Return the report about *folder* as HTML. Raises: ValueError if there is nothing in it that an experiment wrote."""
    others = sorted(path.stem for path in folder.glob("*.txt") if path.stem not in _known())
    made = [name for name in [*_known(), *others] if (folder / f"{name}.txt").is_file()]
    if not made:
        raise ValueError(
            f"{folder} holds no results, expected some: run python -m simulations experiment NAME --out {folder}"
        )
    parts = [_section(name, folder) for name in made]
    missing = [name for name in _known() if name not in made]
    rest = f'<p class="none">Not run: {escape(", ".join(missing))}.</p>' if missing else ""
    links = "".join(f'<li><a href="#{name}">{escape(_title(name))}</a> {_count(name, folder)}</li>' for name in made)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>The simulation lab: report</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>\n'
        "<h1>The simulation lab: what was measured</h1>\n"
        "<p>gossipd's own node on a virtual clock. What is modelled, and how far to trust it, is in docs/explain/simulation.md. "
        "This page: <code>python -m simulations report</code>.</p>\n"
        f"<ul>{links}</ul>{rest}\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _known() -> list[str]:
    return [*EXPERIMENTS, "sweep"]


def _title(name: str) -> str:
    if name == "sweep":
        return "Seeds of stories and random worlds, watched by every checker"
    return EXPERIMENTS[name].title if name in EXPERIMENTS else name.replace("-", " ").capitalize()


def _command(name: str, text: str) -> str:
    """Return the command that made *text*, which says so in its first line; if it does not, it is told by its name."""
    first = text.partition("\n")[0]
    if first.startswith(MADE_BY):
        return first.removeprefix(MADE_BY)
    return f"python -m simulations {f'experiment {name}' if name in EXPERIMENTS else name}"


def _section(name: str, folder: Path) -> str:
    text = (folder / f"{name}.txt").read_text(encoding="utf-8")
    command = _command(name, text)
    body = [f'<h2 id="{name}">{escape(_title(name))}</h2>', f"<p>Made by <code>{escape(command)}</code></p>"]
    body += [_verdicts(_lines(name, folder))]
    for path in _files(name, folder, ".csv"):
        body += [_made_by(path.name, command), _table(path)]
    for path in [*_files(name, folder, ".svg"), *_unpaired(name, folder)]:
        body += [_made_by(path.name, command), _picture(path)]
    body.append(f"<details><summary>As it was printed</summary><pre>{escape(text)}</pre></details>")
    return "\n".join(body)


def _made_by(file: str, command: str) -> str:
    return f"<p><small>{escape(file)}, by <code>{escape(command)}</code></small></p>"


def _files(name: str, folder: Path, suffix: str) -> list[Path]:
    """Return the files of experiment *name*: those whose first word is one of its name's, as loss_joins is of uniform-loss."""
    words = name.split("-")
    return sorted(path for path in folder.glob(f"*{suffix}") if path.stem.partition("_")[0] in words)


def _unpaired(name: str, folder: Path) -> list[Path]:
    return [path for path in _files(name, folder, ".png") if not path.with_suffix(".svg").exists()]


def _picture(path: Path) -> str:
    kind = "svg+xml" if path.suffix == ".svg" else "png"
    data = b64encode(path.read_bytes()).decode("ascii")
    return f'<img alt="{escape(path.stem.replace("_", " "))}" src="data:image/{kind};base64,{data}">'


def _table(path: Path) -> str:
    with path.open(encoding="utf-8", newline="") as file:
        head, *rows = list(csv.reader(file)) or [[]]
    texts = [not all(_number(row[at]) for row in rows if at < len(row)) for at in range(len(head))]
    lines = [_row("th", head, texts), *(_row("td", [_shown(cell) for cell in row], texts) for row in rows)]
    return f'<div class="scroll"><table><caption>{escape(path.stem)}</caption>{"".join(lines)}</table></div>'


def _row(tag: str, cells: Sequence[str], texts: Sequence[bool]) -> str:
    drawn = (
        f"<{tag}{' class=text' if text else ''}>{escape(cell)}</{tag}>"
        for cell, text in zip(cells, texts, strict=False)
    )
    return f"<tr>{''.join(drawn)}</tr>"


def _number(cell: str) -> bool:
    try:
        float(cell or 0)
    except ValueError:
        return False
    return True


def _shown(cell: str) -> str:
    """Return a figure with four digits that count; anything else as it is."""
    if not cell or not _number(cell) or "." not in cell:
        return cell
    value = float(cell)
    return f"{value:,.0f}" if 1_000 <= abs(value) < 1e9 else f"{value:.4g}"


def _lines(name: str, folder: Path) -> Iterator[tuple[str, bool]]:
    """Yield the verdicts and failures in the text of *name*, and whether each is good."""
    for line in (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if ": NOT reproduced:" in line or line.startswith(("FAILED", "replay:")):
            yield line, False
        elif ": reproduced (" in line or ": beaten (" in line:
            yield line, True


def _verdicts(lines: Iterator[tuple[str, bool]]) -> str:
    items = "".join(f'<li class="{"good" if good else "bad"}">{escape(line)}</li>' for line, good in lines)
    return f'<ul class="verdicts">{items}</ul>' if items else ""


def _count(name: str, folder: Path) -> str:
    lines = list(_lines(name, folder))
    bad = sum(not good for _, good in lines)
    return f"({len(lines) - bad} of {len(lines)} goals met)" if lines else ""


SWEEP_SEEDS = {"short": 1, "full": 50}
"""Worlds for each story; those of `random_worlds` besides."""


def run_all(budget: str, folder: Path, *, jobs: int) -> None:
    """Run every experiment and a sweep into *folder*: "short", for minutes, or "full", for many hours."""
    for name in EXPERIMENTS:
        click.echo(f"{name}: {EXPERIMENTS[name].title}")
        perform(name, Settings(out=folder, short=budget == "short", full=budget == "full", jobs=jobs))
    with suppress(SystemExit):  # what failed is told on the page
        sweep.command.main(
            ["--seeds", str(SWEEP_SEEDS[budget]), "--jobs", str(jobs), "--out", str(folder)], standalone_mode=False
        )


@click.command("report")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("build/lab"), show_default=True)
@click.option(
    "--budget",
    type=click.Choice(list(SWEEP_SEEDS)),
    help="First run everything: short, more than an hour of one core; full, more than a day of one. Default: what is there.",
)
@click.option(
    "--jobs",
    type=int,
    callback=processes,
    default=-1,
    show_default=True,
    help="Processes, with --budget; -1 for one a core.",
)
def command(out: Path, budget: str | None, jobs: int) -> None:
    """Put every table and plot in the folder on one page, OUT/report.html."""
    if budget is not None:
        make_folder(out)
        run_all(budget, out, jobs=jobs)
    path = out / PAGE
    try:
        text = page(out)
        path.write_text(text, encoding="utf-8")
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise click.UsageError(f"{error.filename}: {error.strerror}") from None
    click.echo(f"written: {path}, {len(text):,} characters")


def register(cli: click.Group) -> None:
    """Add the command to the lab's group."""
    cli.add_command(command)
