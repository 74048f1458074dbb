"""What the author writes, and what it can forget."""

import pytest

from gossipd.core.catalog.author import CLEANED_PER_WRITE
from gossipd.errors import RequestError
from gossipd.ids import Version
from gossipd.limits import (
    LIVE_RECORD_BYTES_PER_OWNER_MAX,
    LIVE_RECORDS_PER_OWNER_MAX,
    RECORD_BYTES_MAX,
    RECORDS_PER_OWNER_MAX,
)
from gossipd.records import Content, NodeInfo, Record
from tests.builders_catalog import (
    BOB,
    Replica,
    a_record,
    a_tombstone,
    an_author,
    encode_plainly,
    web,
)


def only(records: list[Record]) -> Record:
    (record,) = records
    return record


def test_each_write_takes_the_next_sequence_number() -> None:
    author = an_author()
    assert author.put("web-1", web()) == [a_record()]
    assert author.put("web-1", web(port=81)) == [a_record(seq=2, content=web(port=81))]
    assert author.delete("web-1") == [a_tombstone(seq=3)]


def test_the_same_content_again_writes_nothing() -> None:
    author = an_author()
    author.put("web-1", web())
    assert author.put("web-1", web()) == []


def test_withdrawing_what_is_not_published_writes_nothing() -> None:
    author = an_author()
    author.put("web-1", web())
    author.delete("web-1")
    assert author.delete("web-1") == []
    assert author.content("web-1") is None


def test_tombstones_are_forgotten_once_they_outnumber_live_records() -> None:
    author = an_author(tombstones_min=2)
    author.put("info", NodeInfo())
    for number in range(3):
        author.put("web-1", web(port=number + 1))
        author.put("db", web("db", port=number + 1))
    for key in ("web-1", "db"):
        author.delete(key)
    assert author.tombstones == 2
    author.put("x", web("x"))
    reissued = author.delete("x")
    assert [record.key for record in reissued] == ["x", "info"]
    assert author.tombstones == 0
    assert only(author.put("y", web("y"))).floor == reissued[0].version.seq


def test_a_floor_goes_out_only_after_what_it_made_us_re_issue() -> None:
    author, replica = an_author(tombstones_min=0), Replica()
    stable = ["a", "b", "c", "d", "e"]
    for key in stable:
        replica.merge(*author.put(key, web(key)))
    reissued = 0
    for n in range(50):
        for written in (author.put(f"k{n}", web(f"k{n}")), author.delete(f"k{n}")):
            reissued += len(written) - 1
            for record in reversed(written):
                replica.merge(record)
                assert all(replica.store.item(BOB, key) for key in stable)
    assert reissued > len(stable)


def test_with_nothing_published_hardly_any_tombstone_is_left() -> None:
    author = an_author(tombstones_min=2)
    records = [record for n in range(9) for record in (*author.put(f"k{n}", web(f"k{n}")), *author.delete(f"k{n}"))]
    assert author.tombstones <= 2
    assert records[-1].floor > 0
    replica = Replica()
    replica.merge(*records)
    assert len(replica.store) <= 3
    assert list(replica.store.all()) == []


def test_a_later_epoch_begins_without_a_floor() -> None:
    author = an_author(tombstones_min=0)
    for n in range(9):
        author.put(f"k{n}", web(f"k{n}"))
        author.delete(f"k{n}")
    assert only(author.put("web-1", web())).floor > 0
    assert author.rebase(2) == [a_record(epoch=2, seq=1, floor=0)]


def test_cleaning_never_comes_as_a_burst() -> None:
    author = an_author()
    for n in range(500):
        author.put(f"stable-{n}", web(f"stable-{n}"))
    longest, most = 0, 0
    for n in range(5_000):
        author.put(f"k{n}", web(f"k{n}"))
        longest = max(longest, len(author.delete(f"k{n}")))
        most = max(most, author.tombstones)
    assert longest == 1 + CLEANED_PER_WRITE
    assert most <= 2 * len(author)


