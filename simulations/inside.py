"""The only file that reaches into a Node: what makes a thousand of them quick, and what a checker must see of one.

Nothing here changes what a node does. What nodes share is immutable: decoded messages, session ciphers (both functions of bytes
and key alone), and at a warm start the tables of a cluster in which everybody knows everybody, copied when written. The tests
run one world with and one without sharing and compare their histories, byte for byte.
"""

import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache
from random import Random

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gossipd.core.catalog.store import Store
from gossipd.core.events import MemberChanged, RecordChanged
from gossipd.core.items import ItemIndex, claim_digest
from gossipd.core.membership.rejoin import KNOCKS_MAX
from gossipd.core.membership.table import Row
from gossipd.crypto.keyring import Keyring
from gossipd.crypto.packet import Keys
from gossipd.crypto.seal import Opener, _Session
from gossipd.errors import MalformedPacket, PeerError
from gossipd.ids import Address, NodeId
from gossipd.limits import (
    CATALOG_BYTES_MAX,
    MEMBERS_MAX,
    MESSAGES_PER_DATAGRAM_MAX,
    OPEN_PROBES_MAX,
    PAYLOAD_BYTES_MAX,
    QUEUE_MESSAGES_MAX,
    RECORDS_MAX,
    REPLAY_WINDOW,
    SESSIONS_MAX,
    STREAMS_INBOUND_MAX,
    STREAMS_OUTBOUND_MAX,
)
from gossipd.node.inbound import Inbound
from gossipd.node.journal import Journal
from gossipd.node.machines import Machines
from gossipd.node.node import Node
from gossipd.records import Claim, Record, Service, State, Status
from gossipd.wire.codec import _DATAGRAM, CLAIM, RECORD, _decode_all
from gossipd.wire.fields import UNPACK_ERRORS, malformed, node_id, unpacker
from gossipd.wire.messages import Envelope, Message
from gossipd.wire.records import SERVICE_KEY_PREFIX
from simulations.overlays import CommonItems, OverlaidBook, OverlaidIndex, OverlaidStore, put_before

ENVELOPES_MAX = 512
"""Decoded datagrams kept: one goes to four targets at once, and arrives within milliseconds."""

CIPHERS_MAX = 65_536


def machines(node: Node) -> Machines:
    """Return what *node* is made of, to look at."""
    return node._m


# ------------------------------------------------------------------------------------------------------- what checkers see


def root(node: Node) -> int:
    """Return one hash of all claims and records that *node* holds: equal roots mean equal views and catalogs."""
    return node._m.items.root()


def catalog_root(node: Node) -> int:
    """Return one hash of all records that *node* holds."""
    items = node._m.items
    if isinstance(items, OverlaidIndex):
        return items.catalog_root
    held = 0
    for (owner, _), digest in items._digest_of.items():
        held ^= digest if owner else 0
    return held


def claim_of(node: Node, member: str) -> Claim | None:
    """Return the claim that holds about *member* at *node*."""
    row = node._m.table.row(NodeId(member))
    return None if row is None else row.claim


def status_of(node: Node, member: str) -> Status | None:
    """Return what *node* believes of *member*."""
    row = node._m.table.row(NodeId(member))
    return None if row is None else row.claim.status


def isolated(node: Node) -> bool:
    """Return whether *node* believes that it is the one cut off."""
    return node._m.isolation.isolated


def statuses(node: Node) -> list[tuple[NodeId, int]]:
    """Return what *node* believes of every member, itself included, in no special order."""
    return [(name, int(row.claim.status)) for name, row in node._m.table.rows.items()]


def answers(node: Node) -> list[tuple[str, str, int]]:
    """Return owner, id and port of every service that *node* answers with."""
    found = ((record.owner, record.content) for record in node._m.catalog.all())
    return [(owner, content.id, content.port) for owner, content in found if isinstance(content, Service)]


def answered_port(node: Node, owner: str, key: str) -> int | None:
    """Return the port that *node* answers for the service under *key* of *owner*; None if it has none."""
    record = node._m.catalog.get(NodeId(owner), key)
    return record.content.port if record is not None and isinstance(record.content, Service) else None


def state(node: Node, owner: str, id: str) -> State | None:
    """Return how *node* sees instance *id* of *owner*; None if it knows of none."""
    record = node._m.catalog.get(NodeId(owner), SERVICE_KEY_PREFIX + id)
    return record.content.state if record is not None and isinstance(record.content, Service) else None


