"""Messages as bytes, and bytes as messages: msgpack, every type, range and length checked.

A message is one array [type, fields ...]; an envelope is the sender's name and the messages one after another, so that
sizes add up. The specification for a second implementation is docs/reference/wire.md.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeVar, assert_never

import msgpack

from gossipd.errors import MalformedPacket
from gossipd.ids import NodeId
from gossipd.limits import (
    AGE_S_MAX,
    INTEGER_MAX,
    MESSAGES_PER_DATAGRAM_MAX,
    PAYLOAD_BYTES_MAX,
    RECORD_BYTES_MAX,
    SIGNATURE_BYTES_MAX,
    STREAM_PAYLOAD_BYTES_MAX,
    SYNC_BUCKETS_MAX,
    SYNC_ITEMS_PER_FRAME_MAX,
)
from gossipd.records import Claim, Record, Status
from gossipd.validation import check_integer, shown
from gossipd.wire import fields
from gossipd.wire.fields import UNPACK_ERRORS, host_bytes, malformed, node_id, unpacker
from gossipd.wire.messages import (
    Ack,
    Announce,
    Envelope,
    Fetch,
    Message,
    Nack,
    Ping,
    PingRequest,
    Refutation,
    StreamMessage,
    SyncDiff,
    SyncItems,
    SyncOpen,
    Twin,
)
from gossipd.wire.records import decode_record_untrusted

PING, ACK, NACK, PING_REQUEST, CLAIM, RECORD, ANNOUNCE, TWIN, REFUTATION = range(1, 10)
SYNC_OPEN, SYNC_DIFF, SYNC_ITEMS, FETCH = range(16, 20)

EXTENSIONS = range(64, 128)
"""Types that later versions may add to datagrams and SyncItems: skipped by who does not know them. Others are an error."""

SEQUENCE_MAX = 2**32 - 1
WINDOW_MS_MAX = 600_000
CHECK_MAX = 2**32 - 1

Decoded = TypeVar("Decoded")


def encode_message(message: Message | StreamMessage) -> bytes:
    """Return *message* as one self-delimiting msgpack array. Trusts its values: they are ours, or were decoded here."""
    match message:
        case Ping():
            return _pack((PING, message.sequence, message.target))
        case Ack():
            return _pack((ACK, message.sequence))
        case Nack():
            return _pack((NACK, message.sequence))
        case PingRequest():
            return _pack((PING_REQUEST, message.sequence, message.target, message.window_ms))
        case Claim():
            return _encode_claim(message)
        case Record():
            signature = () if message.signature is None else (message.signature,)
            assert message.encoded, f"{message} was made without its bytes: use make_record"
            return _pack((RECORD, message.encoded, *signature))
        case Announce():
            return _pack((ANNOUNCE, message.owner, *message.version, message.digest))
        case Twin():
            return _pack((TWIN, *message.incarnation, host_bytes(message.address.host), message.address.port))
        case Refutation():
            return _pack((REFUTATION, message.member, message.counter, message.check))
        case SyncOpen():
            return _pack((SYNC_OPEN, message.buckets))
        case SyncDiff():
            indices = struct.pack(f">{len(message.buckets)}H", *message.buckets)
            counts = struct.pack(f">{len(message.hashes)}H", *(len(part) // 8 for part in message.hashes))
            return _pack((SYNC_DIFF, message.last, indices, counts, b"".join(message.hashes)))
        case SyncItems():
            return _pack((SYNC_ITEMS, message.last, b"".join(map(encode_message, message.items))))
        case Fetch():
            return _pack((FETCH, message.digests))
        case _:
            assert_never(message)


def sender_bytes(sender: NodeId) -> bytes:
    """Return what an envelope begins with; its length and those of the messages add up to the envelope's."""
    return _pack(sender)


def join_envelope(sender: NodeId, encoded: Sequence[bytes]) -> bytes:
    """Return the envelope of *sender* with *encoded*, the results of `encode_message`."""
    return b"".join((sender_bytes(sender), *encoded))


def decode_envelope_untrusted(data: bytes) -> Envelope:
    """Return what a datagram's payload says; messages of a type in EXTENSIONS are left out.

    Raises: MalformedPacket, and nothing else, whatever *data* is.
    """
    try:
        if len(data) > PAYLOAD_BYTES_MAX:
            raise MalformedPacket(f"payload of {len(data)} bytes, expected at most {PAYLOAD_BYTES_MAX}")
        reader = unpacker(data)
        sender = node_id("sender", reader.unpack())
        if reader.tell() == len(data):
            raise MalformedPacket("no message after the sender, expected one or more")
        messages = _decode_all(reader, len(data), _DATAGRAM, MESSAGES_PER_DATAGRAM_MAX)
    except UNPACK_ERRORS as error:
        raise malformed(error) from None
    return Envelope(sender=sender, messages=messages)


