"""Messages as bytes: the bytes are pinned, every value survives the trip, and nothing but MalformedPacket leaves a decoder."""

import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipd.errors import MalformedPacket
from gossipd.ids import NodeId
from gossipd.limits import (
    MESSAGES_PER_DATAGRAM_MAX,
    PAYLOAD_BYTES_MAX,
    STREAM_PAYLOAD_BYTES_MAX,
    SYNC_BUCKETS_MAX,
    SYNC_ITEMS_PER_FRAME_MAX,
)
from gossipd.records import Claim, Record, Status
from gossipd.wire.codec import (
    decode_envelope_untrusted,
    decode_stream_untrusted,
    encode_message,
    join_envelope,
    sender_bytes,
)
from gossipd.wire.messages import Ack, Envelope, Fetch, Message, Ping, StreamMessage, SyncDiff, SyncItems, SyncOpen
from tests import strategies
from tests.wire.golden import ANN, BOB, BYTES, ENVELOPE_BYTES, MESSAGES, STREAM_MESSAGES

IP4 = b"\xc0\x00\x02\x07"
MAPPED = bytes(10) + b"\xff\xff" + IP4
ALIVE = [5, "bob", 1, 0, 0, IP4, 7950, 1, 1]
DEAD = [5, "bob", 1, 0, 2, IP4, 7950, 1, 1, 0, "ann"]


def packed(*objects: object) -> bytes:
    return b"".join(map(msgpack.packb, objects))


def changed(message: list[object], index: int, value: object) -> list[object]:
    return [*message[:index], value, *message[index + 1 :]]


@pytest.mark.parametrize("name", [*MESSAGES, *STREAM_MESSAGES])
def test_the_bytes_of_a_message_are_what_they_have_always_been(name: str) -> None:
    assert encode_message({**MESSAGES, **STREAM_MESSAGES}[name]) == BYTES[name]


@pytest.mark.parametrize("name", MESSAGES)
def test_the_bytes_of_old_still_mean_the_same_message(name: str) -> None:
    envelope = decode_envelope_untrusted(sender_bytes(ANN) + BYTES[name])
    assert envelope == Envelope(sender=ANN, messages=(MESSAGES[name],))


@pytest.mark.parametrize("name", STREAM_MESSAGES)
def test_the_bytes_of_old_still_mean_the_same_stream_message(name: str) -> None:
    assert decode_stream_untrusted(sender_bytes(ANN) + BYTES[name]) == (ANN, STREAM_MESSAGES[name])


def test_an_envelope_is_its_sender_and_its_messages_one_after_another() -> None:
    parts = [BYTES["ping"], BYTES["claim-alive"]]
    assert join_envelope(ANN, parts) == sender_bytes(ANN) + b"".join(parts) == ENVELOPE_BYTES


@given(strategies.envelopes.filter(lambda envelope: envelope.messages))
def test_what_a_datagram_says_survives_the_trip(envelope: Envelope) -> None:
    data = join_envelope(envelope.sender, [encode_message(message) for message in envelope.messages])
    if len(data) > PAYLOAD_BYTES_MAX:
        with pytest.raises(MalformedPacket, match="expected at most"):
            decode_envelope_untrusted(data)
    else:
        decoded = decode_envelope_untrusted(data)
        assert decoded == envelope
        assert [ages(message) for message in decoded.messages] == [ages(message) for message in envelope.messages]


def ages(message: Message) -> tuple[object, ...]:
    """What equality leaves out: the age of a claim, the bytes of a record."""
    return (getattr(message, "age_s", None), getattr(message, "encoded", None))


@given(strategies.node_ids, strategies.stream_messages)
def test_what_a_stream_frame_says_survives_the_trip(sender: str, message: StreamMessage) -> None:
    assert decode_stream_untrusted(join_envelope(NodeId(sender), [encode_message(message)])) == (
        sender,
        message,
    )


