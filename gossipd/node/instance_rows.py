"""Rows of this node's own instances, as their owner sees them: registrations, checks, drains."""

import math

from gossipd.check_reading import kind_of
from gossipd.limits import INTEGER_MAX
from gossipd.node.decisions import Decision, Subject
from gossipd.node.instances import Instances
from gossipd.node.registrations import LEASE
from gossipd.node.view import CheckRow, DrainRow, NodeStateRow, RegistrationRow
from gossipd.records import Mode


def registration_row(instances: Instances, id: str, *, now: float) -> RegistrationRow:
    """Return how instance *id*, which must be registered, is."""
    held, monitor = instances.registrations[id], instances.monitor
    decision = instances.decisions.get(id)
    lease_left_s = None
    if held.holder.kind == "lease":
        due_at = monitor.report_by(id, LEASE)
        lease_left_s = 0.0 if due_at == math.inf else round(max(0.0, due_at - now), 3)
    return RegistrationRow(
        id=id,
        service=held.service.name,
        holder=held.holder.kind,
        health=monitor.health(id).name.lower(),
        mode=(Mode.NORMAL if decision is None else decision.mode).name.lower(),
        damped=monitor.damping.damped(id),
        penalty=round(monitor.damping.penalty(id, now=now), 1),
        reason=None if decision is None else decision.reason or None,
        checks=len(held.checks),
        drain=_drain_row(instances, id, decision, now=now),
        lease_left_s=lease_left_s,
    )


def check_rows(instances: Instances, id: str, *, now: float) -> list[CheckRow]:
    """Return the checks of instance *id*, which must be registered; its lease is the last of them."""
    return [
        CheckRow(
            instance=id,
            id=row.check.id,
            kind=kind_of(row.check.target),
            health=row.verdict.health.name.lower(),
            output=row.output,
            since_s=round(now - row.since, 3),
            last_run_s=None if last_at is None else round(now - last_at, 3),
            next_run_s=None if due_at == math.inf else round(max(0.0, due_at - now), 3),
            took_s=None if row.took_s is None else round(row.took_s, 6),
            failures=row.verdict.failures,
            successes=row.verdict.successes,
            notes=row.check.notes,
        )
        for row, last_at, due_at in instances.monitor.rows(id)
    ]


def node_state_row(instances: Instances, *, now: float) -> NodeStateRow:
    mode, reason = instances.node_mode()
    drain = _drain_row(instances, None, instances.decisions.get(None), now=now)
    return NodeStateRow(mode=mode.name.lower(), reason=reason or None, drain=drain)


def drain_row(instances: Instances, subject: Subject, *, now: float) -> DrainRow:
    """Return how far the drain of *subject* has come; there must be one, of it or of its node."""
    decision = instances.decisions.get(subject if instances.drains(subject) else None)
    row = _drain_row(instances, subject, decision, now=now)
    assert row is not None, subject
    return row


def _drain_row(instances: Instances, subject: Subject, decision: Decision | None, *, now: float) -> DrainRow | None:
    if decision is None or decision.mode is not Mode.DRAINING:
        return None
    heard = instances.told(subject if instances.drains(subject) else None)
    remaining = _remaining(instances, subject)
    late = decision.deadline is not None and decision.deadline <= now
    return DrainRow(
        since_s=round(now - decision.since, 3),
        deadline_left_s=None if decision.deadline is None else round(max(0.0, decision.deadline - now), 3),
        heard=heard,
        remaining=remaining,
        done=heard and (late or remaining == 0),
    )


def _remaining(instances: Instances, subject: Subject) -> int | None:
    """Return the pieces of work left; of the node: in all its instances, None unless each has said."""
    if subject is not None:
        return instances.remaining.get(subject)
    ids = instances.registrations.ids()
    if any(id not in instances.remaining for id in ids):
        return None
    return min(INTEGER_MAX, sum(instances.remaining[id] for id in ids))  # what every encoding can carry
