"""What is asked again and again is made once; an answer that is not as good as was asked for is an error."""

import json
from dataclasses import replace

import pytest

from gossipd.api.choosing import STATUSES
from gossipd.api.dispatch import Answers
from gossipd.api.encoding import JSON
from gossipd.api.kept import AGE_STALE_S, KEPT_ENTRIES_MAX
from gossipd.api.requests import Demand, Resolve, Where
from gossipd.config import GuardPolicy
from gossipd.errors import RequestError
from tests.fakes_api import FakeCommands, FakeView, a_caller, a_member, an_instance

WEB = Resolve(service="web")


class Scene:
    """A view with one instance of web, and what is answered."""

    def __init__(self) -> None:
        self.view = FakeView()
        self.view.put(an_instance())
        self.answers = Answers(view=self.view, commands=FakeCommands(), statistics=dict)

    def encoded(self, request: Resolve, *, now: float = 1.0) -> bytes:
        return self.answers.answer(request, encoding=JSON, caller=a_caller(), now=now)

    def resolve(self, request: Resolve, *, now: float = 1.0) -> dict[str, object]:
        result: dict[str, object] = json.loads(self.encoded(request, now=now))
        return result

    def refusal(self, request: Resolve, *, now: float = 1.0) -> RequestError:
        with pytest.raises(RequestError) as caught:
            self.encoded(request, now=now)
        return caught.value


def test_a_resolve_asked_again_is_not_read_again_until_something_changes_or_its_ages_are_stale() -> None:
    scene = Scene()
    first = scene.encoded(WEB, now=1.0)
    assert scene.encoded(WEB, now=1.4) == first
    assert scene.view.reads == 1
    scene.encoded(WEB, now=1.0 + AGE_STALE_S)
    assert scene.view.reads == 2
    scene.view.put(an_instance(port=81))
    changed = scene.resolve(WEB, now=1.0 + AGE_STALE_S)
    assert changed["instances"][0]["port"] == 81  # type: ignore[index]


def test_a_kept_resolve_tells_the_trust_of_the_moment() -> None:
    scene = Scene()
    scene.encoded(WEB, now=1.0)
    scene.view.isolated = True
    assert scene.resolve(WEB, now=1.1)["view"]["isolated"] is True  # type: ignore[index]


def test_answers_for_names_without_end_are_kept_in_bounded_room() -> None:
    scene = Scene()
    for number in range(3_000):
        scene.encoded(Resolve(service=f"s{number}"))
    assert scene.answers.kept_entries <= KEPT_ENTRIES_MAX


def test_each_way_to_ask_has_its_own_answer() -> None:
    scene = Scene()
    scene.view.put(replace(an_instance(node="bob"), tags=["v2"]))

    def nodes(**asked: object) -> list[str]:
        rows = scene.resolve(replace(WEB, **asked))["instances"]  # type: ignore[arg-type]
        return [row["node"] for row in rows]  # type: ignore[attr-defined]

    for _ in range(2):
        assert nodes() == ["ann", "bob"]
        assert nodes(where=Where(tags=("v2",))) == ["bob"]
        assert nodes(limit=1) == ["ann"]
        assert nodes(service="nothing") == []
    assert scene.view.reads == 4


def test_near_is_near_to_the_labels_of_this_node() -> None:
    scene = Scene()  # ann is in zone a
    scene.view.put(replace(an_instance(node="bob"), zone="b"))
    rows = scene.resolve(replace(WEB, near=True))["instances"]
    assert [row["node"] for row in rows] == ["ann"]  # type: ignore[attr-defined]


def test_an_answer_that_is_older_than_it_may_be_is_refused_with_its_view() -> None:
    scene = Scene()
    scene.encoded(replace(WEB, demand=Demand(max_age_s=0.25)))
    error = scene.refusal(replace(WEB, demand=Demand(max_age_s=0.2)))
    assert error.code == "stale"
    assert "params.max_age=0.2" in str(error)
    assert error.details["view"]["stalest_owner_age_s"] == 0.25  # type: ignore[index]


def test_an_answer_from_too_few_members_is_refused_and_given_once_they_are_there() -> None:
    scene = Scene()
    three = replace(WEB, demand=Demand(min_members=3))
    scene.view.put_member(a_member("bob"))
    assert scene.refusal(three).code == "few_members"
    scene.view.put_member(a_member("cat", status="suspect"))
    assert scene.resolve(three)["view"]["members_alive"] == 3  # type: ignore[index]
    scene.view.put_member(a_member("cat", status="failed"))
    assert scene.refusal(three).code == "few_members"


@pytest.mark.parametrize(("policy", "code"), [("keep", None), ("refuse", "degraded")])
def test_what_is_degraded_is_refused_if_the_policy_says_so_and_shown_to_who_asks_for_any(
    policy: GuardPolicy, code: str | None
) -> None:
    scene = Scene()
    scene.view.guard_policy = policy
    scene.view.put(replace(an_instance(node="bob"), degraded=True, ready=policy == "keep"))
    everything = scene.resolve(replace(WEB, where=Where(status=tuple(STATUSES))))
    assert len(everything["instances"]) == 2  # type: ignore[arg-type]
    assert len(scene.resolve(replace(WEB, where=Where(node="ann")))["instances"]) == 1  # type: ignore[arg-type]
    for _ in range(2):
        if code is None:
            assert len(scene.resolve(WEB)["instances"]) == 2  # type: ignore[arg-type]
        else:
            assert scene.refusal(WEB).code == code
