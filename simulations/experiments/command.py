"""The face of the experiments on the command line; drawing is imported when something is to be drawn."""

from pathlib import Path

import click

from simulations.experiments import EXPERIMENTS
from simulations.experiments.again import heal
from simulations.experiments.result import Result, Settings
from simulations.experiments.tables import as_text, write_csv
from simulations.options import make_folder, processes

MADE_BY = "made by "
"""How the text of an experiment begins."""


def write(result: Result, folder: Path) -> list[Path]:
    """Write the tables as CSV and the plots as PNG and SVG into *folder*, which is made; return where."""
    from simulations.experiments.plots import write_plot  # noqa: PLC0415  matplotlib is slow to import

    folder.mkdir(parents=True, exist_ok=True)
    written = [write_csv(table, folder) for table in result.tables]
    return written + [path for plot in result.plots for path in write_plot(plot, folder)]


def report(result: Result) -> str:
    """Return the tables, the notes and the verdicts as text."""
    parts = [as_text(table) for table in result.tables]
    parts += [f"note: {note}" for note in result.notes]
    parts += ["", *map(str, result.verdicts)]
    return "\n".join(parts)


def perform(name: str, settings: Settings) -> list[Path]:
    """Measure, print, and write everything into *settings.out*; return where. The text begins with the command."""
    result = EXPERIMENTS[name].run(settings)
    text = report(result)
    click.echo(text)
    written = write(result, settings.out)
    saved = settings.out / f"{name}.txt"
    made_by = f"{MADE_BY}python -m simulations experiment {name}{settings.flags()}"
    saved.write_text(f"{made_by}\n\n{text}\n", encoding="utf-8")
    return [*written, saved]


@click.command()
@click.argument("name", type=click.Choice(list(EXPERIMENTS)))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("build/lab"), show_default=True)
@click.option(
    "--seeds", type=click.IntRange(min=1), help="Worlds for each cell; default: what the experiment deems enough."
)
@click.option("--first-seed", type=int, default=1, show_default=True)
@click.option(
    "--jobs", type=int, callback=processes, default=-1, show_default=True, help="Processes; -1 for one a core."
)
@click.option("--quick", is_flag=True, help="Only show that it runs; the figures mean nothing.")
@click.option("--short", is_flag=True, help="As usual, but without worlds that take minutes.")
@click.option("--full", is_flag=True, help="The whole grid: hours.")
def experiment(
    name: str, out: Path, seeds: int | None, first_seed: int, jobs: int, quick: bool, short: bool, full: bool
) -> None:
    """Measure what papers published: print ours beside theirs, write CSV and plots."""
    try:
        settings = Settings(out=out, quick=quick, short=short, full=full, seeds=seeds, first_seed=first_seed, jobs=jobs)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    make_folder(out)
    click.echo(f"{name}: {EXPERIMENTS[name].title}")
    click.echo("written: " + ", ".join(map(str, perform(name, settings))))


def register(cli: click.Group) -> None:
    """Add the commands to the lab's group."""
    cli.add_command(experiment)
    cli.add_command(heal)
