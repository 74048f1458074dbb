"""What the store answers, passes on and refuses."""

import math

import pytest

from gossipd.core.catalog.store import ORPHANS_AGE_S, RECORD_OVERHEAD_BYTES, Quotas
from gossipd.core.effects import Effect, Outbid, Report, Spread
from gossipd.core.events import RecordChanged
from gossipd.core.items import record_digest
from gossipd.ids import NodeId, Version
from gossipd.limits import GOSSIP_MESSAGE_BYTES_MAX, RECORD_BYTES_MAX, RELAYED_RECORDS_PER_OWNER_BURST
from gossipd.records import NodeInfo, Record
from gossipd.wire.messages import Announce
from tests.builders_catalog import (
    ANN,
    BOB,
    CID,
    GRACE_S,
    Replica,
    a_record,
    a_store,
    a_tombstone,
    an_author,
    of_size,
    web,
)


def changed(
    before: Record | None,
    after: Record | None,
    *,
    version: Version | None = None,
    source: NodeId = CID,
    how: str = "gossip",
) -> Report:
    record = after or before
    assert record is not None
    event = RecordChanged(
        owner=record.owner,
        key=record.key,
        before=before,
        after=after,
        version=version or record.version,
        source=source,
        how=how,
    )
    return Report(event=event)


def hear(replica: Replica, *records: Record, now: float = 0.0) -> list[Effect]:
    return [effect for record in records for effect in replica.store.merge(record, source=CID, how="gossip", now=now)]


def test_news_is_spread_and_reported() -> None:
    record = a_record()
    assert a_store().merge(record, source=CID, how="gossip", now=0.0) == [Spread(item=record), changed(None, record)]


def test_the_same_record_again_does_nothing() -> None:
    replica = Replica()
    hear(replica, a_record())
    assert hear(replica, a_record()) == []


def test_an_older_version_does_nothing() -> None:
    replica = Replica()
    hear(replica, a_record(seq=2))
    assert hear(replica, a_record(seq=1)) == []
    assert replica.store.get(BOB, "web-1") == a_record(seq=2)


def test_a_tombstone_ends_the_answer_but_stays_an_item() -> None:
    replica = Replica()
    live, tombstone = a_record(), a_tombstone()
    hear(replica, live)
    assert hear(replica, tombstone) == [
        Spread(item=tombstone),
        changed(live, None, version=tombstone.version),
    ]
    assert replica.store.get(BOB, "web-1") is None
    assert list(replica.store.instances("web")) == []
    assert replica.lookup(record_digest(tombstone)) == tombstone


def test_a_tombstone_of_what_was_never_known_is_passed_on_but_not_reported() -> None:
    assert hear(Replica(), a_tombstone()) == [Spread(item=a_tombstone())]


def test_a_re_issue_of_the_same_content_is_passed_on_but_not_reported() -> None:
    replica = Replica()
    hear(replica, a_record(seq=1))
    assert hear(replica, a_record(seq=5)) == [Spread(item=a_record(seq=5))]


def test_a_record_at_or_below_the_floor_is_refused_and_counted() -> None:
    replica = Replica()
    hear(replica, a_record("web-2", seq=9, floor=7))
    assert hear(replica, a_record("web-1", seq=7)) == []
    assert replica.store.get(BOB, "web-1") is None
    assert replica.store.refused == {"stale": 1}


def test_a_floor_drops_tombstones_for_good() -> None:
    replica = Replica()
    hear(replica, a_tombstone("web-1", seq=2), a_record("web-2", seq=9, floor=7))
    assert len(replica.store) == 1
    assert hear(replica, a_record("web-1", seq=1)) == []
    assert replica.store.get(BOB, "web-1") is None


