"""Tables and footers, letter by letter."""

import pytest

from gossipd.cli import follow, render
from tests.cli.builders import ISOLATED, WELL, a_check, a_drain, a_member, a_registration, a_service, an_instance


def test_members_are_an_aligned_table() -> None:
    rows = [
        a_member("n1", me=True, rtt_ms=None, labels={}),
        a_member("n2-longer", status="suspect", address="[2001:db8::7]:7950", since_s=3.04, services=12),
    ]
    assert render.members(rows, colour=False) == (
        "NAME       STATUS   ADDRESS             INCARNATION      SINCE  HEARD    RTT  SERVICES  LABELS\n"
        "n1 (me)    alive    10.0.0.1:7950       1700000000000.0  1m01s   0.2s      -         2  -\n"
        "n2-longer  suspect  [2001:db8::7]:7950  1700000000000.0   3.0s   0.2s  0.4ms        12  zone=a"
    )


def test_services_are_an_aligned_table_and_none_is_said() -> None:
    assert render.services([a_service(), a_service("db", tags=[], ready=1)], colour=False) == (
        "SERVICE  READY  INSTANCES  DEGRADED  NODES  TAGS\n"
        "web          2          3         0      3  v1,v2\n"
        "db           1          3         0      3  -"
    )
    assert render.services([], colour=False) == "no services"


def test_instances_begin_with_address_and_port_and_have_no_header() -> None:
    rows = [an_instance("n1"), an_instance("n22", address="2001:db8::7", status="unreachable", tags=[])]
    assert render.instances(rows, colour=False) == (
        "10.0.0.1:8080       n1   web-n1   passing      tcp  v2\n[2001:db8::7]:8080  n22  web-n22  unreachable  tcp  -"
    )


def test_a_table_is_never_cut() -> None:
    long = "x" * 5_000
    assert long in render.members([a_member(labels={"k": long})], colour=False)


def test_what_others_wrote_cannot_steer_the_terminal() -> None:
    text = render.instances([an_instance(tags=["\x1b[2J", "a\nb", "\u202egnp", "\x9b1m"])], colour=False)
    assert text.isprintable()
    assert "\\x1b[2J,a\\nb,\\u202egnp,\\x9b1m" in text


def test_wide_characters_keep_the_columns() -> None:
    lines = render.table((), [("東京", "x"), ("abcd", "x"), ("e\u0301fgh", "x")], colour=False).splitlines()
    assert lines == ["東京  x", "abcd  x", "e\u0301fgh  x"]


def test_colour_is_added_only_where_asked() -> None:
    rows = [a_member(), a_member("n2", status="failed")]
    plain, coloured = render.members(rows, colour=False), render.members(rows, colour=True)
    assert "\x1b" not in plain
    assert "\x1b[32malive\x1b[0m" in coloured
    assert "\x1b[31mfailed\x1b[0m" in coloured
    for code in ("\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[0m"):
        coloured = coloured.replace(code, "")
    assert coloured == plain


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0s"),
        (-0.01, "0.0s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (3_599, "59m59s"),
        (3_600, "1h00m"),
        (86_399, "23h59m"),
        (86_400, "1d00h"),
        (1_000_000, "11d13h"),
    ],
)
def test_durations_have_at_most_two_units(seconds: float, text: str) -> None:
    assert render.span(seconds) == text


def test_a_footer_appears_only_when_something_is_off() -> None:
    assert render.footer(WELL) is None
    assert render.footer(None) is None
    assert render.footer(ISOLATED) == (
        "! isolated: this node hears nobody; the answer is its last knowledge, up to 1m15s old (1 of 3 known members alive)"
    )
    assert render.footer({**WELL, "met": False}) == (
        "! just started: this node has not met all its peers yet, whose instances may be missing (3 of 3 known members alive)"
    )
    assert (
        render.footer({**WELL, "met": False, "members_alive": 1, "members_known": 1}) is None
    )  # there may be no others
    assert render.footer({**WELL, "stalest_owner_age_s": 120.0}) == (
        "! stale: part of this answer was last vouched for 2m00s ago (3 of 3 known members alive)"
    )


