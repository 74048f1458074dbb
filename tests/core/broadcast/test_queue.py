"""News waiting to be gossiped."""

from collections import Counter
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gossipd.core.broadcast.queue import TO_PUSH, Queue
from gossipd.ids import NodeId
from tests.builders import CAT, DAN, EVE


def holding(*payloads: bytes, most: int = 100) -> Queue:
    """Return a queue of *payloads*, each under itself as key, put in this order; none is urgent."""
    queue = Queue(most, Random(1))
    for payload in payloads:
        queue.put(payload, payload, urgent=False)
    return queue


def awaiting(*awaited: NodeId) -> Queue:
    """Return a queue of b"news" under "bob", version 2, whose echo is complete when all of *awaited* have told it."""
    queue = Queue(10, Random(1))
    queue.put("bob", b"news", version=2, awaited=awaited)
    return queue


def test_news_of_the_same_replaces_and_of_another_does_not() -> None:
    """Scenarios 15 and 39."""
    queue = Queue(10, Random(1))
    queue.put("bob", b"bob is suspect")
    queue.put("cat", b"cat is alive")
    queue.put("bob", b"bob is dead")
    assert sorted(queue.take(100, sends=1, limit=4)) == [b"bob is dead", b"cat is alive"]
    assert len(queue) == 2


def test_what_replaces_is_sent_as_often_again() -> None:
    queue = holding(b"old")
    queue.take(100, sends=3, limit=4)
    queue.put(b"old", b"new", urgent=False)
    assert queue.least_sends() == 0
    assert queue.take(100, sends=3, limit=4) == [b"new"]
    assert queue.least_sends() == 3


def test_as_many_are_taken_as_fit_the_room() -> None:
    """Scenario 40: messages carry their own length here, so there is no overhead beside them."""
    payloads = [bytes([number]) * 20 for number in range(6)]
    assert len(holding(*payloads).take(80, sends=1, limit=9)) == 4
    assert len(holding(*payloads).take(79, sends=1, limit=9)) == 3
    assert holding(*payloads).take(19, sends=1, limit=9) == []


def test_a_message_leaves_once_it_was_sent_often_enough() -> None:
    """Scenario 41."""
    queue = holding(b"news")
    assert queue.take(100, sends=1, limit=2) == [b"news"]
    assert queue.take(100, sends=1, limit=2) == [b"news"]
    assert (queue.take(100, sends=1, limit=2), len(queue), queue.total_bytes) == ([], 0, 0)


def test_a_message_to_several_at_once_counts_for_each() -> None:
    queue = holding(b"news")
    assert queue.take(100, sends=3, limit=4) == [b"news"]
    assert queue.take(100, sends=3, limit=4) == [b"news"]
    assert len(queue) == 0


def test_fewer_sends_go_first() -> None:
    """Scenario 42."""
    queue = holding(b"sent", b"another that was sent")
    queue.take(100, sends=1, limit=9)
    queue.put(b"fresh", b"fresh", urgent=False)
    assert queue.take(100, sends=1, limit=9)[0] == b"fresh"


def test_what_rides_along_while_a_push_waits_is_something_else_each_time() -> None:
    queue = Queue(100, Random(1))
    for number in range(30):
        queue.put(number, b"%d" % number * 5)
    rode = [payload for _ in range(3) for payload in queue.take(60, sends=1, limit=9)]
    assert len(rode) == len(set(rode)) >= 18


def test_which_of_equals_goes_first_is_left_to_chance_whatever_their_length_and_age() -> None:
    firsts: Counter[bytes] = Counter()
    for seed in range(300):
        queue = Queue(10, Random(seed))
        for payload in (b"old", b"longer", b"new"):
            queue.put(payload, payload, urgent=False)
        firsts.update(queue.take(6, sends=1, limit=9)[:1])
    assert all(60 < firsts[payload] < 140 for payload in (b"old", b"longer", b"new"))


def test_what_does_not_fit_stays_and_shorter_ones_go_instead() -> None:
    """Rule 31."""
    queue = holding(b"x" * 50, b"short")
    assert queue.take(10, sends=1, limit=9) == [b"short"]
    assert queue.take(50, sends=1, limit=9) == [b"x" * 50]


