"""The store: what everyone published, as far as we have heard; what is answered, and what is passed on.

A join-semilattice: a floor for each owner and the highest version for each key, both maxima, so that any order of
arrival and any duplicate ends the same (docs/explain/catalog.md). What a floor or a later epoch invalidates leaves the
item index at once and is never passed on again; it is only *answered* for a grace period, until its key is written
anew, so that no restart is a blip.

Who is a member is not decided here: the node says which epochs live and who left.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gossipd.config import CatalogConfig
from gossipd.core.deadlines import Deadlines
from gossipd.core.effects import Effect, Outbid, Report, Spread
from gossipd.core.events import RecordChanged
from gossipd.core.items import DIGEST_BYTES, ItemIndex, ItemKey, record_digest
from gossipd.ids import NodeId, Version
from gossipd.limits import (
    CATALOG_BYTES_MAX,
    GOSSIP_MESSAGE_BYTES_MAX,
    MEMBERS_MAX,
    RECORD_BYTES_MAX,
    RECORD_BYTES_PER_OWNER_MAX,
    RECORDS_MAX,
    RECORDS_PER_OWNER_MAX,
    RELAYED_RECORDS_PER_OWNER_BURST,
    RELAYED_RECORDS_PER_OWNER_PER_S,
)
from gossipd.records import Record, Service
from gossipd.wire.messages import Announce

RECORD_OVERHEAD_BYTES = 16
"""Most that a message adds around a record's bytes and signature: its type and two length prefixes."""

ORPHANS_AGE_S = 300.0
"""Seconds that records of an owner nobody vouched for are kept: its claim and they travel apart, but not for long."""

