"""The search for lost peers, for ever (D3): healing never depends on how long a cut lasted.

Each round a node knocks at a dead member with probability dead / alive, so that all members together try each dead one
about once a round, however large the cluster (the rule is Serf's and chitchat's; theirs gives up after a day). Peers that
are in the peer book but not in the table are knocked at in the same way: at first in every round, since who restarted may have
met only others that did; later, when they are the forgotten, at the pace of seeds. Who is alone or isolated tries everything it
ever knew: the dead, the peer book, the seeds.

A knock is a ping that carries what we believe of its target, and whoever is accused to its face answers with its new claim. So a
cluster that was cut comes together one member at a time, each refuted once, and whoever's knock was answered knocks again at once
for the next. Departs: memberlist and Serf push whole states at each other, and then everybody is suspected and refutes in the
same instant. An answer starts a sync only if the claim does not: from one that we had forgotten, or while we were alone.
"""

import math
from collections.abc import Callable, Sequence
from random import Random

from gossipd.config import SyncConfig
from gossipd.core.effects import Effect, Reconnect, Send
from gossipd.core.membership.table import Table
from gossipd.ids import Address, NodeId
from gossipd.wire.messages import Ack, Ping

KNOCKS_MAX = 64
"""Knocks that may still be answered; the oldest is forgotten first: three a second for longer than any round trip."""

QUICK_S = 0.1
"""Seconds after an answered knock until the next: all together then try each of the dead ten times a second."""

FIRST_RETRY_S = 0.1
"""Seconds between the first two rounds while alone; they double up to the configured interval."""

KNOCKS_WHEN_ALONE = 3
"""Knocks a round while we are alone or isolated."""


class Rejoin:
    """Decides where to knock. The peer book is the node's: *book* returns names and addresses of peers once met.

    *book* is called in a round only, and not for the deadline, which every packet asks for: it may be long.
    """

    def __init__(
        self,
        config: SyncConfig,
        *,
        table: Table,
        rng: Random,
        next_sequence: Callable[[], int],
        book: Callable[[], Sequence[tuple[NodeId, Address]]],
        now: float,
    ) -> None:
        self._config = config
        self._table = table
        self._rng = rng
        self._next_sequence = next_sequence
        self._book = book
        self._knocks: dict[int, tuple[NodeId, Address]] = {}
        self._next_round = now
        self._next_seed = now
        self._young_until = now + config.seed_interval_s
        self._unmet = True
        """Whether the peer book named somebody that is no member, when it was last read."""
        self._stopped = False
        self._tries = 0
        """Rounds in a row in which we were alone."""
        self.seeds: tuple[Address, ...] = ()
        self.isolated = False

    def set_seeds(self, seeds: Sequence[Address], *, now: float) -> None:
        """Look for the cluster at *seeds* from now on; at new ones at once, since a name may resolve long after we began."""
        if not set(seeds) <= set(self.seeds):
            self._next_seed = now
        self.seeds = tuple(seeds)

    def stop(self) -> None:
        """Look for nobody any more: we are leaving."""
        self._stopped = True

    def next_deadline(self) -> float:
        """Return when the next round is due; `math.inf` once stopped."""
        if self._stopped:
            return math.inf
        alone = self.isolated or not self._table.live
        young = self._unmet and self._next_round < self._young_until
        rounds = self._next_round if alone or young or self._table.dead else math.inf
        return min(rounds, self._next_seed)

    def handle_timer(self, *, now: float) -> list[Effect]:
        """Knock, if a round is due."""
        if self.next_deadline() > now:
            return []
        self._tries = 0 if self._table.live else self._tries + 1
        self._next_round = now + self._pause_s()
        alone = self.isolated or not self._table.live
        look = now >= self._next_seed or now < self._young_until
        effects = self._try_seeds(alone, now=now)
        lost = [(name, self._table.rows[name].claim.address) for name in self._table.dead]
        if alone:
            lost = list(dict.fromkeys([*lost, *self._book()]))
            chosen = self._rng.sample(lost, min(KNOCKS_WHEN_ALONE, len(lost)))
        else:
            chosen = self._fair_share(lost)
            if look:
                unmet = [peer for peer in self._book() if self._table.row(peer[0]) is None]
                self._unmet = bool(unmet)
                chosen += self._fair_share(unmet)
        return effects + [self._knock(*peer, now=now) for peer in chosen]

    def receive_ack(self, ack: Ack, *, now: float) -> list[Effect]:
        """Whoever answered a knock is back, and perhaps others are: knock again soon. Sync, if that is not to come by itself."""
        knocked = self._knocks.pop(ack.sequence, None)
        if knocked is None:
            return []
        name, address = knocked
        self._next_round = min(self._next_round, now + QUICK_S)
        alone = self.isolated or not self._table.live
        return [Reconnect(target=address)] if alone or self._table.row(name) is None else []

    def _pause_s(self) -> float:
        """Seconds until the next round: short at first while alone, since daemons often start together with their seed."""
        plain_s = self._config.reconnect_interval_s
        if self._tries:
            quick_s: float = FIRST_RETRY_S * 2 ** min(self._tries - 1, 30)
            return min(plain_s, quick_s)
        return (
            plain_s if self.isolated else plain_s * self._rng.uniform(0.5, 1.5)
        )  # or all would knock at the same moment

    def _fair_share(self, lost: list[tuple[NodeId, Address]]) -> list[tuple[NodeId, Address]]:
        """One of *lost* or none: so many that all members together try each about once."""
        hit = self._rng.random() * (len(self._table.live) + 1) < len(lost)
        return self._rng.sample(lost, 1) if hit else []

    def _unmet_seeds(self) -> list[Address]:
        if not self.seeds:
            return []
        met = {self._table.rows[name].claim.address for name in self._table.live} | {self._table.own.address}
        return [seed for seed in self.seeds if seed not in met]

    def _try_seeds(self, alone: bool, *, now: float) -> list[Effect]:
        if now < self._next_seed and not alone:
            return []
        self._next_seed = now + self._config.seed_interval_s
        unmet = self._unmet_seeds()
        return [Reconnect(target=self._rng.choice(unmet))] if unmet else []

    def _knock(self, name: NodeId, address: Address, *, now: float) -> Effect:
        sequence = self._next_sequence()
        while len(self._knocks) >= KNOCKS_MAX:
            del self._knocks[next(iter(self._knocks))]
        self._knocks[sequence] = (name, address)
        known = self._table.row(name)
        first = None if known is None or known.live else self._table.claim_to_send(name, now=now)
        return Send(target=address, message=Ping(sequence=sequence, target=name), first=first)
