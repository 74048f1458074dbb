"""python -m simulations: list the stories, run one, replay a line; sweep seeds; measure what papers published, and report it."""

import sys

import click

from simulations import random_worlds, report, sweep
from simulations.experiments.command import register
from simulations.picture import Timeline, draw
from simulations.reality import command as reality
from simulations.replay import Replay, parse
from simulations.scenarios import STORIES
from simulations.steps import Outcome, Story, play, world_of
from simulations.watching import Watcher

NODES_MAX = 10_000


class Progress(Watcher):
    """Says each ten virtual seconds where the world is."""

    def on_second(self) -> None:
        if round(self.world.now) % 10 == 0:
            click.echo(f"\r{self.world.now:9.0f} s  {self.world.steps:,} events", err=True, nl=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def main() -> None:
    """The simulation lab: gossipd's own node on a virtual clock, replayed from a seed."""


@main.command("list")
def list_stories() -> None:
    """List the stories."""
    for name, make in STORIES.items():
        click.echo(f"{name:26} {make(100).about}")


@main.command()
@click.argument("story")
@click.option("--nodes", type=click.IntRange(1, NODES_MAX), default=50, show_default=True, help="Hosts in the world.")
@click.option("--seed", type=int, default=1, show_default=True, help="What everything is drawn from.")
@click.option("--width", type=click.IntRange(10, 500), default=100, show_default=True, help="Letters of the picture.")
def run(story: str, nodes: int, seed: int, width: int) -> None:
    """Run STORY, draw what the members believed, and tell whether every invariant held (exit status 1 if not)."""
    sys.exit(_run(Replay(name=story, nodes=nodes, seed=seed), width=width))


@main.command()
@click.argument("line", nargs=-1, required=True)
@click.option("--width", type=click.IntRange(10, 500), default=100, show_default=True, help="Letters of the picture.")
def replay(line: tuple[str, ...], width: int) -> None:
    """Run again what a replay LINE says; if it names a history, tell whether it was the same."""
    try:
        asked = parse(" ".join(line))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not 1 <= asked.nodes <= NODES_MAX:
        raise click.UsageError(f"nodes={asked.nodes}, expected 1 to {NODES_MAX}")
    sys.exit(_run(asked, width=width))


def _run(asked: Replay, *, width: int) -> int:
    story = _story(asked)
    timeline = Timeline()
    watchers: list[Watcher] = [timeline]
    live = sys.stderr.isatty()
    if live:
        watchers.append(Progress())
    click.echo(f"{asked.name}, {asked.nodes} nodes, seed {asked.seed}: {story.about}\n")
    world = world_of(story, nodes=asked.nodes, seed=asked.seed)
    outcome = play(story, world, watchers=watchers, telling=lambda text: click.echo(f"\r{text}"))
    if live:
        click.echo("\r" + " " * 60 + "\r", err=True, nl=False)
    click.echo("\n" + draw(timeline, width=width, colour=sys.stdout.isatty()) + "\n")
    return _report(asked, outcome)


def _story(asked: Replay) -> Story:
    make = STORIES.get(asked.name)
    if make is None and not asked.name.startswith(random_worlds.PREFIX):
        raise click.UsageError(f"story {asked.name!r}, expected one of: {', '.join(STORIES)}")
    try:
        return random_worlds.story_of(asked.name, asked.nodes) if make is None else make(asked.nodes)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _report(asked: Replay, outcome: Outcome) -> int:
    for what, seconds in outcome.took_s:
        click.echo(f"{seconds:9.1f} s  until {what}")
    for violation in outcome.violations:
        click.echo(f"FAILED {violation}")
    click.echo(f"{outcome.events:,} events in {outcome.virtual_s:,.1f} virtual seconds; history {outcome.history_hash}")
    line = Replay(name=asked.name, nodes=asked.nodes, seed=asked.seed, history_hash=outcome.history_hash)
    click.echo(f"replay: python -m simulations replay {line}")
    same = asked.history_hash in (None, outcome.history_hash)
    if not same:
        click.echo(f"DIFFERENT history than {asked.history_hash}: the code, or the story, has changed since")
    return 0 if outcome.passed and same else 1


register(main)
sweep.register(main)
report.register(main)
reality.register(main)

if __name__ == "__main__":
    main(prog_name="python -m simulations")
