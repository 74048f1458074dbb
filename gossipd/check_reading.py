"""Checks as people write them, in JSON, TOML or a few characters on a command line, and back.

A check is a map with Consul's words; the one key of `ttl`, `tcp`, `http`, `grpc`, `script`, `unix`, `alias` says its kind. In
short it is `KIND:TARGET@INTERVAL`. Nothing is guessed or ignored: what is not exactly right is refused with its field, its
value and what was expected.
"""

import re
import shlex
from dataclasses import replace
from difflib import get_close_matches

from gossipd import check_targets, limits
from gossipd.check_targets import Given, read_target, target_as_map
from gossipd.checks import CHECK_KINDS, Check, Target, Ttl
from gossipd.durations import parse_duration
from gossipd.records import Health
from gossipd.validation import check_text, shown

HEALTHS = {health.name.lower(): health for health in Health}
"""Health by its word: passing, warning, critical."""

_STREAKS = ("success_before_passing", "failures_before_warning", "failures_before_critical")
_OF_ALL = ("id", "notes", "deregister_critical_after")
_OF_RESULTS = (*_OF_ALL, "initial", "output_bytes_max")
_OF_TRIES = (*_OF_RESULTS, "interval", "timeout", "gate", *_STREAKS)
_SHARED = dict.fromkeys(CHECK_KINDS, _OF_TRIES) | {"ttl": _OF_RESULTS, "alias": _OF_ALL}

KEYS = {kind: (*_SHARED[kind], *check_targets.KEYS.get(kind, ())) for kind in CHECK_KINDS}
"""By kind, the keys beside the kind's own."""

_ALL_KEYS = tuple(dict.fromkeys([*CHECK_KINDS, *(key for keys in KEYS.values() for key in keys)]))
_DEFAULT = Check(id="", target=Ttl(ttl_s=1.0))
_LIKE_AN_INTERVAL = re.compile(r"[-+]?[0-9.]+[a-z]*")


def read_checks(values: object, *, field: str = "checks") -> tuple[Check, ...]:
    """Return the checks in *values*, a list of maps or of short forms, each with its id.

    A check without id is called by its kind: "http", the second "http-2". Raises: ValueError for the first mistake,
    "checks[0].interval=-1, expected 0.1 to 86400 seconds".
    """
    most = limits.CHECKS_PER_INSTANCE_MAX
    if not isinstance(values, list | tuple):
        raise ValueError(f"{field}={shown(values)}, expected a list of checks")
    if len(values) > most:
        raise ValueError(f"{field}: {len(values)} checks, expected at most {most}")
    checks: dict[str, Check] = {}
    of_kind = dict.fromkeys(CHECK_KINDS, 0)
    for at, value in enumerate(values):
        where = f"{field}[{at}]"
        check = _check(_as_map(where, value), where)
        kind = kind_of(check.target)
        of_kind[kind] += 1
        if not check.id:
            check = replace(check, id=kind if of_kind[kind] == 1 else f"{kind}-{of_kind[kind]}")
        if check.id in checks:
            raise ValueError(f"{where}.id={shown(check.id)}, expected each id once")
        checks[check.id] = check
    for at, check in enumerate(checks.values()):
        _expect_gate(f"{field}[{at}].gate", check, checks)
    return tuple(checks.values())


def parse_check(text: str, *, field: str = "check") -> Check:
    """Return the check that *text* means in short: "http:/health", "http:/health@5s", "tcp:8080", "tcp", "ttl:30s".

    `KIND:TARGET@INTERVAL`: the target as in the long form, a script's split into words as a shell does, without a target the
    instance's own address; the interval may be left out. Its id is its kind. Raises: ValueError.
    """
    return read_checks([text], field=field)[0]


def check_as_map(check: Check) -> dict[str, object]:
    """Return *check* as the map that `read_checks` reads as the same: its kind first, defaults left out."""
    values = {**target_as_map(check.target), "id": check.id}
    usual = replace(
        _DEFAULT,
        timeout_s=min(_DEFAULT.timeout_s, check.interval_s),
        failures_before_warning=check.failures_before_critical,
    )
    for name in (
        *_STREAKS,
        "interval_s",
        "timeout_s",
        "deregister_critical_after_s",
        "gate",
        "output_bytes_max",
        "notes",
    ):
        if getattr(check, name) != getattr(usual, name):
            values[name.removesuffix("_s")] = getattr(check, name)
    if check.initial is not usual.initial:
        values["initial"] = check.initial.name.lower()
    return values


def kind_of(target: Target) -> str:
    """Return the word for the kind of *target*."""
    return type(target).__name__.lower()


