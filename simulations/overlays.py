"""What the nodes of a warm world have in common until they write to it: items, catalogs, peer books. Each is the node's own class
with other storage: what is common is held once, and what differs from it by each node.

A world of n nodes that know n each would else hold n * n of everything. Equal content in equal order, so nothing that a node does
is changed; the tests run one world with these and one without and compare their histories, byte for byte.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from gossipd.core.catalog.store import Store, _Owner
from gossipd.core.effects import Effect
from gossipd.core.items import _BITS, ItemIndex, ItemKey
from gossipd.ids import Address, NodeId, Version
from gossipd.node.peers import PeerBook, PeerEntry
from gossipd.records import Record, Service

T = TypeVar("T")


_MADE: dict[tuple[type, type], type] = {}


def put_before(overlay: type[T], own: type[T]) -> type[T]:
    """Return the class of what is both; *own* may have a bug planted, which is to stay."""
    made = _MADE.get((overlay, own))
    if made is None:
        made = _MADE[overlay, own] = type(f"{overlay.__name__}On{own.__name__}", (overlay, own), {})
    return made


class CommonItems:
    """The items of a warm world: what everybody held at its start, and the names of all that anybody ever held."""

    def __init__(self, items: ItemIndex) -> None:
        self.digest_of = dict(items._digest_of)
        self.root = items._root
        self.catalog_root = 0
        for (owner, _), digest in self.digest_of.items():
            self.catalog_root ^= digest if owner else 0
        self.xor = list(items._xor)
        self._named = {digest: (digest, key) for digest, key in items._key_of.items()}
        self._buckets: dict[frozenset[int], frozenset[int]] = {}
        self.held = [None if not held else self.bucket(frozenset(held)) for held in items._held]

    def named(self, digest: int, key: ItemKey) -> tuple[int, ItemKey]:
        """Return *digest* and the *key* of its item, the same two objects for all nodes."""
        return self._named.setdefault(digest, (digest, key))

    def key_of(self, digest: int) -> ItemKey:
        """Return the key of an item that somebody held."""
        return self._named[digest][1]

    def bucket(self, digests: frozenset[int]) -> frozenset[int]:
        """Return *digests*, the same object for all nodes: most pass through the same states."""
        return self._buckets.setdefault(digests, digests)


class OverlaidIndex(ItemIndex):
    """An index that holds, of its own, what differs from the common items."""

    _common: CommonItems
    _own: dict[ItemKey, int | None]
    """By key, where it differs; None: not held."""
    _length: int
    _bucket: list[frozenset[int] | None]
    catalog_root: int
    """The XOR of the records' hashes alone."""

    def take_over(self, common: CommonItems) -> None:
        """Hold *common*, in place of what was held."""
        self._common, self._own, self._length = common, {}, len(common.digest_of)
        self._root, self._xor, self._bucket = common.root, list(common.xor), list(common.held)
        self._digest_of, self._key_of, self._held = {}, {}, []
        self.catalog_root = common.catalog_root

    def __len__(self) -> int:
        return self._length

    def put(self, key: ItemKey, digest: int) -> None:
        old = self._digest(key)
        if old == digest:
            return
        if old is not None:
            self._remove(key, old)
        digest, key = self._common.named(digest, key)
        self._change(key, digest, (self._bucket[digest >> (64 - _BITS)] or frozenset()) | {digest}, 1)
        self._own[key] = digest

    def drop(self, key: ItemKey) -> None:
        old = self._digest(key)
        if old is not None:
            self._remove(key, old)
            self._own[self._common.key_of(old)] = None

    def key_of(self, digest: int) -> ItemKey | None:
        held = self._bucket[digest >> (64 - _BITS)] if digest >> 64 == 0 else None
        return self._common.key_of(digest) if held and digest in held else None

    def digests_in(self, bucket: int, count: int) -> set[int]:
        width = len(self._bucket) // count
        return {digest for held in self._bucket[bucket * width : (bucket + 1) * width] if held for digest in held}

    def _digest(self, key: ItemKey) -> int | None:
        own = self._own.get(key, -1)
        return self._common.digest_of.get(key) if own == -1 else own

    def _remove(self, key: ItemKey, digest: int) -> None:
        held = self._bucket[digest >> (64 - _BITS)]
        assert held is not None
        self._change(key, digest, held - {digest}, -1)

    def _change(self, key: ItemKey, digest: int, held: frozenset[int], more: int) -> None:
        bucket = digest >> (64 - _BITS)
        self._bucket[bucket] = self._common.bucket(held) if held else None
        self._xor[bucket] ^= digest
        self._root ^= digest
        self.catalog_root ^= digest if key[0] else 0
        self._length += more
        self.changes += 1


