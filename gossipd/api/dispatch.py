"""A checked request becomes an encoded result: reads from the View, with their trust (D9); writes through Commands."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import assert_never

from gossipd.api import choosing, requests
from gossipd.api.encoding import Encoding, plain
from gossipd.api.kept import Kept, KeptAnswers
from gossipd.api.requests import CALLER, ReadRequest, WriteRequest
from gossipd.api.waiting import timed_out
from gossipd.errors import RequestError
from gossipd.node.view import Commands, Holder, View


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks: the number of the connection, and process and user at its other end as the kernel saw them."""

    connection: int
    pid: int
    uid: int


@dataclass(slots=True, kw_only=True)
class Counters:
    """Of the whole socket; only grow, but for *connections*, *watches* and *waits*, which are gauges."""

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
    waits: int = 0
    resyncs: int = 0
    """Times a watcher fell behind, or came back too late, and was given a fresh snapshot."""


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
        self._kept = KeptAnswers()

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
        view, key = self._view, (_All(kind=kind, service=service), encoding)
        kept = self._kept.get(key, index=view.index, now=now)
        if kept is None:
            rows = view.members(now=now) if kind == "members" else view.instances(service=service, now=now)
            made = Kept(index=view.index, made_at=now, rows=encoding.value(plain(rows)), owners=[])
            kept = self._kept.put(key, made)
        return kept.rows

    def trust(self, *, now: float) -> object:
        """Return the view of all owners, as a plain value."""
        return plain(self._view.trust(now=now))

    def waited(self, request: requests.Wait, *, encoding: Encoding, now: float) -> bytes | None:
        """Return the result of *request*, None if too few instances are ready. Raises: RequestError if these are not good
        enough."""
        if self._found(request.resolve, encoding, now).ready < request.ready:
            return None
        return self._resolve(request.resolve, encoding, now)

    def waited_in_vain(self, request: requests.Wait, unmet: RequestError | None, *, now: float) -> RequestError:
        """Return what to answer when the time of *request* is over; *unmet*: what `waited` raised last."""
        return timed_out(self._view, request, unmet, now=now)

    def _found(self, request: requests.Resolve, encoding: Encoding, now: float) -> Kept:
        kept = self._kept.get((request, encoding), index=self._view.index, now=now)
        if kept is None:
            kept = self._kept.put((request, encoding), self._chosen(request, encoding, now))
        return kept

    def _resolve(self, request: requests.Resolve, encoding: Encoding, now: float) -> bytes:
        kept = self._found(request, encoding, now)
        if kept.viewed_at != now:  # requests that were read together have the same now
            kept.trust = self._view.trust(owners=kept.owners, now=now)
            kept.viewed_at = now
            view = encoding.value(plain(kept.trust))
            kept.result = encoding.mapping((("instances", kept.rows), ("view", view)))
        if kept.degraded or request.demand is not None:
            _require(kept, request.demand)
        return kept.result

    def _chosen(self, request: requests.Resolve, encoding: Encoding, now: float) -> Kept:
        """Return the instances asked for, encoded."""
        view, where = self._view, request.where
        known = choosing.matching(view.instances(service=request.service, now=now), where)
        labels = view.info(now=now).labels if request.near else {}
        rows = choosing.choose(request, known, here=(labels.get("zone"), labels.get("region")))
        shows_all = where is not None and where.status is not None and len(where.status) == len(choosing.STATUSES)
        return Kept(
            index=view.index,
            made_at=now,
            rows=encoding.value(plain(rows)),
            owners=sorted({row.node for row in rows}),
            ready=sum(row.ready for row in rows),
            degraded=sum(row.degraded for row in rows) if view.guard_policy == "refuse" and not shows_all else 0,
        )

    def _read(self, name: str, found: object, encoding: Encoding, now: float) -> bytes:
        return encoding.value({name: plain(found), "view": self.trust(now=now)})

    def _registrations(self, encoding: Encoding, now: float) -> bytes:
        rows, node = self._view.registrations(now=now), self._view.node_state(now=now)
        return encoding.value({"registrations": plain(rows), "node": plain(node), "view": self.trust(now=now)})

    def _all_statistics(self, now: float) -> dict[str, object]:
        statistics = plain(self._view.statistics(now=now))
        assert isinstance(statistics, dict)
        return {**statistics, "api": dict(self._statistics()), "shell": plain(dict(self._shell()))}


def _require(kept: Kept, demand: requests.Demand | None) -> None:
    """Raise RequestError if *kept* is not as good as *demand* says, or as the guard's policy does."""
    trust = kept.trust
    assert trust is not None
    details = {"view": plain(trust)}
    if kept.degraded:
        message = f"the nodes of {kept.degraded} of the instances may be gone, and guard.policy is 'refuse'"
        raise RequestError("degraded", message, details=details)
    if demand is None:
        return
    age_s, alive = trust.stalest_owner_age_s, trust.members_alive
    if demand.max_age_s is not None and age_s > demand.max_age_s:
        message = (
            f"an owner was last vouched for {age_s:.3f} s ago, expected at most params.max_age={demand.max_age_s:g}"
        )
        raise RequestError("stale", message, details=details)
    if demand.min_members is not None and alive < demand.min_members:
        message = f"{alive} members are believed alive, expected at least params.min_members={demand.min_members}"
        raise RequestError("few_members", message, details=details)


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
