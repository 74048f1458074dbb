"""Connections to what is checked: TCP, Unix sockets, TLS. Names are looked up on each try, over both families."""

import errno
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from gossipd.check_targets import address_text
from gossipd.checks import CheckResult, Grpc, Http, Tcp, Unix
from gossipd.records import Health
from gossipd.shell.checkers.attempt import Attempt, Failed, reason_of

ADDRESSES_MAX = 4
"""Addresses of one name that one try goes to; more of them are for balancing, and say nothing new of a health."""

STAGGER_S = 0.25
"""Seconds that the next address waits for the one before (RFC 8305 section 8)."""

LOOKUPS_MAX = 16
"""Lookups, and so threads, at once. One that nobody waits for any more keeps its thread until the system gives up."""


async def try_tcp(target: Tcp, attempt: Attempt, network: "Network") -> CheckResult:
    """Pass if the port accepts a connection. Raises: Failed."""
    host, port = attempt.place(target.host, target.port)
    (await network.connect(host, port, attempt)).close()
    return attempt.result(Health.PASSING, f"connected to {address_text(host, port)}")


async def try_unix(target: Unix, attempt: Attempt) -> CheckResult:
    """Pass if the Unix socket accepts a connection. Raises: Failed."""
    attempt.doing = f"connecting to {target.path}"
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            await connection.connect(target.path)
            connection.getpeername()
        except OSError as error:
            full = error.errno == errno.ENOTCONN  # what is left of EAGAIN: Linux does not wait for a place in the queue
            why = "its queue of connections is full" if full else reason_of(error)
            raise Failed(f"cannot connect to {target.path}: {why}") from None
    return attempt.result(Health.PASSING, f"connected to {target.path}")


class Network:
    """What all tries share: how many names are looked up at once, and what TLS trusts."""

    def __init__(self) -> None:
        self._lookups = trio.CapacityLimiter(LOOKUPS_MAX)
        self._contexts: dict[tuple[bool, bool], ssl.SSLContext] = {}

    async def connect(self, host: str, port: int, attempt: Attempt) -> trio.socket.SocketType:
        """Return a socket that is connected to *host*, a name or an address: to that of its addresses which answers first.

        Raises: Failed.
        """
        places = await self._look_up(host, port, attempt)
        attempt.doing = f"connecting to {address_text(host, port)}"
        connected, errors = await _connect_first(places)
        if connected is None:
            raise Failed(f"cannot connect to {address_text(host, port)}: {'; '.join(dict.fromkeys(errors))}")
        return connected

    @asynccontextmanager
    async def stream(
        self, target: Http | Grpc, host: str, port: int, attempt: Attempt, *, tls: bool
    ) -> AsyncIterator[trio.abc.Stream]:
        """A connection to *host*, closed at the end; with *tls*, proven as *target* asks for. Raises: Failed, also for what
        breaks it within."""
        with await self.connect(host, port, attempt) as connected:
            stream = trio.SocketStream(connected)
            try:
                yield await self._start_tls(stream, target, host, attempt) if tls else stream
            except (OSError, trio.BrokenResourceError) as error:
                words = f"the connection broke while {attempt.doing}: {reason_of(error)}"
                raise Failed(f"{words}\n{attempt.seen}") from None

    async def _start_tls(
        self, stream: trio.SocketStream, target: Http | Grpc, host: str, attempt: Attempt
    ) -> trio.SSLStream[trio.SocketStream]:
        attempt.doing = "agreeing on TLS"
        context = await self._context(skip_verify=target.tls_skip_verify, http2=isinstance(target, Grpc))
        name = target.tls_server_name or host
        tls = trio.SSLStream(stream, context, server_hostname=name, https_compatible=True)
        try:
            await tls.do_handshake()
        except trio.BrokenResourceError as error:
            cause = error.__cause__
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise Failed(f"the certificate is not accepted: {cause.verify_message}") from None
            if isinstance(cause, ssl.SSLError) and cause.reason:
                raise Failed(f"no TLS: {cause.reason.lower().replace('_', ' ')}") from None
            raise
        return tls

    async def _look_up(self, host: str, port: int, attempt: Attempt) -> list[tuple[int, tuple[str, int]]]:
        """Return families and addresses of *host*, families in turn. Raises: Failed."""
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                socket.inet_pton(family, host)
            except OSError:
                continue
            return [(family, (host, port))]
        attempt.doing = f"looking up {host}"

        def ask() -> list[tuple[int, tuple[str, int]]]:
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return list(dict.fromkeys((row[0], (str(row[4][0]), port)) for row in rows))

        try:
            found = await trio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=self._lookups)
        except (OSError, UnicodeError) as error:
            raise Failed(f"{host} cannot be resolved: {reason_of(error)}") from None
        of_family = [[row for row in found if row[0] == family] for family in dict.fromkeys(row[0] for row in found)]
        longest = max(map(len, of_family), default=0)
        return [rows[turn] for turn in range(longest) for rows in of_family if turn < len(rows)][:ADDRESSES_MAX]

    async def _context(self, *, skip_verify: bool, http2: bool) -> ssl.SSLContext:
        """Return the one context for such connections: to read the system's certificates takes milliseconds and a megabyte."""
        if (skip_verify, http2) not in self._contexts:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            if skip_verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            else:
                await trio.to_thread.run_sync(context.load_default_certs)
            if http2:
                context.set_alpn_protocols(["h2"])
            self._contexts[skip_verify, http2] = context
        return self._contexts[skip_verify, http2]


async def _connect_first(
    places: list[tuple[int, tuple[str, int]]],
) -> tuple[trio.socket.SocketType | None, list[str]]:
    """Return a connection to the first of *places* that answers, if any, and why the others did not."""
    errors: list[str] = []
    connected: list[trio.socket.SocketType] = []

    async def connect_one(family: int, place: tuple[str, int]) -> None:
        made = trio.socket.socket(family, socket.SOCK_STREAM)
        try:
            await made.connect(place)
        except OSError as error:
            errors.append(reason_of(error))
        else:
            connected.append(made)
        finally:
            if made not in connected[:1]:
                made.close()

    async def join(family: int, place: tuple[str, int], tried: trio.Event) -> None:
        await connect_one(family, place)
        tried.set()
        if connected:
            nursery.cancel_scope.cancel()

    if len(places) == 1:  # as most are: to race one costs half of a tcp try again
        await connect_one(*places[0])
        return (connected[0] if connected else None), errors
    try:
        async with trio.open_nursery() as nursery:
            for family, place in places:
                tried = trio.Event()
                nursery.start_soon(join, family, place, tried)
                with trio.move_on_after(STAGGER_S):
                    await tried.wait()
    except BaseException:
        for each in connected:
            each.close()
        raise
    return (connected[0] if connected else None), errors
