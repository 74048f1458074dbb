"""Datagrams in and out. What cannot be sent is dropped and counted, as the network would do; nothing raises for it."""

import errno
import socket
from collections import Counter
from collections.abc import Callable, Sequence

import trio

from gossipd.ids import Address
from gossipd.limits import DATAGRAM_BYTES_MAX, MEMBERS_MAX
from gossipd.shell import addresses
from gossipd.shell.log import Log

DATAGRAMS_PER_WAKE_MAX = 64
"""Datagrams read from one socket before other tasks have their turn: at 50 microseconds each, about 3 ms."""

ROUTES_MAX = 2 * MEMBERS_MAX
"""Targets whose socket is remembered; past it all are looked up again."""

ERROR_PAUSE_MIN_S, ERROR_PAUSE_MAX_S = 0.005, 1.0
"""Pause after a failed read, doubled each time until one succeeds (memberlist's, which has it for TCP only)."""

Receive = Callable[[bytes, Address], None]
"""Takes one datagram and its source. An oversized one comes cut, one byte longer than DATAGRAM_BYTES_MAX."""


class Udp:
    """The UDP *sockets*, bound and non-blocking, which become ours to close."""

    def __init__(self, sockets: Sequence[socket.socket], *, log: Log) -> None:
        self._sockets = list(sockets)
        self._log = log
        self._receive: Receive | None = None
        self._routes: dict[Address, tuple[socket.socket, tuple[str, int]]] = {}
        self._unreachable: set[socket.AddressFamily] = set()  # families that we warned of
        self.send_errors: Counter[str] = Counter()
        """Datagrams not sent, by the name of the error (EAGAIN, ENETUNREACH ...), or "address", or "no_socket"."""
        self.receive_errors: Counter[str] = Counter()

    def send(self, data: bytes, target: Address) -> None:
        """Send *data* to *target* now or never."""
        route = self._routes.get(target) or self._find_route(target)
        if route is None:
            return
        try:
            route[0].sendto(data, route[1])
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, "unknown")
            self.send_errors[name] += 1
            if error.errno not in (errno.EAGAIN, errno.ENOBUFS):
                self._log.debug("datagram not sent", target=target, error=name)

    def drain(self) -> None:
        """Receive what has arrived already, up to DATAGRAMS_PER_WAKE_MAX of each socket. Does nothing before `run`."""
        if self._receive is not None:
            for each in self._sockets:
                self._read_some(each, self._receive)

    async def run(self, receive: Receive) -> None:
        """Hand every datagram to *receive*, until cancelled; then close the sockets."""
        self._receive = receive
        try:
            async with trio.open_nursery() as nursery:
                for each in self._sockets:
                    nursery.start_soon(self._read, each, receive)
        finally:
            self.close()

    def close(self) -> None:
        self._receive = None
        for each in self._sockets:
            each.close()

    async def _read(self, source: socket.socket, receive: Receive) -> None:
        pause_s = ERROR_PAUSE_MIN_S
        while True:
            await trio.lowlevel.wait_readable(source)
            if self._read_some(source, receive):
                pause_s = ERROR_PAUSE_MIN_S
            else:
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, ERROR_PAUSE_MAX_S)

    def _read_some(self, source: socket.socket, receive: Receive) -> bool:
        """Receive until nothing is left or it is others' turn; return False if the socket reported an error."""
        for _ in range(DATAGRAMS_PER_WAKE_MAX):
            try:
                data, sockaddr = source.recvfrom(DATAGRAM_BYTES_MAX + 1)
            except (BlockingIOError, InterruptedError):
                return True
            except OSError as error:
                name = errno.errorcode.get(error.errno or 0, "unknown")
                self.receive_errors[name] += 1
                self._log.warning("datagrams cannot be received", error=name)
                return False
            receive(data, addresses.from_sockaddr(sockaddr))
        return True

    def _find_route(self, target: Address) -> tuple[socket.socket, tuple[str, int]] | None:
        """Return, and remember, the socket for *target* and what `sendto` takes."""
        if len(self._routes) >= ROUTES_MAX:
            self._routes.clear()
        try:
            kind, sockaddr = addresses.to_sockaddr(target)
        except ValueError as error:
            self.send_errors["address"] += 1
            self._log.debug("datagram not sent", target=target, error=error)
            return None
        best = self._best_socket(kind, sockaddr[0])
        if best is None:
            self.send_errors["no_socket"] += 1
            if kind not in self._unreachable:
                self._unreachable.add(kind)
                self._log.warning("no socket for addresses of this kind, see bind", target=target)
            return None
        self._routes[target] = (best, sockaddr)
        return best, sockaddr

    def _best_socket(self, kind: socket.AddressFamily, host: str) -> socket.socket | None:
        """Return the socket of family *kind* to send to *host*: bound to all interfaces, or loopback for loopback."""
        found = [each for each in self._sockets if each.family == kind]
        for each in found:
            bound = addresses.canonical(each.getsockname()[0])
            if addresses.is_unspecified(bound) or addresses.is_loopback(bound) == addresses.is_loopback(host):
                return each
        return found[0] if found else None
