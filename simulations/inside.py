"""The only file that reaches into a Node: what makes a thousand of them quick, and what a checker must see of one.

Nothing here changes what a node does. What nodes share is immutable: decoded messages, session ciphers (both functions of bytes
and key alone), and at a warm start the tables of a cluster in which everybody knows everybody, copied when written. The tests
run one world with and one without sharing and compare their histories, byte for byte.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache
from random import Random
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gossipd.core.catalog.store import Store, _Owner
from gossipd.core.items import ItemIndex, ItemKey, claim_digest
from gossipd.core.membership.table import Row
from gossipd.crypto.keyring import Keyring
from gossipd.crypto.packet import Keys
from gossipd.crypto.seal import Opener
from gossipd.errors import MalformedPacket, PeerError
from gossipd.ids import NodeId
from gossipd.limits import MESSAGES_PER_DATAGRAM_MAX, PAYLOAD_BYTES_MAX, QUEUE_MESSAGES_MAX
from gossipd.node.inbound import Inbound
from gossipd.node.machines import Machines
from gossipd.node.node import Node
from gossipd.records import Claim, Service, Status
from gossipd.wire.codec import _DATAGRAM, CLAIM, RECORD, _decode_all
from gossipd.wire.fields import UNPACK_ERRORS, malformed, node_id, unpacker
from gossipd.wire.messages import Envelope, Message

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


def queue_lengths(node: Node) -> dict[str, tuple[int, int]]:
    """Return length and limit of everything that grows in *node* with what others send."""
    m = node._m
    return {
        "membership news": (len(m.spreader.membership), QUEUE_MESSAGES_MAX),
        "catalog news": (len(m.spreader.catalog), QUEUE_MESSAGES_MAX),
        "relayed probes": (len(m.relays._open), 512),
        "knocks": (len(m.rejoin._knocks), 64),
        "streams": (len(m.streams._open), 96),
        "suspicions": (len(m.table.suspicions), len(m.table.rows)),
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
        decoders: dict[int, Callable[..., Message]] = dict(_DATAGRAM)
        for kind in (CLAIM, RECORD):
            decoders[kind] = lru_cache(maxsize=65_536, typed=True)(_DATAGRAM[kind])
        self._decoders: Mapping[int, Callable[..., Message]] = decoders

    def adopt(self, node: Node) -> None:
        """Let *node*, newly made, use what is shared. Its replay windows, counters and tables stay its own."""
        m = node._m
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


class _SharedIndex(ItemIndex):
    """An index whose buckets are another's until they are written to."""

    _mine: bytearray

    def put(self, key: ItemKey, digest: int) -> None:
        self._own_bucket(digest)
        super().put(key, digest)

    def drop(self, key: ItemKey) -> None:
        old = self._digest_of.get(key)
        if old is not None:
            self._own_bucket(old)
        super().drop(key)

    def take_over(self, other: ItemIndex) -> None:
        """Hold what *other* holds, in place of what was held."""
        self._digest_of = dict(other._digest_of)
        self._key_of = dict(other._key_of)
        self._root = other._root
        self._xor = list(other._xor)
        self._held = list(other._held)
        self._mine = bytearray(len(self._held))
        if hasattr(other, "_root"):
            self._root = other._root

    def _own_bucket(self, digest: int) -> None:
        bucket = digest >> (64 - (len(self._held).bit_length() - 1))
        if not self._mine[bucket]:
            self._mine[bucket] = 1
            held = self._held[bucket]
            self._held[bucket] = None if held is None else set(held)


class _SharedOwners(dict[NodeId, _Owner]):
    """Owners that are another store's until they are looked up; the store only looks up, adds and removes them."""

    def __init__(self, common: Mapping[NodeId, _Owner], now: float) -> None:
        super().__init__()
        self._common = common
        self._now = now
        self._taken: set[NodeId] = set()

    def get(self, owner: NodeId, default: Any = None) -> Any:
        found = super().get(owner)
        if found is not None:
            return found
        theirs = self._common.get(owner)
        if theirs is None or owner in self._taken:
            return default
        self._taken.add(owner)
        found = self[owner] = _Owner(theirs.floor, theirs.tokens, self._now, dict(theirs.records), {}, theirs.bytes)
        return found

    def __missing__(self, owner: NodeId) -> _Owner:
        found: _Owner | None = self.get(owner)
        if found is None:
            raise KeyError(owner)
        return found

    def __delitem__(self, owner: NodeId) -> None:
        self.get(owner)
        super().__delitem__(owner)


def warm(nodes: list[Node], rng: Random, *, clocks: list[float]) -> None:
    """Let *nodes*, all started, know each other as if they had met long ago: claims, records, peer books, and no news.

    *clocks* are the nodes' own.
    The result is what ordinary merges of everybody's claim and records would leave behind, but for the journal; a test compares.
    """
    claims = [node._m.table.own for node in nodes]
    items = ItemIndex()
    catalog = Store(nodes[0]._m.config.catalog, me=NodeId("nobody"), index=items)
    for node, claim in zip(nodes, claims, strict=True):
        catalog.owner_epoch(claim.member, claim.incarnation.epoch, now=0.0)
        for record in node._m.catalog._owners[claim.member].records.values():
            catalog.merge(record, source=claim.member, how="gossip", now=0.0)
    for claim in claims:
        items.put(("", claim.member), claim_digest(claim))
    names = sorted(claim.member for claim in claims)
    for node, now in zip(nodes, clocks, strict=True):
        m = node._m
        me = m.table.me
        m.items.__class__ = _SharedIndex
        assert isinstance(m.items, _SharedIndex)
        m.items.take_over(items)
        m.table.rows = {claim.member: Row(claim, now, now, now) for claim in claims}
        m.table.live = [name for name in names if name != me]
        m.catalog._owners = _SharedOwners(catalog._owners, now)
        m.catalog._by_name = {name: dict(records) for name, records in catalog._by_name.items()}
        m.catalog._held, m.catalog.bytes = catalog._held, catalog.bytes
        m.peers._seen = {claim.member: (claim.address, now) for claim in claims if claim.member != me}
        m.prober._next_probe = now + rng.uniform(0, m.config.probe.interval_s)
        m.spreader.membership.clear()
        m.spreader.catalog.clear()
