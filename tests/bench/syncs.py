"""What a sync costs in bytes: two nodes with 10,000 records, one of which differs. No process, no chance: always the same."""

import hashlib

from gossipd.config import LAN
from gossipd.core.catalog.store import Store
from gossipd.core.items import ItemIndex
from gossipd.core.sync.session import SyncAcceptor, SyncOpener
from gossipd.crypto.keyring import Keyring
from gossipd.crypto.seal import AcceptorSeal, InitiatorSeal, SeenStreams
from gossipd.ids import NodeId, Version
from gossipd.records import Claim, Record, Service
from gossipd.wire.codec import decode_stream_untrusted, encode_message, join_envelope
from gossipd.wire.frames import frame
from gossipd.wire.messages import StreamMessage
from gossipd.wire.records import SERVICE_KEY_PREFIX, make_record

RECORDS = 10_000
OWNERS = 100
CLUSTER = "bench"
LENGTH_BYTES = 4


class Replica:
    """A node's catalog, as far as a sync looks at it."""

    def __init__(self, name: str) -> None:
        self.name = NodeId(name)
        self.index = ItemIndex()
        self.store = Store(LAN.catalog, me=self.name, index=self.index)

    def merge(self, record: Record) -> None:
        self.store.merge(record, source=record.owner, how="sync", now=0.0)

    def lookup(self, digest: int) -> Claim | Record | None:
        key = self.index.key_of(digest)
        return None if key is None else self.store.item(NodeId(key[0]), key[1])


def sync_bytes() -> tuple[int, int]:
    """Return what the two sides of the sync send, sealed and framed, without TCP's own headers."""
    ann, bob = Replica("ann"), Replica("bob")
    for number in range(RECORDS):
        record = _record(number, seq=number // OWNERS + 1)
        ann.merge(record)
        bob.merge(record)
    ann.merge(_record(0, seq=RECORDS))
    assert ann.index.root() != bob.index.root()
    cost = _sync(ann, bob)
    assert ann.index.root() == bob.index.root(), "the sync did not make them equal"
    return cost


def _record(number: int, *, seq: int) -> Record:
    """Return a record such as a host publishes: a name of ten, an id, a port, two tags, metadata."""
    service = Service(
        name=f"service-{number % 10}",
        id=f"service-{number % 10}-{number:05}",
        port=8_000 + seq % 1_000,
        tags=("primary", "v2"),
        metadata=(("build", hashlib.sha256(str(seq).encode()).hexdigest()[:12]),),
    )
    owner = NodeId(f"node-{number % OWNERS:03}")
    return make_record(owner, Version(1_795_000_000_000, seq), 0, SERVICE_KEY_PREFIX + service.id, service)


def _sync(ann: Replica, bob: Replica) -> tuple[int, int]:
    keyring = Keyring((hashlib.sha256(b"bench").digest(),))
    opening = InitiatorSeal(keyring, CLUSTER, b"a" * 12, SeenStreams())
    accepting = AcceptorSeal(keyring, CLUSTER, b"b" * 12, SeenStreams())
    opener, acceptor = SyncOpener(ann.index, ann.lookup), SyncAcceptor(bob.index, bob.lookup)
    sent = [0, 0]
    to_bob, to_ann = list(opener.start()), list[StreamMessage]()
    while to_bob or to_ann:
        if to_bob:
            data = frame(opening.seal(join_envelope(ann.name, [encode_message(to_bob.pop(0))])))
            sent[0] += len(data)
            step = acceptor.receive(decode_stream_untrusted(accepting.open_untrusted(data[LENGTH_BYTES:]))[1])
            to_ann += step.send
            receiver = bob
        else:
            data = frame(accepting.seal(join_envelope(bob.name, [encode_message(to_ann.pop(0))])))
            sent[1] += len(data)
            step = opener.receive(decode_stream_untrusted(opening.open_untrusted(data[LENGTH_BYTES:]))[1])
            to_bob += step.send
            receiver = ann
        for item in step.items:
            assert isinstance(item, Record)
            receiver.merge(item)
    return sent[0], sent[1]
