"""E3: how long until somebody suspects a crashed member, against the number of members, in both phase models.

SWIM section 5, figure 3a. Thousands of crashes are measured in one world: a member "crashes" by
answering nothing (`measure.MuteNode`) until a prober accuses it, and the accusation goes no further. All probers stay. Members
take turns, at times drawn beforehand: a turn that waited for the last verdict would prefer certain moments of a round, and a
victim that came back too soon would be accused by a probe of its former silence. `true_crash` crashes for real.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

from gossipd.config import LAN, ProtocolConfig
from simulations import modes
from simulations.experiments.measure import MuteNode, note_accusations, set_mute
from simulations.experiments.result import (
    SUMMARY_COLUMNS,
    Experiment,
    Limit,
    Plot,
    Result,
    Series,
    Settings,
    Table,
    Verdict,
    holds,
    spread,
    summary_cells,
    within,
)
from simulations.experiments.statistics import Summary, slope, summarise
from simulations.host import HostSettings
from simulations.world import World

LIMITS_T = {"synchronous": math.e / (math.e - 1), "free-running": 2.0}
SERIES = (("SWIM", "synchronous"), ("SWIM", "free-running"), ("gossipd", "free-running"))
TURN_S = {"SWIM": 12.0, "gossipd": 40.0}
"""Periods between two crashes of one member: two of so many it is mute. Mute helpers send no nack, which only SWIM does not hold
against the prober: gossipd's would probe more slowly by a part of (2 / 12) ** 2."""

PHASES_WANTED = 320
"""Phases to be drawn for a row, since each prober keeps its own for as long as its world lasts: 8 members need 40 worlds."""

LIMIT_FROM = 100
"""From so many members on, the limits for any number of them hold within 1 %."""

_CONFIGS: dict[str, ProtocolConfig] = {"SWIM": modes.swim(), "gossipd": LAN}
Key = tuple[str, str, int]
Found = dict[Key, Summary]


def expected_periods(members: int, phases: str) -> float:
    """Return the mean periods from a crash to the verdict, of round-robin lists shuffled once a round, each its own way.

    One prober of m others has not come to the victim after j slots with probability 1 - j/m, or (1 - a/m)(1 - b/m) where a round
    ends between a and b. All rounds end together, since all began together; that moment is averaged over. Tends to 1.582 and 2.
    """
    others = members - 1
    reach = min(2 * others, 40)
    step = 1.0 if phases == "synchronous" else 0.02
    slots = [at * step for at in range(1, int(reach / step) + 1)]
    first = step if phases == "synchronous" else 1 + step / 2
    near = [begun for begun in range(others) if others - begun < reach]
    total = sum(step * sum(_silent(others, slot, begun) for slot in slots) for begun in near)
    if len(near) < others:
        total += (others - len(near)) * step * sum(_silent(others, slot, 0) for slot in slots)
    return first + total / others


def random_choice_periods(members: int) -> float:
    """Return the same for synchronous probers that draw a target afresh each period, as SWIM's analysis has them."""
    others = members - 1
    return 1 / (1 - (1 - 1 / others) ** others)


def _silent(others: int, slots: float, begun: int) -> float:
    """Return the probability that none of *others* probers reaches the victim within *slots*, *begun* slots into their rounds."""
    first = min(slots, others - begun)
    rest = min(slots - first, others)
    return float(((1 - first / others) * (1 - rest / others)) ** others)


# ------------------------------------------------------------------------------------------------------------ measuring


def measure(mode: str, phases: str, members: int, crashes: int, seed: int) -> list[float]:
    """Return the seconds, which are periods, from each of *crashes* crashes to the first accusation."""
    world = World(
        members,
        seed=seed,
        config=_CONFIGS[mode],
        settings=HostSettings(cpu_s=0.0),
        synchronous=phases == "synchronous",
        node_type=MuteNode,
    )
    world.start_warm()
    muted: dict[int, float] = {}
    took: list[float] = []

    def crash(victim: int, _: object, __: object) -> None:
        if victim in muted:  # since its last turn: one in some ten thousand
            world.schedule(world.now + 1.0, crash, victim)
            return
        set_mute(world, victim, True)
        muted[victim] = world.now

    def accused(victim: int) -> None:
        if victim in muted:
            took.append(world.now - muted.pop(victim))
            set_mute(world, victim, False)

    note_accusations(world, accused)
    order = world.rng.sample(range(members), members)
    for at in range(crashes):
        begins = 3.0 + (at + world.rng.random()) * TURN_S[mode] / members
        if world.synchronous:  # a hair before a round, as SWIM's analysis counts
            begins = math.floor(begins) + 0.9999
        world.schedule(begins, crash, order[at % members])
    while len(took) < crashes:  # to stop at a time would drop the slow ones
        world.run(1.0)
    return took


