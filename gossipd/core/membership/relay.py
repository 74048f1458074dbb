"""Pings on behalf of others (SWIM section 3.1): a helper pings the target and passes on the ack, or says that there is none.

Only a known target is pinged, at the address we know (weakness 9 of memberlist: a helper that pings any address given).
"""

from dataclasses import dataclass

from gossipd.core.deadlines import Deadlines
from gossipd.core.effects import Effect, Send, Tell
from gossipd.ids import Address, NodeId
from gossipd.limits import OPEN_PROBES_MAX
from gossipd.wire.messages import Ack, Nack, Ping, PingRequest

RELAYS_PER_ASKER_MAX = 8
"""Relayed pings in flight for one member: it probes one target at a time, and a few may overlap."""


@dataclass(frozen=True, slots=True)
class _Relay:
    asker: NodeId
    asked_from: Address
    sequence: int
    target: NodeId


class Relays:
    """Relayed pings in flight, at most OPEN_PROBES_MAX; one too many is answered by a nack at once."""

    def __init__(self, *, nack_after: float) -> None:
        self._nack_after = nack_after
        self._open: dict[int, _Relay] = {}
        self._nacks: Deadlines[int] = Deadlines()
        self._ends: Deadlines[int] = Deadlines()

    def receive_request(
        self, request: PingRequest, *, asker: NodeId, asked_from: Address, sequence: int, known: bool, now: float
    ) -> list[Effect]:
        """Ping the target with our own *sequence*; *known* says whether it has a row."""
        in_use = sum(relay.asker == asker for relay in self._open.values())
        if not known or len(self._open) >= OPEN_PROBES_MAX or in_use >= RELAYS_PER_ASKER_MAX:
            return [Send(target=asked_from, message=Nack(sequence=request.sequence), member=asker)]
        window_s = request.window_ms / 1000
        self._open[sequence] = _Relay(asker, asked_from, request.sequence, request.target)
        if self._nack_after < 1:
            self._nacks.set(sequence, now + window_s * self._nack_after)
        self._ends.set(sequence, now + window_s)
        return [Tell(target=request.target, message=Ping(sequence=sequence, target=request.target))]

    def receive_ack(self, ack: Ack, *, source: NodeId) -> list[Effect]:
        """Pass on the ack of a relayed ping; nothing if *ack* answers none."""
        relay = self._open.get(ack.sequence)
        if relay is None or relay.target != source:
            return []
        self._drop(ack.sequence)
        return [Send(target=relay.asked_from, message=Ack(sequence=relay.sequence), member=relay.asker)]

    def next_deadline(self) -> float:
        return min(self._nacks.next(), self._ends.next())

    def handle_timer(self, *, now: float) -> list[Effect]:
        """Send the nacks that are due, while there is still time for the ack to follow; forget what nobody waits for."""
        effects: list[Effect] = []
        for sequence in self._nacks.pop_due(now):
            relay = self._open[sequence]
            effects.append(Send(target=relay.asked_from, message=Nack(sequence=relay.sequence), member=relay.asker))
        for sequence in self._ends.pop_due(now):
            self._drop(sequence)
        return effects

    def _drop(self, sequence: int) -> None:
        del self._open[sequence]
        self._nacks.cancel(sequence)
        self._ends.cancel(sequence)
