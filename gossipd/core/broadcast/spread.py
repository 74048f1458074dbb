"""How news reaches everybody: at once to a few, then on ticks and on probe traffic until its budget is spent (D4).

Fresh news goes to our two neighbours on the ring of sorted names and to some random members: the random links make it fast, the
ring makes it complete, since whoever was missed by chance has an informed neighbour (Voulgaris and van Steen, "Hybrid
Dissemination", Middleware 2007). What is lost on the way comes with later ticks, piggybacked, or with a sync.
"""

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from random import Random

from gossipd.config import GossipConfig
from gossipd.core.broadcast.budget import TokenBucket, transmit_limit
from gossipd.core.broadcast.queue import Queue
from gossipd.ids import NodeId
from gossipd.limits import QUEUE_MESSAGES_MAX


@dataclass(frozen=True, slots=True)
class Audience:
    """Whom news can go to, as the member table sees it now."""

    live: list[NodeId]
    neighbours: list[NodeId]
    recently_dead: Callable[[], list[NodeId]]
    """Asked by ticks alone: a push, which is far more frequent, need not walk the dead."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One datagram's worth of messages, for each of *targets*."""

    targets: tuple[NodeId, ...]
    payloads: list[bytes]


class Spreader:
    """Two queues, of membership and of catalog news, each guaranteed half of a datagram while it can fill it."""

    def __init__(self, config: GossipConfig, *, rng: Random, now: float) -> None:
        self._config = config
        self._rng = rng
        self.membership = Queue(QUEUE_MESSAGES_MAX)
        self.catalog = Queue(QUEUE_MESSAGES_MAX)
        self._tokens = TokenBucket(per_s=config.eager_packets_per_s, burst=config.eager_packets_burst, now=now)
        self._eager_at = math.inf
        self._tick_at = math.inf
        self.eager_packets = 0

    def __len__(self) -> int:
        return len(self.membership) + len(self.catalog)

    def put(self, queue: Queue, key: Hashable, payload: bytes, *, now: float) -> None:
        """Queue news; it is pushed when the batching window has passed."""
        queue.put(key, payload)
        self._eager_at = min(self._eager_at, now + self._config.eager_window_s)
        self._tick_at = min(self._tick_at, now + self._config.interval_s)

    def fill(self, room: int, *, members: int) -> list[bytes]:
        """Return what rides along in a datagram to one member with *room* bytes left; *members* live, us included."""
        return self._take(room, sends=1, members=members) if len(self) else []

    def next_deadline(self) -> float:
        """Return when the next push or tick is due; `math.inf` while there is no news."""
        return min(self._eager_at, self._tick_at)

    def handle_timer(self, audience: Audience, *, room: int, now: float) -> list[Batch]:
        """Return the datagrams that are due, each of at most *room* bytes of messages."""
        batches: list[Batch] = []
        if self._eager_at <= now:
            self._eager_at = math.inf
            batches += self._push(audience, room=room, now=now)
        if self._tick_at <= now:
            self._tick_at = math.inf
            batches += self._tick(audience, room=room)
            if len(self):
                self._tick_at = now + self._config.interval_s
        return batches

    def _push(self, audience: Audience, *, room: int, now: float) -> list[Batch]:
        batches: list[Batch] = []
        while self.membership.fresh() or self.catalog.fresh():
            targets = self._eager_targets(audience)
            if not targets or not self._tokens.take(len(targets), now=now):
                break
            payloads = self._take(room, sends=len(targets), members=len(audience.live) + 1, fresh_only=True)
            if not payloads:
                break
            self.eager_packets += len(targets)
            batches.append(Batch(targets, payloads))
        return batches

    def _tick(self, audience: Audience, *, room: int) -> list[Batch]:
        pool = audience.live + audience.recently_dead()
        if not pool:
            self.membership.clear()  # nobody to tell; whoever comes gets it by sync
            self.catalog.clear()
            return []
        targets = tuple(self._rng.sample(pool, min(self._config.fanout, len(pool))))
        payloads = self._take(room, sends=len(targets), members=len(audience.live) + 1)
        return [Batch(targets, payloads)] if payloads else []

    def _eager_targets(self, audience: Audience) -> tuple[NodeId, ...]:
        ring = audience.neighbours
        wanted = self._config.eager_fanout - len(ring)
        some = self._rng.sample(audience.live, min(self._config.eager_fanout, len(audience.live)))
        return (*ring, *[name for name in some if name not in ring][:wanted])

    def _take(self, room: int, *, sends: int, members: int, fresh_only: bool = False) -> list[bytes]:
        limit = max(1, transmit_limit(members, factor=self._config.retransmit_factor))
        share = room - min(room // 2, self.catalog.total_bytes)
        first = self.membership.take(share, sends=sends, limit=limit, fresh_only=fresh_only)
        left = room - sum(map(len, first))
        return first + self.catalog.take(left, sends=sends, limit=limit, fresh_only=fresh_only)
