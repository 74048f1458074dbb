"""Random worlds: topologies, faults and commands drawn step by step, healed at the end, and written as one line that replays them.

Who draws is a parameter: `Random` in a sweep, hypothesis in the tests, which then shrinks what fails. A world is a value; its line
is the name of a story, so that ``python -m simulations replay LINE`` plays it.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol, TypeVar

from gossipd.limits import LIVE_RECORDS_PER_OWNER_MAX
from gossipd.node.node import Node
from gossipd.records import Health
from simulations import faults
from simulations.checkers import standard
from simulations.faults import Hosts
from simulations.host import HostSettings, WakeOrder
from simulations.network import WORLD_SITES, Burst, Link, Topology
from simulations.replay import Replay
from simulations.steps import Outcome, Playing, Run, Step, Story, play, world_of
from simulations.words import read, written

PREFIX = "random@"
NODES_MIN, NODES_MAX = 4, 10
"""Small worlds: nearly every bug needs few members, and few are quick to run and easy to read."""

MOVES_MIN, MOVES_MAX = 2, 9
AFTER_S = 25.0
"""What follows the heal: the checkers allow 20 s until nobody alive is believed dead."""

SETTLE_S = 90.0
"""Longer than a story's: a lossy or far network, where a sync or two may fail."""

BURST_PACKETS = 5
KEYS = (0, 1)
"""Every host opens both from the beginning, so that seals may change in any order."""

T = TypeVar("T")


