"""A world that is cut in some shape and healed, with writes on both sides, and what is to be known of it, for `partition`."""

import math
import resource
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from gossipd.config import LAN, ProtocolConfig
from gossipd.core.events import Event, MemberChanged
from gossipd.records import Status
from simulations import faults, inside
from simulations.beliefs import ALIVE, DEAD, SUSPECT
from simulations.branches import follow, reseed
from simulations.checkers import Bounds, standard
from simulations.conditions import CatalogShows, agree
from simulations.faults import Cut, CutOneWay, CutRing, Deregister, Flap, Heal, Hosts, Register, SetLink
from simulations.host import Host
from simulations.network import LAN_LINK
from simulations.sides import split
from simulations.watching import Watcher
from simulations.world import World

BEFORE_S = 5.0
GIVE_UP_S = 60.0
"""Seconds after the heal at which one stops waiting."""

LOOK_S = 0.1
BRANCH_S = 5.0
"""Seconds within which each branch of a cut is healed at a moment of its own: some probe periods and syncs apart."""

WRITERS = 5
"""Hosts on each side that write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """*sides* are listened to apart; *lonely* is who ought to know that it is cut off; nobody if no side is the smaller."""

    fault: faults.Fault
    sides: tuple[Hosts, ...]
    lonely: Hosts = ()
    also: tuple[faults.Fault, ...] = ()
    """What goes wrong together with *fault*."""


def _groups(sides: tuple[Hosts, ...], lonely: Hosts = ()) -> Shape:
    return Shape(fault=Cut(groups=sides), sides=sides, lonely=lonely)


def _part(nodes: int, part: float) -> Shape:
    few = max(1, round(nodes * part))
    sides = tuple(range(nodes - few)), tuple(range(nodes - few, nodes))
    return _groups(sides, sides[1])


def _bridge(nodes: int) -> Shape:
    bridge, left, right = split(nodes, 0, 1, 1)
    return Shape(fault=Cut(groups=((*bridge, *left), (*bridge, *right))), sides=(left, right))


def _one_way(nodes: int) -> Shape:
    left, right = split(nodes, 9, 1)
    return Shape(fault=CutOneWay(sources=right, targets=left), sides=(left, right))


def _lossy(nodes: int) -> Shape:
    left, right = split(nodes, 1, 1)
    there, back = (
        SetLink(link=replace(LAN_LINK, loss=0.3), sources=a, targets=b) for a, b in ((left, right), (right, left))
    )
    return Shape(fault=there, sides=(left, right), also=(back,))


def _flapping(nodes: int) -> Shape:
    left, right = split(nodes, 1, 1)
    return Shape(fault=Flap(groups=(left, right), cut_s=20, healed_s=20, times=1), sides=(left, right))


def _fitted(flap: Flap, cut_s: float) -> Flap:
    """Return *flap* with as many turns as fit into *cut_s*, stretched so that the heal comes in the middle of a cut."""
    turns = int(cut_s // (flap.cut_s + flap.healed_s))
    each_s = cut_s / (2 * turns + 0.5) if turns else cut_s + flap.cut_s
    return replace(flap, cut_s=each_s, healed_s=each_s, times=turns + 1)


SHAPES: dict[str, Callable[[int], Shape]] = {
    "halves": lambda nodes: _groups(split(nodes, 1, 1)),
    "99/1": lambda nodes: _part(nodes, 0.01),
    "single": lambda nodes: _part(nodes, 0.0),
    "three-way": lambda nodes: _groups(split(nodes, 1, 1, 1)),
    "bridge": _bridge,
    "ring-majority": lambda nodes: Shape(
        fault=CutRing(reach=nodes * 3 // 8), sides=(tuple(range(nodes // 2)), tuple(range(nodes // 2, nodes)))
    ),
    "one-way": _one_way,
    "flapping": _flapping,
    "30 % loss across": _lossy,
}
"""The ways to be cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Healed:
    """One world's figures. Seconds are virtual; None: it did not happen while we looked."""

    line: str
    """The arguments of `python -m simulations heal` that tell this world again."""
    history_hash: str
    cut_s: float
    isolated_s: float | None
    """From the cut until all who ought to know that they are cut off said so."""
    lonely_accusations: int
    """Members that those who ought to know that they are cut off accused before the heal, because a probe failed."""
    lonely_standing: int
    """Members that each of them held for suspect or dead at the heal, in all."""
    lonely_verdicts: int
    """Members that they held for dead before the heal, by their own timers."""
    removals: int
    """Verdicts on members that are well and on the judge's side (checker "no false death")."""
    reachable_dead: int
    """Whoever held a member for dead that reached it, and did so for 30 s: verdicts that were handed on too."""
    resurrected: int
    other_violations: tuple[str, ...]
    views_s: float | None
    """From the heal until everybody believes everybody alive."""
    catalogs_s: float | None
    same_s: float | None
    """From the heal until views, with incarnations, and catalogs are the same everywhere."""
    burst_mean: float
    """Bytes a second and member sent over the worst second after the heal, on average over members."""
    burst_most: float
    """The same of the busiest member in its worst second."""
    burst_10_s: float
    """The same of the busiest member over its worst ten seconds."""
    deaths_after: int
    """Members declared dead, or heard of as dead, after the heal."""
    peak_bytes: int = field(compare=False)
    """The most memory that the process which told this had, shared with others or not."""


