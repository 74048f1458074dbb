"""The probe cycle: who is pinged next, and when silence becomes an accusation.

Knows no sockets and no clock. SWIM sections 3.1 and 4.3 (Das et al., 2002); Lifeguard section 3 stretches interval and time-outs by
our own health. Departs: the direct time-out follows the peer's measured round trip (D3); nacks are asked to leave early enough to
arrive (rule 44), so the window goes along with the request.
"""

import math
from dataclasses import dataclass, field
from random import Random

from gossipd.config import ProbeConfig
from gossipd.core.effects import Accuse, Effect, Report, StreamPing, Tell
from gossipd.core.events import DatagramsBlocked
from gossipd.core.membership.awareness import Awareness
from gossipd.core.membership.table import Table
from gossipd.ids import NodeId
from gossipd.records import Status
from gossipd.wire.messages import Ack, Nack, Ping, PingRequest

SEQUENCES = 2**32


@dataclass(slots=True)
class RoundTrip:
    """Smoothed round trip and its deviation, seconds (Jacobson 1988, as in RFC 6298 section 2)."""

    mean_s: float
    deviation_s: float

    def add(self, sample_s: float) -> None:
        self.deviation_s += (abs(sample_s - self.mean_s) - self.deviation_s) / 4
        self.mean_s += (sample_s - self.mean_s) / 8


@dataclass(slots=True)
class _Open:
    """The probe under way."""

    sequence: int
    target: NodeId
    sent_at: float
    late_at: float
    """When helpers are asked; `math.inf` once they were."""
    ends_at: float
    helpers: dict[NodeId, bool] = field(default_factory=dict)
    """Whether each helper has sent a nack."""
    answered: bool = False
    answered_by_stream: bool = False


