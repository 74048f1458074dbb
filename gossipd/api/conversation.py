"""One client's side of the protocol without its socket: bytes in, answers and events out, everything in between
bounded.

Requests are answered in their order, REQUESTS_PER_TURN_MAX of them before other clients have their turn. Once
OUTPUT_BYTES_HIGH of answers wait to be sent, no further request is looked at until they are gone; events are written
only when there is room, and wait in their watches (`watches`) until then.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gossipd.api.dispatch import Answers, Caller, Counters
from gossipd.api.encoding import Encoding, RequestId
from gossipd.api.methods import parse_request
from gossipd.api.requests import (
    Deregister,
    Join,
    Leave,
    ReadRequest,
    Register,
    Resolve,
    SlowRequest,
    Unwatch,
    Wait,
    Watch,
    WriteRequest,
)
from gossipd.api.session import Call, Fault, Session
from gossipd.api.watches import Watcher, Watches
from gossipd.errors import RequestError
from gossipd.limits import API_WATCHES_PER_CONNECTION_MAX

OUTPUT_BYTES_HIGH = 64 * 1024
"""Answers held for a client that does not read them, give or take the last one; the next request waits until they are
sent."""

REQUESTS_PER_TURN_MAX = 32
"""Requests answered before others have their turn: at 6 microseconds each, 1,024 busy clients hold a timer up by 0.2 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that takes time: whoever owns the conversation performs it, then calls `reply` or `fail`."""

    id: RequestId
    request: SlowRequest


class Conversation:
    """What *caller* said and is to hear. *on_output* is called when a watch has news after there was none."""

    def __init__(
        self,
        caller: Caller,
        *,
        answers: Answers,
        watches: Watches,
        counters: Counters,
        on_output: Callable[[], None],
    ) -> None:
        self.caller = caller
        self._answers = answers
        self._watches = watches
        self._counters = counters
        self._on_output = on_output
        self._session = Session()
        self._replies: list[bytes] = []
        self._reply_bytes = 0
        self._watchers: dict[int | str, Watcher] = {}
        self.waiting = False
        """Whether there may be requests that `work` has not looked at."""
        self.taken = 0
        """Messages that `work` has looked at."""
        self.registered: set[str] = set()
        """Ids registered over this connection and not deregistered over it since."""

    @property
    def broken(self) -> bool:
        """The framing is lost: nothing more is read; what is to be said ends with why."""
        return self._session.broken

    @property
    def encoding(self) -> Encoding:
        """How this client is answered."""
        return self._session.encoding

    @property
    def half_bytes(self) -> int:
        """Bytes of a message that has begun and not ended; meant for when nothing is `waiting`."""
        return self._session.buffered_bytes

    @property
    def full(self) -> bool:
        """Whether so many answers wait that `work` would do nothing."""
        return self._reply_bytes >= OUTPUT_BYTES_HIGH

    @property
    def owes_replies(self) -> bool:
        return bool(self._replies)

    @property
    def watches(self) -> int:
        return len(self._watchers)

    @property
    def held_events(self) -> int:
        return sum(len(watcher.pending) for watcher in self._watchers.values())

    def receive(self, data: bytes) -> None:
        self._session.receive(data)

    def finish(self) -> None:
        """The client will say nothing more."""
        self._session.finish()

    def break_off(self, message: str) -> None:
        """Say that a message did not come to its end; nothing more is read."""
        self.fail(None, RequestError("bad_frame", message))

    def work(self, *, now: float) -> Asked | None:
        """Answer requests for one turn, or until too many answers wait; stop at one that takes time and return it."""
        self.waiting = True
        for _ in range(REQUESTS_PER_TURN_MAX):
            if self.full:
                return None
            call = self._session.next()
            if call is None:
                self.waiting = False
                return None
            self.taken += 1
            if isinstance(call, Fault):
                self.fail(call.id, call.error)
                continue
            self._counters.requests += 1
            try:
                asked = self._perform(call, now)
            except RequestError as error:
                self.fail(call.id, error)
                continue
            if asked is not None:
                return asked
        return None

    def output(self, *, now: float) -> tuple[bytes, bool]:
        """Return what to send next, about two OUTPUT_BYTES_HIGH at most, and whether answers are in it; b"" for
        nothing."""
        chunks, owes = self._replies, bool(self._replies)
        self._replies, self._reply_bytes = [], 0
        room = OUTPUT_BYTES_HIGH
        ready = [watcher for watcher in self._watchers.values() if watcher.has_news]
        for at, watcher in enumerate(ready):
            if room <= 0:  # the rest goes first the next time
                break
            messages = self._watches.take(watcher, bytes_max=max(room // (len(ready) - at), 1), now=now)
            room -= sum(map(len, messages))
            chunks += messages
            self._watchers[watcher.id] = self._watchers.pop(watcher.id)
        return b"".join(chunks), owes

    def reply(self, id: RequestId, result: object) -> None:
        """Answer with *result*, a plain value."""
        self.reply_encoded(id, self._session.encoding.value(result))

    def reply_encoded(self, id: RequestId, result: bytes) -> None:
        self._say(id, "result", result)

    def fail(self, id: RequestId, error: RequestError) -> None:
        self._counters.errors += 1
        if error.code == "bad_frame":
            self._counters.bad_frames += 1
        body = {"code": error.code, "message": str(error), **error.details}
        self._say(id, "error", self._session.encoding.value(body))

    def close(self, *, reason: str, now: float) -> None:
        """End every watch and say why."""
        for id in list(self._watchers):
            self._end(id, reason, now)

    def _perform(self, call: Call, now: float) -> Asked | None:
        request = parse_request(call.method, call.params)
        match request:
            case Resolve():  # first, as it is asked most
                self._answer(call.id, request, now)
            case Join() | Leave() | Wait():
                return Asked(id=call.id, request=request)
            case Watch():
                self._open(call.id, request, now)
            case Unwatch():
                if request.id not in self._watchers:
                    expected = "expected the id of an open watch of this connection"
                    raise RequestError("not_found", f"params.id={request.id!a}, {expected}")
                self._end(request.id, "unwatch", now)
                self.reply(call.id, {})
            case _:
                self._answer(call.id, request, now)
                if isinstance(request, Register):
                    self.registered.add(request.service.id)
                elif isinstance(request, Deregister):
                    self.registered.discard(request.id)
        return None

    def _answer(self, id: RequestId, request: ReadRequest | WriteRequest, now: float) -> None:
        encoding = self._session.encoding
        self._say(id, "result", self._answers.answer(request, encoding=encoding, caller=self.caller, now=now))

    def _open(self, id: RequestId, request: Watch, now: float) -> None:
        if id is None:
            raise RequestError("bad_request", "id=null, expected an id for the events of the watch")
        if id in self._watchers:
            raise RequestError("bad_request", f"id={id!a}, expected one that no open watch of this connection has")
        if len(self._watchers) >= API_WATCHES_PER_CONNECTION_MAX:
            limit = API_WATCHES_PER_CONNECTION_MAX
            raise RequestError("too_many_watches", f"{limit} watches are open on this connection, expected fewer")
        encoding = self._session.encoding
        self._watchers[id] = self._watches.open(id, request, encoding, on_news=self._on_output, now=now)

    def _end(self, id: int | str, reason: str, now: float) -> None:
        self._watches.close(self._watchers.pop(id), now=now)
        self._say(id, "end", self._session.encoding.value({"reason": reason}))

    def _say(self, id: RequestId, kind: str, body: bytes) -> None:
        message = self._session.encoding.message(id, kind, body)
        self._replies.append(message)
        self._reply_bytes += len(message)
