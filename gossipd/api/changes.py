"""Changes as they are told: each encoded once an encoding, and held for a while for those who come back.

Knows what a scope is, and nothing of watchers: the name of a service, ALL services, MEMBERS; VIEW goes to everybody.
"""

from collections import deque
from collections.abc import Iterable, Mapping

from gossipd.api.encoding import JSON, Encoding
from gossipd.limits import WATCH_LINGER_S, WATCH_LINGERING_MAX, WATCH_LOG_BYTES_MAX, WATCH_LOG_MAX

ALL, MEMBERS, VIEW = "*", "@members", "@view"
"""Scopes that are no service: no DNS label is like them."""


class Change:
    """One event, as a plain value and, once somebody reads it, as bytes."""

    __slots__ = ("_encoded", "event", "index", "scope")

    def __init__(self, scope: str, event: Mapping[str, object], *, index: int) -> None:
        self.scope = scope
        self.index = index
        self.event = {**event, "index": index}
        self._encoded: dict[tuple[Encoding, bool], bytes] = {}

    def encoded(self, encoding: Encoding, *, more: bool) -> bytes:
        """Return the event; *more*: others of the same index follow for whoever reads it."""
        found = self._encoded.get((encoding, more))
        if found is None:
            found = encoding.value({**self.event, "more": True} if more else self.event)
            self._encoded[encoding, more] = found
        return found


class ChangeLog:
    """The last changes: at most WATCH_LOG_MAX of them, of WATCH_LOG_BYTES_MAX bytes as JSON."""

    def __init__(self) -> None:
        self._changes: deque[Change] = deque()
        self._bytes = 0
        self._lost = -1
        """The largest index of a change that is not held."""

    def append(self, change: Change) -> None:
        self._changes.append(change)
        self._bytes += _size(change)
        while len(self._changes) > WATCH_LOG_MAX or self._bytes > WATCH_LOG_BYTES_MAX:
            dropped = self._changes.popleft()
            self._bytes -= _size(dropped)
            self.lose(dropped.index)

    def lose(self, index: int) -> None:
        """Say that changes up to *index* happened that are not here."""
        self._lost = max(self._lost, index)

    def after(self, index: int, scopes: Iterable[str]) -> list[Change] | None:
        """Return the changes after *index* that belong to *scopes* or to everybody; None if some are not held any more."""
        if index < self._lost:
            return None
        wanted = {VIEW, *scopes}
        everything = ALL in wanted
        return [
            change
            for change in self._changes
            if change.index > index and (change.scope in wanted or (everything and change.scope not in (MEMBERS, VIEW)))
        ]


class Scopes:
    """What is watched, by whom counted, and what was a moment ago: it is followed on for WATCH_LINGER_S, so that whoever lost the
    connection finds what it missed."""

    def __init__(self) -> None:
        self._watchers: dict[str, int] = {}
        self._lingering: dict[str, float] = {}
        self._begun: dict[str, int] = {}

    def __contains__(self, scope: str) -> bool:
        return scope in self._begun

    def __len__(self) -> int:
        return len(self._begun)

    def enter(self, scope: str, *, index: int) -> bool:
        """Count one watcher of *scope*; return whether it was not followed until now, *index*."""
        self._watchers[scope] = self._watchers.get(scope, 0) + 1
        self._lingering.pop(scope, None)
        if scope in self._begun:
            return False
        self._begun[scope] = index
        return True

    def leave(self, scope: str, *, now: float) -> None:
        """Undo one `enter`."""
        self._watchers[scope] -= 1
        if not self._watchers[scope]:
            del self._watchers[scope]
            self._lingering[scope] = now + WATCH_LINGER_S

    def pop_over(self, *, now: float) -> list[str]:
        """Return what need not be followed any more."""
        over = []
        for scope, until in list(self._lingering.items()):  # in the order of their times
            if until > now and len(self._lingering) <= WATCH_LINGERING_MAX:
                break
            del self._lingering[scope], self._begun[scope]
            over.append(scope)
        return over

    def followed_since(self, scope: str, index: int) -> bool:
        """Return whether every change of *scope* after *index* was seen."""
        begun = [
            self._begun[each] for each in (scope, ALL) if each in self._begun and (each == scope or scope != MEMBERS)
        ]
        return any(at <= index for at in begun)


def _size(change: Change) -> int:
    return len(change.encoded(JSON, more=False))
