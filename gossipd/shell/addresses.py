"""Addresses as the operating system wants them, and back; which of our own addresses others should use.

Never resolves a name: an address that came from a peer goes no further than `ipaddress`.
"""

import ipaddress
import socket
from collections.abc import Sequence

from gossipd.ids import Address

_DOCUMENTATION = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Hosts that are never reached (RFC 5737, RFC 3849): connecting a UDP socket to one only asks for the route."""


def canonical(host: str) -> str:
    """Return the IP address *host* in canonical text, an IPv4-mapped one as IPv4. Raises: ValueError if it is none."""
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def from_sockaddr(sockaddr: tuple[object, ...]) -> Address:
    """Return the address in what `recvfrom`, `accept` or `getsockname` gave for an IP socket."""
    host, port = str(sockaddr[0]), sockaddr[1]
    assert isinstance(port, int)
    return Address(canonical(host) if ":" in host else host, port)


def to_sockaddr(target: Address) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """Return the family of *target* and what `sendto` and `connect` take.

    Raises: ValueError if it is no IP address or not one of a single host, or the port is not 1 to 65535.
    """
    host = canonical(target.host)
    address = ipaddress.ip_address(host)
    if address.is_multicast or address.is_unspecified or host == "255.255.255.255":
        raise ValueError(f"{host}, expected the address of one host")
    if not 1 <= target.port <= 65_535:
        raise ValueError(f"port {target.port}, expected 1 to 65535")
    return family(host), (host, target.port)


def family(host: str) -> socket.AddressFamily:
    """Return the family of the IP address *host*."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback


def is_unspecified(host: str) -> bool:
    return ipaddress.ip_address(host).is_unspecified


def primary_host(kind: socket.AddressFamily) -> str | None:
    """Return this host's address of family *kind* on the way to the world; None without a route. Sends nothing."""
    try:
        with socket.socket(kind, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
            probe.connect((_DOCUMENTATION[kind], 9))
            host = str(probe.getsockname()[0])
    except OSError:
        return None
    return None if is_unspecified(host) else host


def advertised(bound: Sequence[Address]) -> Address:
    """Return the address of *bound*, one or more, that others should use.

    The first that is a single host's and not loopback; else the primary address of the host, if one is bound to all
    interfaces; else loopback.
    """
    for address in bound:
        if not is_loopback(address.host) and not is_unspecified(address.host):
            return address
    for address in bound:
        if is_unspecified(address.host):
            host = primary_host(family(address.host))
            if host is not None:
                return Address(host, address.port)
    for address in bound:
        if is_loopback(address.host):
            return address
    return Address("::1" if family(bound[0].host) is socket.AF_INET6 else "127.0.0.1", bound[0].port)
