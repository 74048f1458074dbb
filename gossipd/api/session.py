"""One connection's bytes as calls: which encoding it speaks, where a message ends, and what is wrong with it.

Knows no socket, no clock and no method. The first byte decides for the whole connection: 0x00 opens a frame (lengths
stay below 16 MiB), '{' or white space a line. A message that is wrong inside its frame costs that message; once the
framing itself is lost, nothing that follows can be trusted, and the session is `broken`.
"""

import re
from typing import NamedTuple

from gossipd.api.encoding import FRAME_HEADER_BYTES, JSON, MESSAGE_PACK, Encoding, RequestId
from gossipd.errors import RequestError
from gossipd.limits import API_FRAME_BYTES_MAX

ID_BYTES_MAX = 64
"""Longest id that is a string: room for a UUID with a prefix; it is held as long as its watch."""

ID_RULE = f"an integer of 64 bits, a string of at most {ID_BYTES_MAX} bytes, or null"

_FIELDS = frozenset(("id", "method", "params"))
_LINE_STARTS = b"{ \t\r\n"
_SPACE = re.compile(rb"\s+")


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
    """Bytes in as they come, calls and faults out in their order. Never raises, whatever the bytes.

    A message is decoded when it is asked for and not before: what a client sent ahead costs its bytes, and nothing more.
    """

    def __init__(self, *, frame_bytes_max: int = API_FRAME_BYTES_MAX) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._buffer = bytearray()
        self._started = self._ended = False
        self.encoding: Encoding = JSON
        """How to answer; JSON until the first byte has told."""
        self.broken = False
        """The framing is lost: answer the last fault, then close."""

    @property
    def buffered_bytes(self) -> int:
        """Bytes taken in and not handed out; once `next` has returned None, those of half a message, at most the limit."""
        return len(self._buffer)

    def receive(self, data: bytes) -> None:
        """Take in *data*; `next` finds what it completes. After the session broke it is thrown away."""
        if not self.broken:
            self._buffer += data

    def finish(self) -> None:
        """The input has ended: to `next`, a last line needs no newline, and half a message is a fault."""
        self._ended = True

    def next(self) -> Call | Fault | None:
        """Return the next message, or None as long as none is whole."""
        if not self._buffer:
            return None
        if not self._started:
            self._started = True
            if self._buffer[0] == 0:
                self.encoding = MESSAGE_PACK
            elif self._buffer[0] not in _LINE_STARTS:
                return self._break(
                    f"first byte 0x{self._buffer[0]:02x}, expected '{{' (a line of JSON) or 0x00 (a frame of msgpack)"
                )
        return self._next_line() if self.encoding is JSON else self._next_frame()

    def _next_line(self) -> Call | Fault | None:
        begun = _SPACE.match(self._buffer)
        if begun is not None:  # white space alone begins no message
            del self._buffer[: begun.end()]
        end = self._buffer.find(b"\n")
        size = len(self._buffer) if end < 0 else end
        if size > self._frame_bytes_max:
            return self._too_long(f"a line of {size} bytes" + (" and more" if end < 0 else ""))
        if end >= 0:
            return parse_message(self._take(end + 1), JSON)
        if not self._ended or not self._buffer:
            return None
        last = parse_message(self._take(size), JSON)
        return last if isinstance(last, Call) else self._cut("line", size)

    def _next_frame(self) -> Call | Fault | None:
        held = len(self._buffer)
        if held >= FRAME_HEADER_BYTES:
            size = int.from_bytes(self._buffer[:FRAME_HEADER_BYTES], "big")
            if size > self._frame_bytes_max:
                return self._too_long(f"a frame of {size} bytes")
            if held >= FRAME_HEADER_BYTES + size:
                return parse_message(self._take(FRAME_HEADER_BYTES + size)[FRAME_HEADER_BYTES:], MESSAGE_PACK)
        return self._cut("frame", held) if self._ended else None

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _too_long(self, what: str) -> Fault:
        return self._break(f"{what}, expected at most {self._frame_bytes_max}")

    def _cut(self, what: str, size: int) -> Fault:
        return self._break(f"the input ended in the middle of a {what}, after {size} bytes")

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
