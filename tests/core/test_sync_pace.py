"""When a node syncs next."""

from random import Random

import pytest

from gossipd.config import LAN
from gossipd.core.events import SyncFinished
from gossipd.core.sync.pace import HURRY, Pace
from tests.builders import BOB, home

SOON_S = LAN.sync.reconnect_interval_s
LONG_S = LAN.sync.interval_s


def a_sync(*, changed: bool, opened_by_us: bool = True, fetch: bool = False, sent: int = 0) -> SyncFinished:
    return SyncFinished(
        stream=1,
        address=home(BOB),
        peer=BOB,
        opened_by_us=opened_by_us,
        changed=changed,
        fetch=fetch,
        items_sent=sent,
    )


def a_pace() -> Pace:
    return Pace(LAN.sync, rng=Random(1), now=0.0)


def test_the_first_sync_falls_anywhere_within_an_interval() -> None:
    dues = [Pace(LAN.sync, rng=Random(seed), now=7.0).due - 7.0 for seed in range(100)]
    assert 0 <= min(dues) < 0.1 * LONG_S
    assert 0.9 * LONG_S < max(dues) <= LONG_S


@pytest.mark.parametrize("opened_by_us", [False, True])
@pytest.mark.parametrize(
    ("whole_s", "most_s"),
    [(0.0, HURRY * SOON_S), (HURRY * SOON_S / 2, HURRY * SOON_S), (0.4 * SOON_S, 0.4 * SOON_S), (9 * SOON_S, SOON_S)],
)
def test_after_a_sync_that_changed_something_the_next_comes_when_the_budget_is_whole(
    whole_s: float, most_s: float, opened_by_us: bool
) -> None:
    pace = a_pace()
    pace.begun(now=50.0)
    pace.finished(a_sync(changed=True, opened_by_us=opened_by_us), whole_s=whole_s, now=50.0)
    assert 0.5 * most_s <= pace.due - 50.0 <= most_s


@pytest.mark.parametrize(
    ("opened_by_us", "changed", "every_s"),
    [
        (False, True, 0.4 * SOON_S),  # a peer that has news each time
        (True, True, 0.4 * SOON_S),
        (True, False, 0.4 * LONG_S),  # a fetch of what was announced and is not given
        (False, False, 0.01 * SOON_S),
    ],
)
def test_no_syncs_or_fetches_besides_it_postpone_the_next_sync(
    opened_by_us: bool, changed: bool, every_s: float
) -> None:
    pace = a_pace()
    pace.begun(now=0.0)
    now = 0.0
    while now < pace.due and now <= 2 * LONG_S:
        pace.finished(a_sync(changed=changed, opened_by_us=opened_by_us), whole_s=9 * SOON_S, now=now)
        now += every_s
    assert pace.due <= (SOON_S if changed else LONG_S)


def test_a_sync_that_another_opened_and_that_changed_nothing_leaves_the_pause_as_it_is() -> None:
    pace = a_pace()
    pace.soon(now=0.0)
    for _ in range(9):
        pace.finished(a_sync(changed=False, opened_by_us=False), whole_s=0.0, now=0.0)
    pace.begun(now=1.0)
    pace.finished(a_sync(changed=False), whole_s=0.0, now=1.0)
    assert pace.due <= 1.0 + 2 * SOON_S


def test_a_fetch_of_what_was_announced_brings_no_sync_nearer() -> None:
    pace = a_pace()
    pace.begun(now=0.0)
    pace.finished(a_sync(changed=True, fetch=True), whole_s=0.0, now=0.0)
    assert pace.due == LONG_S


def test_each_sync_that_changed_nothing_doubles_the_pause_up_to_the_interval() -> None:
    pace = a_pace()
    pace.soon(now=0.0)
    for pause_s in (2.0, 4.0, 8.0, 16.0, 30.0, 30.0):
        pace.begun(now=50.0)
        pace.finished(a_sync(changed=False), whole_s=0.0, now=50.0)
        assert 0.5 * pause_s <= pace.due - 50.0 <= pause_s


def test_a_sync_that_only_gave_found_a_difference_and_the_next_comes_as_soon() -> None:
    """After a cut one member lacked three claims for two seconds: a sync had listed others, given some, and doubled the pause."""
    pace = a_pace()
    pace.begun(now=50.0)
    pace.finished(a_sync(changed=False, sent=1), whole_s=0.4 * SOON_S, now=50.0)
    assert 0.2 * SOON_S <= pace.due - 50.0 <= 0.4 * SOON_S


def test_who_gives_again_and_again_and_learns_nothing_pauses_longer_until_it_learns_something() -> None:
    """A peer refuses what is beyond its limits, and lacks it in the next sync as well."""
    pace = a_pace()
    dues = []
    for sent in (1, 0, 1, 1, 1, 1, 0, 1):
        pace.begun(now=50.0)
        pace.finished(a_sync(changed=False, sent=sent), whole_s=0.0, now=50.0)
        dues.append(pace.due - 50.0)
    assert max(dues[at] for at in (0, 2, 3, 4)) <= HURRY * SOON_S
    assert dues[-1] >= 0.5 * 8 * SOON_S
    pace.finished(a_sync(changed=True), whole_s=0.0, now=50.0)
    pace.begun(now=50.0)
    pace.finished(a_sync(changed=False, sent=1), whole_s=0.0, now=50.0)
    assert pace.due - 50.0 <= HURRY * SOON_S


def test_what_may_have_been_missed_hastens_the_next_sync_and_never_delays_it() -> None:
    pace = a_pace()
    pace.begun(now=0.0)
    assert pace.due == LONG_S
    pace.soon(now=1.0)
    assert pace.due <= 1.0 + SOON_S
    due = pace.due
    pace.soon(now=due)
    assert pace.due == due
