"""Deadlines by key, against a plain dictionary."""

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gossipd.core.deadlines import Deadlines


def set_in_order(**at: float) -> Deadlines[str]:
    deadlines: Deadlines[str] = Deadlines()
    for key, when in at.items():
        deadlines.set(key, when)
    return deadlines


def test_nothing_is_ahead_of_nothing() -> None:
    deadlines: Deadlines[str] = Deadlines()
    assert (deadlines.next(), deadlines.at("a"), len(deadlines)) == (math.inf, math.inf, 0)
    assert deadlines.pop_due(math.inf) == []


def test_what_is_due_comes_earliest_first_and_equals_in_the_order_they_were_set() -> None:
    assert set_in_order(c=2.0, a=1.0, b=2.0, d=2.1).pop_due(2.0) == ["a", "c", "b"]


def test_a_moved_deadline_is_due_only_when_it_was_moved_to() -> None:
    deadlines = set_in_order(a=1.0, b=2.0)
    deadlines.set("a", 3.0)
    assert (deadlines.next(), deadlines.pop_due(2.5), deadlines.pop_due(3.0)) == (2.0, ["b"], ["a"])


def test_a_cancelled_deadline_never_comes() -> None:
    deadlines = set_in_order(a=1.0, b=2.0)
    deadlines.cancel("a")
    deadlines.cancel("never set")
    assert (deadlines.next(), "a" in deadlines, deadlines.pop_due(9.0)) == (2.0, False, ["b"])


def test_all_deadlines_move_together() -> None:
    deadlines = set_in_order(a=1.0, b=1.0, c=2.0)
    deadlines.cancel("c")
    deadlines.shift(10.0)
    assert (deadlines.next(), deadlines.pop_due(11.0)) == (11.0, ["a", "b"])


def test_a_deadline_that_is_moved_for_ever_takes_no_more_room_for_it() -> None:
    deadlines = set_in_order(a=1.0)
    for number in range(10_000):
        deadlines.set("a", float(number))
    assert len(deadlines._heap) <= 18
    assert deadlines.next() == 9_999.0


class Model(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.deadlines: Deadlines[int] = Deadlines()
        self.plain: dict[int, tuple[float, int]] = {}
        self.order = 0

    @rule(key=st.integers(0, 9), at=st.integers(0, 20).map(float) | st.just(math.inf))
    def set(self, key: int, at: float) -> None:
        self.order += 1
        self.deadlines.set(key, at)
        self.plain[key] = (at, self.order)

    @rule(key=st.integers(0, 9))
    def cancel(self, key: int) -> None:
        self.deadlines.cancel(key)
        self.plain.pop(key, None)

    @rule(by_s=st.integers(0, 5))
    def shift(self, by_s: float) -> None:
        self.deadlines.shift(by_s)
        self.plain = {key: (at + by_s, order) for key, (at, order) in self.plain.items()}

    @rule(now=st.integers(0, 20).map(float) | st.just(math.inf))
    def pop_due(self, now: float) -> None:
        due = sorted((entry, key) for key, entry in self.plain.items() if entry[0] <= now)
        assert self.deadlines.pop_due(now) == [key for _, key in due]
        for _, key in due:
            del self.plain[key]

    @invariant()
    def agrees(self) -> None:
        assert len(self.deadlines) == len(self.plain)
        assert self.deadlines.next() == min((at for at, _ in self.plain.values()), default=math.inf)
        for key in range(10):
            assert (key in self.deadlines) == (key in self.plain)
            assert self.deadlines.at(key) == self.plain.get(key, (math.inf, 0))[0]


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
