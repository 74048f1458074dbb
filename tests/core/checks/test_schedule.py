"""When checks are tried: evenly, never many at once, never early, whatever came before."""

import math
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipd.core.checks.schedule import BURST, PACE, PACE_LEAST_PER_S, Schedule

Key = tuple[str, ...]
TOOK_S = 0.005


class Runner:
    """Tries what is due the moment it is due, and takes *took_s* for each; *starts* are all of them."""

    def __init__(self, *, concurrent: int = 64, jitter: float = 0.1, seed: int = 1, took_s: float = TOOK_S) -> None:
        self.schedule: Schedule[Key] = Schedule(concurrent=concurrent, jitter=jitter, rng=Random(seed))
        self.intervals: dict[Key, float] = {}
        self.starts: list[tuple[float, Key]] = []
        self.early = 0
        self.most_running = 0
        self.now = 0.0
        self._took_s = took_s
        self._ends: list[tuple[float, int]] = []

    def add(self, count: int, *, interval_s: float = 10.0) -> None:
        for number in range(count):
            key = (f"web-{number}", "up")
            self.intervals[key] = interval_s
            self.schedule.add(key, interval_s, now=self.now)

    def run(self, until: float) -> None:
        while True:
            end = self._ends[0][0] if self._ends else math.inf
            at = max(self.now, min(end, self.schedule.next_deadline()))
            if at > until:
                self.now = until
                return
            self.now = at
            while self._ends and self._ends[0][0] <= at:
                self._finish(self._ends.pop(0)[1])
            self._start()

    def sleep(self, until: float) -> None:
        """Do nothing until then: the machine pauses."""
        self.now = until
        self.schedule.overslept()

    def _start(self) -> None:
        while (found := self.schedule.pop_due(now=self.now)) is not None:
            key, due_at = found
            self.early += self.now < due_at
            run = self.schedule.start(key, due_at=due_at, now=self.now)
            self.starts.append((self.now, key))
            self._ends.append((self.now + self._took_s, run))
        self.most_running = max(self.most_running, self.schedule.running)

    def _finish(self, run: int) -> None:
        over = self.schedule.finish(run, now=self.now)
        assert over is not None
        self.schedule.again(over.key, self.intervals[over.key], now=self.now)


def histogram(starts: Iterable[tuple[float, Key]], *, since: float, until: float) -> list[int]:
    """How many starts there were in each tenth of a second."""
    buckets = Counter(math.floor((at - since) * 10) for at, _ in starts if since <= at < until)
    return [buckets[number] for number in range(round((until - since) * 10))]


def a_thousand(*, seed: int = 1) -> Runner:
    runner = Runner(seed=seed)
    runner.add(1_000)
    return runner


PACE_OF_A_THOUSAND = PACE * 100.0 * 0.1 + BURST
"""Most starts in a tenth of a second that the pace permits for 1,000 checks at 10 s: 100 a second, twice, and the burst."""


