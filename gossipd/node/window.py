"""The view that the doors get: rows made from the machines, on demand. Reads only."""

from collections.abc import Sequence

from gossipd.config import GuardPolicy
from gossipd.ids import NodeId
from gossipd.node.evidence import instance_evidence, member_evidence
from gossipd.node.instance_rows import check_rows, node_state_row, registration_row
from gossipd.node.instances import Instances
from gossipd.node.machines import Machines
from gossipd.node.meeting import Meeting
from gossipd.node.rows import age_s, instance_rows, member_row, node_info, service_row
from gossipd.node.statistics import Statistics
from gossipd.node.view import (
    CheckRow,
    Evidence,
    Info,
    InstanceRow,
    MemberRow,
    NodeStateRow,
    RegistrationRow,
    ServiceRow,
    Trust,
)
from gossipd.records import Status
from gossipd.wire.messages import PROTOCOL_VERSION
from gossipd.wire.records import SERVICE_KEY_PREFIX

CONFLICT_SHOWN_S = 60.0
"""Seconds after its last sign of life that a process with our name is shown; signs come every TWIN_NOTICE_S."""


class Window:
    """Implements `node.view.View`."""

    def __init__(self, machines: Machines, instances: Instances, meeting: Meeting, *, started_at: float) -> None:
        self._m = machines
        self._instances = instances
        self._meeting = meeting
        self._started_at = started_at

    @property
    def index(self) -> int:
        return self._m.index

    @property
    def guard_policy(self) -> GuardPolicy:
        return self._m.config.guard.policy

    def trust(self, *, owners: Sequence[str] | None = None, now: float) -> Trust:
        rows = self._m.table.rows
        names = rows if owners is None else [name for name in map(NodeId, owners) if name in rows]
        ages = [age_s(self._m, rows[name], now=now) for name in names if rows[name].claim.status is not Status.LEFT]
        return Trust(
            isolated=self._m.isolation.isolated,
            met=self._meeting.met(now=now),
            members_alive=len(self._m.table.live) + 1,
            members_known=len(rows),
            stalest_owner_age_s=round(max(ages, default=0.0), 3),
            index=self._m.index,
        )

    def members(self, *, now: float) -> list[MemberRow]:
        return [member_row(self._m, row, now=now) for _, row in sorted(self._m.table.rows.items())]

    def member(self, name: str, *, now: float) -> MemberRow | None:
        row = self._m.table.row(NodeId(name))
        return None if row is None else member_row(self._m, row, now=now)

    def services(self, *, now: float) -> list[ServiceRow]:
        found = []
        for name in self._m.catalog.names():
            rows = instance_rows(self._m, self._m.catalog.instances(name), now=now)
            if rows:
                found.append(service_row(name, rows))
        return found

    def instances(self, *, service: str | None = None, node: str | None = None, now: float) -> list[InstanceRow]:
        assert service is None or node is None, (service, node)
        catalog = self._m.catalog
        if node is not None:
            return instance_rows(self._m, catalog.records_of(NodeId(node)), now=now)
        return instance_rows(self._m, catalog.all() if service is None else catalog.instances(service), now=now)

    def instance(self, node: str, id: str, *, now: float) -> InstanceRow | None:
        record = self._m.catalog.get(NodeId(node), SERVICE_KEY_PREFIX + id)
        rows = instance_rows(self._m, [] if record is None else [record], now=now)
        return rows[0] if rows else None

    def info(self, *, now: float) -> Info:
        table, keyring = self._m.table, self._m.keyring
        own = table.own
        conflict = now - table.conflict_at < CONFLICT_SHOWN_S
        return Info(
            name=own.member,
            address=str(own.address),
            epoch=own.incarnation.epoch,
            counter=own.incarnation.counter,
            software=node_info(self._m, own.member).software,
            protocol_version=PROTOCOL_VERSION,
            cluster=self._m.cluster,
            sealed=keyring is not None,
            key_ids=[] if keyring is None else list(keyring.key_ids(self._m.cluster)),
            labels=dict(node_info(self._m, own.member).labels),
            uptime_s=round(now - self._started_at, 3),
            awareness=self._m.awareness.score,
            conflict=str(table.conflict_address) if conflict else None,
            leaving=own.status is Status.LEFT or self._instances.leaving,
            seeds=[str(seed) for seed in self._m.rejoin.seeds],
            peers_known=len(self._m.peers),
        )

    def why(self, subject: str, *, now: float) -> Evidence:
        """A member's name goes before an instance's id; `node/id` is always the instance."""
        row = self._m.table.row(NodeId(subject))
        if row is not None:
            return member_evidence(self._m, row, now=now)
        found = [row for row in self.instances(now=now) if subject in (row.id, f"{row.node}/{row.id}")]
        own = {row.id for row in found if row.node == self._m.table.me}
        registration = next((row for row in self.registrations(now=now) if row.id in own), None)
        checks = [] if registration is None else self.checks(registration.id, now=now)
        return instance_evidence(self._m, subject, found, checks=checks, registration=registration, now=now)

    def registrations(self, *, now: float) -> list[RegistrationRow]:
        ids = self._instances.registrations.ids()
        return [registration_row(self._instances, id, now=now) for id in ids]

    def checks(self, id: str | None = None, *, now: float) -> list[CheckRow]:
        if id is not None:
            self._instances.expect(id)
        ids = self._instances.registrations.ids() if id is None else [id]
        return [row for each in ids for row in check_rows(self._instances, each, now=now)]

    def node_state(self, *, now: float) -> NodeStateRow:
        return node_state_row(self._instances, now=now)

    def statistics(self, *, now: float) -> Statistics:
        m = self._m
        counters, prober, table, monitor = m.counters, m.prober, m.table, self._instances.monitor
        by_status = [0, 0, 0, 0]
        for row in table.rows.values():
            by_status[row.claim.status] += 1
        return Statistics(
            datagrams_sent=counters.datagrams_sent,
            datagram_bytes_sent=counters.datagram_bytes_sent,
            datagrams_received=counters.datagrams_received,
            datagram_bytes_received=counters.datagram_bytes_received,
            streams_opened=counters.streams_opened,
            streams_accepted=counters.streams_accepted,
            streams_failed=counters.streams_failed,
            dropped=dict(sorted(counters.dropped.items()))
            | {f"claim_{k}": v for k, v in sorted(table.refused.items())},
            probes_sent=prober.sent,
            probes_failed=prober.failed,
            acks_received=prober.acks,
            nacks_received=prober.nacks,
            suspicions_raised=counters.suspicions_raised,
            refutations=table.refutations,
            oversleeps=counters.oversleeps,
            eager_packets=m.spreader.eager_packets,
            gossip_queue=len(m.spreader),
            gossip_queue_dropped=m.spreader.membership.dropped + m.spreader.catalog.dropped,
            syncs_completed=counters.syncs_completed,
            syncs_failed=counters.syncs_failed,
            awareness=m.awareness.score,
            isolated=m.isolation.isolated,
            cuts_shown=m.guard.cuts_shown,
            verdicts_held=m.guard.verdicts_held,
            services_guarded=m.guard.collapse.guarded,
            instances_kept=m.guard.collapse.kept,
            guards_triggered=m.guard.collapse.triggered,
            guard_refused=m.guard.collapse.refused,
            members_alive=by_status[Status.ALIVE],
            members_suspect=by_status[Status.SUSPECT],
            members_failed=by_status[Status.DEAD],
            members_left=by_status[Status.LEFT],
            records=len(m.catalog),
            records_refused=dict(sorted(m.catalog.refused.items())),
            registrations=len(self._instances.registrations),
            instances_damped=self._instances.damped(),
            checks=monitor.checks,
            checks_running=monitor.schedule.running,
            checks_run=monitor.schedule.started,
            checks_failed=monitor.failed,
            checks_late_worst_s=round(monitor.schedule.late_worst_s, 3),
            peers_known=len(m.peers),
        )