class Chance(Protocol):
    """Whoever draws."""

    def choice(self, options: Sequence[T]) -> T: ...
    def randint(self, low: int, high: int) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The world before anything goes wrong."""

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    far: bool = False
    """Hosts are in twelve cities instead of one place."""
    drift: float = 0.0
    timers_first: bool = False
    """Who was frozen wakes to its timers before its datagrams, unlike the daemon."""
    services: int = 1
    bursts: float = 0.0
    """Probability that a packet begins a run of lost ones, BURST_PACKETS long on average."""
    bytes_per_s: float = math.inf
    """Of each link, each way."""
    late: int = 0
    """How many hosts, the last, do not run when it begins, and are known to nobody."""

    def __post_init__(self) -> None:
        if not 0 <= self.services <= LIVE_RECORDS_PER_OWNER_MAX:
            raise ValueError(f"services={self.services}, expected 0 to {LIVE_RECORDS_PER_OWNER_MAX}")

    def __str__(self) -> str:
        place = "twelve cities" if self.far else "one place"
        lost = f"loss {self.loss:g}, in bursts {self.bursts:g}"
        return f"{place}, {lost}, duplicates {self.duplicate:g}, reordering {self.reorder:g}, {self.late} come late"

    def link(self) -> Link:
        burst = Burst(begins=self.bursts, ends=1 / BURST_PACKETS) if self.bursts else None
        amounts = {"loss": self.loss, "duplicate": self.duplicate, "reorder": self.reorder}
        return Link(**amounts, burst=burst, bytes_per_s=self.bytes_per_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomWorld:
    nodes: int
    seed: int
    ground: Ground
    moves: tuple[Step, ...]
    """What goes wrong and what people do; the heal comes after."""

    def __post_init__(self) -> None:
        if not 0 <= self.ground.late <= self.nodes - 2:
            raise ValueError(f"late={self.ground.late}, expected 0 to {self.nodes - 2} of {self.nodes} nodes")

    @property
    def name(self) -> str:
        """The name of the story that this is, without nodes and seed."""
        return PREFIX + "+".join(written(part) for part in (self.ground, *self.moves))

    def line(self, history_hash: str | None = None) -> str:
        """Return what to give to ``python -m simulations replay``."""
        return str(Replay(name=self.name, nodes=self.nodes, seed=self.seed, history_hash=history_hash))

    def story(self) -> Story:
        """Return the moves and the heal as a story."""
        ground, leaving = self.ground, set[int]()
        moves = [step for move in self.moves for step in _safely(move, leaving)]
        return Story(
            about=f"A random world of {self.nodes}: {ground}.",
            steps=(*self.beginning(), *moves, *self.ending()),
            services=ground.services,
            late=ground.late,
            topology=Topology(link=ground.link(), sites=WORLD_SITES if ground.far else ()),
            settings=HostSettings(
                drift=ground.drift, wake=WakeOrder.TIMERS if ground.timers_first else WakeOrder.DRIVER
            ),
            settle_s=SETTLE_S,
        )

    def beginning(self) -> tuple[Step, ...]:
        """Return what comes before the moves."""
        return faults.UseKeys(hosts=tuple(range(self.nodes)), keys=KEYS), Run(seconds=3)

    def ending(self) -> tuple[Step, ...]:
        """Return the heal, which comes after the moves."""
        everybody = tuple(range(self.nodes))
        return (
            faults.Heal(),
            faults.SetLink(link=self.ground.link()),
            faults.Lose(hosts=everybody, incoming=0.0, outgoing=0.0),
            faults.Thaw(hosts=everybody),
            faults.Unblock(hosts=everybody),
            faults.SlowDown(hosts=everybody, cpu_s=None),
            Run(seconds=AFTER_S),
        )

    def play(self) -> Outcome:
        """Run it, watched by every checker."""
        story = self.story()
        return play(story, world_of(story, nodes=self.nodes, seed=self.seed))


class Unfolding:
    """A random world that is played while it is drawn: each move is done at once, and the line of *drawn* replays it all."""

    def __init__(self, *, nodes: int, seed: int, ground: Ground, node_type: type[Node] = Node) -> None:
        """*node_type* plants a bug."""
        self.drawn = RandomWorld(nodes=nodes, seed=seed, ground=ground, moves=())
        story = self.drawn.story()
        self.world = world_of(story, nodes=nodes, seed=seed, node_type=node_type)
        self._playing = Playing(self.world, checkers=standard(story.bounds))
        self._leaving: set[int] = set()
        self._each(self.drawn.beginning())

    def do(self, move: Step) -> None:
        """Let *move* happen, unless something was wrong before."""
        if not self._playing.over:
            self.drawn = replace(self.drawn, moves=(*self.drawn.moves, move))
            self._each(_safely(move, self._leaving))

    def end(self) -> Outcome:
        """Heal it, let it settle, and tell whether every invariant held. Once only."""
        self._each(self.drawn.ending())
        return self._playing.end(SETTLE_S)

    def _each(self, steps: Iterable[Step]) -> None:
        for step in steps:
            self._playing.do(step)


def _safely(move: Step, leaving: set[int]) -> Iterator[Step]:
    """Yield *move* without what a node refuses to a client, which is an error and no weakness; note in *leaving* who leaves.

    Who leaves takes no registrations. Before a withdrawal what is to be withdrawn is registered and changed: the news of the first
    is still under way when the second and the withdrawal follow.
    """
    if isinstance(move, faults.Leave):
        leaving |= set(move.hosts)
    elif isinstance(move, faults.Restart):
        leaving -= set(move.hosts)
    if not isinstance(move, faults.Register | faults.Deregister):
        yield move
        return
    staying = replace(move, hosts=tuple(number for number in move.hosts if number not in leaving))
    if isinstance(staying, faults.Deregister):
        yield faults.Register(hosts=staying.hosts, id=staying.id, port=8)
        yield Run(seconds=0.1)
        yield faults.Register(hosts=staying.hosts, id=staying.id, port=9)
    yield staying


# ---------------------------------------------------------------------------------------------------------------- drawing


def draw(chance: Chance, *, seed: int) -> RandomWorld:
    """Return a world drawn from *chance*. The simplest choice is the first one or the lowest: hypothesis shrinks towards it."""
    nodes = chance.randint(NODES_MIN, NODES_MAX)
    ground = draw_ground(chance)
    moves: list[Step] = []
    for _ in range(chance.randint(MOVES_MIN, MOVES_MAX)):
        move = chance.choice(MOVES)
        moves.append(move(chance, nodes))
        moves.append(draw_pause(chance))
    return RandomWorld(nodes=nodes, seed=seed, ground=ground, moves=tuple(moves))


def draw_ground(chance: Chance) -> Ground:
    """Return what there is before anything goes wrong."""
    return Ground(
        loss=chance.choice((0.0, 0.0, 0.01, 0.05)),
        duplicate=chance.choice((0.0, 0.0, 0.1)),
        reorder=chance.choice((0.0, 0.0, 0.2)),
        far=chance.choice((False, False, True)),
        drift=chance.choice((0.0, 0.0, 0.0001)),
        timers_first=chance.choice((False, False, True)),
        services=chance.choice((1, 0, 3)),
        bursts=chance.choice((0.0, 0.0, 0.01)),
        bytes_per_s=chance.choice((math.inf, math.inf, 50_000.0)),
        late=chance.choice((0, 0, 1, 2)),
    )


def draw_pause(chance: Chance) -> Step:
    """Return how long nothing else happens. The simplest is long enough for a verdict, or what shrinks would keep moves for it."""
    return Run(seconds=chance.choice((9.0, 1.0, 0.1, 4.0, 20.0, 35.0)))


def from_seed(seed: int) -> RandomWorld:
    """Return the world of *seed*, for sweeps."""
    return draw(Random(f"{seed} random world"), seed=seed)


def _some(chance: Chance, nodes: int, most: int) -> Hosts:
    return tuple(sorted({chance.randint(0, nodes - 1) for _ in range(chance.randint(1, most))}))


def _cut(chance: Chance, nodes: int) -> Step:
    left = _some(chance, nodes, nodes // 2)
    right = tuple(number for number in range(nodes) if number not in left)
    bridge = chance.choice(((), (), right[:1]))
    return faults.Cut(groups=((*left, *bridge), right))


def _cut_one_way(chance: Chance, nodes: int) -> Step:
    sources = _some(chance, nodes, 2)
    return faults.CutOneWay(sources=sources, targets=tuple(n for n in range(nodes) if n not in sources))


def _flap(chance: Chance, nodes: int) -> Step:
    left = _some(chance, nodes, nodes // 2)
    right = tuple(number for number in range(nodes) if number not in left)
    seconds = chance.choice((5.0, 20.0))
    return faults.Flap(groups=(left, right), cut_s=seconds, healed_s=seconds, times=2)


def _restart(chance: Chance, nodes: int) -> Step:
    hosts = _some(chance, nodes, 3)
    disk = chance.choice((True, True, False))
    seeds = tuple(range(nodes))  # any of which may be the one that runs
    return faults.Restart(hosts=hosts, disk=disk, peer_book=chance.choice((True, False)), seeds=seeds)


def _come(chance: Chance, nodes: int) -> Step:
    last = tuple(range(nodes - chance.choice((1, 2)), nodes))  # those who come late, if any do
    return faults.Restart(hosts=last, seeds=tuple(range(nodes)))


def _lose(chance: Chance, nodes: int) -> Step:
    parts = (0.3, 0.0, 0.8)
    return faults.Lose(hosts=_some(chance, nodes, 2), incoming=chance.choice(parts), outgoing=chance.choice(parts))


def _link_one_way(chance: Chance, nodes: int) -> Step:
    sources = _some(chance, nodes, 2)
    targets = tuple(number for number in _some(chance, nodes, 2) if number not in sources)
    link = chance.choice((Link(loss=0.3), Link(delay_s=0.3), Link(bytes_per_s=5_000.0)))
    return faults.SetLink(link=link, sources=sources, targets=targets)


def _register(chance: Chance, nodes: int) -> Step:
    id, port, every_s = chance.choice(IDS), chance.choice((1, 2, 3)), chance.choice((None, None, 1.0, 5.0))
    return faults.Register(hosts=_some(chance, nodes, 3), id=id, port=port, checked_every_s=every_s)


def _set_health(chance: Chance, nodes: int) -> Step:
    health = chance.choice((Health.CRITICAL, Health.PASSING, Health.WARNING))
    return faults.SetHealth(hosts=_some(chance, nodes, 3), id=chance.choice(IDS), health=health)


Move = Callable[[Chance, int], Step]
"""Draws what may happen in a world of so many nodes."""

IDS = ("a", "b", "web-0")

COMMANDS: tuple[Move, ...] = (
    _register,
    lambda c, n: faults.Deregister(hosts=_some(c, n, 3), id=c.choice(IDS)),
    _set_health,
    lambda c, n: faults.UseKeys(hosts=_some(c, n, 3), keys=c.choice((KEYS, KEYS[::-1]))),
)
PROCESSES: tuple[Move, ...] = (
    lambda c, n: faults.Crash(hosts=_some(c, n, 2), silent=c.choice((True, False))),
    _restart,
    _restart,
    _come,
    lambda c, n: faults.Leave(hosts=_some(c, n, 2)),
)
CUTS: tuple[Move, ...] = (
    _cut,
    _cut,
    _cut_one_way,
    _flap,
    lambda c, n: faults.CutRing(reach=c.choice((max(1, n * 3 // 8), max(1, n // 4)))),
    lambda _c, _n: faults.Heal(),
)
HARDWARE: tuple[Move, ...] = (
    lambda c, n: faults.Freeze(hosts=_some(c, n, 3), for_s=c.choice((2.0, 0.3, 12.0, 40.0))),
    lambda c, n: faults.Block(hosts=_some(c, n, 3), for_s=c.choice((2.0, 0.3, 12.0, 40.0))),
    _lose,
    _link_one_way,
    lambda c, n: faults.SlowDown(hosts=_some(c, n, 2), cpu_s=c.choice((0.1, 0.01))),
    lambda c, n: faults.SlowDisk(hosts=_some(c, n, 2), disk_s=c.choice((0.5, 5.0))),
    lambda c, n: faults.SetClockBack(hosts=_some(c, n, 2), by_s=c.choice((3600.0, 60.0))),
)
MOVES = (*COMMANDS, *PROCESSES, *CUTS, *HARDWARE)
"""What may happen; cuts and restarts, which find most, twice."""


# --------------------------------------------------------------------------------------------------------------- shrinking


def shrunk(world: RandomWorld, *, tries: int = 60) -> RandomWorld:
    """Return a smaller world in which the same checker still fails: moves are left out one by one, at most *tries* runs.

    Returns *world* itself if it passes. Hypothesis shrinks better; this is for sweeps.
    """
    failing = {violation.checker for violation in world.play().violations}
    best = world
    at = len(world.moves) - 1
    while at >= 0 and tries > 0 and failing:
        fewer = replace(best, moves=best.moves[:at] + best.moves[at + 1 :])
        if failing & {violation.checker for violation in fewer.play().violations}:
            best = fewer
        at -= 1
        tries -= 1
    plain = replace(best, ground=Ground())
    if failing and failing & {violation.checker for violation in plain.play().violations}:
        best = plain
    return best


# ------------------------------------------------------------------------------------------------------------------- lines

_KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        Run,
        Ground,
        faults.Crash,
        faults.Restart,
        faults.Leave,
        faults.Freeze,
        faults.Thaw,
        faults.Block,
        faults.Unblock,
        faults.Cut,
        faults.CutOneWay,
        faults.CutRing,
        faults.Flap,
        faults.Heal,
        faults.Lose,
        faults.SetLink,
        faults.SlowDown,
        faults.SlowDisk,
        faults.SetClockBack,
        faults.Register,
        faults.Deregister,
        faults.SetHealth,
        faults.UseKeys,
    )
}


def story_of(name: str, nodes: int) -> Story:
    """Return the story that *name* writes out, for so many *nodes*. Raises: ValueError."""
    return parse(name, nodes=nodes, seed=0).story()


def parse(name: str, *, nodes: int, seed: int) -> RandomWorld:
    """Return the world that `RandomWorld.name` wrote. Raises: ValueError."""
    if not name.startswith(PREFIX):
        raise ValueError(f"{name!r}, expected {PREFIX} and what happens")
    if nodes < 2:
        raise ValueError(f"nodes={nodes}, expected at least 2 for this story")
    ground, *moves = [read(text, _KINDS, nodes=nodes) for text in name.removeprefix(PREFIX).split("+")]
    if not isinstance(ground, Ground) or any(isinstance(move, Ground) for move in moves):
        raise ValueError(f"{name!r}, expected {PREFIX}Ground first and then what happens")
    return RandomWorld(nodes=nodes, seed=seed, ground=ground, moves=tuple(moves))
