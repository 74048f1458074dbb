"""Random worlds keep every invariant; what fails shrinks and prints one line, and the line replays it."""

import re
import sys
from collections.abc import Sequence
from random import Random
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gossipd.core.membership.table import Table
from gossipd.node.actions import Action
from gossipd.node.node import Node
from gossipd.records import Health
from simulations import inside, random_worlds
from simulations.beliefs import ALIVE, UNKNOWN
from simulations.faults import Cut, Deregister, Heal, Leave, Register, Restart, SetHealth, SetLink, Thaw, Unblock
from simulations.network import Burst, Link
from simulations.random_worlds import Ground, Move, RandomWorld, Unfolding
from simulations.replay import parse
from simulations.steps import Run, Step, play, world_of
from simulations.world import World

T = TypeVar("T")


class Drawn:
    """Hypothesis as the one who draws, so that what it finds shrinks."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def choice(self, options: Sequence[T]) -> T:
        return self._draw(st.sampled_from(options))

    def randint(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))


@st.composite
def worlds(draw: st.DrawFn) -> RandomWorld:
    return random_worlds.draw(Drawn(draw), seed=draw(st.integers(1, 1_000)))


@st.composite
def moves_of(draw: st.DrawFn, kinds: tuple[Move, ...], nodes: int) -> Step:
    return draw(st.sampled_from(kinds))(Drawn(draw), nodes)


@st.composite
def pauses(draw: st.DrawFn) -> Step:
    return random_worlds.draw_pause(Drawn(draw))


@st.composite
def grounds(draw: st.DrawFn) -> Ground:
    return random_worlds.draw_ground(Drawn(draw))


_QUICK = settings(
    max_examples=50,
    stateful_step_count=8,
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.generate, Phase.shrink),
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)

ANY = st.data()


class AnyWorld(RuleBasedStateMachine):
    """One random world: what may go wrong now depends on what is so now, and each move is done before the next is drawn."""

    node_type: type[Node] = Node
    unfolding: Unfolding | None = None

    @initialize(
        nodes=st.integers(random_worlds.NODES_MIN, random_worlds.NODES_MAX),
        ground=grounds(),
        seed=st.integers(1, 1_000),
    )
    def begin(self, nodes: int, ground: Ground, seed: int) -> None:
        self.unfolding = Unfolding(nodes=nodes, seed=seed, ground=ground, node_type=self.node_type)

    @property
    def world(self) -> World:
        assert self.unfolding is not None
        return self.unfolding.world

    def _do(self, move: Step, pause: Step) -> None:
        assert self.unfolding is not None
        self.unfolding.do(move)
        self.unfolding.do(pause)

    @rule(data=ANY, pause=pauses())
    def ask(self, data: st.DataObject, pause: Step) -> None:
        self._do(data.draw(moves_of(random_worlds.COMMANDS, len(self.world.hosts))), pause)

    @rule(data=ANY, pause=pauses())
    def stop_or_start(self, data: st.DataObject, pause: Step) -> None:
        self._do(data.draw(moves_of(random_worlds.PROCESSES, len(self.world.hosts))), pause)

    @rule(data=ANY, pause=pauses())
    def cut(self, data: st.DataObject, pause: Step) -> None:
        self._do(data.draw(moves_of(random_worlds.CUTS, len(self.world.hosts))), pause)

    @rule(data=ANY, pause=pauses())
    def hinder(self, data: st.DataObject, pause: Step) -> None:
        self._do(data.draw(moves_of(random_worlds.HARDWARE, len(self.world.hosts))), pause)

    @precondition(lambda self: not self.world.network.whole)
    @rule(pause=pauses())
    def heal(self, pause: Step) -> None:
        self._do(Heal(), pause)

    @precondition(lambda self: not all(host.up for host in self.world.hosts))
    @rule(data=ANY, pause=pauses())
    def bring_back(self, data: st.DataObject, pause: Step) -> None:
        """Who crashed, left, or was never there."""
        down = [host.number for host in self.world.hosts if not host.up]
        hosts = data.draw(st.lists(st.sampled_from(down), min_size=1, unique=True).map(sorted))
        self._do(Restart(hosts=tuple(hosts), seeds=tuple(range(len(self.world.hosts)))), pause)

    @precondition(lambda self: not all(host.well for host in self.world.running()))
    @rule(kind=st.sampled_from((Thaw, Unblock)), pause=pauses())
    def let_go_on(self, kind: type[Thaw | Unblock], pause: Step) -> None:
        self._do(kind(hosts=tuple(host.number for host in self.world.running() if not host.well)), pause)

    def teardown(self) -> None:
        """Heal it, and let every checker have its say."""
        if self.unfolding is not None and sys.exception() is None:  # else hypothesis has given this world up
            outcome = self.unfolding.end()
            line = self.unfolding.drawn.line(outcome.history_hash)
            assert outcome.violations == [], f"replay: python -m simulations replay {line}"


def test_a_random_world_keeps_every_invariant() -> None:
    run_state_machine_as_test(AnyWorld, settings=_QUICK)


@settings(parent=_QUICK, max_examples=100)
@given(worlds())
def test_a_line_says_the_whole_world(world: RandomWorld) -> None:
    replay = parse(world.line())
    assert random_worlds.parse(replay.name, nodes=replay.nodes, seed=replay.seed) == world
    assert not set(world.line()) & set("\"'|&;()<>$`*?~#{}[]!\\\n"), "a shell would mind"


def test_what_is_rarely_drawn_has_its_words_too() -> None:
    ground = Ground(bursts=0.01, bytes_per_s=50_000.0, late=2)
    one_way = SetLink(link=Link(delay_s=0.3, loss=0.5), sources=(0,), targets=(1, 2))
    checked = Register(hosts=(1,), id="a", checked_every_s=1.0)
    moves = (one_way, SetLink(link=Link()), checked, SetHealth(hosts=(1,), id="a", health=Health.CRITICAL))
    world = RandomWorld(nodes=6, seed=1, ground=ground, moves=moves)
    assert random_worlds.parse(world.name, nodes=6, seed=1) == world
    link = world.story().topology.link
    assert (link.burst, link.bytes_per_s) == (Burst(begins=0.01, ends=0.2), 50_000.0)


def test_who_comes_late_is_unknown_until_it_is_started_and_then_known_to_all() -> None:
    unfolding = Unfolding(nodes=6, seed=1, ground=Ground(late=2))
    beliefs, hosts = unfolding.world.beliefs, unfolding.world.hosts
    unfolding.do(Run(seconds=5.0))
    assert [host.up for host in hosts] == [True] * 4 + [False] * 2
    assert [beliefs.counts[number][UNKNOWN] for number in range(6)] == [0, 0, 0, 0, 4, 4]
    unfolding.do(Restart(hosts=(4, 5), seeds=(0, 5)))
    unfolding.do(Run(seconds=5.0))
    assert [beliefs.counts[number][ALIVE] for number in range(6)] == [5] * 6
    assert unfolding.end().passed


@pytest.mark.parametrize(
    "line",
    [
        # three of the five whom n2 knew crashed while it was cut off with a sixth: it stayed isolated for ever
        "random@Ground:loss=0.05:reorder=0.2:timers_first=1:services=0:late=2+Cut:groups=0,2/1,3,4,5,6,7+Run:seconds=9.0"
        "+Crash:hosts=0,5+Crash:hosts=3:silent=0+Run:seconds=20.0 nodes=8 seed=233",
    ],
)
def test_a_world_in_which_an_invariant_once_broke_keeps_them_all(line: str) -> None:
    replay = parse(line)
    outcome = random_worlds.parse(replay.name, nodes=replay.nodes, seed=replay.seed).play()
    assert outcome.violations == []


def test_a_line_replays_the_same_history() -> None:
    world = random_worlds.from_seed(3)
    assert len(world.moves) > 4
    told = parse(world.line())
    story = random_worlds.story_of(told.name, told.nodes)
    again = play(story, world_of(story, nodes=told.nodes, seed=told.seed))
    assert again.history_hash == world.play().history_hash


class StubbornTable(Table):
    """Bug: never refutes what is said of itself."""

    def _about_us(self, claim: object, *, now: float) -> list[object]:  # type: ignore[override]
        return []


class StubbornNode(Node):
    def __init__(self, *args: object, **rest: object) -> None:
        super().__init__(*args, **rest)  # type: ignore[arg-type]
        inside.machines(self).table.__class__ = StubbornTable


def test_a_planted_bug_is_found_and_what_has_no_part_in_it_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_bug(world: RandomWorld) -> object:
        story = world.story()
        return play(story, world_of(story, nodes=world.nodes, seed=world.seed, node_type=StubbornNode))

    monkeypatch.setattr(RandomWorld, "play", with_bug)
    cut = Cut(groups=((0,), (1, 2, 3, 4)))
    around = Register(hosts=(1,), id="a", port=1), Deregister(hosts=(2,), id="b"), Run(seconds=1.0)
    world = RandomWorld(nodes=5, seed=1, ground=Ground(drift=0.0001), moves=(*around, cut, Run(seconds=35.0), *around))
    smaller = random_worlds.shrunk(world)
    assert smaller.moves == (cut, Run(seconds=35.0))
    assert smaller.ground == Ground()


class KeepingNode(Node):
    """Bug: cannot withdraw anything."""

    def deregister(self, id: str, *, now: float) -> list[Action]:
        raise AssertionError("planted")


class KeepingWorld(AnyWorld):
    node_type = KeepingNode

    def teardown(self) -> None:
        if (
            self.unfolding is not None and self.world.violations
        ):  # it shows at once: the end of other worlds would tell nothing
            super().teardown()


def test_the_machine_finds_a_planted_bug_and_shrinks_it_to_a_line_that_replays_it() -> None:
    with pytest.raises(AssertionError, match="replay: ") as failed:
        run_state_machine_as_test(KeepingWorld, settings=settings(_QUICK, stateful_step_count=4))
    line = re.search(r"python -m simulations replay (random@.* history=\w+)", str(failed.value))
    assert line is not None
    told = parse(line[1])
    story = random_worlds.story_of(told.name, told.nodes)
    again = play(story, world_of(story, nodes=told.nodes, seed=told.seed, node_type=KeepingNode))
    assert again.violations[0].checker == "node"
    assert again.history_hash == told.history_hash
    smallest = RandomWorld(nodes=4, seed=1, ground=Ground(), moves=(Deregister(hosts=(0,), id="a"),))
    assert random_worlds.parse(told.name, nodes=told.nodes, seed=told.seed) == smallest


def test_who_leaves_is_asked_for_no_registrations_until_it_is_back() -> None:
    withdraw, change = Deregister(hosts=(2,), id="b"), Register(hosts=(1, 2), id="a")
    moves = (Leave(hosts=(2,)), withdraw, change, Run(seconds=9.0), Restart(hosts=(2,)), withdraw, Run(seconds=9.0))
    world = RandomWorld(nodes=5, seed=266, ground=Ground(), moves=moves)
    outcome = world.play()
    assert outcome.violations == []
    assert Register(hosts=(1,), id="a") in world.story().steps


def test_equal_seeds_draw_equal_worlds_and_others_differ() -> None:
    drawn = [random_worlds.from_seed(seed) for seed in range(20)]
    assert drawn == [random_worlds.from_seed(seed) for seed in range(20)]
    assert len({world.name for world in drawn}) == 20
    assert random_worlds.draw(Random(1), seed=5).seed == 5


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("halves", "expected random@"),
        ("random@Heal", "Ground first"),
        ("random@Ground+Nonsense", "'Nonsense', expected one of: Run"),
        ("random@Ground+Run:minutes=1", "expected each once: seconds"),
        ("random@Ground+Run", "expected all of: seconds"),
        ("random@Ground+Leave:hosts=7", "numbers from 0 to 4"),
        ("random@Ground+Run:seconds=soon", "could not convert"),
        ("random@Ground:late=4", "late=4, expected 0 to 3 of 5 nodes"),
        ("random@Ground:bursts=2", r"begins=2\.0, expected a probability"),
        ("random@Ground:bytes_per_s=0", r"bytes_per_s=0\.0, expected"),
        ("random@Ground+SetLink:link=loss=2", r"loss=2\.0, expected a probability"),
        ("random@Ground+SetLink:link=colour=2", "'colour=2' in 'colour=2', expected each once: delay_s"),
        ("random@Ground+SetLink:link=burst=2", "expected to be left out"),
        ("random@Ground+SetHealth:hosts=1:health=fine", "'fine', expected one of: passing, warning, critical"),
    ],
)
def test_a_name_that_says_no_world_is_refused(name: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        random_worlds.story_of(name, 5)
