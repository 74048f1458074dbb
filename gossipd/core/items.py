"""Items: what anti-entropy compares. Every claim and record that a node holds is one, known by an 8-byte hash.

An item's hash covers what makes it differ from another state of the same thing, so equal hashes mean nothing to send.
XOR over the hashes of a bucket sums a bucket up; it is not meant to resist a member that forges collisions.
"""

from hashlib import blake2b
from itertools import chain

from gossipd.limits import SYNC_BUCKETS_MAX
from gossipd.records import Claim, Record

DIGEST_BYTES = 8
_BITS = SYNC_BUCKETS_MAX.bit_length() - 1

ItemKey = tuple[str, str]
"""("", member) for a claim, (owner, record key) for a record."""


def _digest(*parts: str | int) -> int:
    text = "\0".join(map(str, parts)).encode()
    return int.from_bytes(blake2b(text, digest_size=DIGEST_BYTES).digest())


def claim_digest(claim: Claim) -> int:
    """Return the hash of a claim's state: who and where, at what incarnation, and the status; not accuser or age."""
    return _digest(
        "claim", claim.member, *claim.incarnation, claim.status, *claim.address, claim.protocol_min, claim.protocol_max
    )


def claim_check(claim: Claim) -> int:
    """Return the first 4 bytes of a claim's hash: what a Refutation has in place of all that it leaves out."""
    return claim_digest(claim) >> (8 * (DIGEST_BYTES - 4))


def record_digest(record: Record) -> int:
    """Return the hash of a record's identity: owner, key and version (an owner never reuses a version)."""
    return _digest("record", record.owner, record.key, *record.version)


class ItemIndex:
    """The hashes of all items held, with their XOR in SYNC_BUCKETS_MAX buckets by the hash's leading bits."""

    def __init__(self) -> None:
        self._digest_of: dict[ItemKey, int] = {}
        self._key_of: dict[int, ItemKey] = {}
        self._root = 0
        self._xor = [0] * SYNC_BUCKETS_MAX
        self._held: list[tuple[int, ...]] = [()] * SYNC_BUCKETS_MAX
        """The hashes in each bucket: tuples, as most hold one hash or none, and a set of one takes four times the memory."""
        self.changes = 0
        """How often anything changed here."""

    def __len__(self) -> int:
        return len(self._digest_of)

    def put(self, key: ItemKey, digest: int) -> None:
        """Say that the item under *key* now has *digest*; an earlier one is replaced."""
        if self._digest_of.get(key) == digest:
            return
        self.drop(key)
        self.changes += 1
        bucket = digest >> (64 - _BITS)
        self._digest_of[key] = digest
        self._key_of[digest] = key
        self._root ^= digest
        self._xor[bucket] ^= digest
        self._held[bucket] += (digest,)

    def drop(self, key: ItemKey) -> None:
        """Say that there is no item under *key* any more."""
        digest = self._digest_of.pop(key, None)
        if digest is None:
            return
        self.changes += 1
        bucket = digest >> (64 - _BITS)
        self._key_of.pop(digest, None)
        self._root ^= digest
        self._xor[bucket] ^= digest
        self._held[bucket] = tuple([held for held in self._held[bucket] if held != digest])

    def key_of(self, digest: int) -> ItemKey | None:
        """Return the key whose item has *digest*, or None."""
        return self._key_of.get(digest)

    def root(self) -> int:
        """Return the XOR of all hashes: equal roots mean, but for a chance of 2**-64, equal holdings."""
        return self._root

    def xor_buckets(self, count: int) -> list[int]:
        """Return the XOR of the hashes in each of *count* buckets, a power of two up to SYNC_BUCKETS_MAX."""
        width = SYNC_BUCKETS_MAX // count
        if width == 1:
            return list(self._xor)
        sums = []
        for start in range(0, SYNC_BUCKETS_MAX, width):
            total = 0
            for value in self._xor[start : start + width]:
                total ^= value
            sums.append(total)
        return sums

    def digests_in(self, bucket: int, count: int) -> set[int]:
        """Return the hashes in *bucket* of *count* buckets."""
        width = SYNC_BUCKETS_MAX // count
        return set(chain.from_iterable(self._held[bucket * width : (bucket + 1) * width]))
