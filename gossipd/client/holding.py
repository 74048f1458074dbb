"""A registration for as long as a block runs: what it can be told meanwhile, and how it ends without losing a request."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gossipd.client.base import BaseDiscovery
from gossipd.errors import RequestError

if TYPE_CHECKING:
    from gossipd.client.blocking import Discovery

DRAIN_REASON = "its program stops"

DRAIN_LOOK_S = 0.05
"""Pause between two looks at whether a drain is done."""


class Pace:
    """When a lease of *lease_s* seconds is due to be renewed: each third of it, so that two renewals may be lost."""

    def __init__(self, lease_s: float | None, *, now: float) -> None:
        self._every_s = 0.0 if lease_s is None else lease_s / 3
        self._due_at = now + self._every_s

    def is_due(self, *, now: float) -> bool:
        """Return whether to renew at *now*; if so the next is due later."""
        if now < self._due_at:
            return False
        self._due_at = now + self._every_s
        return True


class BaseRegistered:
    """An instance that is registered while a `registered` block runs."""

    def __init__(self, client: BaseDiscovery, id: str, *, lease_s: float | None) -> None:
        self._client = client
        self.id = id
        self._pace = Pace(lease_s, now=time.monotonic())

    @property
    def error(self) -> RequestError | None:
        """Why the daemon refused it when it was registered again after a reconnection; None: it did not."""
        kept = self._client._session.registrations.get(self.id)
        return None if kept is None else kept.error

    def _due(self) -> bool:
        return self._client.connected and self._pace.is_due(now=time.monotonic())


class Registered(BaseRegistered):
    """An instance that is registered while a `Discovery.registered` block runs."""

    _client: "Discovery"

    def heartbeat(self) -> bool:
        """Renew the lease if a third of it has passed; return whether that was done. Call it as often as work is done.

        Does nothing while the daemon is away: with the connection the lease is begun anew. Raises: RequestError `bad_request`
        if there is no lease.
        """
        due = self._due()
        if due:
            self._client.call("heartbeat", id=self.id)
        return due

    def progress(self, remaining: int) -> None:
        """Say how much work is left while it drains; at 0 the drain is done. Raises: RequestError."""
        self._client.call("progress", id=self.id, remaining=remaining)


def drained_before(row: Mapping[str, object]) -> bool:
    """Return whether the registration *row* drains because its program was stopped, and killed before it could withdraw it.

    The daemon keeps that decision for a day. What others decided stays.
    """
    return row["mode"] == "draining" and row["reason"] == DRAIN_REASON


def drain_of(result: dict[str, Any], id: str) -> dict[str, Any] | None:
    """Return how far the drain of *id* is, in an answer to `registrations`; None if there is none."""
    return next((row["drain"] for row in result["registrations"] if row["id"] == id), None)
