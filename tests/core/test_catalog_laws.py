"""The laws of the catalog: any order, any loss, any duplicate."""

from hypothesis import given
from hypothesis import strategies as st

from gossipd.core.catalog.store import Quotas
from gossipd.ids import NodeId, Version
from gossipd.records import Claim, Content, Record
from tests.builders_catalog import (
    BOB,
    CID,
    DAN,
    KEYS,
    Replica,
    a_record,
    an_author,
    any_records,
    claims,
    heard,
    histories,
    sync,
    web,
)


def a_replica(*records: Record, me: str = "ann") -> Replica:
    replica = Replica(NodeId(me))
    replica.merge(*records)
    return replica


def items(replica: Replica) -> list[Record]:
    """Return every item that *replica* would give to a peer."""
    found = [replica.store.item(owner, key) for owner in (BOB, CID) for key in KEYS]
    return [record for record in found if record is not None]


@given(st.data())
def test_records_in_any_order_with_duplicates_end_in_equal_stores(data: st.DataObject) -> None:
    records = data.draw(histories())
    one = a_replica(*data.draw(heard(records, lossy=False)))
    other = a_replica(*data.draw(heard(records, lossy=False)))
    assert one.state() == other.state()


@given(
    st.lists(any_records, max_size=12).flatmap(lambda records: st.tuples(st.just(records), st.permutations(records)))
)
def test_even_the_records_of_an_owner_that_breaks_every_promise_are_an_order(
    orders: tuple[list[Record], list[Record]],
) -> None:
    one, other = (a_replica(*records) for records in orders)
    assert one.state() == other.state()


def test_a_version_used_twice_is_settled_by_the_bytes() -> None:
    twins = [a_record(content=web(port=port)) for port in (80, 81)]
    assert a_replica(*twins).state() == a_replica(*reversed(twins)).state()


@given(st.data())
def test_merging_is_commutative_associative_and_idempotent(data: st.DataObject) -> None:
    records = data.draw(histories())
    heard_by = [data.draw(heard(records)) for _ in range(3)]
    parts = [items(a_replica(*part)) for part in heard_by]

    def joined(*order: int) -> Replica:
        return a_replica(*(record for number in order for record in parts[number]))

    assert joined(0, 1).state() == joined(1, 0).state()
    both = items(joined(1, 2))
    assert a_replica(*parts[0], *both).state() == a_replica(*items(joined(0, 1)), *parts[2]).state()
    assert joined(0, 0).state() == joined(0).state()


@given(st.data())
def test_a_withdrawn_record_never_comes_back(data: st.DataObject) -> None:
    records = data.draw(histories())
    replica = Replica()
    withdrawn: dict[tuple[NodeId, str], Version] = {}
    for record in data.draw(heard(records)):
        replica.merge(record)
        name = (record.owner, record.key)
        if record.content is None:
            withdrawn[name] = max(record.version, withdrawn.get(name, record.version))
        for (owner, key), version in withdrawn.items():
            answer = replica.store.get(owner, key)
            assert answer is None or answer.version > version
            item = replica.store.item(owner, key)
            assert item is None or item.version >= version


@given(st.data())
def test_whoever_hears_an_owners_last_write_answers_nothing_that_was_withdrawn(data: st.DataObject) -> None:
    """However long the cut was: with the last record there is the last floor, and compaction withdraws with it."""
    records = data.draw(histories())
    replica = a_replica(*data.draw(heard(records)))
    last = {record.owner: record for record in records}
    replica.merge(*last.values())
    replica.state()
    newest = {(record.owner, record.key): record for record in records}
    for record in replica.store.all():
        final = newest[record.owner, record.key]
        assert record.version > Version(last[record.owner].version.epoch, last[record.owner].floor)
        assert record == final or final.version > replica.store.floor(record.owner)


@given(st.data())
def test_the_index_holds_exactly_the_valid_records(data: st.DataObject) -> None:
    replica = Replica()
    arriving: list[Claim | Record] = [*data.draw(heard(data.draw(histories())))]
    arriving += data.draw(st.lists(claims, max_size=4))
    replica.merge(*data.draw(st.permutations(arriving)))
    held = items(replica)
    assert len(replica.index) == len(held) + len(replica.claims)
    assert all(replica.lookup(digest) is not None for digest in replica.index.digests_in(0, 1))
    answered = {(r.owner, r.key): r for owner in (BOB, CID) for r in replica.store.records_of(owner)}
    assert all(answered[r.owner, r.key] == r for r in held if r.content is not None)
    assert len(replica.store) == len(held) + len([r for r in answered.values() if r not in held])
    assert replica.store.bytes == sum(len(r.encoded) for r in {*held, *answered.values()})
    assert {(r.owner, r.key) for r in replica.store.all()} == {name for name, r in answered.items() if name[1] != "k0"}


@given(st.data(), st.integers(1, 4), st.integers(1, 6), st.integers(60, 300))
def test_no_quota_is_ever_exceeded(data: st.DataObject, per_owner: int, records: int, size: int) -> None:
    quotas = Quotas(records_per_owner=per_owner, records=records, bytes_per_owner=size, bytes=size * 3 // 2)
    replica = Replica(quotas=quotas)
    arriving = [*data.draw(heard(data.draw(histories()))), *data.draw(st.lists(any_records, max_size=8))]
    for record in data.draw(st.permutations(arriving)):
        before, refused = items(replica), replica.store.refused.get("quota", 0)
        floor = replica.store.floor(record.owner)
        replica.merge(record)
        if replica.store.refused.get("quota", 0) > refused:
            assert (items(replica), replica.store.floor(record.owner)) == (before, floor)
        for owner in (BOB, CID):
            held = {record.key: record for record in replica.store.records_of(owner)}
            held |= {record.key: record for record in items(replica) if record.owner == owner}
            assert len(held) <= per_owner
            assert sum(len(record.encoded) for record in held.values()) <= size
        assert len(replica.store) <= records
        assert replica.store.bytes <= size * 3 // 2


changes = st.lists(
    st.tuples(st.sampled_from(KEYS), st.integers(0, 2), st.tuples(st.booleans(), st.booleans())), max_size=40
)
"""A key, what it becomes (0: withdrawn), and which of two others hear of it."""


@given(changes, st.permutations([(0, 1), (1, 2)]))
def test_what_gossip_loses_syncs_bring(
    doings: list[tuple[str, int, tuple[bool, bool]]], order: list[tuple[int, int]]
) -> None:
    author = an_author(BOB, tombstones_min=0)
    replicas = [Replica(BOB), Replica(CID), Replica(DAN)]
    published: dict[str, Content] = {}
    for key, port, hearers in doings:
        records = author.put(key, web(key, port=port)) if port else author.delete(key)
        if port:
            published[key] = web(key, port=port)
        else:
            published.pop(key, None)
        replicas[0].merge(*records, source=BOB)
        for replica, hears in zip(replicas[1:], hearers, strict=True):
            if hears:
                replica.merge(*records, source=BOB)
    for opener, acceptor in (*order, *order):
        sync(replicas[opener], replicas[acceptor])
    states = [replica.state() for replica in replicas]
    assert states[0] == states[1] == states[2]
    assert {record.key: record.content for record in replicas[2].store.records_of(BOB)} == published
