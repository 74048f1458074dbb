"""One connection's bytes as calls: which encoding it speaks, where a message ends, and what is wrong with it.

Knows no socket, no clock and no method. The first byte decides for the whole connection: 0x00 opens a frame (lengths
stay below 16 MiB), '{' or white space a line. A message that is wrong inside its frame costs that message; once the
framing itself is lost, nothing that follows can be trusted, and the session is `broken`.
"""

from typing import NamedTuple

from gossipd.api.encoding import FRAME_HEADER_BYTES, JSON, MESSAGE_PACK, Encoding, RequestId
from gossipd.errors import RequestError
from gossipd.limits import API_FRAME_BYTES_MAX

ID_BYTES_MAX = 64
"""Longest id that is a string: room for a UUID with a prefix; it is held as long as its watch."""

ID_RULE = f"an integer of 64 bits, a string of at most {ID_BYTES_MAX} bytes, or null"

_FIELDS = frozenset(("id", "method", "params"))
_LINE_STARTS = b"{ \t\r\n"


class Call(NamedTuple):
    """A request whose envelope is right; method and params are still unchecked."""

    id: RequestId
    method: str
    params: dict[str, object]


class Fault(NamedTuple):
    """What to answer instead of a result. *id* None: it could not be read."""

    id: RequestId
    error: RequestError


class Session:
    """Bytes in as they come, calls and faults out in their order. Never raises, whatever the bytes."""

    def __init__(self, *, frame_bytes_max: int = API_FRAME_BYTES_MAX) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._buffer = bytearray()
        self._started = False
        self.encoding: Encoding = JSON
        """How to answer; JSON until the first byte has told."""
        self.broken = False
        """The framing is lost: answer the last fault, then close."""

    @property
    def buffered_bytes(self) -> int:
        """Bytes of a message whose end has not come yet; at most the frame limit and one chunk."""
        return len(self._buffer)

    def receive(self, data: bytes) -> list[Call | Fault]:
        """Return what *data* completes. After the session broke: nothing, ever."""
        if self.broken or not data:
            return []
        if not self._started:
            fault = self._start(data)
            if fault is not None:
                return [fault]
        return self._receive_lines(data) if self.encoding is JSON else self._receive_frames(data)

    def finish(self) -> list[Call | Fault]:
        """Return what the end of input completes: a last line needs no newline; half a message is a fault."""
        half = bytes(self._buffer)
        self._buffer.clear()
        if self.broken or (self.encoding is JSON and not half.strip()) or not half:
            return []
        if self.encoding is JSON:
            last = parse_message(half, JSON)
            if isinstance(last, Call):
                return [last]
            return [self._break(f"the input ended in the middle of a line, after {len(half)} bytes")]
        return [self._break(f"the input ended in the middle of a frame, after {len(half)} bytes")]

    def _start(self, data: bytes) -> Fault | None:
        self._started = True
        if data[0] == 0:
            self.encoding = MESSAGE_PACK
        elif data[0] not in _LINE_STARTS:
            return self._break(
                f"first byte 0x{data[0]:02x}, expected '{{' (a line of JSON) or 0x00 (a frame of msgpack)"
            )
        return None

    def _receive_lines(self, data: bytes) -> list[Call | Fault]:
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = bytes(self._buffer) + lines[0]
            self._buffer.clear()
        self._buffer += rest if self._buffer else rest.lstrip()  # white space alone begins no message
        found: list[Call | Fault] = []
        for line in lines:
            if len(line) > self._frame_bytes_max:
                return [*found, self._too_long(f"a line of {len(line)} bytes")]
            if line and not line.isspace():
                found.append(parse_message(line, JSON))
        if len(self._buffer) > self._frame_bytes_max:
            found.append(self._too_long(f"a line of more than {self._frame_bytes_max} bytes"))
        return found

    def _receive_frames(self, data: bytes) -> list[Call | Fault]:
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._frame_end(self._buffer, 0) <= FRAME_HEADER_BYTES + self._frame_bytes_max:
                return []  # nothing is copied until the frame is whole
            data = bytes(self._buffer)
            self._buffer.clear()
        found: list[Call | Fault] = []
        start = 0
        while (end := self._frame_end(data, start)) <= len(data):
            found.append(parse_message(data[start + FRAME_HEADER_BYTES : end], MESSAGE_PACK))
            start = end
        size = end - start - FRAME_HEADER_BYTES
        if size > self._frame_bytes_max:
            return [*found, self._too_long(f"a frame of {size} bytes")]
        self._buffer += data[start:]
        return found

    def _frame_end(self, data: bytes | bytearray, start: int) -> int:
        """Return where the frame at *start* ends; past the end of *data* if it is cut, or longer than permitted."""
        body = start + FRAME_HEADER_BYTES
        if body > len(data):
            return body
        size = int.from_bytes(data[start:body], "big")
        return body + size if size <= self._frame_bytes_max else max(body + size, len(data) + 1)

    def _too_long(self, what: str) -> Fault:
        return self._break(f"{what}, expected at most {self._frame_bytes_max}")

    def _break(self, message: str) -> Fault:
        self.broken = True
        self._buffer.clear()
        return Fault(None, RequestError("bad_frame", message))


def parse_message(body: bytes, encoding: Encoding) -> Call | Fault:
    """Return the request in the untrusted *body* of one line or frame, or what is wrong with it; never raises."""
    try:
        message = encoding.decode_untrusted(body)
    except RequestError as error:
        return Fault(None, error)
    if type(message) is not dict:
        return _fault(None, "the message is not a map, expected one with method, and with id and params if needed")
    id = message.get("id")
    if id is not None and not _is_id(id):
        return _fault(None, f"id is wrong, expected {ID_RULE}")
    if not message.keys() <= _FIELDS:
        unknown = min(message.keys() - _FIELDS)
        return _fault(id, f"unknown field {ascii(unknown)[:64]}, expected only id, method and params")
    method = message.get("method")
    if type(method) is not str:
        return _fault(id, "method is missing or not a string, expected the name of a method")
    params = message.get("params", {})
    if type(params) is not dict:
        return _fault(id, "params is not a map, expected parameters by name")
    return Call(id, method, params)


def _is_id(id: object) -> bool:
    if type(id) is int:
        return -(2**63) <= id < 2**64
    if type(id) is not str or len(id) > ID_BYTES_MAX:
        return False
    try:
        return len(id.encode()) <= ID_BYTES_MAX
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _fault(id: RequestId, message: str) -> Fault:
    return Fault(id, RequestError("bad_request", message))
