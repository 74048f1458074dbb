"""Items: what anti-entropy compares."""

from dataclasses import replace
from functools import reduce
from operator import xor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipd.core.items import ItemIndex, ItemKey, claim_digest, record_digest
from gossipd.ids import Incarnation, Version
from gossipd.limits import SYNC_BUCKETS_MAX
from gossipd.records import Claim, Record
from tests.builders import ALIVE, BOB, CAT, DAN, DEAD, ELSEWHERE, LEFT, SUSPECT, a_claim

RECORD = Record(owner=BOB, version=Version(1, 2), floor=0, key="service/web-1", content=None)
CLAIM_DIGEST = 0x2306B2F75D20E195
RECORD_DIGEST = 0x93E95F71EEC093D6

keys = st.sampled_from([("", "bob"), ("", "cat"), ("bob", "a"), ("bob", "b"), ("cat", "a")])
digests = st.integers(0, 3) | st.integers(0, 2**64 - 1)
steps = st.lists(st.tuples(keys, st.none() | digests), max_size=40)


def test_who_says_it_and_how_long_ago_is_no_part_of_a_claim_s_hash() -> None:
    claim = a_claim(BOB, DEAD, accuser=CAT, age_s=1)
    assert claim_digest(claim) == claim_digest(replace(claim, accuser=DAN, age_s=99))


@pytest.mark.parametrize(
    "other",
    [
        a_claim(CAT),
        a_claim(BOB, SUSPECT),
        a_claim(BOB, LEFT),
        a_claim(BOB, counter=1),
        a_claim(BOB, epoch=2),
        a_claim(BOB, address=ELSEWHERE),
        a_claim(BOB, address=a_claim(BOB).address._replace(port=1)),
        a_claim(BOB, protocol=(1, 2)),
        replace(a_claim(BOB), incarnation=Incarnation(11, 0)),
    ],
)
def test_any_other_state_of_a_member_has_another_hash(other: Claim) -> None:
    assert claim_digest(a_claim(BOB, ALIVE)) != claim_digest(other)


@pytest.mark.parametrize(
    "other",
    [
        replace(RECORD, owner=CAT),
        replace(RECORD, key="service/web-2"),
        replace(RECORD, version=Version(1, 3)),
        replace(RECORD, version=Version(2, 2)),
        replace(RECORD, key="service/web-1\x001", version=Version(2, 2)),
    ],
)
def test_any_other_record_has_another_hash(other: Record) -> None:
    assert record_digest(RECORD) != record_digest(other)


def test_a_hash_is_the_same_in_every_process() -> None:
    """Two daemons compare them: nothing of this run may go in."""
    assert claim_digest(a_claim(BOB)).bit_length() <= 64
    assert claim_digest(a_claim(BOB)) == CLAIM_DIGEST
    assert record_digest(RECORD) == RECORD_DIGEST


@given(steps, st.sampled_from([1, 2, 64, SYNC_BUCKETS_MAX]))
def test_the_index_always_equals_a_recomputation(history: list[tuple[ItemKey, int | None]], count: int) -> None:
    index, held = ItemIndex(), dict[ItemKey, int]()
    for key, digest in history:
        if digest is None:
            index.drop(key)
            held.pop(key, None)
        elif digest not in held.values() or held.get(key) == digest:
            index.put(key, digest)
            held[key] = digest
    assert len(index) == len(held)
    assert index.root() == reduce(xor, held.values(), 0)
    assert {digest: index.key_of(digest) for digest in held.values()} == {held[key]: key for key in held}
    shift = 64 - (count.bit_length() - 1)
    for bucket in {digest >> shift for digest in held.values()} | {0, count - 1}:
        inside = {digest for digest in held.values() if digest >> shift == bucket}
        assert index.digests_in(bucket, count) == inside
        assert index.xor_buckets(count)[bucket] == reduce(xor, inside, 0)
    assert reduce(xor, index.xor_buckets(count)) == index.root()


@given(steps)
def test_even_forged_equal_hashes_leave_nothing_behind_and_break_nothing(
    history: list[tuple[ItemKey, int | None]],
) -> None:
    index = ItemIndex()
    for key, digest in history:
        if digest is None:
            index.drop(key)
        else:
            index.put(key, digest)
    for key, _ in history:
        index.drop(key)
    assert (len(index), index.root(), index.digests_in(0, 1)) == (0, 0, set())


def test_what_was_dropped_is_not_found_by_its_hash() -> None:
    index = ItemIndex()
    index.put(("", "bob"), 7)
    index.put(("", "bob"), 8)
    assert (index.key_of(7), index.key_of(8)) == (None, ("", "bob"))
    index.drop(("", "bob"))
    index.drop(("", "bob"))
    assert index.key_of(8) is None
