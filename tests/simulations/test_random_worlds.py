"""Random worlds keep every invariant; what fails shrinks and prints one line, and the line replays it."""

from collections.abc import Sequence
from random import Random
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gossipd.core.membership.table import Table
from gossipd.node.node import Node
from simulations import inside, random_worlds
from simulations.faults import Cut, Deregister, Leave, Register, Restart
from simulations.random_worlds import Ground, RandomWorld
from simulations.replay import parse
from simulations.steps import Run, play, world_of

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


_QUICK = settings(
    max_examples=12,
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


@_QUICK
@given(worlds())
def test_a_random_world_keeps_every_invariant(world: RandomWorld) -> None:
    outcome = world.play()
    line = world.line(outcome.history_hash)
    assert outcome.violations == [], f"python -m simulations replay {line}"


@settings(parent=_QUICK, max_examples=100)
@given(worlds())
def test_a_line_says_the_whole_world(world: RandomWorld) -> None:
    replay = parse(world.line())
    assert random_worlds.parse(replay.name, nodes=replay.nodes, seed=replay.seed) == world
    assert not set(world.line()) & set("\"'|&;()<>$`*?~#{}[]!\\\n"), "a shell would mind"


def test_a_line_replays_the_same_history() -> None:
    world = random_worlds.from_seed(3)
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
    ],
)
def test_a_name_that_says_no_world_is_refused(name: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        random_worlds.story_of(name, 5)
