"""What the data directory's files say: JSON out, and untrusted JSON in, checked field by field.

Each file is one object with "format": 1. A reader raises ValueError for whatever is not exactly right: a torn, edited
or hostile file is then set aside as a whole, because half a file is a lie.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gossipd.ids import Address, NodeId, is_label
from gossipd.limits import INTEGER_MAX, LABELS_MAX, PEER_BOOK_MAX, RECORDS_PER_OWNER_MAX
from gossipd.node.peers import PeerEntry
from gossipd.records import Service
from gossipd.shell.addresses import canonical
from gossipd.validation import check_service

FORMAT = 1

IDENTITY_BYTES_MAX = 4_096

PEERS_BYTES_MAX = 4 * 1024 * 1024
"""PEER_BOOK_MAX entries of at most 63 + 45 + 5 + 20 bytes and punctuation, 150 B each: 1.5 MB, with room."""

REGISTRATIONS_BYTES_MAX = 32 * 1024 * 1024
"""RECORD_BYTES_PER_OWNER_MAX, 4 MiB, of encoded records; JSON may write a control character in six bytes."""

AGE_MAX_S = 100 * 365 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who we were when we last started."""

    name: NodeId
    epoch: int


def encode_identity(identity: Identity) -> bytes:
    return _encode({"format": FORMAT, "name": identity.name, "epoch": identity.epoch})


def decode_identity_untrusted(data: bytes) -> Identity:
    """Raises: ValueError."""
    fields = _decode(data, "name", "epoch")
    return Identity(name=_name(fields["name"]), epoch=_integer(fields["epoch"], "epoch", 1, INTEGER_MAX))


def encode_peers(peers: Sequence[PeerEntry], *, saved_ms: int) -> bytes:
    """*saved_ms*: the wall clock, because ages have to go on growing while nobody runs."""
    rows = [[peer.name, peer.address.host, peer.address.port, round(peer.age_s, 1)] for peer in peers]
    return _encode({"format": FORMAT, "saved_ms": saved_ms, "peers": rows})


def decode_peers_untrusted(data: bytes, *, now_ms: int) -> list[PeerEntry]:
    """Return the peers, older by the time since they were saved. Raises: ValueError."""
    fields = _decode(data, "saved_ms", "peers")
    away_s = max(0, now_ms - _integer(fields["saved_ms"], "saved_ms", 0, INTEGER_MAX)) / 1000
    peers: dict[NodeId, PeerEntry] = {}
    for row in _list(fields["peers"], "peers", PEER_BOOK_MAX):
        if not isinstance(row, list) or len(row) != 4:
            raise ValueError("peers, expected entries of name, host, port and age")
        name = _name(row[0])
        address = Address(canonical(_text(row[1], "host")), _integer(row[2], "port", 1, 65_535))
        age_s = _seconds(row[3], "age_s")
        peers[name] = PeerEntry(name=name, address=address, age_s=min(age_s + away_s, AGE_MAX_S))
    return list(peers.values())


def encode_registrations(services: Sequence[Service]) -> bytes:
    rows = [
        {
            "name": service.name,
            "id": service.id,
            "port": service.port,
            "address": service.address,
            "protocol": service.protocol,
            "tags": service.tags,
            "metadata": service.metadata,
            "weight": service.weight,
        }
        for service in services
    ]
    return _encode({"format": FORMAT, "services": rows})


def decode_registrations_untrusted(data: bytes) -> list[Service]:
    """Raises: ValueError."""
    fields = _decode(data, "services")
    services = [_service(row) for row in _list(fields["services"], "services", RECORDS_PER_OWNER_MAX)]
    if len({service.id for service in services}) < len(services):
        raise ValueError("services, expected each id once")
    return services


def _service(row: object) -> Service:
    expected = {"name", "id", "port", "address", "protocol", "tags", "metadata", "weight"}
    if not isinstance(row, dict) or row.keys() != expected:
        raise ValueError("services, expected entries with " + ", ".join(sorted(expected)))
    metadata: list[tuple[str, str]] = []
    for pair in _list(row["metadata"], "metadata", LABELS_MAX):
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError("metadata, expected pairs")
        metadata.append((_text(pair[0], "metadata"), _text(pair[1], "metadata")))
    service = Service(
        name=_text(row["name"], "name"),
        id=_text(row["id"], "id"),
        port=_integer(row["port"], "port", 1, 65_535),
        address=None if row["address"] is None else _text(row["address"], "address"),
        protocol=_text(row["protocol"], "protocol"),
        tags=tuple(_text(tag, "tags") for tag in _list(row["tags"], "tags", LABELS_MAX)),
        metadata=tuple(metadata),
        weight=_integer(row["weight"], "weight", 0, 65_535),
    )
    return check_service(service)


def _encode(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _decode(data: bytes, *names: str) -> dict[str, Any]:
    """Return the object in *data*, which must have exactly "format" and *names*. Raises: ValueError."""
    try:
        fields = json.loads(data.decode(), parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(fields, dict) or fields.keys() != {"format", *names}:
        raise ValueError("expected an object with format, " + ", ".join(names))
    if fields["format"] != FORMAT or isinstance(fields["format"], bool):
        raise ValueError(f"format={str(fields['format'])[:64]}, expected {FORMAT}")
    return fields


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _name(value: object) -> NodeId:
    if not isinstance(value, str) or not is_label(value):
        raise ValueError("name, expected a DNS label")
    return NodeId(value)


def _text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{field}, expected text")
    return value


def _list(value: object, field: str, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError(f"{field}, expected a list of at most {most}")
    return value


def _integer(value: object, field: str, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{field}, expected a number from {least} to {most}")
    return value


def _seconds(value: object, field: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= AGE_MAX_S:
        raise ValueError(f"{field}, expected 0 to {AGE_MAX_S:g} seconds")
    assert math.isfinite(value)
    return float(value)
