"""E3: how long until somebody suspects a crashed member, against the number of members, in both phase models.

SWIM section 5, figure 3a; `papers.md` sections 0 and 1. Thousands of crashes are measured in one world: a member "crashes" by
answering nothing (`measure.MuteNode`) until a prober accuses it, and the accusation goes no further. All probers stay, few members
are mute at a time, and victims are drawn at random, so that crashes are independent. `true_crash` crashes for real.
"""

import math
from collections.abc import Sequence
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
MUTE_AT_MOST = {"SWIM": 10, "gossipd": 40}
"""One member in so many is mute at a time. Mute helpers send no nack, which only SWIM does not hold against the prober."""

LIMIT_FROM = 100
"""From so many members on, the limits for any number of them hold within 1 %."""

_CONFIGS: dict[str, ProtocolConfig] = {"SWIM": modes.swim(), "gossipd": LAN}
Found = dict[tuple[str, str, int], Summary]


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
    due: list[float] = []
    took: list[float] = []

    def accused(victim: int) -> None:
        if victim in muted:
            took.append(world.now - muted.pop(victim))
            set_mute(world, victim, False)
            due.append(_next(world, phases))

    note_accusations(world, accused)
    world.run(2.5)
    due += [_next(world, phases) for _ in range(max(1, members // MUTE_AT_MOST[mode]))]
    begun = 0
    while len(took) < crashes:
        world.run_to(min([world.now + 0.1, *due]))
        for at in [at for at in due if at <= world.now]:
            due.remove(at)
            if begun < crashes:  # those begun are waited for: to stop at a count would drop the slow ones
                begun += 1
                victim = world.rng.choice([number for number in range(members) if number not in muted])
                set_mute(world, victim, True)
                muted[victim] = world.now
    return took


def _next(world: World, phases: str) -> float:
    """Return when the next crash is: at any time, or a hair before a round, as SWIM's analysis counts."""
    if phases == "synchronous":
        return math.floor(world.now) + 1.9999
    return world.now + world.rng.uniform(0.001, 1.0)


# -------------------------------------------------------------------------------------------------------------- reporting


def run(settings: Settings) -> Result:
    sizes = settings.pick((8, 40), (8, 16, 28, 55, 128, 512), (8, 16, 28, 55, 128, 256, 512, 1_000, 2_000))
    crashes = settings.pick(60, 1_500, 5_000)
    seeds = settings.seed_list(quick=1, usual=4, full=4)
    cells = [(*series, size, crashes, seed) for series, size, seed in product(SERIES, reversed(sizes), seeds)]
    samples = spread(settings, measure, cells)
    pooled: dict[tuple[str, str, int], list[float]] = {}
    for (mode, phases, size, _, _), sample in zip(cells, samples, strict=True):
        pooled.setdefault((mode, phases, size), []).extend(sample)
    found = {key: summarise(values) for key, values in pooled.items()}
    worst = {key: max(values) / (2 * key[2] - 1) for key, values in pooled.items()}
    return Result(
        tables=(_table(found, sizes, len(seeds)),),
        plots=(_plot(found, sizes),),
        verdicts=tuple(_verdicts(found, sizes, max(worst.values()))),
        notes=(f"{crashes} crashes in each world, {len(seeds)} worlds for each row; a period T is 1 s.",),
    )


def _table(found: Found, sizes: Sequence[int], seeds: int) -> Table:
    rows = tuple(
        (
            mode,
            phases,
            size,
            *summary_cells(found[mode, phases, size]),
            seeds,
            expected_periods(size, phases),
            LIMITS_T[phases],
        )
        for (mode, phases), size in product(SERIES, sizes)
    )
    limits = ("derived, this n [D]", "limit [R+][S]")
    return Table(
        name="first_detection",
        title="First suspicion after a crash, in periods",
        columns=("mode", "phases", "n", *SUMMARY_COLUMNS, "seeds", *limits),
        rows=rows,
        notes=("[D] for free-running p99 is 5.5 T and p99.9 is 7.8 T; median 1.69 T.",),
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
                verdicts.append(within(claim, summary.mean, wanted=LIMITS_T[phases], tolerance=0.02, unit=" T"))
            else:
                claim = f"{name}: mean first detection at n={size} is the derived one for so few"
                wanted = expected_periods(size, phases)
                verdicts.append(within(claim, summary.mean, wanted=wanted, tolerance=0.02, unit=" T"))
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
