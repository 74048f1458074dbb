"""What `gossipd top` shows: a picture as lines of a terminal, as many as it has. Pure; rich does the drawing."""

import time
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gossipd.cli import render
from gossipd.cli.picture import Change, MemberLine, Picture, ServiceLine

FIXED_LINES = 5
"""A heading, the headers of three parts, and the line of keys."""


def screen(
    picture: Picture,
    *,
    lines: int,
    now: float,
    wall: float,
    paused: bool = False,
    wanted: str = "",
    typing: bool = False,
) -> RenderableType:
    """Return *picture* in *lines* lines. *now*: its clock; *wall*: the same moment as the world tells it.

    *wanted*: only what has this text; *typing*: it is being typed.
    """
    services = [line for line in picture.services() if wanted in line.name]
    members = [line for line in picture.members() if wanted in f"{line.name} {line.status} {line.labels}"]
    changes = [change for change in picture.changes if wanted in change.text]
    banner = _banner(picture, now=now)
    room = max(0, lines - FIXED_LINES - len(banner))
    shown = shares(room, [len(services), len(members), len(changes)])
    return Group(
        _heading(picture, wall=wall, paused=paused),
        *banner,
        _services(services, shown[0]),
        _members(members, shown[1], now=now),
        _changes(changes[len(changes) - shown[2] :], behind=wall - now),
        _keys(wanted=wanted, typing=typing),
    )


def shares(room: int, wants: Sequence[int]) -> list[int]:
    """Return how many of *room* lines each part gets: what it wants, or an equal part of what the others leave."""
    given = [0] * len(wants)
    left = room
    while left > 0:
        hungry = [at for at, want in enumerate(wants) if given[at] < want]
        if not hungry:
            break
        each = max(1, left // len(hungry))
        for at in hungry:
            part = min(each, wants[at] - given[at], left)
            given[at] += part
            left -= part
    return given


def _heading(picture: Picture, *, wall: float, paused: bool) -> Text:
    counts: dict[str, int] = {}
    for line in picture.members():
        counts[line.status] = counts.get(line.status, 0) + 1
    told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    text = Text(
        f"gossipd on {render.clean(picture.me)}  {time.strftime('%H:%M:%S', time.localtime(wall))}  members: {told}",
        style="bold",
    )
    if paused:
        text.append("  PAUSED", style="bold yellow")
    return _line(text)


def _banner(picture: Picture, *, now: float) -> list[Text]:
    lines = []
    if picture.lost is not None:
        ago = render.span(now - picture.lost.at)
        why = render.clean(picture.lost.text)
        lines.append(
            _line(Text(f"no daemon for {ago}, trying again; this was so before: {why}", style="bold reverse red"))
        )
    if picture.isolated:
        text = "isolated: this node hears nobody; this is its last knowledge, and nothing of it is dropped"
        lines.append(_line(Text(text, style="bold reverse red")))
    return lines


def _part(*columns: str) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, header_style="bold underline")
    for name in columns:
        table.add_column(name, no_wrap=True, overflow="ellipsis", justify="right" if name in RIGHT else "left")
    return table


RIGHT = ("READY", "KNOWN", "DEGRADED", "FOR")


def _services(lines: Sequence[ServiceLine], most: int) -> Table:
    table = _part(_title("SERVICES", len(lines), most), "READY", "KNOWN", "DEGRADED", "NOT READY")
    for line in lines[:most]:
        colour = "red" if not line.ready else "yellow" if line.troubled else "green"
        others = ", ".join(f"{count} {status}" for status, count in line.others.items())
        cells = [line.name, str(line.ready), str(line.known), str(line.degraded or ""), others]
        table.add_row(*[Text(render.clean(cell), style=colour if at == 1 else "") for at, cell in enumerate(cells)])
    return table


def _members(lines: Sequence[MemberLine], most: int, *, now: float) -> Table:
    table = _part(_title("MEMBERS", len(lines), most), "STATUS", "FOR", "ADDRESS", "LABELS")
    for line in lines[:most]:
        name = f"{line.name} (me)" if line.me else line.name
        cells = [name, line.status, render.span(now - line.since), line.address, line.labels]
        colour = render.COLOURS.get(line.status, "")
        table.add_row(*[Text(render.clean(cell), style=colour if at == 1 else "") for at, cell in enumerate(cells)])
    return table


def _changes(changes: Sequence[Change], *, behind: float) -> Table:
    table = _part("CHANGES")
    for change in changes:
        text = Text(time.strftime("%H:%M:%S  ", time.localtime(change.at + behind)), style="dim")
        text.append(render.clean(change.text), style=render.COLOURS.get(change.status, ""))
        table.add_row(text)
    return table


def _keys(*, wanted: str, typing: bool) -> Text:
    if typing:
        return _line(Text(f"filter: {render.clean(wanted)}_   (Enter: done, Esc: none)", style="reverse"))
    told = f"   filter: {render.clean(wanted)}" if wanted else ""
    return _line(Text(f"q quit   p pause   / filter{told}", style="dim"))


def _title(name: str, count: int, shown: int) -> str:
    return name if shown >= count else f"{name} ({shown} of {count})"


def _line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
