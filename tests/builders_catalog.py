"""Records, replicas and histories for tests of the catalog and of syncs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgpack
from hypothesis import strategies as st

from gossipd.config import CatalogConfig
from gossipd.core.catalog.author import Author
from gossipd.core.catalog.store import QUOTAS, Quotas, Store
from gossipd.core.effects import Effect
from gossipd.core.items import ItemIndex, claim_digest
from gossipd.core.sync.session import SENT_BYTES_MAX, SyncAcceptor, SyncOpener
from gossipd.ids import Address, Incarnation, NodeId, Version
from gossipd.records import Claim, Content, NodeInfo, Record, Service, Status
from gossipd.wire.messages import Fetch, StreamMessage, SyncDiff, SyncItems, SyncOpen

ANN, BOB, CID, DAN = NodeId("ann"), NodeId("bob"), NodeId("cid"), NodeId("dan")
GRACE_S = 10.0
CONFIG = CatalogConfig(epoch_grace_s=GRACE_S)


def web(id: str = "web-1", *, name: str = "web", port: int = 80) -> Service:
    return Service(name=name, id=id, port=port)


def encode_plainly(owner: NodeId, version: Version, floor: int, key: str, content: Content | None) -> Record:
    """Return a record whose bytes are about as many as those of the codec, and differ as the record does."""
    described = [content.name, content.port, content.id, "tcp"] if isinstance(content, Service) else repr(content)
    encoded: bytes = msgpack.packb([owner, *version, floor, key, None if content is None else described])
    return Record(owner=owner, version=version, floor=floor, key=key, content=content, encoded=encoded)


def a_record(
    key: str = "web-1",
    *,
    owner: NodeId = BOB,
    epoch: int = 1,
    seq: int = 1,
    floor: int = 0,
    content: Content | None = None,
) -> Record:
    """Return a record, by default of a service whose id is its key."""
    return encode_plainly(owner, Version(epoch, seq), floor, key, content or web(key))


def a_tombstone(key: str = "web-1", *, owner: NodeId = BOB, epoch: int = 1, seq: int = 2, floor: int = 0) -> Record:
    return encode_plainly(owner, Version(epoch, seq), floor, key, None)


def of_size(record: Record, size: int) -> Record:
    """Return *record* with an encoding of *size* bytes."""
    return replace(record, encoded=record.encoded.ljust(size, b"\0"))


def a_store(*, me: NodeId = ANN, quotas: Quotas = QUOTAS) -> Store:
    return Store(CONFIG, me=me, index=ItemIndex(), quotas=quotas)


def an_author(me: NodeId = BOB, *, epoch: int = 1, tombstones_min: int = 2) -> Author:
    return Author(me, epoch, encode_plainly, tombstones_min=tombstones_min)


def a_claim(member: NodeId = BOB, *, epoch: int = 1, counter: int = 0, status: Status = Status.ALIVE) -> Claim:
    return Claim(
        member=member,
        incarnation=Incarnation(epoch, counter),
        status=status,
        address=Address("192.0.2.1", 7946),
        accuser=member,
    )


class Replica:
    """A store beside a stub of a member table, over one index: what a sync is about."""

    def __init__(self, me: NodeId = ANN, *, quotas: Quotas = QUOTAS) -> None:
        self.me = me
        self.index = ItemIndex()
        self.store = Store(CONFIG, me=me, index=self.index, quotas=quotas)
        self.claims: dict[NodeId, Claim] = {}

    def merge(self, *items: Claim | Record, source: NodeId = DAN, now: float = 0.0) -> list[Effect]:
        effects: list[Effect] = []
        for item in items:
            if isinstance(item, Record):
                how = "command" if source == self.me else "sync"
                effects += self.store.merge(item, source=source, how=how, now=now)
            else:
                effects += self._claim(item, now=now)
        return effects

    def lookup(self, digest: int) -> Claim | Record | None:
        key = self.index.key_of(digest)
        if key is None:
            return None
        owner, name = NodeId(key[0]), key[1]
        return self.store.item(owner, name) if owner else self.claims.get(NodeId(name))

    def state(self) -> object:
        """Return all that two replicas must agree on once every grace period is over."""
        self.store.handle_timer(now=1e9)
        owners = sorted({BOB, CID, *self.claims, *(record.owner for record in self.store.all())})
        answers = {(r.owner, r.key): r for owner in owners for r in self.store.records_of(owner)}
        return self.index.root(), len(self.index), answers, self.claims, {o: self.store.floor(o) for o in owners}

    def _claim(self, claim: Claim, *, now: float) -> list[Effect]:
        held = self.claims.get(claim.member)
        if held is not None and (held.incarnation, held.status) >= (claim.incarnation, claim.status):
            return []
        self.claims[claim.member] = claim
        self.index.put(("", claim.member), claim_digest(claim))
        epoch = claim.incarnation.epoch
        if claim.status is Status.LEFT:
            return self.store.owner_left(claim.member, epoch, source=claim.member, how="sync", now=now)
        self.store.owner_epoch(claim.member, epoch, now=now)
        return []


@dataclass(slots=True)
class Exchange:
    """What one sync cost."""

    opener_bytes: int = 0
    acceptor_bytes: int = 0
    largest_frame: int = 0
    frames: int = 0
    items: int = 0


def sync(
    opener: Replica,
    acceptor: Replica,
    *,
    bytes_most: float = math.inf,
    begin: float = 0.0,
    sent_bytes_max: int = SENT_BYTES_MAX,
    now: float = 0.0,
) -> Exchange:
    """Run one sync to its end, every message in order, and return what it cost."""
    cost = Exchange()
    asking = SyncOpener(opener.index, opener.lookup, sent_bytes_max=sent_bytes_max)
    answering = SyncAcceptor(
        acceptor.index, acceptor.lookup, bytes_most=bytes_most, begin=begin, sent_bytes_max=sent_bytes_max
    )
    to_acceptor, to_opener = list(asking.start()), list[StreamMessage]()
    done = False
    while to_acceptor or to_opener:
        if to_acceptor:
            message = to_acceptor.pop(0)
            cost.opener_bytes += _weigh(message, cost)
            step = answering.receive(message)
            acceptor.merge(*step.items, source=opener.me, now=now)
            to_opener += step.send
        else:
            assert not done, "a message after the end"
            message = to_opener.pop(0)
            cost.acceptor_bytes += _weigh(message, cost)
            step = asking.receive(message)
            opener.merge(*step.items, source=acceptor.me, now=now)
            to_acceptor += step.send
            done = step.done
        cost.items += len(step.items)
    assert done
    assert asking.may_end
    assert answering.may_end
    return cost


def pack(message: StreamMessage) -> bytes:
    """Return *message* as the codec would write it, give or take a few bytes."""
    match message:
        case SyncOpen():
            fields: Sequence[object] = [message.buckets]
        case SyncDiff():
            fields = [message.buckets, message.hashes, message.last]
        case SyncItems():
            fields = [[_pack_item(item) for item in message.items], message.last]
        case Fetch():
            fields = [message.digests]
        case _:
            raise AssertionError(message)
    packed: bytes = msgpack.packb([1, *fields])
    return packed


def _pack_item(item: Claim | Record) -> object:
    if isinstance(item, Record):
        return [6, item.encoded, item.signature]
    protocol = (item.protocol_min, item.protocol_max)
    return [5, item.member, *item.incarnation, item.status, *item.address, item.accuser, *protocol, item.age_s]


def _weigh(message: StreamMessage, cost: Exchange) -> int:
    size = len(pack(message))
    cost.largest_frame = max(cost.largest_frame, size)
    cost.frames += 1
    return size


# ------------------------------------------------------------------------------------------------------------ strategies

KEYS = [f"k{number}" for number in range(5)]
OWNERS = [BOB, CID]

operations = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(KEYS), st.integers(1, 3)),
        st.tuples(st.just("delete"), st.sampled_from(KEYS), st.just(0)),
        st.tuples(st.just("restart"), st.just(""), st.integers(0, 1)),
    ),
    max_size=40,
)
"""What an owner does: put a key with a port, delete a key, or go on in a later epoch (0: all anew, 1: the disk was lost)."""


def written(owner: NodeId, doings: list[tuple[str, str, int]]) -> list[Record]:
    """Return every record that *owner* writes while *doings* happen to it, in order."""
    author = an_author(owner, tombstones_min=0)
    records: list[Record] = []
    for what, key, number in doings:
        if what == "put":
            content = NodeInfo(software=str(number)) if key == "k0" else web(key, port=number)
            records += author.put(key, content)
        elif what == "delete":
            records += author.delete(key)
        elif number:
            author = an_author(owner, epoch=author.epoch + 1, tombstones_min=0)
        else:
            records += author.rebase(author.epoch + 1)
    return records


@st.composite
def histories(draw: st.DrawFn) -> list[Record]:
    """All that two honest owners ever wrote, each's in order."""
    return [record for owner in OWNERS for record in written(owner, draw(operations))]


