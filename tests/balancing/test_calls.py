"""Leases and attempts: what a call's outcome teaches, and what happens next."""

from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipd.balancing import (
    Balancer,
    Calls,
    EjectionPolicy,
    Endpoint,
    Lease,
    LeastOutstanding,
    Maglev,
    RetryPolicy,
    RoundRobin,
    TokenBucket,
    UniformRandom,
)
from gossipd.errors import DeadlineExceeded, NoInstance, TooManyCalls
from tests.balancing.builders import NO_TIMES, an_endpoint, endpoints


class Scene:
    """Calls on a clock that stands still until it is moved."""

    def __init__(
        self,
        count: int = 3,
        *,
        balancer: Balancer | None = None,
        ejection: EjectionPolicy | None = None,
        retry: RetryPolicy | None = None,
        limiter: TokenBucket | None = None,
        lease_s: float = 600.0,
    ) -> None:
        self.now = 100.0
        self.balancer = balancer or RoundRobin(Random(1))
        self.calls = Calls(
            self.balancer,
            clock=lambda: self.now,
            rng=Random(1),
            ejection=ejection,
            retry=retry,
            limiter=limiter,
            lease_s=lease_s,
        )
        self.calls.update(endpoints(count))

    def count(self, name: str) -> int:
        value = getattr(self.calls.statistics(), name)
        assert isinstance(value, int)
        return value

    def fail(self, node: str, times: int) -> None:
        """Let *times* calls to *node* fail."""
        while times:
            lease = self.calls.pick()
            if lease.endpoint.node == node:
                lease.failed()
                times -= 1
            else:
                lease.succeeded()


# ----------------------------------------------------------------------------------------------------------------- leases


def test_a_lease_reports_by_itself_how_its_block_ended() -> None:
    scene = Scene()
    with scene.calls.pick() as lease:
        scene.now += 0.2
    assert lease.outcome == "succeeded"
    with pytest.raises(OSError, match="reset"), scene.calls.pick() as lease:
        raise OSError("reset")
    assert (lease.outcome, lease.sent) == ("failed", True)
    with pytest.raises(ConnectionRefusedError), scene.calls.pick() as lease:
        raise ConnectionRefusedError
    assert (lease.outcome, lease.sent) == ("failed", False)
    with pytest.raises(KeyboardInterrupt), scene.calls.pick() as lease:
        raise KeyboardInterrupt
    assert lease.outcome == "cancelled"
    statistics = scene.calls.statistics()
    assert (statistics.picked, statistics.under_way) == (4, 0)
    assert (statistics.succeeded, statistics.failed, statistics.cancelled) == (1, 2, 1)


def test_what_is_said_inside_the_block_counts() -> None:
    scene = Scene()
    with scene.calls.pick() as lease:
        lease.failed()
    with suppress(LookupError), scene.calls.pick() as other:
        other.succeeded()
        raise LookupError("404")
    assert (lease.outcome, other.outcome) == ("failed", "succeeded")
    assert scene.count("ignored_reports") == 0


def test_a_second_report_is_counted_and_changes_nothing() -> None:
    scene = Scene(balancer=LeastOutstanding(Random(1)))
    lease, other = scene.calls.pick(), scene.calls.pick()
    lease.succeeded()
    for report in (lease.failed, lease.cancelled, lease.succeeded):
        report()
    assert lease.outcome == "succeeded"
    assert (scene.count("succeeded"), scene.count("failed"), scene.count("ignored_reports")) == (1, 0, 3)
    assert scene.count("under_way") == 1
    other.succeeded()


def test_a_lease_that_nobody_reports_is_given_up() -> None:
    scene = Scene(2, balancer=LeastOutstanding(Random(1)), lease_s=60.0)
    lost = [scene.calls.pick() for _ in range(4)]
    scene.now += 59.9
    assert scene.count("under_way") == 4
    scene.now += 0.1
    assert (scene.count("under_way"), scene.count("lost")) == (0, 4)
    lost[0].succeeded()  # too late
    assert (scene.count("succeeded"), scene.count("ignored_reports")) == (0, 1)
    assert {scene.calls.pick().endpoint.node for _ in range(2)} == {"n00", "n01"}


def test_at_most_so_many_are_under_way_and_the_oldest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gossipd.balancing.calls.LEASES_MAX", 3)
    scene = Scene()
    leases = [scene.calls.pick() for _ in range(5)]
    assert [lease.outcome for lease in leases] == ["lost", "lost", None, None, None]
    assert (scene.count("under_way"), scene.count("lost")) == (3, 2)


def test_the_latency_is_measured_unless_it_is_told() -> None:
    class Spy(RoundRobin):
        seen: list[tuple[float | None, bool]] = []  # noqa: RUF012  (of this one test)

        def end(self, endpoint: Endpoint, *, now: float, latency_s: float | None = None, failed: bool = False) -> None:
            self.seen.append((latency_s, failed))

    scene = Scene(balancer=Spy(Random(1)))
    for report in (Lease.succeeded, Lease.failed, Lease.cancelled):
        lease = scene.calls.pick()
        scene.now += 0.5
        report(lease)
    scene.calls.pick().succeeded(0.125)
    assert Spy.seen == [(0.5, False), (0.5, True), (None, False), (0.125, False)]