def assert_even(starts: list[int]) -> None:
    """A thousand checks at 10 s: 10 in each tenth of a second, give or take what jitter does."""
    assert min(starts) >= 1
    assert max(starts) <= PACE_OF_A_THOUSAND
    assert sorted(starts)[-len(starts) // 100] <= 20, "hardly any has twice its share"
    seconds = [sum(starts[at : at + 10]) for at in range(0, len(starts), 10)]
    assert 75 <= min(seconds) <= max(seconds) <= 125


def test_a_thousand_new_checks_begin_at_their_pace_and_are_then_spread_evenly() -> None:
    runner = a_thousand()
    runner.run(60.0)
    first = histogram(runner.starts, since=0.0, until=10.0)
    assert max(first) <= PACE_OF_A_THOUSAND
    settled = histogram(runner.starts, since=20.0, until=60.0)
    assert sum(settled) == pytest.approx(4_000, abs=20)
    assert_even(settled)


def test_a_pause_of_a_minute_does_not_let_them_all_begin_at_once_and_they_are_even_again_after_it() -> None:
    runner = a_thousand()
    runner.run(30.0)
    runner.sleep(90.0)
    runner.run(160.0)
    assert max(histogram(runner.starts, since=90.0, until=160.0)) <= PACE_OF_A_THOUSAND
    each = Counter(key for at, key in runner.starts if 90.0 <= at < 100.5)
    assert len(each) == 1_000, "nobody waits for more than an interval after it"
    settled = histogram(runner.starts, since=120.0, until=160.0)
    assert_even(settled)
    assert runner.schedule.late_worst_s > 59.0


def test_every_check_is_tried_once_in_its_interval() -> None:
    runner = a_thousand()
    runner.run(220.0)
    of: dict[Key, list[float]] = {}
    for at, key in runner.starts:
        of.setdefault(key, []).append(at)
    for starts in of.values():
        gaps = [after - before for before, after in pairwise(starts[1:])]
        assert len(starts) in (22, 23)
        assert min(gaps) >= 8.5
        assert max(gaps) <= 11.5


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    interval_s=st.sampled_from([0.1, 1.0, 10.0]),
    concurrent=st.integers(1, 8),
    took_s=st.sampled_from([0.0, 0.01, 0.5]),
    seed=st.integers(0, 99),
    pauses=st.lists(st.floats(0.0, 30.0), max_size=3),
)
def test_starts_are_never_early_never_too_many_and_never_above_the_pace(
    counts: list[int], interval_s: float, concurrent: int, took_s: float, seed: int, pauses: list[float]
) -> None:
    runner = Runner(concurrent=concurrent, seed=seed, took_s=took_s)
    runner.add(sum(counts), interval_s=interval_s)
    for pause_s in [*pauses, 0.0]:
        runner.run(runner.now + 2.0)
        runner.sleep(runner.now + pause_s)
    assert runner.early == 0
    assert runner.most_running <= concurrent
    pace = max(PACE_LEAST_PER_S, PACE * sum(counts) / interval_s)
    times = [at for at, _ in runner.starts]
    for window_s in (0.05, 0.5):
        for first, at in enumerate(times):
            last = first
            while last < len(times) and times[last] < at + window_s:
                last += 1
            assert last - first <= BURST + pace * window_s + 1


def test_two_kinds_of_checks_do_not_hold_each_other_up() -> None:
    runner = Runner()
    runner.schedule.add(("slow", "up"), 3_600.0, now=0.0)
    runner.intervals["slow", "up"] = 3_600.0
    runner.add(3, interval_s=1.0)
    runner.run(0.5)
    assert {key for _, key in runner.starts} == {("slow", "up"), *((f"web-{n}", "up") for n in range(3))}


def test_a_full_house_waits_for_whoever_leaves_and_then_takes_the_longest_due() -> None:
    schedule: Schedule[Key] = Schedule(concurrent=1, jitter=0.0, rng=Random(1))
    schedule.add(("a", "up"), 1.0, now=0.0)
    schedule.add(("b", "up"), 1.0, now=0.0)
    assert schedule.pop_due(now=0.0) == (("a", "up"), 0.0)
    run = schedule.start(("a", "up"), due_at=0.0, now=0.0)
    assert schedule.next_deadline() == math.inf
    over = schedule.finish(run, now=7.0)
    assert over is not None
    assert (over.key, over.took_s, over.doubtful) == (("a", "up"), 7.0, False)
    schedule.again(("a", "up"), 1.0, now=7.0)
    assert schedule.pop_due(now=7.0) == (("b", "up"), 0.0)
    schedule.start(("b", "up"), due_at=0.0, now=7.0)
    assert schedule.late_worst_s == 7.0


def test_what_is_removed_or_restarted_leaves_its_run_to_be_cancelled() -> None:
    schedule: Schedule[Key] = Schedule(concurrent=2, jitter=0.0, rng=Random(1))
    for name in "ab":
        schedule.add((name,), 1.0, now=0.0)
        assert schedule.pop_due(now=0.0) == ((name,), 0.0)
        schedule.start((name,), due_at=0.0, now=0.0)
    assert schedule.remove(("a",)) == 1
    assert schedule.restart(("b",), now=0.5) == 2
    assert schedule.running == 0
    assert [schedule.finish(run, now=1.0) for run in (1, 2, 3)] == [None, None, None]
    assert schedule.pop_due(now=0.5) == (("b",), 0.5)
    assert schedule.remove(("b",)) is None
    assert (len(schedule), schedule.next_deadline()) == (0, math.inf)


def test_a_run_that_the_machine_slept_through_is_doubtful_and_the_next_is_not() -> None:
    schedule: Schedule[Key] = Schedule(concurrent=2, jitter=0.0, rng=Random(1))
    schedule.add(("a",), 1.0, now=0.0)
    for expected in (True, False):
        found = schedule.pop_due(now=9.0)
        assert found is not None
        run = schedule.start(found[0], due_at=found[1], now=9.0)
        if expected:
            schedule.overslept()
        over = schedule.finish(run, now=9.0)
        assert over is not None
        assert over.doubtful is expected
        schedule.restart(("a",), now=9.0)