def test_what_a_floor_passed_is_answered_until_the_grace_ends_but_never_passed_on() -> None:
    replica = Replica()
    old = a_record("web-1", seq=1)
    hear(replica, old)
    hear(replica, a_record("web-2", seq=9, floor=7), now=5.0)
    assert replica.store.get(BOB, "web-1") == old
    assert replica.lookup(record_digest(old)) is None
    assert replica.store.next_deadline() == 5.0 + GRACE_S
    assert replica.store.handle_timer(now=4.0 + GRACE_S) == []
    assert replica.store.handle_timer(now=5.0 + GRACE_S) == [
        changed(old, None, version=Version(1, 7), source=ANN, how="timer")
    ]
    assert replica.store.get(BOB, "web-1") is None
    assert replica.store.next_deadline() == math.inf


def test_a_tombstone_that_comes_after_its_floor_still_ends_the_answer() -> None:
    replica = Replica()
    old = a_record("web-1", seq=1)
    hear(replica, old, a_record("web-2", seq=9, floor=7))
    assert hear(replica, a_tombstone("web-1", seq=2)) == [changed(old, None, version=Version(1, 7))]


def test_a_restarted_owner_that_publishes_again_in_time_is_no_change_for_anybody() -> None:
    replica = Replica()
    old, new = a_record(epoch=1), a_record(epoch=2)
    hear(replica, old)
    replica.store.owner_epoch(BOB, 2, now=1.0)
    assert list(replica.store.instances("web")) == [old]
    assert hear(replica, new, now=2.0) == [Spread(item=new)]
    assert list(replica.store.instances("web")) == [new]
    assert replica.store.handle_timer(now=100.0) == []


def test_a_restarted_owner_that_does_not_publish_again_loses_its_answers_when_the_grace_ends() -> None:
    replica = Replica()
    hear(replica, a_record("web-1"), a_record("web-2", seq=2))
    replica.store.owner_epoch(BOB, 2, now=1.0)
    replica.store.handle_timer(now=1.0 + GRACE_S)
    assert list(replica.store.all()) == []
    assert len(replica.store) == 0


def test_a_record_of_a_later_epoch_supersedes_the_earlier_ones_without_a_claim() -> None:
    replica = Replica()
    hear(replica, a_record("web-1", epoch=1), a_record("web-2", epoch=2))
    assert replica.store.item(BOB, "web-1") is None
    assert hear(replica, a_record("web-3", epoch=1, seq=50)) == []
    assert replica.store.refused == {"stale": 1}


def test_a_graceful_leave_ends_all_answers_at_once_and_refuses_stragglers() -> None:
    replica = Replica()
    record = a_record()
    hear(replica, record)
    assert replica.store.owner_left(BOB, 1, source=BOB, how="gossip", now=1.0) == [
        changed(record, None, version=record.version, source=BOB)
    ]
    assert hear(replica, a_record("web-2", seq=1000)) == []
    assert len(replica.index) == 0
    assert replica.store.owner_left(BOB, 1, source=BOB, how="gossip", now=1.0) == []


def test_an_owner_that_left_comes_back_with_a_later_epoch() -> None:
    replica = Replica()
    replica.store.owner_left(BOB, 1, source=BOB, how="gossip", now=1.0)
    replica.store.owner_epoch(BOB, 2, now=2.0)
    hear(replica, a_record(epoch=2))
    assert replica.store.get(BOB, "web-1") == a_record(epoch=2)
    assert replica.store.owner_left(BOB, 1, source=BOB, how="sync", now=3.0) == []
    assert replica.store.get(BOB, "web-1") == a_record(epoch=2)


def test_a_forgotten_owner_leaves_nothing_behind() -> None:
    replica = Replica()
    record = a_record()
    hear(replica, record, a_tombstone("web-2"))
    assert replica.store.forget(BOB, now=1.0) == [
        changed(record, None, version=record.version, source=ANN, how="timer")
    ]
    assert (len(replica.store), replica.store.bytes, len(replica.index)) == (0, 0, 0)
    assert replica.store.forget(BOB, now=1.0) == []


def test_what_still_goes_round_of_the_forgotten_is_refused_until_membership_speaks_of_them_again() -> None:
    replica = Replica()
    record, later = a_record(seq=1), a_record(epoch=2)
    hear(replica, record)
    replica.store.forget(BOB, now=1.0)
    assert hear(replica, record, a_record("web-2", seq=9)) == []
    assert replica.store.refused == {"stale": 2}
    assert hear(replica, later) == [Spread(item=later), changed(None, later)]
    replica.store.forget(BOB, now=2.0)
    replica.store.owner_epoch(BOB, 1, now=3.0)
    assert hear(replica, record) == [Spread(item=record), changed(None, record)]


