"""The digest of a sync: how many buckets, what goes into them, which of them differ. Pure functions over an ItemIndex.

A bucket is named by the leading bits of an item's hash and summed up by the XOR of its hashes, so that both sides agree
on what belongs where without agreeing on anything else, and the cost does not depend on how many nodes or keys the
items are about.
"""

import math
from collections.abc import Iterable

from gossipd.core.items import DIGEST_BYTES, ItemIndex
from gossipd.errors import MalformedPacket
from gossipd.limits import SYNC_BUCKETS_MAX
from gossipd.wire.messages import SyncOpen

BUCKETS_MIN = 16
"""Buckets in a digest however few the items: 128 bytes."""

EXPECTED_CHANGES = 4
"""Changed items for which a sync is made cheapest; gossip leaves it few more than that."""


def bucket_count(items: int) -> int:
    """Return in how many buckets to sum up *items*: a power of two from BUCKETS_MIN to SYNC_BUCKETS_MAX.

    The digest costs 8 B for each of b buckets. A changed item differs in two buckets, its old hash's and its new one's,
    and lists the items / b hashes of each: 16 * items / b bytes. Of c changes, 8 * b + 16 * c * items / b is least at b
    = sqrt(2 * c * items).
    """
    best = math.sqrt(2 * EXPECTED_CHANGES * max(1, items))
    count: int = 1 << round(math.log2(best))
    return min(max(count, BUCKETS_MIN), SYNC_BUCKETS_MAX)


def sync_open(index: ItemIndex) -> SyncOpen:
    """Return the message that opens a sync of what *index* holds."""
    return SyncOpen(buckets=join_hashes(index.xor_buckets(bucket_count(len(index)))))


def differing(index: ItemIndex, theirs: SyncOpen) -> tuple[list[int], list[int]]:
    """Return the buckets that differ: those to list, and those that are empty over there and simply sent. Both ascend.

    Raises: MalformedPacket unless there is a power of two of buckets, 1 to SYNC_BUCKETS_MAX.
    """
    sums = split_hashes(theirs.buckets)
    if not 1 <= len(sums) <= SYNC_BUCKETS_MAX or len(sums) & (len(sums) - 1):
        raise MalformedPacket(f"{len(sums)} buckets, expected a power of two from 1 to {SYNC_BUCKETS_MAX}")
    listed: list[int] = []
    sent: list[int] = []
    for bucket, (mine, other) in enumerate(zip(index.xor_buckets(len(sums)), sums, strict=True)):
        if mine != other:
            (listed if other else sent).append(bucket)
    return listed, sent


def join_hashes(hashes: Iterable[int]) -> bytes:
    """Return *hashes* as 8 bytes each, in order."""
    return b"".join(value.to_bytes(DIGEST_BYTES) for value in hashes)


def split_hashes(data: bytes) -> list[int]:
    """Return the hashes in *data*. Raises: MalformedPacket unless its length is a multiple of 8."""
    if len(data) % DIGEST_BYTES:
        raise MalformedPacket(f"{len(data)} bytes of hashes, expected a multiple of {DIGEST_BYTES}")
    return [int.from_bytes(data[at : at + DIGEST_BYTES]) for at in range(0, len(data), DIGEST_BYTES)]
