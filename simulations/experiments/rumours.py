"""E5: how one piece of news spreads: rounds until everybody knows, Serf's curve, the cost, and gossipd's eager pushes beside it.

Limits are Pittel's (1987) and Karp's (FOCS 2000), the curve is Serf's convergence simulator's. A registration changes at a
random member; probes, which carry news too, and syncs are all but off.
A round is one gossip tick, 0.2 s: whoever hears something sends it on one tick later, so ticks go in step without being told to.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from gossipd.config import LAN, ProtocolConfig
from gossipd.core.events import Event, RecordChanged
from gossipd.node.node import Node
from gossipd.records import Service
from simulations import inside, modes
from simulations.experiments.measure import sent
from simulations.experiments.result import (
    SUMMARY_COLUMNS,
    Cell,
    Experiment,
    Limit,
    Plot,
    Result,
    Series,
    Settings,
    Table,
    Verdict,
    at_most,
    holds,
    spread,
    summary_cells,
)
from simulations.experiments.statistics import Summary, summarise
from simulations.host import Host, HostSettings
from simulations.network import LAN_LINK, Topology
from simulations.watching import Watcher
from simulations.world import World

Numbers = NDArray[np.int64]

ROUND_S = LAN.gossip.interval_s
FANOUT = LAN.gossip.fanout
GIVE_UP_S = 12.0
"""Who has not heard by then will not, without a sync: every budget is spent."""

EXPECTED_ROUNDS = {(30, 0.0): 4.3, (128, 0.0): 6.0, (1_000, 0.0): 8.2, (10_000, 0.0): 10.5}
EXPECTED_ROUNDS |= {(1_000, 0.25): 9.9, (1_000, 0.5): 13.3, (10_000, 0.25): 12.9, (10_000, 0.5): 17.3}
"""Mean rounds until all know, push with fanout 3 and no cap [S]; the last four lose 25 and 50 %."""

_QUIET = replace(
    LAN,
    probe=replace(LAN.probe, interval_s=600.0),
    sync=replace(LAN.sync, interval_s=86_400.0, seed_interval_s=86_400.0),
)
KINDS: dict[str, ProtocolConfig] = {
    "ticks, no cap": replace(_QUIET, gossip=replace(LAN.gossip, bytes_burst=0, retransmit_factor=32.0)),
    "ticks": replace(_QUIET, gossip=replace(LAN.gossip, bytes_burst=0, retransmit_factor=4.0)),
    "gossipd": _QUIET,
}
"""Ticks as memberlist's and Serf's: to random members alone, each message as often as its budget says."""

MODEL = "model, no cap"
"""Plain push in numpy, for numbers of members whose views do not fit a world."""


def serf_fraction(rounds: float, members: int, loss: float) -> float:
    """Return the part that knows after *rounds*, as Serf's convergence simulator draws it [L]."""
    return 1 / (1 + (members + 1) * math.exp(-rounds * FANOUT * (1 - loss) / 2))


def serf_s(members: int, loss: float) -> float:
    """Return the seconds until 99.99 % know, by the same formula [D]."""
    return ROUND_S * (math.log(members + 1) + math.log(9_999)) * 2 / (FANOUT * (1 - loss))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rumour:
    """When each member heard, sorted, the first at 0; *copies* were sent for each member, *missed* never heard."""

    heard_s: tuple[float, ...]
    copies: float
    missed: int


class _Hearing(Watcher):
    def __init__(self) -> None:
        self.owner = ""
        self.heard: dict[int, float] = {}

    def on_event(self, host: Host, event: Event) -> None:
        if isinstance(event, RecordChanged) and event.owner == self.owner and event.after is not None:
            self.heard.setdefault(host.number, self.world.now)


