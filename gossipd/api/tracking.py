"""What watchers have been told so far, row by row, and how the View differs from it: a diff, made once for all of them.

Knows no watcher and no encoding. Events only say where to look; what is told is what the View then answers, so events
that are late, doubled, merged or missing can delay news but never make it wrong.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from operator import attrgetter

from gossipd.core.events import MemberChanged, RecordChanged
from gossipd.node.view import InstanceRow, View
from gossipd.records import NodeInfo, Service, Status

DIRTY_MAX = 4_096
"""Instances marked for another look between two looks; past it everything watched is read again, which is then
cheaper."""

SERVICE_KEY = "service/"
"""Records whose key begins so are instances; the rest of the key is their id."""

_STATUS_NAMES = {Status.ALIVE: "alive", Status.SUSPECT: "suspect", Status.DEAD: "failed", Status.LEFT: "left"}

_SHOWN = attrgetter(*(field.name for field in fields(InstanceRow) if field.name not in ("age_s", "node_status")))
"""All of a row that is not merely older than before, or suspected: a suspicion, and a verdict that is held, change no answer."""

Key = tuple[str, str]
"""Node and id: unique, whatever the service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceChange:
    kind: str
    """up: new to the catalog; changed: any field but age_s, status included; down: gone, the row is the last known."""
    row: InstanceRow


class Tracker:
    """The instances of the watched services as last told."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._rows: dict[Key, InstanceRow] = {}
        self._keys_of_node: dict[str, set[Key]] = {}
        self._keys_of_service: dict[str, set[Key]] = {}
        self._services: dict[str, int] = {}
        self._all = 0
        self._dirty: set[Key] = set()
        self._appeared: set[str] = set()
        self._reread = False

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def idle(self) -> bool:
        """Whether nothing is watched."""
        return not self._all and not self._services

    def add(self, service: str | None, *, now: float) -> list[InstanceChange]:
        """Watch *service*, None for all; return what former watchers were not told yet. Counted: as many `drop` undo
        it."""
        watched = None if self._all else set(self._services)
        if service is None:
            self._all += 1
        else:
            self._services[service] = self._services.get(service, 0) + 1
        changes = self._compare(service, now)
        return [change for change in changes if watched is None or change.row.service in watched]

    def drop(self, service: str | None) -> None:
        """Undo one `add`; rows that nobody watches any more are forgotten."""
        if service is None:
            self._all -= 1
        elif self._services[service] == 1:
            del self._services[service]
        else:
            self._services[service] -= 1
        if not self._all:
            for name in [name for name in self._keys_of_service if name not in self._services]:
                for key in list(self._keys_of_service[name]):
                    self._forget(key)

    def note_record(self, event: RecordChanged) -> None:
        """Mark the instance that *event* is about for another look; all of its node's where it is about that: its mode and its
        labels show in each."""
        if self.idle:
            return
        if is_about_node(event):
            self.note_nodes([event.owner])
        if not event.key.startswith(SERVICE_KEY):
            return
        key = (event.owner, event.key.removeprefix(SERVICE_KEY))
        if key in self._rows or self._all or any(name in self._services for name in _service_names(event)):
            self._mark(key)

    def note_member(self, event: MemberChanged) -> None:
        """Mark what *event*'s member publishes: its reachability or its address may show in every instance."""
        if self.idle:
            return
        self.note_nodes([event.member])
        gone = (None, Status.DEAD, Status.LEFT)
        if event.before in gone and event.after not in gone:  # its records may have come before it did
            self._appeared.add(event.member)

    def note_nodes(self, names: Iterable[str]) -> None:
        """Mark what the nodes *names* publish: whether they count as reachable changed."""
        for name in names:
            for key in self._keys_of_node.get(name, ()):
                self._mark(key)

    def note_all(self) -> None:
        """Mark everything: what is remote began or ceased to be degraded."""
        self._dirty.clear()
        self._reread = not self.idle

    def changes(self, *, now: float) -> list[InstanceChange]:
        """Look at all that was marked; return the differences to what was told, which counts as told from now on."""
        dirty, appeared, reread = self._dirty, self._appeared, self._reread
        self._dirty, self._appeared, self._reread = set(), set(), False
        changes: list[InstanceChange] = []
        if reread:
            for service in [None] if self._all else list(self._services):
                changes += self._compare(service, now)
        else:
            for node in sorted(appeared):
                changes += self._differences(self._view.instances(node=node, now=now))
            for key in sorted(dirty):
                changes += self._difference(key, self._view.instance(*key, now=now))
        return changes

    def _compare(self, service: str | None, now: float) -> list[InstanceChange]:
        """Return how all that the View has of *service* differs from what was told."""
        rows = self._view.instances(service=service, now=now)
        changes = self._differences(rows)
        present = {_key(row) for row in rows}
        known = self._rows.keys() if service is None else self._keys_of_service.get(service, set())
        for key in sorted(known - present):  # gone, or under another service by now
            changes += self._difference(key, self._view.instance(*key, now=now))
        return changes

    def _differences(self, rows: Iterable[InstanceRow]) -> list[InstanceChange]:
        return [change for row in rows for change in self._difference(_key(row), row)]

    def _difference(self, key: Key, row: InstanceRow | None) -> list[InstanceChange]:
        """Return how *row* differs from what was told under *key*, and take it as told."""
        if row is not None and not (self._all or row.service in self._services):
            row = None
        told = self._rows.get(key)
        if told is not None and row is not None and told.service == row.service:
            if _SHOWN(told) == _SHOWN(row):
                return []
            self._rows[key] = row
            return [InstanceChange(kind="changed", row=row)]
        changes = []
        if told is not None:
            self._forget(key)
            changes.append(InstanceChange(kind="down", row=told))
        if row is not None:
            self._rows[key] = row
            self._keys_of_node.setdefault(row.node, set()).add(key)
            self._keys_of_service.setdefault(row.service, set()).add(key)
            changes.append(InstanceChange(kind="up", row=row))
        return changes

    def _forget(self, key: Key) -> None:
        row = self._rows.pop(key)
        for keys_of, name in ((self._keys_of_node, row.node), (self._keys_of_service, row.service)):
            keys_of[name].discard(key)
            if not keys_of[name]:
                del keys_of[name]

    def _mark(self, key: Key) -> None:
        self._dirty.add(key)
        if len(self._dirty) > DIRTY_MAX:
            self._dirty.clear()
            self._reread = True


def status_name(status: Status | None) -> str | None:
    """Return *status* as rows call it."""
    return None if status is None else _STATUS_NAMES[status]


def is_about_node(event: RecordChanged) -> bool:
    """Return whether *event* changed what a node says of itself: its labels, its software."""
    return any(record is not None and isinstance(record.content, NodeInfo) for record in (event.before, event.after))


def _service_names(event: RecordChanged) -> list[str]:
    contents = [record.content for record in (event.before, event.after) if record is not None]
    return [content.name for content in contents if isinstance(content, Service)]


def _key(row: InstanceRow) -> Key:
    return (row.node, row.id)
