"""The machines of one node, wired together, and what comes of their effects.

Each machine knows only its own rules; here an accusation becomes a claim, a claim news, news a datagram. What is to be done outside
gathers in `actions` until the node takes it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from random import Random

from gossipd.config import ProtocolConfig
from gossipd.core.broadcast.spread import Spreader
from gossipd.core.catalog.author import Author
from gossipd.core.catalog.store import Store
from gossipd.core.effects import Accuse, Effect, FetchRecord, Outbid, Reconnect, Report, Send, Spread, StreamPing, Tell
from gossipd.core.events import (
    CutShown,
    EpochRaised,
    Event,
    GuardChanged,
    IsolationChanged,
    MemberChanged,
    Overslept,
    RecordChanged,
    SyncFinished,
)
from gossipd.core.guard.guard import Guard
from gossipd.core.items import DIGEST_BYTES, ItemIndex, record_digest
from gossipd.core.membership.awareness import Awareness
from gossipd.core.membership.isolation import Isolation
from gossipd.core.membership.probe import Prober
from gossipd.core.membership.rejoin import Rejoin
from gossipd.core.membership.relay import Relays
from gossipd.core.membership.table import LIVE, Table
from gossipd.core.sync.pace import Pace
from gossipd.core.sync.session import SyncAcceptor, SyncFetcher, SyncOpener
from gossipd.crypto.keyring import Keyring
from gossipd.crypto.packet import SESSION_BYTES
from gossipd.crypto.seal import AcceptorSeal, InitiatorSeal, Opener, Sealer, SeenStreams
from gossipd.errors import MalformedPacket
from gossipd.ids import Address, Incarnation, NodeId
from gossipd.node.actions import Action, Publish
from gossipd.node.counters import Counters
from gossipd.node.inbound import Inbound
from gossipd.node.journal import Journal
from gossipd.node.outbound import Outbound
from gossipd.node.peers import PeerBook, PeerEntry
from gossipd.node.streams import Item, Machine, Stream, Streams
from gossipd.records import Claim, Mode, NodeInfo, Record, Status
from gossipd.tokens import TokenBucket
from gossipd.wire.messages import Fetch, Ping, StreamMessage, SyncOpen
from gossipd.wire.records import NODE_KEY, make_record


class Machines:
    """Everything a node is made of, but for its doors. Members are read by `Node` and by its view, and by nobody else."""

    def __init__(
        self,
        config: ProtocolConfig,
        *,
        me: NodeId,
        epoch: int,
        address: Address,
        rng: Random,
        entropy: Callable[[int], bytes],
        now: float,
        cluster: str,
        keyring: Keyring | None,
        peers: Sequence[PeerEntry],
        seeds: Sequence[Address],
    ) -> None:
        self.config = config
        self.cluster = cluster
        self.keyring = keyring
        self.rng = rng
        self.entropy = entropy
        self.clock = now
        """When the input that is being handled came."""
        self.index = epoch
        self.actions: list[Action] = []
        self.touched: set[NodeId] = set()
        """Members of which something became known in this input."""
        self.counters = Counters()
        self.journal = Journal()
        self.items = ItemIndex()
        self.pace = Pace(config.sync, rng=rng, now=now)
        self._core(Incarnation(epoch, 0), me, address, now=now)
        self.peers = PeerBook(list(peers), age_most_s=config.sync.peer_book_age_s, now=now)
        self.rejoin = Rejoin(
            config.sync,
            table=self.table,
            rng=rng,
            next_sequence=self.prober.next_sequence,
            book=self.peers.addresses,
            now=now,
        )
        self.rejoin.seeds = tuple(seeds)
        self._wire(me)

    def _core(self, incarnation: Incarnation, me: NodeId, address: Address, *, now: float) -> None:
        config, rng = self.config, self.rng
        own = Claim(member=me, incarnation=incarnation, status=Status.ALIVE, address=address, accuser=me)
        self.awareness = Awareness(config.probe.awareness_max)
        self.table = Table(config, own=own, index=self.items, awareness=self.awareness, now=now)
        self.prober = Prober(config.probe, table=self.table, awareness=self.awareness, rng=rng, now=now)
        self.isolation = Isolation(
            config.probe, table=self.table, rng=rng, next_sequence=self.prober.next_sequence, now=now
        )
        self.relays = Relays(nack_after=config.probe.nack_after)
        self.catalog = Store(config.catalog, me=me, index=self.items)
        self.catalog.owner_epoch(me, incarnation.epoch, now=now)
        self.guard = Guard(config.guard, catalog=self.catalog, live=self._is_live, mode_of=self._mode_of)
        self.author = Author(me, incarnation.epoch, make_record)
        self.spreader = Spreader(config.gossip, rng=rng, now=now)
        self.sync_budget = TokenBucket(per_s=config.sync.bytes_per_s, burst=config.sync.bytes_burst, now=now)

    def _wire(self, me: NodeId) -> None:
        keyring, cluster = self.keyring, self.cluster
        self.sealer = Sealer(keyring, cluster, self.entropy(SESSION_BYTES))
        self.opener = Opener(keyring, cluster, self.sealer.session)
        self.seen_streams = SeenStreams()
        self.outbound = Outbound(
            me=me, sealer=self.sealer, table=self.table, spreader=self.spreader, counters=self.counters
        )
        self.inbound = Inbound(
            opener=self.opener,
            table=self.table,
            prober=self.prober,
            relays=self.relays,
            rejoin=self.rejoin,
            isolation=self.isolation,
            catalog=self.catalog,
            counters=self.counters,
            heard=self.outbound.heard,
            buddy=self.config.probe.buddy,
        )
        self.streams = Streams(
            me=me,
            timeout_s=self.config.sync.timeout_s,
            counters=self.counters,
            initiator=lambda: InitiatorSeal(self.keyring, cluster, self.entropy(SESSION_BYTES), self.seen_streams),
            acceptor=lambda: AcceptorSeal(self.keyring, cluster, self.entropy(SESSION_BYTES), self.seen_streams),
            answer=self._answer_stream,
            sent=lambda size: self.sync_budget.spend(size, now=self.clock),
        )

    # ---------------------------------------------------------------------------------------------- effects and events

    def perform(self, effects: Sequence[Effect], *, now: float) -> None:
        """Carry out *effects* in order, and what follows from each before the next."""
        waiting = deque(effects)
        while waiting:
            waiting.extendleft(reversed(self._perform_one(waiting.popleft(), now=now)))

    def _perform_one(self, effect: Effect, *, now: float) -> Sequence[Effect]:
        match effect:
            case Tell():
                datagram = self.outbound.tell(effect, now=now)
                self.actions += [] if datagram is None else [datagram]
            case Send():
                self.actions.append(self.outbound.send(effect, now=now))
            case Spread():
                self.outbound.spread(effect.item, urgent=effect.urgent, now=now)
            case Report():
                self.report(effect.event, now=now)
            case Accuse():
                return self._accuse(effect, now=now)
            case Outbid():
                return self._outbid(effect.record, now=now)
            case StreamPing():
                self._stream_ping(effect, now=now)
            case Reconnect():
                if not self.streams.syncing_with(effect.target):
                    self.open_sync(effect.target, now=now)
            case FetchRecord():
                if not self.streams.syncing_with(effect.target):
                    self._open(effect.target, SyncFetcher([int.from_bytes(effect.digest)]), now=now)
        return ()

    def report(self, event: Event, *, now: float) -> None:
        """Draw our own conclusions from *event*, then let the users hear it."""
        match event:
            case MemberChanged():
                self._member_changed(event, now=now)
            case RecordChanged():
                self.touched.add(event.owner)
                self.journal.record_changed(event, now=now)
                self.index += 1
                self._report_all(self.guard.record_changed(event, now=now), now=now)
            case EpochRaised():
                self.catalog.owner_epoch(self.table.me, event.epoch, now=now)
                self.publish(self.author.rebase(event.epoch), how="self", now=now)
            case IsolationChanged():
                self.index += 1
                self.guard.isolation_changed(event.isolated, now=now)
            case CutShown():
                self.journal.cut_shown(event, now=now)
            case GuardChanged():
                self.journal.guard_changed(event, now=now)
            case SyncFinished() if event.error is None:
                self.counters.syncs_in_step += not (event.changed or event.fetch)
                whole_s = self.sync_budget.wait_s(self.config.sync.bytes_burst, now=now)
                self.pace.finished(event, whole_s=whole_s, now=now)
                if event.opened_by_us:
                    self.isolation.heard(now=now)
            case _:
                pass
        self.actions.append(Publish(event=event))

    def publish(self, records: Sequence[Record], *, how: str = "command", now: float) -> None:
        """Take what our author wrote into the catalog, which spreads it."""
        for record in records:
            self.perform(self.catalog.merge(record, source=self.table.me, how=how, now=now), now=now)

    def told(self, key: str) -> bool:
        """Return whether the news of our record *key* has gone out as often as intended."""
        me, queue = self.table.me, self.spreader.catalog
        record = self.catalog.item(me, key)
        announced = None if record is None else record_digest(record).to_bytes(DIGEST_BYTES)
        return (me, key) not in queue and (me, announced) not in queue

    def perform_actions(self, actions: Sequence[Action], *, now: float) -> None:
        """Hand on *actions*; events among them are ours to hear first."""
        for action in actions:
            if isinstance(action, Publish):
                self.report(action.event, now=now)
            else:
                self.actions.append(action)

    def _member_changed(self, event: MemberChanged, *, now: float) -> None:
        member, epoch = event.member, event.incarnation.epoch
        self.touched.add(member)
        self.index += 1
        self.journal.member_changed(event, now=now)
        if member == self.table.me:
            if event.how == "self":  # we were accused, so we were not heard, and may have missed news
                self.pace.soon(now=now)
            return
        self._report_all(self.guard.member_changed(event, now=now), now=now)
        if event.after is None:
            self.prober.member_forgotten(member)
            self.perform(self.catalog.forget(member, now=now), now=now)
            return
        if event.after in LIVE and event.before not in LIVE:
            self.prober.member_added(member, now=now)
            if member in self.table.neighbours():  # of what we have told for the last time it may know nothing
                self.pace.soon(now=now)
        if event.after is Status.LEFT:
            gone = self.catalog.owner_left(member, epoch, source=event.source, how=event.how, now=now)
            self.perform(gone, now=now)
        else:
            self.catalog.owner_epoch(member, epoch, now=now)
        if event.after in LIVE:
            self.peers.note(member, event.address, now=now)

    def _accuse(self, effect: Accuse, *, now: float) -> Sequence[Effect]:
        """A probe failed: hold it against the member, unless we are the one cut off."""
        if effect.alone:
            return self.isolation.doubt(effect.member, now=now)
        if self.isolation.isolated:
            return ()
        self.counters.suspicions_raised += 1
        return self.table.accuse(effect.member, now=now)

    def _outbid(self, record: Record, *, now: float) -> Sequence[Effect]:
        """A former run of ours published *record*, in our epoch if its disk was restored.

        One of a later epoch is left to the member claim of that epoch, which tells a former run from a living twin.
        """
        if record.version.epoch > self.author.epoch:
            return ()
        records = self.author.outbid(record)
        if records is not None:
            self.publish(records, how="self", now=now)
            return ()
        return self.table.raise_epoch(record.version.epoch, now=now)

    def settle(self, *, now: float) -> None:
        """After every input: let readers see what is due, as one change with one index."""
        changes = self.guard.settle(suspects=len(self.table.suspicions), now=now)
        if changes:
            self.index += 1
            self._report_all(changes, now=now)

    def _report_all(self, events: Sequence[Event], *, now: float) -> None:
        for event in events:
            self.report(event, now=now)

    def _is_live(self, owner: NodeId) -> bool:
        row = self.table.rows.get(owner)
        return row is not None and (row.live or owner == self.table.me)

    def _mode_of(self, owner: NodeId) -> Mode:
        record = self.catalog.get(owner, NODE_KEY)
        return record.content.mode if record is not None and isinstance(record.content, NodeInfo) else Mode.NORMAL

    def judge_isolation(self, *, now: float) -> None:
        """Draw the consequences, if we have found that we are cut off, or are no more."""
        table, isolated = self.table, self.isolation.isolated
        if isolated == self.rejoin.isolated:
            return
        self.prober.impatient = self.rejoin.isolated = isolated
        if isolated:
            table.suspicions.hold()
            for event in table.withdraw(now=now):
                self.spreader.membership.discard(event.member)
                self.report(event, now=now)
        else:
            table.suspicions.release(now=now)
            self.prober.start_over(now=now)
        self.report(IsolationChanged(isolated=isolated, silent_s=now - self.isolation.heard_at), now=now)

    def notice_oversleep(self, *, due: float, now: float) -> float:
        """If our timers are late by more than a hiccup, the time is ours, not the others' (D3): return it, else 0.0."""
        late_s = now - due
        if late_s <= self.config.probe.oversleep_s:
            return 0.0
        self.counters.oversleeps += 1
        self.awareness.apply(1)
        self.prober.shift(late_s)
        self.table.suspicions.shift(late_s)
        self.isolation.shift(late_s)
        self.guard.shift(late_s)
        self.report(Overslept(by_s=late_s), now=now)
        return late_s

    # ---------------------------------------------------------------------------------------------------------- streams

    def lookup(self, digest: int) -> Item | None:
        """Return the item with this hash, a claim with its age as of the last input; None when it is gone."""
        key = self.items.key_of(digest)
        if key is None:
            return None
        if key[0] == "":
            return self.table.claim_to_send(NodeId(key[1]), now=self.clock)
        return self.catalog.item(NodeId(key[0]), key[1])

    def open_sync(self, target: Address, *, now: float) -> int | None:
        """Begin a sync with *target*; return its stream, None if too many are open."""
        return self._open(target, SyncOpener(self.items, self.lookup), now=now)

    def merge_items(self, items: Sequence[Item], stream: Stream, *, now: float) -> None:
        """Take in what a sync brought: all of it, but pass on as news only what may be news to somebody we know."""
        assert stream.peer is not None
        if self.table.live and stream.items_received == len(items):  # we have met others since it began
            stream.lonely = False
        before = self.items.changes
        for item in items:
            if isinstance(item, Claim):
                effects = self.table.merge(item, source=stream.peer, how="sync", now=now)
            else:
                effects = self.catalog.merge(item, source=stream.peer, how="sync", now=now)
            if stream.lonely:
                effects = [effect for effect in effects if not self._is_stale_news(effect)]
            self.perform(effects, now=now)
        stream.changed = stream.changed or self.items.changes != before

    def _is_stale_news(self, effect: Effect) -> bool:
        """Whether *effect* would tell the cluster what a lone newcomer has just heard from it."""
        if not isinstance(effect, Spread):
            return False
        about = effect.item.member if isinstance(effect.item, Claim) else effect.item.owner
        return about != self.table.me

    def _open(self, target: Address, machine: Machine, *, now: float) -> int | None:
        stream, actions = self.streams.open(
            target, machine=machine, lonely=not self.table.live, timeout_s=self.config.sync.timeout_s, now=now
        )
        self.actions += actions
        return stream

    def _stream_ping(self, effect: StreamPing, *, now: float) -> None:
        row = self.table.row(effect.target)
        if row is not None:
            ping = Ping(sequence=effect.sequence, target=effect.target)
            _, actions = self.streams.open(
                row.claim.address, machine=None, ping=ping, lonely=False, timeout_s=effect.timeout_s, now=now
            )
            self.actions += actions

    def _answer_stream(self, message: StreamMessage) -> Machine:
        if isinstance(message, SyncOpen | Fetch):
            left = self.sync_budget.left(now=self.clock)
            return SyncAcceptor(self.items, self.lookup, bytes_most=left, begin=self.rng.random())
        raise MalformedPacket(f"{type(message).__name__} opens a stream, expected Ping, SyncOpen or Fetch")