def test_a_record_is_relayed_byte_for_byte() -> None:
    record = MESSAGES["record-service"]
    assert isinstance(record, Record)
    [relayed] = decode_envelope_untrusted(join_envelope(BOB, [encode_message(record)])).messages
    assert isinstance(relayed, Record)
    assert relayed.encoded == record.encoded
    assert encode_message(relayed) == BYTES["record-service"]


@given(st.binary(max_size=256))
def test_no_bytes_make_anything_but_malformed_packet_leave(data: bytes) -> None:
    for prefix in (b"", sender_bytes(ANN), sender_bytes(ANN) + b"\x94\x12\xc3"):
        with suppress(MalformedPacket):
            decode_envelope_untrusted(prefix + data)
        with suppress(MalformedPacket):
            decode_stream_untrusted(prefix + data)


json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=16),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=24,
)


@given(st.integers(0, 22), st.lists(json_like, max_size=11))
def test_no_fields_make_anything_but_malformed_packet_leave(kind: int, fields: list[object]) -> None:
    data = packed("ann", [kind, *fields])
    with suppress(MalformedPacket):
        decode_envelope_untrusted(data)
    with suppress(MalformedPacket):
        decode_stream_untrusted(data)


@given(st.sampled_from(sorted(BYTES)), st.data())
def test_a_flipped_byte_is_refused_or_is_another_valid_message(name: str, data: st.DataObject) -> None:
    whole = bytearray(sender_bytes(ANN) + BYTES[name])
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(MalformedPacket):
        for message in decode_envelope_untrusted(bytes(whole)).messages:
            encode_message(message)
    with suppress(MalformedPacket):
        encode_message(decode_stream_untrusted(bytes(whole))[1])


@pytest.mark.parametrize("name", [*MESSAGES, *STREAM_MESSAGES])
def test_a_message_cut_at_any_length_or_with_a_tail_is_refused(name: str) -> None:
    decode = decode_envelope_untrusted if name in MESSAGES else decode_stream_untrusted
    whole = sender_bytes(ANN) + BYTES[name]
    for length in range(len(whole)):
        with pytest.raises(MalformedPacket):
            decode(whole[:length])
    for tail in (b"\x00", b"\xc0", b"\xc1", b"\x90", b"\x93\x01", b"\xdd\xff\xff\xff\xff"):
        with pytest.raises(MalformedPacket):
            decode(whole + tail)


def test_a_whole_message_before_a_cut_one_does_not_count() -> None:
    with pytest.raises(MalformedPacket):
        decode_envelope_untrusted(sender_bytes(ANN) + BYTES["ping"] + BYTES["claim-alive"][:-1])


def test_an_envelope_without_messages_is_refused() -> None:
    with pytest.raises(MalformedPacket, match="no message"):
        decode_envelope_untrusted(sender_bytes(ANN))
    with pytest.raises(MalformedPacket):
        decode_envelope_untrusted(b"")


