"""When to sync next: soon while syncs find that views differ, ever more rarely while they do not."""

from random import Random

from gossipd.config import SyncConfig
from gossipd.core.events import SyncFinished

HURRY = 0.1
"""Part of the pause that whoever may wait less, after a sync that found a difference, waits all the same."""

GIVEN_MOST = 4
"""Syncs of ours that only gave and count as a difference, until one changes something: who refuses a gift lacks it for ever."""


class Pace:
    """`due` is when the next sync is to begin. It moves later only when one begins: no peer can keep us from ours."""

    def __init__(self, config: SyncConfig, *, rng: Random, now: float) -> None:
        self._config = config
        self._rng = rng
        self._pause_s = config.interval_s
        self._given = 0
        """Syncs opened by us that only gave, since one changed something."""
        self.due = now + rng.uniform(0, config.interval_s)

    def begun(self, *, now: float) -> None:
        """A sync begins: should it fail, the next is as far away as can be."""
        self.due = now + self._config.interval_s

    def finished(self, event: SyncFinished, *, whole_s: float, now: float) -> None:
        """A sync succeeded; our budget of syncs is whole again in *whole_s* seconds if nobody draws on it.

        After one that found a difference the next comes when the budget is whole, or earlier by up to half of the wait, but
        neither at once nor later than `reconnect_interval_s`. What the peer lacked is a difference as well: where much differs an
        answer lists a part of it, and what we lack may be in another. One that others opened and that brought us nothing
        counts for nothing, and so does a fetch: it says nothing of what else we lack.
        """
        if event.fetch or not (event.changed or event.opened_by_us):
            return
        config = self._config
        gave = event.items_sent > 0 and not event.changed
        self._given = 0 if event.changed else self._given + gave
        differed = event.changed or (gave and self._given <= GIVEN_MOST)
        self._pause_s = min(config.reconnect_interval_s if differed else 2 * self._pause_s, config.interval_s)
        wait_s = min(max(HURRY * self._pause_s, whole_s), self._pause_s) if differed else self._pause_s
        self.due = min(self.due, now + self._rng.uniform(0.5, 1.0) * wait_s)

    def soon(self, *, now: float) -> None:
        """We may have missed something: sync within `reconnect_interval_s`."""
        self._pause_s = min(self._config.reconnect_interval_s, self._config.interval_s)
        self.due = min(self.due, now + self._rng.uniform(0.5, 1.0) * self._pause_s)