# ---------------------------------------------------------------------------------------------------- ejection and limits


def test_an_instance_that_fails_is_held_out_tried_again_and_let_in() -> None:
    scene = Scene()
    scene.fail("n01", 5)
    bad = an_endpoint("n01")
    assert scene.calls.breaker(bad) == "open"
    assert {scene.calls.pick().endpoint.node for _ in range(10)} == {"n00", "n02"}
    scene.now += 5.0
    assert scene.calls.breaker(bad) == "half-open"
    leases = [scene.calls.pick() for _ in range(10)]
    trials = [lease for lease in leases if lease.endpoint.node == "n01"]
    assert [lease.trial for lease in trials] == [True]  # one at a time
    trials[0].succeeded()
    assert scene.calls.breaker(bad) == "closed"
    assert {scene.calls.pick().endpoint.node for _ in range(3)} == {"n00", "n01", "n02"}


def test_a_trial_that_is_never_reported_blocks_nobody_for_ever() -> None:
    scene = Scene(lease_s=30.0)

    def trials(picks: int) -> list[bool]:
        return [scene.calls.pick().trial for _ in range(picks)]

    scene.fail("n01", 5)
    scene.now += 5.0
    assert any(trials(3))
    assert not any(trials(10))
    scene.now += 30.0
    assert any(trials(3))


def test_the_last_instance_is_never_held_out() -> None:
    scene = Scene(1)
    scene.fail("n00", 50)
    assert scene.calls.pick().endpoint.node == "n00"
    assert (scene.count("held_out"), scene.count("spared")) == (0, 10)


def test_an_update_keeps_who_is_held_out() -> None:
    scene = Scene()
    scene.fail("n01", 5)
    scene.calls.update(endpoints(4))
    assert {scene.calls.pick().endpoint.node for _ in range(12)} == {"n00", "n02", "n03"}


def test_a_limiter_says_how_long_to_wait() -> None:
    scene = Scene(limiter=TokenBucket(per_s=10.0, burst=2, now=100.0))
    for _ in range(2):
        scene.calls.pick()
    with pytest.raises(TooManyCalls, match=r"wait 0\.1 s") as caught:
        scene.calls.pick()
    assert caught.value.wait_s == pytest.approx(0.1)
    assert scene.count("limited") == 1
    scene.now += caught.value.wait_s
    scene.calls.pick()


def test_nobody_ready_and_a_wrong_key_take_nothing() -> None:
    scene = Scene(balancer=Maglev(slots=251))
    with pytest.raises(TypeError, match="key is missing"):
        scene.calls.pick()
    scene.calls.update([])
    with pytest.raises(NoInstance, match="no instance is known"):
        scene.calls.pick("k")
    assert (scene.count("picked"), scene.count("under_way")) == (0, 0)


# --------------------------------------------------------------------------------------------------------------- attempts


def test_a_failed_call_is_tried_at_other_instances_until_its_attempts_are_used_up() -> None:
    scene = Scene(5, balancer=Maglev(slots=251), retry=RetryPolicy(attempts_max=4))
    attempts = scene.calls.attempts("user-1", idempotent=True)
    nodes = []
    for _ in range(4):
        lease = attempts.pick()
        nodes.append(lease.endpoint.node)
        lease.failed()
        pause_s = attempts.pause_s()
    assert len(set(nodes)) == 4
    assert (pause_s, attempts.given_up) == (None, "attempts")
    assert scene.count("retries") == 3


def test_with_two_instances_the_attempts_take_turns() -> None:
    nobody_out = EjectionPolicy(share_max=0.0)
    scene = Scene(2, balancer=UniformRandom(Random(3)), ejection=nobody_out, retry=RetryPolicy(attempts_max=20))
    attempts = scene.calls.attempts(idempotent=True)
    nodes = []
    for _ in range(20):
        lease = attempts.pick()
        nodes.append(lease.endpoint.node)
        lease.failed(0.0)
        attempts.pause_s()
    assert all(one != other for one, other in pairwise(nodes))


def test_rather_the_same_instance_again_than_one_that_is_held_out() -> None:
    scene = Scene(2)
    scene.fail("n01", 5)
    attempts = scene.calls.attempts(idempotent=True)
    for _ in range(2):
        lease = attempts.pick()
        assert lease.endpoint.node == "n00"
        lease.failed()


def test_a_call_that_is_not_idempotent_is_not_made_again_unless_it_was_never_sent() -> None:
    scene = Scene()
    attempts = scene.calls.attempts(idempotent=False)
    attempts.pick().failed()
    assert (attempts.pause_s(), attempts.given_up) == (None, "not idempotent")
    attempts = scene.calls.attempts(idempotent=False)
    attempts.pick().failed(sent=False)
    assert attempts.pause_s() is not None
    attempts.pick().failed()
    assert (attempts.pause_s(), attempts.given_up) == (None, "not idempotent")