def decode_stream_untrusted(data: bytes) -> tuple[NodeId, StreamMessage]:
    """Return sender and message of a stream frame's payload.

    Raises: MalformedPacket, and nothing else, whatever *data* is.
    """
    try:
        if len(data) > STREAM_PAYLOAD_BYTES_MAX:
            raise MalformedPacket(f"payload of {len(data)} bytes, expected at most {STREAM_PAYLOAD_BYTES_MAX}")
        reader = unpacker(data)
        sender = node_id("sender", reader.unpack())
        message = _decode(reader.unpack(), _STREAM)
        if message is None or reader.tell() != len(data):
            raise MalformedPacket("a stream frame, expected exactly one message of a known type")
    except UNPACK_ERRORS as error:
        raise malformed(error) from None
    return sender, message


def _decode_all(
    reader: msgpack.Unpacker, size: int, decoders: Mapping[int, Callable[..., Decoded]], most: int
) -> tuple[Decoded, ...]:
    """Return all messages up to the end at *size*, extensions left out. Raises: MalformedPacket, and UNPACK_ERRORS."""
    decoded = []
    seen = 0
    while reader.tell() < size:  # a complete object or an exception: nothing cut off is passed over
        seen += 1
        if seen > most:
            raise MalformedPacket(f"more than {most} messages")
        message = _decode(reader.unpack(), decoders)
        if message is not None:
            decoded.append(message)
    return tuple(decoded)


def _decode(body: object, decoders: Mapping[int, Callable[..., Decoded]]) -> Decoded | None:
    """Return the message in *body*; None if it is an extension."""
    if type(body) is not tuple or not body or type(body[0]) is not int:
        raise MalformedPacket(f"message={shown(body)}, expected an array that begins with its type")
    decoder = decoders.get(body[0])
    if decoder is None:
        if body[0] in EXTENSIONS:
            return None
        raise MalformedPacket(f"type={shown(body[0])}, expected one that may stand here")
    try:
        return decoder(*body[1:])
    except TypeError:  # only the number of arguments: the decoders below check each one's type before they use it
        raise MalformedPacket(f"type {body[0]} with {len(body) - 1} fields") from None


def _pack(value: object) -> bytes:
    packed: bytes = msgpack.packb(value)
    return packed


def _sequence(value: Any) -> int:
    return check_integer("sequence", value, 0, SEQUENCE_MAX)


def _ping(sequence: Any, target: Any, /) -> Ping:
    return Ping(sequence=_sequence(sequence), target=node_id("target", target))


def _ack(sequence: Any, /) -> Ack:
    return Ack(sequence=_sequence(sequence))


def _nack(sequence: Any, /) -> Nack:
    return Nack(sequence=_sequence(sequence))


def _ping_request(sequence: Any, target: Any, window_ms: Any, /) -> PingRequest:
    return PingRequest(
        sequence=_sequence(sequence),
        target=node_id("target", target),
        window_ms=check_integer("window_ms", window_ms, 1, WINDOW_MS_MAX),
    )


def _encode_claim(claim: Claim) -> bytes:
    """ALIVE ends after the protocols, LEFT with the age, SUSPECT and DEAD with age and accuser."""
    evidence: tuple[object, ...] = (claim.age_s, claim.accuser)
    if claim.status in (Status.ALIVE, Status.LEFT):
        assert claim.accuser == claim.member, f"{claim}: nobody else can claim that"
        assert claim.age_s == 0 or claim.status is Status.LEFT, f"{claim}: an age of what is not over"
        evidence = () if claim.status is Status.ALIVE else (claim.age_s,)
    return _pack(
        (
            CLAIM,
            claim.member,
            *claim.incarnation,
            int(claim.status),
            host_bytes(claim.address.host),
            claim.address.port,
            claim.protocol_min,
            claim.protocol_max,
            *evidence,
        )
    )


