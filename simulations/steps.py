"""A story is a list of steps, which are values and print as sentences; running one gives an outcome with its replay line.

Checkers are apart from stories: every story is watched by all of them (`checkers.standard`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from traceback import extract_tb
from typing import TypeVar

from gossipd.config import LAN, ProtocolConfig
from gossipd.node.node import Node
from simulations import faults
from simulations.checkers import Bounds, standard
from simulations.conditions import Condition, agree
from simulations.faults import Fault
from simulations.host import HostSettings
from simulations.network import Topology, check_amounts
from simulations.watching import Violation, Watcher
from simulations.world import World

T = TypeVar("T")

SETTLE_S = 40.0
"""Most that a story waits at its end for everybody to agree: longer than the interval between syncs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Let time pass."""

    seconds: float

    def __post_init__(self) -> None:
        check_amounts(seconds=self.seconds)

    def __str__(self) -> str:
        return f"run {self.seconds:g} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """*condition* holds within *within_s*; looked at every *every_s*. *throughout*: it holds all that time instead."""

    condition: Condition
    within_s: float = 0.0
    every_s: float = 0.1
    throughout: bool = False

    def __str__(self) -> str:
        if self.throughout:
            return f"expect {self.condition} for {self.within_s:g} s"
        return f"expect {self.condition}" + (f" within {self.within_s:g} s" if self.within_s else " now")


@dataclass(frozen=True, slots=True, kw_only=True)
class StartCold:
    """Start *hosts* at once; each knows only its *seeds*."""

    hosts: faults.Hosts
    seeds: faults.Hosts = (0,)

    def __str__(self) -> str:
        return f"start {faults.named(self.hosts)}, who know only {faults.named(self.seeds)}"


Step = Run | Expect | StartCold | Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What happens, and in which world."""

    about: str
    """One sentence: what it is to show."""
    steps: tuple[Step, ...]
    warm: bool = True
    """Whether everybody knows everybody when it begins; else nobody runs yet."""
    services: int = 1
    """Instances that each host has registered at a warm start."""
    late: int = 0
    """How many hosts, the last, do not run yet after a warm start, and are known to nobody."""
    config: ProtocolConfig = LAN
    topology: Topology = field(default_factory=Topology)
    settings: HostSettings = field(default_factory=HostSettings)
    synchronous: bool = False
    bounds: Bounds = field(default_factory=Bounds)
    settle_s: float = SETTLE_S

    def script(self) -> str:
        """Return the steps as numbered sentences."""
        return "\n".join(f"{number:3}. {step}" for number, step in enumerate(self.steps, start=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a story went."""

    violations: list[Violation]
    history_hash: str
    virtual_s: float
    events: int
    took_s: list[tuple[str, float]]
    """Each expectation and how long it took to come true, virtual."""
    settled_s: float | None
    """How long after the last step everybody agreed; None: they never did."""

    @property
    def passed(self) -> bool:
        return not self.violations


def world_of(story: Story, *, nodes: int, seed: int, node_type: type[Node] = Node, shared: bool = True) -> World:
    """Return the world that *story* begins in. *node_type* plants a bug."""
    world = World(
        nodes,
        seed=seed,
        config=story.config,
        topology=story.topology,
        settings=story.settings,
        synchronous=story.synchronous,
        node_type=node_type,
        shared=shared,
    )
    if story.warm:
        world.start_warm(services=story.services, late=story.late)
    return world


class Playing:
    """A story while it is played: step by step, watched by *checkers* and *watchers*; *telling* hears each step begin.

    A step that fails, and an exception out of a node, end it.
    """

    def __init__(
        self,
        world: World,
        *,
        checkers: Sequence[Watcher],
        watchers: Sequence[Watcher] = (),
        telling: Callable[[str], None] = lambda _sentence: None,
    ) -> None:
        self._world = world
        self._telling = telling
        self._took: list[tuple[str, float]] = []
        for watcher in (*checkers, *watchers):
            world.watch(watcher)

    @property
    def over(self) -> bool:
        """Whether something was wrong, so that nothing more is done."""
        return bool(self._world.violations)

    def do(self, step: Step) -> None:
        """Do *step*, unless it is over."""
        if not self.over:
            self._telling(f"{self._world.now:9.3f} s  {step}")
            self._watched(lambda: _do(self._world, step, self._took))

    def end(self, settle_s: float) -> Outcome:
        """Wait until all agree, at most *settle_s*, unless it is over; let the checkers look once more. Once only."""
        world, settled = self._world, None
        if not self.over:
            self._telling(f"{world.now:9.3f} s  wait until all agree, at most {settle_s:g} s")
            settled = self._watched(lambda: world.run_until(lambda: agree(world), within_s=settle_s))
        world.finish()
        return Outcome(
            violations=world.violations,
            history_hash=world.history_hash(),
            virtual_s=world.now,
            events=world.steps,
            took_s=self._took,
            settled_s=settled,
        )

    def _watched(self, what: Callable[[], T]) -> T | None:
        try:
            return what()
        except Exception as error:
            place = extract_tb(error.__traceback__)[-1]
            where = f"{Path(place.filename).name}, line {place.lineno}"
            self._world.fail("node", f"raised {type(error).__name__}: {error} ({where}, in {place.name})")
            return None


def play(
    story: Story,
    world: World,
    *,
    checkers: Sequence[Watcher] | None = None,
    watchers: Sequence[Watcher] = (),
    telling: Callable[[str], None] = lambda _sentence: None,
) -> Outcome:
    """Play *story* in *world*, watched by *checkers* (None: the standard ones) and *watchers*; *telling* hears each step begin."""
    checkers = standard(story.bounds) if checkers is None else checkers
    playing = Playing(world, checkers=checkers, watchers=watchers, telling=telling)
    for step in story.steps:
        playing.do(step)
    return playing.end(story.settle_s)


def _do(world: World, step: Step, took: list[tuple[str, float]]) -> None:
    match step:
        case Run():
            world.run(step.seconds)
        case Expect():
            _expect(world, step, took)
        case StartCold():
            world.note(str(step))
            for number in step.hosts:
                world.start(number, seeds=[seed for seed in step.seeds if seed != number])
        case _:
            faults.apply(world, step)


def _expect(world: World, step: Expect, took: list[tuple[str, float]]) -> None:
    if step.throughout:
        broken = world.run_until(lambda: not step.condition.holds(world), within_s=step.within_s, every_s=step.every_s)
        if broken is not None:
            world.fail("story", f"expected {step.condition} for {step.within_s:g} s; it ceased after {broken:.1f} s")
        return
    seconds = world.run_until(lambda: step.condition.holds(world), within_s=step.within_s, every_s=step.every_s)
    if seconds is None:
        world.fail("story", f"expected {step.condition} within {step.within_s:g} s; it is not so")
    else:
        took.append((str(step.condition), seconds))
