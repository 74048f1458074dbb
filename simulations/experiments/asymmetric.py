"""E6: Rapid's asymmetric faults: 1 % of the members lose 80 % of what comes in or goes out, or hear nothing for 20 s of every 40.

Suresh et al., USENIX ATC 2018: n = 1,000, 10 faulty. A member that answers a fifth of what it is asked can
be held for alive or dead; what Rapid asks for is that all say the same and stay with it. Rapid decides by consensus; we do not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

from gossipd.config import LAN, ProtocolConfig
from gossipd.core.events import Event, MemberChanged
from gossipd.records import Status
from simulations import faults, modes
from simulations.beliefs import ALIVE, DEAD, LEFT, SUSPECT
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
    at_most,
    holds,
    spread,
    summary_cells,
)
from simulations.experiments.statistics import summarise
from simulations.faults import CutOneWay, Heal, Hosts, Lose
from simulations.host import Host
from simulations.watching import Watcher
from simulations.world import World

BEFORE_S = 5
FAULTY_PART = 0.01
WITHIN_S = 60
HALF_S = 20
PUBLISHED = {"80 % in": "994-996 left", "80 % out": "994-996 left", "flip-flop": "991-1000, oscillates"}
"""Sizes that memberlist's members reported at n = 1,000, 10 minutes on [L~]; the paper is at odds over the loss's direction."""


def configurations() -> dict[str, ProtocolConfig]:
    """Return what is compared: memberlist as near as the core comes (with its ping over a stream), and gossipd."""
    like = modes.composed(lha_probe=True, lha_suspicion=True, buddy=True, alpha=4.0, stream_ping=True)
    return {"memberlist-like": like, "gossipd": LAN}


FAULTS: dict[str, Callable[[World, Hosts, int], None]] = {
    "80 % in": lambda world, hosts, _s: faults.apply(world, Lose(hosts=hosts, incoming=0.8, outgoing=0.0)),
    "80 % out": lambda world, hosts, _s: faults.apply(world, Lose(hosts=hosts, incoming=0.0, outgoing=0.8)),
    "flip-flop": lambda world, hosts, seconds: _flip_flop(world, hosts, seconds),
}


def _flip_flop(world: World, hosts: Hosts, seconds: int) -> None:
    others = tuple(host.number for host in world.hosts if host.number not in hosts)
    cut = CutOneWay(sources=others, targets=hosts)
    for at in range(0, seconds, 2 * HALF_S):
        world.schedule(world.now + at, lambda *_: faults.apply(world, cut))
        world.schedule(world.now + at + HALF_S, lambda *_: faults.apply(world, Heal(name=cut.name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Faced:
    """What the healthy members made of the faulty ones in one world."""

    removed_s: tuple[float | None, ...]
    """For each faulty member, when all healthy ones first held it for dead at once; None: never."""
    removed_at_end: int
    flaps: tuple[int, ...]
    """For each faulty member, how often most of the healthy took it back after most had held it for dead."""
    healthy_removed: int
    """Verdicts of healthy members on healthy ones."""
    sizes: tuple[int, ...]
    """Distinct numbers of members that any healthy one reported, least first."""
    median_sizes: tuple[float, ...]
    """What the middle healthy member reported, each second."""


class _Faced(Watcher):
    def __init__(self, faulty: Hosts) -> None:
        self.faulty = frozenset(faulty)
        self.removed: dict[int, float] = {}
        self.gone = dict.fromkeys(faulty, False)
        self.flaps = dict.fromkeys(faulty, 0)
        self.healthy_removed = 0
        self.sizes: set[int] = set()
        self.median_sizes: list[float] = []
        self.everywhere: set[int] = set()

    def on_event(self, host: Host, event: Event) -> None:
        if isinstance(event, MemberChanged) and event.after is Status.DEAD and host.number not in self.faulty:
            self.healthy_removed += self.world.number_of[event.member] not in self.faulty

    def on_second(self) -> None:
        of = self.world.beliefs.of
        rows = [row for number, row in enumerate(of) if row is not None and number not in self.faulty]
        sizes = sorted(row.count(ALIVE) + row.count(SUSPECT) for row in rows)
        self.sizes.update(sizes)
        self.median_sizes.append(float(sizes[len(sizes) // 2]))
        self.everywhere.clear()
        for number in self.gone:
            part = sum(row[number] in (DEAD, LEFT) for row in rows) / len(rows)
            if part == 1:
                self.everywhere.add(number)
                self.removed.setdefault(number, self.world.now)
            if part >= 0.5:
                self.gone[number] = True
            elif self.gone[number]:
                self.gone[number] = False
                self.flaps[number] += 1


def measure(config: ProtocolConfig, fault: str, members: int, seconds: int, seed: int) -> Faced:
    """Let 1 % of *members*, or one, be faulty for *seconds*."""
    world = World(members, seed=seed, config=config, node_type=modes.node_type(config))
    world.start_warm()
    faulty = tuple(sorted(world.rng.sample(range(members), max(1, round(members * FAULTY_PART)))))
    world.run(BEFORE_S)
    seen = _Faced(faulty)
    world.watch(seen)
    began = world.now
    FAULTS[fault](world, faulty, seconds)
    world.run(seconds)
    return Faced(
        removed_s=tuple(seen.removed[number] - began if number in seen.removed else None for number in faulty),
        removed_at_end=len(seen.everywhere),
        flaps=tuple(seen.flaps.values()),
        healthy_removed=seen.healthy_removed,
        sizes=tuple(sorted(seen.sizes)),
        median_sizes=tuple(seen.median_sizes),
    )


Found = dict[tuple[str, str], list[Faced]]


def run(settings: Settings) -> Result:
    members, seconds = settings.pick((10, 25), (100, 300), (1_000, 900))
    seeds = settings.seed_list(quick=1, usual=2, full=1)
    configs = configurations()
    keys = list(product(FAULTS, configs))
    cells = [(configs[mode], fault, members, seconds, seed) for (fault, mode), seed in product(keys, seeds)]
    found: Found = {}
    for (key, _), faced in zip(product(keys, seeds), spread(settings, measure, cells), strict=True):
        found.setdefault(key, []).append(faced)
    return Result(
        tables=(_table(found, members, seconds),),
        plots=tuple(_plot(found, fault, members) for fault in FAULTS),
        verdicts=tuple(verdict for fault in FAULTS for verdict in _verdicts(found, fault)),
        notes=(
            f"{members} members, {max(1, round(members * FAULTY_PART))} of them faulty for {seconds} s, {len(seeds)} worlds each.",
            "Rapid: 10 of 10 removed 45 to 60 s after 80 % loss began, within 60 s of the flip-flop, and no flap [L~].",
            "A member whose packets mostly get through some other way (helpers, streams) is alive by our rules: that is a choice.",
        ),
    )


def _table(found: Found, members: int, seconds: int) -> Table:
    rows = []
    for (fault, mode), worlds in found.items():
        removed = [at for faced in worlds for at in faced.removed_s]
        took = [at for at in removed if at is not None]
        soon = sum(at <= WITHIN_S for at in took)
        flaps = [count for faced in worlds for count in faced.flaps]
        rows.append(
            (
                fault,
                mode,
                f"{soon} of {len(removed)}",
                f"{sum(faced.removed_at_end for faced in worlds)} of {len(removed)}",
                *summary_cells(summarise(took)),
                sum(flaps) / len(flaps),
                max(flaps),
                sum(faced.healthy_removed for faced in worlds),
                max(len(faced.sizes) for faced in worlds),
                PUBLISHED[fault],
            )
        )
    return Table(
        name="asymmetric",
        title=f"Rapid's asymmetric faults: {members} members, {seconds} s; seconds until all hold a faulty one for dead",
        columns=(
            "fault",
            "mode",
            f"removed in {WITHIN_S} s",
            "removed at end",
            *SUMMARY_COLUMNS,
            "flaps, mean",
            "flaps, most",
            "healthy removed",
            "distinct sizes",
            "memberlist [L~]",
        ),
        rows=tuple(rows),
    )


def _plot(found: Found, fault: str, members: int) -> Plot:
    series = []
    for (of, mode), worlds in found.items():
        if of == fault:
            sizes = worlds[0].median_sizes
            series.append(Series(label=f"{mode}, one world", x=list(range(len(sizes))), y=sizes))
    wanted = members - max(1, round(members * FAULTY_PART))
    return Plot(
        name="asymmetric_" + fault.replace(" % ", "_").replace("-", "_"),
        title=f"{fault}: members that the middle healthy member reports",
        x_label="seconds since the fault began",
        y_label="members",
        series=tuple(series),
        limits=(Limit(label="all but the faulty: Rapid's answer [L~]", y=(wanted,)),),
    )


def _verdicts(found: Found, fault: str) -> list[Verdict]:
    ours = found[fault, "gossipd"]
    removed = [at for faced in ours for at in faced.removed_s]
    soon = sum(at is not None and at <= WITHIN_S for at in removed)
    healthy = sum(faced.healthy_removed for faced in ours)
    flaps = max(count for faced in ours for count in faced.flaps)
    of = f"{soon} of {len(removed)}"
    return [
        holds(
            f"{fault}: all faulty removed within {WITHIN_S} s", soon == len(removed), ours=of, wanted="all, as Rapid"
        ),
        holds(f"{fault}: no healthy member removed", healthy == 0, ours=str(healthy), wanted="0", better=True),
        at_most(f"{fault}: flaps of any faulty member", flaps, wanted=1),
    ]


EXPERIMENT = Experiment(title="Rapid's asymmetric faults: loss in one direction, and one-way flip-flop", run=run)
