"""API results as text for people: aligned tables, and a footer that says when an answer should not be trusted.

Pure functions from values to text. What other nodes wrote is escaped, so that no label or tag can move the cursor.
"""

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

STALE_AFTER_S = 60.0
"""Age of the stalest owner from which a footer says so: who is thought alive is vouched for every few probe periods."""

COLOURS = {
    **dict.fromkeys(("alive", "passing"), "green"),
    **dict.fromkeys(("suspect", "warning", "draining", "maintenance"), "yellow"),
    **dict.fromkeys(("failed", "unreachable", "critical"), "red"),
}
"""On a terminal only; whatever is not here keeps the terminal's colour."""


def to_json(value: object) -> str:
    """Return *value* on one line of JSON, other scripts than ASCII escaped."""
    return json.dumps(value, separators=(", ", ": "), sort_keys=False)


def clean(text: object) -> str:
    """Return *text* with everything that is not printable escaped as in Python: \\n, \\x1b, \\u202e."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def width(text: str) -> int:
    """Return the columns that *text* takes on a terminal: 2 for wide characters, 0 for combining ones."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def table(header: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = (), colour: bool) -> str:
    """Return aligned lines, never cut: *header* (if any) and *rows*, the columns named in *right* right-aligned.

    With *colour* the header is bold and a status has its colour; without, there is not one control code.
    """
    cells = [[clean(cell) for cell in row] for row in rows]
    lines = [list(header), *cells] if any(header) else cells
    if not lines:
        return ""
    widths = [max(width(line[column]) for line in lines) for column in range(len(lines[0]))]
    numeric = [name in right for name in header] if header else [False] * len(widths)
    text = []
    for number, line in enumerate(lines):
        is_header = number == 0 and any(header)
        parts = []
        for column, cell in enumerate(line):
            padding = " " * (widths[column] - width(cell))
            painted = _paint(cell, is_header=is_header) if colour else cell
            last = column == len(line) - 1
            parts.append(padding + painted if numeric[column] else painted + ("" if last else padding))
        text.append("  ".join(parts).rstrip())
    return "\n".join(text)


def _paint(cell: str, *, is_header: bool) -> str:
    codes = {"green": "32", "yellow": "33", "red": "31"}
    if is_header:
        return f"\x1b[1m{cell}\x1b[0m"
    return f"\x1b[{codes[COLOURS[cell]]}m{cell}\x1b[0m" if cell in COLOURS else cell


def span(seconds: float) -> str:
    """Return a duration with one or two units: 0.4s, 12s, 3m05s, 2h10m, 4d03h."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    for unit, below, small, size in (("m", 3_600, "s", 60), ("h", 86_400, "m", 3_600)):
        if whole < below:
            return f"{whole // size}{unit}{whole % size // (size // 60):02d}{small}"
    return f"{whole // 86_400}d{whole % 86_400 // 3_600:02d}h"


def pairs(mapping: Mapping[str, Any]) -> str:
    """Return k=v,k=v."""
    return ",".join(f"{key}={value}" for key, value in mapping.items())


def hostport(row: Row) -> str:
    """Return the instance's address:port, IPv6 in brackets."""
    address = str(row["address"])
    return f"[{address}]:{row['port']}" if ":" in address else f"{address}:{row['port']}"


def members(rows: Sequence[Row], *, colour: bool) -> str:
    """Return the member table."""
    lines = [
        (
            f"{row['name']}{' (me)' if row['me'] else ''}",
            row["status"],
            row["address"],
            f"{row['epoch']}.{row['counter']}",
            span(row["since_s"]),
            span(row["vouched_s"]),
            "-" if row["rtt_ms"] is None else f"{row['rtt_ms']:.1f}ms",
            row["services"],
            pairs(row["labels"]) or "-",
        )
        for row in rows
    ]
    header = ("NAME", "STATUS", "ADDRESS", "INCARNATION", "SINCE", "HEARD", "RTT", "SERVICES", "LABELS")
    return table(header, lines, right=("SINCE", "HEARD", "RTT", "SERVICES"), colour=colour)


def services(rows: Sequence[Row], *, colour: bool) -> str:
    """Return the table of services."""
    if not rows:
        return "no services"
    lines = [
        (row["name"], row["ready"], row["instances"], row["degraded"], row["nodes"], ",".join(row["tags"]) or "-")
        for row in rows
    ]
    header = ("SERVICE", "READY", "INSTANCES", "DEGRADED", "NODES", "TAGS")
    return table(header, lines, right=("READY", "INSTANCES", "DEGRADED", "NODES"), colour=colour)


def instances(rows: Sequence[Row], *, colour: bool) -> str:
    """Return one line an instance, address:port first, without a header: for people and for `while read`."""
    lines = [
        (hostport(row), row["node"], row["id"], row["status"], row["protocol"], ",".join(row["tags"]) or "-")
        for row in rows
    ]
    return table((), lines, colour=colour)


def facts(values: Mapping[str, Any]) -> str:
    """Return one aligned line a field, as `gossipd info` and `gossipd statistics` print; a map's fields as key.name."""
    return table((), _facts("", values), colour=False)


def _facts(prefix: str, values: Mapping[str, Any]) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines += _facts(f"{prefix}{key}.", value) or [(f"{prefix}{key}", "-")]
        else:
            lines.append((f"{prefix}{key}", shown(value)))
    return lines


