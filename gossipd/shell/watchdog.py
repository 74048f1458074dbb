"""The watchdog: how late this process runs. Lateness is our own, and the node must know before it blames a peer (D3).

Costs no wake-up: it hears how late the driver's timer fired, and a node that has anything to lose has a timer running.
The node sees for itself when it overslept; the watchdog tells it of less than that, when it is long enough to make a
peer's timely answer look late.
"""

from gossipd.config import ProbeConfig
from gossipd.shell.driver import DrivenNode, Driver
from gossipd.shell.log import Log


class Watchdog:
    """Tells *node* of lateness from `timeout_floor_s` on, up to `oversleep_s`, from where on it counts it itself."""

    def __init__(self, node: DrivenNode, probe: ProbeConfig, *, log: Log) -> None:
        self._node = node
        self._probe = probe
        self._log = log
        self.worst_s = 0.0
        """Greatest lateness so far."""

    def attach(self, driver: Driver) -> None:
        driver.listen_for_lateness(self.note)

    def note(self, late_s: float, *, now: float) -> None:
        """The timer fired *late_s* seconds late."""
        self.worst_s = max(self.worst_s, late_s)
        if self._probe.timeout_floor_s <= late_s <= self._probe.oversleep_s:
            self._node.note_lag(late_s, now=now)
            self._log.info("this process runs late", late_s=late_s)
