"""Rows of members, instances and services: what the machines hold, as readers see it.

What readers believe of an instance is decided here and nowhere else, so that every door tells the same.
"""

from collections.abc import Iterable

from gossipd.core.guard.collapse import is_ready
from gossipd.core.membership.table import Row
from gossipd.ids import NodeId
from gossipd.node.journal import STATUS_WORDS
from gossipd.node.machines import Machines
from gossipd.node.view import InstanceRow, MemberRow, ServiceRow
from gossipd.records import Health, Mode, NodeInfo, Record, Service, Status
from gossipd.wire.records import NODE_KEY

ZONE_LABEL, REGION_LABEL = "zone", "region"
"""Labels of a node that tell where it is."""

MODE_WORDS = {Mode.DRAINING: "draining", Mode.MAINTENANCE: "maintenance"}
HEALTH_WORDS = {Health.PASSING: "passing", Health.WARNING: "warning", Health.CRITICAL: "critical"}


def node_info(machines: Machines, name: NodeId) -> NodeInfo:
    """Return what *name* says of itself; nothing said is nothing special."""
    record = machines.catalog.get(name, NODE_KEY)
    return record.content if record is not None and isinstance(record.content, NodeInfo) else NodeInfo()


def age_s(machines: Machines, row: Row, *, now: float) -> float:
    """Seconds since a member was last vouched for: one believed alive by whatever proved that we hear the cluster."""
    if row.claim.member == machines.table.me:
        return 0.0
    at = row.vouched_at
    if row.claim.status is Status.ALIVE:
        at = max(at, machines.isolation.heard_at)
    return max(0.0, now - at)


def member_row(machines: Machines, row: Row, *, now: float) -> MemberRow:
    name = row.claim.member
    round_trip = machines.prober.round_trips.get(name)
    info = node_info(machines, name)
    return MemberRow(
        name=name,
        status=STATUS_WORDS[row.claim.status],
        address=str(row.claim.address),
        epoch=row.claim.incarnation.epoch,
        counter=row.claim.incarnation.counter,
        since_s=round(now - row.changed_at, 3),
        vouched_s=round(age_s(machines, row, now=now), 3),
        rtt_ms=None if round_trip is None else round(round_trip.mean_s * 1000, 3),
        me=name == machines.table.me,
        labels=dict(info.labels),
        software=info.software,
        services=sum(isinstance(record.content, Service) for record in machines.catalog.records_of(name)),
    )


class _Owner:
    """What the rows of one owner's instances have in common. *reachable*: as far as readers are to believe."""

    def __init__(self, machines: Machines, row: Row, *, now: float) -> None:
        info = node_info(machines, row.claim.member)
        labels = dict(info.labels)
        self.me = row.claim.member == machines.table.me
        self.reachable = row.live or self.me or machines.guard.reachable(row.claim.member)
        self.cut_off = machines.guard.isolated and not self.me
        leaving = self.me and row.claim.status is Status.LEFT
        self.mode = max(info.mode, Mode.DRAINING) if leaving else info.mode
        self.reason = info.reason
        self.host = row.claim.address.host
        self.status = STATUS_WORDS[row.claim.status]
        self.age_s = round(age_s(machines, row, now=now), 3)
        self.zone, self.region = labels.get(ZONE_LABEL), labels.get(REGION_LABEL)


def instance_rows(machines: Machines, records: Iterable[Record], *, now: float) -> list[InstanceRow]:
    """Return rows of the services in *records* whose owner is a member, sorted by service, node and id.

    An owner that nobody told us about yet cannot be reached, so it has none.
    """
    owners: dict[NodeId, _Owner] = {}
    refuse = machines.config.guard.policy == "refuse"
    rows = []
    for record in records:
        service = record.content
        if not isinstance(service, Service):
            continue
        owner = owners.get(record.owner)
        if owner is None:
            member = machines.table.row(record.owner)
            if member is None:
                continue
            owner = owners[record.owner] = _Owner(machines, member, now=now)
        kept = not owner.reachable and machines.guard.keeps(service.name, (record.owner, record.key))
        rows.append(_instance_row(record.owner, service, owner, kept=kept, refuse=refuse))
    rows.sort(key=lambda row: (row.service, row.node, row.id))
    return rows


def _instance_row(node: NodeId, service: Service, owner: _Owner, *, kept: bool, refuse: bool) -> InstanceRow:
    state, reachable, degraded = service.state, owner.reachable or kept, owner.cut_off or kept
    mode = max(state.mode, owner.mode)
    reason = state.reason if state.mode >= owner.mode and state.reason else owner.reason
    wanted = reachable and is_ready(service, owner.mode)
    finishing = reachable and mode is Mode.DRAINING and state.health is not Health.CRITICAL
    return InstanceRow(
        service.name,
        service.id,
        node,
        address=owner.host if service.address is None else service.address,
        port=service.port,
        protocol=service.protocol,
        tags=list(service.tags),
        metadata=dict(service.metadata),
        weight=service.weight,
        status=_status_word(service, mode, reachable=reachable),
        ready=wanted and not (degraded and refuse),
        serving=wanted or finishing,
        terminating=mode is Mode.DRAINING,
        degraded=degraded,
        damped=state.damped,
        reason=reason if mode is not Mode.NORMAL and reason else None,
        zone=owner.zone,
        region=owner.region,
        node_status=owner.status,
        age_s=owner.age_s,
    )


def _status_word(service: Service, mode: Mode, *, reachable: bool) -> str:
    """Return the one word for all that is the matter, the gravest first."""
    if not reachable:
        return "unreachable"
    if mode is not Mode.NORMAL:
        return MODE_WORDS[mode]
    return HEALTH_WORDS[Health.CRITICAL if service.state.damped else service.state.health]


def service_row(name: str, rows: list[InstanceRow]) -> ServiceRow:
    """Return the row of service *name*, whose instances are *rows*."""
    return ServiceRow(
        name=name,
        instances=len(rows),
        ready=sum(row.ready for row in rows),
        passing=sum(row.status == "passing" for row in rows),
        degraded=sum(row.degraded for row in rows),
        nodes=len({row.node for row in rows}),
        tags=sorted({tag for row in rows for tag in row.tags}),
    )
