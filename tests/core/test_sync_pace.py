"""When a node syncs next."""

from random import Random

import pytest

from gossipd.config import LAN
from gossipd.core.events import SyncFinished
from gossipd.core.sync.pace import HURRY, Pace
from tests.builders import BOB, home

SOON_S = LAN.sync.reconnect_interval_s
LONG_S = LAN.sync.interval_s
PLENTY = float(LAN.sync.bytes_burst)


def a_sync(*, changed: bool) -> SyncFinished:
    return SyncFinished(stream=1, address=home(BOB), peer=BOB, opened_by_us=True, changed=changed)


def a_pace() -> Pace:
    return Pace(LAN.sync, rng=Random(1), now=0.0)


def test_the_first_sync_falls_anywhere_within_an_interval() -> None:
    dues = [Pace(LAN.sync, rng=Random(seed), now=7.0).due - 7.0 for seed in range(100)]
    assert 0 <= min(dues) < 0.1 * LONG_S
    assert 0.9 * LONG_S < max(dues) <= LONG_S


@pytest.mark.parametrize(("left", "hurry"), [(PLENTY, True), (PLENTY / 2 + 1, True), (PLENTY / 2, False), (0.0, False)])
def test_after_a_sync_that_changed_something_the_next_comes_soon_and_in_a_hurry_while_little_was_sent(
    left: float, hurry: bool
) -> None:
    pace = a_pace()
    pace.finished(a_sync(changed=True), left=left, now=50.0)
    most_s = SOON_S * (HURRY if hurry else 1.0)
    assert 0.5 * most_s <= pace.due - 50.0 <= most_s


def test_each_sync_that_changed_nothing_doubles_the_pause_up_to_the_interval() -> None:
    pace = a_pace()
    pace.soon(now=0.0)
    for pause_s in (2.0, 4.0, 8.0, 16.0, 30.0, 30.0):
        pace.finished(a_sync(changed=False), left=PLENTY, now=50.0)
        assert 0.5 * pause_s <= pace.due - 50.0 <= pause_s


def test_what_may_have_been_missed_hastens_the_next_sync_and_never_delays_it() -> None:
    pace = a_pace()
    pace.begun(now=0.0)
    assert pace.due == LONG_S
    pace.soon(now=1.0)
    assert pace.due <= 1.0 + SOON_S
    due = pace.due
    pace.soon(now=due)
    assert pace.due == due
