"""Datagrams become effects: open the seal, decode, give each message to its machine. Bad input is counted and changes nothing."""

from collections.abc import Callable, Iterable, Iterator

from gossipd.core.catalog.store import Store
from gossipd.core.effects import Effect, FetchRecord, Send
from gossipd.core.membership.isolation import Isolation
from gossipd.core.membership.probe import Prober
from gossipd.core.membership.rejoin import Rejoin
from gossipd.core.membership.relay import Relays
from gossipd.core.membership.table import Table
from gossipd.crypto.seal import Opener
from gossipd.errors import PeerError
from gossipd.ids import Address, NodeId
from gossipd.node.counters import Counters
from gossipd.node.outbound import News
from gossipd.records import Claim, Record, Status
from gossipd.wire.codec import decode_envelope_untrusted
from gossipd.wire.messages import (
    Ack,
    Announce,
    Envelope,
    Message,
    Nack,
    Ping,
    PingRequest,
    Refutation,
    Twin,
    WholeMessage,
)


class Inbound:
    """Routes what peers say; owns nothing but the opener."""

    def __init__(
        self,
        *,
        opener: Opener,
        table: Table,
        prober: Prober,
        relays: Relays,
        rejoin: Rejoin,
        isolation: Isolation,
        catalog: Store,
        counters: Counters,
        heard: Callable[[News, NodeId], None],
        buddy: bool,
    ) -> None:
        self._opener = opener
        self._table = table
        self._prober = prober
        self._relays = relays
        self._rejoin = rejoin
        self._isolation = isolation
        self._catalog = catalog
        self._counters = counters
        self._heard = heard
        self._buddy = buddy

    def open_untrusted(self, data: bytes) -> Envelope | None:
        """Return what a datagram says; None if it is unacceptable, which is counted by reason."""
        self._counters.datagrams_received += 1
        self._counters.datagram_bytes_received += len(data)
        try:
            _, _, payload = self._opener.open_untrusted(data)
            return decode_envelope_untrusted(payload)
        except PeerError as error:
            self._counters.drop(error.reason)
            return None

    def receive(
        self, envelope: Envelope, source: Address, *, perform: Callable[[list[Effect]], None], now: float
    ) -> None:
        """Route the messages of *envelope* in order; *perform* carries out what each asks before the next is looked at.

        Gossip rides on the answer to the first ping alone: many in one datagram shall not draw our news out for one member.
        """
        pings = 0
        accused = False
        sender = envelope.sender
        row = self._table.row(sender)
        if row is not None and row.live and row.claim.address == source:
            self._table.heard(sender, now=now)
            self._isolation.heard(now=now)
        for message in self._whole(envelope.messages):
            if sender == self._table.me and not isinstance(message, Twin):
                self._counters.drop("own_name")
                continue
            pings += isinstance(message, Ping | PingRequest)
            perform(self._route(message, sender, source, gossip=pings < 2, now=now))
            if isinstance(message, News):
                self._heard(message, sender)
            if isinstance(message, Claim):
                accused = accused or (message.member == self._table.me and message.status is not Status.ALIVE)
            elif accused and isinstance(message, Ping):  # to our face: it shall know better at once
                accused = False
                perform([Send(target=source, message=self._table.own)])

    def _whole(self, messages: Iterable[Message]) -> Iterator[WholeMessage]:
        """Yield *messages*, and for each refutation the claim that it stands for after the messages before it."""
        for message in messages:
            if not isinstance(message, Refutation):
                yield message
            elif (claim := self._table.claim_of(message)) is not None:
                yield claim
            else:
                self._counters.drop("unknown_refutation")

    def _route(
        self, message: WholeMessage, sender: NodeId, source: Address, *, gossip: bool, now: float
    ) -> list[Effect]:
        match message:
            case Ping():
                return self._ping(message, sender, source, gossip=gossip, now=now)
            case Ack():
                return self._ack(message, sender, now=now)
            case Nack():
                self._prober.receive_nack(message, source=sender)
                return []
            case PingRequest():
                return self._ping_request(message, sender, source, gossip=gossip, now=now)
            case Claim():
                return self._table.merge(message, source=sender, how="gossip", now=now)
            case Record():
                return self._catalog.merge(message, source=sender, how="gossip", now=now)
            case Announce():
                return self._announce(message, sender, source)
            case Twin():
                if sender != self._table.me or source == self._table.own.address:
                    return []
                return self._table.twin_seen(source, message.incarnation, now=now)

    def _ping(self, ping: Ping, sender: NodeId, source: Address, *, gossip: bool, now: float) -> list[Effect]:
        if ping.target != self._table.me:  # rule 33: let a former name of this process die
            self._counters.drop("misaddressed")
            return []
        row = self._table.row(sender)
        doubtful = (
            self._buddy and row is not None and (row.claim.status is not Status.ALIVE or row.claim.address != source)
        )
        first = self._table.claim_to_send(sender, now=now) if doubtful else None
        ack = Ack(sequence=ping.sequence)
        return [Send(target=source, message=ack, member=sender if gossip else None, first=first)]

    def _ack(self, ack: Ack, sender: NodeId, *, now: float) -> list[Effect]:
        if self._prober.receive_ack(ack, source=sender, now=now):
            return []
        called = self._isolation.receive_ack(ack, source=sender)
        if called is not None:
            return called
        return self._relays.receive_ack(ack, source=sender) or self._rejoin.receive_ack(ack, now=now)

    def _ping_request(
        self, request: PingRequest, sender: NodeId, source: Address, *, gossip: bool, now: float
    ) -> list[Effect]:
        asker = self._table.row(sender)
        if asker is None or not asker.live:
            self._counters.drop("stranger")
            return []
        if request.target == self._table.me:
            return [Send(target=source, message=Ack(sequence=request.sequence), member=sender if gossip else None)]
        return self._relays.receive_request(
            request,
            asker=sender,
            asked_from=source,
            sequence=self._prober.next_sequence(),
            known=self._table.row(request.target) is not None,
            now=now,
        )

    def _announce(self, announce: Announce, sender: NodeId, source: Address) -> list[Effect]:
        row = self._table.row(sender)
        if row is None or not row.live or row.claim.address != source:
            self._counters.drop("stranger")
            return []
        return [FetchRecord(target=source, digest=announce.digest)] if self._catalog.wants(announce) else []
