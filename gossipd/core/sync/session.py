"""One sync over one stream: two machines that know no bytes, the opener and the acceptor; and a third that only
fetches.

    opener                                  acceptor
    SyncOpen (sums of buckets)      ->
                                    <-      SyncDiff ... (hashes in the buckets that differ)
                                    <-      SyncItems ... (buckets that were empty at the opener)
    [end if no bucket was listed]
    SyncItems ... (what you lack)   ->
    Fetch (what I lack)             ->
                                    <-      SyncItems ...            [Fetch and answer repeat until nothing is lacking]
    [end]

What a machine receives is merged by the node before the next message is given to it, and each step looks at the index
as it is then, so that hardly anything is sent or fetched that has been replaced meanwhile. Within an answer claims go
before records; between answers an owner's record may still arrive before its claim. Anything out of turn raises
MalformedPacket, and the stream is closed; what was merged by then stays, so that a sync which is cut off has not been
in vain.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from gossipd.core.catalog.store import RECORD_OVERHEAD_BYTES
from gossipd.core.items import DIGEST_BYTES, ItemIndex
from gossipd.core.sync.digest import differing, join_hashes, split_hashes, sync_open
from gossipd.errors import MalformedPacket
from gossipd.limits import (
    MEMBERS_MAX,
    RECORDS_MAX,
    RECORDS_PER_OWNER_MAX,
    STREAM_BYTES_MAX,
    STREAM_FRAME_BYTES_MAX,
    SYNC_ITEMS_PER_FRAME_MAX,
)
from gossipd.records import Claim, Record
from gossipd.wire.messages import Fetch, StreamMessage, SyncDiff, SyncItems, SyncOpen

Item = Claim | Record
Lookup = Callable[[int], Item | None]
"""Returns the item held with this hash, a claim with its age as of now; None when there is none any more."""

ITEMS_MAX = MEMBERS_MAX + RECORDS_MAX + RECORDS_PER_OWNER_MAX
"""Hashes or items that one side may name in one sync: as many as it can hold."""

FRAME_ITEM_BYTES_MAX = STREAM_FRAME_BYTES_MAX - 512
"""Estimated bytes of items in one frame; the rest is for the seal and the message around them."""

SENT_BYTES_MAX = STREAM_BYTES_MAX * 7 // 8
"""Estimated bytes of items sent in one sync: the rest of what a stream may carry is for hashes and frames. Past it the
sync ends early and well, and the next one goes on from there."""

LISTED_BYTES = 64
"""Estimated bytes that a listed hash costs: itself, and mostly an item for it. It is reckoned as itself alone where a sixteenth of
the buckets agrees, since then most hashes in the others agree as well."""

LISTED_LEAST = 32
"""Hashes that are listed whatever was sent a moment ago, so that every sync brings something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncStep:
    """*items* are to be merged at once, then *send* is to be sent in order; *done*: then the stream is to be closed."""

    send: list[StreamMessage] = field(default_factory=list)
    items: tuple[Item, ...] = ()
    done: bool = False


class _State(Enum):
    OPENING = auto()
    LISTING = auto()
    RECEIVING = auto()
    FETCHING = auto()
    SERVING = auto()
    DONE = auto()


class _Outbox:
    """Cuts items into SyncItems that fit a frame, until *sent_bytes_max* is used up; what is left then is left out."""

    def __init__(self, lookup: Lookup, sent_bytes_max: int) -> None:
        self._lookup = lookup
        self._left = sent_bytes_max

    def answer(self, hashes: Iterable[int]) -> list[StreamMessage]:
        """Return the items still held with *hashes*, claims first, in one frame or more; the last is marked."""
        found = [item for item in map(self._lookup, dict.fromkeys(hashes)) if item is not None]
        found.sort(key=lambda item: isinstance(item, Record))
        frames = list(self._cut(found))
        last = len(frames) - 1
        return [SyncItems(items=frame, last=number == last) for number, frame in enumerate(frames)]

    def _cut(self, items: list[Item]) -> Iterator[tuple[Item, ...]]:
        frame: list[Item] = []
        room = FRAME_ITEM_BYTES_MAX
        for item in items:
            size = item_bytes(item)
            if size > self._left:
                break
            self._left -= size
            if size > room or len(frame) == SYNC_ITEMS_PER_FRAME_MAX:
                yield tuple(frame)
                frame, room = [], FRAME_ITEM_BYTES_MAX
            frame.append(item)
            room -= size
        yield tuple(frame)


class _Inbox:
    """Counts what the peer names or sends, so that it cannot go on for ever."""

    def __init__(self) -> None:
        self._left = ITEMS_MAX

    def take(self, message: SyncItems) -> None:
        """Raises: MalformedPacket for an endless run. One may be empty: the codec skips items of kinds yet to come."""
        self.count(max(1, len(message.items)))

    def count(self, number: int) -> None:
        """Raises: MalformedPacket once more was named than anybody can hold."""
        self._left -= number
        if self._left < 0:
            raise MalformedPacket(f"more than {ITEMS_MAX} items in one sync")