def test_to_make_room_one_of_the_most_sent_is_dropped_and_counted() -> None:
    """Scenario 42."""
    queue = holding(b"first", b"second", most=3)
    queue.take(100, sends=2, limit=9)
    queue.put(b"third", b"third", urgent=False)
    queue.put(b"fourth", b"fourth", urgent=False)
    assert (len(queue), queue.dropped, b"third" in queue, b"fourth" in queue) == (3, 1, True, True)


def test_to_replace_needs_no_room() -> None:
    queue = holding(b"first", b"second", most=2)
    queue.put(b"first", b"first again")
    assert (len(queue), queue.dropped) == (2, 0)


def test_what_is_urgent_goes_first_until_it_was_told() -> None:
    queue = holding(b"patient")
    queue.put("bob", b"urgent")
    assert queue.to_push()
    assert queue.take(6, sends=1, limit=9) == [b"urgent"]  # it rode along: our neighbours have not been told
    assert queue.take(100, sends=4, limit=9, told=True, push_only=True) == [b"urgent"]
    assert not queue.to_push()
    assert queue.take(100, sends=4, limit=9, told=True, push_only=True) == []
    assert queue.take(100, sends=1, limit=9) == [b"patient", b"urgent"]


def test_what_was_told_leaves_when_all_who_are_awaited_have_told_it() -> None:
    queue = awaiting(CAT, DAN)
    queue.take(100, sends=4, limit=9, told=True)
    queue.heard("bob", 2, CAT)
    assert "bob" in queue
    queue.heard("bob", 2, DAN)
    assert (len(queue), queue.total_bytes) == (0, 0)


def test_what_is_echoed_is_told_once_all_the_same() -> None:
    """Or our neighbours would never have an echo of ours."""
    queue = awaiting(CAT)
    queue.heard("bob", 2, CAT)
    assert queue.take(100, sends=1, limit=9) == [b"news"]
    assert queue.take(100, sends=3, limit=9, told=True) == [b"news"]
    assert len(queue) == 0


@pytest.mark.parametrize(
    ("key", "version", "source"), [("bob", 1, CAT), ("bob", 3, CAT), ("bob", 2, DAN), ("cat", 2, CAT)]
)
def test_another_version_another_key_and_another_member_are_no_echo(key: str, version: int, source: NodeId) -> None:
    queue = awaiting(CAT)
    queue.take(100, sends=4, limit=9, told=True)
    queue.heard(key, version, source)
    assert "bob" in queue


def test_when_nobody_is_awaited_the_whole_budget_is_spent() -> None:
    queue = awaiting()
    queue.take(100, sends=4, limit=9, told=True)
    queue.heard("bob", 2, CAT)
    assert "bob" in queue


def test_what_replaces_is_awaited_anew() -> None:
    queue = awaiting(CAT)
    queue.heard("bob", 2, CAT)
    queue.put("bob", b"later", version=3, awaited=[CAT])
    queue.take(100, sends=4, limit=9, told=True)
    assert "bob" in queue


def test_a_former_neighbour_is_not_waited_for() -> None:
    queue = awaiting(CAT, DAN)
    queue.take(100, sends=1, limit=9, told=True)
    queue.ring_changed([DAN, EVE])
    assert "bob" in queue
    queue.heard("bob", 2, DAN)
    assert "bob" not in queue


def test_a_cleared_queue_is_empty_and_goes_on() -> None:
    queue = holding(b"one", b"two")
    queue.put("urgent", b"urgent")
    queue.clear()
    assert (len(queue), queue.total_bytes, queue.to_push(), queue.take(100, sends=1, limit=9)) == (0, 0, False, [])
    queue.put(b"three", b"three")
    assert queue.take(100, sends=1, limit=9) == [b"three"]


def test_a_hundred_small_messages_all_go_out() -> None:
    """Scenario 45: there are no compounds to overflow."""
    payloads = [b"%03d" % number for number in range(300)]
    queue = holding(*payloads, most=1_000)
    gone: list[bytes] = []
    while len(queue):
        gone += queue.take(1_300, sends=1, limit=1)
    assert sorted(gone) == payloads


@dataclass
class Held:
    payload: bytes
    version: int
    awaited: set[NodeId]
    echoes: bool
    urgent: bool
    sends: int = 0
    told: bool = False

    @property
    def tier(self) -> int:
        return TO_PUSH if self.urgent and not self.told else self.sends


NEIGHBOURS = st.sampled_from([CAT, DAN])