def queue_lengths(node: Node) -> dict[str, tuple[int, int]]:
    """Return length and limit of what grows in *node* with what others send; shares of one owner are not looked at."""
    m = node._m
    return {
        "membership news": (len(m.spreader.membership), QUEUE_MESSAGES_MAX),
        "catalog news": (len(m.spreader.catalog), QUEUE_MESSAGES_MAX),
        "relayed probes": (len(m.relays._open), OPEN_PROBES_MAX),
        "knocks": (len(m.rejoin._knocks), KNOCKS_MAX),
        "streams": (len(m.streams._open), STREAMS_INBOUND_MAX + STREAMS_OUTBOUND_MAX),
        "suspicions": (len(m.table.suspicions), len(m.table.rows)),
        "members": (len(m.table.rows), MEMBERS_MAX),
        "sessions": (len(m.opener._sessions), SESSIONS_MAX),
        "records": (len(m.catalog), RECORDS_MAX),
        "bytes of the catalog": (m.catalog.bytes, CATALOG_BYTES_MAX),
    }


def synchronise(node: Node, *, first_probe_at: float) -> None:
    """Let the first probe of *node* begin at *first_probe_at*, its own clock: the synchronous rounds of SWIM's analysis."""
    node._m.prober._next_probe = first_probe_at


# ------------------------------------------------------------------------------------------------------------- what is shared


class Shared:
    """What the nodes of one world share: the ciphers of sessions, and what datagrams say."""

    def __init__(self) -> None:
        self._ciphers: OrderedDict[tuple[bytes, bytes, str, str], AESGCM | None] = OrderedDict()
        self._envelopes: dict[bytes, Envelope] = {}
        self.sessions: dict[bytes, bytes] = {}
        """Names of sessions, one for each process that ever sent a datagram."""
        decoders: dict[int, Callable[..., Message]] = dict(_DATAGRAM)
        for kind in (CLAIM, RECORD):
            decoders[kind] = lru_cache(maxsize=65_536, typed=True)(_DATAGRAM[kind])
        self._decoders: Mapping[int, Callable[..., Message]] = decoders

    def adopt(self, node: Node) -> None:
        """Let *node*, newly made, use what is shared. Its replay windows, counters and tables stay its own."""
        m = node._m
        m.journal = _NoJournal()
        m.opener = _SharedOpener(self, m.keyring, m.cluster, m.sealer.session)
        m.inbound._opener = m.opener
        m.inbound.__class__ = _SharedInbound
        assert isinstance(m.inbound, _SharedInbound)
        m.inbound.shared = self

    def cipher(self, keys: Keys, key_id: bytes, *, salt: bytes, purpose: str) -> AESGCM | None:
        """Return the cipher that *keys* make, derived once for all who hold the same key."""
        known = (keys._by_id.get(key_id, b""), salt, purpose, keys.cluster)
        if known in self._ciphers:
            return self._ciphers[known]
        cipher = self._ciphers[known] = Keys.cipher(keys, key_id, salt=salt, purpose=purpose)
        if len(self._ciphers) > CIPHERS_MAX:
            self._ciphers.popitem(last=False)
        return cipher

    def decode_envelope_untrusted(self, data: bytes) -> Envelope:
        """As `codec.decode_envelope_untrusted`, with equal bytes decoded once. Raises: MalformedPacket."""
        known = self._envelopes.get(data)
        if known is not None:
            return known
        try:
            if len(data) > PAYLOAD_BYTES_MAX:
                raise MalformedPacket(f"payload of {len(data)} bytes, expected at most {PAYLOAD_BYTES_MAX}")
            reader = unpacker(data)
            sender = node_id("sender", reader.unpack())
            if reader.tell() == len(data):
                raise MalformedPacket("no message after the sender, expected one or more")
            messages = _decode_all(reader, len(data), self._decoders, MESSAGES_PER_DATAGRAM_MAX)
        except UNPACK_ERRORS as error:
            raise malformed(error) from None
        envelope = Envelope(sender=sender, messages=messages)
        if len(self._envelopes) >= ENVELOPES_MAX:
            self._envelopes.clear()
        self._envelopes[data] = envelope
        return envelope


class _NoJournal(Journal):
    """Evidence is for people to read, who cannot ask the nodes of a world: no rule of the protocol looks at it."""

    def member_changed(self, event: MemberChanged, *, now: float) -> None:
        pass

    def record_changed(self, event: RecordChanged, *, now: float) -> None:
        pass


class _SparseSession(_Session):
    """A session that holds the counters it saw, not a bit for each in the window: one of very many peers gets few of them."""

    __slots__ = ("older",)

    def __init__(self, key_id: bytes, cipher: AESGCM | None, counter: int) -> None:
        super().__init__(key_id, cipher, counter)
        self.older = b""
        """Counters seen below *newest*, 8 bytes each, in the order in which they were passed; some may be out of the window."""

    def was_seen(self, counter: int) -> bool:
        behind = self.newest - counter
        return behind >= 0 and (behind == 0 or behind >= REPLAY_WINDOW or counter in memoryview(self.older).cast("Q"))

    def mark(self, counter: int) -> None:
        newest, stale = max(counter, self.newest), 0
        older = self.older + min(counter, self.newest).to_bytes(8, sys.byteorder)
        while newest - int.from_bytes(older[stale : stale + 8], sys.byteorder) >= REPLAY_WINDOW:
            stale += 8
            if stale == len(older):
                break
        self.newest, self.older = newest, older[stale:] if stale else older


