"""What the data directory's files say: JSON out, and untrusted JSON in, checked field by field.

Each file is one object with its "format". A reader raises ValueError for whatever is not exactly right: a torn, edited
or hostile file is then set aside as a whole, because half a file is a lie.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gossipd.check_reading import check_as_map, read_checks
from gossipd.checks import Check
from gossipd.ids import Address, NodeId, is_label
from gossipd.limits import (
    DECISIONS_MAX,
    INTEGER_MAX,
    LABELS_MAX,
    PEER_BOOK_MAX,
    RECORDS_PER_OWNER_MAX,
    SERVICE_ID_BYTES_MAX,
)
from gossipd.node.decisions import StoredDecision
from gossipd.node.peers import PeerEntry
from gossipd.node.registrations import Kept, KeptRegistration
from gossipd.records import Mode, Service
from gossipd.shell.addresses import canonical
from gossipd.validation import check_reason, check_service, check_text

FORMAT = 1

REGISTRATIONS_FORMAT = 2
"""With checks and decisions; files of format 1, which had services alone, are still read."""

IDENTITY_BYTES_MAX = 4_096

PEERS_BYTES_MAX = 4 * 1024 * 1024
"""PEER_BOOK_MAX entries of at most 63 + 45 + 5 + 20 bytes and punctuation, 150 B each: 1.5 MB, with room."""

REGISTRATIONS_BYTES_MAX = 192 * 1024 * 1024
"""RECORD_BYTES_PER_OWNER_MAX, 4 MiB, of encoded records, where JSON may write a control character in six bytes: 24 MiB; CHECKS_MAX
checks of 36 KiB, most of it a body of such characters: 144 MiB; DECISIONS_MAX decisions of 1 KiB: 4 MiB."""

AGE_MAX_S = 100 * 365 * 86_400.0

_MODES = {Mode.DRAINING: "draining", Mode.MAINTENANCE: "maintenance"}


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


def encode_registrations(kept: Kept, *, saved_ms: int) -> bytes:
    """*saved_ms*: the wall clock, because drains have to go on while nobody runs."""
    services = [_service_as_map(each.service) | _checks_as_map(each.checks) for each in kept.registrations]
    decisions = [
        {
            "id": each.subject,
            "mode": _MODES[each.mode],
            "reason": each.reason,
            "age_s": round(each.age_s, 3),
            "deadline_s": each.deadline_s,
        }
        for each in kept.decisions
    ]
    fields = {"format": REGISTRATIONS_FORMAT, "saved_ms": saved_ms, "services": services, "decisions": decisions}
    return _encode(fields)


def decode_registrations_untrusted(data: bytes, *, now_ms: int) -> Kept:
    """Return what was kept, decisions older by the time since they were saved. Raises: ValueError."""
    fields = _object(data)
    if fields.get("format") == FORMAT:
        _expect_fields(fields, FORMAT, "services")
        return Kept(registrations=_registrations(fields["services"]))
    _expect_fields(fields, REGISTRATIONS_FORMAT, "saved_ms", "services", "decisions")
    away_s = max(0, now_ms - _integer(fields["saved_ms"], "saved_ms", 0, INTEGER_MAX)) / 1000
    decisions = tuple(_decision(row, away_s) for row in _list(fields["decisions"], "decisions", DECISIONS_MAX))
    if len({decision.subject for decision in decisions}) < len(decisions):
        raise ValueError("decisions, expected each id once")
    return Kept(registrations=_registrations(fields["services"]), decisions=decisions)


def _registrations(value: object) -> tuple[KeptRegistration, ...]:
    rows = _list(value, "services", RECORDS_PER_OWNER_MAX)
    found = tuple(_registration(row) for row in rows)
    if len({each.service.id for each in found}) < len(found):
        raise ValueError("services, expected each id once")
    return found


def _registration(row: object) -> KeptRegistration:
    checks: object = []
    if isinstance(row, dict) and "checks" in row:
        row = dict(row)
        checks = row.pop("checks")
    return KeptRegistration(service=_service(row), checks=read_checks(checks))


def _decision(row: object, away_s: float) -> StoredDecision:
    expected = {"id", "mode", "reason", "age_s", "deadline_s"}
    if not isinstance(row, dict) or row.keys() != expected:
        raise ValueError("decisions, expected entries with " + ", ".join(sorted(expected)))
    modes = {word: mode for mode, word in _MODES.items()}
    if _text(row["mode"], "mode") not in modes:
        raise ValueError("mode, expected " + " or ".join(modes))
    return StoredDecision(
        subject=None if row["id"] is None else check_text("id", row["id"], bytes_max=SERVICE_ID_BYTES_MAX),
        mode=modes[row["mode"]],
        reason=check_reason(row["reason"]),
        age_s=min(_seconds(row["age_s"], "age_s") + away_s, AGE_MAX_S),
        deadline_s=None if row["deadline_s"] is None else _seconds(row["deadline_s"], "deadline_s"),
    )


def _checks_as_map(checks: Sequence[Check]) -> dict[str, Any]:
    return {"checks": [check_as_map(check) for check in checks]} if checks else {}


def _service_as_map(service: Service) -> dict[str, Any]:
    return {
        "name": service.name,
        "id": service.id,
        "port": service.port,
        "address": service.address,
        "protocol": service.protocol,
        "tags": service.tags,
        "metadata": service.metadata,
        "weight": service.weight,
    }


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
    fields = _object(data)
    _expect_fields(fields, FORMAT, *names)
    return fields


def _object(data: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(data.decode(), parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(fields, dict):
        raise ValueError("expected an object")
    return fields


def _expect_fields(fields: dict[str, Any], number: int, *names: str) -> None:
    if fields.keys() != {"format", *names}:
        raise ValueError("expected an object with format, " + ", ".join(names))
    if fields["format"] != number or isinstance(fields["format"], bool):
        raise ValueError(f"format={str(fields['format'])[:64]}, expected {number}")


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