def shown(value: object) -> str:
    """Return *value* for people: yes and no, a list with commas, - for nothing."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(str(part) for part in value) or "-"
    return "-" if value is None or value == "" else str(value)


def evidence(value: Row, *, colour: bool) -> str:
    """Return what is believed of a subject, and the chain behind it: how it came to be believed, newest last, then what only
    its own node knows."""
    parts = [f"{value['kind']} {clean(value['subject'])}: {clean(value['belief'])}"]
    lines = [
        (f"{span(row['ago_s'])} ago", row["what"], row["how"], row["accuser"] or "-", row["source"] or "-")
        for row in value["history"]
    ]
    if lines:
        header = ("WHEN", "WHAT", "HOW", "ACCUSER", "SOURCE")
        parts.append(table(header, lines, right=("WHEN",), colour=colour))
    else:
        parts.append("no change of belief is remembered")
    held = value.get("registration")
    if held is not None:
        parts.append(_holding(held))
    if value.get("checks"):
        parts.append(checks(value["checks"], colour=colour))
    return "\n".join(parts)


def _holding(row: Row) -> str:
    """Return who holds an instance, and what holds it out, in a sentence."""
    text = f"held by: {row['holder']}"
    if row["lease_left_s"] is not None:
        text += f", to be renewed within {span(row['lease_left_s'])}"
    if row["mode"] != "normal":
        text += f"; {row['mode']}" + (f", because: {clean(row['reason'])}" if row["reason"] else "")
    if row["drain"] is not None:
        text += f", {drained(row['drain'])}"
    if row["penalty"] >= 1:
        text += f"; penalty {row['penalty']:.0f} for its changes"
    return text + ("; held out until it has been quiet (gossipd undamp lets it in)" if row["damped"] else "")


def registrations(answer: Row, *, colour: bool) -> str:
    """Return the table of this node's own instances, and below it what was decided about the node."""
    lines = [
        (
            row["id"],
            row["service"],
            row["holder"],
            row["health"],
            row["checks"],
            "damped" if row["damped"] else row["mode"],
            f"{row['penalty']:.0f}",
            "-" if row["lease_left_s"] is None else span(row["lease_left_s"]),
            drained(row["drain"]) if row["drain"] is not None else row["reason"] or "-",
        )
        for row in answer["registrations"]
    ]
    header = ("ID", "SERVICE", "HELD BY", "HEALTH", "CHECKS", "MODE", "PENALTY", "LEASE", "NOTE")
    text = table(header, lines, right=("CHECKS", "PENALTY", "LEASE"), colour=colour) if lines else "no instances"
    node = answer["node"]
    if node["mode"] == "normal":
        return text
    why = f": {clean(node['reason'])}" if node["reason"] else ""
    progress = f" ({drained(node['drain'])})" if node["drain"] is not None else ""
    return f"{text}\nthe node itself: {node['mode']}{why}{progress}"


def checks(rows: Sequence[Row], *, colour: bool) -> str:
    """Return the table of checks, the first line of each output at its end."""
    if not rows:
        return "no checks"
    lines = [
        (
            row["instance"],
            row["id"],
            row["kind"],
            row["health"],
            span(row["since_s"]),
            "-" if row["last_run_s"] is None else span(row["last_run_s"]),
            "-" if row["next_run_s"] is None else span(row["next_run_s"]),
            "-" if row["took_s"] is None else f"{1_000 * row['took_s']:.1f}ms",
            row["failures"],
            _first_line(row["output"]),
        )
        for row in rows
    ]
    header = ("INSTANCE", "CHECK", "KIND", "HEALTH", "SINCE", "LAST", "NEXT", "TOOK", "FAILURES", "OUTPUT")
    return table(header, lines, right=("SINCE", "LAST", "NEXT", "TOOK", "FAILURES"), colour=colour)


def _first_line(output: str) -> str:
    first, *rest = output.strip().splitlines() or ["-"]
    return f"{first} ..." if rest else first


def drain(row: Row, *, of: str) -> str:
    """Return how far the drain *of* something has come."""
    return f"{clean(of)}: {drained(row)}"


def drained(row: Row) -> str:
    """Return the same without the subject."""
    if row["done"]:
        return "drained"
    parts = [f"draining for {span(row['since_s'])}"]
    if row["deadline_left_s"] is not None:
        parts.append(f"{span(row['deadline_left_s'])} left")
    if row["remaining"] is not None:
        parts.append(f"{row['remaining']} remaining")
    return ", ".join(parts if row["heard"] else [*parts, "not heard by all yet"])


def footer(view: Row | None) -> str | None:
    """Return the line that warns of an isolated node, of one that has just started, or of an owner long unheard; else None.

    A node that knows nobody but itself may be all there is.
    """
    if view is None:
        return None
    alive = f"{view['members_alive']} of {view['members_known']} known members alive"
    age = view["stalest_owner_age_s"]
    if view["isolated"]:
        return f"! isolated: this node hears nobody; the answer is its last knowledge, up to {span(age)} old ({alive})"
    if not view["met"] and view["members_known"] > 1:
        return f"! just started: this node has not met all its peers yet, whose instances may be missing ({alive})"
    if age >= STALE_AFTER_S:
        return f"! stale: part of this answer was last vouched for {span(age)} ago ({alive})"
    return None


HOLDERS = {
    "kept": "kept by the daemon",
    "connection": "held while this command runs",
    "lease": "held while its lease is renewed",
    "pid": "held while its process lives",
}


def registration(row: Row, *, port: int) -> str:
    """Return one sentence about what was registered, and for how long."""
    return f"registered {clean(row['service'])} as {clean(row['id'])} on port {port}, {HOLDERS[row['holder']]}"


def joined(results: Mapping[str, str | None]) -> str:
    """Return one line an address that was tried."""
    lines = [(address, "joined" if error is None else "failed", error or "") for address, error in results.items()]
    return table((), lines, colour=False)