class AnyQueue(RuleBasedStateMachine):
    """A queue against a plain list of what it must hold."""

    MOST = 6
    LIMIT = 5

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue(self.MOST, Random(1))
        self.held: dict[int, Held] = {}
        self.number = 0

    @rule(key=st.integers(0, 9), size=st.integers(4, 12), awaited=st.sets(NEIGHBOURS), urgent=st.booleans())
    def put(self, key: int, size: int, awaited: set[NodeId], urgent: bool) -> None:
        self.number += 1
        full = key not in self.held and len(self.held) == self.MOST
        dropped = self.queue.dropped
        payload = b"%d:%d" % (key, self.number) + b"." * size
        self.queue.put(key, payload, version=self.number, awaited=awaited, urgent=urgent)
        assert self.queue.dropped == dropped + full
        if full:
            (gone,) = [old for old in self.held if old not in self.queue]
            assert self.held[gone].tier == max(held.tier for held in self.held.values())
            del self.held[gone]
        self.held[key] = Held(payload, self.number, set(awaited), bool(awaited), urgent)

    @rule(key=st.integers(0, 9), source=NEIGHBOURS, old=st.booleans())
    def heard(self, key: int, source: NodeId, old: bool) -> None:
        held = self.held.get(key)
        version = (0 if held is None else held.version) - old
        self.queue.heard(key, version, source)
        if held is not None and not old:
            held.awaited.discard(source)
            self._leave(key)

    @rule(neighbours=st.sets(NEIGHBOURS))
    def ring_changed(self, neighbours: set[NodeId]) -> None:
        self.queue.ring_changed(neighbours)
        for key, held in list(self.held.items()):
            held.awaited &= neighbours
            self._leave(key)

    @rule(key=st.integers(0, 9))
    def discard(self, key: int) -> None:
        self.queue.discard(key)
        self.held.pop(key, None)

    @rule(room=st.integers(0, 60), sends=st.integers(1, 3), told=st.booleans(), push_only=st.booleans())
    def take(self, room: int, sends: int, told: bool, push_only: bool) -> None:
        taken = self.queue.take(room, sends=sends, limit=self.LIMIT, told=told, push_only=push_only)
        assert sum(map(len, taken)) <= room
        keys = [int(payload.partition(b":")[0]) for payload in taken]
        assert [self.held[key].payload for key in keys] == taken
        assert len(set(keys)) == len(keys)
        order = [self.held[key].tier for key in keys]
        assert order == sorted(order)
        if push_only:
            assert all(self.held[key].tier == TO_PUSH for key in keys)
        left = room - sum(map(len, taken))
        behind = [
            held for key, held in self.held.items() if key not in keys and not (push_only and held.tier > TO_PUSH)
        ]
        assert all(len(held.payload) > left for held in behind)  # at most 6 messages: none is passed over
        for key in keys:
            self.held[key].sends += sends
            self.held[key].told |= told
            self._leave(key)

    @rule()
    def clear(self) -> None:
        self.queue.clear()
        self.held.clear()

    def _leave(self, key: int) -> None:
        held = self.held[key]
        echoed = held.echoes and not held.awaited
        if held.sends >= self.LIMIT or (held.told and echoed):
            del self.held[key]

    @invariant()
    def agrees(self) -> None:
        assert len(self.queue) == len(self.held) <= self.MOST
        assert {key for key in range(10) if key in self.queue} == set(self.held)
        assert self.queue.total_bytes == sum(len(held.payload) for held in self.held.values())
        assert self.queue.to_push() == any(held.tier == TO_PUSH for held in self.held.values())
        if self.held:
            assert self.queue.least_sends() == max(0, min(held.tier for held in self.held.values()))


TestAnyQueue = AnyQueue.TestCase
TestAnyQueue.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


@given(st.integers(1, 3), st.integers(1, 12), st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_every_message_is_sent_to_its_limit_and_then_leaves(sends: int, limit: int, sizes: list[int]) -> None:
    queue = Queue(100, Random(1))
    for key, size in enumerate(sizes):
        queue.put(key, bytes([key]) * size)
    counts = dict.fromkeys(range(len(sizes)), 0)
    while len(queue):
        for payload in queue.take(40, sends=sends, limit=limit):
            counts[payload[0]] += sends
    assert set(counts.values()) == {-(-limit // sends) * sends}
