"""When to sync next: soon while syncs bring what we lacked, ever more rarely while they do not."""

from random import Random

from gossipd.config import SyncConfig
from gossipd.core.events import SyncFinished

HURRY = 0.1
"""Part of the pause that is waited in a hurry."""


class Pace:
    """`due` is when the next sync is to begin."""

    def __init__(self, config: SyncConfig, *, rng: Random, now: float) -> None:
        self._config = config
        self._rng = rng
        self._pause_s = config.interval_s
        self.due = now + rng.uniform(0, config.interval_s)

    def begun(self, *, now: float) -> None:
        """A sync begins: should it fail, the next is as far away as can be."""
        self.due = now + self._config.interval_s

    def finished(self, event: SyncFinished, *, left: float, now: float) -> None:
        """A sync succeeded, whoever opened it; *left* bytes of our budget are there.

        After one that changed something the next comes in a hurry while we have sent little: then others have, too.
        """
        config = self._config
        self._pause_s = min(config.reconnect_interval_s if event.changed else 2 * self._pause_s, config.interval_s)
        hurry = event.changed and left > config.bytes_burst / 2
        self.due = now + self._rng.uniform(0.5, 1.0) * self._pause_s * (HURRY if hurry else 1.0)

    def soon(self, *, now: float) -> None:
        """We may have missed something: sync within `reconnect_interval_s`."""
        self._pause_s = min(self._config.reconnect_interval_s, self._config.interval_s)
        self.due = min(self.due, now + self._rng.uniform(0.5, 1.0) * self._pause_s)
