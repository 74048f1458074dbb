"""The author: writes this node's own records, and sees to it that what it withdrew can be forgotten.

Every record has a fresh sequence number and carries the floor: nothing of this epoch at or below it is valid any more.
The floor may rise to just below the oldest live record; once tombstones outnumber live records, each write therefore
re-issues a few of the oldest, as a log-structured file system cleans its tail, and tombstones at or below the floor are
forgotten. The floor that passes a re-issued record goes out with the *next* write only, so that the re-issue is ahead
of it.
"""

from collections.abc import Callable

from gossipd.errors import RequestError
from gossipd.ids import NodeId, Version
from gossipd.limits import (
    LIVE_RECORD_BYTES_PER_OWNER_MAX,
    LIVE_RECORDS_PER_OWNER_MAX,
    RECORD_BYTES_MAX,
    RECORDS_PER_OWNER_MAX,
    TOMBSTONES_MIN,
)
from gossipd.records import Content, Record

Encode = Callable[[NodeId, Version, int, str, Content | None], Record]
"""Makes the record (owner, version, floor, key, content) with its bytes."""

CLEANED_PER_WRITE = 2
"""Live records re-issued with a write while tombstones are too many: cleaning catches up at twice the rate of
deletion."""

_GROWTH_BYTES = 16
"""How much longer a re-issue may be encoded: two integers that grow from one byte to nine."""

_SEQ_MAX = 2**52
"""Past it a later epoch is due: half of what the wire can carry, so that nobody can push us against its end."""


class Author:
    """Our own records in one epoch. What its methods return is to be merged into the store, in order, at once."""

    def __init__(self, me: NodeId, epoch: int, encode: Encode, *, tombstones_min: int = TOMBSTONES_MIN) -> None:
        self.me = me
        self.epoch = epoch
        self._encode = encode
        self._tombstones_min = tombstones_min
        self._seq = 0
        self._floor = 0
        """At or below it nothing of ours is valid; what the next write promises."""
        self._promised = 0
        """The floor that the current write carries."""
        self._bytes = 0
        self._live: dict[str, Record] = {}
        """By key, the oldest version first."""
        self._tombstones: dict[str, int] = {}
        """The seq of each, the oldest first; all above the floor."""

    def __len__(self) -> int:
        """Return how many records we publish, without tombstones."""
        return len(self._live)

    @property
    def tombstones(self) -> int:
        """How many tombstones we cannot forget yet."""
        return len(self._tombstones)

    def content(self, key: str) -> Content | None:
        """Return what we publish under *key*, or None."""
        record = self._live.get(key)
        return None if record is None else record.content

    def require_room(self, key: str, content: Content) -> None:
        """Return if *content* could be put under *key*. Raises: RequestError("quota") as `put` does."""
        self._check(self._make(self._seq + 1, key, content), self._live.get(key))

    def put(self, key: str, content: Content, *, within_quota: bool = True) -> list[Record]:
        """Publish *content* under *key*; [] when it already is. *within_quota* False: whoever asks has seen to the room
        when the key was new, and now changes its state alone.

        Raises: RequestError("quota") if one record, all our records or their number would become too large.
        """
        held = self._live.get(key)
        if held is not None and held.content == content:
            return []
        self._promised = self._floor
        record = self._make(self._seq + 1, key, content)
        if within_quota:
            self._check(record, held)
        return [self._keep(record), *self._clean()]

    def delete(self, key: str) -> list[Record]:
        """Withdraw what is under *key*; [] when nothing is."""
        if key not in self._live:
            return []
        self._promised = self._floor
        return [self._keep(self._make(self._seq + 1, key, None)), *self._clean()]

    def outbid(self, record: Record) -> list[Record] | None:
        """Outrank *record*, which bears our name but which this run has not written (a restored disk, a twin).

        Returns [] if our epoch outranks it as it is; None if only a later epoch can: choose one, above both, and
        `rebase`.
        """
        if record.version.epoch < self.epoch:
            return []
        if record.version.epoch > self.epoch or record.version.seq >= _SEQ_MAX:
            return None
        self._seq = self._floor = self._promised = max(self._seq, record.version.seq)
        self._tombstones.clear()
        if not self._live:  # somebody has to carry the floor
            return [self._keep(self._make(self._seq + 1, record.key, None))]
        return [self._reissue() for _ in range(len(self._live))]

    def rebase(self, epoch: int) -> list[Record]:
        """Go on in a later *epoch*: all that is live is issued anew, tombstones need not be. Tell the store the epoch
        first."""
        assert epoch > self.epoch, (epoch, self.epoch)
        self.epoch = epoch
        self._seq = self._floor = self._promised = 0
        self._tombstones.clear()
        return [self._reissue() for _ in range(len(self._live))]

    def _make(self, seq: int, key: str, content: Content | None) -> Record:
        return self._encode(self.me, Version(self.epoch, seq), self._promised, key, content)

    def _check(self, record: Record, held: Record | None) -> None:
        """Raise RequestError if *record* in place of *held* breaks a quota."""
        size = _size(record)
        count = len(self._live) + (held is None)
        total = self._bytes + size - (0 if held is None else _size(held))
        for what, value, most in (
            ("bytes in one record", size, RECORD_BYTES_MAX),
            ("records of one node", count, LIVE_RECORDS_PER_OWNER_MAX),
            ("bytes in the records of one node", total, LIVE_RECORD_BYTES_PER_OWNER_MAX),
        ):
            if value > most:
                raise RequestError("quota", f"{record.key!r} would make {value} {what}, expected at most {most}")

    def _keep(self, record: Record) -> Record:
        """Remember *record* as the newest that we wrote."""
        old = self._live.pop(record.key, None)
        self._tombstones.pop(record.key, None)
        self._seq = record.version.seq
        self._bytes -= 0 if old is None else _size(old)
        if record.content is None:
            self._tombstones[record.key] = self._seq
        else:
            self._live[record.key] = record
            self._bytes += _size(record)
        return record

    def _reissue(self) -> Record:
        """Write the oldest live record anew."""
        oldest = next(iter(self._live.values()))
        return self._keep(self._make(self._seq + 1, oldest.key, oldest.content))

    def _clean(self) -> list[Record]:
        """Raise the floor if tombstones are too many, re-issuing what is in the way; leave room for one more key."""
        reissued: list[Record] = []
        while self._full() or self._cluttered():
            self._raise_floor()
            if not self._full() and (not self._cluttered() or len(reissued) >= CLEANED_PER_WRITE):
                break
            reissued.append(self._reissue())
        return reissued

    def _cluttered(self) -> bool:
        return len(self._tombstones) > max(self._tombstones_min, len(self._live))

    def _full(self) -> bool:
        return len(self._live) + len(self._tombstones) >= RECORDS_PER_OWNER_MAX

    def _raise_floor(self) -> None:
        """Raise the floor to just below the oldest live record, or to all that was written if there is none."""
        oldest = next(iter(self._live.values()), None)
        self._floor = self._seq if oldest is None else oldest.version.seq - 1
        for key in [key for key, seq in self._tombstones.items() if seq <= self._floor]:
            del self._tombstones[key]


def _size(record: Record) -> int:
    return len(record.encoded) + _GROWTH_BYTES
