"""E2, its first half: how soon after a cut each side suspects all of the other, against the sizes of both.

Derived: each of a side's a members goes through its list of n - 1 one a period, so that none of them has come to a given member
after t periods with the probability (1 - t / (n - 1))^a; the last of b is awaited, and the verdict comes a period later. SWIM's
probes, whose accusations are noted and go no further, so that nobody leaves the lists.
"""

from collections.abc import Sequence

import numpy as np

from simulations import faults, modes
from simulations.experiments.measure import note_accusations
from simulations.experiments.result import (
    SUMMARY_COLUMNS,
    Experiment,
    Limit,
    Plot,
    Result,
    Series,
    Settings,
    Table,
    spread,
    summary_cells,
    within,
)
from simulations.experiments.statistics import Summary, summarise
from simulations.faults import Cut, Hosts
from simulations.host import HostSettings
from simulations.sides import split
from simulations.world import World

PARTS = {(1, 1): 1, (7, 3): 1, (99, 1): 5, (1, 0): 5}
"""Proportions of the two sides, 0 being one host, and how many times as many worlds: few to be suspected vary more."""

PROBERS_LEAST = 0.2
"""Only sides of this part of all members or more are measured: ten of a thousand need 518 periods to suspect the rest."""

BEFORE_S = 3.0
Found = dict[tuple[int, int], Summary]
"""By probers and probed."""


def expected_periods(probers: int, probed: int) -> float:
    """Return the mean periods from the cut until the last of *probed* is suspected by one of *probers*."""
    others = probers + probed - 1
    step = 0.01
    periods = np.arange(0.0, others, step) + step / 2
    missed = (1 - periods / others) ** probers
    return float(np.sum(1 - (1 - missed) ** probed) * step) + 1


def measure(nodes: int, parts: tuple[int, int], seed: int) -> list[tuple[tuple[int, int], float]]:
    """Cut one world of *nodes*; return, of each side with probers enough, both sizes and the seconds, which are periods, until it
    suspected all of the other."""
    world = World(nodes, seed=seed, config=modes.swim(), settings=HostSettings(cpu_s=0.0), node_type=modes.PlainNode)
    world.start_warm()
    one, other = split(nodes, *parts)
    ways: list[tuple[Hosts, Hosts]] = [
        way for way in ((one, other), (other, one)) if len(way[0]) >= PROBERS_LEAST * nodes
    ]
    accused: dict[int, float] = {}

    def note(victim: int) -> None:
        accused.setdefault(victim, world.now)

    note_accusations(world, note)
    world.run(BEFORE_S + world.rng.random())
    faults.apply(world, Cut(groups=(one, other)))
    cut_at, watched = world.now, [victim for _, probed in ways for victim in probed]
    while not all(victim in accused for victim in watched):  # to stop at a time would drop the slow ones
        world.run(1.0)
    return [((len(a), len(b)), max(accused[victim] for victim in b) - cut_at) for a, b in ways]


def run(settings: Settings) -> Result:
    nodes = settings.pick(20, 200 if settings.short else 1_000, 1_000)
    cells = [
        (nodes, parts, seed)
        for parts, times in PARTS.items()
        for seed in settings.seed_list(quick=1, usual=40 * times, full=100 * times)
    ]
    samples: dict[tuple[int, int], list[float]] = {}
    for world in spread(settings, measure, cells):
        for sizes, took in world:
            samples.setdefault(sizes, []).append(took)
    found = {sizes: summarise(took) for sizes, took in samples.items()}
    return Result(
        tables=(_table(found),),
        plots=(_plot(found),),
        verdicts=tuple(
            within(
                f"{probers} suspect all of {probed}, mean periods",
                summary.mean,
                wanted=expected_periods(probers, probed),
                tolerance=0.1,
                interval=(summary.low, summary.high),
            )
            for (probers, probed), summary in found.items()
        ),
        notes=(
            "a period T is 1 s; free-running phases; a suspicion needs T from the ping to the verdict.",
            f"sides of less than {PROBERS_LEAST:.0%} of all members are not measured: minutes of virtual time.",
        ),
    )


def _table(found: Found) -> Table:
    return Table(
        name="other_side",
        title="Periods from the cut until one side suspects all of the other",
        columns=("probers", "probed", *SUMMARY_COLUMNS, "derived mean [D]"),
        rows=tuple((*sizes, *summary_cells(of), expected_periods(*sizes)) for sizes, of in found.items()),
    )


def _plot(found: Found) -> Plot:
    sizes: Sequence[tuple[int, int]] = sorted(found, key=lambda pair: pair[1])
    means = [found[pair].mean for pair in sizes]
    low, high = [found[pair].low for pair in sizes], [found[pair].high for pair in sizes]
    probed = [float(pair[1]) for pair in sizes]
    return Plot(
        name="other_side",
        title="From the cut until one side suspects all of the other (mean, 95 %)",
        x_label="members of the other side",
        y_label="periods",
        series=(Series(label="SWIM", x=probed, y=means, low=low, high=high, joined=False),),
        limits=(Limit(label="derived", x=probed, y=[expected_periods(*pair) for pair in sizes], points=True),),
        log_x=True,
    )


EXPERIMENT = Experiment(title="How soon one side of a cut suspects all of the other", run=run)