@st.composite
def heard(draw: st.DrawFn, records: Sequence[Record], *, lossy: bool = True) -> list[Record]:
    """*records* as a network brings them: in any order, some twice, and if *lossy* some never."""
    copies = draw(st.lists(st.integers(0 if lossy else 1, 2), min_size=len(records), max_size=len(records)))
    arrived = [record for record, count in zip(records, copies, strict=True) for _ in range(count)]
    return draw(st.permutations(arrived))


claims = st.one_of(
    st.builds(
        a_claim,
        st.sampled_from(OWNERS),
        epoch=st.integers(1, 3),
        counter=st.integers(0, 2),
        status=st.sampled_from([Status.ALIVE, Status.SUSPECT, Status.DEAD]),
    ),
    st.builds(
        a_claim, st.sampled_from(OWNERS), epoch=st.integers(1, 3), counter=st.just(3), status=st.just(Status.LEFT)
    ),
)
"""Claims of members that leave at most once in an epoch, and for good."""

any_records = st.builds(
    lambda owner, epoch, seq, floor, key, port: encode_plainly(
        owner, Version(epoch, seq), floor, key, None if port == 0 else web(key, port=port)
    ),
    st.sampled_from(OWNERS),
    st.integers(1, 3),
    st.integers(0, 6),
    st.integers(0, 5),
    st.sampled_from(KEYS),
    st.integers(0, 2),
)
"""Records that no honest owner would write together: floors that sink, versions used twice."""
