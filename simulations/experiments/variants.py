"""Rules of the papers that are no switches of the core, put onto a node when it is made. None of them is in the daemon.

SWIM's are of Das et al. (2002), sections 3.2, 4.1, 4.2 and 5; Lifeguard's of Dadgar et al. (2018), section 3.2.
"""

import math
from collections.abc import Callable, Hashable
from typing import Any

from gossipd.config import ProtocolConfig
from gossipd.core.broadcast.queue import Queue
from gossipd.core.broadcast.spread import Spreader
from gossipd.core.effects import Effect
from gossipd.core.membership.probe import Prober
from gossipd.core.membership.suspicion import Suspicions
from gossipd.ids import NodeId
from gossipd.node.node import Node
from simulations import inside, modes

UPDATES_MAX = 6
"""News that ride on one packet of SWIM's."""

LHA_CONFIRMATIONS = 3
"""Lifeguard's K in the paper, whatever alpha is; memberlist's code, and ours, takes alpha - 2."""


class _NoConfirmations(Suspicions):
    def confirm(self, member: NodeId, accuser: NodeId) -> bool:
        return False


class _PaperConfirmations(Suspicions):
    def _time(self, suspicion: Any, members: int) -> bool:
        timed = super()._time(suspicion, members)
        if timed:
            suspicion.wanted = LHA_CONFIRMATIONS if members - 2 >= LHA_CONFIRMATIONS else 0
        return timed


class SwimNode(modes.PlainNode):
    """SWIM: that others confirm a suspicion neither shortens it nor is passed on; both belong to LHA-Suspicion."""

    def __init__(self, config: ProtocolConfig, **rest: Any) -> None:
        super().__init__(config, **rest)
        inside.machines(self).table.suspicions.__class__ = _NoConfirmations


class PaperNode(modes.PlainNode):
    """Lifeguard as in the paper: three confirmations at every alpha."""

    def __init__(self, config: ProtocolConfig, **rest: Any) -> None:
        super().__init__(config, **rest)
        inside.machines(self).table.suspicions.__class__ = _PaperConfirmations


# --------------------------------------------------------------------------------------------------- SWIM's own spreading


def swim_periods(members: int, base: float) -> int:
    """Return SWIM's ``3 ⌈log(N + 1)⌉``: how often a member passes an update on, and how many periods a suspicion lasts."""
    return 3 * math.ceil(math.log(members + 1, base))


class _Piggyback(Spreader):
    """News rides on pings, acks and requests for them, and on nothing else."""

    rounds: Callable[[int], int]
    update_bytes = 1

    def put(self, queue: Queue, key: Hashable, payload: bytes, **rest: Any) -> None:
        queue.put(key, payload)
        self.update_bytes = max(self.update_bytes, len(payload))

    def fill(self, room: int, *, members: int, now: float) -> list[bytes]:
        room = min(room, UPDATES_MAX * self.update_bytes)
        return self.membership.take(room, sends=1, limit=self.rounds(members))


class _FixedPeriods(_NoConfirmations):
    periods: Callable[[int], int]

    def _time(self, suspicion: Any, members: int) -> bool:
        """Time it once: in the paper nobody looks again at how many members there are when the time is up."""
        if not suspicion.least_s:
            suspicion.least_s = self.periods(members) * self._config.probe.interval_s
        return False


class PiggybackNode(modes.PlainNode):
    """SWIM as in its paper's section 5 (+Inf.+Susp.), logarithms to *base*, of *known* members, or of those believed live if 0.

    Without *suspects*: +Inf.
    """

    base = math.e
    known = 0
    suspects = True

    def __init__(self, config: ProtocolConfig, **rest: Any) -> None:
        super().__init__(config, **rest)
        machines = inside.machines(self)
        machines.spreader.__class__ = _Piggyback
        machines.table.suspicions.__class__ = _FixedPeriods
        spreader, suspicions = machines.spreader, machines.table.suspicions
        assert isinstance(spreader, _Piggyback)
        assert isinstance(suspicions, _FixedPeriods)
        spreader.rounds = lambda members: swim_periods(self.known or members, self.base)
        suspicions.periods = lambda members: swim_periods(self.known or members, self.base) if self.suspects else 0


def piggyback_node(base: float, *, known: int, suspects: bool) -> type[PiggybackNode]:
    """Return the node of one line of figure 4."""
    return type("PiggybackNode", (PiggybackNode,), {"base": base, "known": known, "suspects": suspects})


# ------------------------------------------------------------------------------------------------- waiting for one's own send


class _StuckProber(Prober):
    """Begins a probe, and waits for its send as long as that takes; then the probe's time is over."""

    stuck = False

    def next_deadline(self) -> float:
        return math.inf if self.stuck and self._waits else super().next_deadline()

    @property
    def _waits(self) -> bool:
        return self._open is not None and not self._open.answered

    def handle_timer(self, *, now: float) -> list[Effect]:
        probe = self._open
        if self.stuck and self._waits:
            return []
        if probe is not None and probe.ends_at <= now:
            probe.late_at = math.inf  # memberlist's time-out ran while it waited: no helper is asked any more
        return super().handle_timer(now=now)


class _StuckSpreader(Spreader):
    stuck = False

    def next_deadline(self) -> float:
        return math.inf if self.stuck else super().next_deadline()


def set_stuck(node: Node, stuck: bool) -> None:
    """Let whoever probes or gossips at *node* wait for a send that does not return, as memberlist's goroutines do.

    Verdicts still fall in time. For a host that `World.block` has blocked, until it is released.
    """
    machines = inside.machines(node)
    prober, spreader = machines.prober, machines.spreader
    if not isinstance(prober, _StuckProber):
        prober.__class__, spreader.__class__ = _StuckProber, _StuckSpreader
    assert isinstance(prober, _StuckProber)
    assert isinstance(spreader, _StuckSpreader)
    prober.stuck = spreader.stuck = stuck


def node_type(name: str, config: ProtocolConfig) -> type[Node]:
    """Return the node that a world of mode *name* is to be made of, with the paper's confirmations in place of memberlist's."""
    family = name.partition(" ")[0]
    if family in ("SWIM", "LHA-Probe", "Buddy"):
        return SwimNode
    return PaperNode if family in ("LHA-Suspicion", "Lifeguard") else modes.node_type(config)
