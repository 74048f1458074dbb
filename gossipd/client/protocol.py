"""The conversation on one connection, without a socket: requests become bytes, bytes become answers and events.

Also when to connect again. Blocking and async clients alike are loops around this. Speaks lines of JSON
(docs/reference/local-api.md); knows no clock, and chance comes in.
"""

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import TypeGuard

from gossipd.errors import RequestError
from gossipd.limits import API_FRAME_BYTES_MAX, CLIENT_ANSWER_BYTES_MAX
from gossipd.ranges import check_ranges


@dataclass(frozen=True, slots=True)
class Answered:
    """The request *id* has succeeded."""

    id: int
    result: dict[str, object]


@dataclass(frozen=True, slots=True)
class Refused:
    """The request *id*, or, if it is None, the connection, was refused."""

    id: int | None
    error: RequestError


@dataclass(frozen=True, slots=True)
class Told:
    """An event of the watch *id*."""

    id: int
    event: dict[str, object]


@dataclass(frozen=True, slots=True)
class Ended:
    """The watch *id* has ended."""

    id: int


Message = Answered | Refused | Told | Ended


def request(id: int, method: str, params: Mapping[str, object]) -> bytes:
    """Return the request as bytes. Parameters that are None are left out.

    Raises: RequestError `bad_request` if a parameter is not a JSON value, or the whole is too long for a request.
    """
    given = {name: value for name, value in params.items() if value is not None}
    try:
        line = json.dumps({"id": id, "method": method, "params": given}, allow_nan=False).encode("ascii") + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestError("bad_request", f"the parameters of {method} cannot be written as JSON: {error}") from None
    if len(line) > API_FRAME_BYTES_MAX:
        message = f"the request is {len(line)} bytes long, expected at most {API_FRAME_BYTES_MAX}: ask for less at once"
        raise RequestError("bad_request", message)
    return line


class Conversation:
    """What the daemon says on one connection: bytes in, in any pieces; messages out, in the order of arrival.

    Once something was not of the protocol, nothing after it is read.
    """

    def __init__(self, *, answer_bytes_max: int = CLIENT_ANSWER_BYTES_MAX) -> None:
        self._answer_bytes_max = answer_bytes_max
        self._rest = bytearray()
        """The beginning of a line."""
        self._lines: deque[bytes] = deque()
        self._broken: RequestError | None = None

    def receive(self, data: bytes) -> None:
        """Take the next bytes of the connection."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._lines.append(bytes(self._rest) + line)
            self._rest.clear()
        self._rest += rest

    def next_message(self) -> Message | None:
        """Return the next message; None if the rest of it has not come.

        Raises: RequestError `bad_answer` where something is not of the protocol, and again ever after.
        """
        if self._broken is None and self._lines:
            line = self._lines.popleft()
            try:
                return self._read(line)
            except RequestError as error:
                self._break(error)
        if self._broken is None and len(self._rest) > self._answer_bytes_max:
            self._break(self._too_long())
        if self._broken is not None:
            raise self._broken
        return None

    def _break(self, error: RequestError) -> None:
        self._broken = error
        self._lines.clear()
        self._rest.clear()

    def _read(self, line: bytes) -> Message:
        if len(line) > self._answer_bytes_max:
            raise self._too_long()
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise _bad("it does not speak gossipd's protocol")
        id = said.get("id")
        if isinstance(said.get("error"), dict) and (id is None or _is_id(id)):
            return Refused(id, _error_of(said["error"]))
        if not _is_id(id):
            raise _bad("an answer bears the id of no request")
        for kind, made in (("result", Answered), ("event", Told)):
            if isinstance(said.get(kind), dict):
                return made(id, said[kind])
        if "end" in said:
            return Ended(id)
        raise _bad("the answer has neither a result nor an error")

    def _too_long(self) -> RequestError:
        return _bad(f"an answer is longer than {self._answer_bytes_max} bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How soon to connect again. Raises: ConfigError that names field, value and expectation."""

    base_s: float = 0.05
    """The longest pause before the first try; twice as long before each that follows. Short: after a restart of the daemon a
    registration is to be back before the daemon has given it up."""
    pause_max_s: float = 2.0
    """The longest pause of all."""

    def __post_init__(self) -> None:
        check_ranges("backoff", self, base_s=(0.001, 3_600), pause_max_s=(self.base_s, 3_600))


class Reconnection:
    """The plan to connect again: when the next try is due.

    Full jitter: anything from 0 to the longest pause, so that the clients of a daemon that restarts do not come back together.
    Source: Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
    """

    def __init__(self, backoff: Backoff, rng: Random) -> None:
        self._backoff = backoff
        self._rng = rng
        self.failures = 0
        """Connections lost, and tries in vain, since the daemon was last heard."""
        self.due_at = 0.0
        """When to try, in monotonic seconds."""

    def failed(self, *, now: float) -> None:
        """A connection ended, or could not be made: plan the next try."""
        longest_s = min(self._backoff.pause_max_s, self._backoff.base_s * 2.0 ** min(self.failures, 60))
        self.failures += 1
        self.due_at = now + self._rng.random() * longest_s

    def succeeded(self) -> None:
        """The daemon has answered: the next pause is short again."""
        self.failures = 0


def _is_id(value: object) -> TypeGuard[int]:
    return type(value) is int


def _error_of(error: Mapping[str, object]) -> RequestError:
    details = {key: value for key, value in error.items() if key not in ("code", "message")}
    return RequestError(str(error.get("code")), str(error.get("message")), details=details)


def _bad(why: str) -> RequestError:
    return RequestError("bad_answer", f"what listens there is not gossipd as we know it: {why}")
