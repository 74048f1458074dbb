"""Local registrations: what this host's applications asked us to publish, and who holds each.

Held by a connection, an instance goes when the connection has been lost for the grace period; kept, it stays until it is
deregistered, also over restarts (D8). The last to register an id holds it.
"""

from dataclasses import dataclass

from gossipd.core.deadlines import Deadlines
from gossipd.records import Service


@dataclass(frozen=True, slots=True)
class Registration:
    """*connection* None: kept by the daemon."""

    service: Service
    connection: int | None


class Registrations:
    """By instance id; the records they become are bounded by the owner's quota, so these are too."""

    def __init__(self, *, grace_s: float) -> None:
        self._grace_s = grace_s
        self._held: dict[str, Registration] = {}
        self._lost: Deadlines[str] = Deadlines()

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, id: str) -> bool:
        return id in self._held

    def kept(self) -> list[Service]:
        """Return what must survive a restart, by id."""
        return [held.service for _, held in sorted(self._held.items()) if held.connection is None]

    def set(self, service: Service, *, connection: int | None) -> bool:
        """Hold *service*; return whether what is kept has changed. A lost connection's instance is taken over without a blip."""
        before = self._held.get(service.id)
        now_held = Registration(service, connection)
        self._held[service.id] = now_held
        self._lost.cancel(service.id)
        return before != now_held and (connection is None or (before is not None and before.connection is None))

    def remove(self, id: str) -> bool:
        """Hold *id* no more; return whether what is kept has changed."""
        self._lost.cancel(id)
        return self._held.pop(id).connection is None

    def connection_lost(self, connection: int, *, now: float) -> None:
        """Give the client of *connection* the grace period to come back for its instances."""
        for id, held in self._held.items():
            if held.connection == connection:
                self._lost.set(id, now + self._grace_s)

    def next_deadline(self) -> float:
        return self._lost.next()

    def pop_due(self, *, now: float) -> list[str]:
        """Return the ids whose grace is over; `remove` them."""
        return self._lost.pop_due(now)