@pytest.mark.parametrize(
    "message",
    [
        *([1, wrong, "bob"] for wrong in (-1, 2**32, 1.0, True, None, "1", [1], float("nan"))),
        *([1, 7, wrong] for wrong in ("", "Bob", "a" * 64, "-a", "a\n", b"bob", None, 7, "bob.")),
        *([4, 7, "bob", wrong] for wrong in (0, 600_001, 1.5, True)),
        *(changed(ALIVE, 2, wrong) for wrong in (-1, 2**53, 1.0, False)),
        *(changed(ALIVE, 3, wrong) for wrong in (-1, 2**53, None)),
        *(changed(ALIVE, 4, wrong) for wrong in (1, 2, 3, 4, -1, False)),
        *(changed(ALIVE, 5, wrong) for wrong in (b"", b"123", b"12345", b"1" * 15, b"1" * 17, "1.2.3.4", MAPPED)),
        *(changed(ALIVE, 6, wrong) for wrong in (0, 65_536, "80")),
        *([*ALIVE[:7], least, most] for least, most in ((0, 1), (2, 1), (1, 256), (True, 1))),
        [*ALIVE, 0],
        [*ALIVE, 0, "ann"],
        [*changed(ALIVE, 4, 3), 0, "ann"],
        DEAD[:-1],
        *(changed(DEAD, 9, wrong) for wrong in (-1, 2**32, None)),
        changed(DEAD, 10, "Ann"),
        *([7, "bob", 1, seq, b"12345678"] for seq in (0, 2**53)),
        *([7, "bob", 1, 1, wrong] for wrong in (b"", b"1234567", b"123456789", "12345678")),
        [8, 1, 0, IP4, 0],
        *([9, wrong, 1, 7] for wrong in ("Bob", "", 1, None)),
        *([9, "bob", wrong, 7] for wrong in (-1, 2**53, 1.0, True, None)),
        *([9, "bob", 1, wrong] for wrong in (-1, 2**32, b"1234", None)),
        [9, "bob", 1],
        [9, "bob", 1, 7, 7],
        *([6, wrong] for wrong in (b"", b"\xc0", b"\x90", "text", None, [1])),
        *([6, BYTES["record-tombstone"][4:], wrong] for wrong in (b"", b"1" * 129, None, "text")),
        [6, BYTES["record-tombstone"][4:], b"1", b"2"],
        [2],
        [2, 7, 7],
        [],
        ["1", 7],
        [True, 7, "bob"],
        [1.0, 7, "bob"],
        7,
        None,
        {"type": 1},
        msgpack.ExtType(5, b"x"),
        msgpack.Timestamp(1, 1),
    ],
    ids=repr,
)  # fmt: skip
def test_a_field_of_wrong_type_or_range_is_refused(message: object) -> None:
    with pytest.raises(MalformedPacket):
        decode_envelope_untrusted(packed("ann", message))


@pytest.mark.parametrize(
    "message",
    [
        *([16, wrong] for wrong in (b"", b"1234567", bytes(24), bytes(8 * 2 * SYNC_BUCKETS_MAX), "12345678", None)),
        [17, True, b"\0\5\0\5", b"\0\0\0\0", b""],
        [17, True, b"\0\5\0\4", b"\0\0\0\0", b""],
        [17, True, b"\x10\x00", b"\0\0", b""],
        [17, True, b"\0\5\0", b"\0\0", b""],
        [17, True, b"\0\5", b"\0\0\0\0", b""],
        [17, True, b"\0\5", b"\0\1", b""],
        [17, True, b"\0\5", b"\0\0", bytes(8)],
        [17, True, b"\0\5", b"\0\1", bytes(7)],
        [17, True, b"\0\5", b"\x10\x01", bytes(8 * (SYNC_ITEMS_PER_FRAME_MAX + 1))],
        [17, 1, b"", b"", b""],
        [18, None, b""],
        [18, True, BYTES["ping"]],
        [18, True, BYTES["claim-alive"][:-1]],
        [18, True, b"\xc0"],
        [18, True, [5]],
        [18, True, b"\x91\x40" * (SYNC_ITEMS_PER_FRAME_MAX + 1)],
        [19, b""],
        [19, bytes(9)],
        [19, bytes(8 * (SYNC_ITEMS_PER_FRAME_MAX + 1))],
        [64],
        [3, 7],
        ALIVE,
    ],
    ids=lambda message: repr(message)[:40],
)
def test_a_stream_message_out_of_its_bounds_is_refused(message: object) -> None:
    with pytest.raises(MalformedPacket):
        decode_stream_untrusted(packed("ann", message))


@pytest.mark.parametrize("kind", [0, 9, 16, 17, 18, 19, 63, 128, -1, 2**64 - 1])
def test_a_type_that_may_not_stand_in_a_datagram_is_refused(kind: int) -> None:
    with pytest.raises(MalformedPacket):
        decode_envelope_untrusted(packed("ann", [kind, 7]))