def measure(kind: str, members: int, loss: float, rumours: int, seed: int) -> list[Rumour]:
    """Return how *rumours* spread, one after another, each when nobody speaks of the last one any more."""
    world = World(
        members,
        seed=seed,
        config=KINDS[kind],
        node_type=Node if kind == "gossipd" else modes.PlainNode,
        topology=Topology(link=replace(LAN_LINK, loss=loss)),
        settings=HostSettings(cpu_s=0.0),
    )
    world.start_warm()
    hearing = _Hearing()
    world.watch(hearing)
    world.run(1.0)
    made = []
    for at in range(rumours):
        origin = world.rng.randrange(members)
        hearing.owner, hearing.heard = world.hosts[origin].name, {}
        began, before = world.now, sent(world)[0]
        world.register(origin, Service(name="web", id="news", port=1 + at % 60_000))
        world.run_until(lambda: len(hearing.heard) == members or not _spoken_of(world), within_s=GIVE_UP_S)
        if kind == "ticks, no cap":
            for host in world.running():
                assert host.node is not None
                inside.machines(host.node).spreader.catalog.clear()
        world.run_until(lambda: not _spoken_of(world), within_s=GIVE_UP_S)
        world.run(0.5)
        times = tuple(sorted(time - began for time in hearing.heard.values()))
        copies = (sent(world)[0] - before) / members
        made.append(Rumour(heard_s=times, copies=copies, missed=members - len(times)))
    return made


def _spoken_of(world: World) -> bool:
    return any(len(inside.machines(host.node).spreader) for host in world.hosts if host.node is not None)


