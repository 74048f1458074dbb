"""A world that is cut in some shape and healed, with writes on both sides, and what is to be known of it, for `partition`."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from gossipd.config import LAN, ProtocolConfig
from gossipd.core.events import Event, MemberChanged
from gossipd.records import Status
from simulations import faults, inside
from simulations.beliefs import ALIVE
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
    return Shape(fault=Flap(groups=(left, right), cut_s=20, healed_s=20, times=15), sides=(left, right))


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
"""The shapes of papers.md section 4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Healed:
    """One world's figures. Seconds are virtual; None: it did not happen while we looked."""

    isolated_s: float | None
    """From the cut until all who ought to know that they are cut off said so."""
    lonely_verdicts: int
    """Members that those who ought to know that they are cut off held for dead before the heal, by their own timers."""
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


class _Counts(Watcher):
    """Counts deaths."""

    def __init__(self, lonely: Hosts) -> None:
        self._lonely = frozenset(lonely)
        self.lonely_verdicts = 0
        self.reachable_dead = 0
        self.deaths = 0

    def on_event(self, host: Host, event: Event) -> None:
        if not isinstance(event, MemberChanged) or event.after is not Status.DEAD:
            return
        self.deaths += 1
        world = self.world
        subject = world.number_of[event.member]
        self.lonely_verdicts += event.how == "timer" and host.number in self._lonely and not world.network.whole
        self.reachable_dead += world.network.linked(host.number, subject, since=world.now - 30.0)


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


def measure(shape_name: str, nodes: int, cut_s: float, seed: int, config: ProtocolConfig = LAN) -> Healed:
    """Cut one world of *nodes* in the shape of that name for *cut_s*, heal it, and look."""
    shape = SHAPES[shape_name](nodes)
    world = World(nodes, seed=seed, config=config)
    world.start_warm(services=1)
    counts = _Counts(shape.lonely)
    world.watch(counts)
    for checker in standard(Bounds(agree=False, bytes_per_s=math.inf)):
        world.watch(checker)
    writers = tuple(number for side in shape.sides for number in side[:WRITERS])
    for id in ("changed", "gone"):
        faults.apply(world, Register(hosts=writers, id=id))
    world.run(BEFORE_S)
    for fault in (shape.fault, *shape.also):
        faults.apply(world, fault)
    isolated_s = _isolated(world, shape.lonely, cut_s)
    world.run_to(BEFORE_S + cut_s / 2)
    faults.apply(world, Deregister(hosts=writers, id="gone"))
    faults.apply(world, Register(hosts=writers, id="changed", port=9090))
    faults.apply(world, Register(hosts=writers, id="born"))
    world.run_to(BEFORE_S + cut_s)
    deaths = counts.deaths
    views_s, catalogs_s, same_s, burst = heal(world, shape)
    world.run(5.0)
    gone = CatalogShows(owners=writers, id="gone", port=None).holds(world)
    world.finish()
    mean, most = burst.worst(1.0)
    failed = [violation.checker for violation in world.violations]
    return Healed(
        isolated_s=isolated_s,
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
    )


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
