"""E9: packets are lost everywhere alike: whom that makes suspect, and who is declared dead for it.

SWIM section 5, figure 4 (17 members join one by one, 10 % loss). A probe of a live member fails
with probability ``(1 - q^2)(1 - q^4)^k``, where q is the chance of a packet to arrive and k the number of helpers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from gossipd.config import LAN, ProtocolConfig
from gossipd.core.events import Event, MemberChanged
from gossipd.node.node import Node
from gossipd.records import Status
from simulations import modes
from simulations.experiments import variants
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
)
from simulations.experiments.statistics import Summary, proportion_interval, summarise
from simulations.host import Host
from simulations.network import LAN_LINK, Topology
from simulations.watching import Watcher
from simulations.world import World

JOINERS = 17
JOIN_EVERY_S = 5.0
"""Our guess: the paper only says one after another, and its plot ends at 175 s."""
FIGURE_S = 175.0
FIGURE_LOSS = 0.10
PUBLISHED_STABLE, PUBLISHED_INF = 12, 4
BELIEVED = "+Inf.+Susp., log10, N as believed"
BASES = {"log10": 10.0, "ln": math.e, "log2": 2.0}
"""What the paper's log may be: 6, 9 or 15 periods of suspicion, and as many sends of an update, at N = 17."""

HELPERS = 3


def false_suspicion(loss: float, helpers: int = HELPERS) -> float:
    """Return the probability that one probe of a live member fails."""
    arrives = 1 - loss
    return float((1 - arrives**2) * (1 - arrives**4) ** helpers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of figure 4. *node*: base of the logarithm, of how many (0: as many as are believed live), and whether there is
    suspicion; None: the core's own node."""

    config: ProtocolConfig
    seconds: float
    node: tuple[float, int, bool] | None = None
    final: bool = True
    """Whether who is declared dead is gone for good, as in SWIM; else it refutes and comes back."""


def figure_config() -> ProtocolConfig:
    """Return SWIM as in figure 4: T = 2 s, one helper; no syncs after joining, no search for the lost, no word to the dead."""
    config = modes.swim()
    day_s, hour_s = 86_400.0, 3_600.0
    return replace(
        config,
        probe=replace(config.probe, interval_s=2.0, timeout_s=0.5, timeout_floor_s=0.5, indirect=1),
        gossip=replace(config.gossip, to_dead_s=0.0),
        sync=replace(config.sync, interval_s=day_s, reconnect_interval_s=hour_s, seed_interval_s=day_s),
    )


class Deaths(Watcher):
    """Who was declared dead, by anybody; all of them live. *final*: it ends with that."""

    def __init__(self, *, final: bool = False) -> None:
        self._final = final
        self.victims: set[int] = set()
        self.verdicts = 0

    def on_event(self, host: Host, event: Event) -> None:
        if isinstance(event, MemberChanged) and event.after is Status.DEAD and event.before is not Status.DEAD:
            self.verdicts += 1
            victim = self.world.number_of[event.member]
            if self._final and victim not in self.victims:
                self.world.schedule(self.world.now, self._end, victim)
            self.victims.add(victim)

    def _end(self, victim: int, _: object, __: object) -> None:
        self.world.stop(victim)


def join_one_by_one(figure: Figure, seed: int, joiners: int = JOINERS) -> int:
    """Return how many of *joiners* nobody ever declared dead."""
    node = None
    if figure.node is not None:
        base, known, suspects = figure.node
        node = variants.piggyback_node(base, known=known, suspects=suspects)
    world = _lossy_world(figure.config, joiners, FIGURE_LOSS, seed, node)
    seen = Deaths(final=figure.final)
    world.watch(seen)
    for number in range(joiners):
        up = [host.number for host in world.running()]
        world.start(number, seeds=[world.rng.choice(up)] if up else [])
        world.run(JOIN_EVERY_S)
    world.run_to(max(figure.seconds, world.now))
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


def _lossy_world(config: ProtocolConfig, members: int, loss: float, seed: int, node: type[Node] | None = None) -> World:
    topology = Topology(link=replace(LAN_LINK, loss=loss))
    return World(members, seed=seed, config=config, topology=topology, node_type=node or modes.node_type(config))


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
            "figure 4 in SWIM's own way: news on probe traffic alone, six to a packet, and verdicts are final.",
            "with memberlist's gossip ticks, which SWIM has elsewhere, a refutation is soon everywhere: hardly anybody is lost.",
            "figure 4's third line, Basic with multicast (2 of 17), is not built.",
        ),
    )


