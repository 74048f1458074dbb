"""Bounded fan-out: every change is found once, encoded once an encoding, and shared by all who watch it.

A watcher holds at most WATCH_EVENTS_MAX events. One more, and it holds none: when it reads again it is told `resync`
and given a fresh snapshot. So nobody waits for a slow reader, and nobody misses anything without being told. Who comes back
after a lost connection is told the changes since, if they are still held (`changes`).

`note` is cheap and called at every change; `flush` does the work and is called soon after, so that a burst is read
once. What one flush tells bears one index, and no other flush bears it again.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from gossipd.api.changes import ALL, MEMBERS, VIEW, Change, ChangeLog, Scopes
from gossipd.api.dispatch import Answers, Counters
from gossipd.api.encoding import Encoding, plain
from gossipd.api.requests import Watch
from gossipd.api.tracking import InstanceChange, Tracker, is_about_node, status_name
from gossipd.core.events import (
    CutShown,
    Event,
    GuardChanged,
    IsolationChanged,
    MemberChanged,
    RecordChanged,
)
from gossipd.errors import RequestError
from gossipd.limits import API_WAITS_MAX, WATCH_EVENTS_MAX
from gossipd.node.view import MemberRow, View

MEMBER_NEWS_MAX = 4_096
"""Member events kept between two flushes; past it whoever watches members gets a fresh snapshot instead."""

Told = list[tuple[str, dict[str, object]]]
"""Scope and event of each change of one flush."""


class Watcher:
    """One open watch: what its client has not read yet. *on_news* is called when there is something after there was
    nothing."""

    __slots__ = ("_on_news", "encoding", "id", "overflowed", "owed_snapshot", "pending", "request", "scopes")

    def __init__(self, id: int | str, request: Watch, encoding: Encoding, *, on_news: Callable[[], None]) -> None:
        self.id = id
        self.request = request
        self.encoding = encoding
        self.scopes = [request.service] if request.service is not None else [ALL] if request.services else []
        if request.members:
            self.scopes.append(MEMBERS)
        self.pending: deque[Change] = deque()
        self.owed_snapshot = True
        self.overflowed = False
        self._on_news = on_news

    @property
    def has_news(self) -> bool:
        return self.owed_snapshot or bool(self.pending)

    def push(self, change: Change) -> None:
        """Hold *change* for the client; if it is one too many, drop all that is held for a snapshot to come."""
        if self.owed_snapshot:
            return  # the snapshot will contain it
        held = len(self.pending)
        if held >= WATCH_EVENTS_MAX:
            self.overflow()
            return
        self.pending.append(change)
        if not held:
            self._on_news()

    def overflow(self) -> None:
        """Drop everything held; the client is owed a snapshot, and is told so if it already had one."""
        self.pending.clear()
        self.overflowed = self.overflowed or not self.owed_snapshot
        self.owed_snapshot = True
        self._on_news()

    def resume(self, missed: Sequence[Change], resumed: Change) -> None:
        """Hold what the client has *missed*, then *resumed*, instead of a snapshot."""
        self.pending.extend(missed)
        self.pending.append(resumed)
        self.owed_snapshot = False


class Watches:
    """All open watches of all connections, and all who wait for instances."""

    def __init__(self, *, view: View, answers: Answers, counters: Counters) -> None:
        self._view = view
        self._answers = answers
        self._counters = counters
        self._tracker = Tracker(view)
        self._log = ChangeLog()
        self._scopes = Scopes()
        self._watchers: dict[str, set[Watcher]] = {}
        """By scope; who watches members and instances is in two."""
        self._waiting: dict[str, set[Callable[[], None]]] = {}
        """Whom to wake when an instance of a service changes."""
        self._members: dict[str, MemberRow] = {}
        self._member_news: list[tuple[str, MemberChanged | None]] = []
        self._member_news_lost = False
        self._view_changed = False
        self._met = False
        """Whether it was told that the daemon has met its peers."""
        self._told_index = -1

    def open(
        self, id: int | str, request: Watch, encoding: Encoding, *, on_news: Callable[[], None], now: float
    ) -> Watcher:
        """Return a new watcher; its snapshot is made when its client is ready to read it (`take`)."""
        self.flush(now=now)
        watcher = Watcher(id, request, encoding, on_news=on_news)
        for scope in watcher.scopes:
            if scope not in self._scopes and self._told_index > self._view.index:
                self._told_index += 1  # what nobody followed may have come after what was told ahead of the view
            if self._scopes.enter(scope, index=self._index):
                self._follow(scope, now=now)
            self._watchers.setdefault(scope, set()).add(watcher)
        if request.since is not None:
            self._resume(watcher, request.since, now=now)
        self._counters.watches += 1
        return watcher

    def close(self, watcher: Watcher, *, now: float) -> None:
        for scope in watcher.scopes:
            self._watchers[scope].discard(watcher)
            if not self._watchers[scope]:
                del self._watchers[scope]
            self._scopes.leave(scope, now=now)
        watcher.pending.clear()
        self._counters.watches -= 1
        self._forget_over(now=now)

    @contextmanager
    def waiting(self, service: str, wake: Callable[[], None], *, now: float) -> Iterator[None]:
        """Call *wake* whenever an instance of *service* has changed. Raises: RequestError("too_many_waits")."""
        if self._counters.waits >= API_WAITS_MAX:
            raise RequestError("too_many_waits", f"{API_WAITS_MAX} clients wait, expected fewer; try again later")
        self.flush(now=now)
        self._tell(self._found(self._tracker.add(service, now=now)))
        self._waiting.setdefault(service, set()).add(wake)
        self._counters.waits += 1
        try:
            yield
        finally:
            self._counters.waits -= 1
            self._waiting[service].discard(wake)
            if not self._waiting[service]:
                del self._waiting[service]
            self._tracker.drop(service)

    def note(self, events: Sequence[Event]) -> bool:
        """Remember where to look; return whether a flush is due."""
        if not self._scopes and not self._waiting:
            return False
        members = MEMBERS in self._scopes
        for event in events:
            match event:
                case RecordChanged():
                    self._tracker.note_record(event)
                    if members and is_about_node(event):
                        self._note_member(event.owner, None)
                case MemberChanged():
                    self._tracker.note_member(event)
                    if members:
                        self._note_member(event.member, event)
                case IsolationChanged():
                    self._view_changed = True
                    self._tracker.note_all()
                case CutShown():
                    self._tracker.note_nodes(event.members)
                case GuardChanged():
                    self._tracker.note_nodes(event.nodes)
                case _:
                    pass  # nothing that a watcher sees
        return bool(events)

    def flush(self, *, now: float) -> None:
        """Find what has changed since the last flush and hold it for everyone concerned."""
        self._forget_over(now=now)
        told = self._found(self._tracker.changes(now=now))
        news, self._member_news = self._member_news, []
        if self._member_news_lost:
            self._member_news_lost = False
            self._lose_members(now=now)
        else:
            for name, event in news:
                told += self._member_told(name, event, now=now)
        if not self._met and self._view.trust(owners=(), now=now).met:
            self._met = True
            self._view_changed |= bool(self._scopes)
        if self._view_changed:
            self._view_changed = False
            told.append((VIEW, {"type": "view", "view": self._answers.trust(now=now)}))
        self._tell(told)

    def take(self, watcher: Watcher, *, bytes_max: int, now: float) -> list[bytes]:
        """Return the next messages for *watcher*'s client, about *bytes_max* of them, a snapshot whole."""
        messages: list[bytes] = []
        if watcher.owed_snapshot:
            self.flush(now=now)
            messages += self._snapshot(watcher, now)
        size = sum(map(len, messages))
        pending, encoding = watcher.pending, watcher.encoding
        while pending and size < bytes_max:
            change = pending.popleft()
            more = bool(pending) and pending[0].index == change.index
            messages.append(encoding.message(watcher.id, "event", change.encoded(encoding, more=more)))
            size += len(messages[-1])
        return messages

    def _snapshot(self, watcher: Watcher, now: float) -> list[bytes]:
        """Return the snapshot that *watcher* is owed, after `resync` if it replaces what was dropped."""
        encoding, request = watcher.encoding, watcher.request
        messages = []
        if watcher.overflowed:
            self._counters.resyncs += 1
            messages.append(encoding.message(watcher.id, "event", encoding.value({"type": "resync"})))
        parts = [("type", encoding.value("snapshot"))]
        if request.services or request.service is not None:
            rows = self._answers.snapshot_rows("instances", request.service, encoding=encoding, now=now)
            parts.append(("instances", rows))
        if request.members:
            parts.append(("members", self._answers.snapshot_rows("members", None, encoding=encoding, now=now)))
        parts.append(("index", encoding.value(self._index)))
        parts.append(("view", encoding.value(self._answers.trust(now=now))))
        messages.append(encoding.message(watcher.id, "event", encoding.mapping(parts)))
        watcher.owed_snapshot = watcher.overflowed = False
        return messages

    def _resume(self, watcher: Watcher, since: int, *, now: float) -> None:
        """Hold for *watcher* what happened after *since*; what cannot be told any more becomes a `resync`."""
        missed = None
        if since <= self._index and all(self._scopes.followed_since(scope, since) for scope in watcher.scopes):
            missed = self._log.after(since, watcher.scopes)
        if missed is None or len(missed) >= WATCH_EVENTS_MAX:
            watcher.overflowed = True
            return
        event = {"type": "resumed", "view": self._answers.trust(now=now)}
        watcher.resume(missed, Change(VIEW, event, index=self._index))

    @property
    def _index(self) -> int:
        """Up to where all is told: several looks at one index of the view are told under indices ahead of it."""
        return max(self._view.index, self._told_index)

    def _follow(self, scope: str, *, now: float) -> None:
        """Know from now on what is told of *scope*."""
        if scope == MEMBERS:
            self._members = {row.name: row for row in self._view.members(now=now)}
        else:
            self._tell(self._found(self._tracker.add(None if scope == ALL else scope, now=now)))

    def _forget_over(self, *, now: float) -> None:
        for scope in self._scopes.pop_over(now=now):
            if scope == MEMBERS:
                self._members = {}
            else:
                self._tracker.drop(None if scope == ALL else scope)

    def _found(self, changes: Sequence[InstanceChange]) -> Told:
        return [(change.row.service, {"type": change.kind, "instance": plain(change.row)}) for change in changes]

    def _tell(self, told: Told) -> None:
        """Hold each event for those who watch its scope; all under one index."""
        if not told:
            return
        self._told_index = max(self._view.index, self._told_index + 1)
        stirred: set[str] = set()
        for scope, event in told:
            change = Change(scope, event, index=self._told_index)
            if self._scopes:
                self._log.append(change)
            for watchers in self._concerned(scope):
                for watcher in watchers:
                    watcher.push(change)
            stirred.add(scope)
        for service in self._waiting.keys() & stirred:
            for wake in list(self._waiting[service]):
                wake()

    def _concerned(self, scope: str) -> list[set[Watcher]]:
        """Return who watches *scope*, nobody twice."""
        if scope == VIEW:
            return [set().union(*self._watchers.values())]
        found = [self._watchers.get(scope, set())]
        if scope != MEMBERS:
            found.append(self._watchers.get(ALL, set()))
        return found

    def _note_member(self, name: str, event: MemberChanged | None) -> None:
        if len(self._member_news) >= MEMBER_NEWS_MAX:
            self._member_news.clear()
            self._member_news_lost = True
        if not self._member_news_lost:
            self._member_news.append((name, event))

    def _lose_members(self, *, now: float) -> None:
        """Too much happened to be told: whoever watches members begins anew."""
        self._log.lose(self._index)
        self._members = {row.name: row for row in self._view.members(now=now)} if MEMBERS in self._scopes else {}
        for watcher in self._watchers.get(MEMBERS, ()):
            watcher.overflow()

    def _member_told(self, name: str, event: MemberChanged | None, *, now: float) -> Told:
        """Return what to tell of *event*; None: the member's labels changed, and its status did not."""
        former, row = self._members.get(name), self._view.member(name, now=now)
        if row is not None:
            self._members[name] = row
        else:
            self._members.pop(name, None)
        shown = row or former
        if shown is None:
            return []  # came and went between two flushes, or a node that is no member yet
        before: str | None = shown.status
        after = before
        if event is not None:
            before, after = status_name(event.before), status_name(event.after)
        return [(MEMBERS, {"type": "member", "member": plain(shown), "before": before, "after": after})]
