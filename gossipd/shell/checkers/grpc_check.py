"""grpc checks: one unary call of the standard health protocol, grpc.health.v1.Health/Check, over HTTP/2.

The two messages have one field each, a string and an enum, and are written and read here (protobuf encoding, fields 1).
"""

from urllib.parse import unquote

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import trio

from gossipd import __version__
from gossipd.check_targets import address_text
from gossipd.checks import CheckResult, Grpc
from gossipd.records import Health
from gossipd.shell.checkers.attempt import Attempt, Failed, reason_of, text_of
from gossipd.shell.checkers.connect import Network

PATH = "/grpc.health.v1.Health/Check"

ANSWER_BYTES_MAX = 65_536
"""Bytes of one call's answer, frames and all; a usual one takes 200."""

RECEIVE_BYTES = 16_384

SERVING = 1
SERVING_STATUSES = {0: "UNKNOWN", SERVING: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
"""grpc.health.v1.HealthCheckResponse.ServingStatus."""

STATUS_CODES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)
"""grpc-status by number."""

_NO_HEALTH_SERVICE = "UNIMPLEMENTED"
_NO_SUCH_SERVICE = "NOT_FOUND"


async def try_grpc(target: Grpc, attempt: Attempt, network: Network) -> CheckResult:
    """Pass if the service is SERVING, else be critical. Raises: Failed."""
    host, port = attempt.place(target.host, target.port)
    async with network.stream(target, host, port, attempt, tls=target.tls) as stream:
        authority = address_text(target.tls_server_name or host, port)
        answer = await _Call(stream, attempt).run(target, authority=authority)
    what = f"service {target.service!r}" if target.service else "the server"
    if answer == SERVING:
        return attempt.result(Health.PASSING, f"{what} is SERVING")
    raise Failed(f"{what} is {SERVING_STATUSES.get(answer, answer)}")


class _Call:
    """One call on *stream*."""

    def __init__(self, stream: trio.abc.Stream, attempt: Attempt) -> None:
        self._stream = stream
        self._attempt = attempt
        self._http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        self._headers: dict[str, str] = {}
        self._message = bytearray()

    async def run(self, target: Grpc, *, authority: str) -> int:
        """Return the serving status that the server answers. Raises: Failed, OSError, trio.BrokenResourceError."""
        self._attempt.doing = "sending the call"
        request = _write_request(target.service)
        self._http.initiate_connection()
        stream_id = self._http.get_next_available_stream_id()
        headers = [
            (":method", "POST"),
            (":scheme", "https" if target.tls else "http"),
            (":path", PATH),
            (":authority", authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", f"gossipd/{__version__}"),
            ("grpc-timeout", f"{max(1, round(self._attempt.check.timeout_s * 1_000))}m"),
        ]
        self._http.send_headers(stream_id, headers)
        self._http.send_data(stream_id, request, end_stream=True)
        await self._stream.send_all(self._http.data_to_send())
        self._attempt.doing = "waiting for the answer"
        await self._receive()
        return self._answer(target.service)

    async def _receive(self) -> None:
        """Read until the call's stream has ended."""
        received_bytes = 0
        while True:
            data = await self._stream.receive_some(RECEIVE_BYTES)
            if not data:
                raise Failed("the server closed the connection without an answer")
            if received_bytes == 0 and data.startswith(b"HTTP/"):
                raise Failed("the server speaks HTTP/1, not gRPC")
            received_bytes += len(data)
            if received_bytes > ANSWER_BYTES_MAX:
                raise Failed(f"the answer is longer than {ANSWER_BYTES_MAX} bytes")
            try:
                events = self._http.receive_data(data)
            except h2.exceptions.ProtocolError as error:
                raise Failed(f"not HTTP/2: {reason_of(error)}") from None
            if any(self._note(event) for event in events):
                return
            if pending := self._http.data_to_send():
                await self._stream.send_all(pending)

    def _note(self, event: h2.events.Event) -> bool:
        """Keep what *event* tells of the call; return whether that was all. Raises: Failed."""
        match event:
            case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                self._headers |= {text_of(bytes(name)): text_of(bytes(value)) for name, value in event.headers}
            case h2.events.DataReceived():
                self._message += event.data
                self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                return True
            case h2.events.StreamReset():
                raise Failed(f"the server reset the call: {_code_name(event.error_code)}")
            case h2.events.ConnectionTerminated():
                words = text_of(event.additional_data or b"")
                raise Failed(f"the server ends the connection: {_code_name(event.error_code)} {words}".rstrip())
        return False

    def _answer(self, service: str) -> int:
        status = self._headers.get(":status", "")
        content_type = self._headers.get("content-type", "")
        if status != "200":
            raise Failed(f"not gRPC: HTTP status {status}")
        if not content_type.startswith("application/grpc"):
            raise Failed(f"not gRPC: content-type {content_type!r}")
        code = self._headers.get("grpc-status", "")
        name = STATUS_CODES[int(code)] if code in map(str, range(len(STATUS_CODES))) else code
        if name == _NO_HEALTH_SERVICE:
            raise Failed("the server does not offer grpc.health.v1.Health (UNIMPLEMENTED)")
        if name == _NO_SUCH_SERVICE:
            raise Failed(f"the server knows no service {service!r} (NOT_FOUND)")
        if name != "OK":
            raise Failed(
                f"the call failed: {name or 'no grpc-status'} {unquote(self._headers.get('grpc-message', ''))}"
            )
        return _read_response(bytes(self._message))


def _write_request(service: str) -> bytes:
    """Return HealthCheckRequest{service}, with gRPC's prefix: not compressed, length."""
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    return b"\0" + len(message).to_bytes(4) + message


def _read_response(data: bytes) -> int:
    """Return the status in a HealthCheckResponse with its prefix; 0 where it has none. Raises: Failed."""
    message = data[5:]
    if len(data) < 5 or data[0] != 0 or int.from_bytes(data[1:5]) != len(message):
        raise Failed("not gRPC: the answer is no single message in the clear")
    status = 0
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        if key & 7 == 0:
            value, at = _read_varint(message, at)
            if key == 1 << 3:
                status = value
        elif key & 7 == 2:  # something that a later version says, too
            length, at = _read_varint(message, at)
            at += length
        else:
            raise Failed("the answer is no HealthCheckResponse")
    if at != len(message):
        raise Failed("the answer is no HealthCheckResponse")
    return status


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at *at*, and where it ends. Raises: Failed."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise Failed("the answer is no HealthCheckResponse")


def _code_name(code: h2.errors.ErrorCodes | int | None) -> str:
    return code.name if isinstance(code, h2.errors.ErrorCodes) else str(code)
