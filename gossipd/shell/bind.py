"""Opening the daemon's sockets: for each bind address a TCP listener and a UDP socket on the same port."""

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from gossipd.errors import ConfigError
from gossipd.ids import Address
from gossipd.shell import addresses

PORT_TRIES = 10
"""Times that another port is drawn when the operating system's choice for TCP is taken for UDP (memberlist's 10)."""

LISTEN_BACKLOG = 128

RECEIVE_BUFFER_BYTES = 2 * 1024 * 1024
"""Asked for each UDP socket: 1,500 full datagrams, what 300 peers send while we are held up for half a second."""


@dataclass(frozen=True, slots=True)
class Bound:
    """Both sockets of one *address*, whose port is never 0."""

    address: Address
    tcp: socket.socket
    udp: socket.socket

    def close(self) -> None:
        self.tcp.close()
        self.udp.close()


def bind_all(wanted: Sequence[Address]) -> list[Bound]:
    """Return sockets for each of *wanted*; port 0 lets the system choose one port, the same for all that have port 0.

    Raises: ConfigError if an address cannot be bound; then nothing stays open.
    """
    tries = PORT_TRIES if any(address.port == 0 for address in wanted) else 1
    for left in reversed(range(tries)):
        try:
            return _bind_once(wanted)
        except _Taken as error:
            if left == 0 or not error.drawn:
                raise ConfigError(f"bind={error.address}, expected an address that can be bound: {error}") from None
    raise AssertionError("unreachable")


class _Taken(Exception):
    """*address* could not be bound; *drawn*: its port was the system's choice, so another try may succeed."""

    def __init__(self, address: Address, reason: str, *, drawn: bool) -> None:
        super().__init__(reason)
        self.address = address
        self.drawn = drawn


def _bind_once(wanted: Sequence[Address]) -> list[Bound]:
    drawn = 0
    bound: list[Bound] = []
    try:
        for address in wanted:
            one = _bind_one(address, port=address.port or drawn)
            if address.port == 0:
                drawn = one.address.port
            bound.append(one)
    except BaseException:
        for one in bound:
            one.close()
        raise
    return bound


def _bind_one(wanted: Address, *, port: int) -> Bound:
    """Return the sockets of one address: TCP first, because UDP then only has to be free at a port that TCP got."""
    tcp = udp = None
    address = Address(wanted.host, port)
    try:
        tcp = _socket(address, socket.SOCK_STREAM)
        tcp.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # or a restart waits for the last connections' TIME_WAIT
        tcp.bind(tuple(address))
        tcp.listen(LISTEN_BACKLOG)
        address = addresses.from_sockaddr(tcp.getsockname())
        udp = _socket(address, socket.SOCK_DGRAM)
        _raise_receive_buffer(udp)
        udp.bind(tuple(address))
    except OSError as error:
        for opened in (tcp, udp):
            if opened is not None:
                opened.close()
        drawn = wanted.port == 0 and error.errno == errno.EADDRINUSE
        raise _Taken(address, (error.strerror or str(error)).lower(), drawn=drawn) from None
    return Bound(address, tcp, udp)


def _socket(address: Address, kind: socket.SocketKind) -> socket.socket:
    opened = socket.socket(addresses.family(address.host), kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    if opened.family == socket.AF_INET6:  # one socket a family: no mapped addresses, and both families may share a port
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return opened


def _raise_receive_buffer(udp: socket.socket) -> None:
    """Ask for RECEIVE_BUFFER_BYTES; Linux grants what it allows, others refuse what is too much."""
    wanted = RECEIVE_BUFFER_BYTES
    while wanted > udp.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF):
        try:
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted)
            return
        except OSError:
            wanted //= 2
