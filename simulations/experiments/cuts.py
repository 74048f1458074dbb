"""What readers see of a rack that vanishes: how many changes of one answer, and how late, with and without batching of cuts.

Ours: no paper gives these figures. The idea, and what it is for (one reload instead of many), are Rapid's (Suresh et al., USENIX
ATC 2018, section 7.4). Every host has one instance of web; a fifth of the hosts loses its power at once; everybody who is left is
a reader, and its answer for web is looked at whenever its index has grown.
"""

from dataclasses import dataclass, replace
from itertools import pairwise, product

from gossipd.config import LAN
from gossipd.core.events import CutShown, Event, GuardChanged, MemberChanged
from gossipd.records import Status
from simulations import faults
from simulations.experiments.result import (
    SUMMARY_COLUMNS,
    Cell,
    Experiment,
    Plot,
    Result,
    Series,
    Settings,
    Table,
    at_most,
    spread,
    summary_cells,
)
from simulations.experiments.statistics import summarise
from simulations.faults import Crash
from simulations.host import Host
from simulations.sides import split
from simulations.watching import Watcher
from simulations.world import World

BATCHES_S = (0.0, LAN.guard.batch_s)
BEFORE_S, AFTER_S = 5.0, 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one world's readers saw; one figure a reader, seconds since the crash."""

    changes: list[int]
    """Different answers after the crash."""
    first_s: list[float]
    last_s: list[float]
    known_s: list[float]
    """When the last of the rack was found dead."""
    shown_late_s: list[float]
    """For each reader and dead member: seconds from the verdict until it showed."""
    one: list[tuple[float, int]]
    """What one reader sees: when, and how many instances from then on."""
    wrong: int
    """Readers whose last answer is not: all of the rest, and none of the rack."""


class _Readers(Watcher):
    """Notes each change of what a host answers for web."""

    def __init__(self) -> None:
        self.answers: dict[int, list[tuple[float, frozenset[str]]]] = {}
        self.dead_at: dict[int, dict[str, float]] = {}
        self._indexes: dict[int, int] = {}

    def on_event(self, host: Host, event: Event) -> None:
        if isinstance(event, MemberChanged) and event.after is Status.DEAD:
            self.dead_at.setdefault(host.number, {})[event.member] = self.world.now
        if isinstance(event, MemberChanged | CutShown | GuardChanged):
            self.look(host)

    def look(self, host: Host) -> None:
        assert host.node is not None
        if self._indexes.get(host.number) == host.node.view.index:
            return
        self._indexes[host.number] = host.node.view.index
        rows = host.node.view.instances(service="web", now=host.clock(self.world.now))
        ready = frozenset(row.node for row in rows if row.ready)
        answers = self.answers.setdefault(host.number, [])
        if not answers or answers[-1][1] != ready:
            answers.append((self.world.now, ready))


def measure(nodes: int, batch_s: float, seed: int) -> Seen:
    """Let a fifth of *nodes* vanish, and look at every answer of the rest."""
    world = World(nodes, seed=seed, config=replace(LAN, guard=replace(LAN.guard, batch_s=batch_s)))
    world.start_warm(services=1)
    readers = _Readers()
    world.watch(readers)
    rest, rack = split(nodes, 4, 1)
    world.run(BEFORE_S)
    for number in rest:
        readers.look(world.hosts[number])
    faults.apply(world, Crash(hosts=rack))
    world.run(AFTER_S)
    seen = Seen(changes=[], first_s=[], last_s=[], known_s=[], shown_late_s=[], one=[], wrong=0)
    wanted, wrong = frozenset(world.hosts[number].name for number in rest), 0
    for number in rest:
        readers.look(world.hosts[number])
        changes = readers.answers[number][1:]
        wrong += readers.answers[number][-1][1] != wanted
        seen.changes.append(len(changes))
        seen.first_s.append(changes[0][0] - BEFORE_S)
        seen.last_s.append(changes[-1][0] - BEFORE_S)
        dead_at = readers.dead_at[number]
        seen.known_s.append(max(dead_at.values()) - BEFORE_S)
        for name, at in dead_at.items():
            shown = next(when for when, ready in changes if name not in ready)
            seen.shown_late_s.append(shown - at)
    one = [(max(0.0, at - BEFORE_S), len(ready)) for at, ready in readers.answers[rest[0]]]
    return replace(seen, one=one, wrong=wrong)


def _plot(found: dict[float, list[Seen]], nodes: int) -> Plot:
    series = []
    for batch_s, worlds in found.items():
        steps = [*worlds[0].one, (worlds[0].last_s[0] + 5.0, worlds[0].one[-1][1])]
        corners = [(at, ready) for (_, ready), (at, _) in pairwise(steps)]  # each answer holds until the next
        points = sorted([*steps, *corners], key=lambda point: (point[0], -point[1]))
        series.append(
            Series(label=f"batch_s = {batch_s:g}", x=[at for at, _ in points], y=[ready for _, ready in points])
        )
    return Plot(
        name="cuts",
        title=f"One reader's answer when a fifth of {nodes} members vanishes",
        x_label="seconds since the crash",
        y_label="instances answered",
        series=tuple(series),
    )


def run(settings: Settings) -> Result:
    """Both kinds, the same worlds."""
    nodes = settings.pick(10, 100, 100)
    seeds = settings.seed_list(quick=1, usual=10, full=40)
    cells = [(nodes, batch_s, seed) for batch_s, seed in product(BATCHES_S, seeds)]
    found: dict[float, list[Seen]] = {}
    for (_, batch_s, _), seen in zip(cells, spread(settings, measure, cells), strict=True):
        found.setdefault(batch_s, []).append(seen)
    rows: list[tuple[Cell, ...]] = []
    for batch_s, worlds in found.items():
        figures = {
            "changes of a reader's answer": [float(value) for seen in worlds for value in seen.changes],
            "crash to first change, s": [value for seen in worlds for value in seen.first_s],
            "crash to last verdict, s": [value for seen in worlds for value in seen.known_s],
            "crash to last change, s": [value for seen in worlds for value in seen.last_s],
            "verdict to its showing, s": [value for seen in worlds for value in seen.shown_late_s],
        }
        for what, values in figures.items():
            rows.append((f"batch_s = {batch_s:g}", what, *summary_cells(summarise(values)), max(values)))
    batched = found[BATCHES_S[1]]
    changes = [value for seen in batched for value in seen.changes]
    late = max(value for seen in batched for value in seen.shown_late_s)
    wrong = sum(seen.wrong for worlds in found.values() for seen in worlds)
    return Result(
        tables=(
            Table(
                name="cuts",
                title=f"A fifth of {nodes} members vanishes: what each of the rest answers for one service",
                columns=("batching", "what", *SUMMARY_COLUMNS, "worst"),
                rows=tuple(rows),
                notes=(f"{len(seeds)} worlds of each kind; LAN settings otherwise; seconds are virtual.",),
            ),
        ),
        plots=(_plot(found, nodes),),
        verdicts=(
            at_most("changes of an answer, mean, batched", sum(changes) / len(changes), wanted=1.5, beat=1.05),
            at_most("verdict held, worst", late, wanted=LAN.guard.batch_s, unit=" s"),
            at_most("readers whose last answer is wrong", wrong, wanted=0),
        ),
        notes=("The goals are ours: no published figures were found.",),
    )


EXPERIMENT = Experiment(title="a rack vanishes: changes of an answer, with and without batching of cuts", run=run)