class SyncOpener:
    """The side that opened the stream: `start`, then `receive` until `done`."""

    def __init__(self, index: ItemIndex, lookup: Lookup, *, sent_bytes_max: int = SENT_BYTES_MAX) -> None:
        self._index = index
        self._outbox = _Outbox(lookup, sent_bytes_max)
        self._listed = _Inbox()
        self._received = _Inbox()
        self._count = 0
        self._theirs: dict[int, set[int]] = {}
        """Their hashes by bucket, in ascending order of buckets."""
        self._wanted: list[int] = []
        self._state = _State.OPENING

    @property
    def may_end(self) -> bool:
        """Whether the stream may end here: nothing is lacking on either side."""
        return self._state is _State.DONE

    def start(self) -> list[StreamMessage]:
        """Return what opens the stream."""
        assert self._state is _State.OPENING, self._state
        message = sync_open(self._index)
        self._count = len(split_hashes(message.buckets))
        self._state = _State.LISTING
        return [message]

    def receive(self, message: StreamMessage) -> SyncStep:
        """Take in the acceptor's next message. Raises: MalformedPacket if it is out of turn or out of bounds."""
        match message:
            case SyncDiff() if self._state is _State.LISTING:
                self._list(message)
                if message.last:
                    self._state = _State.RECEIVING
                return SyncStep()
            case SyncItems() if self._state in (_State.RECEIVING, _State.FETCHING):
                self._received.take(message)
                if not message.last:
                    return SyncStep(items=message.items)
                send = self._compare() if self._state is _State.RECEIVING else self._fetch()
                return SyncStep(send=send, items=message.items, done=self.may_end)
            case _:
                raise _out_of_turn(message, self._state)

    def _list(self, message: SyncDiff) -> None:
        if len(message.buckets) != len(message.hashes):
            raise MalformedPacket(f"{len(message.hashes)} lists of hashes for {len(message.buckets)} buckets")
        if not message.buckets and not message.last:
            raise MalformedPacket("an empty SyncDiff that is not the last, expected buckets")
        least = next(reversed(self._theirs), 0)
        for bucket, data in zip(message.buckets, message.hashes, strict=True):
            if not least <= bucket < self._count:
                raise MalformedPacket(f"bucket {bucket} in a SyncDiff, expected {least} to {self._count - 1}")
            least = bucket  # the same one again: its hashes go on where the frame before ended
            hashes = split_hashes(data)
            self._listed.count(max(1, len(hashes)))
            self._theirs.setdefault(bucket, set()).update(hashes)

    def _compare(self) -> list[StreamMessage]:
        """Return what they lack and the first Fetch; ends the sync if nothing was listed, or nothing lacks here."""
        if not self._theirs:
            self._state = _State.DONE
            return []
        lacking: list[int] = []
        for bucket, theirs in self._theirs.items():
            mine = self._index.digests_in(bucket, self._count)
            lacking += sorted(mine - theirs)
            self._wanted += sorted(theirs - mine, reverse=True)
        self._wanted.reverse()  # taken from the end
        self._theirs.clear()
        return [*self._outbox.answer(lacking), *self._fetch()]

    def _fetch(self) -> list[StreamMessage]:
        """Return the next Fetch; ends the sync when nothing lacks any more."""
        wanted: list[int] = []
        while self._wanted and len(wanted) < SYNC_ITEMS_PER_FRAME_MAX:
            digest = self._wanted.pop()
            if self._index.key_of(digest) is None:
                wanted.append(digest)
        self._state = _State.FETCHING if wanted else _State.DONE
        return [Fetch(digests=join_hashes(wanted))] if wanted else []


