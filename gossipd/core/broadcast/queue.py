"""News waiting to be gossiped: what is to be pushed first, then the least sent, and equals by lot; replaced by key (rules 30, 31).

Departs from rule 42, the longest first and then the newest: in a flood, as after a cut of two halves, such an order makes the same
news wait everywhere. Messages are encoded once, when they enter, and are opaque here.
"""

import heapq
from collections.abc import Collection, Hashable
from dataclasses import dataclass
from random import Random

from gossipd.ids import NodeId

TO_PUSH = -1
"""The tier of what is urgent and not yet told; every other tier is a number of sends."""


@dataclass(slots=True)
class _Entry:
    payload: bytes
    version: Hashable
    awaited: set[NodeId]
    urgent: bool
    number: int
    lot: float
    sends: int = 0
    told: bool = False
    """Whether a push or a tick had it: those go to our neighbours."""
    echoed: bool = False
    """Whether all who were awaited have told it to us."""

    @property
    def tier(self) -> int:
        return TO_PUSH if self.urgent and not self.told else self.sends


class Queue:
    """At most *most* messages; to make room one of the most-sent is dropped, any of them, and counted in `dropped`."""

    def __init__(self, most: int, rng: Random) -> None:
        self._most = most
        self._rng = rng
        self._entries: dict[Hashable, _Entry] = {}
        self._tiers: dict[int, list[tuple[int, float, int, Hashable]]] = {}
        """Heaps of sends, lot, number and key."""
        self._number = 0
        self.total_bytes = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._entries

    def put(
        self,
        key: Hashable,
        payload: bytes,
        *,
        version: Hashable = None,
        awaited: Collection[NodeId] = (),
        urgent: bool = True,
    ) -> None:
        """Queue *payload*, never sent yet, in place of what is queued under *key*.

        Its echo is complete when all of *awaited*, if that is anybody, have told us *version* of *key*.
        """
        self.discard(key)
        if len(self._entries) >= self._most:
            self._drop_one()
        self._number += 1
        self._entries[key] = _Entry(payload, version, set(awaited), urgent, self._number, self._rng.random())
        self.total_bytes += len(payload)
        self._push(key, self._entries[key])

    def heard(self, key: Hashable, version: Hashable, source: NodeId) -> None:
        """Note that *source* told us *version* of *key*. What was told and is echoed leaves."""
        entry = self._entries.get(key)
        if entry is None or entry.version != version or source not in entry.awaited:
            return
        entry.awaited.discard(source)
        entry.echoed = not entry.awaited
        if entry.echoed and entry.told:
            self.discard(key)

    def ring_changed(self, neighbours: Collection[NodeId]) -> None:
        """Await no echo from whoever is none of our *neighbours* any more: nobody there tells us anything."""
        for key, entry in list(self._entries.items()):
            for former in entry.awaited.difference(neighbours):
                self.heard(key, entry.version, former)

    def discard(self, key: Hashable) -> None:
        """Forget what is queued under *key*."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.total_bytes -= len(entry.payload)

    def clear(self) -> None:
        """Forget everything: there is nobody to tell."""
        self._entries.clear()
        self._tiers.clear()
        self.total_bytes = 0

    def to_push(self) -> bool:
        """Return whether something urgent was not yet told."""
        return self._peek(TO_PUSH)

    def least_sends(self) -> int:
        """Return how often that was sent which is next; the queue is not empty."""
        return max(0, next(tier for tier in sorted(self._tiers) if self._peek(tier)))

    def take(self, room: int, *, sends: int, limit: int, told: bool = False, push_only: bool = False) -> list[bytes]:
        """Return messages of at most *room* bytes together, and count each as sent *sends* times more.

        *told*: our neighbours are among the receivers. One that has then been sent *limit* times or more leaves the queue, and so
        does one that is told and echoed. What does not fit stays, and shorter ones follow.
        """
        taken: list[Hashable] = []
        for tier in [TO_PUSH] if push_only else sorted(self._tiers):
            room = self._take_from(tier, room, taken)
        payloads = []
        for key in taken:
            entry = self._entries[key]
            payloads.append(entry.payload)
            entry.sends += sends
            entry.told = entry.told or told
            if entry.sends >= limit or (entry.told and entry.echoed):
                self.discard(key)
            else:
                self._push(key, entry)
        return payloads

    def _take_from(self, tier: int, room: int, taken: list[Hashable]) -> int:
        heap = self._tiers.get(tier, [])
        too_long: list[tuple[int, float, int, Hashable]] = []
        while heap and room > 0 and len(too_long) < 8:
            item = heapq.heappop(heap)
            if not self._is_in(item, tier):
                continue
            size = len(self._entries[item[3]].payload)
            if size <= room:
                taken.append(item[3])
                room -= size
            else:
                too_long.append(item)
        for item in too_long:
            heapq.heappush(heap, item)
        if not heap:
            self._tiers.pop(tier, None)
        return room

    def _peek(self, tier: int) -> bool:
        heap = self._tiers.get(tier)
        while heap:
            if self._is_in(heap[0], tier):
                return True
            heapq.heappop(heap)
        self._tiers.pop(tier, None)
        return False

    def _push(self, key: Hashable, entry: _Entry) -> None:
        tier = entry.tier
        heap = self._tiers.setdefault(tier, [])
        heapq.heappush(heap, (entry.sends, entry.lot, entry.number, key))
        if len(heap) > 2 * len(self._entries) + 64:  # mostly replaced ones: rebuild
            self._tiers[tier] = sorted(item for item in heap if self._is_in(item, tier))

    def _is_in(self, item: tuple[int, float, int, Hashable], tier: int) -> bool:
        entry = self._entries.get(item[3])
        return entry is not None and entry.number == item[2] and entry.tier == tier

    def _drop_one(self) -> None:
        while self._tiers:
            tier = max(self._tiers)
            heap = self._tiers[tier]
            while heap:
                item = heap.pop()  # a leaf: cheap to take out
                if self._is_in(item, tier):
                    self.discard(item[3])
                    self.dropped += 1
                    return
            del self._tiers[tier]