def test_an_owner_of_whom_membership_does_not_speak_is_to_be_forgotten_also_if_it_has_only_tombstones() -> None:
    replica = Replica()
    hear(replica, a_tombstone(), now=1.0)
    hear(replica, a_tombstone("web-2", owner=CID), now=2.0)
    replica.store.owner_epoch(CID, 1, now=3.0)
    assert replica.store.orphans.next() == 1.0 + ORPHANS_AGE_S
    assert replica.store.orphans.pop_due(math.inf) == [BOB]


def test_only_what_our_author_wrote_is_ours_whoever_hands_it_to_us() -> None:
    """A twin bears our name."""
    replica = Replica(BOB, quotas=Quotas(records_per_owner=1))
    record = a_record(owner=BOB)
    assert replica.store.merge(record, source=BOB, how="sync", now=0.0) == [Outbid(record=record)]
    for seq, key in enumerate("ab", start=1):
        replica.store.merge(a_record(key, owner=CID, seq=seq), source=BOB, how="sync", now=0.0)
    assert (len(replica.store), replica.store.refused) == (1, {"quota": 1})


def test_instances_are_found_by_name_also_after_a_rename() -> None:
    replica = Replica()
    hear(replica, a_record("a", content=web("a")), a_record("b", content=web("b", name="db")))
    hear(replica, a_record("a", seq=2, content=web("a", name="db")), a_record("c", content=NodeInfo(software="1")))
    assert replica.store.names() == ["db"]
    assert {record.key for record in replica.store.instances("db")} == {"a", "b"}
    assert {record.key for record in replica.store.all()} == {"a", "b"}
    assert {record.key for record in replica.store.records_of(BOB)} == {"a", "b", "c"}
    assert list(replica.store.instances("web")) == []


def test_a_record_too_large_for_a_datagram_is_announced() -> None:
    fitting = of_size(a_record("a"), GOSSIP_MESSAGE_BYTES_MAX - RECORD_OVERHEAD_BYTES)
    large = of_size(a_record("b"), GOSSIP_MESSAGE_BYTES_MAX - RECORD_OVERHEAD_BYTES + 1)
    replica = Replica()
    announce = Announce(owner=BOB, version=large.version, digest=record_digest(large).to_bytes(8))
    assert replica.store.wants(announce)
    assert [effect.item for effect in hear(replica, fitting, large) if isinstance(effect, Spread)] == [
        fitting,
        announce,
    ]
    assert not replica.store.wants(announce)


def test_what_is_announced_below_the_floor_is_not_wanted() -> None:
    replica = Replica()
    hear(replica, a_record(seq=9, floor=7))
    assert not replica.store.wants(Announce(owner=BOB, version=Version(1, 7), digest=bytes(8)))
    assert replica.store.wants(Announce(owner=BOB, version=Version(1, 8), digest=bytes(8)))


def test_past_its_relay_rate_an_owner_is_stored_but_not_spread() -> None:
    burst = RELAYED_RECORDS_PER_OWNER_BURST
    replica = Replica()
    effects = hear(replica, *(a_record(f"k{n}", seq=n + 1) for n in range(burst + 10)))
    assert sum(isinstance(effect, Spread) for effect in effects) == burst
    assert replica.store.unspread == 10
    assert len(replica.store) == burst + 10
    other, later = a_record(owner=CID), a_record("late", seq=burst + 11)
    assert Spread(item=other) in hear(replica, other)
    assert Spread(item=later) in hear(replica, later, now=1.0)


def test_a_record_of_ours_that_we_did_not_write_is_to_be_outbid_and_is_not_stored() -> None:
    replica = Replica(BOB)
    replica.store.owner_epoch(BOB, 1, now=0.0)
    foreign = a_record(owner=BOB, seq=7)
    assert hear(replica, foreign) == [Outbid(record=foreign)]
    assert len(replica.store) == 0
    later = a_record(owner=BOB, epoch=2)
    assert hear(replica, later) == [Outbid(record=later)]


