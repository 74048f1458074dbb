"""The fields of messages and records: how each is written in msgpack, and the checks that every decoder shares.

Checks raise ValueError; only the `decode_..._untrusted` functions, which use them, turn it into MalformedPacket.
"""

import ipaddress
from functools import lru_cache
from typing import Any

import msgpack

from gossipd.errors import MalformedPacket
from gossipd.ids import LABEL_RULE, Address, Incarnation, NodeId, Version, is_label
from gossipd.limits import INTEGER_MAX, MEMBERS_MAX
from gossipd.validation import check_integer, shown

FIELDS_MAX = 16
"""Elements of any array: the longest message has 11. So no header can make a decoder reserve more than 128 bytes."""

NAME_CHARACTERS_MAX = 63
"""A node's name is a DNS label; what is longer is not looked at, and not kept."""

UNPACK_ERRORS = (msgpack.UnpackException, ValueError, TypeError, OverflowError, RecursionError)
"""What msgpack may raise for bytes that are not msgpack, or nest or promise too much."""


def unpacker(data: bytes) -> msgpack.Unpacker:
    """Return an unpacker fed with *data* that knows no maps, no extension types, and reserves nothing on a promise."""
    reader = msgpack.Unpacker(
        None,
        use_list=False,
        max_buffer_size=max(1, len(data)),
        max_array_len=FIELDS_MAX,
        max_map_len=0,
        max_ext_len=0,
    )
    reader.feed(data)
    return reader


def malformed(error: BaseException) -> MalformedPacket:
    """Return what is to be raised in place of *error*."""
    return MalformedPacket(str(error) or type(error).__name__)


def node_id(field: str, value: object) -> NodeId:
    """Return *value* as a node's name, of which one is kept however many messages bear it. Raises: ValueError."""
    name = _name(value) if type(value) is str and len(value) <= NAME_CHARACTERS_MAX else None
    if name is None:
        raise ValueError(f"{field}={shown(value)}, expected {LABEL_RULE}")
    return name


@lru_cache(maxsize=MEMBERS_MAX)
def _name(text: str) -> NodeId | None:
    return NodeId(text) if is_label(text) else None


def binary(field: str, value: object, least: int, most: int) -> bytes:
    """Return *value*, a byte string of *least* to *most* bytes. Raises: ValueError."""
    if type(value) is not bytes or not least <= len(value) <= most:
        raise ValueError(f"{field}={shown(value)}, expected {least} to {most} bytes")
    return value


def boolean(field: str, value: object) -> bool:
    """Return *value*, true or false. Raises: ValueError."""
    if type(value) is not bool:
        raise ValueError(f"{field}={shown(value)}, expected true or false")
    return value


def hashes(field: str, value: object, least: int, most: int) -> bytes:
    """Return *value*, a byte string of *least* to *most* hashes of 8 bytes. Raises: ValueError."""
    data = binary(field, value, least * 8, most * 8)
    if len(data) % 8:
        raise ValueError(f"{field} of {len(data)} bytes, expected a multiple of 8")
    return data


def incarnation(epoch: Any, counter: Any) -> Incarnation:
    """Return the incarnation. Raises: ValueError."""
    return Incarnation(check_integer("epoch", epoch, 0, INTEGER_MAX), check_integer("counter", counter, 0, INTEGER_MAX))


def version(epoch: Any, seq: Any) -> Version:
    """Return the version. Raises: ValueError."""
    return Version(check_integer("epoch", epoch, 0, INTEGER_MAX), check_integer("seq", seq, 1, INTEGER_MAX))


def address(host: object, port: Any) -> Address:
    """Return the address: *host* is packed, 4 bytes or 16. Raises: ValueError."""
    return Address(_host_text(binary("host", host, 4, 16)), check_integer("port", port, 1, 65_535))


@lru_cache(maxsize=MEMBERS_MAX)
def host_bytes(host: str) -> bytes:
    """Return *host*, an IP address in text, packed. Raises: ValueError."""
    return ipaddress.ip_address(host).packed


@lru_cache(maxsize=MEMBERS_MAX)
def _host_text(packed: bytes) -> str:
    """Return a packed IP address in canonical text. Raises: ValueError."""
    if len(packed) == 4:
        return str(ipaddress.IPv4Address(packed))
    if len(packed) != 16:
        raise ValueError(f"host of {len(packed)} bytes, expected 4 or 16")
    ip = ipaddress.IPv6Address(packed)
    if ip.ipv4_mapped is not None:
        raise ValueError(f"host={ip}, expected {ip.ipv4_mapped}: an IPv4 address in its own form")
    return str(ip)
