"""What a service, a label or a record's key may hold: one place, for what peers send and what local clients register.

Every check raises ValueError whose text names the field, the value and what was expected. Decides nothing about bytes.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import replace

from gossipd.ids import LABEL_RULE, is_label
from gossipd.limits import (
    LABEL_KEY_BYTES_MAX,
    LABEL_VALUE_BYTES_MAX,
    LABELS_MAX,
    REASON_BYTES_MAX,
    RECORD_KEY_BYTES_MAX,
    SERVICE_ID_BYTES_MAX,
)
from gossipd.records import NodeInfo, Service

HOST_BYTES_MAX = 253
"""A host name without a dot at its end (RFC 1035 section 2.3.4: 255 in DNS's own form)."""

SHOWN_CHARACTERS_MAX = 64
"""How much of a wrong value an error repeats."""

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_CONTROLS_BUT_LINES = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_HOST_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?", re.ASCII)


def check_service(service: Service) -> Service:
    """Return *service* with its tags sorted and unique, its metadata sorted by key, its address in canonical form.

    Raises: ValueError, "port=0, expected 1 to 65535", for the first field that is wrong in type, range or length.
    """
    _label("name", service.name)
    check_text("id", service.id, bytes_max=SERVICE_ID_BYTES_MAX)
    check_integer("port", service.port, 1, 65_535)
    address = None if service.address is None else check_host("address", service.address)
    _label("protocol", service.protocol)
    tags = _tags(service.tags)
    metadata = check_labels(service.metadata, field="metadata")
    check_integer("weight", service.weight, 0, 65_535)
    check_reason(service.state.reason)
    if (address, tags, metadata) == (service.address, service.tags, service.metadata):
        return service
    return replace(service, address=address, tags=tags, metadata=metadata)


def check_node_info(info: NodeInfo) -> NodeInfo:
    """Return *info* with its labels sorted by key. Raises: ValueError."""
    check_text("software", info.software, bytes_min=0, bytes_max=LABEL_KEY_BYTES_MAX)
    check_reason(info.reason)
    labels = check_labels(info.labels)
    return info if labels == info.labels else replace(info, labels=labels)


def check_labels(pairs: Iterable[tuple[str, str]], *, field: str = "labels") -> tuple[tuple[str, str], ...]:
    """Return *pairs* of key and value sorted by key: at most LABELS_MAX, each key once.

    Raises: ValueError that names *field*, and the key where there is one.
    """
    labels: dict[str, str] = {}
    for name, value in pairs:
        key = check_text(f"{field} key", name, bytes_max=LABEL_KEY_BYTES_MAX)
        if key in labels:
            raise ValueError(f"{field} key={shown(key)}, expected each key once")
        if len(labels) == LABELS_MAX:
            raise ValueError(f"{field}: more than {LABELS_MAX} entries, expected at most {LABELS_MAX}")
        labels[key] = _value(f"{field}[{shown(key)}]", value)
    return tuple(sorted(labels.items()))


def check_reason(reason: str) -> str:
    """Return *reason*, text for people of at most REASON_BYTES_MAX bytes. Raises: ValueError."""
    return check_text("reason", reason, bytes_min=0, bytes_max=REASON_BYTES_MAX)


def check_record_key(key: str) -> str:
    """Return *key*, 1 to RECORD_KEY_BYTES_MAX bytes of text without control characters. Raises: ValueError."""
    return check_text("key", key, bytes_max=RECORD_KEY_BYTES_MAX)


def check_text(field: str, value: str, *, bytes_min: int = 1, bytes_max: int) -> str:
    """Return *value*, text without control characters of *bytes_min* to *bytes_max* UTF-8 bytes. Raises: ValueError."""
    _string(field, value)
    if _CONTROLS.search(value):
        raise ValueError(f"{field}={shown(value)}, expected no control characters")
    if not bytes_min <= len(value.encode()) <= bytes_max:
        raise ValueError(f"{field}={shown(value)}, expected {bytes_min} to {bytes_max} bytes of UTF-8")
    return value


def check_integer(field: str, value: int, least: int, most: int) -> int:
    """Return *value*, an int (no bool, no float) from *least* to *most*. Raises: ValueError."""
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{field}={shown(value)}, expected {least} to {most}")
    return value


def check_host(field: str, value: str) -> str:
    """Return *value*: an IP address in canonical form, or a host name (RFC 1123 section 2.1) in lower case.

    Raises: ValueError.
    """
    _string(field, value)
    expected = f"{field}={shown(value)}, expected an IP address or a host name of at most {HOST_BYTES_MAX} bytes"
    if len(value) > HOST_BYTES_MAX or "%" in value:
        raise ValueError(expected)
    try:
        ip = ipaddress.ip_address(value)
    except ValueError:
        labels = value.split(".")
        if labels[-1].isdigit() or not all(map(_HOST_LABEL.fullmatch, labels)):
            raise ValueError(expected) from None
        return value.lower()
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        raise ValueError(f"{field}={shown(value)}, expected {ip.ipv4_mapped}: an IPv4 address in its own form")
    return str(ip)


def _label(field: str, value: str) -> None:
    _string(field, value)
    if not is_label(value):
        raise ValueError(f"{field}={shown(value)}, expected {LABEL_RULE}")


def _value(field: str, value: str) -> str:
    """Return the value of a label or metadata entry: text that may have lines and tabs, and may be empty."""
    _string(field, value)
    if _CONTROLS_BUT_LINES.search(value):
        raise ValueError(f"{field}={shown(value)}, expected no control characters but tabs and line ends")
    if len(value.encode()) > LABEL_VALUE_BYTES_MAX:
        raise ValueError(f"{field}={shown(value)}, expected at most {LABEL_VALUE_BYTES_MAX} bytes of UTF-8")
    return value


def _tags(tags: Iterable[str]) -> tuple[str, ...]:
    if not isinstance(tags, tuple | list):
        raise ValueError(f"tags={shown(tags)}, expected a list of text")
    unique = sorted({check_text("tags", tag, bytes_max=LABEL_KEY_BYTES_MAX) for tag in tags})
    if len(unique) > LABELS_MAX:
        raise ValueError(f"tags: {len(unique)} tags, expected at most {LABELS_MAX}")
    return tuple(unique)


def _string(field: str, value: str) -> None:
    if type(value) is not str:
        raise ValueError(f"{field}={shown(value)}, expected text")


def shown(value: object) -> str:
    """Return *value* as an error repeats it: in one line of ASCII, and not all of a long one."""
    if isinstance(value, str | bytes):
        text = ascii(value[:SHOWN_CHARACTERS_MAX])
        whole = len(value) <= SHOWN_CHARACTERS_MAX and len(text) <= SHOWN_CHARACTERS_MAX + len("b''")
        return text if whole else f"{text[:SHOWN_CHARACTERS_MAX]}..."
    if isinstance(value, int) and value.bit_length() > 64:
        return f"a number of {value.bit_length()} bits"
    return str(value) if value is None or isinstance(value, int | float) else f"a {type(value).__name__}"
