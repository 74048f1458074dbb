"""Which instances of a service answer a question, and in which order. Pure: rows in, rows out.

The order is the same for everybody, the least grave first, then by node and id, so that equal questions have equal answers.
"""

from collections.abc import Sequence

from gossipd.api.requests import Resolve, Where
from gossipd.node.view import InstanceRow

STATUSES = {
    word: rank for rank, word in enumerate(("passing", "warning", "critical", "draining", "maintenance", "unreachable"))
}
"""Every status of an instance, with its gravity."""

OVERPROVISIONED = 1.4
"""How many times its load the ready part of a tier is trusted with: Envoy's overprovisioning factor, 140 %."""

Place = tuple[str | None, str | None]
"""Zone and region; None: not said."""


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


def spill(tiers: Sequence[tuple[int, int]]) -> int:
    """Return how many of *tiers*, nearest first, each so many ready of so many known, it takes to carry the load.

    One more is taken while OVERPROVISIONED x ready / known of those so far is below 1: while fewer than five in seven are ready.
    Source: Envoy, "Locality weighted load balancing" and "Priority levels". Departs: Envoy sends each level its share of the
    load; a list has no shares, so a tier is in it or not, and ratios are taken of all tiers so far together.
    """
    ready = known = 0
    for number, (more_ready, more_known) in enumerate(tiers, start=1):
        ready, known = ready + more_ready, known + more_known
        if known and OVERPROVISIONED * ready >= known:
            return number
    return len(tiers)


def _matches(row: InstanceRow, where: Where) -> bool:
    return (
        where.node in (None, row.node)
        and where.zone in (None, row.zone)
        and all(tag in row.tags for tag in where.tags)
        and all(row.metadata.get(key) == value for key, value in where.metadata)
    )


def _tiers(rows: Sequence[InstanceRow], here: Place) -> list[list[InstanceRow]]:
    """Return *rows* of our own zone, of the rest of our own region, and all others. Who does not say where it is, is far."""
    zone, region = here
    tiers: list[list[InstanceRow]] = [[], [], []]
    for row in rows:
        same_region = row.region == region
        tiers[0 if zone and row.zone == zone and same_region else 1 if region and same_region else 2].append(row)
    return tiers


def _order(row: InstanceRow) -> tuple[int, str, str]:
    return (STATUSES.get(row.status, len(STATUSES)), row.node, row.id)
