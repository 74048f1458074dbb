"""Records as bytes: kept verbatim, bounded, and the same whoever reads them."""

import tracemalloc
from collections.abc import Mapping
from contextlib import suppress

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipd.errors import MalformedPacket
from gossipd.ids import NodeId, Version
from gossipd.limits import LABELS_MAX, RECORD_BYTES_MAX
from gossipd.records import NORMAL_STATE, Content, Health, Mode, NodeInfo, Opaque, Record, Service, State
from gossipd.wire.records import decode_record_untrusted, make_record
from tests import strategies
from tests.wire.golden import BOB, RECORDS

THIRD = Version(1, 3)


def encoded(**changes: object) -> bytes:
    """The bytes of a service's record, with some of its parts exchanged; *content* is packed if it is a map."""
    parts = {
        "owner": "bob",
        "epoch": 1,
        "seq": 3,
        "floor": 1,
        "key": "service/web-1",
        "kind": "service",
        "content": {"name": "web", "port": 80},
    } | changes
    if isinstance(parts["content"], Mapping):
        parts["content"] = msgpack.packb(parts["content"])
    packed: bytes = msgpack.packb(list(parts.values()))
    return packed


def service(**fields: object) -> bytes:
    return encoded(content={"name": "web", "port": 80} | fields)


@given(strategies.records())
def test_a_record_survives_the_trip_with_its_bytes(record: Record) -> None:
    decoded = decode_record_untrusted(record.encoded, record.signature)
    assert decoded == record
    assert decoded.encoded == record.encoded


@given(strategies.records())
def test_what_was_decoded_is_encoded_the_same_again(record: Record) -> None:
    decoded = decode_record_untrusted(record.encoded)
    again = make_record(decoded.owner, decoded.version, decoded.floor, decoded.key, decoded.content)
    assert again.encoded == record.encoded


@given(st.binary(max_size=128))
def test_no_bytes_make_anything_but_malformed_packet_leave(data: bytes) -> None:
    for candidate in (data, encoded(content=data), encoded(kind="node", key="node", content=data)):
        with suppress(MalformedPacket):
            decode_record_untrusted(candidate)


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_cut_at_any_length_or_with_a_tail_is_refused(name: str) -> None:
    whole = RECORDS[name].encoded
    for length in range(len(whole)):
        with pytest.raises(MalformedPacket):
            decode_record_untrusted(whole[:length])
    for tail in (b"\x00", b"\xc1", b"\xc4"):
        with pytest.raises(MalformedPacket):
            decode_record_untrusted(whole + tail)


def test_fields_that_a_later_version_adds_to_a_service_are_ignored_and_kept() -> None:
    data = service(colour="red", later={"a": [1.5, None]}, stamp=msgpack.Timestamp(1, 1))
    record = decode_record_untrusted(data)
    assert record.content == Service(name="web", id="web-1", port=80)
    assert record.encoded == data


@pytest.mark.parametrize(
    ("state", "read"),
    [
        ([], State()),
        ([1], State(health=Health.WARNING)),
        ([0, 1], State(mode=Mode.DRAINING)),
        ([0, 0, True], State(damped=True)),
        ([0, 2, False, "new disk"], State(mode=Mode.MAINTENANCE, reason="new disk")),
        ([3, 0], State(health=Health.CRITICAL)),
        ([0, 255], State(mode=Mode.MAINTENANCE)),
        ([1, 0, False, "", {"later": 1}], State(health=Health.WARNING)),
    ],
)
def test_what_a_later_version_adds_to_a_state_means_the_worst_that_is_known(state: object, read: State) -> None:
    content = decode_record_untrusted(service(state=state)).content
    assert content == Service(name="web", id="web-1", port=80, state=read)
    info = decode_record_untrusted(encoded(kind="node", key="node", content={"state": state})).content
    assert info == NodeInfo(mode=read.mode, reason=read.reason)


