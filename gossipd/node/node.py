"""The node: one member of the cluster. Bytes, time and commands in; actions out.

`now` is monotonic seconds of unknown origin. Two nodes that are given equal seeds and equal input return equal actions,
byte for byte.
"""

import math
from collections.abc import Callable, Sequence
from random import Random

from gossipd import __version__
from gossipd.checks import Check, CheckResult
from gossipd.config import ProtocolConfig
from gossipd.core.effects import Spread
from gossipd.core.events import LeaveFinished, RegistrationsChanged
from gossipd.crypto.keyring import Keyring
from gossipd.errors import RequestError
from gossipd.ids import Address, NodeId
from gossipd.limits import SEEDS_MAX, STREAMS_OUTBOUND_MAX
from gossipd.node.actions import Action
from gossipd.node.machines import Machines
from gossipd.node.peers import PeerEntry
from gossipd.node.registrations import Registrations
from gossipd.node.view import DrainRow, Holder, RegistrationRow, View
from gossipd.node.window import Window
from gossipd.records import NodeInfo, Service, Status
from gossipd.validation import check_labels, check_service
from gossipd.wire.messages import Ack
from gossipd.wire.records import NODE_KEY, SERVICE_KEY_PREFIX


class Node:
    """One member. Every input returns what to do about it, in order; nothing is kept for later but deadlines."""

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
        cluster: str = "gossipd",
        keyring: Keyring | None = None,
        labels: Sequence[tuple[str, str]] = (),
        peers: Sequence[PeerEntry] = (),
        seeds: Sequence[Address] = (),
        kept: Sequence[Service] = (),
    ) -> None:
        """*entropy* gives unguessable bytes for session ids; *rng* everything else. *kept* registrations are published at start."""
        self._config = config
        self._labels = check_labels(labels)
        self._kept = tuple(kept)
        self._m = Machines(
            config,
            me=me,
            epoch=epoch,
            address=address,
            rng=rng,
            entropy=entropy,
            now=now,
            cluster=cluster,
            keyring=keyring,
            peers=peers,
            seeds=seeds[:SEEDS_MAX],
        )
        self._registrations = Registrations(grace_s=config.catalog.connection_grace_s)
        self._leave_by = math.inf
        self._linger_until = math.inf
        self._heard = True
        self._due: float | None = None
        """The next deadline, once it was asked for; every input may move it."""
        self.view: View = Window(self._m, self._registrations, started_at=now)

    @property
    def me(self) -> NodeId:
        return self._m.table.me

    @property
    def epoch(self) -> int:
        """The epoch of this run; it rises only if a former run outranks us (EpochRaised)."""
        return self._m.table.own.incarnation.epoch

    @property
    def leaving(self) -> bool:
        return self._m.table.own.status is Status.LEFT

    # ----------------------------------------------------------------------------------------------------------- inputs

    def start(self, *, now: float) -> list[Action]:
        """Publish what we are and what was kept; look for the seeds and the peers of the last run."""
        self._due = None
        self._publish_info(now=now)
        for service in self._kept:
            self._registrations.set(service, connection=None)
            self._m.publish(self._m.author.put(SERVICE_KEY_PREFIX + service.id, service), how="self", now=now)
        self._m.perform([Spread(item=self._m.table.own), *self._m.rejoin.handle_timer(now=now)], now=now)
        return self._take()

    def receive_datagram(self, data: bytes, source: Address, *, now: float) -> list[Action]:
        """Take in a datagram that came from *source*."""
        self._begin(now=now)
        envelope = self._m.inbound.open_untrusted(data)
        if envelope is not None:
            self._m.inbound.receive(
                envelope, source, perform=lambda effects: self._m.perform(effects, now=now), now=now
            )
            self._m.judge_isolation(now=now)
            if self.leaving:
                self._go_on_leaving(now=now)
        return self._take()

    def next_deadline(self) -> float:
        """Return when `handle_timer` is next to be called; `math.inf` when nothing is ahead."""
        if self._due is None:
            self._due = self._next_deadline()
        return self._due

    def _next_deadline(self) -> float:
        m = self._m
        return min(
            m.prober.next_deadline(),
            m.spreader.next_deadline(),
            m.table.next_deadline(),
            m.relays.next_deadline(),
            m.rejoin.next_deadline(),
            m.catalog.next_deadline(),
            m.catalog.orphans.next(),
            m.streams.next_deadline(),
            m.isolation.next_deadline(),
            m.guard.next_deadline(),
            m.next_sync if m.table.live and not self.leaving else math.inf,
            self._registrations.next_deadline(),
            self._leave_by,
            self._linger_until,
        )

    def handle_timer(self, *, now: float) -> list[Action]:
        """Do all that is due; early it does nothing."""
        self._begin(now=now)
        m = self._m
        m.perform(m.isolation.handle_timer(now=now), now=now)
        m.judge_isolation(now=now)  # before a timer may accuse
        for machine in (m.table, m.prober, m.relays, m.rejoin, m.catalog):
            if machine.next_deadline() <= now:
                m.perform(machine.handle_timer(now=now), now=now)
        for id in self._registrations.pop_due(now=now):
            self._withdraw(id, now=now)
        for owner in m.catalog.orphans.pop_due(now):
            m.perform(m.catalog.forget(owner, now=now), now=now)
        m.perform_actions(m.streams.handle_timer(now=now), now=now)
        if m.next_sync <= now:
            m.next_sync = now + self._config.sync.interval_s
            if m.table.live and not self.leaving:
                m.open_sync(m.table.rows[m.rng.choice(m.table.live)].claim.address, now=now)
        if m.spreader.next_deadline() <= now:
            m.actions += m.outbound.spread_due(recently_dead_s=self._config.gossip.to_dead_s, now=now)
        if self.leaving:
            self._go_on_leaving(now=now)
        return self._take()

    def accept_stream(self, source: Address, *, now: float) -> tuple[int | None, list[Action]]:
        """Return the number of a stream that a peer opened; None when it is to be closed at once."""
        self._begin(now=now)
        stream, actions = self._m.streams.accept(source, now=now)
        self._m.perform_actions(actions, now=now)
        return stream, self._take()

    def stream_opened(self, stream: int, *, now: float) -> list[Action]:
        """The stream that OpenStream asked for is connected."""
        self._begin(now=now)
        self._m.perform_actions(self._m.streams.opened(stream), now=now)
        return self._take()

    def receive_stream(self, stream: int, data: bytes, *, now: float) -> list[Action]:
        """Take in *data*, 1 byte or more, of *stream*."""
        self._begin(now=now)
        m = self._m
        actions, pinged = m.streams.receive(
            stream, data, merge=lambda items, of: m.merge_items(items, of, now=now), now=now
        )
        m.perform_actions(actions, now=now)
        if pinged is not None and pinged.ping is not None and pinged.peer is not None:
            m.prober.receive_ack(Ack(sequence=pinged.ping.sequence), source=pinged.peer, now=now, by_stream=True)
        return self._take()

    def stream_closed(self, stream: int, *, now: float, error: str | None = None) -> list[Action]:
        """The peer or the network ended *stream*, or it could not be opened."""
        self._begin(now=now)
        self._m.perform_actions(self._m.streams.closed(stream, error=error), now=now)
        return self._take()

    # --------------------------------------------------------------------------------------------------------- commands

    def register(
        self, service: Service, *, holder: Holder, checks: Sequence[Check] = (), now: float
    ) -> tuple[RegistrationRow, list[Action]]:
        """Publish *service*, or change it; the same again changes nothing.

        Raises: RequestError("bad_request") for a bad field, ("quota") if it would be too much, ("leaving").
        """
        if self.leaving:
            raise RequestError("leaving", "the node is leaving the cluster and takes no registrations")
        self._begin(now=now)
        try:
            service = check_service(service)
            records = self._m.author.put(SERVICE_KEY_PREFIX + service.id, service)
        except ValueError as error:
            raise RequestError("bad_request", str(error)) from None
        kept_changed = self._registrations.set(service, connection=holder.connection)
        self._m.publish(records, now=now)
        if kept_changed:
            self._m.report(RegistrationsChanged(), now=now)
        return RegistrationRow(id=service.id, service=service.name, holder=holder.kind), self._take()

    def deregister(self, id: str, *, now: float) -> list[Action]:
        """Withdraw instance *id*. Raises: RequestError("not_found")."""
        if id not in self._registrations:
            raise RequestError("not_found", f"id={id!r}, expected an instance that is registered on this node")
        self._begin(now=now)
        self._withdraw(id, now=now)
        return self._take()

    def connection_lost(self, connection: int, *, now: float) -> list[Action]:
        """Let the instances of *connection* go, unless its client comes back within the grace period."""
        self._begin(now=now)
        self._registrations.connection_lost(connection, now=now)
        return self._take()

    def pid_exited(self, pid: int, *, now: float) -> list[Action]:
        return []

    def check_finished(self, run: int, result: CheckResult, *, now: float) -> list[Action]:
        return []

    def renew(self, id: str, *, now: float) -> list[Action]:
        raise RequestError("unsupported", "not yet")

    def report(self, id: str, check: str | None, result: CheckResult, *, now: float) -> list[Action]:
        raise RequestError("unsupported", "not yet")

    def drain(
        self, id: str | None, *, reason: str = "", deadline_s: float | None = None, now: float
    ) -> tuple[DrainRow, list[Action]]:
        raise RequestError("unsupported", "not yet")

    def undrain(self, id: str | None, *, now: float) -> list[Action]:
        raise RequestError("unsupported", "not yet")

    def maintain(self, id: str | None, *, reason: str | None, now: float) -> list[Action]:
        raise RequestError("unsupported", "not yet")

    def progress(self, id: str, remaining: int, *, now: float) -> tuple[DrainRow, list[Action]]:
        raise RequestError("unsupported", "not yet")

    def undamp(self, id: str, *, now: float) -> list[Action]:
        raise RequestError("unsupported", "not yet")

    def kept_registrations(self) -> list[Service]:
        """Return what must be on disk to survive a restart."""
        return self._registrations.kept()

    def peer_book(self, *, now: float) -> list[PeerEntry]:
        """Return the peers that must be on disk to be found again."""
        return self._m.peers.entries(live=self._m.table.live, now=now)

    def set_seeds(self, seeds: Sequence[Address], *, now: float) -> list[Action]:
        """Look for the cluster at *seeds* from now on, for ever."""
        self._begin(now=now)
        self._m.rejoin.set_seeds(seeds[:SEEDS_MAX], now=now)
        return self._take()

    def set_labels(self, labels: Sequence[tuple[str, str]], *, now: float) -> list[Action]:
        """Publish other labels."""
        self._begin(now=now)
        self._labels = check_labels(labels)
        self._publish_info(now=now)
        return self._take()

    def set_keyring(self, keyring: Keyring | None, *, now: float) -> None:
        """Seal with the first key of *keyring* and open with all, from the next packet on. Never from sealed to unsealed."""
        assert (keyring is None) == (self._m.keyring is None), "a running node neither gains nor loses its seal"
        self._m.keyring = keyring
        self._m.sealer.rekey(keyring)
        self._m.opener.rekey(keyring)

    def sync_with(self, target: Address, *, now: float) -> tuple[int, list[Action]]:
        """Sync with *target*; SyncFinished follows with the number returned. Raises: RequestError("busy")."""
        self._begin(now=now)
        stream = self._m.open_sync(target, now=now)
        if stream is None:
            raise RequestError("busy", f"too many streams are open, expected fewer than {STREAMS_OUTBOUND_MAX}")
        return stream, self._take()

    def note_lag(self, lag_s: float, *, now: float) -> None:
        """The shell saw its loop lag by *lag_s*: trust our own timers less."""
        self._m.awareness.apply(1)

    def leave(self, *, now: float) -> list[Action]:
        """Say goodbye; LeaveFinished follows. Nothing the second time."""
        if self.leaving:
            return []
        self._begin(now=now)
        self._m.prober.stop()
        self._m.rejoin.stop()
        self._m.perform(self._m.table.leave(now=now), now=now)
        self._leave_by = now + self._config.leave.timeout_s - self._config.leave.linger_s
        if not self._m.table.live:
            self._linger(heard=False, linger_s=0.0, now=now)
        return self._take()

    # ---------------------------------------------------------------------------------------------------------- private

    def _begin(self, *, now: float) -> None:
        """Before any input: see whether we overslept. What was due before the last input was due then."""
        due = max(self.next_deadline(), self._m.clock)
        self._due = None
        self._m.clock = now
        self._m.notice_oversleep(due=due, now=now)

    def _publish_info(self, *, now: float) -> None:
        info = NodeInfo(labels=self._labels, software=__version__)
        self._m.publish(self._m.author.put(NODE_KEY, info), how="self", now=now)

    def _take(self) -> list[Action]:
        self._m.settle(now=self._m.clock)
        actions, self._m.actions = self._m.actions, []
        return actions

    def _withdraw(self, id: str, *, now: float) -> None:
        kept_changed = self._registrations.remove(id)
        self._m.publish(self._m.author.delete(SERVICE_KEY_PREFIX + id), now=now)
        if kept_changed:
            self._m.report(RegistrationsChanged(), now=now)

    def _go_on_leaving(self, *, now: float) -> None:
        """Once the news has gone out often enough, or time is up, answer probes a little longer; then we are gone."""
        if self._linger_until <= now:
            self._linger_until = math.inf
            self._m.report(LeaveFinished(heard=self._heard), now=now)
        elif self._leave_by < math.inf:
            said = self.me not in self._m.spreader.membership
            if said or self._leave_by <= now:
                self._linger(heard=said, linger_s=self._config.leave.linger_s, now=now)

    def _linger(self, *, heard: bool, linger_s: float, now: float) -> None:
        self._heard = heard
        self._leave_by = math.inf
        self._linger_until = now + linger_s
