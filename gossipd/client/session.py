"""What outlives a connection, without a socket: registrations, watches and requests that nobody has answered yet.

The blocking and the async client each drive one `Session`: bytes in, bytes out, and when to connect again. Not safe from threads:
its owner holds a lock. `now` is monotonic seconds.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from random import Random

from gossipd.client.protocol import (
    Answered,
    Backoff,
    Conversation,
    Ended,
    Message,
    Reconnection,
    Refused,
    Told,
    request,
)
from gossipd.errors import RequestError
from gossipd.limits import API_WATCHES_PER_CONNECTION_MAX, CLIENT_EVENTS_MAX

ONCE = ("leave",)
"""Methods that are not asked again on a new connection: the daemon that comes back is not the one that was to go."""

PIPELINED = 64
"""Requests that are said at once after a reconnection, the next with each answer: a daemon reads no further while 64 KiB of its
answers are not read, and a snapshot may be longer than that by itself."""

RESYNC: dict[str, object] = {"type": "resync"}

Params = dict[str, object]


class Asked:
    """A request. When it has ended, *on_done* is called, and either `result` or `error` is set."""

    __slots__ = ("again", "error", "id", "line", "method", "on_done", "params", "result")

    def __init__(self, id: int, method: str, params: Params, *, again: bool, on_done: Callable[[], None]) -> None:
        self.id = id
        self.method = method
        self.params = params
        self.again = again
        self.on_done = on_done
        self.line = request(id, method, params)
        self.result: dict[str, object] | None = None
        self.error: RequestError | None = None

    def end(self, *, result: dict[str, object] | None = None, error: RequestError | None = None) -> None:
        self.result, self.error = result, error
        self.on_done()


class Feed:
    """A watch, over as many connections as it takes. *on_event* is called whenever there is something to take."""

    __slots__ = ("behind", "error", "events", "id", "on_event", "params", "since")

    def __init__(self, id: int, params: Params, *, on_event: Callable[[], None]) -> None:
        self.id = id
        self.params = params
        self.on_event = on_event
        self.events: deque[dict[str, object]] = deque()
        self.since = params.get("since")
        """The last index that all is known of."""
        self.behind = False
        """Events were dropped, because nobody took them."""
        self.error: RequestError | None = None

    def line(self) -> bytes:
        return request(self.id, "watch", {**self.params, "since": self.since})


class Registration:
    """What was registered, to be made again on every new connection."""

    __slots__ = ("error", "params")

    def __init__(self, params: Params) -> None:
        self.params = params
        self.error: RequestError | None = None
        """Why the daemon refused it when it was made again; None: it did not."""


class Session:
    """Connections to the daemon, one after another, as one."""

    def __init__(self, *, rng: Random, backoff: Backoff | None = None, events_max: int = CLIENT_EVENTS_MAX) -> None:
        self.plan = Reconnection(backoff or Backoff(), rng)
        self.connected = False
        self.heard_at: float | None = None
        """When the daemon last said anything; None: never."""
        self.opened_at = 0.0
        """When this connection, or the last, was made."""
        self.trouble: RequestError | None = None
        """Why there is no connection."""
        self._over: RequestError | None = None
        """Why there will be none any more."""
        self.connections = 0
        self.registrations: dict[str, Registration] = {}
        """What was registered here, by id."""
        self._events_max = events_max
        self._asked: dict[int, Asked] = {}
        self._feeds: dict[int, Feed] = {}
        self._left: deque[Feed] = deque()
        """Feeds to be ended when next something is said."""
        self._owed: deque[bytes] = deque()
        """What is still to be said again on this connection."""
        self._conversation = Conversation()
        self._ping: Asked | None = None
        self._last_id = 0

    def opened(self, *, now: float) -> bytes:
        """A connection is made: return what to say first. Registrations come before watches, and these before requests."""
        self.connected, self.trouble, self.heard_at, self.opened_at = True, None, now, now
        self.connections += 1
        self.end_left()
        self._conversation = Conversation()
        self._owed.clear()
        waiting = [asked.line for asked in self._asked.values()]
        for registration in self.registrations.values():
            self._owed.append(self._new("register", registration.params, again=False).line)
        self._owed.extend(feed.line() for feed in self._feeds.values())
        self._owed.extend(waiting)
        return self._some_owed(PIPELINED)

    def lost(self, error: RequestError, *, now: float) -> None:
        """There is no connection, or no more, for the reason *error*. What may be asked again waits for the next."""
        self.connected, self.trouble = False, error
        self.plan.failed(now=now)
        self._fail([asked for asked in self._asked.values() if not asked.again], error)

    def end(self, error: RequestError) -> None:
        """There will be no further connection: everybody who waits, or asks later, gets *error*."""
        self.connected, self.trouble, self._over = False, error, error
        self._fail(list(self._asked.values()), error)
        for feed in list(self._feeds.values()):
            self._end_feed(feed, error)
        self.registrations.clear()

    def withdrawn(self, id: str) -> bool:
        """Do not register *id* again; return whether there is a connection, whose daemon has to be told."""
        self.registrations.pop(id, None)
        return self.connected

    def ask(
        self, method: str, params: Mapping[str, object], *, again: bool = True, on_done: Callable[[], None]
    ) -> tuple[Asked, bytes]:
        """Return a request, and what to send now: nothing if it has to wait for a connection.

        *again*: whether it waits, and is asked again, when the connection ends. Raises: RequestError `bad_request`, or what
        `end` was given.
        """
        self._check_over()
        asked = self._new(method, dict(params), again=again and method not in ONCE, on_done=on_done)
        return asked, asked.line if self.connected else b""

    def forget(self, asked: Asked) -> None:
        """Nobody waits for *asked* any more."""
        self._asked.pop(asked.id, None)

    def ping(self) -> bytes:
        """Return a question whose only use is that it is answered; nothing while the last one is not."""
        said = self.end_left()
        if not self.connected or (self._ping is not None and self._ping.id in self._asked):
            return said
        self._ping = self._new("info", {}, again=False)
        return said + self._ping.line

    def watch(self, params: Params, *, on_event: Callable[[], None]) -> tuple[Feed, bytes]:
        """Return a watch, and what to send now. Raises: RequestError `too_many_watches`, or what `end` was given."""
        self._check_over()
        feed = Feed(self._next_id(), params, on_event=on_event)
        line, said = feed.line(), self.end_left()
        if len(self._feeds) >= API_WATCHES_PER_CONNECTION_MAX:
            message = (
                f"{len(self._feeds)} watches are open, expected fewer than {API_WATCHES_PER_CONNECTION_MAX}: end one"
            )
            raise RequestError("too_many_watches", message)
        self._feeds[feed.id] = feed
        return feed, said + line if self.connected else b""

    def leave(self, feed: Feed) -> None:
        """End *feed* when next something is said. Safe without the owner's lock."""
        self._left.append(feed)

    def end_left(self) -> bytes:
        """End what was left; return what to send now."""
        said = b""
        while self._left:
            said += self.unwatch(self._left.popleft())
        return said

    def unwatch(self, feed: Feed) -> bytes:
        """End *feed*; return what to send now."""
        if self._feeds.pop(feed.id, None) is None or not self.connected:
            return b""
        return request(self._next_id(), "unwatch", {"id": feed.id})

    def take(self, feed: Feed) -> tuple[dict[str, object] | None, bytes]:
        """Return the next event of *feed*, None if there is none yet, and what to send now.

        Raises: RequestError: why there will be none.
        """
        if feed.behind:
            said = self.unwatch(feed)
            feed.id, feed.behind, feed.since = self._next_id(), False, None
            self._feeds[feed.id] = feed
            return RESYNC, said + feed.line() if self.connected else b""
        if feed.events:
            return feed.events.popleft(), b""
        if feed.error is not None:
            raise feed.error
        return None, b""

    def receive(self, data: bytes, *, now: float) -> bytes:
        """Take what the daemon said; return what to say next.

        Raises: RequestError: this connection is of no use. Close it and call `lost`.
        """
        self.heard_at = now
        self._conversation.receive(data)
        said = self.end_left()
        while (message := self._conversation.next_message()) is not None:
            if isinstance(message, Refused) and message.id is None:
                raise message.error
            self.plan.succeeded()
            self._hear(message)
            said += self._some_owed(1)
        return said

    def _hear(self, message: Message) -> None:
        asked = self._asked.pop(message.id, None) if message.id is not None else None
        feed = self._feeds.get(message.id) if message.id is not None else None
        match message:
            case Answered() if asked is not None:
                self._note(asked, None)
                asked.end(result=message.result)
            case Refused() if asked is not None:
                self._note(asked, message.error)
                asked.end(error=message.error)
            case Refused() if feed is not None:
                self._end_feed(feed, message.error)
            case Told() if feed is not None:
                self._tell(feed, message.event)
            case Ended():
                pass  # the connection ends next, and the watch goes on after it
            case _:
                pass  # nobody waits for it any more

    def _note(self, asked: Asked, error: RequestError | None) -> None:
        """Remember what the daemon holds for us. What is kept is its own to keep."""
        id = str(asked.params.get("id") or asked.params.get("name"))
        if asked.method == "register" and asked.params.get("kept") is not True:
            if error is None:
                self.registrations[id] = Registration(asked.params)
            elif id in self.registrations and self.registrations[id].params == asked.params:
                self.registrations[id].error = error
        elif asked.method in ("register", "deregister") and (error is None or error.code == "not_found"):
            self.registrations.pop(id, None)

    def _tell(self, feed: Feed, event: dict[str, object]) -> None:
        if event.get("type") == "resync":
            feed.events.clear()
            feed.since = None
        elif type(event.get("index")) is int and event.get("more") is not True:
            feed.since = event["index"]
        if len(feed.events) >= self._events_max:
            feed.events.clear()
            feed.behind = True
        if not feed.behind:
            feed.events.append(event)
        feed.on_event()

    def _check_over(self) -> None:
        if self._over is not None:
            raise self._over.with_traceback(None)

    def _end_feed(self, feed: Feed, error: RequestError) -> None:
        self._feeds.pop(feed.id, None)
        feed.error, feed.behind = error, False
        feed.on_event()

    def _fail(self, failed: Iterable[Asked], error: RequestError) -> None:
        for asked in failed:
            del self._asked[asked.id]
            asked.end(error=error)

    def _new(self, method: str, params: Params, *, again: bool, on_done: Callable[[], None] = lambda: None) -> Asked:
        asked = Asked(self._next_id(), method, params, again=again, on_done=on_done)
        self._asked[asked.id] = asked
        return asked

    def _some_owed(self, most: int) -> bytes:
        return b"".join(self._owed.popleft() for _ in range(min(most, len(self._owed))))

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id