def test_what_nothing_is_said_of_is_one_value_in_memory() -> None:
    content = decode_record_untrusted(service()).content
    assert isinstance(content, Service)
    assert content.state is NORMAL_STATE


def test_what_instances_have_in_common_is_one_value_in_memory() -> None:
    alike = {"name": "common", "protocol": "udp", "tags": ["v1"], "metadata": {"build": "1234"}}
    records = [decode_record_untrusted(service(port=port, **alike)) for port in (80, 81)]
    assert records[0].owner is records[1].owner
    first, second = (record.content for record in records)
    assert isinstance(first, Service)
    assert isinstance(second, Service)
    for name in alike:
        assert getattr(first, name) is getattr(second, name), name


@pytest.mark.parametrize("field", ["name", "protocol", "tags", "metadata"])
def test_nothing_of_content_that_is_wrong_is_kept(field: str) -> None:
    """Arrays in arrays take 56 times as much memory as bytes: 64 such records would take 50 MB."""
    tracemalloc.start()
    for number in range(64):
        nested: object = f"{field} {number}"
        for _ in range(500):
            nested = [nested]
        wrong = {"key": [nested] * 30} if field == "metadata" else [nested] * 30
        with pytest.raises(MalformedPacket, match=field):
            decode_record_untrusted(service(**{field: wrong}))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1_000_000


def test_what_nodes_have_in_common_is_one_value_in_memory() -> None:
    alike = {"labels": {"zone": "a"}, "software": "0.1.0"}
    first, second = (
        decode_record_untrusted(encoded(owner=owner, kind="node", key="node", content=alike)).content
        for owner in ("ann", "bob")
    )
    assert isinstance(first, NodeInfo)
    assert isinstance(second, NodeInfo)
    for name in alike:
        assert getattr(first, name) is getattr(second, name), name


def test_a_content_of_unknown_kind_is_kept() -> None:
    assert decode_record_untrusted(encoded(kind="flag", content=b"\xc1?")).content == Opaque("flag", b"\xc1?")


def test_tags_and_metadata_in_any_order_mean_the_same_service() -> None:
    record = decode_record_untrusted(service(tags=["v2", "a", "v2"], metadata={"b": "2", "a": "1"}))
    tidy = Service(name="web", id="web-1", port=80, tags=("a", "v2"), metadata=(("a", "1"), ("b", "2")))
    assert record.content == tidy


