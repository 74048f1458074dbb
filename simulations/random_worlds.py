"""Random worlds: topologies, faults and commands drawn step by step, healed at the end, and written as one line that replays them.

Who draws is a parameter: `Random` in a sweep, hypothesis in the tests, which then shrinks what fails. A world is a value; its line
is the name of a story, so that ``python -m simulations replay LINE`` plays it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from random import Random
from typing import Any, Protocol, TypeVar, get_type_hints

from gossipd.limits import LIVE_RECORDS_PER_OWNER_MAX
from simulations import faults
from simulations.faults import Hosts
from simulations.host import HostSettings, WakeOrder
from simulations.network import WORLD_SITES, Link, Topology
from simulations.replay import Replay
from simulations.steps import Outcome, Run, Step, Story, play, world_of

PREFIX = "random@"
NODES_MIN, NODES_MAX = 4, 10
"""Small worlds: nearly every bug needs few members, and few are quick to run and easy to read."""

MOVES_MIN, MOVES_MAX = 2, 9
AFTER_S = 25.0
"""What follows the heal: the checkers allow 20 s until nobody alive is believed dead."""

SETTLE_S = 90.0
"""Longer than a story's: a lossy or far network, where a sync or two may fail."""

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

    def __post_init__(self) -> None:
        if not 0 <= self.services <= LIVE_RECORDS_PER_OWNER_MAX:
            raise ValueError(f"services={self.services}, expected 0 to {LIVE_RECORDS_PER_OWNER_MAX}")

    def __str__(self) -> str:
        place = "twelve cities" if self.far else "one place"
        return f"{place}, loss {self.loss:g}, duplicates {self.duplicate:g}, reordering {self.reorder:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomWorld:
    nodes: int
    seed: int
    ground: Ground
    moves: tuple[Step, ...]
    """What goes wrong and what people do; the heal comes after."""

    @property
    def name(self) -> str:
        """The name of the story that this is, without nodes and seed."""
        return PREFIX + "+".join(_written(part) for part in (self.ground, *self.moves))

    def line(self, history_hash: str | None = None) -> str:
        """Return what to give to ``python -m simulations replay``."""
        return str(Replay(name=self.name, nodes=self.nodes, seed=self.seed, history_hash=history_hash))

    def story(self) -> Story:
        """Return the moves and the heal as a story."""
        everybody = tuple(range(self.nodes))
        ground = self.ground
        link = Link(loss=ground.loss, duplicate=ground.duplicate, reorder=ground.reorder)
        return Story(
            about=f"A random world of {self.nodes}: {ground}.",
            steps=(
                faults.UseKeys(hosts=everybody, keys=KEYS),
                Run(seconds=3),
                *_safely(self.moves),
                *_healing(everybody),
            ),
            services=ground.services,
            topology=Topology(link=link, sites=WORLD_SITES if ground.far else ()),
            settings=HostSettings(
                drift=ground.drift, wake=WakeOrder.TIMERS if ground.timers_first else WakeOrder.DRIVER
            ),
            settle_s=SETTLE_S,
        )

    def play(self) -> Outcome:
        """Run it, watched by every checker."""
        story = self.story()
        return play(story, world_of(story, nodes=self.nodes, seed=self.seed))


def _safely(moves: Sequence[Step]) -> Iterator[Step]:
    """Yield *moves* without what a node refuses to a client, which is an error and no weakness.

    Who leaves takes no registrations. Before a withdrawal what is to be withdrawn is registered and changed: the news of the first
    is still under way when the second and the withdrawal follow.
    """
    leaving: set[int] = set()
    for move in moves:
        if isinstance(move, faults.Leave):
            leaving |= set(move.hosts)
        elif isinstance(move, faults.Restart):
            leaving -= set(move.hosts)
        if not isinstance(move, faults.Register | faults.Deregister):
            yield move
            continue
        staying = replace(move, hosts=tuple(number for number in move.hosts if number not in leaving))
        if isinstance(staying, faults.Deregister):
            yield faults.Register(hosts=staying.hosts, id=staying.id, port=8)
            yield Run(seconds=0.1)
            yield faults.Register(hosts=staying.hosts, id=staying.id, port=9)
        yield staying


def _healing(everybody: Hosts) -> Iterator[Step]:
    yield faults.Heal()
    yield faults.Lose(hosts=everybody, incoming=0.0, outgoing=0.0)
    yield faults.Thaw(hosts=everybody)
    yield faults.Unblock(hosts=everybody)
    yield faults.SlowDown(hosts=everybody, cpu_s=None)
    yield Run(seconds=AFTER_S)


# ---------------------------------------------------------------------------------------------------------------- drawing


def draw(chance: Chance, *, seed: int) -> RandomWorld:
    """Return a world drawn from *chance*. The simplest choice is the first one or the lowest: hypothesis shrinks towards it."""
    nodes = chance.randint(NODES_MIN, NODES_MAX)
    ground = Ground(
        loss=chance.choice((0.0, 0.0, 0.01, 0.05)),
        duplicate=chance.choice((0.0, 0.0, 0.1)),
        reorder=chance.choice((0.0, 0.0, 0.2)),
        far=chance.choice((False, False, True)),
        drift=chance.choice((0.0, 0.0, 0.0001)),
        timers_first=chance.choice((False, False, True)),
        services=chance.choice((1, 0, 3)),
    )
    moves: list[Step] = []
    for _ in range(chance.randint(MOVES_MIN, MOVES_MAX)):
        move = chance.choice(_MOVES)
        moves.append(move(chance, nodes))
        moves.append(Run(seconds=chance.choice((1.0, 0.1, 4.0, 9.0, 20.0, 35.0))))
    return RandomWorld(nodes=nodes, seed=seed, ground=ground, moves=tuple(moves))


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


