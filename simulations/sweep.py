"""Sweeps: many seeds of stories and of random worlds on all cores, or on a cluster; each failure comes with its replay line."""

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from joblib import Parallel, delayed, parallel_config  # type: ignore[import-untyped]

from simulations import random_worlds
from simulations.experiments.command import MADE_BY
from simulations.experiments.result import Table
from simulations.experiments.tables import as_text, write_csv
from simulations.options import make_folder, processes
from simulations.replay import Replay
from simulations.scenarios import STORIES
from simulations.steps import play, world_of

RANDOM = "random"
"""Stands beside the stories' names for a random world of each seed."""

BACKENDS = ("loky", "multiprocessing", "threading", "dask", "ray")
NODES_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What became of one world."""

    story: str
    seed: int
    line: str
    """What replays it; a random world that failed has been shrunk."""
    failed: str | None
    """The first violation."""
    events: int
    virtual_s: float
    settled_s: float | None


def run_one(story: str, nodes: int, seed: int) -> Run:
    """Run one world, in whatever process; nothing but values goes in and out."""
    if story == RANDOM:
        world = random_worlds.from_seed(seed)
        outcome = world.play()
        if not outcome.passed:
            world = random_worlds.shrunk(world)
            outcome = world.play()
        line = world.line(outcome.history_hash)
    else:
        told = STORIES[story](nodes)
        outcome = play(told, world_of(told, nodes=nodes, seed=seed))
        line = str(Replay(name=story, nodes=nodes, seed=seed, history_hash=outcome.history_hash))
    return Run(
        story=story,
        seed=seed,
        line=line,
        failed=None if outcome.passed else str(outcome.violations[0]),
        events=outcome.events,
        virtual_s=outcome.virtual_s,
        settled_s=outcome.settled_s,
    )


def sweep(cells: Iterable[tuple[str, int, int]], *, jobs: int = -1, backend: str = "loky") -> list[Run]:
    """Return the run of each (story, nodes, seed), in order. *backend*: joblib's name; a cluster must be connected already."""
    with parallel_config(backend=backend):
        done: list[Run] = Parallel(n_jobs=jobs)(delayed(run_one)(*cell) for cell in cells)
    return done


def connected(backend: str, scheduler: str | None) -> AbstractContextManager[Any]:
    """Return what keeps the connection to a cluster that *backend* needs, or nothing at all.

    Raises: click.UsageError if the library is not there, which is no dependency of ours.
    """
    if backend != "dask":
        if scheduler is not None:
            raise click.UsageError(f"--scheduler goes with --backend dask, not {backend}")
        if backend == "ray":
            try:
                import_module("ray.util.joblib").register_ray()
            except ImportError:
                raise click.UsageError("--backend ray needs ray: pip install ray") from None
        return _nothing()
    try:
        client_type = import_module("dask.distributed").Client
    except ImportError:
        raise click.UsageError("--backend dask needs dask.distributed: pip install distributed") from None
    client: AbstractContextManager[Any] = client_type(scheduler) if scheduler else client_type(processes=True)
    return client


class _nothing(AbstractContextManager[None]):
    def __exit__(self, *_: object) -> None:
        pass


def summary(runs: Sequence[Run]) -> Table:
    """Return a row for each story: how many seeds, how many failed, and which first."""
    rows = []
    for story in dict.fromkeys(run.story for run in runs):
        of = [run for run in runs if run.story == story]
        failed = [run for run in of if run.failed is not None]
        settled = sorted(run.settled_s for run in of if run.settled_s is not None)
        rows.append(
            (
                story,
                len(of),
                len(failed),
                failed[0].seed if failed else None,
                settled[len(settled) // 2] if settled else None,
                settled[-1] if settled else None,
                sum(run.events for run in of),
                sum(run.virtual_s for run in of),
            )
        )
    columns = ("story", "seeds", "failed", "first failing", "settled s p50", "most", "events", "virtual s")
    return Table(name="sweep", title="Seeds of stories, watched by every checker", columns=columns, rows=tuple(rows))


def failures(runs: Sequence[Run]) -> list[str]:
    """Return for each story that failed its first failing seed, why, and the line that replays it."""
    lines: list[str] = []
    told: set[str] = set()
    for run in runs:
        if run.failed is not None and run.story not in told:
            told.add(run.story)
            lines += [
                f"FAILED {run.story} seed {run.seed}: {run.failed}",
                f"replay: python -m simulations replay {run.line}",
            ]
    return lines


def _chosen(stories: str | None) -> list[str]:
    known = [*STORIES, RANDOM]
    chosen = known if stories is None else [name.strip() for name in stories.split(",")]
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise click.UsageError(f"story {unknown[0]!r}, expected some of: {', '.join(known)}")
    return chosen


def _tellable(stories: Sequence[str], nodes: int) -> None:
    makers: list[Callable[[int], object]] = [STORIES[story] for story in stories if story != RANDOM]
    for make in makers:
        try:
            make(nodes)
        except ValueError as error:
            raise click.UsageError(str(error)) from None


@click.command("sweep")
@click.option("--stories", help=f"Names with commas between; {RANDOM} for random worlds. Default: all of them.")
@click.option("--seeds", type=click.IntRange(min=1), default=10, show_default=True, help="Worlds for each story.")
@click.option("--first-seed", type=int, default=1, show_default=True)
@click.option(
    "--nodes", type=click.IntRange(1, NODES_MAX), default=16, show_default=True, help="Random worlds have 4 to 10."
)
@click.option(
    "--jobs", type=int, callback=processes, default=-1, show_default=True, help="Processes; -1 for one a core."
)
@click.option("--backend", type=click.Choice(BACKENDS), default="loky", show_default=True, help="joblib's backend.")
@click.option("--scheduler", metavar="ADDRESS", help="Of a Dask cluster; default: one of this machine's own.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("build/lab"), show_default=True)
def command(
    stories: str | None,
    seeds: int,
    first_seed: int,
    nodes: int,
    jobs: int,
    backend: str,
    scheduler: str | None,
    out: Path,
) -> None:
    """Run many seeds of stories and random worlds; exit status 1 if an invariant broke in any."""
    chosen = _chosen(stories)
    _tellable(chosen, nodes)
    cells = [(story, nodes, seed) for story in chosen for seed in range(first_seed, first_seed + seeds)]
    make_folder(out)
    with connected(backend, scheduler):
        click.echo(f"{len(cells)} worlds on {backend}")
        runs = sweep(cells, jobs=jobs, backend=backend)
    table = summary(runs)
    text = "\n".join([as_text(table), *failures(runs)])
    click.echo(text)
    write_csv(table, out)
    of = "" if stories is None else f" --stories {stories}"
    made_by = f"{MADE_BY}python -m simulations sweep{of} --seeds {seeds} --first-seed {first_seed} --nodes {nodes}"
    (out / "sweep.txt").write_text(f"{made_by}\n\n{text}\n", encoding="utf-8")
    sys.exit(1 if any(run.failed for run in runs) else 0)


def register(cli: click.Group) -> None:
    """Add the command to the lab's group."""
    cli.add_command(command)
