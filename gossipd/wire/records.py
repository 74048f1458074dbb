"""Records as bytes: made once by their owner, kept and relayed verbatim by everybody else.

A record is the msgpack array [owner, epoch, seq, floor, key, kind, content], or the first five for a tombstone. Content
is a byte string whose meaning belongs to its kind, so that a relay needs to know neither.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import msgpack

from gossipd.errors import MalformedPacket
from gossipd.ids import LABEL_RULE, NodeId, Version, is_label
from gossipd.limits import LABELS_MAX, RECORD_BYTES_MAX, SHARED_VALUES_MAX, SIGNATURE_BYTES_MAX
from gossipd.records import NORMAL_STATE, Content, Health, Mode, NodeInfo, Opaque, Record, Service, State
from gossipd.validation import check_integer, check_node_info, check_record_key, check_service, shown
from gossipd.wire import fields
from gossipd.wire.fields import FIELDS_MAX, UNPACK_ERRORS, malformed, node_id

SERVICE = "service"
SERVICE_KEY_PREFIX = "service/"
"""A service's record key is this and its id; the content does not repeat the id."""

NODE = "node"
NODE_KEY = "node"

STATE_MAX = 255
"""Largest number of a health or a mode, known or not."""


def make_record(
    owner: NodeId, version: Version, floor: int, key: str, content: Content | None, signature: bytes | None = None
) -> Record:
    """Return the record with its bytes; *content* None makes a tombstone. Tags, metadata and labels come out sorted.

    Raises: ValueError if any field is out of its range, *key* is not the one for *content*, or the encoded record is
    larger than RECORD_BYTES_MAX.
    """
    version = fields.version(*version)
    head = (node_id("owner", owner), *version, _floor(floor, version), check_record_key(key))
    if signature is not None:
        fields.binary("signature", signature, 1, SIGNATURE_BYTES_MAX)
    if content is None:
        encoded = _pack(head)
    else:
        content = _checked(content, key)
        encoded = _pack((*head, *_encode_content(content)))
    if len(encoded) > RECORD_BYTES_MAX:
        raise ValueError(f"record {shown(key)} of {len(encoded)} bytes, expected at most {RECORD_BYTES_MAX}")
    return Record(
        owner=owner, version=version, floor=floor, key=key, content=content, signature=signature, encoded=encoded
    )


def decode_record_untrusted(encoded: bytes, signature: bytes | None = None) -> Record:
    """Return the record in *encoded*, which it keeps. Raises: MalformedPacket, and nothing else."""
    try:
        return _decode(encoded, signature)
    except UNPACK_ERRORS as error:
        raise malformed(error) from None


def _decode(encoded: bytes, signature: bytes | None) -> Record:
    if len(encoded) > RECORD_BYTES_MAX:
        raise MalformedPacket(f"record of {len(encoded)} bytes, expected at most {RECORD_BYTES_MAX}")
    body = msgpack.unpackb(encoded, use_list=False, max_array_len=FIELDS_MAX, max_map_len=0, max_ext_len=0)
    if type(body) is not tuple or len(body) not in (5, 7):
        raise MalformedPacket("record, expected an array of 5 or 7")
    owner, epoch, seq, floor, key = body[:5]
    version = fields.version(epoch, seq)
    return Record(
        owner=node_id("owner", owner),
        version=version,
        floor=_floor(floor, version),
        key=check_record_key(key),
        content=None if len(body) == 5 else _decode_content(key, *body[5:]),
        signature=signature,
        encoded=encoded,
    )


def _floor(floor: int, version: Version) -> int:
    return check_integer("floor", floor, 0, version.seq - 1)


def _checked(content: Content, key: str) -> Content:
    """Return *content* in its normal form. Raises: ValueError if it is wrong, or *key* is not its key."""
    match content:
        case Service():
            if key != SERVICE_KEY_PREFIX + content.id:
                raise ValueError(f"key={shown(key)}, expected {SERVICE_KEY_PREFIX!r} and the service's id")
            return check_service(content)
        case NodeInfo():
            if key != NODE_KEY:
                raise ValueError(f"key={shown(key)}, expected {NODE_KEY!r}")
            return check_node_info(content)
        case Opaque():
            _kind(content.kind)
            if content.kind in (SERVICE, NODE):
                raise ValueError(f"kind={content.kind!r}, expected a kind that this version does not know")
            return content


def _kind(kind: object) -> str:
    if type(kind) is not str or not is_label(kind):
        raise ValueError(f"kind={shown(kind)}, expected {LABEL_RULE}")
    return kind


