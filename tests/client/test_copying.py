"""The copy of chosen services: what each event makes of it. No thread, no socket."""

from dataclasses import asdict

import pytest

from gossipd.client.copying import Copy
from gossipd.errors import RequestError
from tests.fakes_api import an_instance


def a_row(id: str = "web", *, port: int = 80) -> dict[str, object]:
    return asdict(an_instance("web", id=id, port=port))


def a_copy(*ids: str) -> Copy:
    copy = Copy(["web", "db"])
    copy.tell("web", {"type": "snapshot", "instances": [a_row(id) for id in ids], "index": 1})
    return copy


def ids(copy: Copy) -> list[str]:
    return [one.id for one in copy["web"]]


def test_a_snapshot_replaces_what_was_known() -> None:
    copy = a_copy("b", "a")
    assert ids(copy) == ["a", "b"]
    assert copy.missing == {"db"}
    assert copy.tell("web", {"type": "snapshot", "instances": [a_row("c")], "index": 2, "view": {"isolated": True}})
    assert ids(copy) == ["c"]
    assert copy.view.isolated


def test_an_instance_comes_changes_and_goes() -> None:
    copy = a_copy()
    assert copy.tell("web", {"type": "up", "instance": a_row(), "index": 2})
    assert copy.tell("web", {"type": "changed", "instance": a_row(port=81), "index": 3})
    assert [one.port for one in copy["web"]] == [81]
    assert not copy.tell("web", {"type": "changed", "instance": a_row(port=81), "index": 4})
    assert copy.tell("web", {"type": "down", "instance": a_row(), "index": 5})
    assert copy["web"] == ()


def test_what_was_found_at_one_look_is_seen_at_once() -> None:
    copy = a_copy()
    assert not copy.tell("web", {"type": "up", "instance": a_row("a"), "index": 2, "more": True})
    assert ids(copy) == []
    assert copy.tell("web", {"type": "up", "instance": a_row("b"), "index": 2})
    assert ids(copy) == ["a", "b"]


def test_the_last_good_copy_stays_until_the_snapshot_after_a_resync() -> None:
    copy = a_copy("a")
    copy.tell("web", {"type": "up", "instance": a_row("b"), "index": 2, "more": True})
    assert not copy.tell("web", {"type": "resync"})
    assert ids(copy) == ["a"]
    copy.tell("web", {"type": "snapshot", "instances": [], "index": 9})
    assert ids(copy) == []


def test_what_is_told_of_one_service_leaves_the_others_and_older_tuples_alone() -> None:
    copy = a_copy("a")
    before = copy["web"]
    assert copy.tell("db", {"type": "snapshot", "instances": [], "index": 1})
    copy.tell("web", {"type": "up", "instance": a_row("b"), "index": 2})
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
        a_copy().tell("web", {"type": "up", "instance": row, "index": 2})
    assert caught.value.code == "bad_answer"
