"""grpc checks against a server on h2 that changes its health, and against servers that speak something else, or break off."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gossipd.checks import CheckResult
from gossipd.records import Health
from gossipd.shell.checkers.attempt import Failed
from gossipd.shell.checkers.grpc_check import _read_response, _write_request
from tests.shell.checkers.targets import read_until, self_signed, serving, try_once

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
QUICK = {"interval": 0.5, "timeout": 0.2}
UNIMPLEMENTED = "12"

Headers = list[tuple[str, str]]
Misbehave = Callable[[h2.connection.H2Connection, int], None]


@dataclass
class HealthServer:
    """Answers grpc.health.v1.Health/Check from *statuses*, by service; *instead* does something else with the stream."""

    statuses: dict[str, int] = field(default_factory=lambda: {"": SERVING})
    instead: Misbehave | None = None
    calls: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def handle(self, stream: trio.abc.Stream) -> None:
        http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        http.initiate_connection()
        await stream.send_all(http.data_to_send())
        headers: dict[str, str] = {}
        body = b""
        with suppress(h2.exceptions.ProtocolError):  # after a goodbye, nothing more is understood
            while data := await stream.receive_some(65_536):
                for event in http.receive_data(data):
                    match event:
                        case h2.events.RequestReceived():
                            headers = {str(name): str(value) for name, value in event.headers}
                        case h2.events.DataReceived():
                            body += event.data
                        case h2.events.StreamEnded():
                            self.calls.append((headers, body))
                            (self.instead or self._answer)(http, event.stream_id)
                await stream.send_all(http.data_to_send())

    def _answer(self, http: h2.connection.H2Connection, stream_id: int) -> None:
        service = self.calls[-1][1][7:].decode()
        if service in self.statuses:
            reply(http, stream_id, message=bytes([8, self.statuses[service]]))
        else:
            reply(http, stream_id, status="5", words="unknown%20service")


def reply(
    http: h2.connection.H2Connection,
    stream_id: int,
    *,
    message: bytes | None = None,
    status: str = "0",
    words: str = "",
    http_status: str = "200",
    content_type: str = "application/grpc",
) -> None:
    """Answer as gRPC does: headers, a message, trailers; without a message all is in the headers."""
    headers: Headers = [(":status", http_status), ("content-type", content_type)]
    trailers: Headers = [("grpc-status", status), ("grpc-message", words)]
    if message is None:
        http.send_headers(stream_id, headers + trailers, end_stream=True)
        return
    http.send_headers(stream_id, headers)
    http.send_data(stream_id, b"\0" + len(message).to_bytes(4) + message)
    http.send_headers(stream_id, trailers, end_stream=True)


async def ask(server: HealthServer, **keys: object) -> CheckResult:
    async with serving(server.handle) as port:
        return await try_once({"grpc": True, **keys}, port=port)


@pytest.mark.trio
async def test_a_server_that_changes_its_health_is_followed() -> None:
    server = HealthServer()
    async with serving(server.handle) as port:
        assert await try_once("grpc", port=port) == CheckResult(health=Health.PASSING, output="the server is SERVING")
        for status, name in ((NOT_SERVING, "NOT_SERVING"), (0, "UNKNOWN"), (SERVICE_UNKNOWN, "SERVICE_UNKNOWN")):
            server.statuses[""] = status
            result = await try_once("grpc", port=port)
            assert result == CheckResult(health=Health.CRITICAL, output=f"the server is {name}")
        server.statuses[""] = SERVING
        assert (await try_once("grpc", port=port)).health is Health.PASSING


@pytest.mark.trio
async def test_one_service_of_a_server_may_be_asked_for() -> None:
    server = HealthServer(statuses={"": SERVING, "shop.Cart": NOT_SERVING, "shop.Till": SERVING})
    async with serving(server.handle) as port:
        assert (await try_once("grpc:shop.Till", port=port)).output == "service 'shop.Till' is SERVING"
        assert (await try_once("grpc:shop.Cart", port=port)).output == "service 'shop.Cart' is NOT_SERVING"
        unknown = await try_once(f"grpc:localhost:{port}/shop.Bin")
        assert unknown == CheckResult(
            health=Health.CRITICAL, output="the server knows no service 'shop.Bin' (NOT_FOUND)"
        )


@pytest.mark.trio
async def test_the_call_is_what_grpc_expects() -> None:
    server = HealthServer()
    await ask(server, timeout=2)
    headers, body = server.calls[0]
    assert body == b"\0\0\0\0\0"
    assert headers[":method"] == "POST"
    assert headers[":path"] == "/grpc.health.v1.Health/Check"
    assert (headers["te"], headers["content-type"], headers["grpc-timeout"]) == (
        "trailers",
        "application/grpc",
        "2000m",
    )


@pytest.mark.trio
async def test_a_server_without_the_health_service_says_so() -> None:
    server = HealthServer(instead=lambda http, stream: reply(http, stream, status=UNIMPLEMENTED))
    result = await ask(server)
    assert result.output == "the server does not offer grpc.health.v1.Health (UNIMPLEMENTED)"
    assert result.health is Health.CRITICAL


@pytest.mark.parametrize(
    ("instead", "output"),
    [
        (
            lambda http, at: reply(http, at, status="14", words="shutting%20down"),
            "the call failed: UNAVAILABLE shutting down",
        ),
        (lambda http, at: reply(http, at, status="99"), "the call failed: 99"),
        (lambda http, at: reply(http, at, status="x" * 50), "the call failed: " + "x" * 50),
        (lambda http, at: reply(http, at, status=""), "the call failed: no grpc-status"),
        (lambda http, at: reply(http, at, http_status="503"), "not gRPC: HTTP status 503"),
        (lambda http, at: reply(http, at, content_type="text/html"), "not gRPC: content-type 'text/html'"),
        (lambda http, at: reply(http, at), "not gRPC: the answer is no single message in the clear"),
        (lambda http, at: reply(http, at, message=b""), "the server is UNKNOWN"),
        (lambda http, at: reply(http, at, message=b"\x08\x07"), "the server is 7"),
        (lambda http, at: reply(http, at, message=b"\x12\x01x\x08\x01"), "the server is SERVING"),
        (lambda http, at: reply(http, at, message=b"\xff" * 20), "the answer is no HealthCheckResponse"),
        (lambda http, at: reply(http, at, message=b"\x12\x7f"), "the answer is no HealthCheckResponse"),
        (
            lambda http, at: http.reset_stream(at, h2.errors.ErrorCodes.REFUSED_STREAM),
            "the server reset the call: REFUSED_STREAM",
        ),
        (
            lambda http, _: http.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM, b"too many pings"),
            "the server ends the connection: ENHANCE_YOUR_CALM too many pings",
        ),
        (lambda http, _: http.close_connection(), "the server ends the connection: NO_ERROR"),
    ],
    ids=range(15),
)
@pytest.mark.trio
async def test_every_other_answer_is_told_in_words(instead: Misbehave, output: str) -> None:
    result = await ask(HealthServer(instead=instead))
    assert result.output == output
    assert result.health is (Health.PASSING if output.endswith("is SERVING") else Health.CRITICAL)


@pytest.mark.trio
async def test_a_server_that_says_nothing_in_time_is_critical() -> None:
    result = await ask(HealthServer(instead=lambda _, __: None), **QUICK)
    assert result.output == "time-out after 0.2 s while waiting for the answer"


@pytest.mark.parametrize(
    ("answer", "output"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the server speaks HTTP/1, not gRPC"),
        (b"", "the server closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "the server closed the connection without an answer"),
        (bytes(range(256)) * 4, "not HTTP/2: "),
        (b"\0\0\0\4\0\0\0\0\0" * 20_000, "the answer is longer than 65536 bytes"),
    ],
    ids=["http1", "closed", "ssh", "noise", "endless"],
)
@pytest.mark.trio
async def test_what_does_not_speak_http2_is_critical(answer: bytes, output: str) -> None:
    async def handle(stream: trio.SocketStream) -> None:
        await stream.receive_some(65_536)
        await stream.send_all(answer)
        if len(answer) > 65_536:  # to close with something unread would be a reset
            await read_until(stream, b"never")

    async with serving(handle) as port:
        result = await try_once("grpc", port=port)
    assert result.health is Health.CRITICAL
    assert result.output.startswith(output)


@pytest.mark.trio
async def test_tls_asks_for_http2_and_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = self_signed(tmp_path, "web.example")
    context.set_alpn_protocols(["h2"])
    server = HealthServer()
    agreed: list[str | None] = []

    async def handle(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        await tls.do_handshake()
        agreed.append(tls.selected_alpn_protocol())
        await server.handle(tls)

    async with serving(handle) as port:
        stranger = await try_once({"grpc": True, "grpc_use_tls": True}, port=port)
        assert stranger.output == "the certificate is not accepted: self-signed certificate"
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        written = {"grpc": True, "grpc_use_tls": True, "tls_server_name": "web.example"}
        assert (await try_once(written, port=port)).health is Health.PASSING
    assert agreed == ["h2"]
    assert server.calls[0][0][":authority"] == f"web.example:{port}"


@given(st.binary(max_size=12))
def test_whatever_a_message_holds_is_a_status_or_refused(message: bytes) -> None:
    try:
        status = _read_response(b"\0" + len(message).to_bytes(4) + message)
    except Failed:
        return
    assert status >= 0


def test_an_answer_that_is_compressed_or_more_than_one_is_refused() -> None:
    for data in (b"\1\0\0\0\2\x08\1", b"\0\0\0\0\2\x08\1" * 2, b"\0\0\0\0\3\x08\1"):
        with pytest.raises(Failed, match="no single message"):
            _read_response(data)


def test_a_long_name_has_its_length_in_two_bytes() -> None:
    assert _write_request("s" * 128) == b"\0\0\0\0\x83\x0a\x80\x01" + b"s" * 128
