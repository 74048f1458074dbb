"""The chain behind a belief (principle 3): for an instance its checks, what its owner said, who saw its node silent, the guard."""

from collections.abc import Sequence

from gossipd.core.membership.table import Row
from gossipd.errors import RequestError
from gossipd.node.journal import STATUS_WORDS, Note
from gossipd.node.machines import Machines
from gossipd.node.view import CheckRow, Evidence, EvidenceRow, InstanceRow, RegistrationRow
from gossipd.records import Status


def member_evidence(machines: Machines, row: Row, *, now: float) -> Evidence:
    """Return what is believed of a member, and every change of it that is remembered."""
    name = row.claim.member
    belief = f"{STATUS_WORDS[row.claim.status]} for {now - row.changed_at:.1f} s at {row.claim.address}"
    accusers = machines.table.suspicions.accusers(name)
    if accusers:
        belief += f", accused by {', '.join(accusers)}"
    history = _history(machines.journal.about(name), now=now)
    return Evidence(subject=name, kind="member", belief=belief, history=history)


def instance_evidence(
    machines: Machines,
    subject: str,
    rows: Sequence[InstanceRow],
    *,
    checks: Sequence[CheckRow],
    registration: RegistrationRow | None,
    now: float,
) -> Evidence:
    """Return the same of the instances *rows*, with what only their own node knows, if that is us.

    Of one that is gone it is what is remembered. Raises: RequestError("not_found") if that is nothing.
    """
    names = {f"{row.node}/{row.id}": row.node for row in rows}
    if not rows:
        names = {name: name.partition("/")[0] for name in machines.journal.instances_called(subject)}
    if not names:
        raise RequestError("not_found", f"subject={subject!r}, expected a member's name, an instance's id or node/id")
    notes: list[Note] = []
    for name, node in names.items():
        notes += machines.journal.about(name) + machines.journal.about(node)
    for service in sorted({row.service for row in rows}):
        notes += machines.journal.about_service(service)
    notes.sort(key=lambda note: note.at)
    return Evidence(
        subject=subject,
        kind="instance",
        belief="; ".join(_belief(machines, row) for row in rows) or f"{', '.join(names)} is in the catalog no more",
        history=_history(notes, now=now),
        checks=list(checks),
        registration=registration,
    )


def _belief(machines: Machines, row: InstanceRow) -> str:
    text = f"{row.service} at {row.address}:{row.port} on {row.node} is {row.status} (its node is {row.node_status})"
    if row.reason is not None:
        text += f", because: {row.reason}"
    if row.damped:
        text += ", held out because it changed too often"
    if row.degraded and machines.guard.isolated:
        text += ", degraded: this node is isolated and keeps what it knew"
    elif row.degraded:
        text += ", degraded: the collapse guard keeps it"
    elif row.node_status == STATUS_WORDS[Status.DEAD] and row.status != "unreachable":
        text += ", the verdict on its node is held while others are suspect"
    return text


def _history(notes: Sequence[Note], *, now: float) -> list[EvidenceRow]:
    return [
        EvidenceRow(
            ago_s=round(now - note.at, 3), what=note.what, accuser=note.accuser, source=note.source, how=note.how
        )
        for note in notes
    ]
