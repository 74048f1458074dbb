"""The copy of chosen services: what each event makes of it. No thread, no socket."""

import math
from dataclasses import asdict, replace

import pytest

from gossipd.client.answers import HOLD_S, Answer, LastGood, View, answer_of
from gossipd.client.copying import Copy, Reader
from gossipd.errors import RequestError
from tests.fakes_api import an_instance


def a_row(id: str = "web", *, port: int = 80) -> dict[str, object]:
    return asdict(an_instance("web", id=id, port=port))


def a_copy(*ids: str) -> Copy:
    copy = Copy(["web", "db"])
    copy.tell("web", {"type": "snapshot", "instances": [a_row(id) for id in ids], "index": 1}, now=0.0)
    return copy


def ids(copy: Copy) -> list[str]:
    return [one.id for one in copy["web"]]


def a_snapshot(*ids: str, met: bool = True) -> dict[str, object]:
    return {"type": "snapshot", "instances": [a_row(id) for id in ids], "index": 9, "view": {"met": met}}


def test_a_snapshot_replaces_what_was_known() -> None:
    copy = a_copy("b", "a")
    assert ids(copy) == ["a", "b"]
    assert copy.missing == {"db"}
    assert copy.tell(
        "web", {"type": "snapshot", "instances": [a_row("c")], "index": 2, "view": {"isolated": True}}, now=0.0
    )
    assert ids(copy) == ["c"]
    assert copy.view.isolated


def test_an_instance_comes_changes_and_goes() -> None:
    copy = a_copy()
    assert copy.tell("web", {"type": "up", "instance": a_row(), "index": 2}, now=0.0)
    assert copy.tell("web", {"type": "changed", "instance": a_row(port=81), "index": 3}, now=0.0)
    assert [one.port for one in copy["web"]] == [81]
    assert not copy.tell("web", {"type": "changed", "instance": a_row(port=81), "index": 4}, now=0.0)
    assert copy.tell("web", {"type": "down", "instance": a_row(), "index": 5}, now=0.0)
    assert copy["web"] == ()


def test_who_is_ready_follows_each_change() -> None:
    copy = a_copy("a", "b")
    assert copy.ready("web") == copy["web"]
    copy.tell("web", {"type": "changed", "instance": a_row("a") | {"ready": False}, "index": 2}, now=0.0)
    assert [one.id for one in copy.ready("web")] == ["b"]
    copy.tell("web", {"type": "down", "instance": a_row("b"), "index": 3}, now=0.0)
    assert copy.ready("web") == ()
    copy.tell("web", {"type": "changed", "instance": a_row("a"), "index": 4}, now=0.0)
    assert copy.ready("web") == copy["web"] != ()


def test_what_was_found_at_one_look_is_seen_at_once() -> None:
    copy = a_copy()
    assert not copy.tell("web", {"type": "up", "instance": a_row("a"), "index": 2, "more": True}, now=0.0)
    assert ids(copy) == []
    assert copy.tell("web", {"type": "up", "instance": a_row("b"), "index": 2}, now=0.0)
    assert ids(copy) == ["a", "b"]


def test_the_last_good_copy_stays_until_the_snapshot_after_a_resync() -> None:
    copy = a_copy("a")
    copy.tell("web", {"type": "up", "instance": a_row("b"), "index": 2, "more": True}, now=0.0)
    assert not copy.tell("web", {"type": "resync"}, now=0.0)
    assert ids(copy) == ["a"]
    copy.tell("web", {"type": "snapshot", "instances": [], "index": 9}, now=0.0)
    assert ids(copy) == []


def test_what_is_told_of_one_service_leaves_the_others_and_older_tuples_alone() -> None:
    copy = a_copy("a")
    before = copy["web"]
    assert copy.tell("db", {"type": "snapshot", "instances": [], "index": 1}, now=0.0)
    copy.tell("web", {"type": "up", "instance": a_row("b"), "index": 2}, now=0.0)
    assert [one.id for one in before] == ["a"]
    assert copy.missing == set()