class _Counts(Watcher):
    """Counts accusations and deaths."""

    def __init__(self, lonely: Hosts) -> None:
        self._lonely = frozenset(lonely)
        self.lonely_accusations = 0
        self.lonely_verdicts = 0
        self.reachable_dead = 0
        self.deaths = 0

    def on_event(self, host: Host, event: Event) -> None:
        if not isinstance(event, MemberChanged):
            return
        alone = host.number in self._lonely and not self.world.network.whole
        self.lonely_accusations += alone and event.how == "probe" and event.after is Status.SUSPECT
        if event.after is not Status.DEAD:
            return
        self.deaths += 1
        subject = self.world.number_of[event.member]
        self.lonely_verdicts += alone and event.how == "timer"
        self.reachable_dead += self.world.network.linked(host.number, subject, since=self.world.now - 30.0)


class Burst:
    """Bytes sent by each host, looked at every LOOK_S."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._totals = [self._sent()]

    def _sent(self) -> list[int]:
        return [host.traffic.bytes_out + host.traffic.stream_bytes_out for host in self._world.hosts]

    def look(self) -> None:
        self._totals.append(self._sent())

    def worst(self, over_s: float) -> tuple[float, float]:
        """Return bytes a second over the worst *over_s*: the mean of all hosts, and the busiest host's own worst."""
        apart = max(1, min(round(over_s / LOOK_S), len(self._totals) - 1))
        mean = most = 0.0
        for before, after in zip(self._totals, self._totals[apart:], strict=False):
            sent = [b - a for a, b in zip(before, after, strict=True)]
            mean, most = max(mean, sum(sent) / len(sent)), max(most, max(sent))
        seconds = apart * LOOK_S
        return mean / seconds, most / seconds


def views_whole(world: World) -> bool:
    """Return whether everybody believes everybody alive."""
    others = len(world.hosts) - 1
    return all(counts[ALIVE] == others for counts in world.beliefs.counts)


def catalogs_same(world: World) -> bool:
    """Return whether all hosts hold the same records."""
    nodes = [host.node for host in (world.hosts[0], *reversed(world.hosts)) if host.node is not None]
    first = inside.catalog_root(nodes[0])
    return all(inside.catalog_root(node) == first for node in nodes)