def _heal(_chance: Chance, _nodes: int) -> Step:
    return faults.Heal()


def _lose(chance: Chance, nodes: int) -> Step:
    parts = (0.3, 0.0, 0.8)
    return faults.Lose(hosts=_some(chance, nodes, 2), incoming=chance.choice(parts), outgoing=chance.choice(parts))


def _register(chance: Chance, nodes: int) -> Step:
    id, port = chance.choice(("a", "b", "web-0")), chance.choice((1, 2, 3))
    return faults.Register(hosts=_some(chance, nodes, 3), id=id, port=port)


_Move = Callable[[Chance, int], Step]
_MOVES: tuple[_Move, ...] = (
    _register,
    lambda c, n: faults.Deregister(hosts=_some(c, n, 3), id=c.choice(("a", "b", "web-0"))),
    lambda c, n: faults.Crash(hosts=_some(c, n, 2), silent=c.choice((True, False))),
    _restart,
    _restart,
    lambda c, n: faults.Leave(hosts=_some(c, n, 2)),
    _cut,
    _cut,
    _cut_one_way,
    _flap,
    lambda c, n: faults.CutRing(reach=c.choice((max(1, n * 3 // 8), max(1, n // 4)))),
    _heal,
    lambda c, n: faults.Freeze(hosts=_some(c, n, 3), for_s=c.choice((2.0, 0.3, 12.0, 40.0))),
    lambda c, n: faults.Block(hosts=_some(c, n, 3), for_s=c.choice((2.0, 0.3, 12.0, 40.0))),
    _lose,
    lambda c, n: faults.SlowDown(hosts=_some(c, n, 2), cpu_s=c.choice((0.1, 0.01))),
    lambda c, n: faults.SlowDisk(hosts=_some(c, n, 2), disk_s=c.choice((0.5, 5.0))),
    lambda c, n: faults.SetClockBack(hosts=_some(c, n, 2), by_s=c.choice((3600.0, 60.0))),
    lambda c, n: faults.UseKeys(hosts=_some(c, n, 3), keys=c.choice((KEYS, KEYS[::-1]))),
)
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
        faults.Block,
        faults.Cut,
        faults.CutOneWay,
        faults.CutRing,
        faults.Flap,
        faults.Heal,
        faults.Lose,
        faults.SlowDown,
        faults.SlowDisk,
        faults.SetClockBack,
        faults.Register,
        faults.Deregister,
        faults.UseKeys,
    )
}


def _written(part: Any) -> str:
    """Return *part* as Kind:field=value..., with no letter that a shell minds; fields that have their default are left out."""
    words = [type(part).__name__]
    for field in fields(part):
        value = getattr(part, field.name)
        if field.default is MISSING or value != field.default:
            words.append(f"{field.name}={_value(value)}")
    return ":".join(words)


def _value(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return str(int(value))
        case tuple() if value and isinstance(value[0], tuple):
            return "/".join(map(_value, value))
        case tuple():
            return ",".join(map(str, value))
        case float():
            return repr(value)
        case _:
            return str(value)


def story_of(name: str, nodes: int) -> Story:
    """Return the story that *name* writes out, for so many *nodes*. Raises: ValueError."""
    return parse(name, nodes=nodes, seed=0).story()


def parse(name: str, *, nodes: int, seed: int) -> RandomWorld:
    """Return the world that `RandomWorld.name` wrote. Raises: ValueError."""
    if not name.startswith(PREFIX):
        raise ValueError(f"{name!r}, expected {PREFIX} and what happens")
    if nodes < 2:
        raise ValueError(f"nodes={nodes}, expected at least 2 for this story")
    ground, *moves = [_read(text, nodes) for text in name.removeprefix(PREFIX).split("+")]
    if not isinstance(ground, Ground) or any(isinstance(move, Ground) for move in moves):
        raise ValueError(f"{name!r}, expected {PREFIX}Ground first and then what happens")
    return RandomWorld(nodes=nodes, seed=seed, ground=ground, moves=tuple(moves))


def _read(text: str, nodes: int) -> Any:
    kind_name, *pairs = text.split(":")
    kind = _KINDS.get(kind_name)
    if kind is None:
        raise ValueError(f"{kind_name!r}, expected one of: {', '.join(_KINDS)}")
    types = get_type_hints(kind)
    values: dict[str, Any] = {}
    for pair in pairs:
        field, _, value = pair.partition("=")
        if field not in types or field in values:
            raise ValueError(f"{pair!r} in {text!r}, expected each once: {', '.join(types)}")
        try:
            values[field] = _parsed(types[field], value, nodes if field in _HOST_FIELDS else None)
        except ValueError as error:
            raise ValueError(f"{pair!r} in {text!r}: {error}") from None
    try:
        return kind(**values)
    except TypeError:
        raise ValueError(f"{text!r}, expected all of: {', '.join(types)}") from None


_HOST_FIELDS = ("hosts", "groups", "sources", "targets", "seeds")


def _parsed(wanted: Any, text: str, below: int | None) -> Any:
    if wanted == tuple[Hosts, ...]:
        return tuple(_parsed(Hosts, part, below) for part in text.split("/"))
    if wanted == Hosts:
        hosts = tuple(int(number) for number in text.split(",") if number)
        if below is not None and not all(0 <= host < below for host in hosts):
            raise ValueError(f"hosts {text}, expected numbers from 0 to {below - 1}")
        return hosts
    if wanted is bool:
        return bool(int(text))
    if wanted is int or wanted is str:
        return wanted(text)
    return None if text == "none" else float(text) if wanted in (float, float | None) else text