def test_our_own_records_come_back_without_a_stir() -> None:
    replica = Replica(BOB)
    replica.store.owner_epoch(BOB, 1, now=0.0)
    author = an_author(BOB)
    records = [*author.put("a", web("a")), *author.put("a", web("a", port=81)), *author.delete("a")]
    replica.merge(*records, source=BOB)
    assert hear(replica, *records, *reversed(records)) == []


def test_our_former_epoch_is_outranked_without_a_stir() -> None:
    replica = Replica(BOB)
    replica.store.owner_epoch(BOB, 2, now=0.0)
    assert hear(replica, a_record(owner=BOB, epoch=1, seq=99)) == []


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (a_record(seq=3, floor=3), "malformed"),
        (a_record(seq=0), "malformed"),
        (of_size(a_record(), RECORD_BYTES_MAX + 1), "oversized"),
    ],
    ids=["its own floor forbids it", "no sequence number", "too large"],
)
def test_an_impossible_record_is_refused_and_counted(record: Record, reason: str) -> None:
    replica = Replica()
    assert hear(replica, record) == []
    assert replica.store.refused == {reason: 1}
    assert (len(replica.store), replica.store.floor(BOB)) == (0, Version(-1, 0))


def size_of(*records: Record) -> int:
    return sum(len(record.encoded) for record in records)


A, B = a_record("a", seq=1), a_record("b", seq=2)
OTHERS = a_record("x", owner=CID)


@pytest.mark.parametrize(
    "quotas",
    [
        Quotas(records_per_owner=1),
        Quotas(bytes_per_owner=size_of(A, B) - 1),
        Quotas(records=2),
        Quotas(bytes=size_of(A, B, OTHERS) - 1),
    ],
    ids=["records of one owner", "bytes of one owner", "records of all", "bytes of all"],
)
def test_past_a_quota_a_record_is_refused_and_counted_and_changes_nothing(quotas: Quotas) -> None:
    replica = Replica(quotas=quotas)
    hear(replica, OTHERS, A)
    before = replica.state()
    assert hear(replica, B) == []
    assert replica.state() == before
    assert replica.store.refused == {"quota": 1}


def test_a_full_owner_may_still_replace_and_withdraw() -> None:
    replica = Replica(quotas=Quotas(records_per_owner=1))
    replaced, withdrawn = a_record("a", seq=2, content=web("a", port=81)), a_tombstone("a", seq=3)
    hear(replica, a_record("a"), replaced)
    assert replica.store.get(BOB, "a") == replaced
    hear(replica, withdrawn)
    assert replica.store.get(BOB, "a") is None
    assert replica.store.refused == {}


def test_a_full_owner_makes_room_with_its_own_floor() -> None:
    replica = Replica(quotas=Quotas(records_per_owner=2))
    fresh = a_record("c", seq=9, floor=7)
    hear(replica, a_tombstone("a", seq=1), a_tombstone("b", seq=2), fresh)
    assert replica.store.get(BOB, "c") == fresh
    assert len(replica.store) == 1


def test_what_is_answered_in_grace_gives_way_to_what_is_valid() -> None:
    replica = Replica(quotas=Quotas(records_per_owner=2))
    first, second = a_record("a", seq=1), a_record("b", seq=2)
    fresh = a_record("c", epoch=2)
    hear(replica, first, second)
    assert hear(replica, fresh) == [
        Spread(item=fresh),
        changed(None, fresh),
        changed(first, None, version=Version(2, 0)),
    ]
    assert {record.key for record in replica.store.records_of(BOB)} == {"b", "c"}


def test_our_own_records_are_never_crowded_out_by_others() -> None:
    replica = Replica(BOB, quotas=Quotas(records=1))
    hear(replica, OTHERS)
    own = a_record(owner=BOB)
    replica.merge(own, source=BOB)
    assert replica.store.get(BOB, "web-1") == own