class SyncAcceptor:
    """The other side: gives what is asked for. The peer ends the stream after a sync, and only while it `may_end`."""

    def __init__(
        self,
        index: ItemIndex,
        lookup: Lookup,
        *,
        bytes_most: float = math.inf,
        begin: float = 0.0,
        sent_bytes_max: int = SENT_BYTES_MAX,
    ) -> None:
        """List what may cost *bytes_most*, from buckets *begin* of the way round, 0 to 1: the next sync lists others."""
        self._index = index
        self._bytes_most = bytes_most
        self._begin = begin
        self._outbox = _Outbox(lookup, sent_bytes_max)
        self._asked = _Inbox()
        self._received = _Inbox()
        self._state = _State.OPENING

    @property
    def may_end(self) -> bool:
        """Whether the stream may end here: the peer has got or given all that this conversation is about."""
        return self._state in (_State.SERVING, _State.DONE)

    def start(self) -> list[StreamMessage]:
        """Return nothing: the opener speaks first."""
        return []

    def receive(self, message: StreamMessage) -> SyncStep:
        """Take in the opener's next message. Raises: MalformedPacket if it is out of turn or out of bounds."""
        match message:
            case SyncOpen() if self._state is _State.OPENING:
                return self._open(message)
            case Fetch() if self._state is _State.OPENING:
                self._state = _State.DONE
                return SyncStep(send=self._serve(message), done=True)
            case SyncItems() if self._state is _State.RECEIVING:
                self._received.take(message)
                if message.last:
                    self._state = _State.SERVING
                return SyncStep(items=message.items)
            case Fetch() if self._state is _State.SERVING:
                return SyncStep(send=self._serve(message))
            case _:
                raise _out_of_turn(message, self._state)

    def _open(self, message: SyncOpen) -> SyncStep:
        listed, sent = differing(self._index, message)
        count = len(split_hashes(message.buckets))
        listed = self._some(listed, count)
        self._state = _State.RECEIVING if listed else _State.DONE
        items = (digest for bucket in sent for digest in sorted(self._index.digests_in(bucket, count)))
        return SyncStep(send=[*self._diffs(listed, count), *self._outbox.answer(items)], done=not listed)

    def _some(self, listed: list[int], count: int) -> list[int]:
        """Return those of the buckets *listed* that are listed in this sync, at least one."""
        first = int(self._begin * len(listed))
        some: list[int] = []
        each = DIGEST_BYTES if 16 * len(listed) <= 15 * count else LISTED_BYTES
        room = max(self._bytes_most / each, LISTED_LEAST)
        for bucket in listed[first:] + listed[:first]:
            room -= max(1, len(self._index.digests_in(bucket, count)))
            if some and room < 0:
                break
            some.append(bucket)
        return sorted(some)

    def _diffs(self, listed: list[int], count: int) -> list[StreamMessage]:
        """Return the hashes in the *listed* buckets, cut into frames; a bucket may go on in the next one."""
        frames: list[tuple[list[int], list[bytes]]] = [([], [])]
        room = SYNC_ITEMS_PER_FRAME_MAX
        for bucket in listed:
            hashes = sorted(self._index.digests_in(bucket, count))
            while True:
                if room == 0:
                    frames.append(([], []))
                    room = SYNC_ITEMS_PER_FRAME_MAX
                part, hashes = hashes[:room], hashes[room:]
                room -= max(1, len(part))  # an empty bucket is listed too, and has its index
                frames[-1][0].append(bucket)
                frames[-1][1].append(join_hashes(part))
                if not hashes:
                    break
        last = len(frames) - 1
        return [
            SyncDiff(buckets=tuple(buckets), hashes=tuple(parts), last=number == last)
            for number, (buckets, parts) in enumerate(frames)
        ]

    def _serve(self, message: Fetch) -> list[StreamMessage]:
        hashes = split_hashes(message.digests)
        if not 1 <= len(hashes) <= SYNC_ITEMS_PER_FRAME_MAX:
            raise MalformedPacket(f"{len(hashes)} hashes in a Fetch, expected 1 to {SYNC_ITEMS_PER_FRAME_MAX}")
        self._asked.count(len(hashes))
        return self._outbox.answer(hashes)


class SyncFetcher:
    """Fetches what was announced: one Fetch, one run of SyncItems, the end. 1 to SYNC_ITEMS_PER_FRAME_MAX *digests*."""

    def __init__(self, digests: Iterable[int]) -> None:
        self._digests = list(dict.fromkeys(digests))
        assert 1 <= len(self._digests) <= SYNC_ITEMS_PER_FRAME_MAX, len(self._digests)
        self._received = _Inbox()
        self._state = _State.OPENING

    @property
    def may_end(self) -> bool:
        """Whether the stream may end here: the answer is complete."""
        return self._state is _State.DONE

    def start(self) -> list[StreamMessage]:
        """Return what opens the stream."""
        assert self._state is _State.OPENING, self._state
        self._state = _State.FETCHING
        return [Fetch(digests=join_hashes(self._digests))]

    def receive(self, message: StreamMessage) -> SyncStep:
        """Take in the answer. Raises: MalformedPacket if it is anything else."""
        if not isinstance(message, SyncItems) or self._state is not _State.FETCHING:
            raise _out_of_turn(message, self._state)
        self._received.take(message)
        if message.last:
            self._state = _State.DONE
        return SyncStep(items=message.items, done=message.last)


def item_bytes(item: Item) -> int:
    """Return an estimate, never too low, of the bytes that *item* takes in a frame."""
    if isinstance(item, Record):
        return len(item.encoded) + len(item.signature or b"") + RECORD_OVERHEAD_BYTES
    return len(item.member) + len(item.address.host) + len(item.accuser) + 80


def _out_of_turn(message: StreamMessage, state: _State) -> MalformedPacket:
    return MalformedPacket(f"{type(message).__name__} in a sync that is {state.name.lower()}")
