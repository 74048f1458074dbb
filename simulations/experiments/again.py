"""One world of `partition` or `healing`, told again from its line."""

import math
from dataclasses import asdict

import click

from simulations.experiments.healing import SHAPES, Cutting


@click.command()
@click.argument("shape", type=click.Choice(list(SHAPES)))
@click.option("--nodes", type=click.IntRange(3, 10_000), default=100, show_default=True)
@click.option("--cut-s", type=click.FloatRange(min=1), default=600.0, show_default=True, help="Seconds of the cut.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--branch", type=click.IntRange(min=1), help="The luck after the cut; default: that of the seed.")
def heal(shape: str, nodes: int, cut_s: float, seed: int, branch: int | None) -> None:
    """Cut a world in SHAPE and heal it, as `experiment partition` and `experiment healing` do; print its figures."""
    if not math.isfinite(cut_s):
        raise click.UsageError(f"--cut-s {cut_s:g}, expected a finite number")
    try:
        SHAPES[shape](nodes)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    for name, value in asdict(Cutting(shape, nodes, cut_s, seed).heal(branch)).items():
        click.echo(f"{name:20} {'never' if value is None else value}")
