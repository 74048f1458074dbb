"""Saying goodbye: first no new work, then the farewell, then a while of answering probes.

A node with instances drains itself: everybody hears that its mode is DRAINING, and for `drain_s` clients may go elsewhere while all
still works. Then it leaves. A step that takes too long is cut short, so that the whole ends within `timeout_s`.
"""

import math

from gossipd.config import LeaveConfig
from gossipd.core.events import LeaveFinished
from gossipd.node.machines import Machines
from gossipd.wire.records import NODE_KEY

DRAIN_PART = 0.5
"""Part of the time until lingering that draining may take while the news has not gone out; *drain_s* if that is longer."""


class Leaving:
    """One node's way out; `begin` it once, and `go_on` after every input."""

    def __init__(self, config: LeaveConfig, machines: Machines) -> None:
        self._config = config
        self._m = machines
        self.begun = False
        self._said = False
        """Whether the farewell is under way, or done."""
        self._drained_at = math.inf
        self._drain_by = math.inf
        self._leave_by = math.inf
        self._linger_until = math.inf
        self._heard = True

    @property
    def draining(self) -> bool:
        return self.begun and not self._said

    def begin(self, *, drain: bool, now: float) -> None:
        """Go: *drain* first, if there is anything to drain and anybody to tell."""
        self.begun = True
        room_s = self._config.timeout_s - self._config.linger_s
        self._leave_by = now + room_s
        if drain and self._config.drain_s > 0:
            self._drained_at = now + self._config.drain_s
            self._drain_by = now + max(self._config.drain_s, room_s * DRAIN_PART)
        else:
            self._say(now=now)

    def next_deadline(self) -> float:
        if not self.begun:
            return math.inf
        if self.draining:
            return min(self._drained_at, self._drain_by)
        return min(self._leave_by, self._linger_until)

    def go_on(self, *, now: float) -> None:
        """Take the next step if it is time; LeaveFinished follows the last."""
        if self.draining:
            if self._drained_at <= now:
                self._drained_at = math.inf
            over = self._drained_at == math.inf and self._m.told(NODE_KEY)
            if over or self._drain_by <= now:
                self._say(now=now)
        elif self._linger_until <= now:
            self._linger_until = math.inf
            self._m.report(LeaveFinished(heard=self._heard), now=now)
        elif self._leave_by < math.inf:
            said = self._m.table.me not in self._m.spreader.membership
            if said or self._leave_by <= now:
                self._linger(heard=said, linger_s=self._config.linger_s, now=now)

    def _say(self, *, now: float) -> None:
        """Tell everybody that we are gone."""
        self._said = True
        self._m.prober.stop()
        self._m.rejoin.stop()
        self._m.perform(self._m.table.leave(now=now), now=now)
        if not self._m.table.live:
            self._linger(heard=False, linger_s=0.0, now=now)

    def _linger(self, *, heard: bool, linger_s: float, now: float) -> None:
        """Answer probes a little longer, or leaving would look like a crash."""
        self._heard = heard
        self._leave_by = math.inf
        self._linger_until = now + linger_s