@pytest.mark.parametrize("report", [Lease.succeeded, Lease.cancelled])
def test_only_a_failure_is_tried_again(report: Callable[[Lease], None]) -> None:
    scene = Scene()
    attempts = scene.calls.attempts(idempotent=True)
    report(attempts.pick())
    assert (attempts.pause_s(), attempts.given_up) == (None, "not failed")


def test_no_attempt_begins_and_no_pause_ends_after_the_deadline() -> None:
    scene = Scene(retry=RetryPolicy(base_s=1.0, attempts_max=9))
    attempts = scene.calls.attempts(idempotent=True, deadline_s=0.3)
    assert attempts.left_s == pytest.approx(0.3)
    attempts.pick().failed()
    pauses = [scene.calls.retry.pause_s(1, Random(seed)) for seed in range(9)]
    assert max(pauses) > 0.3
    while (pause_s := attempts.pause_s()) is not None:
        assert pause_s < attempts.left_s
    assert attempts.given_up in ("deadline", "budget")
    scene.now += 0.3
    assert attempts.left_s == 0.0
    with pytest.raises(DeadlineExceeded, match="allow more time"):
        attempts.pick()
    assert scene.calls.attempts(idempotent=True).left_s == float("inf")


def test_when_everything_fails_the_budget_ends_the_retries() -> None:
    scene = Scene(retry=RetryPolicy(attempts_max=3, budget_min_per_s=0.5))
    made = refused = 0
    for _ in range(1_000):
        attempts = scene.calls.attempts(idempotent=True)
        while True:
            attempts.pick().failed()
            made += 1
            if attempts.pause_s() is None:
                refused += attempts.given_up == "budget"
                break
    assert made == 1_000 + 200 + 5
    assert (scene.count("retries"), scene.count("retries_refused")) == (205, refused)


def test_an_attempt_that_is_not_reported_is_an_error_that_says_what_to_do() -> None:
    attempts = Scene().calls.attempts(idempotent=True)
    with pytest.raises(ValueError, match="the last attempt is not reported: end its `with` block"):
        attempts.pause_s()
    attempts.pick()
    with pytest.raises(ValueError, match="the last attempt is not reported"):
        attempts.pause_s()


@pytest.mark.parametrize("deadline_s", [0.0, *NO_TIMES])
def test_a_deadline_that_is_none_is_refused(deadline_s: float) -> None:
    with pytest.raises(ValueError, match=r"deadline_s=.*, expected seconds above 0"):
        Scene().calls.attempts(idempotent=True, deadline_s=deadline_s)


@pytest.mark.parametrize("deadline_s", [None, 1e10, float("inf")])
def test_a_deadline_may_be_as_far_as_one_likes(deadline_s: float | None) -> None:
    assert Scene().calls.attempts(idempotent=True, deadline_s=deadline_s).left_s == (deadline_s or float("inf"))


@pytest.mark.parametrize("lease_s", [0.0, float("inf"), 1e10, *NO_TIMES])
def test_leases_that_never_end_are_refused(lease_s: float) -> None:
    with pytest.raises(ValueError, match=r"lease_s=.*, expected seconds above 0"):
        Scene(lease_s=lease_s)


@pytest.mark.parametrize("latency_s", [float("inf"), *NO_TIMES])
def test_a_latency_that_is_none_is_refused_and_the_lease_is_still_to_be_reported(latency_s: float) -> None:
    lease = Scene().calls.pick()
    with pytest.raises(ValueError, match=r"latency_s=.*, expected seconds of 0 or more"):
        lease.succeeded(latency_s)
    assert lease.outcome is None


steps = st.lists(
    st.tuples(st.sampled_from(["pick", "good", "bad", "drop", "shrink", "grow"]), st.integers(0, 9)), max_size=80
)


@settings(max_examples=100, deadline=None)
@given(steps)
def test_the_counters_add_up_and_only_current_instances_are_picked(history: list[tuple[str, int]]) -> None:
    scene = Scene(4, balancer=LeastOutstanding(Random(1)), lease_s=5.0)
    count, open_leases = 4, list[Lease]()
    for what, number in history:
        scene.now += 0.3
        match what:
            case "pick":
                lease = scene.calls.pick()
                assert lease.endpoint.node in {f"n{index:02}" for index in range(count)}
                open_leases.append(lease)
            case "good" | "bad" | "drop" if open_leases:
                lease = open_leases[number % len(open_leases)]
                {"good": lease.succeeded, "bad": lease.failed, "drop": lease.cancelled}[what]()
            case "shrink" | "grow":
                count = max(1, count - 1) if what == "shrink" else min(6, count + 1)
                scene.calls.update(endpoints(count))
        found = scene.calls.statistics()
        ended = found.succeeded + found.failed + found.cancelled + found.lost
        assert found.picked == found.under_way + ended
        assert found.under_way == sum(lease.outcome is None for lease in open_leases)