class _SparseSessions(OrderedDict[bytes, _Session]):
    """Sessions by their name, of which all nodes hold the same object."""

    def __init__(self, names: dict[bytes, bytes]) -> None:
        super().__init__()
        self._names = names

    def __setitem__(self, session: bytes, made: _Session) -> None:
        name = self._names.setdefault(session, session)
        super().__setitem__(name, _SparseSession(made.key_id, made.cipher, made.newest))


class _SharedKeys(Keys):
    def __init__(self, shared: Shared, keyring: Keyring | None, cluster: str) -> None:
        super().__init__(keyring, cluster)
        self._shared = shared

    def cipher(self, key_id: bytes, *, salt: bytes, purpose: str) -> AESGCM | None:
        return self._shared.cipher(self, key_id, salt=salt, purpose=purpose)


class _SharedOpener(Opener):
    def __init__(self, shared: Shared, keyring: Keyring | None, cluster: str, own_session: bytes) -> None:
        super().__init__(keyring, cluster, own_session)
        self._shared = shared
        self._sessions = _SparseSessions(shared.sessions)
        self._keys = _SharedKeys(shared, keyring, cluster)

    def rekey(self, keyring: Keyring | None) -> None:
        super().rekey(keyring)
        self._keys = _SharedKeys(self._shared, keyring, self._keys.cluster)


class _SharedInbound(Inbound):
    shared: Shared

    def open_untrusted(self, data: bytes) -> Envelope | None:
        self._counters.datagrams_received += 1
        self._counters.datagram_bytes_received += len(data)
        try:
            _, _, payload = self._opener.open_untrusted(data)
            return self.shared.decode_envelope_untrusted(payload)
        except PeerError as error:
            self._counters.drop(error.reason)
            return None


# --------------------------------------------------------------------------------------------------------------- warm start


def warm(nodes: list[Node], rng: Random, *, clocks: list[float], shared: bool = True) -> None:
    """Let *nodes*, all started, know each other as if they had met long ago: claims, records, peer books, and no news.

    *clocks* are the nodes' own. *shared* False: each holds all of it by itself, which costs memory and changes nothing.
    The result is what ordinary merges of everybody's claim and records would leave behind, but for the journal; a test compares.
    """
    claims = [node._m.table.own for node in nodes]
    records = [record for node in nodes for record in node._m.catalog._owners[node.me].records.values()]
    items = ItemIndex()
    catalog = Store(nodes[0]._m.config.catalog, me=NodeId("nobody"), index=items)
    _fill(catalog, claims, records, now=0.0)
    common, addresses = CommonItems(items), {claim.member: claim.address for claim in claims}
    names = sorted(addresses)
    for node, now in zip(nodes, clocks, strict=True):
        m = node._m
        if shared:
            _overlay(m, common, catalog, addresses, now=now)
        else:
            _fill(m.catalog, claims, [record for record in records if record.owner != node.me], now=now)
            for claim in claims:
                if claim.member != node.me:
                    m.peers.note(claim.member, claim.address, now=now)
        m.table.rows = {claim.member: Row(claim, now, now, now, now) for claim in claims}
        m.table.live = [name for name in names if name != node.me]
        m.prober._next_probe = now + rng.uniform(0, m.config.probe.interval_s)
        m.spreader.membership.clear()
        m.spreader.catalog.clear()


def _fill(catalog: Store, claims: list[Claim], records: list[Record], *, now: float) -> None:
    """Let *catalog* and its index hold everybody's *claims* and *records*."""
    for claim in claims:
        catalog.owner_epoch(claim.member, claim.incarnation.epoch, now=now)
        catalog._index.put(("", claim.member), claim_digest(claim))
    for record in records:
        catalog.merge(record, source=record.owner, how="gossip", now=now)


def _overlay(
    m: Machines, common: CommonItems, catalog: Store, addresses: Mapping[NodeId, Address], *, now: float
) -> None:
    """Let *m* hold what is common, in place of its own."""
    m.items.__class__ = put_before(OverlaidIndex, type(m.items))
    m.catalog.__class__ = put_before(OverlaidStore, type(m.catalog))
    m.peers.__class__ = put_before(OverlaidBook, type(m.peers))
    assert isinstance(m.items, OverlaidIndex)
    assert isinstance(m.catalog, OverlaidStore)
    assert isinstance(m.peers, OverlaidBook)
    m.items.take_over(common)
    m.catalog.take_over(catalog, now)
    m.peers.take_over(addresses, me=m.table.me, now=now)
    m.rejoin._book = m.peers.addresses
