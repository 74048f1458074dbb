"""Who is held out, for how long, and that the last ones never are."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipd.balancing import EjectionPolicy
from gossipd.balancing.ejection import Ejections
from gossipd.balancing.endpoint import Key
from gossipd.errors import ConfigError

POLICY = EjectionPolicy(failures_in_a_row=3, base_s=5.0, longest_s=12.0)


def key(number: int) -> Key:
    return (f"n{number:02}", "web")


def ejections(count: int, policy: EjectionPolicy = POLICY) -> Ejections:
    made = Ejections(policy, now=0.0)
    made.update(map(key, range(count)), now=0.0)
    return made


def fail(machine: Ejections, number: int, times: int, *, now: float) -> None:
    for _ in range(times):
        machine.failed(key(number), trial=False, now=now)


def test_so_many_failures_in_a_row_hold_an_instance_out() -> None:
    machine = ejections(4)
    fail(machine, 0, 2, now=1.0)
    machine.succeeded(key(0), trial=False, now=1.0)
    fail(machine, 0, 2, now=1.0)
    assert machine.held(now=1.0) == frozenset()
    fail(machine, 0, 1, now=1.0)
    assert machine.held(now=1.0) == {key(0)}
    assert machine.state(key(0), now=1.0) == "open"
    assert machine.held(now=5.9) == {key(0)}


def test_when_its_time_is_over_one_trial_at_a_time_decides() -> None:
    machine = ejections(4)
    fail(machine, 0, 3, now=0.0)
    assert not machine.begin(key(0), now=4.9)
    assert machine.state(key(0), now=5.0) == "half-open"
    assert machine.held(now=5.0) == frozenset()
    assert machine.begin(key(0), now=5.0)
    assert machine.held(now=5.0) == {key(0)}
    assert not machine.begin(key(0), now=5.1)
    machine.succeeded(key(0), trial=False, now=5.1)  # one that began long ago decides nothing
    assert machine.state(key(0), now=5.1) == "half-open"
    machine.succeeded(key(0), trial=True, now=5.2)
    assert machine.state(key(0), now=5.2) == "closed"
    assert machine.held(now=5.2) == frozenset()


def test_a_trial_that_fails_holds_it_out_longer_each_time_up_to_the_longest() -> None:
    machine = ejections(4)
    fail(machine, 0, 3, now=0.0)
    now, lengths = 0.0, []
    for _ in range(4):
        left = next(step for step in range(1, 99) if machine.held(now=now + step / 2) == frozenset()) / 2
        lengths.append(left)
        now += left
        assert machine.begin(key(0), now=now)
        machine.failed(key(0), trial=True, now=now)
    assert lengths == [5.0, 10.0, 12.0, 12.0]


def test_failures_of_calls_that_began_before_it_was_held_out_add_nothing() -> None:
    machine = ejections(4)
    fail(machine, 0, 9, now=0.0)
    assert machine.ejected == 1
    assert machine.held(now=4.9) == {key(0)}
    assert machine.state(key(0), now=5.0) == "half-open"


def test_a_trial_without_a_verdict_lets_the_next_call_decide() -> None:
    machine = ejections(4)
    fail(machine, 0, 3, now=0.0)
    assert machine.begin(key(0), now=5.0)
    machine.cancelled(key(0), trial=True, now=6.0)
    assert machine.held(now=6.0) == frozenset()
    assert machine.begin(key(0), now=6.0)


def test_who_behaves_for_an_interval_has_one_ejection_forgotten() -> None:
    def second_ejection_s(wait_s: float) -> float:
        machine = ejections(4)
        fail(machine, 0, 3, now=0.0)
        assert machine.begin(key(0), now=5.0)
        machine.succeeded(key(0), trial=True, now=5.0)
        later = 5.0 + wait_s
        machine.succeeded(key(1), trial=False, now=later)
        fail(machine, 0, 3, now=later)
        return 5.0 if machine.held(now=later + 6.0) == frozenset() else 10.0

    assert second_ejection_s(1.0) == 10.0
    assert second_ejection_s(11.0) == 5.0


def test_an_instance_far_below_the_others_success_rate_is_held_out() -> None:
    machine = ejections(6, replace(POLICY, failures_in_a_row=1_000))
    for number in range(6):
        for call in range(100):
            good = call % 100 >= (40 if number == 2 else 2)
            (machine.succeeded if good else machine.failed)(key(number), trial=False, now=1.0)
    assert machine.held(now=9.9) == frozenset()
    machine.succeeded(key(0), trial=False, now=10.0)
    assert machine.held(now=10.0) == {key(2)}


@pytest.mark.parametrize(("count", "calls"), [(4, 200), (6, 99)])
def test_success_rates_of_few_instances_or_few_calls_are_not_compared(count: int, calls: int) -> None:
    machine = ejections(count, replace(POLICY, failures_in_a_row=1_000))
    for number in range(count):
        for _ in range(calls):
            (machine.failed if number == 2 else machine.succeeded)(key(number), trial=False, now=1.0)
    machine.succeeded(key(0), trial=False, now=10.0)
    assert machine.held(now=10.0) == frozenset()


def test_success_rates_are_those_of_one_interval() -> None:
    machine = ejections(6, replace(POLICY, failures_in_a_row=1_000))
    for interval in range(3):
        for number in range(6):
            for _ in range(60):
                report = machine.failed if number == 2 else machine.succeeded
                report(key(number), trial=False, now=1.0 + 11.0 * interval)
    assert machine.held(now=23.0) == frozenset()


def test_instances_that_all_fail_alike_are_not_held_out_for_their_rate() -> None:
    machine = ejections(6, replace(POLICY, failures_in_a_row=1_000))
    for number in range(6):
        for call in range(100):
            (machine.failed if call % 2 else machine.succeeded)(key(number), trial=False, now=1.0)
    machine.succeeded(key(0), trial=False, now=10.0)
    assert machine.held(now=10.0) == frozenset()


@pytest.mark.parametrize(
    ("ready", "share", "most"),
    [
        (0, 0.5, 0),
        (1, 0.5, 0),
        (2, 0.5, 1),
        (3, 0.5, 1),
        (5, 0.5, 2),
        (10, 0.1, 1),
        (3, 0.1, 1),
        (4, 1.0, 3),
        (9, 0.0, 0),
    ],
)
def test_how_many_may_be_held_out(ready: int, share: float, most: int) -> None:
    assert replace(POLICY, share_max=share).ejected_max(ready) == most
    machine = ejections(ready, replace(POLICY, share_max=share, panic_share=0.0))
    for number in range(ready):
        fail(machine, number, 3, now=1.0)
    assert len(machine.held(now=1.0)) == most
    assert (machine.ejected, machine.spared) == (most, ready - most)


def test_when_those_left_are_too_few_everybody_gets_work_until_they_are_enough() -> None:
    machine = ejections(4)
    fail(machine, 0, 3, now=1.0)
    fail(machine, 1, 3, now=1.0)
    assert machine.held(now=1.0) == {key(0), key(1)}
    machine.update([key(0), key(1), key(2)], now=2.0)  # one in three is left: below panic_share
    assert (machine.held(now=2.0), machine.panics) == (frozenset(), 1)
    machine.update([key(0), key(1)], now=2.0)
    assert (machine.held(now=2.0), machine.panics) == (frozenset(), 1)
    machine.update([key(0), key(1), key(2), key(3)], now=3.0)
    assert machine.held(now=3.0) == {key(0), key(1)}


def test_who_leaves_is_forgotten() -> None:
    machine = ejections(4)
    fail(machine, 0, 3, now=1.0)
    machine.update([key(1), key(2)], now=1.0)
    machine.failed(key(0), trial=False, now=1.0)
    assert not machine.begin(key(0), now=1.0)
    machine.cancelled(key(0), trial=True, now=1.0)
    machine.update(map(key, range(4)), now=1.0)
    assert machine.state(key(0), now=1.0) == "closed"
    assert machine.held(now=1.0) == frozenset()


events = st.lists(
    st.tuples(st.integers(0, 7), st.sampled_from(["good", "bad", "bad", "bad", "none"]), st.floats(0, 3)), max_size=120
)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 8), st.sampled_from([0.0, 0.1, 0.5, 1.0]), events)
def test_no_ejection_takes_more_than_may_be_held_out_nor_the_last_ones(
    count: int, share: float, history: list[tuple[int, str, float]]
) -> None:
    policy = replace(POLICY, failures_in_a_row=2, share_max=share, panic_share=0.25)
    machine = ejections(count, policy)
    now, trials = 0.0, set[Key]()
    for number, outcome, step in history:
        now += step
        target = key(number % count)
        trial = machine.begin(target, now=now)
        assert not (trial and target in trials)
        if trial:
            trials.add(target)
        if outcome == "none":
            continue  # still under way, the trial too
        report = machine.succeeded if outcome == "good" else machine.failed
        report(target, trial=trial, now=now)
        trials.discard(target) if trial else None
        held = machine.held(now=now)
        states = [machine.state(key(other), now=now) for other in range(count)]
        assert sum(state != "closed" for state in states) <= policy.ejected_max(count)
        assert len(held) <= policy.ejected_max(count) < max(count, 1)
        assert {key(other) for other in range(count) if states[other] == "open"} <= held or not held


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("failures_in_a_row", 0),
        ("base_s", 0.0),
        ("longest_s", 1.0),
        ("share_max", 1.1),
        ("panic_share", -0.1),
        ("interval_s", float("nan")),
        ("rate_hosts_min", 1),
        ("rate_calls_min", 0),
        ("rate_deviations", -1.0),
    ],
)
def test_a_wrong_setting_is_refused_with_field_value_and_expectation(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"ejection.{field}={value}, expected"):
        replace(EjectionPolicy(), **{field: value})  # type: ignore[arg-type]
