"""Which instances of a service answer a question, and in which order. Pure: rows in, rows out.

The order is the same for everybody, the least grave first, then by node and id, so that equal questions have equal answers.
"""

from collections.abc import Sequence

from gossipd.api.requests import Resolve, Where
from gossipd.nearness import TIERS, Place, spill, tier
from gossipd.node.view import InstanceRow

STATUSES = {
    word: rank for rank, word in enumerate(("passing", "warning", "critical", "draining", "maintenance", "unreachable"))
}
"""Every status of an instance, with its gravity."""


def matching(rows: Sequence[InstanceRow], where: Where | None) -> list[InstanceRow]:
    """Return the *rows* that *where* describes, whatever their status; None: all."""
    if where is None:
        return list(rows)
    return [row for row in rows if _matches(row, where)]


def wanted(row: InstanceRow, status: Sequence[str] | None) -> bool:
    """Return whether *row* is of one of the *status* words; None: whether it is to get new work, or would if the guard's policy
    let it."""
    if status is not None:
        return row.status in status
    return row.ready or (row.degraded and row.status in ("passing", "warning"))


def choose(request: Resolve, known: Sequence[InstanceRow], *, here: Place) -> list[InstanceRow]:
    """Return what *request* asks for of the *known* instances, which match; *here*: where we are ourselves."""
    tiers = _tiers(known, here) if request.near else [list(known)]
    used = spill([(sum(row.ready for row in tier), len(tier)) for tier in tiers])
    status = None if request.where is None else request.where.status
    chosen = [row for tier in tiers[:used] for row in sorted(tier, key=_order) if wanted(row, status)]
    return chosen[: request.limit]


def _matches(row: InstanceRow, where: Where) -> bool:
    return (
        where.node in (None, row.node)
        and where.zone in (None, row.zone)
        and all(tag in row.tags for tag in where.tags)
        and all(row.metadata.get(key) == value for key, value in where.metadata)
    )


def _tiers(rows: Sequence[InstanceRow], here: Place) -> list[list[InstanceRow]]:
    """Return *rows* of our own zone, of the rest of our own region, and all others. Who does not say where it is, is far."""
    tiers: list[list[InstanceRow]] = [[] for _ in range(TIERS)]
    for row in rows:
        tiers[tier((row.zone, row.region), here=here)].append(row)
    return tiers


def _order(row: InstanceRow) -> tuple[int, str, str]:
    return (STATUSES.get(row.status, len(STATUSES)), row.node, row.id)
