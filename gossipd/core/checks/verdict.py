"""What results mean: when a check changes its health, and how long until it is tried again. Pure functions.

The thresholds are Consul's. Departs: a failure never makes anything better (Consul shows a critical check with one success since as
a warning when it fails again), and a check that goes on failing is tried more and more rarely.
"""

from dataclasses import dataclass

from gossipd.checks import Check
from gossipd.records import Health

FIRST_PAUSE_S = 1.0
"""Pause after the first failure of a check that has never passed, doubled with each: who has just started is soon ready."""

_DOUBLINGS_MAX = 16
"""Past it every pause is at its most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a check stands: its *health*, and how many of its last results were *failures*, or *successes*, in a row."""

    health: Health
    failures: int = 0
    successes: int = 0


def judge(check: Check, before: Verdict, result: Health) -> Verdict:
    """Return how *check* stands after another *result*. WARNING is a success that says so; CRITICAL a failure."""
    if result is not Health.CRITICAL:
        successes = before.successes + 1
        health = result if successes >= check.success_before_passing else before.health
        return Verdict(health=health, successes=successes)
    failures = before.failures + 1
    health = before.health
    if failures >= check.failures_before_critical:
        health = Health.CRITICAL
    elif failures >= check.failures_before_warning:
        health = max(health, Health.WARNING)
    return Verdict(health=health, failures=failures)


def pause_s(check: Check, verdict: Verdict, *, has_passed: bool, backoff_most: float) -> float:
    """Return seconds from the start of the last try to the next.

    The interval; doubled with each failure after the one that made it critical, up to *backoff_most* intervals; and from
    FIRST_PAUSE_S up to the interval for a check that has never passed.
    """
    if verdict.failures and not has_passed:
        first_s = FIRST_PAUSE_S * 2.0 ** min(verdict.failures - 1, _DOUBLINGS_MAX)
        if first_s < check.interval_s:
            return first_s
    beyond = max(0, verdict.failures - check.failures_before_critical)
    return check.interval_s * min(2.0 ** min(beyond, _DOUBLINGS_MAX), backoff_most)
