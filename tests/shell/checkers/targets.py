"""Runs one check against a real target on loopback, and targets that do what a test says."""

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gossipd.check_reading import read_checks
from gossipd.checks import Check, CheckResult
from gossipd.records import Service
from gossipd.shell.checkers.runner import Checkers

WEB = Service(name="web", id="web-1", port=1)


Handler = Callable[[trio.SocketStream], Awaitable[None]]


class Results:
    """What Checkers reported, by run."""

    def __init__(self) -> None:
        self.by_run: dict[int, list[CheckResult]] = {}
        self._changed = trio.Event()

    def finished(self, run: int, result: CheckResult) -> None:
        self.by_run.setdefault(run, []).append(result)
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, runs: int) -> None:
        with trio.fail_after(30):
            while len(self.by_run) < runs:
                await self._changed.wait()


@asynccontextmanager
async def checkers(*, scripts: bool = True) -> AsyncIterator[tuple[Checkers, Results]]:
    """Checkers that serve, and what they report. At the end nothing may be under way."""
    results = Results()
    made = Checkers(results.finished, scripts=scripts)
    async with trio.open_nursery() as nursery:
        await nursery.start(made.serve)
        yield made, results
        assert len(made) == 0
        nursery.cancel_scope.cancel()


def check_of(written: object) -> Check:
    return read_checks([written])[0]


async def try_once(
    written: object, *, port: int = 1, host: str = "127.0.0.1", scripts: bool = True, service: Service = WEB
) -> CheckResult:
    """Return what the check as *written* brings for a service at *host* and *port*; it must be told once."""
    async with checkers(scripts=scripts) as (runner, results):
        named = Service(name=service.name, id=service.id, port=port)
        runner.run(7, check_of(written), named, host)
        await results.until(1)
        assert runner.errors == 0, results.by_run
    (result,) = results.by_run[7]
    return result


@asynccontextmanager
async def serving(handler: Handler, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """Give every connection to *handler*, then close it; yield the port. A peer that is gone is no error."""

    async def serve_one(stream: trio.SocketStream) -> None:
        async with stream:
            try:
                await handler(stream)
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                pass

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(port, host=host)
        nursery.start_soon(trio.serve_listeners, serve_one, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def read_until(stream: trio.abc.ReceiveStream, end: bytes) -> bytes:
    """Return what arrives until *end*, or the connection's end."""
    data = b""
    while end not in data:
        more = await stream.receive_some()
        if not more:
            break
        data += more
    return data


def free_port() -> int:
    """Return a port that nobody listens on, for now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def self_signed(folder: Path, *names: str) -> ssl.SSLContext:
    """Return a server's context with a certificate for *names*, host names, which is also left in folder/"certificate.pem"."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(encoding))
    plain = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(plain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context