class OverlaidOwners(dict[NodeId, _Owner]):
    """Owners that are another store's until they are taken, which is to be done before one is changed or removed."""

    def __init__(self, common: Mapping[NodeId, _Owner], now: float) -> None:
        super().__init__()
        self._common = common
        self._now = now
        self._removed: set[NodeId] = set()

    def take(self, owner: NodeId) -> None:
        """Make *owner*, if there is one, this node's own."""
        theirs = self.get(owner)
        if theirs is not None and not super().__contains__(owner):
            self[owner] = _Owner(theirs.floor, theirs.tokens, self._now, dict(theirs.records), {}, theirs.bytes)

    def get(self, owner: NodeId, default: Any = None) -> Any:
        found = super().get(owner)
        if found is None and owner not in self._removed:
            found = self._common.get(owner)
        return default if found is None else found

    def __missing__(self, owner: NodeId) -> _Owner:
        found: _Owner | None = self.get(owner)
        if found is None:
            raise KeyError(owner)
        return found

    def __delitem__(self, owner: NodeId) -> None:
        self._removed.add(owner)
        super().__delitem__(owner)


class OverlaidStore(Store):
    """A catalog whose owners and names are another's until they are written to."""

    _owners: OverlaidOwners
    _own_names: set[str]

    def take_over(self, other: Store, now: float) -> None:
        """Hold what *other* holds, in place of what was held."""
        self._owners = OverlaidOwners(other._owners, now)
        self._by_name = dict(other._by_name)
        self._own_names = set()
        self._held, self.bytes = other._held, other.bytes

    def merge(self, record: Record, *, source: NodeId, how: str, now: float) -> list[Effect]:
        self._owners.take(record.owner)
        return super().merge(record, source=source, how=how, now=now)

    def owner_epoch(self, owner: NodeId, epoch: int, *, now: float) -> None:
        row = self._owners.get(owner)
        if row is None or row.floor < Version(epoch, 0):  # else nothing of it changes
            self._owners.take(owner)
        super().owner_epoch(owner, epoch, now=now)

    def owner_left(self, owner: NodeId, epoch: int, *, source: NodeId, how: str, now: float) -> list[Effect]:
        self._owners.take(owner)
        return super().owner_left(owner, epoch, source=source, how=how, now=now)

    def forget(self, owner: NodeId, *, how: str = "timer", now: float) -> list[Effect]:
        self._owners.take(owner)
        return super().forget(owner, how=how, now=now)

    def _put(self, row: _Owner, record: Record) -> None:
        self._own_name(record)
        super()._put(row, record)

    def _unlist(self, record: Record) -> None:
        self._own_name(record)
        super()._unlist(record)

    def _own_name(self, record: Record) -> None:
        name = record.content.name if isinstance(record.content, Service) else None
        if name is not None and name not in self._own_names:
            self._own_names.add(name)
            if name in self._by_name:
                self._by_name[name] = dict(self._by_name[name])


class OverlaidBook(PeerBook):
    """A peer book that holds, of its own, who was noted since the warm start; the others follow from the common addresses."""

    _me: NodeId
    _common: Mapping[NodeId, Address] | None
    """None: all are our own by now."""
    _noted_at: float

    def take_over(self, common: Mapping[NodeId, Address], *, me: NodeId, now: float) -> None:
        """Hold all of *common* but *me*, seen *now*, in place of what was held."""
        self._common, self._me, self._noted_at, self._seen = common, me, now, {}

    def __len__(self) -> int:
        if self._common is None:
            return super().__len__()
        return len(self._common) - 1 + sum(name not in self._common for name in self._seen)

    def note(self, name: NodeId, address: Address, *, now: float) -> None:
        if name == self._me or self._common is None or name not in self._common:
            self._own_all()
        super().note(name, address, now=now)

    def addresses(self) -> list[tuple[NodeId, Address]]:
        if self._common is None:
            return super().addresses()
        me, seen = self._me, self._seen
        return [peer for peer in self._common.items() if peer[0] != me and peer[0] not in seen] + super().addresses()

    def entries(self, *, live: list[NodeId], now: float) -> list[PeerEntry]:
        self._own_all()
        return super().entries(live=live, now=now)

    def _own_all(self) -> None:
        if self._common is not None:
            at, noted = self._noted_at, self._seen
            others = ((name, address) for name, address in self._common.items() if name != self._me)
            self._seen = {name: (address, at) for name, address in others if name not in noted} | noted
            self._common = None
