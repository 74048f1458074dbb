"""SWIM, Lifeguard and what lies between as switches of the one core, so that their ratios are fair.

Source: Lifeguard (Dadgar, Phillips, Currey, DSN 2018), sections 3 and 4. What cannot be switched is listed in NOT_SWITCHED: it
stays on in every mode.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from gossipd.config import LAN, ProtocolConfig
from gossipd.core.effects import Accuse, Effect
from gossipd.core.membership.isolation import Isolation
from gossipd.core.membership.table import Table
from gossipd.ids import NodeId
from gossipd.node.node import Node
from simulations import inside

NEVER_ISOLATED = 1_000
"""isolation_periods from which on `node_type` takes isolation away altogether, and the ring: no setting turns off roll calls
and echoes."""

NOT_SWITCHED = (
    "a suspicion confirmed by a further accuser is spread again, up to factor - 2 times, in SWIM mode too",
    "a sync compares digests instead of pushing the whole state",
    "the number of confirmations wanted is factor - 2 (memberlist's code), not the paper's 3: none at factor 2",
)
"""Where every mode is gossipd's own, and the paper's protocol is not."""


def without_departures(config: ProtocolConfig) -> ProtocolConfig:
    """Return *config* with what gossipd adds to SWIM and Lifeguard switched off, as far as it can be.

    A fixed direct time-out, no isolation by silence, no mercy after oversleep, no eager pushes, memberlist's budget of sends, no
    ping over a stream, lost members tried at Serf's pace of 30 s.
    """
    return replace(
        config,
        probe=replace(
            config.probe,
            timeout_floor_s=config.probe.timeout_s,
            isolation_periods=NEVER_ISOLATED,
            oversleep_s=600.0,
            stream_ping=False,
        ),
        gossip=replace(config.gossip, bytes_burst=0, retransmit_factor=4.0),
        sync=replace(config.sync, reconnect_interval_s=30.0),
    )


def composed(
    *,
    lha_probe: bool,
    lha_suspicion: bool,
    buddy: bool,
    alpha: float = 5.0,
    beta: float = 6.0,
    stream_ping: bool = False,
    base: ProtocolConfig = LAN,
) -> ProtocolConfig:
    """Return SWIM with some of Lifeguard's parts. *alpha* and *beta*: the paper's names for suspicion.factor and max_factor.

    LHA-Probe is the score of one's own health and the nacks that feed it; a suspicion's timer is fixed without LHA-Suspicion.
    """
    config = without_departures(base)
    return replace(
        config,
        probe=replace(
            config.probe,
            awareness_max=8 if lha_probe else 1,
            nack_after=0.8 if lha_probe else 1.0,
            buddy=buddy,
            stream_ping=stream_ping,
        ),
        suspicion=replace(config.suspicion, factor=alpha, max_factor=beta if lha_suspicion else 1.0),
    )


def swim(alpha: float = 5.0) -> ProtocolConfig:
    """Return SWIM with suspicion, as memberlist sets it."""
    return composed(lha_probe=False, lha_suspicion=False, buddy=False, alpha=alpha)


def lifeguard(alpha: float = 5.0) -> ProtocolConfig:
    """Return SWIM with all of Lifeguard."""
    return composed(lha_probe=True, lha_suspicion=True, buddy=True, alpha=alpha)


MODES: Mapping[str, Callable[[], ProtocolConfig]] = {
    "SWIM": swim,
    "LHA-Probe": lambda: composed(lha_probe=True, lha_suspicion=False, buddy=False),
    "LHA-Suspicion": lambda: composed(lha_probe=False, lha_suspicion=True, buddy=False),
    "Buddy": lambda: composed(lha_probe=False, lha_suspicion=False, buddy=True),
    "Lifeguard": lifeguard,
    "gossipd": lambda: LAN,
}
"""The five configurations of Lifeguard's Table IV, and gossipd as it is delivered."""


class _NoIsolation(Isolation):
    def doubt(self, member: NodeId, *, now: float) -> list[Effect]:
        return [Accuse(member=member)]

    def next_deadline(self) -> float:
        return math.inf


class _NoRing(Table):
    def neighbours(self) -> list[NodeId]:
        return []


class PlainNode(Node):
    """A node that accuses whatever happens, as SWIM's and Lifeguard's do, and whose gossip knows no ring: it goes to random members
    alone, each message as often as its budget says."""

    def __init__(self, config: ProtocolConfig, **rest: Any) -> None:
        super().__init__(config, **rest)
        inside.machines(self).isolation.__class__ = _NoIsolation
        inside.machines(self).table.__class__ = _NoRing


def node_type(config: ProtocolConfig) -> type[Node]:
    """Return the node that a world of *config* is to be made of."""
    return PlainNode if config.probe.isolation_periods >= NEVER_ISOLATED else Node
