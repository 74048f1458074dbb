"""Why instances are not ready: a sentence for each, for who waited for them in vain. Reads only the View."""

from collections.abc import Sequence

from gossipd.api.choosing import matching
from gossipd.api.requests import Wait
from gossipd.errors import RequestError
from gossipd.node.view import CheckRow, InstanceRow, View

MISSING_MAX = 64
"""Sentences in one answer; more are counted."""

OUTPUT_CHARACTERS_MAX = 200
"""How much of the first line that a check said is repeated."""


def timed_out(view: View, request: Wait, unmet: RequestError | None, *, now: float) -> RequestError:
    """Return what to answer to *request* when its time is over. *unmet*: why what is ready is not good enough, if anything is."""
    service, where = request.resolve.service, request.resolve.where
    known = matching(view.instances(service=service, now=now), where)
    ready = sum(row.ready for row in known)
    missing = _missing(view, [row for row in known if not row.ready], now=now)
    if len(known) < request.ready:
        such = service if where is None else f"{service} that matches"
        count = f"{len(known)} instance{'' if len(known) == 1 else 's'}" if known else "no instance"
        missing.insert(0, f"{count} of {such} {'is' if len(known) < 2 else 'are'} known")
    if unmet is not None:
        missing.insert(0, f"{unmet.code}: {unmet}")
    message = f"{ready} of {request.ready} instances of {service} are ready after {request.timeout_s:g} s: {missing[0]}"
    return RequestError("timeout", message, details={"ready": ready, "missing": missing})


def _missing(view: View, rows: Sequence[InstanceRow], *, now: float) -> list[str]:
    """Return a sentence for each of *rows*."""
    me = view.info(now=now).name
    own = {row.id for row in view.registrations(now=now)} if any(row.node == me for row in rows) else set()
    sentences = []
    for row in rows[:MISSING_MAX]:
        checks = view.checks(row.id, now=now) if row.node == me and row.id in own else []
        sentences.append(f"{row.id} on {row.node} is {_why(row, checks)}")
    if len(rows) > MISSING_MAX:
        sentences.append(f"{len(rows) - MISSING_MAX} more are not ready")
    return sentences


def _why(row: InstanceRow, checks: Sequence[CheckRow]) -> str:
    """Return the status of *row*, and as much as is known of its cause."""
    if row.status == "unreachable":
        return f"unreachable: its node is {row.node_status}"
    if row.damped:
        return "held out: it changed too often"
    if row.degraded and not row.ready:
        return f"{row.status}, but its node may be gone and guard.policy is 'refuse'"
    if row.status != "critical":
        return f"{row.status}: {row.reason}" if row.reason else row.status
    failing = [check for check in checks if check.health == "critical"]
    if not failing:
        return "critical: its node knows why" if not checks else "critical"
    told = [f"check {check.id} {_said(check)}" for check in failing]
    return f"critical: {'; '.join(told)}"


def _said(check: CheckRow) -> str:
    line = check.output.strip().partition("\n")[0].strip()
    if line:
        return f"says {line[:OUTPUT_CHARACTERS_MAX]!r}"
    return "has said nothing yet" if check.last_run_s is None else "failed"
