"""The names of things: nodes, addresses, versions. Small immutable values, checked once, where they enter."""

import ipaddress
import re
from typing import NamedTuple, NewType

NodeId = NewType("NodeId", str)
"""A node's name: a DNS label in lower case (RFC 1123), 1 to 63 bytes, unique in its cluster."""

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)

LABEL_RULE = "a DNS label: 1 to 63 of a-z, 0-9 and '-', neither first nor last a '-'"


class Incarnation(NamedTuple):
    """How new a claim about a member is: later epoch first, then later counter. Only the member raises its own.

    *epoch* is fixed for one run of a daemon (milliseconds since 1970 or more, persisted); *counter* grows with each refutation.
    """

    epoch: int
    counter: int


class Version(NamedTuple):
    """How new a record of an owner is: the owner's epoch, then a sequence number that grows with each of its writes."""

    epoch: int
    seq: int


class Address(NamedTuple):
    """Where a daemon listens: *host* is an IP address in its canonical text form, *port* is 1 to 65535."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_label(text: str) -> bool:
    """Return whether *text* is a DNS label in lower case, 1 to 63 bytes (RFC 1123 section 2.1)."""
    return _LABEL.fullmatch(text) is not None


def parse_address(text: str, *, default_port: int) -> Address:
    """Return the address in *text*: an IPv4 or IPv6 address, with or without a port; IPv6 with a port is bracketed.

    Raises: ValueError if the host is not an IP address or the port is not 1 to 65535.
    """
    host, port = split_host_port(text, default_port=default_port)
    return Address(str(ipaddress.ip_address(host)), port)


def split_host_port(text: str, *, default_port: int) -> tuple[str, int]:
    """Return host (a name or an IP address, without brackets) and port (0 to 65535) of *text*; resolves nothing.

    Raises: ValueError if the host is empty, a bracket is unmatched, or the port is not a number from 0 to 65535.
    """
    host, port = text, ""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r}, expected [IPv6]:PORT")
        port = rest[1:]
        if rest and not port:
            raise ValueError(f"{text!r}, expected a port after ':'")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
        if not port:
            raise ValueError(f"{text!r}, expected a port after ':'")
    if not host:
        raise ValueError(f"{text!r}, expected a host before the port")
    if not port:
        return host, default_port
    if not (port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise ValueError(f"{text!r}, expected a port from 0 to 65535")
    return host, int(port)
