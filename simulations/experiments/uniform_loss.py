"""E9: packets are lost everywhere alike: whom that makes suspect, and who is declared dead for it.

SWIM section 5, figure 4 (17 members join one by one, 10 % loss); `papers.md` sections 0, 1 and 9. A probe of a live member fails
with probability ``(1 - q^2)(1 - q^4)^k``, where q is the chance of a packet to arrive and k the number of helpers.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from gossipd.config import LAN, ProtocolConfig
from gossipd.core.events import Event, MemberChanged
from gossipd.records import Status
from simulations import modes
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
    between,
    holds,
    spread,
    summary_cells,
)
from simulations.experiments.statistics import proportion_interval, summarise
from simulations.host import Host
from simulations.network import LAN_LINK, Topology
from simulations.watching import Watcher
from simulations.world import World

JOINERS = 17
JOIN_EVERY_S = 5.0
"""Our guess: the paper only says one after another, and its plot ends at 175 s."""
FIGURE_S = 175.0
FIGURE_LOSS = 0.10
PUBLISHED_STABLE = 12
PERIODS = {"log10": 6, "ln": 9, "log2": 15}
"""SWIM's suspicion time-out, 3 ⌈log(N + 1)⌉ periods at N = 17, for each base that the paper may have meant."""

HELPERS = 3


def false_suspicion(loss: float, helpers: int = HELPERS) -> float:
    """Return the probability that one probe of a live member fails."""
    arrives = 1 - loss
    return float((1 - arrives**2) * (1 - arrives**4) ** helpers)


def figure_config(periods: int) -> ProtocolConfig:
    """Return SWIM as in figure 4: T = 2 s, one helper, a suspicion that lasts so many *periods* at 17 members."""
    config = modes.swim(alpha=periods / 1.2304489)  # log10 17
    return replace(config, probe=replace(config.probe, interval_s=2.0, timeout_s=0.5, timeout_floor_s=0.5, indirect=1))


class Deaths(Watcher):
    """Who was declared dead, by anybody; all of them live."""

    def __init__(self) -> None:
        self.victims: set[int] = set()
        self.verdicts = 0

    def on_event(self, host: Host, event: Event) -> None:
        if isinstance(event, MemberChanged) and event.after is Status.DEAD and event.before is not Status.DEAD:
            self.verdicts += 1
            self.victims.add(self.world.number_of[event.member])


def join_one_by_one(config: ProtocolConfig, seconds: float, seed: int, joiners: int = JOINERS) -> int:
    """Return how many of *joiners* nobody ever declared dead within *seconds*."""
    world = _lossy_world(config, joiners, FIGURE_LOSS, seed)
    seen = Deaths()
    world.watch(seen)
    for number in range(joiners):
        world.start(number, seeds=() if number == 0 else (0,))
        world.run(JOIN_EVERY_S)
    world.run_to(max(seconds, world.now))
    return joiners - len(seen.victims)


def suspect(config: ProtocolConfig, members: int, loss: float, seconds: float, seed: int) -> tuple[int, int, int, int]:
    """Return probes begun, probes failed, verdicts, and members that a verdict was about."""
    world = _lossy_world(config, members, loss, seed)
    world.start_warm()
    seen = Deaths()
    world.watch(seen)
    world.run(seconds)
    counts = [host.node.view.statistics(now=host.clock(world.now)) for host in world.hosts if host.node is not None]
    failed = sum(count.probes_failed for count in counts)
    return sum(count.probes_sent for count in counts), failed, seen.verdicts, len(seen.victims)


def _lossy_world(config: ProtocolConfig, members: int, loss: float, seed: int) -> World:
    topology = Topology(link=replace(LAN_LINK, loss=loss))
    return World(members, seed=seed, config=config, topology=topology, node_type=modes.node_type(config))


# --------------------------------------------------------------------------------------------------------------- reporting


def run(settings: Settings) -> Result:
    stable, stable_verdicts = _figure(settings)
    table, plot, verdicts = _rates(settings)
    return Result(
        tables=(stable, table),
        plots=(plot,),
        verdicts=(*stable_verdicts, *verdicts),
        notes=(
            f"figure 4: members join every {JOIN_EVERY_S:g} s, our guess; loss is of every packet, streams' segments included.",
            "figure 4's other two lines, without suspicion and with multicast, are not modes of our core.",
        ),
    )


