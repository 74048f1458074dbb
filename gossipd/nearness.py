"""Which instances are near, and when those further away must help: one rule for `resolve` and for the client's balancers.

Pure arithmetic on counts. Instances stand in three tiers: our own zone, the rest of our own region, all others.
Source: Envoy, "Priority levels" and "Locality weighted load balancing".
"""

from collections.abc import Sequence

OVERPROVISIONED = 1.4
"""How many times its load the ready part of a tier is trusted with: Envoy's overprovisioning factor, 140 %."""

TIERS = 3
"""Own zone, own region, elsewhere."""

Place = tuple[str | None, str | None]
"""Zone and region; None: not said."""


def tier(there: Place, *, here: Place) -> int:
    """Return 0 for our own zone, 1 for the rest of our own region, else 2. Who does not say where it is, is far."""
    zone, region = here
    same_region = there[1] == region
    if zone and there[0] == zone and same_region:
        return 0
    return 1 if region and same_region else 2


def spill(tiers: Sequence[tuple[int, int]]) -> int:
    """Return how many of *tiers*, nearest first, each so many ready of so many known, it takes to carry the load.

    One more is taken while OVERPROVISIONED x ready / known of those so far is below 1: while fewer than five in seven are ready.
    Departs: Envoy sends each level its share of the load, see `shares`; a list has no shares, so a tier is in it or not, and
    ratios are taken of all tiers so far together.
    """
    ready = known = 0
    for number, (more_ready, more_known) in enumerate(tiers, start=1):
        ready, known = ready + more_ready, known + more_known
        if known and OVERPROVISIONED * ready >= known:
            return number
    return len(tiers)


def shares(tiers: Sequence[tuple[int, int]]) -> list[float]:
    """Return the part of the load, 0 to 1, that each of *tiers* gets, nearest first, each so many ready of so many known.

    A tier takes what is left, up to OVERPROVISIONED x ready / known of the whole; where all together take less than the whole,
    each takes as many times more. The sum is 1, or 0 if nobody is ready. None beyond the first `spill(tiers)` gets any: if
    five in seven of several tiers are ready, then so they are in one of these, which takes all that is left.
    """
    able = [_able(ready, known) for ready, known in tiers]
    scale = max(1.0, 1.0 / sum(able)) if any(able) else 0.0
    left, given = 1.0, []
    for part in able:
        given.append(min(left, part * scale))
        left -= given[-1]
    return given


def _able(ready: int, known: int) -> float:
    """Return what part of the whole load a tier may be given."""
    if not known:
        return 0.0
    return 1.0 if OVERPROVISIONED * ready >= known else OVERPROVISIONED * ready / known