def worlds_of(members: int) -> int:
    """Return in how many worlds the crashes of a row are to be spread."""
    return min(40, max(2, PHASES_WANTED // members))


# -------------------------------------------------------------------------------------------------------------- reporting


def run(settings: Settings) -> Result:
    sizes = settings.pick((8, 40), (8, 16, 28, 55, 128, 1_000), (8, 16, 28, 55, 128, 256, 512, 1_000, 2_000))
    crashes = dict(zip(("SWIM", "gossipd"), settings.pick((60, 60), (10_000, 5_000), (40_000, 20_000)), strict=True))
    cells = []
    for (mode, phases), size in product(SERIES, reversed(sizes)):
        seeds = settings.seed_list(quick=1, usual=worlds_of(size), full=worlds_of(size))
        cells += [(mode, phases, size, crashes[mode] // len(seeds), seed) for seed in seeds]
    samples = spread(settings, measure, cells)
    pooled: dict[Key, list[list[float]]] = {}
    for (mode, phases, size, _, _), sample in zip(cells, samples, strict=True):
        pooled.setdefault((mode, phases, size), []).append(sample)
    found = {key: _summary(worlds) for key, worlds in pooled.items()}
    worst = {key: max(map(max, worlds)) / (2 * key[2] - 1) for key, worlds in pooled.items()}
    return Result(
        tables=(_table(found, sizes, {key: len(worlds) for key, worlds in pooled.items()}),),
        plots=(_plot(found, sizes),),
        verdicts=tuple(_verdicts(found, sizes, max(worst.values()))),
        notes=(
            "the crashes of a row are in as many worlds as it has seeds; a period T is 1 s.",
            "the interval is over worlds where there are ten or more (a world keeps its phases), else over crashes.",
        ),
    )


def _summary(worlds: Sequence[Sequence[float]]) -> Summary:
    """Summarise all crashes; with worlds enough the interval is that of their means, which phases make differ."""
    summary = summarise([value for world in worlds for value in world])
    if len(worlds) < 10:
        return summary
    means = summarise([sum(world) / len(world) for world in worlds])
    return replace(summary, low=means.low, high=means.high)


def _table(found: Found, sizes: Sequence[int], worlds: Mapping[Key, int]) -> Table:
    rows = []
    for (mode, phases), size in product(SERIES, sizes):
        summary, derived = found[mode, phases, size], expected_periods(size, phases)
        off = f"{summary.mean / derived - 1:+.2%}"
        random = random_choice_periods(size) if phases == "synchronous" else None
        cells = (*summary_cells(summary), worlds[mode, phases, size])
        rows.append((mode, phases, size, *cells, derived, off, random, LIMITS_T[phases]))
    limits = ("derived, this n [D]", "off", "drawn afresh [D]", "limit [R+][S]")
    return Table(
        name="first_detection",
        title="First suspicion after a crash, in periods",
        columns=("mode", "phases", "n", *SUMMARY_COLUMNS, "seeds", *limits),
        rows=tuple(rows),
        notes=(
            "[D] for free-running p99 is 5.5 T and p99.9 is 7.8 T; median 1.69 T.",
            "[D] derived: lists shuffled once a round, all rounds begun together: a little sooner than "
            "targets drawn afresh each period, 1 / (1 - (1 - 1/(n-1))^(n-1)), which is 1.55 at n = 16.",
        ),
    )


def _plot(found: Found, sizes: Sequence[int]) -> Plot:
    series = tuple(
        Series(
            label=f"{mode}, {phases}",
            x=sizes,
            y=[found[mode, phases, size].mean for size in sizes],
            low=[found[mode, phases, size].low for size in sizes],
            high=[found[mode, phases, size].high for size in sizes],
        )
        for mode, phases in SERIES
    )
    curves = tuple(
        Limit(label=f"derived, {phases} [D]", x=sizes, y=[expected_periods(size, phases) for size in sizes])
        for phases in LIMITS_T
    )
    levels = tuple(Limit(label=f"limit {value:.3f} T, {phases}", y=(value,)) for phases, value in LIMITS_T.items())
    return Plot(
        name="first_detection",
        title="First suspicion after a crash (mean, 95 %)",
        x_label="members",
        y_label="periods",
        series=series,
        limits=(*curves, *levels),
        log_x=True,
    )


def _verdicts(found: Found, sizes: Sequence[int], worst: float) -> list[Verdict]:
    verdicts = []
    for mode, phases in SERIES:
        name = f"{mode}, {phases}"
        for size in sizes:
            summary = found[mode, phases, size]
            if size >= LIMIT_FROM:
                claim = f"{name}: mean first detection at n={size} is the limit"
                wanted = LIMITS_T[phases]
            else:
                claim = f"{name}: mean first detection at n={size} is the derived one for so few"
                wanted = expected_periods(size, phases)
            interval = summary.low, summary.high
            verdicts.append(within(claim, summary.mean, wanted=wanted, tolerance=0.02, unit=" T", interval=interval))
        if len(sizes) >= 3:
            ratios = [found[mode, phases, size].mean / expected_periods(size, phases) for size in sizes]
            trend = slope([math.log10(size) for size in sizes], ratios)
            ours = f"slope {trend.value:+.4f} ({trend.low:+.4f} to {trend.high:+.4f}) a decade of n"
            claim = f"{name}: uncorrelated with n (of measured by derived)"
            verdicts.append(holds(claim, trend.flat, ours=ours, wanted="an interval around 0"))
    claim = "no crash stays unseen for 2n - 1 periods"
    verdicts.append(holds(claim, worst <= 1, ours=f"{worst:.0%} of that at worst", wanted="at most 100 %"))
    return verdicts


EXPERIMENT = Experiment(title="First detection against n, in both phase models", run=run)
