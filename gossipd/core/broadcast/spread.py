"""How news reaches everybody: at once to a few, then on ticks and on probe traffic, until its echo is complete (D4).

Every push and tick goes to our two neighbours on the ring of sorted names and to some random members: the random links make it
fast, the ring makes it complete (Voulgaris and van Steen, "Hybrid Dissemination", Middleware 2007). Neighbours tell each other
everything, so one that knows says so without being asked. We tell a piece of news until both have told it to us (Demers et al.
1987 call that feedback) or it was sent as often as the budget allows. So whoever was missed has a neighbour that knows and goes on
telling it; where nothing is lost each member sends one push, and where much is lost the whole budget.

That holds among those who agree on the ring. After a cut neighbours change faster than news travels, so who gets a new neighbour
syncs soon. A sync also brings what the budget did not.
"""

import math
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass
from random import Random

from gossipd.config import GossipConfig
from gossipd.core.broadcast.budget import transmit_limit
from gossipd.core.broadcast.queue import Queue
from gossipd.ids import NodeId
from gossipd.limits import DATAGRAM_BYTES_MAX, QUEUE_MESSAGES_MAX
from gossipd.tokens import TokenBucket


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
    """Two queues, of membership and of catalog news, each guaranteed half of a datagram while it can fill it.

    All news draws on one budget of bytes. Pushes, and what rides along, wait for it; ticks, of which there are few, do not.
    """

    def __init__(self, config: GossipConfig, *, rng: Random, now: float) -> None:
        self._config = config
        self._rng = rng
        self._budget = TokenBucket(per_s=config.bytes_per_s, burst=config.bytes_burst, now=now)
        self.membership = Queue(QUEUE_MESSAGES_MAX, rng)
        self.catalog = Queue(QUEUE_MESSAGES_MAX, rng)
        self._eager_at = math.inf
        self._tick_at = math.inf
        self._saving = False
        """Whether pushes wait for the budget."""
        self._ring: list[NodeId] = []
        self.eager_packets = 0

    def __len__(self) -> int:
        return len(self.membership) + len(self.catalog)

    def put(
        self,
        queue: Queue,
        key: Hashable,
        payload: bytes,
        *,
        version: Hashable,
        awaited: Collection[NodeId],
        urgent: bool,
        now: float,
    ) -> None:
        """Queue news, as `Queue.put` says; what is urgent is pushed when the batching window has passed, the rest ticks."""
        queue.put(key, payload, version=version, awaited=awaited, urgent=urgent)
        if urgent:
            self._eager_at = min(self._eager_at, now + self._config.eager_window_s)
        self._tick_at = min(self._tick_at, now + self._config.interval_s)

    def fill(self, room: int, *, members: int, now: float) -> list[bytes]:
        """Return what rides along in a datagram to one member with *room* bytes left; *members* live, us included."""
        if not len(self) or self._budget.wait_s(1, now=now) > 0:
            return []
        payloads = self._take(room, sends=1, limit=self._limit(members))
        self._budget.spend(sum(map(len, payloads)), now=now)
        return payloads

    def next_deadline(self) -> float:
        """Return when the next push or tick is due; `math.inf` while there is no news."""
        return min(self._eager_at, self._tick_at)

    def handle_timer(self, audience: Audience, *, room: int, now: float) -> list[Batch]:
        """Return the datagrams that are due, each of at most *room* bytes of messages."""
        batches: list[Batch] = []
        if audience.neighbours != self._ring:
            self._ring = audience.neighbours
            self.membership.ring_changed(self._ring)
            self.catalog.ring_changed(self._ring)
        if self._eager_at <= now:
            self._eager_at = math.inf
            batches += self._push(audience, room=room, now=now)
        if self._tick_at <= now:
            self._tick_at = math.inf
            batches += self._tick(audience, room=room, now=now)
            if len(self):
                self._tick_at = now + self._config.interval_s
        return batches

    def _push(self, audience: Audience, *, room: int, now: float) -> list[Batch]:
        """Once the budget is used up, pushes wait until it suffices for full datagrams, so that many share one; or for the tick."""
        batches: list[Batch] = []
        limit = self._limit(len(audience.live) + 1)
        fanout = min(self._config.eager_fanout, limit, len(audience.live))
        full = max(1, min(DATAGRAM_BYTES_MAX * fanout, self._config.bytes_burst))
        while fanout and (self.membership.to_push() or self.catalog.to_push()):
            self._saving = self._budget.wait_s(full if self._saving else 1, now=now) > 0
            if self._saving:
                self._eager_at = now + self._budget.wait_s(full, now=now)
                break
            targets = self._targets(audience.neighbours, audience.live, fanout)
            payloads = self._take(room, sends=len(targets), limit=limit, told=True, push_only=True)
            if not payloads:
                break
            self.eager_packets += len(targets)
            batches.append(self._batch(targets, payloads, room=room, now=now))
        return batches

    def _tick(self, audience: Audience, *, room: int, now: float) -> list[Batch]:
        """What is sent least decides for how many the budget still suffices; what shares its datagram may go over by a few."""
        pool = audience.live + audience.recently_dead()
        if not pool:
            self.membership.clear()  # nobody to tell; whoever comes gets it by sync
            self.catalog.clear()
        if not len(self):
            return []
        limit = self._limit(len(audience.live) + 1)
        left = limit - min(queue.least_sends() for queue in (self.membership, self.catalog) if len(queue))
        targets = self._targets(audience.neighbours, pool, max(1, min(self._config.fanout, left)))
        payloads = self._take(room, sends=len(targets), limit=limit, told=True)
        return [self._batch(targets, payloads, room=room, now=now)] if payloads else []

    def _batch(self, targets: tuple[NodeId, ...], payloads: list[bytes], *, room: int, now: float) -> Batch:
        self._budget.spend((DATAGRAM_BYTES_MAX - room + sum(map(len, payloads))) * len(targets), now=now)
        return Batch(targets, payloads)

    def _targets(self, ring: list[NodeId], pool: list[NodeId], most: int) -> tuple[NodeId, ...]:
        some = self._rng.sample(pool, min(most, len(pool)))
        return (*ring, *[name for name in some if name not in ring])[:most]

    def _limit(self, members: int) -> int:
        return max(1, transmit_limit(members, factor=self._config.retransmit_factor))

    def _take(self, room: int, *, sends: int, limit: int, told: bool = False, push_only: bool = False) -> list[bytes]:
        share = room - min(room // 2, self.catalog.total_bytes)
        first = self.membership.take(share, sends=sends, limit=limit, told=told, push_only=push_only)
        left = room - sum(map(len, first))
        return first + self.catalog.take(left, sends=sends, limit=limit, told=told, push_only=push_only)