def model(members: int, loss: float, rumours: int, seed: int) -> list[Rumour]:
    """Return the same of plain push: who knows tells FANOUT different others each round, for ever."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(rumours):
        knows = np.zeros(members, dtype=bool)
        knows[0] = True
        heard, rounds = [0.0], 0
        while len(heard) < members:
            rounds += 1
            told = _others(rng, np.flatnonzero(knows), members)
            told = told[rng.random(len(told)) >= loss]
            knows[told] = True
            heard += [rounds * ROUND_S] * (int(knows.sum()) - len(heard))
        made.append(Rumour(heard_s=tuple(heard), copies=math.nan, missed=0))
    return made


def _others(rng: np.random.Generator, speakers: Numbers, members: int) -> Numbers:
    """Return FANOUT different others for each of *speakers*: draws among fewer and fewer, moved past those taken."""
    taken = speakers.reshape(-1, 1)
    for already in range(1, FANOUT + 1):
        picked = rng.integers(0, members - already, size=len(speakers))
        for column in np.sort(taken, axis=1).T:
            picked = picked + (picked >= column)
        taken = np.column_stack([taken, picked])
    return taken[:, 1:].ravel()


# --------------------------------------------------------------------------------------------------------------- reporting

Found = dict[tuple[str, int, float], list[Rumour]]


def run(settings: Settings) -> Result:
    sizes = settings.pick((30,), (30, 128, 1_000), (30, 128, 1_000, 2_000))
    losses = settings.pick((0.0, 0.5), (0.0, 0.25, 0.5), (0.0, 0.25, 0.5))
    seeds = settings.seed_list(quick=1, usual=4, full=10)
    per_world = {size: settings.pick(4, max(6, 1_800 // size), 100) for size in sizes}
    cells = [
        (kind, n, loss, per_world[n], seed) for n, kind, loss, seed in product(reversed(sizes), KINDS, losses, seeds)
    ]
    found: Found = {}
    for (kind, size, loss, _, _), rumours in zip(cells, spread(settings, measure, cells), strict=True):
        found.setdefault((kind, size, loss), []).extend(rumours)
    modelled = settings.pick((1_000,), (30, 128, 1_000, 10_000), (30, 128, 1_000, 10_000))
    draws = settings.pick(20, 200, 1_000)
    of_model = [(size, loss, draws, settings.first_seed) for size, loss in product(modelled, losses)]
    for (size, loss, _, _), rumours in zip(of_model, spread(settings, model, of_model), strict=True):
        found[MODEL, size, loss] = rumours
    return Result(
        tables=(_table(found, len(seeds)),),
        plots=tuple(_plot(found, max(sizes), loss) for loss in losses),
        verdicts=tuple(_verdicts(found)),
        notes=(
            f"rumours in each world: {', '.join(f'{count} at n={size}' for size, count in per_world.items())}; "
            f"{len(seeds)} worlds for each row; {draws} runs of the model.",
            "copies are datagrams with the news, sent, by members; a datagram carried nothing else.",
        ),
    )


def _to_all(rumours: Sequence[Rumour]) -> Summary:
    """Summarise the seconds until everybody who ever heard had heard."""
    return summarise([rumour.heard_s[-1] for rumour in rumours])


def _p99_to_all(rumours: Sequence[Rumour]) -> float:
    """Return the 99th percentile of the seconds until everybody had heard, infinite for a rumour that somebody missed."""
    times = sorted(math.inf if rumour.missed else rumour.heard_s[-1] for rumour in rumours)
    return times[math.ceil(0.99 * len(times)) - 1]


def _table(found: Found, seeds: int) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for (kind, size, loss), rumours in found.items():
        summary, copies = _to_all(rumours), summarise([rumour.copies for rumour in rumours])
        missed = sum(rumour.missed for rumour in rumours)
        rounds = None if kind == "gossipd" else summary.mean / ROUND_S
        wanted = EXPECTED_ROUNDS.get((size, loss)) if "no cap" in kind else None
        rows.append(
            (
                *(kind, size, loss, *summary_cells(summary), 1 if kind == MODEL else seeds, rounds, wanted),
                *(serf_s(size, loss), None if math.isnan(copies.mean) or "cap" in kind else copies.mean, missed),
            )
        )
    return Table(
        name="rumours",
        title="Seconds until everybody knows",
        columns=(
            *("kind", "n", "loss", *SUMMARY_COLUMNS, "seeds", "rounds", "rounds [S]"),
            *("Serf 99.99 % [D]", "copies/member", "never heard"),
        ),
        rows=tuple(rows),
        notes=("never heard: (rumour, member) pairs left to the next sync; times are of those who heard.",),
    )


def _plot(found: Found, size: int, loss: float) -> Plot:
    grid = [at * ROUND_S / 4 for at in range(int(serf_s(size, loss) / ROUND_S * 4) + 2)]
    series = []
    for kind in KINDS:
        rumours = found[kind, size, loss]
        informed = [
            sum(sum(time <= at for time in rumour.heard_s) for rumour in rumours) / len(rumours) / size for at in grid
        ]
        series.append(Series(label=kind, x=grid, y=informed))
    curve = Limit(label="Serf's simulator [L]", x=grid, y=[serf_fraction(at / ROUND_S, size, loss) for at in grid])
    floor = ROUND_S * math.ceil(math.log(size, 1 + FANOUT))
    least = Limit(label=f"⌈log4 n⌉ rounds: {floor:.1f} s", x=(floor, floor), y=(0, 1))
    return Plot(
        name=f"rumours_{loss * 100:.0f}",
        title=f"Who knows, {size} members, {loss:.0%} loss",
        x_label="seconds",
        y_label="part that knows",
        series=tuple(series),
        limits=(curve, least),
    )


def _verdicts(found: Found) -> list[Verdict]:
    verdicts = []
    for (kind, size, loss), rumours in found.items():
        summary = _to_all(rumours)
        where = f"{kind}, n={size}, {loss:.0%} loss"
        wanted = EXPECTED_ROUNDS.get((size, loss))
        rounds = summary.mean / ROUND_S
        if "no cap" in kind:
            if wanted is not None:
                close = abs(rounds - wanted) <= 0.3
                verdicts.append(
                    holds(f"{where}: mean rounds until all know", close, ours=f"{rounds:.2f}", wanted=f"{wanted} ± 0.3")
                )
            claim = f"{where}: Serf's 99.99 % bounds the mean until all know"
            verdicts.append(at_most(claim, summary.mean, wanted=serf_s(size, loss), unit=" s"))
        else:
            claim = f"{where}: p99 until all know, never if one missed it, against Serf's 99.99 %"
            limit = serf_s(size, loss)
            verdicts.append(at_most(claim, _p99_to_all(rumours), wanted=limit, beat=limit, unit=" s"))
        if kind == "gossipd" and size == 1_000:
            copies = summarise([rumour.copies for rumour in rumours]).mean
            verdicts.append(at_most(f"{where}: copies a member", copies, wanted=8, beat=8))
    return verdicts


EXPERIMENT = Experiment(title="Rumours: rounds until everybody knows, and Serf's curve", run=run)
