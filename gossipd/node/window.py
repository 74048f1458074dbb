"""The view that the doors get: rows made from the machines, on demand. Reads only."""

from collections.abc import Iterable, Sequence

from gossipd.core.membership.table import Row
from gossipd.errors import RequestError
from gossipd.ids import NodeId
from gossipd.node.journal import STATUS_WORDS, Note
from gossipd.node.machines import Machines
from gossipd.node.registrations import Registrations
from gossipd.node.statistics import Statistics
from gossipd.node.view import Evidence, EvidenceRow, Info, InstanceRow, MemberRow, ServiceRow, Trust
from gossipd.records import NodeInfo, Record, Service, Status
from gossipd.wire.messages import PROTOCOL_VERSION
from gossipd.wire.records import NODE_KEY, SERVICE_KEY_PREFIX

CONFLICT_SHOWN_S = 60.0
"""Seconds after its last sign of life that a process with our name is shown; signs come every TWIN_NOTICE_S."""


class Window:
    """Implements `node.view.View`."""

    def __init__(self, machines: Machines, registrations: Registrations, *, started_at: float) -> None:
        self._m = machines
        self._registrations = registrations
        self._started_at = started_at

    @property
    def index(self) -> int:
        return self._m.index

    def trust(self, *, owners: Sequence[str] | None = None, now: float) -> Trust:
        rows = self._m.table.rows
        names = rows if owners is None else [name for name in map(NodeId, owners) if name in rows]
        ages = [self._age_s(rows[name], now=now) for name in names if rows[name].claim.status is not Status.LEFT]
        return Trust(
            isolated=self._m.isolation.isolated,
            members_alive=len(self._m.table.live) + 1,
            members_known=len(rows),
            stalest_owner_age_s=round(max(ages, default=0.0), 3),
            index=self._m.index,
        )

    def members(self, *, now: float) -> list[MemberRow]:
        return [self._member_row(row, now=now) for _, row in sorted(self._m.table.rows.items())]

    def member(self, name: str, *, now: float) -> MemberRow | None:
        row = self._m.table.row(NodeId(name))
        return None if row is None else self._member_row(row, now=now)

    def services(self, *, now: float) -> list[ServiceRow]:
        found = []
        for name in self._m.catalog.names():
            rows = self._instance_rows(self._m.catalog.instances(name), now=now)
            if not rows:
                continue
            found.append(
                ServiceRow(
                    name=name,
                    instances=len(rows),
                    passing=sum(row.status == "passing" for row in rows),
                    nodes=len({row.node for row in rows}),
                    tags=sorted({tag for row in rows for tag in row.tags}),
                )
            )
        return found

    def instances(self, *, service: str | None = None, now: float) -> list[InstanceRow]:
        catalog = self._m.catalog
        return self._instance_rows(catalog.all() if service is None else catalog.instances(service), now=now)

    def instance(self, node: str, id: str, *, now: float) -> InstanceRow | None:
        record = self._m.catalog.get(NodeId(node), SERVICE_KEY_PREFIX + id)
        rows = self._instance_rows([] if record is None else [record], now=now)
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
            software=self._node_info(own.member).software,
            protocol_version=PROTOCOL_VERSION,
            cluster=self._m.cluster,
            sealed=keyring is not None,
            key_ids=[] if keyring is None else list(keyring.key_ids(self._m.cluster)),
            labels=dict(self._node_info(own.member).labels),
            uptime_s=round(now - self._started_at, 3),
            awareness=self._m.awareness.score,
            conflict=str(table.conflict_address) if conflict else None,
            leaving=own.status is Status.LEFT,
            seeds=[str(seed) for seed in self._m.rejoin.seeds],
            peers_known=len(self._m.peers),
        )

    def why(self, subject: str, *, now: float) -> Evidence:
        """A member's name goes before an instance's id; `node/id` is always the instance."""
        row = self._m.table.row(NodeId(subject))
        if row is not None:
            belief = f"{STATUS_WORDS[row.claim.status]} for {now - row.changed_at:.1f} s at {row.claim.address}"
            accusers = self._m.table.suspicions.accusers(row.claim.member)
            if accusers:
                belief += f", accused by {', '.join(accusers)}"
            return self._evidence(subject, "member", belief, self._m.journal.about(subject), now=now)
        found = [row for row in self.instances(now=now) if subject in (row.id, f"{row.node}/{row.id}")]
        if not found:
            raise RequestError(
                "not_found", f"subject={subject!r}, expected a member's name, an instance's id or node/id"
            )
        notes: list[Note] = []
        beliefs = []
        for instance in found:
            beliefs.append(
                f"{instance.service} at {instance.address}:{instance.port} on {instance.node} is {instance.status}"
                f" (its node is {instance.node_status})"
            )
            notes += self._m.journal.about(f"{instance.node}/{instance.id}") + self._m.journal.about(instance.node)
        notes.sort(key=lambda note: note.at)
        return self._evidence(subject, "instance", "; ".join(beliefs), notes, now=now)

    def statistics(self, *, now: float) -> Statistics:
        m = self._m
        counters, prober, table = m.counters, m.prober, m.table
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
            members_alive=by_status[Status.ALIVE],
            members_suspect=by_status[Status.SUSPECT],
            members_failed=by_status[Status.DEAD],
            members_left=by_status[Status.LEFT],
            records=len(m.catalog),
            records_refused=dict(sorted(m.catalog.refused.items())),
            registrations=len(self._registrations),
            peers_known=len(m.peers),
        )

    def _age_s(self, row: Row, *, now: float) -> float:
        """Seconds since a member was last vouched for: one believed alive by whatever proved that we hear the cluster."""
        if row.claim.member == self._m.table.me:
            return 0.0
        at = row.vouched_at
        if row.claim.status is Status.ALIVE:
            at = max(at, self._m.isolation.heard_at)
        return max(0.0, now - at)

    def _node_info(self, name: NodeId) -> NodeInfo:
        record = self._m.catalog.get(name, NODE_KEY)
        return record.content if record is not None and isinstance(record.content, NodeInfo) else NodeInfo()

    def _member_row(self, row: Row, *, now: float) -> MemberRow:
        name = row.claim.member
        round_trip = self._m.prober.round_trips.get(name)
        info = self._node_info(name)
        return MemberRow(
            name=name,
            status=STATUS_WORDS[row.claim.status],
            address=str(row.claim.address),
            epoch=row.claim.incarnation.epoch,
            counter=row.claim.incarnation.counter,
            since_s=round(now - row.changed_at, 3),
            vouched_s=round(self._age_s(row, now=now), 3),
            rtt_ms=None if round_trip is None else round(round_trip.mean_s * 1000, 3),
            me=name == self._m.table.me,
            labels=dict(info.labels),
            software=info.software,
            services=sum(isinstance(record.content, Service) for record in self._m.catalog.records_of(name)),
        )

    def _instance_rows(self, records: Iterable[Record], *, now: float) -> list[InstanceRow]:
        """Rows of the services whose owner has a row; an owner nobody told us about yet cannot be reached."""
        rows = []
        for record in records:
            owner, service = self._m.table.row(record.owner), record.content
            if owner is None or not isinstance(service, Service):
                continue
            rows.append(
                InstanceRow(
                    service=service.name,
                    id=service.id,
                    node=record.owner,
                    address=owner.claim.address.host if service.address is None else service.address,
                    port=service.port,
                    protocol=service.protocol,
                    tags=list(service.tags),
                    metadata=dict(service.metadata),
                    weight=service.weight,
                    status="passing" if owner.live else "unreachable",
                    node_status=STATUS_WORDS[owner.claim.status],
                    age_s=round(self._age_s(owner, now=now), 3),
                )
            )
        rows.sort(key=lambda row: (row.service, row.node, row.id))
        return rows

    def _evidence(self, subject: str, kind: str, belief: str, notes: list[Note], *, now: float) -> Evidence:
        history = [
            EvidenceRow(
                ago_s=round(now - note.at, 3), what=note.what, accuser=note.accuser, source=note.source, how=note.how
            )
            for note in notes
        ]
        return Evidence(subject=subject, kind=kind, belief=belief, history=history)