_AFTER_ALL = 2**64
"""Above every sequence number that the wire can carry: the floor of an epoch whose owner has left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """What the store takes in from others. The defaults are the limits; smaller ones serve tests and simulations."""

    records_per_owner: int = RECORDS_PER_OWNER_MAX
    bytes_per_owner: int = RECORD_BYTES_PER_OWNER_MAX
    records: int = RECORDS_MAX
    bytes: int = CATALOG_BYTES_MAX
    relayed_per_s: float = RELAYED_RECORDS_PER_OWNER_PER_S
    relayed_burst: int = RELAYED_RECORDS_PER_OWNER_BURST


QUOTAS = Quotas()


@dataclass(slots=True)
class _Owner:
    """One owner. No key is both in *records* and in *lingering*; *bytes* counts both."""

    floor: Version
    tokens: float
    refilled_at: float
    records: dict[str, Record] = field(default_factory=dict)
    """Valid, tombstones included: the item index has exactly these."""
    lingering: dict[str, Record] = field(default_factory=dict)
    """Invalid but still answered, the first to become so first; no tombstones."""
    bytes: int = 0

    def __len__(self) -> int:
        return len(self.records) + len(self.lingering)

    def shown(self, key: str) -> Record | None:
        """Return what is answered for *key*."""
        record = self.records.get(key) or self.lingering.get(key)
        return None if record is None or record.content is None else record


class Store:
    """The catalog of one node. Bounded by *quotas*; what is refused is counted in `refused`, and changes nothing.

    Owners known without a record are those that membership spoke of: MEMBERS_MAX at most, if the node forgets as it
    does. Of as many that were forgotten the last epoch is remembered, or their records would go round for ever between
    nodes that forget them one after another.
    """

    def __init__(self, config: CatalogConfig, *, me: NodeId, index: ItemIndex, quotas: Quotas = QUOTAS) -> None:
        self._config = config
        self._me = me
        self._index = index
        self._quotas = quotas
        self._owners: dict[NodeId, _Owner] = {}
        self._by_name: dict[str, dict[ItemKey, Record]] = {}
        self._grace: Deadlines[tuple[NodeId, str]] = Deadlines()
        self.orphans: Deadlines[NodeId] = Deadlines()
        """Owners that membership has not spoken of, and when to `forget` them."""
        self._forgotten: dict[NodeId, Version] = {}
        """Floors of owners that were forgotten, the longest ago first."""
        self._held = 0
        self.bytes = 0
        """Encoded bytes of all that is held."""
        self.refused: dict[str, int] = {}
        """Records not stored: "stale" (at or below the owner's floor), "malformed", "oversized", "quota"."""
        self.unspread = 0
        """Records stored but left to syncs, because their owner's relay rate was used up."""

    def __len__(self) -> int:
        """Return how many records are held: tombstones and what is answered in grace included."""
        return self._held

    # --------------------------------------------------------------------------------------------------------- answers

    def get(self, owner: NodeId, key: str) -> Record | None:
        """Return what is answered for *key* of *owner*: never a tombstone, perhaps a record in its grace period."""
        row = self._owners.get(owner)
        return None if row is None else row.shown(key)

    def records_of(self, owner: NodeId) -> Iterator[Record]:
        """Yield what is answered of *owner*."""
        row = self._owners.get(owner)
        if row is not None:
            yield from (record for record in row.records.values() if record.content is not None)
            yield from row.lingering.values()

    def instances(self, name: str) -> Iterable[Record]:
        """Return the records whose content is a Service called *name*; costs as much as the answer is long."""
        return self._by_name.get(name, {}).values()

    def all(self) -> Iterator[Record]:
        """Yield the records whose content is a Service, grouped by its name."""
        for records in self._by_name.values():
            yield from records.values()

    def names(self) -> list[str]:
        """Return the names of all services, sorted."""
        return sorted(self._by_name)

    # ------------------------------------------------------------------------------------------------ syncs and relays

    def item(self, owner: NodeId, key: str) -> Record | None:
        """Return the valid record under *key* of *owner*, a tombstone too: what the item index knows, and peers may
        have."""
        row = self._owners.get(owner)
        return None if row is None else row.records.get(key)

    def floor(self, owner: NodeId) -> Version:
        """Return the version at or below which nothing of *owner* is valid; (-1, 0) when nothing is known of it."""
        row = self._owners.get(owner)
        return self._forgotten.get(owner, Version(-1, 0)) if row is None else row.floor

    def wants(self, announce: Announce) -> bool:
        """Return whether the announced record is worth fetching: not held, and above its owner's floor."""
        held = len(announce.digest) == DIGEST_BYTES and self._index.key_of(int.from_bytes(announce.digest)) is not None
        return not held and announce.version > self.floor(announce.owner)

    # ---------------------------------------------------------------------------------------------------------- changes

    def merge(self, record: Record, *, source: NodeId, how: str, now: float) -> list[Effect]:
        """Take in *record*, which *source* handed us by "gossip" or "sync"; any other *how*: our author just wrote it.

        News is spread, as an Announce if it is too large, unless its owner's relay rate is used up; a change of content
        is reported. News about ourselves from a peer was not written by this run: it is not stored, and Outbid is
        returned.
        """
        if not 0 <= record.floor < record.version.seq:
            return self._refuse("malformed")
        if len(record.encoded) > RECORD_BYTES_MAX:
            return self._refuse("oversized")
        row = self._owners.get(record.owner)
        floor = max(self.floor(record.owner), Version(record.version.epoch, record.floor))
        if record.version <= floor:
            self._refuse("stale")
            return [] if row is None else self._late(row, record, source=source, how=how)
        held = None if row is None else row.records.get(record.key)
        news = held is None or _supersedes(record, held)
        foreign = how in ("gossip", "sync")  # whoever hands it to us: a twin bears our name
        if record.owner == self._me and foreign:
            return [Outbid(record=record)] if news else []
        if not news:
            assert row is not None
            self._raise_floor(record.owner, row, floor, now=now)  # nothing to raise, unless the owner broke its promise
            return []
        if foreign and not self._admits(row, record, floor):
            return self._refuse("quota")
        if row is None:
            row = self._owners[record.owner] = self._new_owner(floor, now=now)
            self.orphans.set(record.owner, now + ORPHANS_AGE_S)
        self._raise_floor(record.owner, row, floor, now=now)
        before = row.shown(record.key)
        self._put(row, record)
        effects = self._spread(row, record, now=now)
        if (None if before is None else before.content) != record.content:
            effects.append(_changed(record, before, record, record.version, source=source, how=how))
        while row.lingering and not self._fits(len(row), row.bytes, self._held - len(row), self.bytes - row.bytes):
            effects.append(self._end_grace(record.owner, row, next(iter(row.lingering)), source=source, how=how))
        return effects

    def owner_epoch(self, owner: NodeId, epoch: int, *, now: float) -> None:
        """Say that *owner* lives in *epoch*: records of earlier ones are invalid. Call it for *me* too, before a
        merge."""
        self.orphans.cancel(owner)
        self._forgotten.pop(owner, None)
        row = self._owners.get(owner)
        if row is None:
            self._owners[owner] = self._new_owner(Version(epoch, 0), now=now)
        else:
            self._raise_floor(owner, row, Version(epoch, 0), now=now)

    def owner_left(self, owner: NodeId, epoch: int, *, source: NodeId, how: str, now: float) -> list[Effect]:
        """Say that *owner* left in *epoch*: its records up to that epoch are gone at once, and refused from now on.

        For good: an owner that is said to have left and has not, must take a later epoch.
        """
        self.owner_epoch(owner, epoch, now=now)
        row, floor = self._owners[owner], Version(epoch, _AFTER_ALL)
        if floor <= row.floor:
            return []
        self._raise_floor(owner, row, floor, now=now)
        return [self._end_grace(owner, row, key, source=source, how=how) for key in list(row.lingering)]

    def forget(self, owner: NodeId, *, how: str = "timer", now: float) -> list[Effect]:
        """Drop all that is known of *owner*. What still circulates of its last epoch is refused until `owner_epoch`."""
        row = self._owners.get(owner)
        if row is None:
            return []
        self.orphans.cancel(owner)
        self._forgotten[owner] = Version(row.floor.epoch, _AFTER_ALL)
        if len(self._forgotten) > MEMBERS_MAX:
            del self._forgotten[next(iter(self._forgotten))]
        self._raise_floor(owner, row, Version(row.floor.epoch + 1, _AFTER_ALL), now=now)
        effects: list[Effect] = []
        effects += [self._end_grace(owner, row, key, source=self._me, how=how) for key in list(row.lingering)]
        del self._owners[owner]
        return effects

    def next_deadline(self) -> float:
        """Return when the next grace period ends; `math.inf` when there is none."""
        return self._grace.next()

    def handle_timer(self, *, now: float) -> list[Effect]:
        """Cease to answer what was not written anew within its grace period."""
        due = self._grace.pop_due(now)
        return [self._end_grace(owner, self._owners[owner], key, source=self._me, how="timer") for owner, key in due]

    # ---------------------------------------------------------------------------------------------------------- private

    def _late(self, row: _Owner, record: Record, *, source: NodeId, how: str) -> list[Effect]:
        """A tombstone below the floor needs no keeping, but what it withdrew is not to be answered any longer."""
        held = row.lingering.get(record.key)
        if held is None or record.content is not None or record.version < held.version:
            return []
        return [self._end_grace(record.owner, row, record.key, source=source, how=how)]

    def _refuse(self, reason: str) -> list[Effect]:
        self.refused[reason] = self.refused.get(reason, 0) + 1
        return []

    def _new_owner(self, floor: Version, *, now: float) -> _Owner:
        return _Owner(floor=floor, tokens=self._quotas.relayed_burst, refilled_at=now)

    def _admits(self, row: _Owner | None, record: Record, floor: Version) -> bool:
        """Whether there is room for *record* once *floor* has done its work and the owner's lingering records gave
        way."""
        size = len(record.encoded)
        others, others_bytes = self._held, self.bytes
        count, total = 1, size
        if row is not None:
            others, others_bytes = others - len(row), others_bytes - row.bytes
            count, total = 1 + len(row), size + row.bytes
            if not self._fits(count, total, others, others_bytes):
                leaving = list(row.lingering.values())
                if floor > row.floor:  # a pass over the owner's records, which most records do not cost
                    leaving += [held for held in row.records.values() if held.version <= floor]
                held = row.records.get(record.key)
                if held is not None and held.version > floor:
                    leaving.append(held)
                count, total = count - len(leaving), total - sum(len(each.encoded) for each in leaving)
        return self._fits(count, total, others, others_bytes)

    def _fits(self, count: int, total: int, others: int, others_bytes: int) -> bool:
        """Whether one owner may have *count* records of *total* bytes when the *others* have theirs."""
        quotas = self._quotas
        return (
            count <= quotas.records_per_owner
            and total <= quotas.bytes_per_owner
            and others + count <= quotas.records
            and others_bytes + total <= quotas.bytes
        )

    def _raise_floor(self, owner: NodeId, row: _Owner, floor: Version, *, now: float) -> None:
        """Invalidate what is at or below *floor*: tombstones are done with, the rest is answered for the grace."""
        if floor <= row.floor:
            return
        row.floor = floor
        for key in [key for key, record in row.records.items() if record.version <= floor]:
            record = row.records.pop(key)
            self._index.drop((owner, key))
            if record.content is None:
                self._account(row, record, -1)
            else:
                row.lingering[key] = record
                self._grace.set((owner, key), now + self._config.epoch_grace_s)

    def _put(self, row: _Owner, record: Record) -> None:
        """Store *record* in place of whatever is under its key, and keep every index in step."""
        item = (record.owner, record.key)
        for old in (row.records.pop(record.key, None), row.lingering.pop(record.key, None)):
            if old is not None:
                self._account(row, old, -1)
                self._unlist(old)
        self._grace.cancel(item)
        row.records[record.key] = record
        self._account(row, record, +1)
        self._index.put(item, record_digest(record))
        if isinstance(record.content, Service):
            self._by_name.setdefault(record.content.name, {})[item] = record

    def _end_grace(self, owner: NodeId, row: _Owner, key: str, *, source: NodeId, how: str) -> Report:
        record = row.lingering.pop(key)
        self._grace.cancel((owner, key))
        self._account(row, record, -1)
        self._unlist(record)
        left = row.floor.seq >= _AFTER_ALL
        return _changed(record, record, None, record.version if left else row.floor, source=source, how=how)

    def _account(self, row: _Owner, record: Record, sign: int) -> None:
        self._held += sign
        row.bytes += sign * len(record.encoded)
        self.bytes += sign * len(record.encoded)

    def _unlist(self, record: Record) -> None:
        if isinstance(record.content, Service):
            named = self._by_name[record.content.name]
            del named[record.owner, record.key]
            if not named:
                del self._by_name[record.content.name]

    def _spread(self, row: _Owner, record: Record, *, now: float) -> list[Effect]:
        quotas = self._quotas
        refill = max(0.0, now - row.refilled_at) * quotas.relayed_per_s
        row.tokens, row.refilled_at = min(row.tokens + refill, quotas.relayed_burst), now
        if row.tokens < 1:
            self.unspread += 1
            return []
        row.tokens -= 1
        if len(record.encoded) + len(record.signature or b"") + RECORD_OVERHEAD_BYTES <= GOSSIP_MESSAGE_BYTES_MAX:
            return [Spread(item=record)]
        digest = record_digest(record).to_bytes(DIGEST_BYTES)
        return [Spread(item=Announce(owner=record.owner, version=record.version, digest=digest))]


def _supersedes(new: Record, old: Record) -> bool:
    """Whether *new* replaces *old* under one key. Owners write a version once; the bytes make it an order if one does
    not."""
    return (new.version, new.encoded) > (old.version, old.encoded)


def _changed(
    record: Record, before: Record | None, after: Record | None, version: Version, *, source: NodeId, how: str
) -> Report:
    """Return the event that the answer for the key of *record* went from *before* to *after*; a tombstone is none."""
    after = None if after is None or after.content is None else after
    event = RecordChanged(
        owner=record.owner, key=record.key, before=before, after=after, version=version, source=source, how=how
    )
    return Report(event=event)