class Prober:
    """Probes one member an interval, in a shuffled round that newcomers enter at a random place (rule 6)."""

    def __init__(self, config: ProbeConfig, *, table: Table, awareness: Awareness, rng: Random, now: float) -> None:
        self._config = config
        self._table = table
        self._awareness = awareness
        self._rng = rng
        self._sequence = rng.randrange(SEQUENCES)
        self._round: list[NodeId] = []
        """Who is still to be probed in this round, the next one last."""
        self._waiting: set[NodeId] = set()
        """The same names: each waits once, however often it comes and goes."""
        self._open: _Open | None = None
        self._next_probe = now + rng.uniform(0, config.interval_s)  # rule 45: no cluster-wide beat
        self._stopped = False
        self.impatient = False
        """While isolated: probe at the plain interval, however bad our health, to notice the heal."""
        self.round_trips: dict[NodeId, RoundTrip] = {}
        self.sent = 0
        self.failed = 0
        self.acks = 0
        self.nacks = 0

    def next_sequence(self) -> int:
        """Return a sequence number not used for long: 0 to 2**32 - 1, consecutive."""
        self._sequence = (self._sequence + 1) % SEQUENCES
        return self._sequence

    def stop(self) -> None:
        """Probe nobody any more: we are leaving."""
        self._stopped = True
        self._open = None

    def start_over(self, *, now: float) -> None:
        """Forget the probe under way, and begin the next: that it failed would prove nothing."""
        self._open = None
        self._next_probe = now

    def member_added(self, member: NodeId, *, now: float) -> None:
        """Let *member* be probed: at a random place of what is left of the round, so that its first probe is not a round away."""
        if self._next_probe < now:  # nobody was there to probe
            self._next_probe = now + self._rng.uniform(0, self._config.interval_s)
        if member not in self._waiting:
            self._waiting.add(member)
            self._round.insert(self._rng.randint(0, len(self._round)), member)

    def member_forgotten(self, member: NodeId) -> None:
        self.round_trips.pop(member, None)
        self._waiting.discard(member)
        if len(self._round) > 2 * len(self._waiting) + 64:  # while nobody lives, no turn comes: drop the forgotten
            self._round = list(dict.fromkeys(name for name in self._round if name in self._waiting))

    def next_deadline(self) -> float:
        """Return when the next probe, or the next step of the one under way, is due."""
        if self._stopped:
            return math.inf
        if self._open is None:
            return self._next_probe if self._table.live else math.inf
        return min(self._open.late_at, self._open.ends_at)

    def handle_timer(self, *, now: float) -> list[Effect]:
        """Ask for help, give up, begin the next probe: whatever is due."""
        effects: list[Effect] = []
        probe = self._open
        if probe is not None and probe.late_at <= now:
            if probe.ends_at <= now:  # we are late: nobody is accused before helpers had their time
                self.shift(now - probe.late_at)
            effects += self._ask_helpers(probe, now=now)
        if probe is not None and probe.ends_at <= now:
            effects += self._finish(probe)
            self._open = None
        if self._open is None and self._next_probe <= now and not self._stopped:
            effects += self._begin(now=now)
        return effects

    def receive_ack(self, ack: Ack, *, source: NodeId, now: float, by_stream: bool = False) -> bool:
        """Return whether *ack* answers the probe under way; a late one for an earlier probe counts for nothing (rule 35)."""
        probe = self._open
        if probe is None or probe.sequence != ack.sequence:
            return False
        if by_stream:
            probe.answered_by_stream = True
            return True
        if source != probe.target and source not in probe.helpers:
            return False
        self.acks += 1
        if not probe.answered:
            probe.answered = True
            self._awareness.apply(-1)
            probe.late_at = math.inf
        if source == probe.target and now >= probe.sent_at:  # rule 40: only direct samples
            self._measure(source, now - probe.sent_at)
        return True

    def receive_nack(self, nack: Nack, *, source: NodeId) -> None:
        """Note that a helper lives: its silence would have been held against us."""
        probe = self._open
        if probe is not None and probe.sequence == nack.sequence and source in probe.helpers:
            probe.helpers[source] = True
            self.nacks += 1

    def shift(self, by_s: float) -> None:
        """Move the probe under way, and the next one, by *by_s* seconds that we slept through."""
        self._next_probe += by_s
        if self._open is not None:
            self._open.late_at += by_s
            self._open.ends_at += by_s
            self._open.sent_at += by_s

    def timeout_s(self, member: NodeId) -> float:
        """Return seconds to wait for a direct ack of *member*: four deviations above its round trip, between floor and ceiling."""
        measured = self.round_trips.get(member)
        if measured is None:
            return self._config.timeout_s
        wait_s = measured.mean_s + 4 * measured.deviation_s
        return min(self._config.timeout_s, max(self._config.timeout_floor_s, wait_s))

    def _stretch(self, seconds: float) -> float:
        return seconds if self.impatient else self._awareness.stretch(seconds)

    def _measure(self, member: NodeId, sample_s: float) -> None:
        known = self.round_trips.get(member)
        if known is None:
            self.round_trips[member] = RoundTrip(sample_s, sample_s / 2)
        else:
            known.add(sample_s)

    def _begin(self, *, now: float) -> list[Effect]:
        target = self._next_target()
        if target is None:
            self._next_probe = now + self._config.interval_s
            return []
        ends_at = now + self._stretch(self._config.interval_s)
        late_at = now + min(self._stretch(self.timeout_s(target)), ends_at - now)
        self._open = _Open(self.next_sequence(), target, now, late_at, ends_at)
        self._next_probe = ends_at
        self.sent += 1
        claim = self._table.rows[target].claim
        buddy = (
            claim if claim.status is not Status.ALIVE and self._config.buddy else None
        )  # rule 33 of the scenarios: accuse to its face
        return [Tell(target=target, message=Ping(sequence=self._open.sequence, target=target), first=buddy)]

    def _next_target(self) -> NodeId | None:
        """The next live member of the round; a new round is shuffled when this one ends (SWIM section 4.3)."""
        for _ in range(2):
            while self._round:
                name = self._round.pop()
                waited = name in self._waiting
                self._waiting.discard(name)
                row = self._table.row(name)
                if waited and row is not None and row.live:
                    return name
            self._round = list(self._table.live)
            self._rng.shuffle(self._round)
            self._waiting = set(self._round)
        return None

    def _ask_helpers(self, probe: _Open, *, now: float) -> list[Effect]:
        probe.late_at = math.inf
        candidates = [
            name
            for name in self._table.live
            if name != probe.target and self._table.rows[name].claim.status is Status.ALIVE
        ]
        helpers = self._rng.sample(candidates, min(self._config.indirect, len(candidates)))
        probe.helpers = dict.fromkeys(helpers, False)
        window_s = probe.ends_at - now
        request = PingRequest(
            sequence=probe.sequence, target=probe.target, window_ms=min(600_000, max(1, int(window_s * 1000)))
        )
        effects: list[Effect] = [Tell(target=helper, message=request) for helper in helpers]
        if self._config.stream_ping:
            effects.append(StreamPing(target=probe.target, sequence=probe.sequence, timeout_s=window_s))
        return effects

    def _finish(self, probe: _Open) -> list[Effect]:
        if probe.answered:
            return []
        if probe.answered_by_stream:
            row = self._table.row(probe.target)
            assert row is not None or probe.target not in self._table.live
            return (
                [] if row is None else [Report(event=DatagramsBlocked(member=probe.target, address=row.claim.address))]
            )
        self.failed += 1
        missed = sum(not nacked for nacked in probe.helpers.values())
        self._awareness.apply(missed if probe.helpers else 1)
        return [Accuse(member=probe.target, alone=not probe.helpers or 2 * missed > len(probe.helpers))]