def _figures(settings: Settings) -> dict[str, Figure]:
    long_s, figure_s = settings.pick((40.0, 40.0), (1_800.0, FIGURE_S), (1_800.0, FIGURE_S))
    config = figure_config()
    lines = {f"+Inf.+Susp., {name}, N = 17": (base, JOINERS, True) for name, base in BASES.items()}
    lines |= {BELIEVED: (BASES["log10"], 0, True), "+Inf.": (BASES["log10"], JOINERS, False)}
    made = {name: Figure(config=config, seconds=figure_s, node=node) for name, node in lines.items()}
    ticks = replace(config, suspicion=replace(config.suspicion, factor=6 / math.log10(JOINERS)))
    made["+Susp. with gossip ticks, log10"] = Figure(config=ticks, seconds=figure_s)
    return made | {"gossipd": Figure(config=LAN, seconds=long_s, final=False)}


def _figure(settings: Settings) -> tuple[Table, list[Verdict]]:
    joiners = settings.pick(4, JOINERS, JOINERS)
    seeds = settings.seed_list(quick=1, usual=20, full=100)
    figures = _figures(settings)
    few = {name: seeds[:5] if name == "gossipd" and not settings.full else seeds for name in figures}
    cells = [(figure, seed, joiners) for name, figure in figures.items() for seed in few[name]]
    samples = iter(spread(settings, join_one_by_one, cells))
    counts = {name: [float(next(samples)) for _ in few[name]] for name in figures}
    rows = []
    for name, figure in figures.items():
        published = PUBLISHED_STABLE if name.startswith("+Inf.+Susp.") else PUBLISHED_INF if name == "+Inf." else None
        rows.append(
            (
                name,
                figure.seconds,
                min(counts[name]),
                *summary_cells(summarise(counts[name])),
                len(few[name]),
                published,
            )
        )
    columns = ("mode", "seconds", "fewest", *SUMMARY_COLUMNS, "seeds", "published [L]")
    title = f"Of {joiners} members that join one by one at 10 % loss, never declared dead by anybody"
    table = Table(name="loss_joins", title=title, columns=columns, rows=tuple(rows))
    return table, _figure_verdicts({name: summarise(of) for name, of in counts.items()}, counts["gossipd"], joiners)


def _figure_verdicts(found: Mapping[str, Summary], ours: Sequence[float], joiners: int) -> list[Verdict]:
    susp = {name: summary.mean for name, summary in found.items() if name.startswith("+Inf.+Susp.")}
    log10 = [mean for name, mean in susp.items() if "log10" in name]
    shown = ", ".join(f"{name.partition(', ')[2]}: {mean:.3g}" for name, mean in susp.items())
    inf, least = found["+Inf."].mean, min(susp.values())
    return [
        holds(
            "figure 4, +Inf.+Susp.: the published 12 is between N as believed and N = 17 throughout, to base 10",
            min(log10) <= PUBLISHED_STABLE <= max(log10),
            ours=shown,
            wanted="12",
        ),
        holds(
            "figure 4: +Inf. keeps fewer", inf < least, ours=f"{inf:.3g}", wanted=f"below {least:.3g} (published: 4)"
        ),
        holds(
            f"gossipd: all {joiners} stable for 30 min at 10 % loss, in every world",
            min(ours) == joiners,
            ours=f"{min(ours):g} at least",
            wanted=f"{joiners} (published: {PUBLISHED_STABLE} of {JOINERS})",
            better=True,
        ),
    ]


def _rates(settings: Settings) -> tuple[Table, Plot, list[Verdict]]:
    members, seconds = settings.pick(16, 128, 128), settings.pick(10.0, 60.0, 600.0)
    losses = settings.pick((0.2,), (0.01, 0.05, 0.10, 0.20, 0.30), (0.01, 0.05, 0.10, 0.15, 0.20, 0.25, 0.30))
    seeds = settings.seed_list(quick=1, usual=2, full=20)
    configs = {"SWIM": modes.swim(), "gossipd": LAN}
    if not settings.short:
        configs["Lifeguard"] = modes.lifeguard()
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
