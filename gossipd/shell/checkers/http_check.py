"""http and https checks: one request over HTTP/1.1, on a connection of its own; redirects are not followed.

Nothing that a server sends can cost more than the check's time-out, HEAD_BYTES_MAX, and a few times its *body_bytes_max*.
"""

from contextlib import suppress

import h11
import trio

from gossipd import __version__
from gossipd.check_targets import Url, address_text, split_url
from gossipd.checks import CheckResult, Http
from gossipd.records import Health
from gossipd.shell.checkers.attempt import Attempt, Failed, reason_of, text_of
from gossipd.shell.checkers.connect import Network

HEAD_BYTES_MAX = 65_536
"""Bytes before the answer's body, interim answers included; h11 allows 16 KiB for each line of a body's framing."""

FRAMING_FACTOR = 8
"""How much longer than its body an answer may be on the wire: a body in chunks of one byte is six times as long."""

RECEIVE_BYTES = 16_384

TOO_MANY_REQUESTS = 429

_PORTS = {False: 80, True: 443}


async def try_http(target: Http, attempt: Attempt, network: Network) -> CheckResult:
    """Pass on an expected status, warn on 429, else be critical. Raises: Failed."""
    url = split_url("http", target.url)
    host, port = attempt.place(url.host, url.port or (_PORTS[url.tls] if url.host else None))
    async with network.stream(target, host, port, attempt, tls=url.tls) as stream:
        exchange = _Exchange(stream, target, attempt)
        try:
            return await exchange.run(_request(target, url, host, port))
        except h11.RemoteProtocolError as error:
            raise Failed(f"{exchange.told}bad HTTP: {reason_of(error)}") from None


class _Exchange:
    """One request and its answer on *stream*."""

    def __init__(self, stream: trio.abc.Stream, target: Http, attempt: Attempt) -> None:
        self._stream = stream
        self._target = target
        self._attempt = attempt
        self._http = h11.Connection(h11.CLIENT)
        self._received_bytes = 0
        self.told = ""
        """What was heard so far: "200 OK, but ", or nothing."""

    async def run(self, request: h11.Request) -> CheckResult:
        self._attempt.doing = "sending the request"
        body = self._target.body.encode()
        data = self._http.send(request) or b""
        if body:
            data += self._http.send(h11.Data(data=body)) or b""
        await self._send(data + (self._http.send(h11.EndOfMessage()) or b""))
        self._attempt.doing = "waiting for the answer"
        response = await self._response()
        reason = text_of(bytes(response.reason))
        status = f"{response.status_code} {reason}".strip()
        self.told = f"{status}, but "
        self._attempt.doing = "reading the answer's body"
        self._attempt.seen = status
        start = await self._body()
        return self._attempt.result(self._health(response.status_code), f"{status}\n{text_of(start)}")

    async def _send(self, data: bytes) -> None:
        with suppress(trio.BrokenResourceError):  # it may have answered before it hung up: who refuses a body does
            await self._stream.send_all(data)

    async def _response(self) -> h11.Response:
        while True:
            event = await self._next(HEAD_BYTES_MAX)
            if isinstance(event, h11.Response):
                return event
            assert isinstance(event, h11.InformationalResponse), event

    async def _body(self) -> bytes:
        """Read the whole body; return what is kept of it."""
        most = self._target.body_bytes_max
        kept = bytearray()
        length = 0
        while True:
            event = await self._next(HEAD_BYTES_MAX + FRAMING_FACTOR * most)
            if not isinstance(event, h11.Data):
                return bytes(kept)
            length += len(event.data)
            if length > most:
                raise Failed(f"{self.told}its body is longer than {most} bytes")
            kept += event.data[: self._attempt.check.output_bytes_max - len(kept)]

    async def _next(self, bytes_max: int) -> h11.Event:
        """Return the next thing that the server says; it may have sent *bytes_max* bytes until then."""
        while (event := self._http.next_event()) is h11.NEED_DATA:
            data = await self._stream.receive_some(RECEIVE_BYTES)
            if not data and not self.told:
                raise Failed("the server closed the connection without an answer")
            self._received_bytes += len(data)
            if self._received_bytes > bytes_max + RECEIVE_BYTES:
                raise Failed(f"{self.told}more than {bytes_max} bytes came while {self._attempt.doing}")
            self._http.receive_data(bytes(data))
        assert isinstance(event, h11.Event), event
        return event

    def _health(self, status: int) -> Health:
        if status in self._target.expect or (not self._target.expect and 200 <= status <= 299):
            return Health.PASSING
        return Health.WARNING if status == TOO_MANY_REQUESTS else Health.CRITICAL


def _request(target: Http, url: Url, host: str, port: int) -> h11.Request:
    body = target.body.encode()
    given = {name.lower() for name, _ in target.headers}
    authority = address_text(host, None if port == _PORTS[url.tls] else port)
    own = {"Host": authority, "User-Agent": f"gossipd/{__version__}", "Accept": "*/*", "Connection": "close"}
    if body:
        own["Content-Length"] = str(len(body))
    headers = [(name, text) for name, text in own.items() if name.lower() not in given]
    return h11.Request(method=target.method, target=url.path, headers=[*headers, *target.headers])
