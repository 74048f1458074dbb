"""How long a suspect may stay silent."""

import math
from dataclasses import replace

import pytest

from gossipd.config import LAN, ProtocolConfig
from gossipd.core.membership.suspicion import (
    Suspicions,
    confirmations_wanted,
    shrunk_timeout_s,
    suspicion_timeout_s,
)
from tests.builders import ANN, BOB, CAT, DAN, EVE, FAY, FIRST

QUICK = replace(
    LAN,
    probe=replace(LAN.probe, interval_s=0.1, timeout_s=0.05, timeout_floor_s=0.01),
    suspicion=replace(LAN.suspicion, factor=5.0, max_factor=4.0),
)
"""Three confirmations wanted; 0.5 s at least, 2 s at most: the figures of the scenarios."""


def suspecting_bob(*, config: ProtocolConfig = QUICK, members: int = 5, now: float = 0.0) -> Suspicions:
    suspicions = Suspicions(config)
    suspicions.start(BOB, FIRST, ANN, members=members, now=now)
    return suspicions


def test_each_distinct_confirmation_shortens_the_wait_and_the_fourth_is_no_news() -> None:
    """Scenario 21."""
    suspicions = suspecting_bob()
    assert suspicions.next_deadline() == 2.0
    assert suspicions.confirm(BOB, CAT)
    assert suspicions.next_deadline() == pytest.approx(1.25)
    assert suspicions.confirm(BOB, DAN)
    assert suspicions.next_deadline() == pytest.approx(0.81, abs=0.005)
    assert suspicions.confirm(BOB, EVE)
    assert suspicions.next_deadline() == pytest.approx(0.5)
    assert not suspicions.confirm(BOB, FAY)
    assert suspicions.accusers(BOB) == (ANN, CAT, DAN, EVE)


def test_the_first_accuser_and_a_repeated_one_confirm_nothing() -> None:
    """Scenario 22."""
    suspicions = suspecting_bob()
    assert not suspicions.confirm(BOB, ANN)
    assert suspicions.confirm(BOB, CAT)
    assert not suspicions.confirm(BOB, CAT)
    assert suspicions.next_deadline() == pytest.approx(1.25)


def test_where_there_is_nobody_to_confirm_the_wait_is_the_least_from_the_start() -> None:
    """Scenario 23."""
    suspicions = suspecting_bob(members=4)
    assert suspicions.next_deadline() == pytest.approx(0.5)
    assert not suspicions.confirm(BOB, CAT)


def test_a_confirmation_after_the_shortened_wait_is_over_ends_it_at_once_and_only_once() -> None:
    """Scenario 24."""
    suspicions = suspecting_bob()
    suspicions.confirm(BOB, CAT)
    suspicions.confirm(BOB, DAN)
    assert suspicions.pop_due(members=5, now=0.7) == []
    suspicions.confirm(BOB, EVE)
    assert suspicions.pop_due(members=5, now=0.7) == [(BOB, FIRST)]
    assert not suspicions.confirm(BOB, FAY)
    assert suspicions.pop_due(members=5, now=99.0) == []
    assert suspicions.next_deadline() == math.inf


@pytest.mark.parametrize(("confirmations", "left_s"), [(0, 28.0), (1, 14.0), (3, 0.0)])
def test_what_is_left_counts_from_the_start_of_the_suspicion(confirmations: int, left_s: float) -> None:
    """Scenario 25."""
    whole_s = shrunk_timeout_s(confirmations, wanted=3, least_s=2.0, longest_s=30.0)
    assert whole_s - 2.0 == pytest.approx(left_s)


@pytest.mark.parametrize(("members", "wanted"), [(1, 0), (2, 0), (4, 0), (5, 3), (6, 3), (1_000, 3)])
def test_confirmations_are_wanted_only_where_so_many_others_exist(members: int, wanted: int) -> None:
    """Scenario 26."""
    assert confirmations_wanted(members, factor=5.0) == wanted


@pytest.mark.parametrize(("confirmations", "whole_s"), [(0, 1.0), (1, 0.75), (2, 0.604), (3, 0.5)])
def test_confirmations_shrink_the_wait_by_their_logarithm(confirmations: int, whole_s: float) -> None:
    """Scenario 26."""
    shrunk_s = shrunk_timeout_s(confirmations, wanted=3, least_s=0.5, longest_s=1.0)
    assert shrunk_s == pytest.approx(whole_s, abs=0.0005)


@pytest.mark.parametrize(("members", "scale"), [(1, 1.0), (5, 1.0), (10, 1.0), (50, 1.698), (100, 2.0), (1_000, 3.0)])
def test_the_least_wait_grows_with_the_logarithm_of_the_members(members: int, scale: float) -> None:
    """Scenario 46."""
    assert suspicion_timeout_s(members, interval_s=1.0, factor=4.0) == pytest.approx(4 * scale, abs=0.005)


def test_nobody_is_suspected_by_an_empty_cluster() -> None:
    with pytest.raises(ValueError, match="members=0"):
        suspicion_timeout_s(0, interval_s=1.0)


def test_a_new_suspicion_of_the_same_member_starts_afresh() -> None:
    suspicions = suspecting_bob()
    suspicions.confirm(BOB, CAT)
    suspicions.start(BOB, FIRST._replace(counter=1), DAN, members=5, now=1.0)
    assert suspicions.accusers(BOB) == (DAN,)
    assert suspicions.next_deadline() == 3.0


def test_a_cancelled_suspicion_never_runs_out() -> None:
    suspicions = suspecting_bob()
    suspicions.cancel(BOB)
    assert suspicions.pop_due(members=5, now=99.0) == []
    assert (len(suspicions), BOB in suspicions, suspicions.accusers(BOB)) == (0, False, ())


def test_held_suspicions_do_not_run_out_and_start_afresh_when_released() -> None:
    suspicions = suspecting_bob()
    suspicions.confirm(BOB, CAT)
    suspicions.hold()
    assert suspicions.next_deadline() == math.inf
    assert suspicions.pop_due(members=5, now=99.0) == []
    suspicions.release(now=100.0)
    assert suspicions.next_deadline() == pytest.approx(101.25)
    assert suspicions.pop_due(members=5, now=101.3) == [(BOB, FIRST)]


def test_time_that_we_overslept_is_given_to_the_suspect() -> None:
    suspicions = suspecting_bob()
    suspicions.shift(10.0)
    assert suspicions.pop_due(members=5, now=11.9) == []
    suspicions.confirm(BOB, CAT)
    assert suspicions.next_deadline() == pytest.approx(11.25)


def test_who_learns_of_more_members_meanwhile_gives_the_suspect_their_time() -> None:
    """A newcomer is told of suspects before it is told of most members."""
    suspicions = suspecting_bob(members=5)
    suspicions.confirm(BOB, CAT)
    due = suspicions.next_deadline()
    assert suspicions.pop_due(members=100, now=due) == []
    assert suspicions.next_deadline() == pytest.approx(2 * due)
    assert suspicions.pop_due(members=5, now=2 * due) == [(BOB, FIRST)]


def test_those_whom_only_we_accuse_are_told_apart() -> None:
    suspicions = suspecting_bob()
    suspicions.start(DAN, FIRST, ANN, members=5, now=0.0)
    suspicions.confirm(DAN, CAT)
    suspicions.start(EVE, FIRST, CAT, members=5, now=0.0)
    assert suspicions.accused_by_only(ANN) == [BOB]
