"""A checked request becomes an encoded result: reads from the View, with their trust (D9); writes through Commands.

What is asked again and again (`resolve`, snapshots of watches) is encoded once and kept, by what was asked and in which
encoding, until the view's index moves on or it is AGE_STALE_S old, because its ages go on growing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import assert_never

from gossipd.api import requests
from gossipd.api.encoding import Encoding, plain
from gossipd.api.requests import CALLER, ReadRequest, WriteRequest
from gossipd.errors import RequestError
from gossipd.node.view import Commands, Holder, InstanceRow, View

AGE_STALE_S = 0.5
"""How far the ages in a kept answer may lag: far below the second or so between two proofs of life."""

KEPT_ENTRIES_MAX = 1_024
"""Answers kept: every (service, parameters, encoding) of a busy host, and a bound on asking for names that do not
exist."""

KEPT_BYTES_MAX = 16 * 1024 * 1024
"""Bytes of all kept answers: 1,024 of 16 kB, about 40 instances each. Past either cap everything is dropped and built
anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks: the number of the connection, and process and user at its other end as the kernel saw them."""

    connection: int
    pid: int
    uid: int


@dataclass(slots=True, kw_only=True)
class Counters:
    """Of the whole socket; only grow, but for *connections* and *watches*, which are gauges."""

    connections: int = 0
    connections_accepted: int = 0
    connections_refused: int = 0
    """One too many for API_CONNECTIONS_MAX."""
    connections_stalled: int = 0
    """Closed because they did not read their replies, or did not finish a message."""
    requests: int = 0
    errors: int = 0
    """Requests answered with an error."""
    bad_frames: int = 0
    watches: int = 0
    resyncs: int = 0
    """Times a watcher fell behind and was given a fresh snapshot."""


@dataclass(slots=True, kw_only=True)
class Kept:
    """Rows as bytes, and the view that goes with them as of *viewed_at*."""

    index: int
    made_at: float
    rows: bytes
    owners: list[str]
    viewed_at: float = -1.0
    result: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class _All:
    """What a watch begins with: the instances of one service or of all, or the members."""

    kind: str
    service: str | None = None


class Answers:
    """Everything that can be answered without waiting. One for all connections."""

    def __init__(
        self,
        *,
        view: View,
        commands: Commands,
        statistics: Callable[[], Mapping[str, int]],
        shell: Callable[[], Mapping[str, object]] = dict,
    ) -> None:
        """*statistics*: the counters of the socket; *shell*: those of what moves bytes for the node."""
        self._view = view
        self._commands = commands
        self._statistics = statistics
        self._shell = shell
        self._kept: dict[tuple[object, Encoding], Kept] = {}
        self._kept_bytes = 0

    @property
    def kept_entries(self) -> int:
        return len(self._kept)

    def answer(self, request: ReadRequest | WriteRequest, *, encoding: Encoding, caller: Caller, now: float) -> bytes:
        """Return the encoded result. Raises: RequestError, from Commands or View; then nothing has changed."""
        match request:
            case requests.Resolve():
                return self._resolve(request, encoding, now)
            case requests.Members():
                return self._read("members", self._view.members(now=now), encoding, now)
            case requests.Services():
                return self._read("services", self._view.services(now=now), encoding, now)
            case requests.Info():
                return self._read("info", self._view.info(now=now), encoding, now)
            case requests.Why():
                return self._read("evidence", self._view.why(request.subject, now=now), encoding, now)
            case requests.Statistics():
                return self._read("statistics", self._all_statistics(now), encoding, now)
            case requests.Checks():
                return self._read("checks", self._view.checks(request.id, now=now), encoding, now)
            case requests.Registrations():
                return self._registrations(encoding, now)
            case _:
                return encoding.value(plain(self._do(request, caller, now)))

    def _do(self, request: WriteRequest, caller: Caller, now: float) -> dict[str, object]:
        """Do what *request* says and return the result."""
        commands = self._commands
        match request:
            case requests.Register():
                holder = _holder(request, caller)
                row = commands.register(request.service, holder=holder, checks=request.checks, now=now)
                return {"registration": row}
            case requests.Deregister():
                commands.deregister(request.id, now=now)
            case requests.Heartbeat():
                commands.renew(request.id, now=now)
            case requests.CheckUpdate():
                commands.report(request.id, request.check, request.result, now=now)
            case requests.Drain():
                reason, deadline_s = request.reason, request.deadline_s
                return {"drain": commands.drain(request.id, reason=reason, deadline_s=deadline_s, now=now)}
            case requests.Undrain():
                commands.undrain(request.id, now=now)
            case requests.Maintenance():
                commands.maintain(request.id, reason=request.reason, now=now)
            case requests.Progress():
                return {"drain": commands.progress(request.id, request.remaining, now=now)}
            case requests.Undamp():
                commands.undamp(request.id, now=now)
            case _:
                assert_never(request)
        return {}

    def snapshot_rows(self, kind: str, service: str | None, *, encoding: Encoding, now: float) -> bytes:
        """Return all rows of *kind* ("instances", of *service* or of all, or "members"), encoded, unreachable ones
        included."""
        key = _All(kind=kind, service=service)
        kept = self._fresh((key, encoding), now)
        if kept is None:
            view = self._view
            rows = view.members(now=now) if kind == "members" else view.instances(service=service, now=now)
            kept = self._keep((key, encoding), encoding.value(plain(rows)), [], now)
        return kept.rows

    def trust(self, *, now: float) -> object:
        """Return the view of all owners, as a plain value."""
        return plain(self._view.trust(now=now))

    def _resolve(self, request: requests.Resolve, encoding: Encoding, now: float) -> bytes:
        kept = self._fresh((request, encoding), now)
        if kept is None:
            rows = self._chosen(request, now)
            owners = sorted({row.node for row in rows})
            kept = self._keep((request, encoding), encoding.value(plain(rows)), owners, now)
        if kept.viewed_at != now:  # requests that were read together have the same now
            view = plain(self._view.trust(owners=kept.owners, now=now))
            kept.viewed_at = now
            kept.result = encoding.mapping((("instances", kept.rows), ("view", encoding.value(view))))
        return kept.result

    def _chosen(self, request: requests.Resolve, now: float) -> list[InstanceRow]:
        """Return the instances asked for: passing ones first, then by node and id."""
        rows = self._view.instances(service=request.service, now=now)
        if request.tag is not None:
            rows = [row for row in rows if request.tag in row.tags]
        passing = [row for row in rows if row.status == "passing"]
        if request.include_unreachable:
            passing += [row for row in rows if row.status != "passing"]
        return passing[: request.limit]

    def _read(self, name: str, found: object, encoding: Encoding, now: float) -> bytes:
        return encoding.value({name: plain(found), "view": self.trust(now=now)})

    def _registrations(self, encoding: Encoding, now: float) -> bytes:
        rows, node = self._view.registrations(now=now), self._view.node_state(now=now)
        return encoding.value({"registrations": plain(rows), "node": plain(node), "view": self.trust(now=now)})

    def _all_statistics(self, now: float) -> dict[str, object]:
        statistics = plain(self._view.statistics(now=now))
        assert isinstance(statistics, dict)
        return {**statistics, "api": dict(self._statistics()), "shell": plain(dict(self._shell()))}

    def _fresh(self, key: tuple[object, Encoding], now: float) -> Kept | None:
        kept = self._kept.get(key)
        if kept is None or kept.index != self._view.index or now - kept.made_at >= AGE_STALE_S:
            return None
        return kept

    def _keep(self, key: tuple[object, Encoding], rows: bytes, owners: list[str], now: float) -> Kept:
        """Return the new entry; an answer too large to share the room with others is made but not kept."""
        kept = Kept(index=self._view.index, made_at=now, rows=rows, owners=owners)
        former = self._kept.pop(key, None)
        if former is not None:
            self._kept_bytes -= _cost(former)
        if _cost(kept) > KEPT_BYTES_MAX // 4:
            return kept
        if len(self._kept) >= KEPT_ENTRIES_MAX or self._kept_bytes + _cost(kept) > KEPT_BYTES_MAX:
            self._kept.clear()
            self._kept_bytes = 0
        self._kept[key] = kept
        self._kept_bytes += _cost(kept)
        return kept


def _cost(kept: Kept) -> int:
    """Return the bytes that *kept* holds: the rows, and the result around a copy of them."""
    return 2 * len(kept.rows)


def _holder(request: requests.Register, caller: Caller) -> Holder:
    """Return who is to hold what *request* registers. Raises: RequestError."""
    pid = request.pid
    if pid == CALLER:
        pid = caller.pid
        if pid == CALLER:  # the kernel shows no process of another pid namespace
            raise RequestError(
                "bad_request", "params.pid=true, expected a number: the daemon does not see your process"
            )
    connection = caller.connection if request.holder == "connection" else None
    return Holder(kind=request.holder, connection=connection, lease_s=request.lease_s, pid=pid, uid=caller.uid)
