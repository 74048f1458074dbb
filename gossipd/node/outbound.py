"""Effects become bytes: encode, fill up with gossip, seal; never above limits.DATAGRAM_BYTES_MAX.

Gossip is spent only on members at their known address, so that no stranger can drain or aim it (weakness 9 of memberlist).
"""

from collections.abc import Hashable, Sequence

from gossipd.core.broadcast.queue import Queue
from gossipd.core.broadcast.spread import Audience, Spreader
from gossipd.core.effects import Send, Tell
from gossipd.core.membership.table import Table
from gossipd.crypto.seal import Sealer
from gossipd.ids import Address, NodeId
from gossipd.limits import GOSSIP_MESSAGE_BYTES_MAX, PAYLOAD_BYTES_MAX
from gossipd.node.actions import SendDatagram
from gossipd.node.counters import Counters
from gossipd.records import Claim, Record, Status
from gossipd.wire.codec import encode_message, join_envelope, sender_bytes
from gossipd.wire.messages import Announce, Message

News = Claim | Record | Announce


def news_key(item: News) -> Hashable:
    """Return under which key *item* is queued: one a member, one a record."""
    match item:
        case Claim():
            return item.member
        case Record():
            return (item.owner, item.key)
        case Announce():
            return (item.owner, item.digest)


def news_version(item: News) -> Hashable:
    """Return what *item* says under its key: equal versions are the same news. A further accuser is news, a further verdict not."""
    match item:
        case Claim():
            return (item.incarnation, item.status, item.accuser if item.status is Status.SUSPECT else None)
        case Record() | Announce():
            return item.version


class Outbound:
    """Makes datagrams for one node; the sealer's counter is the only state here."""

    def __init__(self, *, me: NodeId, sealer: Sealer, table: Table, spreader: Spreader, counters: Counters) -> None:
        self._me = me
        self._sealer = sealer
        self._table = table
        self._spreader = spreader
        self._counters = counters
        self._room = PAYLOAD_BYTES_MAX - len(sender_bytes(me))

    def tell(self, effect: Tell, *, now: float) -> SendDatagram | None:
        """Return the datagram for a member; None if it was forgotten meanwhile."""
        row = self._table.row(effect.target)
        if row is None:
            return None
        return self._datagram(row.claim.address, effect, gossip=row.live, now=now)

    def send(self, effect: Send, *, now: float) -> SendDatagram:
        """Return the datagram for an address; gossip rides along only if it is the known address of a live member."""
        row = None if effect.member is None else self._table.row(effect.member)
        known = row is not None and row.live and row.claim.address == effect.target
        return self._datagram(effect.target, effect, gossip=known, now=now)

    def spread(self, item: News, *, urgent: bool, now: float) -> None:
        """Queue *item* as news. What does not fit a datagram must come as an Announce.

        Echoes are awaited from neighbours that we believe alive: a suspect may never answer.
        """
        table = self._table
        payload = encode_message(table.shortened(item, now=now) if isinstance(item, Claim) else item)
        assert len(payload) <= GOSSIP_MESSAGE_BYTES_MAX, f"{len(payload)} bytes of {type(item).__name__}"
        self._spreader.put(
            self._queue(item),
            news_key(item),
            payload,
            version=news_version(item),
            awaited=[name for name in table.neighbours() if table.rows[name].claim.status is Status.ALIVE],
            urgent=urgent,
            now=now,
        )

    def heard(self, item: News, source: NodeId) -> None:
        """*source* told us *item*, for the first time or again."""
        if len(self._spreader):
            self._queue(item).heard(news_key(item), news_version(item), source)

    def spread_due(self, *, recently_dead_s: float, now: float) -> list[SendDatagram]:
        """Return the pushes and ticks of gossip that are due."""
        table = self._table
        audience = Audience(
            table.live, table.neighbours(), lambda: table.recently_dead(within_s=recently_dead_s, now=now)
        )
        batches = self._spreader.handle_timer(audience, room=self._room, now=now)
        return [
            self._seal(tuple(table.rows[name].claim.address for name in batch.targets), batch.payloads)
            for batch in batches
        ]

    def _queue(self, item: News) -> Queue:
        return self._spreader.membership if isinstance(item, Claim) else self._spreader.catalog

    def _datagram(self, target: Address, effect: Tell | Send, *, gossip: bool, now: float) -> SendDatagram:
        messages: list[Message] = [effect.message] if effect.first is None else [effect.first, effect.message]
        payloads = [encode_message(message) for message in messages]
        if gossip and len(self._spreader):
            room = self._room - sum(map(len, payloads))
            payloads += self._spreader.fill(room, members=len(self._table.live) + 1, now=now)
        return self._seal((target,), payloads)

    def _seal(self, targets: tuple[Address, ...], payloads: Sequence[bytes]) -> SendDatagram:
        data = self._sealer.seal(join_envelope(self._me, payloads))
        self._counters.datagrams_sent += len(targets)
        self._counters.datagram_bytes_sent += len(data) * len(targets)
        return SendDatagram(data=data, targets=targets)