def _claim(
    member: Any, epoch: Any, counter: Any, status: Any, host: Any, port: Any, least: Any, most: Any, /, *evidence: Any
) -> Claim:
    name = node_id("member", member)
    status = Status(check_integer("status", status, Status.ALIVE, Status.LEFT))
    expected = {Status.ALIVE: 0, Status.LEFT: 1}.get(status, 2)
    if len(evidence) != expected:
        raise ValueError(f"claim {status.name} with {8 + len(evidence)} fields, expected {8 + expected}")
    least = check_integer("protocol_min", least, 1, 255)
    return Claim(
        member=name,
        incarnation=fields.incarnation(epoch, counter),
        status=status,
        address=fields.address(host, port),
        accuser=node_id("accuser", evidence[1]) if expected == 2 else name,
        protocol_min=least,
        protocol_max=check_integer("protocol_max", most, least, 255),
        age_s=check_integer("age_s", evidence[0], 0, AGE_S_MAX) if expected else 0,
    )


def _record(encoded: Any, /, *signature: Any) -> Record:
    if len(signature) > 1:
        raise ValueError(f"record with {1 + len(signature)} fields, expected 1 or 2")
    signed = fields.binary("signature", signature[0], 1, SIGNATURE_BYTES_MAX) if signature else None
    return decode_record_untrusted(fields.binary("record", encoded, 1, RECORD_BYTES_MAX), signed)


def _announce(owner: Any, epoch: Any, seq: Any, digest: Any, /) -> Announce:
    return Announce(
        owner=node_id("owner", owner), version=fields.version(epoch, seq), digest=fields.hashes("digest", digest, 1, 1)
    )


def _twin(epoch: Any, counter: Any, host: Any, port: Any, /) -> Twin:
    return Twin(incarnation=fields.incarnation(epoch, counter), address=fields.address(host, port))


def _refutation(member: Any, counter: Any, check: Any, /) -> Refutation:
    return Refutation(
        member=node_id("member", member),
        counter=check_integer("counter", counter, 0, INTEGER_MAX),
        check=check_integer("check", check, 0, CHECK_MAX),
    )


def _sync_open(buckets: Any, /) -> SyncOpen:
    count = len(fields.hashes("buckets", buckets, 1, SYNC_BUCKETS_MAX)) // 8
    if count & (count - 1):
        raise ValueError(f"{count} buckets, expected a power of two")
    return SyncOpen(buckets=buckets)


def _sync_diff(last: Any, indices: Any, counts: Any, hashes: Any, /) -> SyncDiff:
    buckets = _numbers("indices", indices)
    if any(this >= following for this, following in pairwise(buckets)) or buckets[-1:] >= (SYNC_BUCKETS_MAX,):
        raise ValueError(f"indices, expected ascending ones below {SYNC_BUCKETS_MAX}")
    lengths = _numbers("counts", counts)
    fields.hashes("hashes", hashes, 0, SYNC_ITEMS_PER_FRAME_MAX)
    if len(lengths) != len(buckets) or sum(lengths) * 8 != len(hashes):
        raise ValueError("counts, expected one for each index, and as many hashes in all")
    parts = []
    start = 0
    for length in lengths:
        parts.append(hashes[start : start + length * 8])
        start += length * 8
    return SyncDiff(buckets=buckets, hashes=tuple(parts), last=fields.boolean("last", last))


def _numbers(field: str, value: object) -> tuple[int, ...]:
    """Return the numbers of two bytes in *value*, one a bucket."""
    data = fields.binary(field, value, 0, 2 * SYNC_BUCKETS_MAX)
    if len(data) % 2:
        raise ValueError(f"{field} of {len(data)} bytes, expected a multiple of 2")
    return struct.unpack(f">{len(data) // 2}H", data)


def _sync_items(last: Any, items: Any, /) -> SyncItems:
    data = fields.binary("items", items, 0, STREAM_PAYLOAD_BYTES_MAX)
    decoded = _decode_all(unpacker(data), len(data), _ITEM, SYNC_ITEMS_PER_FRAME_MAX)
    return SyncItems(items=decoded, last=fields.boolean("last", last))


def _fetch(digests: Any, /) -> Fetch:
    return Fetch(digests=fields.hashes("digests", digests, 1, SYNC_ITEMS_PER_FRAME_MAX))


_ITEM: Mapping[int, Callable[..., Claim | Record]] = {CLAIM: _claim, RECORD: _record}

_DATAGRAM: Mapping[int, Callable[..., Message]] = {
    PING: _ping,
    ACK: _ack,
    NACK: _nack,
    PING_REQUEST: _ping_request,
    CLAIM: _claim,
    RECORD: _record,
    ANNOUNCE: _announce,
    TWIN: _twin,
    REFUTATION: _refutation,
}

_STREAM: Mapping[int, Callable[..., StreamMessage]] = {
    PING: _ping,
    ACK: _ack,
    SYNC_OPEN: _sync_open,
    SYNC_DIFF: _sync_diff,
    SYNC_ITEMS: _sync_items,
    FETCH: _fetch,
}