def _figure(settings: Settings) -> tuple[Table, list[Verdict]]:
    long_s = settings.pick(40.0, 1_800.0, 1_800.0)
    figure_s = settings.pick(40.0, FIGURE_S, FIGURE_S)
    joiners = settings.pick(4, JOINERS, JOINERS)
    seeds = settings.seed_list(quick=1, usual=12, full=100)
    runs = [(f"SWIM +Inf.+Susp., {base}", figure_config(periods), figure_s) for base, periods in PERIODS.items()]
    runs.append(("gossipd", LAN, long_s))
    cells = [(config, seconds, seed, joiners) for (_, config, seconds), seed in product(runs, seeds)]
    samples = iter(spread(settings, join_one_by_one, cells))
    rows, verdicts = [], []
    for name, _, seconds in runs:
        counts = [float(next(samples)) for _ in seeds]
        summary = summarise(counts)
        published = PUBLISHED_STABLE if name != "gossipd" else None
        rows.append((name, seconds, min(counts), *summary_cells(summary), len(seeds), published))
        if name == "gossipd":
            claim = f"gossipd: all {joiners} stable for {seconds / 60:g} min at 10 % loss, in every world"
            wanted = f"{joiners} (published: {PUBLISHED_STABLE} of {JOINERS})"
            good = min(counts) == joiners
            verdicts.append(holds(claim, good, ours=f"{min(counts):g} at least", wanted=wanted, better=True))
        else:
            verdicts.append(between(f"figure 4, {name}: mean members stable", summary.mean, low=9, high=15))
    columns = ("mode", "seconds", "fewest", *SUMMARY_COLUMNS, "seeds", "published [L]")
    title = f"Of {joiners} members that join one by one at 10 % loss, never declared dead by anybody"
    return Table(name="loss_joins", title=title, columns=columns, rows=tuple(rows)), verdicts


def _rates(settings: Settings) -> tuple[Table, Plot, list[Verdict]]:
    members, seconds = settings.pick(16, 128, 128), settings.pick(10.0, 60.0, 600.0)
    losses = settings.pick((0.2,), (0.01, 0.05, 0.10, 0.20, 0.30), (0.01, 0.05, 0.10, 0.15, 0.20, 0.25, 0.30))
    seeds = settings.seed_list(quick=1, usual=3, full=20)
    configs = {"SWIM": modes.swim(), "Lifeguard": modes.lifeguard(), "gossipd": LAN}
    cells = [(configs[name], members, loss, seconds, seed) for name, loss, seed in product(configs, losses, seeds)]
    samples = iter(spread(settings, suspect, cells))
    rows, verdicts = [], []
    measured: dict[str, list[tuple[float, float, float]]] = {name: [] for name in configs}
    for name, loss in product(configs, losses):
        worlds = [next(samples) for _ in seeds]
        probes, failed, deaths, victims = (sum(world[at] for world in worlds) for at in range(4))
        low, high = proportion_interval(failed, probes)
        expected = false_suspicion(loss)
        measured[name].append((failed / probes, low, high))
        each = summarise([world[1] / world[0] for world in worlds])
        quantiles = f"{each.p50:.2g}/{each.p99:.2g}/{each.p999:.2g}"
        rows.append(
            (name, loss, probes, failed, failed / probes, low, high, quantiles, expected, deaths, victims, len(seeds))
        )
        if name == "SWIM":
            claim = f"suspicions per probe at {loss:.0%} loss are (1-q²)(1-q⁴)³"
            ours = f"{failed / probes:.3g} ({low:.3g} to {high:.3g})"
            verdicts.append(holds(claim, low <= expected <= high, ours=ours, wanted=f"{expected:.3g}"))
        if name == "gossipd" and loss <= 0.2:
            claim = f"gossipd: nobody of {members} is declared dead at {loss:.0%} loss in {seconds:g} s"
            verdicts.append(holds(claim, victims == 0, ours=f"{victims} members", wanted="0"))
    table = Table(
        name="loss_rates",
        title=f"{members} live members under loss for {seconds:g} s",
        columns=(
            *("mode", "loss", "probes", "failed", "per probe", "95 % low", "95 % high", "p50/p99/p99.9"),
            *("derived [D]", "verdicts", "members declared dead", "seeds"),
        ),
        rows=tuple(rows),
        notes=("[D] holds for one fixed time-out and no stream: gossipd's own pings over a stream avert suspicions.",),
    )
    return table, _plot(losses, measured), verdicts


def _plot(losses: Sequence[float], measured: dict[str, list[tuple[float, float, float]]]) -> Plot:
    floor = 1e-7
    series = tuple(
        Series(
            label=name,
            x=losses,
            y=[max(floor, of[0]) for of in rates],
            low=[max(floor, of[1]) for of in rates],
            high=[of[2] for of in rates],
        )
        for name, rates in measured.items()
    )
    return Plot(
        name="loss_rates",
        title="Suspicions per probe of a live member",
        x_label="packets lost",
        y_label="suspicions per probe (none is drawn as 1e-7)",
        series=series,
        limits=(Limit(label="(1-q²)(1-q⁴)³ [D]", x=losses, y=[false_suspicion(loss) for loss in losses]),),
        log_y=True,
    )


EXPERIMENT = Experiment(title="Uniform loss: suspicions per probe, and who survives it", run=run)
