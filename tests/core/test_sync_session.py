"""A sync: what it brings, what it costs, what it refuses."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipd.core.items import ItemIndex, record_digest
from gossipd.core.sync.digest import BUCKETS_MIN, bucket_count, differing, join_hashes, split_hashes, sync_open
from gossipd.core.sync.session import ITEMS_MAX, SyncAcceptor, SyncFetcher, SyncOpener, SyncStep, item_bytes
from gossipd.errors import MalformedPacket
from gossipd.ids import Address, NodeId
from gossipd.limits import STREAM_FRAME_BYTES_MAX, SYNC_BUCKETS_MAX, SYNC_ITEMS_PER_FRAME_MAX
from gossipd.records import Claim, Record, Status
from gossipd.wire.codec import encode_message
from gossipd.wire.messages import Fetch, Ping, StreamMessage, SyncDiff, SyncItems, SyncOpen
from tests.builders_catalog import (
    ANN,
    BOB,
    CID,
    DAN,
    Replica,
    a_claim,
    a_record,
    claims,
    heard,
    histories,
    of_size,
    pack,
    sync,
    web,
)


def crowd(*, owners: int, each: int, port: int = 80, me: NodeId = ANN) -> Replica:
    """Return a replica with *each* services on each of *owners* nodes, and a claim about each node."""
    replica = Replica(me)
    for number in range(owners):
        owner = NodeId(f"node-{number}")
        replica.merge(a_claim(owner))
        for n in range(each):
            id = f"service-{n}"
            replica.merge(a_record(id, owner=owner, seq=n + 1, content=web(id, port=port)))
    return replica


@given(st.data())
def test_one_sync_makes_any_two_nodes_equal(data: st.DataObject) -> None:
    records = data.draw(histories())
    one, other = Replica(ANN), Replica(DAN)
    for replica in (one, other):
        replica.merge(*data.draw(st.lists(claims, max_size=4)), *data.draw(heard(records)))
    sync(one, other)
    assert one.state() == other.state()


def test_a_sync_of_equals_is_one_digest_and_two_empty_answers() -> None:
    one, other = crowd(owners=3, each=3), crowd(owners=3, each=3)
    cost = sync(one, other)
    assert (cost.frames, cost.items) == (3, 0)
    assert cost.opener_bytes + cost.acceptor_bytes < 150


def test_an_empty_node_gets_everything_without_naming_anything() -> None:
    full = crowd(owners=10, each=10)
    joiner = Replica(CID)
    cost = sync(joiner, full)
    assert joiner.state() == full.state()
    assert cost.opener_bytes < 150


def test_an_empty_acceptor_is_given_everything() -> None:
    full = crowd(owners=10, each=10)
    joiner = Replica(CID)
    sync(full, joiner)
    assert joiner.state() == full.state()


def test_one_record_of_ten_thousand_costs_less_than_six_kilobytes_both_ways() -> None:
    one, other = crowd(owners=100, each=100), crowd(owners=100, each=100)
    changed = a_record("service-7", owner=NodeId("node-7"), seq=101, content=web("service-7", port=8080))
    one.merge(changed)
    cost = sync(one, other)
    assert one.state() == other.state()
    assert cost.opener_bytes + cost.acceptor_bytes < 6_000
    there = crowd(owners=100, each=100)
    cost = sync(there, one)
    assert there.state() == one.state()
    assert cost.opener_bytes + cost.acceptor_bytes < 6_000


def test_every_frame_fits_however_much_differs() -> None:
    one, other = crowd(owners=60, each=100), crowd(owners=60, each=100, port=81, me=CID)
    for number in range(30):
        one.merge(of_size(a_record(f"large-{number}", owner=BOB, seq=number + 1), 16_384))
    cost = sync(Replica(BOB), one)
    assert cost.largest_frame <= STREAM_FRAME_BYTES_MAX - 256
    few = Replica(CID)
    few.merge(*(a_record(f"k{n}", owner=CID, seq=n + 1) for n in range(200)))
    cost = sync(few, one)
    assert few.state() == one.state()
    assert cost.largest_frame <= STREAM_FRAME_BYTES_MAX - 256
    cost = sync(other, one)
    assert cost.largest_frame <= STREAM_FRAME_BYTES_MAX - 256


def test_a_bucket_longer_than_a_frame_goes_on_in_the_next() -> None:
    full = Replica(ANN)
    claims_of = [a_claim(NodeId(f"node-{number:05}-{'x' * 50}")) for number in range(9_000)]
    full.merge(*claims_of)
    acceptor = SyncAcceptor(full.index, full.lookup)
    step = acceptor.receive(SyncOpen(buckets=join_hashes([1])))
    diffs = [message for message in step.send if isinstance(message, SyncDiff)]
    assert [message.buckets for message in diffs] == [(0,), (0,), (0,)]
    assert [len(message.hashes[0]) // 8 for message in diffs] == [4_096, 4_096, 808]
    assert max(len(pack(message)) for message in step.send) <= STREAM_FRAME_BYTES_MAX - 256
    asked = split_hashes(b"".join(message.hashes[0] for message in diffs))
    answer = acceptor.receive(SyncItems(items=())), acceptor.receive(Fetch(digests=join_hashes(asked[:4096])))
    frames = [message for step in answer for message in step.send]
    assert len(frames) > 1
    assert max(len(pack(message)) for message in frames) <= STREAM_FRAME_BYTES_MAX - 256


def test_more_than_a_frame_of_hashes_is_fetched_in_turns() -> None:
    one, other = crowd(owners=50, each=100), crowd(owners=50, each=100, port=81, me=CID)
    for number in range(50):
        owner = NodeId(f"node-{number}")
        other.merge(*(a_record(f"service-{n}", owner=owner, seq=n + 101, content=web(port=81)) for n in range(100)))
    cost = sync(one, other)
    assert one.state() == other.state()
    assert cost.items == 10_000


def test_the_estimate_of_an_items_bytes_is_never_too_low() -> None:
    name = NodeId("x" * 63)
    claim = replace(
        a_claim(name, epoch=2**53 - 1, counter=2**53 - 1, status=Status.DEAD),
        address=Address("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", 65_535),
        protocol_min=255,
        protocol_max=255,
        age_s=2**31,
    )
    record = replace(of_size(a_record(), 16_384), signature=bytes(128))
    for item in (claim, a_claim(), record, a_record()):
        assert len(encode_message(item)) <= item_bytes(item)


def test_claims_go_before_records() -> None:
    full = crowd(owners=3, each=2)
    step = SyncAcceptor(full.index, full.lookup).receive(sync_open(ItemIndex()))
    items = [item for message in step.send if isinstance(message, SyncItems) for item in message.items]
    assert [type(item) for item in items] == [Claim] * 3 + [Record] * 6


def test_what_was_announced_is_fetched() -> None:
    holder = Replica(ANN)
    large = of_size(a_record(), 5_000)
    holder.merge(large)
    fetcher = SyncFetcher([record_digest(large)])
    acceptor = SyncAcceptor(holder.index, holder.lookup)
    (asked,) = fetcher.start()
    answer = acceptor.receive(asked)
    assert answer == SyncStep(send=[SyncItems(items=(large,))], done=True)
    assert fetcher.receive(answer.send[0]) == SyncStep(items=(large,), done=True)
    assert fetcher.may_end


def test_what_was_replaced_meanwhile_is_not_sent() -> None:
    holder = Replica(ANN)
    holder.merge(a_record(seq=2))
    acceptor = SyncAcceptor(holder.index, holder.lookup)
    asked = Fetch(digests=join_hashes([record_digest(a_record(seq=1)), record_digest(a_record(seq=2))] * 2))
    assert acceptor.receive(asked).send == [SyncItems(items=(a_record(seq=2),))]


def test_what_came_by_gossip_meanwhile_is_not_fetched() -> None:
    one, other = Replica(ANN), Replica(CID)
    one.merge(a_record("a"))
    other.merge(a_record("b"))
    opener, acceptor = SyncOpener(one.index, one.lookup), SyncAcceptor(other.index, other.lookup)
    (asked,) = opener.start()
    one.merge(a_record("b"))
    send = [message for answer in acceptor.receive(asked).send for message in opener.receive(answer).send]
    assert not any(isinstance(message, Fetch) for message in send)
    assert opener.may_end


def test_an_answer_of_few_bytes_lists_few_and_syncs_of_few_make_equal_too() -> None:
    one, other = crowd(owners=50, each=20), crowd(owners=50, each=20, port=81, me=CID)
    for number in range(50):
        owner = NodeId(f"node-{number}")
        other.merge(*(a_record(f"service-{n}", owner=owner, seq=n + 21, content=web(port=81)) for n in range(20)))
    rng, rounds = Random(1), 0
    while one.state() != other.state():
        cost = sync(one, other, bytes_most=0.0, begin=rng.random())
        assert cost.acceptor_bytes < 60 * 150  # 32 hashes, whole buckets, and an item for each
        rounds += 1
    assert rounds > 10


def test_where_little_differs_a_listed_hash_costs_eight_bytes_and_one_sync_makes_equal() -> None:
    one, other = crowd(owners=50, each=20), crowd(owners=50, each=20)
    owner = NodeId("node-7")
    other.merge(*(a_record(f"service-{n}", owner=owner, seq=n + 21, content=web(f"service-{n}")) for n in range(8)))
    sync(one, other, bytes_most=8 * 512.0)
    assert one.state() == other.state()


@pytest.mark.parametrize(("bytes_most", "syncs"), [(8 * 512.0, 3), (0.0, 60)])
def test_whoever_lacks_dozens_catches_up_in_a_few_syncs_if_bytes_are_left_and_in_small_steps_if_not(
    bytes_most: float, syncs: int
) -> None:
    one, other = crowd(owners=50, each=20), crowd(owners=50, each=20)
    for number in range(50):
        owner = NodeId(f"node-{number}")
        other.merge(*(a_record(f"service-{n}", owner=owner, seq=n + 21, content=web(f"service-{n}")) for n in (3, 4)))
    rng = Random(1)
    costs = []
    while one.state() != other.state():
        costs.append(sync(one, other, bytes_most=bytes_most, begin=rng.random()).acceptor_bytes)
    assert len(costs) <= syncs
    assert (max(costs) > 64 * 50) == (bytes_most > 0)


def test_who_holds_nothing_gets_all_at_once_however_few_bytes_are_left() -> None:
    full, joiner = crowd(owners=50, each=20), Replica(CID)
    sync(joiner, full, bytes_most=0.0)
    assert joiner.state() == full.state()


def test_a_sync_past_what_a_stream_carries_ends_early_and_the_next_goes_on() -> None:
    full, joiner = crowd(owners=5, each=40), Replica(CID)
    rounds = 0
    while joiner.state() != full.state():
        before = len(joiner.index)
        cost = sync(joiner, full, sent_bytes_max=10_000)
        assert cost.acceptor_bytes < 15_000
        assert len(joiner.index) > before
        rounds += 1
    assert rounds > 1


# --------------------------------------------------------------------------------------------------------- out of turn

LISTED = SyncDiff(buckets=(0,), hashes=(bytes(8),))
HASHES = Fetch(digests=bytes(8))
EMPTY = SyncItems(items=())
OPEN = sync_open(ItemIndex())
BUSY = SyncOpen(buckets=join_hashes([1] * 16))


@pytest.mark.parametrize(
    "messages",
    [
        [OPEN],
        [HASHES],
        [Ping(sequence=1, target=ANN)],
        [EMPTY],
        [LISTED, LISTED],
        [LISTED, HASHES],
        [LISTED, EMPTY, LISTED],
        [LISTED, EMPTY, EMPTY, EMPTY],
        [SyncDiff(buckets=(), hashes=()), EMPTY, EMPTY],
        [SyncDiff(buckets=(16,), hashes=(b"",))],
        [SyncDiff(buckets=(-1,), hashes=(b"",))],
        [SyncDiff(buckets=(2, 1), hashes=(b"", b""))],
        [SyncDiff(buckets=(2,), hashes=(b"",), last=False), SyncDiff(buckets=(1,), hashes=(b"",))],
        [SyncDiff(buckets=(), hashes=(), last=False)],
        [SyncDiff(buckets=(1,), hashes=())],
        [SyncDiff(buckets=(1,), hashes=(b"odd",))],
    ],
)
def test_the_opener_refuses_what_is_out_of_turn(messages: list[StreamMessage]) -> None:
    replica = Replica()
    opener = SyncOpener(replica.index, replica.lookup)
    opener.start()
    for message in messages[:-1]:
        opener.receive(message)
    with pytest.raises(MalformedPacket):
        opener.receive(messages[-1])


@pytest.mark.parametrize(
    "messages",
    [
        [LISTED],
        [EMPTY],
        [Ping(sequence=1, target=ANN)],
        [Fetch(digests=b"")],
        [Fetch(digests=b"odd")],
        [Fetch(digests=bytes(8 * (SYNC_ITEMS_PER_FRAME_MAX + 1)))],
        [HASHES, HASHES],
        [OPEN, OPEN],
        [OPEN, EMPTY],
        [BUSY, HASHES],
        [BUSY, EMPTY, EMPTY],
        [SyncOpen(buckets=b"")],
        [SyncOpen(buckets=bytes(8 * 3))],
        [SyncOpen(buckets=bytes(8 * 2 * SYNC_BUCKETS_MAX))],
        [SyncOpen(buckets=b"odd")],
    ],
)
def test_the_acceptor_refuses_what_is_out_of_turn(messages: list[StreamMessage]) -> None:
    replica = Replica()
    acceptor = SyncAcceptor(replica.index, replica.lookup)
    assert acceptor.start() == []
    for message in messages[:-1]:
        acceptor.receive(message)
    with pytest.raises(MalformedPacket):
        acceptor.receive(messages[-1])


def test_a_fetch_refuses_anything_but_its_answer() -> None:
    fetcher = SyncFetcher([1])
    fetcher.start()
    with pytest.raises(MalformedPacket):
        fetcher.receive(LISTED)


def test_a_peer_cannot_list_for_ever() -> None:
    replica = Replica()
    opener = SyncOpener(replica.index, replica.lookup)
    opener.start()
    endless = SyncDiff(buckets=(0,), hashes=(bytes(8 * SYNC_ITEMS_PER_FRAME_MAX),), last=False)
    for _ in range(ITEMS_MAX // SYNC_ITEMS_PER_FRAME_MAX):
        opener.receive(endless)
    with pytest.raises(MalformedPacket, match="in one sync"):
        opener.receive(endless)


def test_a_frame_of_items_that_were_all_skipped_is_no_offence() -> None:
    replica = Replica()
    acceptor = SyncAcceptor(replica.index, replica.lookup)
    acceptor.receive(BUSY)
    assert acceptor.receive(SyncItems(items=(), last=False)) == SyncStep()
    assert not acceptor.may_end
    acceptor.receive(EMPTY)
    assert acceptor.may_end


def test_a_peer_cannot_fetch_for_ever() -> None:
    replica = Replica()
    acceptor = SyncAcceptor(replica.index, replica.lookup)
    acceptor.receive(BUSY)
    acceptor.receive(EMPTY)
    endless = Fetch(digests=bytes(8 * SYNC_ITEMS_PER_FRAME_MAX))
    for _ in range(ITEMS_MAX // SYNC_ITEMS_PER_FRAME_MAX):
        acceptor.receive(endless)
    with pytest.raises(MalformedPacket, match="in one sync"):
        acceptor.receive(endless)


# --------------------------------------------------------------------------------------------------------------- digest


@pytest.mark.parametrize(
    ("items", "buckets"),
    [(0, BUCKETS_MIN), (30, 16), (700, 64), (10_100, 256), (210_000, 1_024), (10**9, SYNC_BUCKETS_MAX)],
)
def test_buckets_grow_with_the_root_of_the_items(items: int, buckets: int) -> None:
    assert bucket_count(items) == buckets


def test_a_bucket_that_is_empty_over_there_is_sent_and_not_listed() -> None:
    index = ItemIndex()
    index.put(("", "a"), 0x1 << 60)
    index.put(("", "b"), 0xF << 60)
    sums = [0] * 16
    sums[0xF] = 5
    sums[0x7] = 9
    assert differing(index, SyncOpen(buckets=join_hashes(sums))) == ([0x7, 0xF], [0x1])


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_hashes_are_read_as_they_were_written(hashes: list[int]) -> None:
    assert split_hashes(join_hashes(hashes)) == hashes