class Cutting:
    """One world of *nodes* that was cut in the shape of that name, *cut_s* long, and is about to be healed."""

    def __init__(self, shape_name: str, nodes: int, cut_s: float, seed: int, config: ProtocolConfig = LAN) -> None:
        self._line = f"'{shape_name}' --nodes {nodes} --cut-s {cut_s:g} --seed {seed}"
        self._cut_s = cut_s
        self._shape = shape = SHAPES[shape_name](nodes)
        self.world = world = World(nodes, seed=seed, config=config)
        world.start_warm(services=1)
        self._counts = _Counts(shape.lonely)
        world.watch(self._counts)
        for checker in standard(Bounds(agree=False, bytes_per_s=math.inf)):
            world.watch(checker)
        self._writers = writers = tuple(number for side in shape.sides for number in side[:WRITERS])
        for id in ("changed", "gone"):
            faults.apply(world, Register(hosts=writers, id=id))
        world.run(BEFORE_S)
        for fault in (shape.fault, *shape.also):
            faults.apply(world, _fitted(fault, cut_s) if isinstance(fault, Flap) else fault)
        self._isolated_s = _isolated(world, shape.lonely, cut_s)
        world.run_to(BEFORE_S + cut_s / 2)
        faults.apply(world, Deregister(hosts=writers, id="gone"))
        faults.apply(world, Register(hosts=writers, id="changed", port=9090))
        faults.apply(world, Register(hosts=writers, id="born"))
        world.run_to(BEFORE_S + cut_s)

    def heal(self, branch: int | None = None) -> Healed:
        """Heal the world and look: at once, or with the luck of *branch* and at its moment, within BRANCH_S. Once only."""
        world, counts, line = self.world, self._counts, self._line
        if branch is not None:
            world.run(reseed(world, branch).uniform(0, BRANCH_S))
            line += f" --branch {branch}"
        deaths, standing = counts.deaths, _standing(world, self._shape.lonely)
        views_s, catalogs_s, same_s, burst = heal(world, self._shape)
        world.run(5.0)
        gone = CatalogShows(owners=self._writers, id="gone", port=None).holds(world)
        world.finish()
        mean, most = burst.worst(1.0)
        failed = [violation.checker for violation in world.violations]
        return Healed(
            line=line,
            history_hash=world.history_hash(),
            cut_s=self._cut_s,
            isolated_s=self._isolated_s,
            lonely_accusations=counts.lonely_accusations,
            lonely_standing=standing,
            lonely_verdicts=counts.lonely_verdicts,
            removals=failed.count("no false death"),
            reachable_dead=counts.reachable_dead,
            resurrected=failed.count("no resurrection") + (not gone),
            other_violations=tuple(
                str(violation)
                for violation in world.violations
                if violation.checker not in ("no false death", "no resurrection")
            ),
            views_s=views_s,
            catalogs_s=catalogs_s,
            same_s=same_s,
            burst_mean=mean,
            burst_most=most,
            burst_10_s=burst.worst(10.0)[1],
            deaths_after=counts.deaths - deaths,
            peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        )


def measure(shape_name: str, nodes: int, cut_s: float, seed: int) -> Healed:
    """Cut one world and heal it."""
    return Cutting(shape_name, nodes, cut_s, seed).heal()


def measure_branches(shape_name: str, nodes: int, cut_s: float, seed: int, branches: int) -> list[Healed]:
    """Cut one world and heal it in so many branches, numbered from 1, each with its own luck and moment of the heal."""
    cutting = Cutting(shape_name, nodes, cut_s, seed)
    return follow(range(1, branches + 1), cutting.heal)


def _standing(world: World, lonely: Hosts) -> int:
    rows = [world.beliefs.of[number] for number in lonely]
    return sum(row.count(SUSPECT) + row.count(DEAD) for row in rows if row is not None)


def _isolated(world: World, lonely: Hosts, within_s: float) -> float | None:
    """Run until all of *lonely* say that they are cut off."""
    if not lonely:
        return None

    def all_know() -> bool:
        nodes = [world.hosts[number].node for number in lonely]
        return all(node is not None and inside.isolated(node) for node in nodes)

    return world.run_until(all_know, within_s=min(within_s / 2, 60.0))


def heal(world: World, shape: Shape) -> tuple[float | None, float | None, float | None, Burst]:
    """Heal *world*; return the seconds until views are whole, catalogs the same, and both identical; and the bytes."""
    if isinstance(shape.fault, SetLink):
        faults.apply(world, SetLink(link=LAN_LINK))
    faults.apply(world, Heal())
    at, burst = world.now, Burst(world)
    views_s = catalogs_s = same_s = None
    while same_s is None and world.now < at + GIVE_UP_S:
        world.run(LOOK_S)
        burst.look()
        since = round(world.now - at, 3)
        if views_s is None and views_whole(world):
            views_s = since
        if catalogs_s is None and catalogs_same(world):
            catalogs_s = since
        if agree(world):
            same_s = since
    for _ in range(round(5.0 / LOOK_S)):
        world.run(LOOK_S)
        burst.look()
    return views_s, catalogs_s, same_s, burst
