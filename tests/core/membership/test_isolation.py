"""Whether it is us who are cut off."""

import math

from gossipd.config import LAN
from gossipd.core.membership.isolation import Isolation


def well(*, live: int = 4, now: float = 10.0) -> Isolation:
    """Return the judge of a node that *live* others answered until *now*."""
    isolation = Isolation(LAN.probe, now=0.0)
    for _ in range(LAN.probe.isolation_periods):
        isolation.answered(live=live, now=now)
    return isolation


def cut_off(*, live: int = 4) -> Isolation:
    isolation = well(live=live)
    for _ in range(5):
        isolation.failed()
    assert isolation.judge(alive=live, suspect=0, now=15.0)
    return isolation


def test_five_periods_without_an_answer_from_anyone_are_isolation_and_no_less() -> None:
    isolation = well()
    for _ in range(4):
        isolation.failed()
    assert not isolation.judge(alive=4, suspect=0, now=14.99)
    assert isolation.judge(alive=4, suspect=0, now=15.0)
    assert isolation.isolated
    assert not isolation.judge(alive=4, suspect=0, now=16.0)


def test_silence_counts_only_if_a_probe_failed_in_it() -> None:
    """A node in ill health probes less often than every five periods: nobody was asked, so nobody was silent."""
    isolation = well()
    assert not isolation.judge(alive=4, suspect=0, now=99.0)
    isolation.failed()
    assert isolation.judge(alive=4, suspect=0, now=99.0)


def test_the_end_of_our_patience_is_a_deadline_of_its_own() -> None:
    """It must not wait for the next packet: a suspicion of ours could run out first."""
    isolation = well()
    assert isolation.next_deadline() == math.inf
    isolation.failed()
    assert isolation.next_deadline() == 15.0
    isolation.judge(alive=4, suspect=0, now=15.0)
    assert isolation.next_deadline() == math.inf


def test_a_single_nack_shows_that_we_are_not_cut_off() -> None:
    isolation = well()
    for at in range(11, 30):
        isolation.failed()
        isolation.heard(live=4, now=float(at))
        assert not isolation.judge(alive=4, suspect=0, now=float(at))


def test_of_a_pair_the_other_is_held_to_have_failed() -> None:
    isolation = well(live=1)
    for _ in range(9):
        isolation.failed()
    assert not isolation.judge(alive=1, suspect=0, now=99.0)


def test_most_of_the_others_silent_at_once_is_isolation() -> None:
    isolation = well()
    assert not isolation.judge(alive=2, suspect=2, now=10.5)
    assert isolation.judge(alive=1, suspect=3, now=10.5)


def test_two_others_are_too_few_to_be_most() -> None:
    assert not well(live=2).judge(alive=0, suspect=2, now=10.5)


def test_isolation_ends_when_most_recent_probes_were_answered() -> None:
    isolation = cut_off()
    for _ in range(2):
        isolation.answered(live=4, now=20.0)
        assert not isolation.judge(alive=4, suspect=0, now=20.0)
    isolation.answered(live=4, now=21.0)
    assert isolation.judge(alive=4, suspect=0, now=21.0)
    assert not isolation.isolated


def test_what_was_answered_before_the_silence_does_not_end_isolation() -> None:
    isolation = well()
    isolation.failed()
    assert isolation.judge(alive=4, suspect=0, now=15.0)
    isolation.answered(live=4, now=15.1)
    assert not isolation.judge(alive=4, suspect=0, now=15.1)


def test_isolation_does_not_end_while_most_of_the_others_are_suspect() -> None:
    isolation = cut_off()
    for _ in range(5):
        isolation.answered(live=4, now=20.0)
    assert not isolation.judge(alive=1, suspect=3, now=20.0)
    assert isolation.judge(alive=2, suspect=2, now=20.0)


def waited(isolation: Isolation, *, answered: int, of: int, alive: int, suspect: int) -> bool:
    """Let *of* probes pass, the last *answered* of them answered, and return whether isolation has ended."""
    for at in range(of):
        if at < of - answered:
            isolation.failed()
        else:
            isolation.answered(live=alive + suspect, now=20.0)
        isolation.judge(alive=alive, suspect=suspect, now=20.0)
    return not isolation.isolated


def test_who_crashed_together_is_not_waited_for_for_ever() -> None:
    """Two of four crash at once: the two left suspect most of the others, yet each hears the other."""
    isolation = well(live=3)
    assert isolation.judge(alive=1, suspect=2, now=12.0)
    assert not waited(isolation, answered=6, of=19, alive=1, suspect=2)
    isolation.failed()
    assert isolation.judge(alive=1, suspect=2, now=20.0)
    assert not isolation.isolated
    assert not isolation.judge(alive=1, suspect=2, now=20.0)  # and now they may be declared dead


def test_a_few_that_are_cut_off_together_hear_each_other_too_rarely_to_go_on_without_the_rest() -> None:
    isolation = cut_off()
    for _ in range(20):
        assert not waited(isolation, answered=2, of=20, alive=59, suspect=0)


def test_once_all_is_well_again_most_of_the_others_silent_is_isolation_again() -> None:
    isolation = well(live=3)
    assert isolation.judge(alive=1, suspect=2, now=12.0)
    assert waited(isolation, answered=6, of=20, alive=1, suspect=2)
    for _ in range(5):
        isolation.answered(live=3, now=40.0)
    assert not isolation.judge(alive=3, suspect=0, now=40.0)
    assert isolation.judge(alive=1, suspect=2, now=40.5)


def test_an_answer_that_is_none_of_a_probe_does_not_end_isolation() -> None:
    isolation = cut_off()
    for at in range(20, 60):
        isolation.heard(live=4, now=float(at))
        assert not isolation.judge(alive=4, suspect=0, now=float(at))


def test_time_that_we_overslept_is_no_silence() -> None:
    isolation = well()
    isolation.failed()
    isolation.failed()
    isolation.shift(60.0)
    assert not isolation.judge(alive=4, suspect=0, now=74.9)
    assert isolation.judge(alive=4, suspect=0, now=75.0)


def test_a_node_that_has_just_started_is_not_isolated() -> None:
    isolation = Isolation(LAN.probe, now=0.0)
    isolation.failed()
    isolation.failed()
    assert not isolation.judge(alive=0, suspect=0, now=99.0)
