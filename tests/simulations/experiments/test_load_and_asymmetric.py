"""Load and asymmetric faults give their figures; what each counts is checked in worlds small enough to know the answer."""

import pytest

from gossipd.config import LAN
from simulations.experiments import asymmetric, load
from simulations.experiments.asymmetric import Faced


def test_an_idle_member_sends_a_ping_and_an_ack_each_period() -> None:
    loaded = load.measure(LAN, "idle", 10, 20, 1)
    assert len(loaded.messages) == 10
    assert sum(loaded.messages) / 10 == pytest.approx(2.0, rel=0.02)
    assert len(loaded.sent_kb) == 10 * 19
    assert sum(loaded.sent_kb) == pytest.approx(sum(loaded.received_kb), rel=0.01)


@pytest.mark.parametrize(("situation", "counted"), [("churn 1 %/min", 19), ("10 crashes", 18)])
def test_members_that_restart_or_crash_are_not_counted(situation: str, counted: int) -> None:
    assert len(load.measure(LAN, situation, 20, 10, 1).messages) == counted


def test_a_member_that_hears_nothing_and_then_hears_again_flaps() -> None:
    faced = asymmetric.measure(LAN, "flip-flop", 12, 45, 1)
    assert faced.removed_s[0] is not None
    assert faced.removed_s[0] < 20
    assert (faced.flaps, faced.healthy_removed) == ((1,), 0)
    assert faced.sizes == (11, 12)
    assert len(faced.median_sizes) == 45


@pytest.mark.parametrize(
    ("broken", "claim"),
    [
        ({"removed_s": (20.0, None)}, "all faulty removed"),
        ({"removed_s": (20.0, 61.0)}, "all faulty removed"),
        ({"healthy_removed": 1}, "no healthy member removed"),
        ({"flaps": (0, 2)}, "flaps of any"),
    ],
)
def test_a_goal_that_is_missed_is_told(broken: dict[str, object], claim: str) -> None:
    fields: dict[str, object] = {
        "removed_s": (20.0, 30.0),
        "removed_at_end": 2,
        "flaps": (0, 1),
        "healthy_removed": 0,
        "sizes": (9, 10),
        "median_sizes": (10.0,),
    }
    good, bad = Faced(**fields), Faced(**(fields | broken))  # type: ignore[arg-type]
    verdicts = asymmetric._verdicts({("80 % in", "gossipd"): [good, bad]}, "80 % in")
    assert [claim in verdict.claim for verdict in verdicts if not verdict.good] == [True]