@pytest.mark.parametrize(
    "data",
    [
        *(encoded(owner=wrong) for wrong in ("", "Bob", b"bob", 1)),
        *(encoded(epoch=wrong) for wrong in (-1, 2**53, 1.0, True)),
        *(encoded(seq=wrong) for wrong in (0, -1, 2**53, True, "3")),
        *(encoded(floor=wrong) for wrong in (3, 4, -1, None, False)),
        *(encoded(key=wrong) for wrong in ("", "web-1", "service/", "node", "service/" + "x" * 129, "service/a\n", b"service/x")),
        *(encoded(kind=wrong) for wrong in ("", "Kind", b"service", None)),
        *(encoded(content=wrong) for wrong in (b"", b"\x90", b"\xc0", "text", None, [1])),
        *(service(name=wrong) for wrong in ("", "Web", "a.b", None, b"web")),
        *(service(port=wrong) for wrong in (0, 65_536, 80.0, True, "80")),
        *(service(address=wrong) for wrong in ("", "a b", "1.2.3.256", "::ffff:1.2.3.4", "fe80::1%eth0", "-a", 7)),
        *(service(protocol=wrong) for wrong in ("", "TCP", None)),
        *(service(tags=wrong) for wrong in ("blue", {"a": "b"}, [1], [""], ["a\n"], ["x" * 129], None)),
        service(tags=[str(number) for number in range(LABELS_MAX + 1)]),
        *(service(metadata=wrong) for wrong in ([], [["a", "b"]], {"a": 1}, {"": "a"}, {b"a": "b"}, {"a": "x" * 1025}, None)),
        service(metadata={str(number): "" for number in range(LABELS_MAX + 1)}),
        *(service(weight=wrong) for wrong in (-1, 65_536, True, 1.0)),
        *(service(state=wrong) for wrong in (0, "critical", {"health": 2}, None, [-1], [256], ["2"], [True], [0, -1], [0, None])),
        *(service(state=[0, 0, *wrong]) for wrong in ([0], [None], [False, 1], [False, "a\n"], [False, "x" * 257])),
        encoded(kind="node", key="node", content={"state": [0, "draining"]}),
        encoded(content=b"\x82\xa4name\xa3web\xa4name\xa3web"),
        encoded(content=b"\x83\xa4name\xa3web\xa4port\x50\xa4port\x50"),
        encoded(content={"port": 80}),
        encoded(content={"name": "web"}),
        encoded(kind="node"),
        encoded(kind="node", key="node", content={"labels": []}),
        encoded(kind="node", key="node", content={"labels": {"a": 1}}),
        encoded(kind="node", key="node", content={"software": "x" * 129}),
        msgpack.packb(["bob", 1, 3, 1]),
        msgpack.packb(["bob", 1, 3, 1, "a", "flag"]),
        msgpack.packb(["bob", 1, 3, 1, "a", "flag", b"", b""]),
        msgpack.packb({"owner": "bob"}),
        encoded(content=b"x" * RECORD_BYTES_MAX, kind="flag"),
    ],
    ids=lambda data: data[-48:].hex(),
)  # fmt: skip
def test_a_record_of_wrong_form_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedPacket):
        decode_record_untrusted(data)


@pytest.mark.parametrize(
    ("version", "floor", "key", "content", "expected"),
    [
        (THIRD, 3, "a", None, "floor=3, expected 0 to 2"),
        (THIRD, -1, "a", None, "floor=-1, expected 0 to 2"),
        (Version(1, 0), 0, "a", None, "seq=0, expected 1 to 9007199254740991"),
        (THIRD, 0, "", None, "key='', expected 1 to 160 bytes of UTF-8"),
        (THIRD, 0, "a\x00b", None, "key='a\\x00b', expected no control characters"),
        (THIRD, 0, "x" * 161, None, "expected 1 to 160 bytes"),
        (THIRD, 0, "service/b", Service(name="web", id="a", port=80), "key='service/b', expected 'service/'"),
        (THIRD, 0, "service/a", Service(name="web", id="a", port=0), "port=0, expected 1 to 65535"),
        (THIRD, 0, "labels", NodeInfo(), "key='labels', expected 'node'"),
        (THIRD, 0, "node", Opaque("node", b""), "kind='node', expected a kind that this version does not know"),
        (THIRD, 0, "a", Opaque("Flag", b""), "kind='Flag', expected a DNS label"),
    ],
)
def test_a_wrong_record_is_not_made(version: Version, floor: int, key: str, content: Content, expected: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        make_record(BOB, version, floor, key, content)
    assert expected in str(caught.value)


def test_a_record_is_made_up_to_its_limit_and_not_beyond() -> None:
    room = RECORD_BYTES_MAX - len(make_record(BOB, THIRD, 0, "a", Opaque("flag", bytes(256))).encoded) + 256
    assert len(make_record(BOB, THIRD, 0, "a", Opaque("flag", bytes(room))).encoded) == RECORD_BYTES_MAX
    with pytest.raises(ValueError, match="16385 bytes, expected at most 16384"):
        make_record(BOB, THIRD, 0, "a", Opaque("flag", bytes(room + 1)))


def test_a_made_record_holds_the_content_that_its_readers_will_see() -> None:
    untidy = Service(name="web", id="a", port=80, address="DB.Example", tags=("b", "a", "b"))
    record = make_record(NodeId("bob"), THIRD, 0, "service/a", untidy)
    assert decode_record_untrusted(record.encoded) == record
