"""News waiting to be gossiped."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gossipd.core.broadcast.queue import Queue


def holding(*payloads: bytes, most: int = 100) -> Queue:
    """Return a queue of *payloads*, each under itself as key, put in this order."""
    queue = Queue(most)
    for payload in payloads:
        queue.put(payload, payload)
    return queue


def test_news_of_the_same_replaces_and_of_another_does_not() -> None:
    """Scenarios 15 and 39."""
    queue = Queue(10)
    queue.put("bob", b"bob is suspect")
    queue.put("cat", b"cat is alive")
    queue.put("bob", b"bob is dead")
    assert sorted(queue.take(100, sends=1, limit=4)) == [b"bob is dead", b"cat is alive"]
    assert len(queue) == 2


def test_what_replaces_is_fresh_again() -> None:
    queue = holding(b"old")
    queue.take(100, sends=3, limit=4)
    assert not queue.fresh()
    queue.put(b"old", b"new")
    assert queue.fresh()
    assert queue.take(100, sends=3, limit=4) == [b"new"]


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


def test_fewer_sends_go_first_then_longer_then_newer() -> None:
    """Scenario 42."""
    queue = holding(b"sent", b"another that was sent")
    queue.take(100, sends=1, limit=9)
    for payload in (b"aaaa", b"longer", b"bbbb"):
        queue.put(payload, payload)
    assert queue.take(100, sends=1, limit=9) == [b"longer", b"bbbb", b"aaaa", b"another that was sent", b"sent"]


def test_what_does_not_fit_stays_and_shorter_ones_go_instead() -> None:
    """Rule 31."""
    queue = holding(b"x" * 50, b"short")
    assert queue.take(10, sends=1, limit=9) == [b"short"]
    assert queue.take(50, sends=1, limit=9) == [b"x" * 50]


def test_to_make_room_one_of_the_most_sent_is_dropped_and_counted() -> None:
    """Scenario 42."""
    queue = holding(b"first", b"second", most=3)
    queue.take(100, sends=2, limit=9)
    queue.put(b"third", b"third")
    queue.put(b"fourth", b"fourth")
    assert (len(queue), queue.dropped, b"third" in queue, b"fourth" in queue) == (3, 1, True, True)


def test_to_replace_needs_no_room() -> None:
    queue = holding(b"first", b"second", most=2)
    queue.put(b"first", b"first again")
    assert (len(queue), queue.dropped) == (2, 0)


def test_only_fresh_messages_are_taken_when_only_they_are_wanted() -> None:
    queue = holding(b"sent")
    queue.take(100, sends=1, limit=9)
    queue.put(b"fresh", b"fresh")
    assert queue.take(100, sends=1, limit=9, fresh_only=True) == [b"fresh"]
    assert queue.take(100, sends=1, limit=9, fresh_only=True) == []


def test_a_cleared_queue_is_empty_and_goes_on() -> None:
    queue = holding(b"one", b"two")
    queue.clear()
    assert (len(queue), queue.total_bytes, queue.fresh(), queue.take(100, sends=1, limit=9)) == (0, 0, False, [])
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


class AnyQueue(RuleBasedStateMachine):
    """A queue against a plain list of what it must hold."""

    MOST = 6
    LIMIT = 5

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue(self.MOST)
        self.held: dict[int, bytes] = {}
        self.sends: dict[int, int] = {}
        self.number = 0

    @rule(key=st.integers(0, 9), size=st.integers(4, 12))
    def put(self, key: int, size: int) -> None:
        self.number += 1
        full = key not in self.held and len(self.held) == self.MOST
        dropped = self.queue.dropped
        self.queue.put(key, b"%d:%d" % (key, self.number) + b"." * size)
        assert self.queue.dropped == dropped + full
        if full:
            (gone,) = [old for old in self.held if old not in self.queue]
            assert self.sends[gone] == max(self.sends.values())
            del self.held[gone], self.sends[gone]
        self.held[key] = b"%d:%d" % (key, self.number) + b"." * size
        self.sends[key] = 0

    @rule(key=st.integers(0, 9))
    def discard(self, key: int) -> None:
        self.queue.discard(key)
        self.held.pop(key, None)
        self.sends.pop(key, None)

    @rule(room=st.integers(0, 60), sends=st.integers(1, 3), fresh_only=st.booleans())
    def take(self, room: int, sends: int, fresh_only: bool) -> None:
        taken = self.queue.take(room, sends=sends, limit=self.LIMIT, fresh_only=fresh_only)
        assert sum(map(len, taken)) <= room
        keys = [int(payload.partition(b":")[0]) for payload in taken]
        assert [self.held[key] for key in keys] == taken
        assert len(set(keys)) == len(keys)
        order = [(self.sends[key], -len(self.held[key])) for key in keys]
        assert order == sorted(order)
        if fresh_only:
            assert not any(self.sends[key] for key in keys)
        left = room - sum(map(len, taken))
        behind = [key for key in self.held if key not in keys and not (fresh_only and self.sends[key])]
        assert all(len(self.held[key]) > left for key in behind)  # at most 6 messages: none is passed over
        for key in keys:
            self.sends[key] += sends
            if self.sends[key] >= self.LIMIT:
                del self.held[key], self.sends[key]

    @rule()
    def clear(self) -> None:
        self.queue.clear()
        self.held.clear()
        self.sends.clear()

    @invariant()
    def agrees(self) -> None:
        assert len(self.queue) == len(self.held) <= self.MOST
        assert {key for key in range(10) if key in self.queue} == set(self.held)
        assert self.queue.total_bytes == sum(map(len, self.held.values()))
        assert self.queue.fresh() == (0 in self.sends.values())


TestAnyQueue = AnyQueue.TestCase
TestAnyQueue.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


@given(st.integers(1, 3), st.integers(1, 12), st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_every_message_is_sent_to_its_limit_and_then_leaves(sends: int, limit: int, sizes: list[int]) -> None:
    queue = Queue(100)
    for key, size in enumerate(sizes):
        queue.put(key, bytes([key]) * size)
    counts = dict.fromkeys(range(len(sizes)), 0)
    while len(queue):
        for payload in queue.take(40, sends=sends, limit=limit):
            counts[payload[0]] += sends
    assert set(counts.values()) == {-(-limit // sends) * sends}
