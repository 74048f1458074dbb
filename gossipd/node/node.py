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
from gossipd.crypto.keyring import Keyring
from gossipd.errors import RequestError
from gossipd.ids import Address, NodeId
from gossipd.limits import SEEDS_MAX, STREAMS_OUTBOUND_MAX
from gossipd.node.actions import Action
from gossipd.node.instance_rows import drain_row, registration_row
from gossipd.node.instances import Instances
from gossipd.node.leaving import Leaving
from gossipd.node.machines import Machines
from gossipd.node.meeting import Meeting
from gossipd.node.peers import PeerEntry
from gossipd.node.registrations import NOTHING_KEPT, Kept
from gossipd.node.view import DrainRow, Holder, RegistrationRow, View
from gossipd.node.window import Window
from gossipd.records import Mode, NodeInfo, Service, Status
from gossipd.validation import check_labels
from gossipd.wire.messages import Ack


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
        kept: Kept = NOTHING_KEPT,
        restarted: bool = False,
    ) -> None:
        """*entropy* gives unguessable bytes for session ids; *rng* everything else. what is *kept* holds from the start.

        *restarted*: a former run of ours may have published; whoever knows *peers* takes it for granted.
        """
        self._config = config
        self._labels = check_labels(labels)
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
        restarted = restarted or bool(peers)
        self._instances = Instances(config, self._m, kept=kept, info=self._info, restarted=restarted, now=now)
        self._leaving = Leaving(config.leave, self._m)
        self._due: float | None = None
        """The next deadline, once it was asked for; every input may move it."""
        self._meeting = Meeting(peers, remembered_s=config.sync.forget_after_s)
        self.view: View = Window(self._m, self._instances, self._meeting, started_at=now)

    @property
    def me(self) -> NodeId:
        return self._m.table.me

    @property
    def epoch(self) -> int:
        """The epoch of this run; it rises only if a former run outranks us (EpochRaised)."""
        return self._m.table.own.incarnation.epoch

    @property
    def leaving(self) -> bool:
        """Whether it was told to leave; it may still drain."""
        return self._leaving.begun

    @property
    def _gone(self) -> bool:
        """Whether it has said goodbye."""
        return self._m.table.own.status is Status.LEFT

    # ----------------------------------------------------------------------------------------------------------- inputs

    def start(self, *, now: float) -> list[Action]:
        """Publish what we are and what was kept; look for the seeds and the peers of the last run."""
        self._due = None
        self._instances.publish_info(now=now)
        self._instances.start(now=now)
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
                self._leaving.go_on(now=now)
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
            m.pace.due if m.table.live and not self._gone else math.inf,
            self._instances.next_deadline(),
            self._leaving.next_deadline(),
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
        if self._instances.next_deadline() <= now:
            self._instances.handle_timer(now=now)
        for owner in m.catalog.orphans.pop_due(now):
            m.perform(m.catalog.forget(owner, now=now), now=now)
        m.perform_actions(m.streams.handle_timer(now=now), now=now)
        if m.pace.due <= now:
            m.pace.begun(now=now)
            if m.table.live and not self._gone:
                m.open_sync(m.table.rows[m.rng.choice(m.table.live)].claim.address, now=now)
        if m.spreader.next_deadline() <= now:
            m.actions += m.outbound.spread_due(recently_dead_s=self._config.gossip.to_dead_s, now=now)
        if self.leaving:
            self._leaving.go_on(now=now)
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
        """Publish *service*, or change it; the same again changes nothing and keeps all that is known.

        Raises: RequestError("bad_request") for a bad field, ("quota") if it would be too much, ("leaving").
        """
        if self.leaving:
            raise RequestError("leaving", "the node is leaving the cluster and takes no registrations")
        self._begin(now=now)
        self._instances.register(service, holder, checks, now=now)
        actions = self._take()
        return registration_row(self._instances, service.id, now=now), actions

    def deregister(self, id: str, *, now: float) -> list[Action]:
        """Withdraw instance *id*. Raises: RequestError("not_found")."""
        self._instances.expect(id)
        self._begin(now=now)
        self._instances.withdraw(id, now=now)
        return self._take()

    def connection_lost(self, connection: int, *, now: float) -> list[Action]:
        """Let the instances of *connection* go, unless its client comes back within the grace period."""
        self._begin(now=now)
        self._instances.registrations.connection_lost(connection, now=now)
        return self._take()

    def pid_exited(self, pid: int, *, now: float) -> list[Action]:
        """Withdraw what process *pid*, which has ended, held."""
        self._begin(now=now)
        self._instances.pid_exited(pid, now=now)
        return self._take()

    def check_finished(self, run: int, result: CheckResult, *, now: float) -> list[Action]:
        """Take what a RunCheck brought; nothing if it was cancelled."""
        self._begin(now=now)
        self._instances.check_finished(run, result, now=now)
        return self._take()

    def renew(self, id: str, *, now: float) -> list[Action]:
        """See `Commands.renew`, as for those that follow. Raises: RequestError."""
        self._begin(now=now)
        self._instances.renew(id, now=now)
        return self._take()

    def report(self, id: str, check: str | None, result: CheckResult, *, now: float) -> list[Action]:
        self._begin(now=now)
        self._instances.report(id, check, result, now=now)
        return self._take()

    def drain(
        self, id: str | None, *, reason: str = "", deadline_s: float | None = None, now: float
    ) -> tuple[DrainRow, list[Action]]:
        self._begin(now=now)
        deadline = None if deadline_s is None else now + deadline_s
        self._instances.decide(id, Mode.DRAINING, reason, deadline=deadline, now=now)
        return drain_row(self._instances, id, now=now), self._take()

    def undrain(self, id: str | None, *, now: float) -> list[Action]:
        self._begin(now=now)
        self._instances.end(id, Mode.DRAINING, now=now)
        return self._take()

    def maintain(self, id: str | None, *, reason: str | None, now: float) -> list[Action]:
        self._begin(now=now)
        if reason is None:
            self._instances.end(id, Mode.MAINTENANCE, now=now)
        else:
            self._instances.decide(id, Mode.MAINTENANCE, reason, deadline=None, now=now)
        return self._take()

    def progress(self, id: str, remaining: int, *, now: float) -> tuple[DrainRow, list[Action]]:
        self._begin(now=now)
        self._instances.progress(id, remaining)
        return drain_row(self._instances, id, now=now), self._take()

    def undamp(self, id: str, *, now: float) -> list[Action]:
        self._begin(now=now)
        self._instances.undamp(id, now=now)
        return self._take()

    def kept(self, *, now: float) -> Kept:
        """Return what must be on disk to survive a restart."""
        return self._instances.kept(now=now)

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
        self._instances.publish_info(now=now)
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
        """Drain, if there is anything to drain, and say goodbye; LeaveFinished follows. Nothing the second time."""
        if self.leaving:
            return []
        self._begin(now=now)
        drain = len(self._instances.registrations) > 0 and bool(self._m.table.live)
        if drain:
            self._instances.leave(now=now)
        self._leaving.begin(drain=drain, now=now)
        return self._take()

    # ---------------------------------------------------------------------------------------------------------- private

    def _begin(self, *, now: float) -> None:
        """Before any input: see whether we overslept. What was due before the last input was due then."""
        due = max(self.next_deadline(), self._m.clock)
        self._due = None
        self._m.clock = now
        slept_s = self._m.notice_oversleep(due=due, now=now)
        if slept_s:
            self._instances.overslept(slept_s)

    def _info(self, mode: Mode, reason: str) -> NodeInfo:
        return NodeInfo(labels=self._labels, software=__version__, mode=mode, reason=reason)

    def _take(self) -> list[Action]:
        self._instances.settle(now=self._m.clock)
        self._m.settle(now=self._m.clock)
        self._meeting.look(self._m, now=self._m.clock)
        actions, self._m.actions = self._m.actions, []
        return actions
