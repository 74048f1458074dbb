"""What `gossipd top` knows: members, instances and the last changes, made from the events of one watch. No terminal, no clock."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gossipd.cli import render

CHANGES_MAX = 500
"""Changes remembered: more than any screen shows, and enough to look for something with a filter."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """*text* tells people what happened at *at* (the caller's clock); *status* is the one it led to, for its colour."""

    at: float
    text: str
    status: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLine:
    """A service in one line; *others*: how many instances are not ready, by status."""

    name: str
    ready: int
    known: int
    degraded: int
    others: Mapping[str, int]

    @property
    def troubled(self) -> bool:
        return self.ready < self.known or self.degraded > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberLine:
    name: str
    status: str
    since: float
    """When it became so, by the caller's clock."""
    address: str
    labels: str
    me: bool


class Picture:
    """Give it every event of a watch with `members` and `services`, and say when the daemon is lost."""

    def __init__(self) -> None:
        self._members: dict[str, tuple[Row, float]] = {}
        self._instances: dict[tuple[str, str], Row] = {}
        self._view: Row | None = None
        self.changes: deque[Change] = deque(maxlen=CHANGES_MAX)
        """Newest last."""
        self.lost: Change | None = None
        """Why and since when nothing is heard of the daemon."""

    @property
    def isolated(self) -> bool:
        return self._view is not None and bool(self._view["isolated"])

    @property
    def me(self) -> str:
        """The node whose daemon is asked."""
        return next((name for name, (row, _) in self._members.items() if row["me"]), "")

    def services(self) -> list[ServiceLine]:
        """Return the services, those with something amiss first."""
        by_name: dict[str, list[Row]] = {}
        for row in self._instances.values():
            by_name.setdefault(row["service"], []).append(row)
        lines = [
            ServiceLine(
                name=name,
                ready=sum(row["ready"] for row in rows),
                known=len(rows),
                degraded=sum(row["degraded"] for row in rows),
                others=dict(sorted(Counter(row["status"] for row in rows if not row["ready"]).items())),
            )
            for name, rows in by_name.items()
        ]
        return sorted(lines, key=lambda line: (not line.troubled, line.name))

    def members(self) -> list[MemberLine]:
        """Return the members, those that are not alive first."""
        lines = [
            MemberLine(
                name=name,
                status=row["status"],
                since=at - row["since_s"],
                address=row["address"],
                labels=render.pairs(row["labels"]),
                me=row["me"],
            )
            for name, (row, at) in self._members.items()
        ]
        return sorted(lines, key=lambda line: (line.status == "alive", line.status == "left", line.name))

    def lose(self, why: str, *, at: float) -> None:
        """The daemon does not answer any more; what is known stays."""
        if self.lost is None:
            self.lost = Change(at, why)
            self.changes.append(Change(at, f"this node's daemon is lost: {why}", "failed"))

    def apply(self, event: Row, *, at: float) -> None:
        """Take *event*, that came at *at*."""
        match event["type"]:
            case "snapshot":
                self._take_snapshot(event, at=at)
            case "up" | "changed":
                self._set_instance(event["instance"], at=at)
            case "down":
                self._drop_instance(event["instance"], at=at)
            case "member":
                self._set_member(event["member"], event["before"], event["after"], at=at)
            case "view":
                self._set_view(event["view"], at=at)
            case "resync":
                self.changes.append(Change(at, "this reader fell behind; what is there now follows"))
            case _:
                pass  # of a newer daemon

    def _take_snapshot(self, event: Row, *, at: float) -> None:
        """What is there now; it differs from what was known where something happened unheard."""
        first = self._view is None
        known = dict(self._instances)
        for row in event["instances"]:
            if first:
                self._instances[row["node"], row["id"]] = row
            else:
                known.pop((row["node"], row["id"]), None)
                self._set_instance(row, at=at)
        if not first:
            for row in known.values():
                self._drop_instance(row, at=at)
        before = {name: row["status"] for name, (row, _) in self._members.items()}
        self._members = {row["name"]: (row, at) for row in event["members"]}
        for name, (row, _) in self._members.items():
            if not first and before.get(name) != row["status"]:
                self._tell_member(name, before.get(name), row["status"], at=at)
        self._set_view(event["view"], at=at)
        if self.lost is not None:
            self.lost = None
            self.changes.append(Change(at, "this node's daemon is back", "alive"))

    def _set_instance(self, row: Row, *, at: float) -> None:
        before = self._instances.get((row["node"], row["id"]))
        self._instances[row["node"], row["id"]] = row
        if before is None:
            what = f"is up, {row['status']}"
        elif before["status"] != row["status"]:
            what = f"{before['status']} -> {row['status']}" + (f" ({row['reason']})" if row["reason"] else "")
        elif before["degraded"] != row["degraded"]:
            what = "is degraded: its node may be gone" if row["degraded"] else "is no longer degraded"
        elif _lasting(before) != _lasting(row):
            what = "has changed"
        else:
            return
        self.changes.append(Change(at, f"{_named(row)} {what}", row["status"]))

    def _drop_instance(self, row: Row, *, at: float) -> None:
        before = self._instances.pop((row["node"], row["id"]), None)
        if before is not None:
            self.changes.append(Change(at, f"{_named(row)} is gone, was {before['status']}", "failed"))

    def _set_member(self, row: Row, before: str | None, after: str | None, *, at: float) -> None:
        if after is None:
            self._members.pop(row["name"], None)
        else:
            self._members[row["name"]] = (row, at)
        if before != after:
            self._tell_member(row["name"], before, after, at=at)

    def _tell_member(self, name: str, before: str | None, after: str | None, *, at: float) -> None:
        what = f"{before or 'unknown'} -> {after or 'forgotten'}"
        self.changes.append(Change(at, f"member {name} {what}", after or ""))

    def _set_view(self, view: Row, *, at: float) -> None:
        if self._view is not None and self._view["isolated"] != view["isolated"]:
            text = "this node is isolated: it hears nobody" if view["isolated"] else "this node hears the cluster again"
            self.changes.append(Change(at, text, "failed" if view["isolated"] else "alive"))
        self._view = view


def _named(row: Row) -> str:
    return f"{row['service']}: {row['id']} on {row['node']}"


def _lasting(row: Row) -> dict[str, Any]:
    """Return *row* without what merely grows older."""
    return {key: value for key, value in row.items() if key not in ("age_s", "node_status")}
