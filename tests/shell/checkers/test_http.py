"""http checks against servers that answer, and against servers that do what they should not."""

import socket
import ssl
import struct
from itertools import repeat
from pathlib import Path

import pytest
import trio

from gossipd.checks import CheckResult
from gossipd.records import Health
from tests.shell.checkers.targets import (
    WEB,
    Handler,
    check_of,
    checkers,
    free_port,
    read_until,
    self_signed,
    serving,
    try_once,
)

pytestmark = pytest.mark.trio

QUICK = {"interval": 0.5, "timeout": 0.2}
"""For what never answers."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready"


def answering(*pieces: bytes) -> Handler:
    """A server that reads a request's head, sends *pieces* and closes."""

    async def handle(stream: trio.SocketStream) -> None:
        await read_until(stream, b"\r\n\r\n")
        for piece in pieces:
            await stream.send_all(piece)

    return handle


async def ask(handler: Handler, **keys: object) -> CheckResult:
    async with serving(handler) as port:
        return await try_once({"http": "/health", **keys}, port=port)


@pytest.mark.parametrize(
    ("status", "health"),
    [
        ("200 OK", Health.PASSING),
        ("204 No Content", Health.PASSING),
        ("299", Health.PASSING),
        ("301 Moved Permanently", Health.CRITICAL),
        ("404 Not Found", Health.CRITICAL),
        ("429 Too Many Requests", Health.WARNING),
        ("500 Internal Server Error", Health.CRITICAL),
        ("503 Service Unavailable", Health.CRITICAL),
    ],
)
async def test_the_status_decides(status: str, health: Health) -> None:
    head = f"HTTP/1.1 {status}\r\nLocation: /elsewhere\r\n".encode()
    length = b"\r\n" if status.startswith("204") else b"Content-Length: 0\r\n\r\n"
    assert await ask(answering(head + length)) == CheckResult(health=health, output=status)


async def test_the_expected_statuses_are_those_that_were_said() -> None:
    found = answering(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n")
    assert (await ask(found, expect=[302])).health is Health.PASSING
    assert (await ask(answering(OK), expect=[302])).health is Health.CRITICAL
    busy = answering(b"HTTP/1.1 429 Slow Down\r\nContent-Length: 0\r\n\r\n")
    assert (await ask(busy, expect=[429])).health is Health.PASSING


async def test_a_body_of_each_kind_is_read_and_its_start_is_shown() -> None:
    shown = CheckResult(health=Health.PASSING, output="200 OK\nready")
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nre\r\n3\r\nady\r\n0\r\n\r\n"
    for answer in (OK, chunked, b"HTTP/1.0 200 OK\r\n\r\nready", b"HTTP/1.1 100 Continue\r\n\r\n" + OK):
        assert await ask(answering(answer)) == shown
        assert await ask(answering(*(bytes([byte]) for byte in answer))) == shown


async def test_what_is_shown_is_cut_and_cannot_steer_a_terminal() -> None:
    body = b"\x1b[2J\xff" + "é".encode() * 100
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    shown = (await ask(answering(answer), output_bytes_max=20)).output
    mark = "\N{REPLACEMENT CHARACTER}"
    assert shown == f"200 OK\n{mark}[2J{mark}éé"
    assert len(shown.encode()) == 20


async def test_the_request_is_what_the_check_says() -> None:
    heard: list[bytes] = []

    async def handle(stream: trio.SocketStream) -> None:
        heard.append(await read_until(stream, b"now?"))
        await stream.send_all(OK)

    headers = {"X-Probe": ["1", "2"], "user-agent": "me"}
    async with serving(handle) as port:
        written = {"http": "/a?b=c", "method": "POST", "headers": headers, "body": "how are you now?"}
        assert (await try_once(written, port=port)).health is Health.PASSING
    lines = heard[0].decode().split("\r\n")
    assert lines[0] == "POST /a?b=c HTTP/1.1"
    assert sorted(lines[1:-2]) == [
        "Accept: */*",
        "Connection: close",
        "Content-Length: 16",
        f"Host: 127.0.0.1:{port}",
        "X-Probe: 1",
        "X-Probe: 2",
        "user-agent: me",
    ]
    assert lines[-1] == "how are you now?"


async def test_a_head_request_expects_no_body() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    assert (await ask(answering(answer), method="HEAD")).health is Health.PASSING


async def test_a_url_with_a_host_goes_there_and_not_to_the_instance() -> None:
    async with serving(answering(OK)) as port:
        result = await try_once({"http": f"http://localhost:{port}/"}, port=free_port(), host="192.0.2.1")
    assert result.health is Health.PASSING


async def test_a_body_over_its_limit_is_critical_whatever_the_status() -> None:
    for length in (b"Content-Length: 4\r\n\r\nabcd", b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"):
        answer = answering(b"HTTP/1.1 200 OK\r\n" + length)
        assert (await ask(answer, body_bytes_max=4)).health is Health.PASSING
        over = await ask(answer, body_bytes_max=3)
        assert over == CheckResult(health=Health.CRITICAL, output="200 OK, but its body is longer than 3 bytes")


def endless(start: bytes, piece: bytes) -> Handler:
    """A server that goes on sending *piece* for as long as anybody listens, and is glad when nobody does."""
    return answering(start, *repeat(piece, 1_000_000))


async def test_an_endless_body_costs_no_more_than_its_limit() -> None:
    body = await ask(endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1_000))
    assert body.output == "200 OK, but its body is longer than 65536 bytes"
    chunks = await ask(
        endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;%s\r\nx\r\n" % (b"y" * 999))
    )
    assert chunks.output == "200 OK, but more than 589824 bytes came while reading the answer's body"


async def test_endless_headers_cost_no_more_than_their_limit() -> None:
    line = await ask(endless(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 1_000))
    assert line == CheckResult(health=Health.CRITICAL, output="bad HTTP: Receive buffer too long")
    lines = await ask(endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 100))
    assert lines == line
    interim = await ask(endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 10))
    assert interim.output == "more than 65536 bytes came while waiting for the answer"


