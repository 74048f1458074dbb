"""The two encodings of the local socket side by side: bytes to values, values to bytes, messages spliced from ready
parts.

Knows what a message looks like, not what it says. Lines are ASCII JSON, so that nothing a peer wrote can steer a
terminal.
"""

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Protocol, cast

import msgpack

from gossipd.errors import RequestError

RequestId = int | str | None
"""What a client calls its request: echoed exactly; absent is null."""

FRAME_HEADER_BYTES = 4
"""A frame opens with the length of its body, big-endian."""


class Encoding(Protocol):
    """One way to write a message; the same plain values (dict, list, str, int, float, bool, None) either way."""

    def decode_untrusted(self, body: bytes) -> object:
        """Return the one value in *body*. Raises: RequestError("bad_request"), and nothing else."""

    def value(self, value: object) -> bytes: ...

    def mapping(self, parts: Sequence[tuple[str, bytes]]) -> bytes:
        """Return a map of at most 15 constant keys, each with its value already encoded."""

    def message(self, id: RequestId, kind: str, body: bytes) -> bytes:
        """Return the whole message, framed: *kind* is result, error, event or end; *body* is already encoded."""


class _Json:
    def __init__(self) -> None:
        decoder = json.JSONDecoder(object_pairs_hook=_unique_text, parse_constant=_refuse_constant)
        self._decode = decoder.decode
        self._encode = json.JSONEncoder(separators=(",", ":"), check_circular=False, allow_nan=False).encode

    def decode_untrusted(self, body: bytes) -> object:
        try:
            value: object = self._decode(body.decode())
        except RecursionError:
            raise RequestError("bad_request", "the line is nested too deeply") from None
        except ValueError as error:  # not UTF-8, not JSON, NaN, a key twice, a number of 5,000 digits
            raise RequestError("bad_request", f"the line is not JSON: {_brief(error)}") from None
        return value

    def value(self, value: object) -> bytes:
        return self._encode(value).encode("ascii")

    def mapping(self, parts: Sequence[tuple[str, bytes]]) -> bytes:
        return b"{%b}" % b",".join([b'"%b":%b' % (key.encode("ascii"), value) for key, value in parts])

    def message(self, id: RequestId, kind: str, body: bytes) -> bytes:
        if type(id) is int:
            return b'{"id":%d,"%b":%b}\n' % (id, kind.encode("ascii"), body)
        return b'{"id":%b,"%b":%b}\n' % (self.value(id), kind.encode("ascii"), body)


class _MessagePack:
    def __init__(self) -> None:
        self._packer = msgpack.Packer(unicode_errors="backslashreplace")

    def decode_untrusted(self, body: bytes) -> object:
        try:
            value: object = msgpack.unpackb(body, object_pairs_hook=_unique, ext_hook=_refuse_extension)
        except RecursionError:
            raise RequestError("bad_request", "the frame is nested too deeply") from None
        except (ValueError, TypeError, OverflowError, msgpack.exceptions.UnpackException) as error:
            raise RequestError("bad_request", f"the frame is not msgpack: {_brief(error)}") from None
        return value

    def value(self, value: object) -> bytes:
        return self._packer.pack(value)

    def mapping(self, parts: Sequence[tuple[str, bytes]]) -> bytes:
        assert len(parts) < 16, "a fixmap holds 15 pairs"
        encoded = [b"%c%b%b" % (0xA0 | len(key), key.encode("ascii"), value) for key, value in parts]
        return b"%c%b" % (0x80 | len(parts), b"".join(encoded))

    def message(self, id: RequestId, kind: str, body: bytes) -> bytes:
        name = self.value(id)
        size = 5 + len(name) + len(kind) + len(body)  # the map's header 1, "id" 3, the header of the kind 1
        head = size.to_bytes(FRAME_HEADER_BYTES, "big")
        return b"%b\x82\xa2id%b%c%b%b" % (head, name, 0xA0 | len(kind), kind.encode("ascii"), body)


def plain(value: object) -> object:
    """Return *value* as both encodings take it: dataclasses as maps, seconds to the millisecond, what is not finite as
    null."""
    if isinstance(value, float):
        return round(value, 3) if isfinite(value) else None
    if isinstance(value, str | int) or value is None:
        return value
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    names: Mapping[str, object] = getattr(type(value), "__dataclass_fields__")  # noqa: B009  (mypy knows no `object` that has it)
    return {name: plain(getattr(value, name)) for name in names}


def _unique_text(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key occurs twice")
    return made


def _unique(pairs: Sequence[tuple[object, object]]) -> dict[str, object]:
    if not all(type(key) is str for key, _ in pairs):
        raise ValueError("a key is not a string")
    return _unique_text(cast(list[tuple[str, object]], pairs))


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON value")


def _refuse_extension(code: int, _data: bytes) -> object:
    raise ValueError(f"extension type {code} has no meaning here")


def _brief(error: Exception) -> str:
    """Return what is wrong in at most 120 characters, the culprit's own bytes escaped."""
    text = str(error) or type(error).__name__
    return text.encode("ascii", "backslashreplace").decode()[:120]


JSON: Encoding = _Json()
MESSAGE_PACK: Encoding = _MessagePack()
