"""How news reaches everybody: at once to a few, then on ticks and on probe traffic."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import replace
from random import Random

import pytest

from gossipd.config import LAN, GossipConfig
from gossipd.core.broadcast.queue import Queue
from gossipd.core.broadcast.spread import Audience, Batch, Spreader
from gossipd.ids import NodeId
from gossipd.limits import PAYLOAD_BYTES_MAX
from tests.builders import BOB, CAT, DAN, EVE, FAY

CREW = [BOB, CAT, DAN, EVE, FAY]
GOSSIP = LAN.gossip
ROOM = PAYLOAD_BYTES_MAX - 65


def a_spreader(config: GossipConfig = GOSSIP, *, seed: int = 1) -> Spreader:
    return Spreader(config, rng=Random(seed), now=0.0)


def an_audience(
    live: list[NodeId] = CREW, *, neighbours: list[NodeId] | None = None, recently_dead: list[NodeId] | None = None
) -> Audience:
    ring = live[:1] + live[-1:] if len(live) > 1 else live
    return Audience(live, ring if neighbours is None else neighbours, lambda: recently_dead or [])


def put(
    spreader: Spreader,
    queue: Queue,
    key: Hashable,
    payload: bytes,
    *,
    awaited: Sequence[NodeId] = (),
    urgent: bool = True,
    now: float,
) -> None:
    spreader.put(queue, key, payload, version=1, awaited=awaited, urgent=urgent, now=now)


def told(batches: list[Batch]) -> set[NodeId]:
    return {target for batch in batches for target in batch.targets}


def test_without_news_there_is_nothing_to_do() -> None:
    spreader = a_spreader()
    assert spreader.next_deadline() == math.inf
    assert spreader.handle_timer(an_audience(), room=ROOM, now=99.0) == []
    assert spreader.fill(ROOM, members=6, now=0.0) == []


def test_fresh_news_waits_one_window_for_company_and_goes_to_the_ring_and_two_at_random() -> None:
    spreader = a_spreader()
    put(spreader, spreader.membership, BOB, b"bob is suspect", now=10.0)
    assert spreader.next_deadline() == 10.0 + GOSSIP.eager_window_s
    put(spreader, spreader.catalog, "web", b"web is up", now=10.002)
    assert spreader.handle_timer(an_audience(), room=ROOM, now=10.003) == []
    (batch,) = spreader.handle_timer(an_audience(), room=ROOM, now=10.004)
    assert batch.payloads == [b"bob is suspect", b"web is up"]
    assert {BOB, FAY} < set(batch.targets)
    assert len(set(batch.targets)) == 4


def test_what_was_pushed_goes_on_with_ticks_until_its_budget_is_spent() -> None:
    spreader = a_spreader()
    put(spreader, spreader.membership, BOB, b"news", now=0.0)
    (pushed,) = spreader.handle_timer(an_audience(), room=ROOM, now=GOSSIP.eager_window_s)
    assert spreader.next_deadline() == GOSSIP.interval_s
    (ticked,) = spreader.handle_timer(an_audience(), room=ROOM, now=GOSSIP.interval_s)
    assert (len(pushed.targets), len(ticked.targets)) == (4, 2)  # six members: 6 x ceil(log10 7) = 6 sends, and no more
    assert (len(spreader), spreader.next_deadline()) == (0, math.inf)


def test_what_both_neighbours_tell_us_we_need_not_tell_again() -> None:
    spreader = a_spreader()
    put(spreader, spreader.membership, BOB, b"news", awaited=[BOB, FAY], now=0.0)
    spreader.handle_timer(an_audience(), room=ROOM, now=GOSSIP.eager_window_s)
    for neighbour in (BOB, FAY):
        spreader.membership.heard(BOB, 1, neighbour)
    assert len(spreader) == 0
    assert spreader.handle_timer(an_audience(), room=ROOM, now=GOSSIP.interval_s) == []
    assert spreader.next_deadline() == math.inf


def test_whom_we_have_not_heard_it_from_we_tell_at_each_tick() -> None:
    spreader = a_spreader()
    put(spreader, spreader.membership, BOB, b"news", awaited=[BOB, FAY], now=0.0)
    spreader.handle_timer(an_audience(), room=ROOM, now=GOSSIP.eager_window_s)
    spreader.membership.heard(BOB, 1, BOB)
    (ticked,) = spreader.handle_timer(an_audience(), room=ROOM, now=GOSSIP.interval_s)
    assert FAY in ticked.targets


def test_what_is_not_urgent_waits_for_the_tick_and_goes_to_the_ring_and_one_at_random() -> None:
    spreader = a_spreader()
    put(spreader, spreader.membership, BOB, b"bob is suspect", urgent=False, now=0.0)
    assert spreader.next_deadline() == GOSSIP.interval_s
    (batch,) = spreader.handle_timer(an_audience(), room=ROOM, now=GOSSIP.interval_s)
    assert {BOB, FAY} < set(batch.targets)
    assert len(set(batch.targets)) == 3
    assert spreader.eager_packets == 0


def test_what_rode_along_within_the_window_is_pushed_all_the_same() -> None:
    spreader = a_spreader()
    put(spreader, spreader.catalog, "web", b"web is up", now=0.0)
    assert spreader.fill(ROOM, members=6, now=0.0) == [b"web is up"]
    (batch,) = spreader.handle_timer(an_audience(), room=ROOM, now=GOSSIP.eager_window_s)
    assert (batch.payloads, len(batch.targets)) == ([b"web is up"], 4)


def test_in_a_larger_cluster_ticks_follow_each_other_until_the_budget_is_spent() -> None:
    spreader = a_spreader()
    live = [NodeId(f"m{number:02}") for number in range(30)]
    put(spreader, spreader.membership, BOB, b"news", now=0.0)
    sent = []
    while (at := spreader.next_deadline()) < math.inf:
        sent += [len(batch.targets) for batch in spreader.handle_timer(an_audience(live), room=ROOM, now=at)]
    assert sent == [4, 3, 3, 2]  # 31 members: 6 x ceil(log10 32) = 12 sends


def test_what_rides_along_counts_as_sent() -> None:
    """Scenario 43."""
    spreader = a_spreader()
    put(spreader, spreader.membership, BOB, b"news", now=0.0)
    assert [spreader.fill(ROOM, members=6, now=0.0) for _ in range(7)] == [[b"news"]] * 6 + [[]]


def test_what_rides_along_fits_the_room_that_is_left() -> None:
    """Scenario 43."""
    spreader = a_spreader()
    put(spreader, spreader.membership, BOB, b"x" * 100, now=0.0)
    assert spreader.fill(99, members=6, now=0.0) == []
    assert spreader.fill(100, members=6, now=0.0) == [b"x" * 100]


def test_membership_and_catalog_news_have_half_a_datagram_each_while_they_can_fill_it() -> None:
    spreader = a_spreader()
    for number in range(100):
        put(spreader, spreader.membership, number, b"m" * 50, now=0.0)
        put(spreader, spreader.catalog, number, b"c" * 50, now=0.0)
    filled = b"".join(spreader.fill(1_000, members=6, now=0.0))
    assert (filled.count(b"m"), filled.count(b"c")) == (500, 500)


def test_what_one_class_does_not_need_the_other_may_use() -> None:
    spreader = a_spreader()
    for number in range(100):
        put(spreader, spreader.membership, number, b"m" * 50, now=0.0)
    put(spreader, spreader.catalog, "web", b"c" * 50, now=0.0)
    filled = b"".join(spreader.fill(1_000, members=6, now=0.0))
    assert (filled.count(b"m"), filled.count(b"c")) == (950, 50)


def test_pushes_wait_for_the_budget_and_then_share_datagrams() -> None:
    spreader = a_spreader(replace(GOSSIP, bytes_per_s=100_000.0, bytes_burst=4_000))
    for number in range(5):
        put(spreader, spreader.membership, number, b"m" * 1_000, now=0.0)
    pushed = spreader.handle_timer(an_audience(), room=ROOM, now=GOSSIP.eager_window_s)
    assert [len(batch.targets) for batch in pushed] == [4]  # 4 x (1,000 + 106), a little over the burst
    assert spreader.eager_packets == 4
    again_at = spreader.next_deadline()
    assert again_at == pytest.approx(GOSSIP.eager_window_s + 0.044_24)  # until the burst is there again
    put(spreader, spreader.membership, "short", b"m" * 200, now=again_at)
    (batch,) = spreader.handle_timer(an_audience(), room=ROOM, now=again_at)
    assert sorted(map(len, batch.payloads)) == [200, 1_000]


def test_pushes_to_one_other_wait_for_the_budget_of_one_datagram() -> None:
    spreader = a_spreader(replace(GOSSIP, bytes_per_s=100_000.0, bytes_burst=8_000))
    for number in range(20):
        put(spreader, spreader.membership, number, b"m" * 1_000, now=0.0)
    assert len(spreader.handle_timer(an_audience([BOB]), room=ROOM, now=GOSSIP.eager_window_s)) == 8
    assert spreader.next_deadline() == pytest.approx(GOSSIP.eager_window_s + (1_400 - (8_000 - 8 * 1_106)) / 100_000)


def test_what_rides_along_waits_for_the_budget_and_draws_on_it() -> None:
    spreader = a_spreader(replace(GOSSIP, bytes_per_s=1_000.0, bytes_burst=1_000))
    for number in range(3):
        put(spreader, spreader.membership, number, b"m" * 1_100, urgent=False, now=0.0)
    assert len(spreader.fill(ROOM, members=6, now=0.0)) == 1
    assert spreader.fill(ROOM, members=6, now=0.1) == []  # 1,000 less 1,100, and 100 more
    assert len(spreader.fill(ROOM, members=6, now=0.102)) == 1


def test_ticks_go_on_without_a_budget_and_draw_on_it() -> None:
    spreader = a_spreader(replace(GOSSIP, bytes_per_s=1_000.0, bytes_burst=1_000))
    for number in range(3):
        put(spreader, spreader.membership, number, b"m" * 1_100, urgent=False, now=0.0)
    at = 0.0
    for _ in range(3):
        at += GOSSIP.interval_s
        assert len(spreader.handle_timer(an_audience(), room=ROOM, now=at)) == 1
    assert spreader.fill(ROOM, members=6, now=at + 0.9) == []  # no debt is above the burst
    assert len(spreader.fill(ROOM, members=6, now=at + 1.1)) == 1


def test_no_batch_is_larger_than_its_room() -> None:
    spreader = a_spreader()
    rng = Random(7)
    for number in range(500):
        queue = rng.choice((spreader.membership, spreader.catalog))
        put(spreader, queue, number, bytes(rng.randrange(1, 1_100)), now=0.0)
    while (at := spreader.next_deadline()) < math.inf:
        for batch in spreader.handle_timer(an_audience(), room=ROOM, now=at):
            assert 0 < sum(map(len, batch.payloads)) <= ROOM


def test_ticks_reach_the_recently_dead_and_pushes_do_not() -> None:
    """Scenario 44: who is recently dead is the table's to say; the departed never are."""
    pushed, ticked = set(), set()
    for seed in range(30):
        spreader = a_spreader(seed=seed)
        audience = an_audience([BOB, CAT], recently_dead=[DAN])
        put(spreader, spreader.membership, DAN, b"dan is dead", now=0.0)
        pushed |= told(spreader.handle_timer(audience, room=ROOM, now=GOSSIP.eager_window_s))
        ticked |= told(spreader.handle_timer(audience, room=ROOM, now=GOSSIP.interval_s))
    assert (pushed, ticked) == ({BOB, CAT}, {BOB, CAT, DAN})


def test_who_is_alone_keeps_no_news() -> None:
    spreader = a_spreader()
    put(spreader, spreader.membership, BOB, b"news", now=0.0)
    assert spreader.handle_timer(an_audience([]), room=ROOM, now=GOSSIP.interval_s) == []
    assert (len(spreader), spreader.next_deadline()) == (0, math.inf)


def test_a_pair_tells_each_other() -> None:
    spreader = a_spreader()
    put(spreader, spreader.membership, BOB, b"news", now=0.0)
    assert told(spreader.handle_timer(an_audience([BOB]), room=ROOM, now=1.0)) == {BOB}


def test_a_message_that_fits_no_room_left_of_probes_still_goes_with_a_tick() -> None:
    spreader = a_spreader()
    put(spreader, spreader.catalog, "web", b"c" * 1_100, now=0.0)
    assert spreader.fill(1_000, members=6, now=0.0) == []
    (batch,) = spreader.handle_timer(an_audience(), room=ROOM, now=GOSSIP.eager_window_s)
    assert batch.payloads == [b"c" * 1_100]
