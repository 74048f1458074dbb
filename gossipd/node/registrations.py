"""Local registrations: what this host's applications asked us to publish, and who holds each (D8).

Held by a connection, an instance goes when the connection has been lost for the grace period; by a process, at once when that
ends; kept or configured, it stays until it is deregistered. The last to register an id holds it. A lease is a check of its own
(`LEASE`), so that whoever does not renew is first critical and then gone.
"""

from dataclasses import dataclass

from gossipd.checks import Check, Ttl
from gossipd.core.deadlines import Deadlines
from gossipd.errors import RequestError
from gossipd.limits import REGISTRATIONS_PER_UID_MAX
from gossipd.node.decisions import StoredDecision
from gossipd.node.view import Holder
from gossipd.records import Health, Service

LEASE = "lease"
"""Id of the check that a lease is."""

LEASE_GONE_AFTER = 3
"""An instance goes when its lease was not renewed for so many times its length; Eureka's 30 s and 90 s."""


@dataclass(frozen=True, slots=True)
class Registration:
    """*checks*: as they were given; a lease comes on top."""

    service: Service
    holder: Holder
    checks: tuple[Check, ...] = ()

    def all_checks(self) -> tuple[Check, ...]:
        """Return *checks* and the lease. Raises: RequestError if one of them has the lease's id."""
        lease_s = self.holder.lease_s
        if any(check.id == LEASE for check in self.checks):
            raise RequestError("bad_request", f"checks: id={LEASE!r}, expected another: it is the lease's own")
        if lease_s is None:
            return self.checks
        gone_s = (LEASE_GONE_AFTER - 1) * lease_s
        lease = Check(id=LEASE, target=Ttl(ttl_s=lease_s), initial=Health.PASSING, deregister_critical_after_s=gone_s)
        return (*self.checks, lease)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRegistration:
    """One that survives a restart."""

    service: Service
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What must be on disk to survive a restart."""

    registrations: tuple[KeptRegistration, ...] = ()
    decisions: tuple[StoredDecision, ...] = ()


NOTHING_KEPT = Kept()


class Registrations:
    """By instance id; the records they become are bounded by the owner's quota, so these are too."""

    def __init__(self, *, grace_s: float) -> None:
        self._grace_s = grace_s
        self._held: dict[str, Registration] = {}
        self._lost: Deadlines[str] = Deadlines()
        self._pids: dict[int, set[str]] = {}
        self._of_uid: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, id: str) -> bool:
        return id in self._held

    def __getitem__(self, id: str) -> Registration:
        return self._held[id]

    def ids(self) -> list[str]:
        """Return all ids, sorted."""
        return sorted(self._held)

    def get(self, id: str) -> Registration | None:
        return self._held.get(id)

    def kept(self) -> list[KeptRegistration]:
        """Return what must survive a restart, by id."""
        return [
            KeptRegistration(service=held.service, checks=held.checks)
            for _, held in sorted(self._held.items())
            if held.holder.kind == "kept"
        ]

    def watched(self, pid: int) -> bool:
        """Return whether process *pid* holds anything."""
        return pid in self._pids

    def refuse(self, id: str, holder: Holder) -> None:
        """Raise RequestError("quota") if the user of *holder* holds too many to hold *id*, too."""
        held = self._held.get(id)
        if not holder.uid or (held is not None and held.holder.uid == holder.uid):
            return
        if self._of_uid.get(holder.uid, 0) >= REGISTRATIONS_PER_UID_MAX:
            most = REGISTRATIONS_PER_UID_MAX
            raise RequestError("quota", f"user {holder.uid} holds {most} instances, expected at most {most}")

    def set(self, new: Registration) -> bool:
        """Hold *new*; return whether what is kept has changed. A lost connection's instance is taken over without a blip."""
        id = new.service.id
        before = self._held.get(id)
        if before is not None:
            self._let_go(id, before.holder)
        self._held[id] = new
        holder = new.holder
        if holder.pid is not None:
            self._pids.setdefault(holder.pid, set()).add(id)
        if holder.uid:
            self._of_uid[holder.uid] = self._of_uid.get(holder.uid, 0) + 1
        self._lost.cancel(id)
        return before != new and "kept" in (holder.kind, before.holder.kind if before is not None else None)

    def remove(self, id: str) -> Registration:
        """Hold *id* no more; return what it was."""
        self._lost.cancel(id)
        held = self._held.pop(id)
        self._let_go(id, held.holder)
        return held

    def connection_lost(self, connection: int, *, now: float) -> None:
        """Give the client of *connection* the grace period to come back for its instances."""
        for id, held in self._held.items():
            if held.holder.connection == connection:
                self._lost.set(id, now + self._grace_s)

    def of_pid(self, pid: int) -> list[str]:
        """Return what process *pid* holds, sorted."""
        return sorted(self._pids.get(pid, ()))

    def shift(self, by_s: float) -> None:
        """Give everybody *by_s* seconds more to come back."""
        self._lost.shift(by_s)

    def next_deadline(self) -> float:
        return self._lost.next()

    def pop_due(self, *, now: float) -> list[str]:
        """Return the ids whose grace is over; `remove` them."""
        return self._lost.pop_due(now)

    def _let_go(self, id: str, holder: Holder) -> None:
        if holder.pid is not None:
            ids = self._pids[holder.pid]
            ids.discard(id)
            if not ids:
                del self._pids[holder.pid]
        if holder.uid:
            self._of_uid[holder.uid] -= 1
            if not self._of_uid[holder.uid]:
                del self._of_uid[holder.uid]