def test_an_owner_at_its_quota_can_go_on_replacing_instances_for_ever() -> None:
    author = an_author(tombstones_min=64)
    replica = Replica()
    for n in range(LIVE_RECORDS_PER_OWNER_MAX):
        replica.merge(*author.put(f"k{n}", web(f"k{n}")))
    written = 0
    for n in range(3_000):
        for record in (*author.delete(f"k{n}"), *author.put(f"new-{n}", web(f"new-{n}"))):
            replica.merge(record)
            written += 1
        assert len(author) + author.tombstones < RECORDS_PER_OWNER_MAX
    assert replica.store.refused == {}
    assert written <= 3_000 * 2 * 4


def test_too_many_records_are_refused_and_change_nothing() -> None:
    author = an_author()
    for n in range(LIVE_RECORDS_PER_OWNER_MAX):
        author.put(f"k{n}", web(f"k{n}"))
    with pytest.raises(
        RequestError, match=r"'more' would make 3073 records of one node, expected at most 3072"
    ) as error:
        author.put("more", web("more"))
    assert error.value.code == "quota"
    assert (len(author), author.content("more")) == (LIVE_RECORDS_PER_OWNER_MAX, None)
    assert only(author.put("k0", web("k0", port=81))).version == Version(1, LIVE_RECORDS_PER_OWNER_MAX + 1)


def test_a_record_too_large_is_refused_and_changes_nothing() -> None:
    author = an_author()
    with pytest.raises(RequestError, match=f"bytes in one record, expected at most {RECORD_BYTES_MAX}"):
        author.put("info", NodeInfo(software="x" * RECORD_BYTES_MAX))
    assert only(author.put("web-1", web())).version.seq == 1


def test_too_many_bytes_are_refused_and_change_nothing() -> None:
    author = an_author()
    large = NodeInfo(software="x" * 16_000)
    for n in range(LIVE_RECORD_BYTES_PER_OWNER_MAX // 16_100):
        author.put(f"k{n}", large)
    with pytest.raises(RequestError, match="bytes in the records of one node") as error:
        author.put("more", large)
    assert error.value.code == "quota"
    assert author.content("more") is None
    author.put("k0", web("k0"))
    assert author.put("more", large) != []


def test_a_former_self_of_the_same_epoch_is_outbid_by_issuing_everything_anew() -> None:
    author = an_author()
    author.put("web-1", web())
    author.put("gone", web("gone"))
    author.delete("gone")
    zombie = a_record("zombie", seq=100)
    answer = author.outbid(zombie)
    assert answer == [a_record(seq=101, floor=100)]
    replica = Replica()
    replica.merge(zombie, *answer)
    replica.store.handle_timer(now=100.0)
    assert [record.key for record in replica.store.all()] == ["web-1"]


def test_a_former_self_is_outbid_even_when_we_publish_nothing() -> None:
    assert an_author().outbid(a_record("zombie", seq=100)) == [a_tombstone("zombie", seq=101, floor=100)]


def test_a_former_self_of_an_earlier_epoch_needs_no_answer() -> None:
    assert an_author(epoch=2).outbid(a_record(epoch=1, seq=100)) == []


@pytest.mark.parametrize("foreign", [a_record(epoch=3), a_record(epoch=2, seq=2**53 - 1)])
def test_a_former_self_that_cannot_be_outbid_in_this_epoch_takes_a_later_one(foreign: Record) -> None:
    author = an_author(epoch=2)
    author.put("web-1", web())
    assert author.outbid(foreign) is None
    assert author.rebase(4) == [a_record(epoch=4)]
    assert only(author.put("b", web("b"))).version == Version(4, 2)


def test_what_is_written_is_what_the_encoder_made() -> None:
    contents: list[Content] = [web(), NodeInfo(software="1")]
    author = an_author()
    for seq, content in enumerate(contents, start=1):
        assert only(author.put(f"k{seq}", content)) == encode_plainly(BOB, Version(1, seq), 0, f"k{seq}", content)