async def test_a_server_that_says_nothing_in_time_is_critical_and_where_it_stopped_is_said() -> None:
    never = trio.Event()

    async def hang_after(start: bytes, stream: trio.SocketStream) -> None:
        await read_until(stream, b"\r\n\r\n")
        await stream.send_all(start)
        await never.wait()

    async def before_the_head(stream: trio.SocketStream) -> None:
        await hang_after(b"HTTP/1.1 200 ", stream)

    async def within_the_body(stream: trio.SocketStream) -> None:
        await hang_after(OK[:-2], stream)

    head = await ask(before_the_head, **QUICK)
    assert head == CheckResult(health=Health.CRITICAL, output="time-out after 0.2 s while waiting for the answer")
    body = await ask(within_the_body, **QUICK)
    assert body.output == "time-out after 0.2 s while reading the answer's body\n200 OK"


async def test_a_server_that_breaks_the_connection_is_critical() -> None:
    async def reset_after(start: bytes, stream: trio.SocketStream) -> None:
        await read_until(stream, b"\r\n\r\n")
        await stream.send_all(start)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def at_once(stream: trio.SocketStream) -> None:
        await reset_after(b"", stream)

    async def before_the_request(stream: trio.SocketStream) -> None:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    broken = "the connection broke while waiting for the answer: Connection reset by peer"
    closed = "the server closed the connection without an answer"
    assert (await ask(at_once)).output == broken
    assert (await ask(before_the_request)).output in (broken, closed)  # the request may have met the reset, or not yet
    assert (await ask(answering())).output == "the server closed the connection without an answer"
    assert (await ask(answering(b"HTTP/1.1 200"))).output == "the server closed the connection without an answer"
    short = await ask(answering(OK[:-2]))
    assert short.health is Health.CRITICAL
    assert short.output.startswith("200 OK, but bad HTTP: peer closed connection without sending complete message")


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        bytes(range(256)) * 2,
    ],
    ids=repr,
)
async def test_what_is_not_http_is_critical(answer: bytes) -> None:
    result = await ask(answering(answer))
    assert result.health is Health.CRITICAL
    assert "bad HTTP: " in result.output


async def test_nobody_listens() -> None:
    port = free_port()
    result = await try_once({"http": "/health"}, port=port)
    assert result.output == f"cannot connect to 127.0.0.1:{port}: Connection refused"


async def test_a_server_that_changes_is_followed() -> None:
    answers = {"now": OK}

    async def handle(stream: trio.SocketStream) -> None:
        await read_until(stream, b"\r\n\r\n")
        await stream.send_all(answers["now"])

    async with serving(handle) as port:
        assert (await try_once("http:/", port=port)).health is Health.PASSING
        answers["now"] = b"HTTP/1.1 503 Draining\r\nContent-Length: 0\r\n\r\n"
        assert (await try_once("http:/", port=port)).output == "503 Draining"


def with_tls(context: ssl.SSLContext, handler: Handler) -> Handler:
    async def handle(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        await handler(tls)  # type: ignore[arg-type]

    return handle


async def test_tls_is_verified_unless_told_not_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = self_signed(tmp_path, "web.example")
    async with serving(with_tls(context, answering(OK))) as port:
        stranger = await try_once("https:/", port=port)
        assert stranger.output == "the certificate is not accepted: self-signed certificate"
        assert (await try_once({"http": "https:/", "tls_skip_verify": True}, port=port)).health is Health.PASSING
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        other = await try_once("https:/", port=port)
        assert other.output.startswith("the certificate is not accepted: IP address mismatch")
        named = await try_once({"http": "https:/", "tls_server_name": "web.example"}, port=port)
        assert named == CheckResult(health=Health.PASSING, output="200 OK\nready")


async def test_a_server_without_tls_is_told_from_one_that_hangs() -> None:
    async with serving(answering(OK)) as port:
        hanging = await try_once({"http": "https:/", **QUICK}, port=port)
    assert hanging.output == "time-out after 0.2 s while agreeing on TLS"

    async def greet(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 smtp.example ESMTP\r\n")
        await read_until(stream, b"never")

    async with serving(greet) as port:
        plain = await try_once("https:/", port=port)
    assert plain.output.startswith("no TLS: ")


async def test_many_at_once_each_get_their_own_answer() -> None:
    async def echo(stream: trio.SocketStream) -> None:
        line = (await read_until(stream, b"\r\n\r\n")).split(b" ")[1]
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(line), line))

    async with serving(echo) as port, checkers() as (runner, results):
        for run in range(100):
            runner.run(run, check_of({"http": f"http://127.0.0.1:{port}/{run}"}), WEB, "127.0.0.1")
        await results.until(100)
    said = {run: [result.output for result in told] for run, told in results.by_run.items()}
    assert said == {run: [f"200 OK\n/{run}"] for run in range(100)}
