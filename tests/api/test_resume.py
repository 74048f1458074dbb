"""A watch that begins where another one ended: what was missed, or a clear `resync`; and how a client knows what it has."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipd.api.changes import ALL, MEMBERS, VIEW, Change, ChangeLog, Scopes
from gossipd.api.dispatch import Answers, Counters
from gossipd.api.encoding import JSON
from gossipd.api.methods import parse_request
from gossipd.api.requests import Watch
from gossipd.api.watches import MEMBER_NEWS_MAX, Watcher, Watches
from gossipd.core.events import CutShown, Event, IsolationChanged
from gossipd.ids import NodeId
from gossipd.limits import WATCH_EVENTS_MAX, WATCH_LINGER_S, WATCH_LINGERING_MAX, WATCH_LOG_BYTES_MAX, WATCH_LOG_MAX
from tests.fakes_api import FakeCommands, FakeView, a_member, an_instance

Row = dict[str, object]


class Client:
    """What a client knows from its watch, which it may lose and begin again from the last index that it has all of."""

    def __init__(self, scene: "Scene", **params: object) -> None:
        self.scene = scene
        self.params = params
        self.watcher = scene.watch(**params)
        self.known: dict[tuple[object, object], Row] = {}
        self.index: object = None
        self.types: list[object] = []

    def read(self, *, bytes_max: int = 1 << 20) -> None:
        """Take in what is to be read, a piece of about *bytes_max*; note the types of the events."""
        self.types = []
        for event in self.scene.read(self.watcher, bytes_max=bytes_max):
            self.types.append(event["type"])
            if event["type"] == "snapshot":
                rows = event["instances"]
                assert isinstance(rows, list)
                self.known = {(row["node"], row["id"]): row for row in rows}
            elif event["type"] in ("up", "changed", "down"):
                row = event["instance"]
                assert isinstance(row, dict)
                key = (row["node"], row["id"])
                if event["type"] == "down":
                    self.known.pop(key, None)
                else:
                    self.known[key] = row
            if "index" in event and "more" not in event:
                self.index = event["index"]

    def lose(self) -> None:
        self.scene.watches.close(self.watcher, now=self.scene.now)

    def come_back(self) -> None:
        self.watcher = self.scene.watch(since=self.index, **self.params)


class Scene:
    def __init__(self) -> None:
        self.view = FakeView()
        self.counters = Counters()
        answers = Answers(view=self.view, commands=FakeCommands(), statistics=dict)
        self.watches = Watches(view=self.view, answers=answers, counters=self.counters)
        self.now = 100.0

    def watch(self, **params: object) -> Watcher:
        request = parse_request("watch", params)
        assert isinstance(request, Watch)
        return self.watches.open(1, request, JSON, on_news=lambda: None, now=self.now)

    def client(self, **params: object) -> Client:
        client = Client(self, **params)
        client.read()
        return client

    def publish(self, *events: Event) -> None:
        self.watches.note(events)
        self.watches.flush(now=self.now)

    def read(self, watcher: Watcher, *, bytes_max: int = 1 << 20) -> list[dict[str, object]]:
        messages = self.watches.take(watcher, bytes_max=bytes_max, now=self.now)
        return [json.loads(message)["event"] for message in messages]


def test_who_comes_back_is_told_what_it_missed_and_that_this_was_all() -> None:
    scene = Scene()
    client = scene.client(service="web")
    scene.publish(scene.view.put(an_instance(port=80)))
    client.read()
    client.lose()
    scene.publish(scene.view.put(an_instance(port=81)))
    scene.publish(scene.view.put(an_instance("db")))
    scene.publish(scene.view.put(an_instance(node="bob")))
    client.come_back()
    client.read()
    assert client.types == ["changed", "up", "resumed"]
    assert client.known.keys() == {("ann", "web"), ("bob", "web")}
    assert client.index == scene.view.index
    scene.publish(scene.view.remove("bob", "web"))
    client.read()
    assert client.types == ["down"]
    assert scene.counters.resyncs == 0


def test_who_missed_nothing_is_told_so_with_the_view() -> None:
    scene = Scene()
    client = scene.client()
    client.lose()
    client.come_back()
    [event] = scene.read(client.watcher)
    assert (event["type"], event["index"]) == ("resumed", scene.view.index)
    assert event["view"]["members_alive"] == 1  # type: ignore[index]


@pytest.mark.parametrize("since", [0, 10_000])
def test_an_index_of_another_run_of_the_daemon_is_a_resync(since: int) -> None:
    scene = Scene()
    client = scene.client(service="web")
    client.index = since
    client.lose()
    client.come_back()
    client.read()
    assert client.types == ["resync", "snapshot"]
    assert scene.counters.resyncs == 1


def test_to_begin_a_watch_is_no_news_and_costs_nobody_his_place() -> None:
    scene = Scene()
    for number in range(WATCH_LOG_MAX):
        scene.view.put(an_instance("many", id=f"m{number}"))
    client = scene.client(service="web")
    client.lose()
    scene.publish(scene.view.put(an_instance()))
    for _ in range(3):
        scene.client(service="many").lose()
        with scene.watches.waiting("many", lambda: None, now=scene.now):
            pass
    client.come_back()
    client.read()
    assert client.types == ["up", "resumed"]
    assert client.index == scene.view.index


def test_what_nobody_followed_is_not_skipped_when_indices_ran_ahead_of_the_view() -> None:
    scene = Scene()
    scene.publish(scene.view.put(an_instance()))
    client = scene.client(service="web")
    for port in (81, 82, 83):  # two looks at one index: each is told under its own
        scene.view.rows["ann", "web"] = an_instance(port=port)
        scene.publish(IsolationChanged(isolated=False, silent_s=0.0))
    client.read()
    assert client.index == scene.view.index + 2
    client.lose()
    scene.now += WATCH_LINGER_S
    scene.publish(scene.view.remove("ann", "web"))
    other = scene.client(service="web")
    for number in range(5):
        scene.publish(scene.view.put(an_instance("db", port=80 + number)))
    client.come_back()
    client.read()
    assert client.types == ["resync", "snapshot"]
    assert client.known == other.known == {}


def test_an_index_from_before_anybody_watched_is_a_resync() -> None:
    scene = Scene()
    scene.client(service="db")
    index = scene.view.index
    scene.publish(scene.view.put(an_instance()))
    client = Client(scene, service="web", since=index)
    client.read()
    assert client.types == ["resync", "snapshot"]


def test_who_watches_one_service_may_come_back_for_it_while_all_are_watched_and_not_the_other_way() -> None:
    scene = Scene()
    scene.client()
    index = scene.view.index
    scene.publish(scene.view.put(an_instance()))
    one = Client(scene, service="web", since=index)
    one.read()
    assert one.types == ["up", "resumed"]
    with_members = Client(scene, services=True, members=True, since=index)
    with_members.read()
    assert with_members.types == ["resync", "snapshot"]


def test_what_nobody_watches_is_forgotten_after_a_while() -> None:
    scene = Scene()
    client = scene.client(service="web")
    client.lose()
    scene.now += WATCH_LINGER_S
    scene.publish(scene.view.put(an_instance()))
    client.come_back()
    client.read()
    assert client.types == ["resync", "snapshot"]
    assert client.known.keys() == {("ann", "web")}


def test_only_so_many_services_are_followed_for_those_who_may_come_back() -> None:
    scene = Scene()
    for number in range(3 * WATCH_LINGERING_MAX):
        scene.client(service=f"s{number}").lose()
    assert len(scene.watches._scopes) == WATCH_LINGERING_MAX


def test_who_missed_more_than_a_watcher_may_hold_begins_anew() -> None:
    scene = Scene()
    client = scene.client(service="web")
    client.lose()
    for port in range(1, WATCH_EVENTS_MAX + 1):
        scene.publish(scene.view.put(an_instance(port=port)))
    client.come_back()
    client.read()
    assert client.types == ["resync", "snapshot"]


def test_who_missed_what_is_not_held_any_more_begins_anew() -> None:
    scene = Scene()
    client, other = scene.client(service="web"), scene.client(service="db")
    client.lose()
    scene.publish(scene.view.put(an_instance()))
    for port in range(1, WATCH_LOG_MAX + 1):
        scene.publish(scene.view.put(an_instance("db", port=port)))
    client.come_back()
    client.read()
    assert client.types == ["resync", "snapshot"]
    other.lose()


def test_a_burst_of_member_news_beyond_the_limit_is_a_resync_for_who_comes_back() -> None:
    scene = Scene()
    client = scene.client(services=True, members=True)
    client.lose()
    scene.publish(*[scene.view.put_member(a_member("bob")) for _ in range(MEMBER_NEWS_MAX + 1)])
    client.come_back()
    client.read()
    assert client.types == ["resync", "snapshot"]


def test_members_and_the_view_are_told_again_too() -> None:
    scene = Scene()
    client = scene.client(services=True, members=True)
    client.lose()
    scene.publish(scene.view.put_member(a_member("bob")))
    scene.publish(IsolationChanged(isolated=True, silent_s=5.0))
    client.come_back()
    client.read()
    assert client.types == ["member", "view", "resumed"]


def cut(scene: Scene, *names: str) -> None:
    for name in names:
        scene.view.rows[name, "web"] = replace(scene.view.rows[name, "web"], status="unreachable", ready=False)
    scene.view.index += 1
    scene.publish(CutShown(members=tuple(map(NodeId, names)), held_s=1.0))


def test_all_but_the_last_event_of_one_index_say_that_more_follow() -> None:
    scene = Scene()
    for name in ("bob", "cat", "dee"):
        scene.publish(scene.view.put(an_instance(node=name)))
    client = scene.client(service="web")
    cut(scene, "bob", "cat", "dee")
    cut(scene, "bob")  # nothing that shows
    scene.publish(scene.view.put(an_instance(node="bob")))
    events = scene.read(client.watcher)
    assert [(event["index"], event.get("more")) for event in events] == [(5, True), (5, True), (5, None), (7, None)]


def test_who_read_half_of_a_cut_is_told_the_whole_when_it_comes_back() -> None:
    scene = Scene()
    for name in ("bob", "cat"):
        scene.publish(scene.view.put(an_instance(node=name)))
    client = scene.client(service="web")
    cut(scene, "bob", "cat")
    client.read(bytes_max=1)
    assert client.types == ["changed"]
    client.lose()
    client.come_back()
    client.read()
    assert client.types == ["changed", "changed", "resumed"]


def test_no_two_looks_tell_under_one_index_even_if_the_view_stands_still() -> None:
    scene = Scene()
    client = scene.client(service="web")
    for port in (80, 81):
        change = scene.view.put(an_instance(port=port))
        scene.view.index = 7
        scene.publish(change)
    assert [event["index"] for event in scene.read(client.watcher)] == [7, 8]


def test_the_log_is_bounded_in_number_and_bytes() -> None:
    log = ChangeLog()
    for number in range(2 * WATCH_LOG_MAX):
        log.append(Change("web", {"n": number}, index=number))
    assert log.after(WATCH_LOG_MAX - 2, ["web"]) is None
    held = log.after(WATCH_LOG_MAX - 1, ["web"])
    assert held is not None
    assert len(held) == WATCH_LOG_MAX
    for number in range(5):
        log.append(Change("web", {"n": "x" * (WATCH_LOG_BYTES_MAX // 2)}, index=10_000 + number))
    assert log.after(10_003, ["web"]) is not None
    assert log.after(10_002, ["web"]) is None


@pytest.mark.parametrize(
    ("scopes", "found"),
    [(["web"], ["web", VIEW]), ([ALL], ["web", "db", VIEW]), ([MEMBERS], [MEMBERS, VIEW]), ([], [VIEW])],
)
def test_the_log_gives_what_belongs_to_the_scopes_and_to_everybody(scopes: list[str], found: list[str]) -> None:
    log = ChangeLog()
    for scope in ("web", MEMBERS, "db", VIEW):
        log.append(Change(scope, {}, index=1))
    assert [change.scope for change in log.after(0, scopes) or []] == found


def test_a_scope_that_is_watched_twice_is_followed_until_the_second_has_gone() -> None:
    scopes = Scopes()
    assert scopes.enter("web", index=1)
    assert not scopes.enter("web", index=2)
    scopes.leave("web", now=0.0)
    assert scopes.pop_over(now=10 * WATCH_LINGER_S) == []
    scopes.leave("web", now=0.0)
    assert scopes.followed_since("web", 1)
    assert not scopes.followed_since("web", 0)
    assert scopes.pop_over(now=WATCH_LINGER_S) == ["web"]
    assert "web" not in scopes


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(["ann", "bob", "cat"]), st.integers(1, 9)),
        st.tuples(st.just("remove"), st.sampled_from(["ann", "bob", "cat"]), st.just(0)),
        st.tuples(st.just("flush"), st.just(""), st.just(0)),
        st.tuples(st.just("read"), st.just(""), st.sampled_from([1, 1_000, 1 << 20])),
        st.tuples(st.just("lose"), st.just(""), st.just(0)),
        st.tuples(st.just("wait"), st.just(""), st.integers(1, 90)),
    ),
    max_size=40,
)


@given(STEPS)
def test_whatever_happens_a_client_that_comes_back_ends_with_what_is_there(steps: list[tuple[str, str, int]]) -> None:
    scene = Scene()
    client = scene.client(service="web")
    for step, node, number in steps:
        match step:
            case "put":
                scene.watches.note([scene.view.put(an_instance(node=node, port=number))])
            case "remove" if (node, "web") in scene.view.rows:
                scene.watches.note([scene.view.remove(node, "web")])
            case "flush":
                scene.watches.flush(now=scene.now)
            case "read":
                client.read(bytes_max=number)
            case "lose":
                client.lose()
                client.come_back()
            case "wait":
                client.lose()
                scene.now += number
                client.come_back()
    scene.watches.flush(now=scene.now)
    client.read()
    assert {key: row["port"] for key, row in client.known.items()} == {
        key: row.port for key, row in scene.view.rows.items()
    }
