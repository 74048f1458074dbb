"""What `gossipd top` makes of a watch, and how it is laid out on a screen of any size."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from gossipd.cli.picture import Picture
from gossipd.cli.screen import screen, shares
from tests.cli.builders import ISOLATED, WELL, a_member, an_instance

CRITICAL = {"status": "critical", "ready": False, "serving": False}


def a_snapshot(*instances: dict[str, Any], members: tuple[dict[str, Any], ...] = (), **changes: Any) -> dict[str, Any]:
    shown = members or (a_member("n1", me=True), a_member("n2"))
    return {
        "type": "snapshot",
        "instances": list(instances),
        "members": list(shown),
        "index": 1,
        "view": WELL,
    } | changes


def a_picture(*instances: dict[str, Any]) -> Picture:
    picture = Picture()
    picture.apply(a_snapshot(*instances), at=0.0)
    return picture


def told(picture: Picture) -> list[tuple[str, str]]:
    return [(change.text, change.status) for change in picture.changes]


def drawn(picture: Picture, *, lines: int = 30, columns: int = 80, **how: Any) -> list[str]:
    out = StringIO()
    console = Console(file=out, width=columns, height=lines, color_system=None)
    console.print(screen(picture, lines=lines, now=10.0, wall=0.0, **how))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_the_first_snapshot_is_no_change_and_what_is_amiss_comes_first() -> None:
    picture = a_picture(an_instance("n1"), an_instance("n2", **CRITICAL), an_instance("n2", id="db", service="db"))
    assert told(picture) == []
    assert [(line.name, line.ready, line.known, line.others) for line in picture.services()] == [
        ("web", 1, 2, {"critical": 1}),
        ("db", 1, 1, {}),
    ]
    picture.apply(
        {"type": "member", "member": a_member("n2", status="failed"), "before": "suspect", "after": "failed"}, at=1.0
    )
    assert [(line.name, line.status) for line in picture.members()] == [("n2", "failed"), ("n1", "alive")]


@pytest.mark.parametrize(
    ("event", "text", "status"),
    [
        ({"type": "up", "instance": an_instance("n2")}, "web: web-n2 on n2 is up, passing", "passing"),
        ({"type": "down", "instance": an_instance("n1")}, "web: web-n1 on n1 is gone, was passing", "failed"),
        (
            {"type": "changed", "instance": an_instance("n1", **CRITICAL)},
            "web: web-n1 on n1 passing -> critical",
            "critical",
        ),
        (
            {"type": "changed", "instance": an_instance("n1", status="draining", ready=False, reason="reboot")},
            "web: web-n1 on n1 passing -> draining (reboot)",
            "draining",
        ),
        (
            {"type": "changed", "instance": an_instance("n1", degraded=True)},
            "web: web-n1 on n1 is degraded: its node may be gone",
            "passing",
        ),
        ({"type": "changed", "instance": an_instance("n1", port=81)}, "web: web-n1 on n1 has changed", "passing"),
        (
            {"type": "member", "member": a_member("n2", status="suspect"), "before": "alive", "after": "suspect"},
            "member n2 alive -> suspect",
            "suspect",
        ),
        (
            {"type": "member", "member": a_member("n2"), "before": "left", "after": None},
            "member n2 left -> forgotten",
            "",
        ),
        ({"type": "view", "view": ISOLATED}, "this node is isolated: it hears nobody", "failed"),
        ({"type": "resync"}, "this reader fell behind; what is there now follows", ""),
    ],
)
def test_a_change_is_told_in_a_sentence(event: dict[str, Any], text: str, status: str) -> None:
    picture = a_picture(an_instance("n1"))
    picture.apply(event, at=1.0)
    assert told(picture) == [(text, status)]


def test_a_later_snapshot_tells_what_happened_unheard() -> None:
    picture = a_picture(an_instance("n1"), an_instance("n2"))
    picture.lose("it has stopped", at=1.0)
    picture.lose("nobody answers", at=2.0)
    members = (a_member("n1", me=True), a_member("n2", status="failed"))
    picture.apply(a_snapshot(an_instance("n2", **CRITICAL), an_instance("n3"), members=members), at=3.0)
    assert [text for text, _ in told(picture)] == [
        "this node's daemon is lost: it has stopped",
        "web: web-n2 on n2 passing -> critical",
        "web: web-n3 on n3 is up, passing",
        "web: web-n1 on n1 is gone, was passing",
        "member n2 alive -> failed",
        "this node's daemon is back",
    ]
    assert picture.lost is None


@pytest.mark.parametrize(
    ("room", "wants", "given"),
    [
        (10, [2, 2, 2], [2, 2, 2]),
        (9, [20, 20, 20], [3, 3, 3]),
        (10, [1, 20, 20], [1, 5, 4]),
        (10, [20, 0, 3], [7, 0, 3]),
        (1, [5, 5, 5], [1, 0, 0]),
        (0, [5, 5, 5], [0, 0, 0]),
    ],
)
def test_lines_are_shared_by_who_wants_them(room: int, wants: list[int], given: list[int]) -> None:
    assert shares(room, wants) == given


@pytest.mark.parametrize(("lines", "columns"), [(30, 80), (12, 40), (5, 20), (100, 300)])
def test_it_fills_no_more_than_the_screen(lines: int, columns: int) -> None:
    picture = a_picture(*(an_instance(f"n{n}", id=f"i{n}", service=f"s{n}") for n in range(50)))
    for n in range(60):
        picture.apply({"type": "up", "instance": an_instance("n9", id=f"up{n}")}, at=5.0)
    shown = drawn(picture, lines=lines, columns=columns)
    assert len(shown) <= lines
    assert max(map(len, shown)) <= columns
    assert shown[-1].startswith("q quit")
    if lines == 30:
        assert "SERVICES (12 of 51)" in "\n".join(shown)
        assert "web: up59 on n9 is up, passing" in shown[-2]


def test_banners_say_that_it_should_be_trusted_less() -> None:
    picture = a_picture(an_instance("n1"))
    picture.apply({"type": "view", "view": ISOLATED}, at=1.0)
    picture.lose("it has stopped", at=4.0)
    shown = drawn(picture, columns=120)
    assert shown[1] == "no daemon for 6.0s, trying again; this was so before: it has stopped"
    assert shown[2].startswith("isolated: this node hears nobody")


def test_a_filter_leaves_out_what_does_not_have_it() -> None:
    picture = a_picture(an_instance("n1"), an_instance("n2", id="db", service="db"))
    picture.apply({"type": "down", "instance": an_instance("n1")}, at=1.0)
    text = "\n".join(drawn(picture, wanted="db", paused=True))
    assert ("db  " in text, "web" in text, "PAUSED" in text) == (True, False, True)
    assert drawn(picture, wanted="d", typing=True)[-1].startswith("filter: d_")


def test_what_others_wrote_cannot_steer_the_terminal() -> None:
    picture = a_picture(an_instance("n1", service="\x1b[2Jweb"))
    picture.apply({"type": "up", "instance": an_instance("n2", id="\x1b]0;x\x07")}, at=1.0)
    assert "\x1b" not in "".join(drawn(picture))
