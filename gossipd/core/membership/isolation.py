"""Whether it is us who are cut off (D3). An isolated node keeps its catalog, says so in every answer, and accuses nobody.

It is judged by a roll call: many members are pinged at once, and we are isolated if fewer than a quarter of them answer within
a period. What others claim of each other counts for nothing, or a sync that brings many suspects would isolate us. A roll call is
held before we accuse somebody whose probe was lost on most of our helpers too, and when nobody at all was heard for some periods.
While we are isolated there is one each period; it is over when half of those asked have answered, or a quarter in each of
CALLS_ENOUGH in a row, and then we sync at once: of those whom we knew, many may have crashed in the meantime, and never answer.

A quarter, and not a half: each half of a cluster that is cut through the middle goes on, and so does whoever is left when a rack
crashes. With one other member there is no telling which of the two failed, and it is the other who is held to have failed, or a
pair could never notice a crash. Departs: SWIM and memberlist accuse on the word of one probe.
"""

import math
from collections.abc import Callable
from random import Random

from gossipd.config import ProbeConfig
from gossipd.core.effects import Accuse, Effect, Reconnect, Send
from gossipd.core.membership.table import Table
from gossipd.ids import NodeId
from gossipd.records import Status
from gossipd.wire.messages import Ack, Ping

WAVES = (16, 16, 32)
"""Members asked in each third of a roll call. Where half of a large cluster answers, 3 of 4 roll calls are over after the first,
and fewer than 16 of 64 answer once in 100,000."""

CALLS_ENOUGH = 5
"""Roll calls in a row, each with a quarter of answers or more, that end an isolation."""


class _RollCall:
    """A roll call under way. Whoever is silent is asked again with each wave: three times at most, against loss."""

    def __init__(self, members: list[NodeId], *, now: float) -> None:
        self.to_ask = members
        """Not asked yet."""
        self.silent: dict[NodeId, None] = {}
        self.answered: list[NodeId] = []
        self.sequences: dict[int, NodeId] = {}
        self.waves = 0
        self.next_wave = now


class Isolation:
    """The state, and what it is judged by."""

    def __init__(
        self, config: ProbeConfig, *, table: Table, rng: Random, next_sequence: Callable[[], int], now: float
    ) -> None:
        self._table = table
        self._rng = rng
        self._next_sequence = next_sequence
        self._wave_s = config.interval_s / len(WAVES)
        self._interval_s = config.interval_s
        self._patience_s = (config.isolation_periods - 2) * config.interval_s
        self._call: _RollCall | None = None
        self._next_call = math.inf
        """While isolated: when the next roll call begins."""
        self._doubted: dict[NodeId, None] = {}
        """Whom we shall accuse if it turns out not to be us."""
        self.heard_at = now
        """When we last heard any member."""
        self.isolated = False
        self.roll_calls = 0
        self._calls_enough = 0
        """Roll calls in a row that did not isolate us, or would not have; each isolation begins with one that did, at 0."""

    def heard(self, *, now: float) -> None:
        """A live member was heard."""
        self.heard_at = now

    def doubt(self, member: NodeId, *, now: float) -> list[Effect]:
        """A probe of *member* brought no answer, nor did most helpers: accuse it only if a roll call says that it is not us."""
        if self.isolated:
            return []
        if not self._may_ask:
            return [Accuse(member=member)]
        self._doubted[member] = None
        return [] if self._call is not None else self._begin(now=now)

    def receive_ack(self, ack: Ack, *, source: NodeId) -> list[Effect] | None:
        """Count an answer to the roll call; None if *ack* is none."""
        call = self._call
        if call is None or call.sequences.get(ack.sequence) != source:
            return None
        del call.sequences[ack.sequence]
        if source in call.silent:
            del call.silent[source]
            call.answered.append(source)
        return [] if len(call.answered) < len(call.silent) else self._end(isolated=False)

    def shift(self, by_s: float) -> None:
        """We slept for *by_s* seconds: our silence then was not the others'."""
        self.heard_at += by_s
        self._next_call += by_s
        if self._call is not None:
            self._call.next_wave += by_s

    def next_deadline(self) -> float:
        """Return when a roll call begins, or goes on."""
        if self._call is not None:
            return self._call.next_wave
        if self.isolated:
            return self._next_call
        return self.heard_at + self._patience_s if self._may_ask else math.inf

    def handle_timer(self, *, now: float) -> list[Effect]:
        """Begin a roll call, go on with it, or draw the conclusion: whatever is due."""
        if self.next_deadline() > now:
            return []
        call = self._call
        if call is None:
            return self._begin(now=now)
        if call.waves < len(WAVES):
            return self._ask(call, now=now)
        few = 3 * len(call.answered) < len(call.silent)
        self._calls_enough = 0 if few else self._calls_enough + 1
        return self._end(isolated=few or (self.isolated and self._calls_enough < CALLS_ENOUGH))

    @property
    def _may_ask(self) -> bool:
        """Whether there are two others or more, and we are not leaving."""
        return len(self._table.live) >= 2 and self._table.own.status is not Status.LEFT

    def _begin(self, *, now: float) -> list[Effect]:
        self._next_call = now + self._interval_s
        if not self._may_ask:
            return self._end(isolated=False)
        live = self._table.live
        self.roll_calls += 1
        self._call = _RollCall(self._rng.sample(live, min(sum(WAVES), len(live))), now=now)
        return self._ask(self._call, now=now)

    def _ask(self, call: _RollCall, *, now: float) -> list[Effect]:
        wanted = WAVES[call.waves]
        call.waves += 1
        call.next_wave = now + self._wave_s
        call.silent |= dict.fromkeys(call.to_ask[:wanted])
        del call.to_ask[:wanted]
        effects: list[Effect] = []
        for member in call.silent:
            row = self._table.row(member)
            if row is not None:
                sequence = self._next_sequence()
                call.sequences[sequence] = member
                effects.append(Send(target=row.claim.address, message=Ping(sequence=sequence, target=member)))
        return effects

    def _end(self, *, isolated: bool) -> list[Effect]:
        """The roll call is over: we are cut off and accuse nobody, or we are not: sync if we were, and accuse whom we meant to."""
        call, back = self._call, self.isolated and not isolated
        accused = [] if isolated else list(self._doubted)
        self._call, self.isolated = None, isolated
        self._doubted.clear()
        row = self._table.row(call.answered[-1]) if back and call is not None and call.answered else None
        effects: list[Effect] = [Accuse(member=member) for member in accused]
        return effects if row is None else [*effects, Reconnect(target=row.claim.address)]