@pytest.mark.parametrize("extension", [[64], [127, 1, b"x", None, 2.5, ["y", [True]]]])
def test_an_extension_is_skipped_and_the_rest_is_heard(extension: list[object]) -> None:
    data = packed("ann", extension, [2, 7], extension)
    assert decode_envelope_untrusted(data) == Envelope(sender=ANN, messages=(Ack(sequence=7),))
    items = packed(ALIVE, extension)
    _, message = decode_stream_untrusted(packed("ann", [18, True, items]))
    assert isinstance(message, SyncItems)
    assert [type(item).__name__ for item in message.items] == ["Claim"]


@pytest.mark.parametrize("extension", [[64, {"a": 1}], [64, *range(16)], [64, msgpack.ExtType(5, b"x")]])
def test_an_extension_keeps_to_the_same_caps(extension: list[object]) -> None:
    with pytest.raises(MalformedPacket):
        decode_envelope_untrusted(packed("ann", extension))


def test_a_datagram_holds_no_more_messages_than_its_limit() -> None:
    ack = packed([2, 7])
    assert len(decode_envelope_untrusted(sender_bytes(ANN) + ack * MESSAGES_PER_DATAGRAM_MAX).messages) == 256
    with pytest.raises(MalformedPacket, match="more than 256"):
        decode_envelope_untrusted(sender_bytes(ANN) + ack * (MESSAGES_PER_DATAGRAM_MAX + 1))


@pytest.mark.parametrize(
    ("decode", "size"),
    [(decode_envelope_untrusted, PAYLOAD_BYTES_MAX), (decode_stream_untrusted, STREAM_PAYLOAD_BYTES_MAX)],
)
@pytest.mark.parametrize(
    "bomb",
    [
        b"\x91",  # nested for ever
        b"\x9f",
        b"\xdc\x00\x10",
        b"\xdc\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\x81\xa1a",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\xd6\xff\x00\x00\x00\x00",
    ],
    ids=bytes.hex,
)
def test_a_hostile_header_reserves_no_memory(decode: Callable[[bytes], object], size: int, bomb: bytes) -> None:
    head = sender_bytes(ANN)
    data = head + bomb * ((size - len(head)) // len(bomb))
    nested = sender_bytes(ANN) + packed([18, True, data[: size - 64]])
    tracemalloc.start()
    try:
        for hostile in (data, nested):
            with pytest.raises(MalformedPacket):
                decode(hostile)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000, peak


@pytest.mark.parametrize("status", [Status.ALIVE, Status.LEFT])
def test_nobody_but_the_member_can_be_encoded_as_the_source_of_its_own_word(status: Status) -> None:
    left = MESSAGES["claim-left"]
    assert isinstance(left, Claim)
    claim = replace(left, status=status, accuser=ANN, age_s=0)
    with pytest.raises(AssertionError, match="nobody else"):
        encode_message(claim)


def test_the_largest_sync_frames_fit_a_stream_frame() -> None:
    most = SYNC_ITEMS_PER_FRAME_MAX
    sender = NodeId("a" * 63)
    diff = SyncDiff(buckets=tuple(range(most)), hashes=(bytes(8),) * most)
    for message in (SyncOpen(buckets=bytes(8 * SYNC_BUCKETS_MAX)), diff, Fetch(digests=bytes(8 * most))):
        data = join_envelope(sender, [encode_message(message)])
        assert len(data) <= STREAM_PAYLOAD_BYTES_MAX
        assert decode_stream_untrusted(data) == (sender, message)


def test_a_record_without_its_bytes_is_never_sent() -> None:
    record = MESSAGES["record-node"]
    assert isinstance(record, Record)
    with pytest.raises(AssertionError, match="make_record"):
        encode_message(replace(record, encoded=b""))


def test_a_ping_is_small() -> None:
    assert len(join_envelope(ANN, [encode_message(Ping(sequence=2**32 - 1, target=BOB))])) == 15