def _as_map(where: str, value: object) -> dict[str, object]:
    """Return *value*, or what it is short for, as a map with exactly one kind and that kind's keys."""
    if isinstance(value, str):
        value = _long_form(where, value)
    if type(value) is not dict:
        raise ValueError(f"{where}={shown(value)}, expected a map, or text such as 'http:/health@5s'")
    kinds = [kind for kind in CHECK_KINDS if kind in value]
    for key in value:
        if key not in _ALL_KEYS:
            near = get_close_matches(key[: limits.LABELS_MAX], _ALL_KEYS, n=1) if isinstance(key, str) else []
            expected = near[0] if near else f"one of {', '.join(KEYS[kinds[0]] if kinds else CHECK_KINDS)}"
            raise ValueError(f"{where}: unknown key {shown(key)}, expected {expected}")
    if len(kinds) != 1:
        given = " and ".join(kinds) or "none"
        raise ValueError(f"{where}: {given} given, expected exactly one of {', '.join(CHECK_KINDS)}")
    for key in value:
        if key != kinds[0] and key not in KEYS[kinds[0]]:
            takers = [kind for kind in CHECK_KINDS if key in KEYS[kind]]
            raise ValueError(f"{where}.{key}={shown(value[key])}, expected only beside {', '.join(takers)}")
    return value


def _long_form(where: str, text: str) -> dict[str, object]:
    """Return the map that *text* is short for."""
    check_text(where, text, bytes_max=limits.CHECK_TARGET_BYTES_MAX)
    body, found, interval = text.rpartition("@")
    timing: dict[str, object] = {"interval": interval}
    if not found or parse_duration(interval) is None:
        if found and _LIKE_AN_INTERVAL.fullmatch(interval):  # a mistake, not the end of a path
            raise ValueError(f"{where}={shown(text)}, expected an interval such as '5s' after the '@'")
        body, timing = text, {}
    kind, _, target = body.partition(":")
    if kind in ("http", "https") and target:  # the text is the URL
        return {"http": body, **timing}
    if kind not in CHECK_KINDS:
        expected = f"one of {', '.join(CHECK_KINDS)}, then ':' and the target"
        raise ValueError(f"{where}={shown(text)}, expected {expected}")
    if kind != "script":
        return {kind: target or True, **timing}
    try:
        return {kind: shlex.split(target), **timing}
    except ValueError as error:
        raise ValueError(f"{where}={shown(text)}, expected words as a shell reads them: {error}") from None


def _check(values: dict[str, object], where: str) -> Check:
    """Return the check in *values*, which has one kind and only that kind's keys; its id is empty if it has none."""
    given = Given(values, where)
    target = read_target(next(kind for kind in CHECK_KINDS if kind in values), given)
    least, most = limits.CHECK_INTERVAL_S_MIN, limits.CHECK_INTERVAL_S_MAX
    interval_s = given.seconds("interval", least, most, default=_DEFAULT.interval_s)
    usual_s = min(_DEFAULT.timeout_s, interval_s)
    timeout_s = given.seconds("timeout", limits.CHECK_TIMEOUT_S_MIN, most, default=usual_s)
    if timeout_s > interval_s:
        raise given.wrong("timeout", f"at most the interval, {interval_s:.12g} seconds")
    successes, warning, critical = (given.integer(key, 1, limits.CHECK_STREAK_MAX, default=1) for key in _STREAKS)
    if _STREAKS[1] not in values:
        warning = critical
    if warning > critical:
        raise given.wrong(_STREAKS[1], f"at most {_STREAKS[2]}, {critical}")
    gone_s = None
    if "deregister_critical_after" in values:
        gone_s = given.seconds("deregister_critical_after", least, limits.CHECK_DEREGISTER_S_MAX)
    initial = values.get("initial", "critical")
    if not isinstance(initial, str) or initial not in HEALTHS:
        raise given.wrong("initial", ", ".join(HEALTHS))
    return Check(
        id=given.optional("id", limits.SERVICE_ID_BYTES_MAX) or "",
        target=target,
        interval_s=interval_s,
        timeout_s=timeout_s,
        success_before_passing=successes,
        failures_before_warning=warning,
        failures_before_critical=critical,
        deregister_critical_after_s=gone_s,
        initial=HEALTHS[initial],
        gate=given.optional("gate", limits.SERVICE_ID_BYTES_MAX),
        output_bytes_max=given.integer(
            "output_bytes_max", 1, limits.CHECK_OUTPUT_BYTES_MAX, default=_DEFAULT.output_bytes_max
        ),
        notes=given.text("notes", limits.LABEL_VALUE_BYTES_MAX),
    )


def _expect_gate(field: str, check: Check, checks: dict[str, Check]) -> None:
    """Refuse a gate that is no check, or that in the end waits for *check* itself."""
    passed = {check.id}
    gate = check.gate
    while gate is not None and gate not in passed:
        if gate not in checks:
            raise ValueError(f"{field}={shown(gate)}, expected the id of another check of the same instance")
        passed.add(gate)
        gate = checks[gate].gate
    if gate is not None:
        raise ValueError(f"{field}={shown(check.gate)}, expected a check that does not wait for this one")