def test_a_service_that_is_not_mirrored_says_which_are() -> None:
    with pytest.raises(RequestError, match="service='wbe', expected one of web, db: name it") as caught:
        a_copy()["wbe"]
    assert caught.value.code == "not_mirrored"


@pytest.mark.parametrize("services", [[], [str(number) for number in range(65)], [1]])
def test_services_are_names_and_not_too_many(services: list[str]) -> None:
    with pytest.raises(RequestError, match="expected 1 to 64 names"):
        Copy(services)


@pytest.mark.parametrize("row", [None, {}, {"node": "a", "id": "b", "address": "c", "port": 0}, [1]])
def test_a_row_that_is_no_instance_is_a_bad_answer(row: object) -> None:
    with pytest.raises(RequestError) as caught:
        a_copy().tell("web", {"type": "up", "instance": row, "index": 2}, now=0.0)
    assert caught.value.code == "bad_answer"


def restarted(*ids: str) -> Copy:
    """A copy of a and b whose daemon came back at 100.0, had met nobody, and named *ids*."""
    copy = a_copy("a", "b")
    copy.tell("web", {"type": "resync"}, now=100.0)
    copy.tell("web", a_snapshot(*ids, met=False), now=100.0)
    return copy


MET = {"type": "view", "index": 12, "view": {"met": True}}


@pytest.mark.parametrize(
    ("named", "events", "seen"),
    [
        ((), [], ["a", "b"]),
        (("c",), [], ["a", "b", "c"]),
        (("a",), [{"type": "up", "instance": a_row("d"), "index": 11}], ["a", "b", "d"]),
        (("a",), [{"type": "down", "instance": a_row("a"), "index": 11}], ["b"]),
        (("a",), [MET], ["a"]),
        ((), [{"type": "up", "instance": a_row("b"), "index": 12, "more": True}], ["a", "b"]),
        ((), [{"type": "up", "instance": a_row("b"), "index": 12, "more": True}, MET], ["b"]),
        (("c",), [{"type": "resync"}, a_snapshot("b", met=False)], ["a", "b", "c"]),
        (("c",), [{"type": "resync"}, a_snapshot("b")], ["b"]),
        ((), [{"type": "resumed", "index": 12, "view": {"met": True}}], []),
        ((), [{"type": "view", "index": 12, "view": {"met": False, "isolated": True}}], ["a", "b"]),
    ],
)
def test_what_a_restarted_daemon_does_not_name_is_held_until_it_has_met_a_peer(
    named: tuple[str, ...], events: list[dict[str, object]], seen: list[str]
) -> None:
    copy = restarted(*named)
    for event in events:
        copy.tell("web", event, now=101.0)
    assert ids(copy) == seen


def test_what_it_names_goes_before_what_is_held() -> None:
    copy = restarted()
    copy.tell("web", {"type": "up", "instance": a_row("a", port=81), "index": 11}, now=101.0)
    assert [one.port for one in copy["web"]] == [81, 80]


def test_nothing_is_held_for_longer_than_its_time() -> None:
    copy = restarted("b")
    assert (copy.holding, copy.next_deadline()) == (True, 100.0 + HOLD_S)
    assert copy.handle_timer(now=99.9 + HOLD_S) == []
    assert copy.handle_timer(now=100.0 + HOLD_S) == ["web"]
    assert ids(copy) == ["b"]
    assert (copy.holding, copy.next_deadline()) == (False, math.inf)


