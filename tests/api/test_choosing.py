"""Which instances answer, in which order, and how far away they may be."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from gossipd.api.choosing import STATUSES, choose, matching
from gossipd.api.requests import Resolve, Where
from gossipd.node.view import InstanceRow
from tests.fakes_api import an_instance

NOWHERE = (None, None)


def a_row(node: str, *, status: str = "passing", **values: object) -> InstanceRow:
    fields: dict[str, object] = {"status": status, "ready": status in ("passing", "warning"), **values}
    return replace(an_instance(node=node), **fields)  # type: ignore[arg-type]


def nodes(rows: Sequence[InstanceRow]) -> list[str]:
    return [row.node for row in rows]


def test_ready_ones_answer_the_least_grave_first_then_by_node_and_id() -> None:
    rows = [a_row("dee"), a_row("ann", status="warning"), a_row("cat", status="critical"), a_row("bob", id="z")]
    rows.append(a_row("bob", id="a"))
    found = choose(Resolve(service="web"), rows, here=NOWHERE)
    assert [(row.node, row.id) for row in found] == [("bob", "a"), ("bob", "z"), ("dee", "web"), ("ann", "web")]
    assert choose(Resolve(service="web"), rows[::-1], here=NOWHERE) == found
    assert choose(Resolve(service="web", limit=2), rows, here=NOWHERE) == found[:2]


def test_a_damped_instance_is_not_ready_and_so_does_not_answer() -> None:
    assert choose(Resolve(service="web"), [a_row("ann", status="critical", damped=True)], here=NOWHERE) == []


def test_a_degraded_instance_answers_whether_or_not_the_policy_calls_it_ready() -> None:
    rows = [a_row("ann", ready=False, degraded=True), a_row("bob", ready=False, degraded=True, status="draining")]
    assert nodes(choose(Resolve(service="web"), rows, here=NOWHERE)) == ["ann"]


@pytest.mark.parametrize(
    ("status", "found"),
    [
        (("draining",), ["bob"]),
        (("passing", "critical"), ["ann", "cat"]),
        (tuple(STATUSES), ["ann", "cat", "bob", "dee"]),
    ],
)
def test_other_statuses_answer_when_they_are_asked_for(status: tuple[str, ...], found: list[str]) -> None:
    rows = [a_row("dee", status="unreachable"), a_row("bob", status="draining"), a_row("cat", status="critical")]
    request = Resolve(service="web", where=Where(status=status))
    assert nodes(choose(request, [*rows, a_row("ann")], here=NOWHERE)) == found


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (None, ["ann", "bob", "cat"]),
        (Where(), ["ann", "bob", "cat"]),
        (Where(tags=("v1",)), ["ann", "bob"]),
        (Where(tags=("blue", "v1")), ["bob"]),
        (Where(metadata=(("owner", "kim"),)), ["ann", "bob"]),
        (Where(metadata=(("owner", "kim"), ("team", "x"))), []),
        (Where(zone="a"), ["ann", "cat"]),
        (Where(node="bob"), ["bob"]),
        (Where(node="bob", zone="a"), []),
    ],
)
def test_filters_hold_all_together_and_whatever_the_status(where: Where | None, found: list[str]) -> None:
    rows = [
        a_row("ann"),
        a_row("bob", tags=["blue", "v1"], zone=None),
        a_row("cat", tags=["v2"], metadata={"owner": "lee"}, status="critical"),
    ]
    assert nodes(matching(rows, where)) == found


NEAR = Resolve(service="web", near=True)


def here_and_there(*, at_home: str = "passing") -> list[InstanceRow]:
    return [
        a_row("ann", zone="b", region="eu"),
        a_row("bob", zone="a", region="us"),
        a_row("cat", zone="a", region="eu", status=at_home),
        a_row("dee", zone=None, region=None),
    ]


@pytest.mark.parametrize(
    ("rows", "here", "found"),
    [
        (here_and_there(), ("a", "eu"), ["cat"]),
        (here_and_there(), ("c", "eu"), ["ann", "cat"]),
        (here_and_there(), (None, "us"), ["bob"]),
        (here_and_there(), ("a", None), ["ann", "bob", "cat", "dee"]),  # zone a of a region that we are not in
        (here_and_there(), NOWHERE, ["ann", "bob", "cat", "dee"]),
        (
            here_and_there(at_home="critical"),
            ("a", "eu"),
            ["ann", "bob", "dee"],
        ),  # 1.4 x 1/2 of the region is not enough
        (here_and_there(at_home="warning"), ("a", "eu"), ["cat"]),
    ],
)
def test_the_own_zone_answers_first_and_others_only_if_it_takes_them(
    rows: list[InstanceRow], here: tuple[str | None, str | None], found: list[str]
) -> None:
    assert nodes(choose(NEAR, rows, here=here)) == found


def test_nearer_ones_come_first_whatever_their_names() -> None:
    rows = [a_row("ann", zone="b", region="eu"), a_row("zoe", zone="a", region="eu")]
    rows.append(a_row("yan", zone="a", region="eu", status="critical"))
    assert nodes(choose(NEAR, rows, here=("a", "eu"))) == ["zoe", "ann"]
