"""Bounded fan-out: every change is found once, encoded once an encoding, and shared by all who watch it.

A watcher holds at most WATCH_EVENTS_MAX events. One more, and it holds none: when it reads again it is told `resync`
and given a fresh snapshot. So nobody waits for a slow reader, and nobody misses anything without being told.

`note` is cheap and called at every change; `flush` does the work and is called soon after, so that a burst is read
once.
"""

from collections import deque
from collections.abc import Callable, Sequence

from gossipd.api.dispatch import Answers, Counters
from gossipd.api.encoding import Encoding, plain
from gossipd.api.requests import Watch
from gossipd.api.tracking import InstanceChange, Tracker, is_about_node, status_name
from gossipd.core.events import CutShown, Event, GuardChanged, IsolationChanged, MemberChanged, RecordChanged
from gossipd.limits import WATCH_EVENTS_MAX
from gossipd.node.view import MemberRow, View

MEMBER_NEWS_MAX = 4_096
"""Member events kept between two flushes; past it whoever watches members gets a fresh snapshot instead."""


class Change:
    """One event, as a plain value and, once somebody reads it, as bytes."""

    __slots__ = ("_encoded", "event")

    def __init__(self, event: dict[str, object]) -> None:
        self.event = event
        self._encoded: dict[Encoding, bytes] = {}

    def encoded(self, encoding: Encoding) -> bytes:
        found = self._encoded.get(encoding)
        if found is None:
            found = self._encoded[encoding] = encoding.value(self.event)
        return found


class Watcher:
    """One open watch: what its client has not read yet. *on_news* is called when there is something after there was
    nothing."""

    def __init__(self, id: int | str, request: Watch, encoding: Encoding, *, on_news: Callable[[], None]) -> None:
        self.id = id
        self.request = request
        self.encoding = encoding
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
        if len(self.pending) >= WATCH_EVENTS_MAX:
            self.overflow()
            return
        self.pending.append(change)
        if len(self.pending) == 1:
            self._on_news()

    def overflow(self) -> None:
        """Drop everything held; the client is owed a snapshot, and is told so if it already had one."""
        self.pending.clear()
        self.overflowed = self.overflowed or not self.owed_snapshot
        self.owed_snapshot = True
        self._on_news()


class Watches:
    """All open watches of all connections."""

    def __init__(self, *, view: View, answers: Answers, counters: Counters) -> None:
        self._view = view
        self._answers = answers
        self._counters = counters
        self._tracker = Tracker(view)
        self._of_service: dict[str, set[Watcher]] = {}
        self._of_services: set[Watcher] = set()
        self._of_members: set[Watcher] = set()
        self._members: dict[str, MemberRow] = {}
        self._member_news: list[tuple[str, MemberChanged | None]] = []
        self._member_news_lost = False
        self._view_changed = False

    def open(
        self, id: int | str, request: Watch, encoding: Encoding, *, on_news: Callable[[], None], now: float
    ) -> Watcher:
        """Return a new watcher; its snapshot is made when its client is ready to read it (`take`)."""
        self.flush(now=now)
        watcher = Watcher(id, request, encoding, on_news=on_news)
        if request.service is not None:
            self._of_service.setdefault(request.service, set()).add(watcher)
        if request.services:
            self._of_services.add(watcher)
        if request.members:
            if not self._of_members:
                self._members = {row.name: row for row in self._view.members(now=now)}
            self._of_members.add(watcher)
        if request.services or request.service is not None:
            self._tell_instances(self._tracker.add(request.service, now=now))
        self._counters.watches += 1
        return watcher

    def close(self, watcher: Watcher) -> None:
        request = watcher.request
        if request.service is not None:
            self._of_service[request.service].discard(watcher)
            if not self._of_service[request.service]:
                del self._of_service[request.service]
        if request.services or request.service is not None:
            self._tracker.drop(request.service)
        self._of_services.discard(watcher)
        self._of_members.discard(watcher)
        if not self._of_members:
            self._members = {}
        watcher.pending.clear()
        self._counters.watches -= 1

    def note(self, events: Sequence[Event]) -> bool:
        """Remember where to look; return whether a flush is due."""
        if not self._counters.watches:
            return False
        for event in events:
            match event:
                case RecordChanged():
                    self._tracker.note_record(event)
                    if self._of_members and is_about_node(event):
                        self._note_member(event.owner, None)
                case MemberChanged():
                    self._tracker.note_member(event)
                    if self._of_members:
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
        self._tell_instances(self._tracker.changes(now=now))
        news, self._member_news = self._member_news, []
        if self._member_news_lost:
            self._member_news_lost = False
            self._members = {row.name: row for row in self._view.members(now=now)} if self._of_members else {}
            for watcher in self._of_members:
                watcher.overflow()
        else:
            for name, event in news:
                self._tell_member(name, event, now)
        if self._view_changed:
            self._view_changed = False
            change = Change({"type": "view", "index": self._view.index, "view": self._answers.trust(now=now)})
            everyone = self._of_services.union(self._of_members, *self._of_service.values())
            self._hold(change, everyone)

    def take(self, watcher: Watcher, *, bytes_max: int, now: float) -> list[bytes]:
        """Return the next messages for *watcher*'s client, about *bytes_max* of them, a snapshot whole."""
        messages: list[bytes] = []
        if watcher.owed_snapshot:
            self.flush(now=now)
            messages += self._snapshot(watcher, now)
        size = sum(map(len, messages))
        while watcher.pending and size < bytes_max:
            body = watcher.pending.popleft().encoded(watcher.encoding)
            messages.append(watcher.encoding.message(watcher.id, "event", body))
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
        parts.append(("index", encoding.value(self._view.index)))
        parts.append(("view", encoding.value(self._answers.trust(now=now))))
        messages.append(encoding.message(watcher.id, "event", encoding.mapping(parts)))
        watcher.owed_snapshot = watcher.overflowed = False
        return messages

    def _tell_instances(self, changes: Sequence[InstanceChange]) -> None:
        for change in changes:
            watchers = self._of_service.get(change.row.service, set()) | self._of_services
            if watchers:
                event = {"type": change.kind, "instance": plain(change.row), "index": self._view.index}
                self._hold(Change(event), watchers)

    def _note_member(self, name: str, event: MemberChanged | None) -> None:
        if len(self._member_news) >= MEMBER_NEWS_MAX:
            self._member_news.clear()
            self._member_news_lost = True
        if not self._member_news_lost:
            self._member_news.append((name, event))

    def _tell_member(self, name: str, event: MemberChanged | None, now: float) -> None:
        """Tell of *event*; None: the member's labels changed, and its status did not."""
        former, row = self._members.get(name), self._view.member(name, now=now)
        if row is not None:
            self._members[name] = row
        else:
            self._members.pop(name, None)
        shown = row or former
        if shown is None:
            return  # came and went between two flushes, or a node that is no member yet
        before: str | None = shown.status
        after = before
        if event is not None:
            before, after = status_name(event.before), status_name(event.after)
        change = {"type": "member", "member": plain(shown), "before": before, "after": after, "index": self._view.index}
        self._hold(Change(change), self._of_members)

    def _hold(self, change: Change, watchers: set[Watcher]) -> None:
        for watcher in watchers:
            watcher.push(change)