def test_a_daemon_that_has_met_fewer_than_it_knew_lets_nobody_go_yet() -> None:
    copy = Copy(["web"])
    copy.tell("web", {**a_snapshot("a", "b"), "view": {"met": True, "members_alive": 3}}, now=0.0)
    copy.tell("web", {"type": "resync"}, now=100.0)
    copy.tell("web", {**a_snapshot(), "view": {"met": False, "members_alive": 1}}, now=100.0)
    copy.tell("web", {**MET, "view": {"met": True, "members_alive": 2}}, now=101.0)  # the one that restarted with it
    copy.tell("web", {"type": "up", "instance": a_row("a"), "index": 13}, now=102.0)
    assert (ids(copy), copy.holding) == (["a", "b"], True)
    assert copy.handle_timer(now=100.0 + HOLD_S) == ["web"]
    copy.tell("web", {"type": "view", "index": 14, "view": {"met": True, "members_alive": 3}}, now=120.0)
    copy.tell("web", {"type": "resync"}, now=200.0)
    copy.tell("web", {**a_snapshot(), "view": {"met": True, "members_alive": 3}}, now=200.0)
    assert (ids(copy), copy.holding) == ([], False)


def test_the_last_good_answer_stands_while_fewer_members_are_counted() -> None:
    def counting(members_alive: int, *ids: str) -> Answer:
        return replace(an_answer(*ids), view=View(members_alive=members_alive))

    last, question = LastGood(), {"service": "web"}
    last.judge(question, counting(3, "a"), connected_s=99.0, now=1.0)
    assert last.judge(question, counting(2, "b"), connected_s=1.0, now=3.0).stale
    assert not last.judge(question, counting(3, "b"), connected_s=2.0, now=4.0).stale
    assert not last.judge(question, counting(2, "b"), connected_s=HOLD_S, now=9.0).stale


def test_a_daemon_that_is_young_at_the_first_look_has_nothing_held_for_it() -> None:
    copy = Copy(["web"])
    assert copy.tell("web", a_snapshot("a", met=False), now=0.0)
    copy.tell("web", {"type": "down", "instance": a_row("a"), "index": 10}, now=1.0)
    assert ids(copy) == []
    assert not copy.holding


def test_one_service_is_let_go_when_its_own_watch_has_told_all() -> None:
    copy = restarted()
    copy.tell("db", MET, now=101.0)
    assert copy.view.met
    assert ids(copy) == ["a", "b"]


def test_a_reader_is_given_each_service_once_and_the_one_that_waited_longest_first() -> None:
    rang: list[int] = []
    reader = Reader(["web", "db"], lambda: rang.append(1))
    assert [reader.take(), reader.take(), reader.take()] == ["web", "db", None]
    for service in ("db", "web", "db"):
        reader.note(service)
    assert [reader.take(), reader.take(), reader.take()] == ["db", "web", None]
    assert rang == [1, 1, 1]


def an_answer(*ids: str, met: bool = True) -> Answer:
    return answer_of("web", {"instances": [a_row(id) for id in ids], "view": {"met": met}})


@pytest.mark.parametrize(
    ("kept", "fresh", "met", "connected_s", "limit", "given", "stale"),
    [
        (["a"], ["b"], True, 0.0, None, ["b"], False),
        (["a"], ["b"], False, 0.0, None, ["a", "b"], True),
        (["a"], [], False, HOLD_S - 0.1, None, ["a"], True),
        (["a"], [], False, HOLD_S, None, [], False),
        (["a", "b"], ["c"], False, 0.0, 2, ["a", "b"], True),
        (None, ["b"], False, 0.0, None, ["b"], False),
    ],
)
def test_the_last_good_answer_stands_until_a_restarted_daemon_has_met_a_peer(
    kept: list[str] | None,
    fresh: list[str],
    met: bool,
    connected_s: float,
    limit: int | None,
    given: list[str],
    stale: bool,
) -> None:
    question = {"service": "web", "limit": limit}
    last = LastGood()
    if kept is not None:
        last.judge(question, an_answer(*kept), connected_s=99.0, now=1.0)
    answer = last.judge(question, an_answer(*fresh, met=met), connected_s=connected_s, now=3.0)
    assert ([one.id for one in answer], answer.stale, answer.age_s) == (given, stale, 2.0 if stale else 0.0)
    assert answer.view.met is met
    found = last.find(question, now=3.0)
    assert found is not None
    assert [one.id for one in found] == (kept if stale else given)
