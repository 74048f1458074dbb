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


def test_who_crashed_together_is_not_waited_for_for_ever() -> None:
    """Two of four crash at once: the two left suspect most of the others, yet each hears the other."""
    isolation = well(live=3)
    isolation.failed()
    isolation.failed()
    assert isolation.judge(alive=1, suspect=2, now=12.0)
    for at in range(12, 17):
        isolation.failed()
        isolation.answered(live=3, now=float(at))
        assert not isolation.judge(alive=1, suspect=2, now=float(at))
    isolation.failed()
    assert isolation.judge(alive=1, suspect=2, now=17.0)
    assert not isolation.isolated
    for _ in range(5):
        isolation.answered(live=3, now=20.0)
    assert not isolation.judge(alive=1, suspect=2, now=20.0)  # and now they may be declared dead
    assert not isolation.judge(alive=1, suspect=2, now=20.0)


def test_once_all_is_well_again_most_of_the_others_silent_is_isolation_again() -> None:
    isolation = well(live=3)
    assert isolation.judge(alive=1, suspect=2, now=12.0)
    isolation.heard(live=3, now=17.0)
    assert isolation.judge(alive=1, suspect=2, now=17.0)
    for _ in range(5):
        isolation.answered(live=3, now=20.0)
    assert not isolation.judge(alive=3, suspect=0, now=20.0)
    assert isolation.judge(alive=1, suspect=2, now=20.5)


def test_nobody_is_accepted_as_silent_while_nobody_answers() -> None:
    isolation = cut_off()
    isolation.heard(live=4, now=20.0)
    assert not isolation.judge(alive=4, suspect=0, now=20.0)
    assert not isolation.judge(alive=4, suspect=0, now=25.0)
    isolation.heard(live=4, now=29.0)
    assert not isolation.judge(alive=4, suspect=0, now=29.0)


def test_time_that_we_overslept_is_no_silence() -> None:
    isolation = well()
    isolation.failed()
    isolation.failed()
    isolation.shift(60.0)
    assert not isolation.judge(alive=4, suspect=0, now=74.9)
    assert isolation.judge(alive=4, suspect=0, now=75.0)


def test_time_that_we_overslept_is_no_waiting() -> None:
    isolation = well(live=3)
    assert isolation.judge(alive=1, suspect=2, now=12.0)
    isolation.shift(10.0)
    assert not isolation.judge(alive=1, suspect=2, now=24.0)


def test_a_node_that_has_just_started_is_not_isolated() -> None:
    isolation = Isolation(LAN.probe, now=0.0)
    isolation.failed()
    isolation.failed()
    assert not isolation.judge(alive=0, suspect=0, now=99.0)