def test_facts_are_one_line_each() -> None:
    values = {
        "name": "n1",
        "sealed": True,
        "seeds": ["a", "b"],
        "conflict": None,
        "labels": {"zone": "a"},
        "dropped": {},
    }
    assert render.facts(values) == (
        "name         n1\nsealed       yes\nseeds        a, b\nconflict     -\nlabels.zone  a\ndropped      -"
    )


def test_evidence_tells_the_story_newest_last() -> None:
    row = {"ago_s": 4.0, "what": "suspect", "accuser": "n2", "source": None, "how": "gossip"}
    value = {
        "subject": "n3",
        "kind": "member",
        "belief": "failed",
        "history": [row, {**row, "ago_s": 1.0, "what": "failed"}],
    }
    assert render.evidence(value, colour=False) == (
        "member n3: failed\n"
        "    WHEN  WHAT     HOW     ACCUSER  SOURCE\n"
        "4.0s ago  suspect  gossip  n2       -\n"
        "1.0s ago  failed   gossip  n2       -"
    )
    assert render.evidence({**value, "history": []}, colour=False).endswith("no change of belief is remembered")


def test_evidence_of_an_own_instance_ends_with_who_holds_it_and_its_checks() -> None:
    row = {"ago_s": 4.0, "what": "check http is critical", "accuser": "n1", "source": None, "how": "self"}
    held = a_registration(
        holder="lease", lease_left_s=12.0, penalty=3020.4, damped=True, mode="draining", reason="new version"
    )
    value = {
        "subject": "web",
        "kind": "instance",
        "belief": "critical",
        "history": [row],
        "registration": held | {"drain": a_drain()},
        "checks": [a_check(health="critical", output="500 Internal Server Error", failures=3)],
    }
    assert render.evidence(value, colour=False).splitlines()[3:] == [
        "held by: lease, to be renewed within 12s; draining, because: new version, draining for 1.0s, 4.0s left;"
        " penalty 3020 for its changes; held out until it has been quiet (gossipd undamp lets it in)",
        "INSTANCE  CHECK  KIND  HEALTH    SINCE  LAST  NEXT   TOOK  FAILURES  OUTPUT",
        "web       http   http  critical  1m00s  2.5s  7.5s  2.0ms         3  500 Internal Server Error",
    ]


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"type": "up", "instance": an_instance()}, "up      web  10.0.0.1:8080  n1  web-n1  passing  tcp  v2"),
        (
            {"type": "member", "member": a_member("n3"), "before": "alive", "after": "suspect"},
            "member  n3 alive -> suspect",
        ),
        ({"type": "member", "member": a_member("n3"), "before": None, "after": "alive"}, "member  n3 unknown -> alive"),
        ({"type": "resync"}, "resync  this reader fell behind; what is there now follows"),
        ({"type": "view", "view": WELL}, "view    this node hears the cluster"),
        ({"type": "snapshot", "instances": [], "view": WELL}, "nothing yet"),
        ({"type": "of\na newer"}, "of\\na newer"),
    ],
)
def test_an_event_is_one_line(event: dict[str, object], text: str) -> None:
    assert follow.event_text(event, at="12:00:00", colour=False) == f"12:00:00  {text}"


def test_a_snapshot_has_a_line_for_each_row_and_its_footer() -> None:
    event = {"type": "snapshot", "instances": [an_instance()], "members": [a_member("n1")], "view": ISOLATED}
    lines = follow.event_text(event, at="12:00:00", colour=False).splitlines()
    assert lines[0] == "12:00:00  is      web  10.0.0.1:8080  n1  web-n1  passing  tcp  v2"
    assert lines[1] == "12:00:00  member  n1 is alive"
    assert lines[2].startswith("! isolated")


def test_the_fields_of_a_map_are_named_by_their_path() -> None:
    text = render.facts({"sent": 1, "shell": {"send_errors": {"EAGAIN": 2}, "accept_errors": {}}})
    assert [line.split() for line in text.splitlines()] == [
        ["sent", "1"],
        ["shell.send_errors.EAGAIN", "2"],
        ["shell.accept_errors", "-"],
    ]