def _encode_content(content: Content) -> tuple[str, bytes]:
    """Return kind and bytes; what has its default value is left out."""
    match content:
        case Service():
            service: dict[str, object] = {"name": content.name, "port": content.port}
            if content.address is not None:
                service["address"] = content.address
            if content.protocol != "tcp":
                service["protocol"] = content.protocol
            if content.tags:
                service["tags"] = content.tags
            if content.metadata:
                service["metadata"] = dict(content.metadata)
            if content.weight != 1:
                service["weight"] = content.weight
            if content.state != NORMAL_STATE:
                service["state"] = _encode_state(content.state)
            return SERVICE, _pack(service)
        case NodeInfo():
            info: dict[str, object] = {}
            if content.labels:
                info["labels"] = dict(content.labels)
            if content.software:
                info["software"] = content.software
            state = State(mode=content.mode, reason=content.reason)
            if state != NORMAL_STATE:
                info["state"] = _encode_state(state)
            return NODE, _pack(info)
        case Opaque():
            return content.kind, content.data


def _decode_content(key: str, kind: object, data: object) -> Content:
    """Return the content. Fields of a map that we do not know are ignored; they stay in the record's bytes."""
    kind = _kind(kind)
    data = fields.binary("content", data, 0, RECORD_BYTES_MAX)
    if kind == SERVICE:
        if not key.startswith(SERVICE_KEY_PREFIX):
            raise ValueError(f"key={shown(key)}, expected {SERVICE_KEY_PREFIX!r} and the service's id")
        known = _unpack_map(data)
        service = check_service(
            Service(
                name=_required(known, "name"),
                id=key.removeprefix(SERVICE_KEY_PREFIX),
                port=_required(known, "port"),
                address=known.get("address"),
                protocol=known.get("protocol", "tcp"),
                tags=known.get("tags", ()),
                metadata=_pairs(known, "metadata"),
                weight=known.get("weight", 1),
                state=_decode_state(known.get("state", ())),
            )
        )
        return replace(
            service,
            name=_shared(service.name),
            protocol=_shared(service.protocol),
            tags=_shared(service.tags),
            metadata=_shared(service.metadata),
        )
    if kind == NODE:
        if key != NODE_KEY:
            raise ValueError(f"key={shown(key)}, expected {NODE_KEY!r}")
        known = _unpack_map(data)
        state = _decode_state(known.get("state", ()))
        info = check_node_info(
            NodeInfo(
                labels=_pairs(known, "labels"),
                software=known.get("software", ""),
                mode=state.mode,
                reason=state.reason,
            )
        )
        return replace(info, labels=_shared(info.labels), software=_shared(info.software))
    return Opaque(kind, data)


def _encode_state(state: State) -> list[object]:
    """Return health, mode, damped, reason; what has its default value at the end is left out."""
    parts = [int(state.health), int(state.mode), state.damped, state.reason]
    while parts and not parts[-1]:
        parts.pop()
    return parts


def _decode_state(value: object) -> State:
    """Return the state in *value*. What a later version adds to it means the worst that we know: send no work there."""
    if value == ():
        return NORMAL_STATE
    if type(value) is not tuple:
        raise ValueError(f"state={shown(value)}, expected an array")
    health, mode, damped, reason = (*value, *(0, 0, False, "")[len(value) :])[:4]
    return State(
        health=Health(min(check_integer("health", health, 0, STATE_MAX), Health.CRITICAL)),
        mode=Mode(min(check_integer("mode", mode, 0, STATE_MAX), Mode.MAINTENANCE)),
        damped=fields.boolean("damped", damped),
        reason=reason,
    )


def _unpack_map(data: bytes) -> dict[str, Any]:
    known = msgpack.unpackb(
        data,
        use_list=False,
        object_pairs_hook=_unique,
        max_array_len=LABELS_MAX,
        max_map_len=LABELS_MAX,
        max_ext_len=RECORD_BYTES_MAX,
    )
    if type(known) is not dict:
        raise ValueError(f"content={shown(known)}, expected a map")
    return known


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """Return a map of *pairs*. Raises: ValueError if a key comes twice: decoders would differ on which holds."""
    known = dict(pairs)
    if len(known) != len(pairs):
        raise ValueError("a map with a key twice, expected each once")
    return known


def _required(known: dict[str, Any], name: str) -> Any:
    if name not in known:
        raise ValueError(f"no {name}, expected one")
    return known[name]


def _pairs(known: dict[str, Any], name: str) -> tuple[tuple[str, str], ...]:
    found = known.get(name, {})
    if type(found) is not dict:
        raise ValueError(f"{name}={shown(found)}, expected a map")
    return tuple(found.items())


@lru_cache(maxsize=SHARED_VALUES_MAX)
def _shared(value: Any) -> Any:
    """Return *value* as it was first decoded: it is kept once, however many instances have the same name, tags or metadata.

    It must have been checked: kept unchecked, 16 KiB that nest arrays would be 700 kB here.
    """
    return value


def _pack(value: object) -> bytes:
    packed: bytes = msgpack.packb(value)
    return packed
