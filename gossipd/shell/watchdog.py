"""The watchdog: how late this process runs. Lateness is our own, and the node must know before it blames a peer (D3).

Costs no wake-up: it hears how late the driver's timer fired, and a node that has anything to lose has a timer running.
"""

import math

from gossipd.shell.driver import DrivenNode, Driver
from gossipd.shell.log import Log


class Watchdog:
    """Tells *node* of lateness from *threshold_s* on, and logs it. Remembers the worst for whoever asks."""

    def __init__(self, node: DrivenNode, *, threshold_s: float, log: Log) -> None:
        assert 0 < threshold_s < math.inf
        self._node = node
        self._threshold_s = threshold_s
        self._log = log
        self.worst_s = 0.0
        """Greatest lateness so far."""
        self.stalls = 0
        """Times that the lateness reached the threshold."""

    def attach(self, driver: Driver) -> None:
        driver.listen_for_lateness(self.note)

    def note(self, late_s: float, *, now: float) -> None:
        """The timer fired *late_s* seconds late."""
        self.worst_s = max(self.worst_s, late_s)
        if late_s >= self._threshold_s:
            self.stalls += 1
            self._node.note_lag(late_s, now=now)
            self._log.warning("this process runs late", late_s=late_s)
