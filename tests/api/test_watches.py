"""A snapshot, then each change once; whoever does not read is told to start afresh, and holds a bounded number of events."""

import json
from collections.abc import Sequence
from dataclasses import replace

import msgpack

from gossipd.api.dispatch import Answers, Counters
from gossipd.api.encoding import JSON, MESSAGE_PACK, Encoding
from gossipd.api.methods import parse_request
from gossipd.api.requests import Watch
from gossipd.api.watches import MEMBER_NEWS_MAX, Watcher, Watches
from gossipd.core.events import CutShown, Event, GuardChanged, IsolationChanged, RecordChanged, SyncFinished
from gossipd.ids import Address, NodeId, Version
from gossipd.limits import WATCH_EVENTS_MAX, WATCH_LINGER_S
from gossipd.records import Mode, NodeInfo, Record
from tests.fakes_api import FakeCommands, FakeView, a_member, a_member_change, an_instance

A_SYNC = SyncFinished(stream=1, address=Address("10.0.0.2", 7700), peer=NodeId("bob"), opened_by_us=True, error=None)


class Scene:
    """A view, its watches, and what was told."""

    def __init__(self) -> None:
        self.view = FakeView()
        self.counters = Counters()
        self.answers = Answers(view=self.view, commands=FakeCommands(), statistics=dict)
        self.watches = Watches(view=self.view, answers=self.answers, counters=self.counters)
        self.now = 100.0
        self.news: list[int | str] = []

    def watch(self, id: int | str = 1, encoding: Encoding = JSON, **params: object) -> Watcher:
        request = parse_request("watch", params)
        assert isinstance(request, Watch)
        return self.watches.open(id, request, encoding, on_news=lambda: self.news.append(id), now=self.now)

    def publish(self, *events: Event) -> None:
        self.watches.note(events)
        self.watches.flush(now=self.now)

    def read(self, watcher: Watcher, *, bytes_max: int = 1 << 20) -> list[dict[str, object]]:
        messages = self.watches.take(watcher, bytes_max=bytes_max, now=self.now)
        if watcher.encoding is JSON:
            decoded = [json.loads(message) for message in messages]
        else:
            decoded = [msgpack.unpackb(message[4:]) for message in messages]
        assert all(message.keys() == {"id", "event"} and message["id"] == watcher.id for message in decoded)
        return [message["event"] for message in decoded]


def brief(events: Sequence[dict[str, object]]) -> list[object]:
    """The types of *events*, with the port of the instance or the change of the member."""
    found: list[object] = []
    for event in events:
        instance = event.get("instance")
        if isinstance(instance, dict):
            found.append((event["type"], instance["node"], instance["port"], instance["status"]))
        elif event["type"] == "member":
            found.append((event["before"], event["after"]))
        else:
            found.append(event["type"])
    return found


def test_a_watch_begins_with_a_snapshot_and_its_view() -> None:
    scene = Scene()
    scene.view.put(an_instance("web"))
    scene.view.put(an_instance("db"))
    [event] = scene.read(scene.watch(service="web"))
    assert event.keys() == {"type", "instances", "index", "view"}
    assert [row["service"] for row in event["instances"]] == ["web"]  # type: ignore[attr-defined]
    assert event["view"] == {
        "isolated": False,
        "met": True,
        "members_alive": 1,
        "members_known": 1,
        "stalest_owner_age_s": 0.25,
        "index": 3,
    }


def test_an_instance_comes_changes_and_goes() -> None:
    scene = Scene()
    watcher = scene.watch(service="web")
    scene.read(watcher)
    scene.publish(scene.view.put(an_instance(port=80)))
    scene.publish(scene.view.put(an_instance(port=81)))
    scene.publish(scene.view.remove("ann", "web"))
    scene.publish(scene.view.put(an_instance("db")))
    assert brief(scene.read(watcher)) == [
        ("up", "ann", 80, "passing"),
        ("changed", "ann", 81, "passing"),
        ("down", "ann", 81, "passing"),
    ]


def test_what_only_grew_older_is_no_change() -> None:
    scene = Scene()
    watcher = scene.watch(service="web")
    scene.publish(scene.view.put(an_instance()))
    scene.read(watcher)
    scene.publish(scene.view.put(replace(an_instance(), age_s=7.0)))
    assert scene.read(watcher) == []


def test_a_failed_node_makes_its_instances_unreachable_and_back() -> None:
    scene = Scene()
    scene.view.put_member(a_member("bob"))
    scene.view.put(an_instance(node="bob"))
    watcher = scene.watch()
    scene.read(watcher)
    scene.publish(scene.view.put_member(a_member("bob", status="failed")))
    scene.publish(scene.view.put_member(a_member("bob")))
    assert brief(scene.read(watcher)) == [("changed", "bob", 80, "unreachable"), ("changed", "bob", 80, "passing")]


def test_a_node_that_appears_after_its_records_is_told_at_the_cost_of_its_own() -> None:
    scene = Scene()
    for number in range(100):
        scene.view.put(an_instance(node=f"n{number}"))
    every, one = scene.watch(), scene.watch(2, service="web")
    scene.read(every)
    scene.read(one)
    scene.view.put(an_instance(node="bob"))
    scene.view.put(an_instance("db", node="bob"))
    rows_read = scene.view.rows_read
    scene.publish(scene.view.put_member(a_member("bob")))
    up = ("up", "bob", 80, "passing")
    assert (brief(scene.read(every)), brief(scene.read(one))) == ([up, up], [up])
    assert scene.view.rows_read == rows_read


def test_what_a_node_says_of_itself_is_told_of_its_instances() -> None:
    scene = Scene()
    for node in ("ann", "bob"):
        scene.view.put(an_instance(node=node))
    watcher = scene.watch(service="web")
    scene.read(watcher)
    for node in ("ann", "bob"):
        scene.view.put(replace(an_instance(node=node), status="draining", ready=False))  # only bob's node will say so
    info = Record(owner=NodeId("bob"), version=Version(1, 2), floor=0, key="node", content=NodeInfo(mode=Mode.DRAINING))
    source = NodeId("bob")
    scene.publish(
        RecordChanged(
            owner=source, key="node", before=None, after=info, version=info.version, source=source, how="gossip"
        )
    )
    assert brief(scene.read(watcher)) == [("changed", "bob", 80, "draining")]


def test_records_that_came_before_their_member_are_up_with_the_member() -> None:
    scene = Scene()
    watcher = scene.watch(service="web")
    scene.read(watcher)
    scene.view.put(an_instance(node="bob"))  # not published: the view hid it until its owner was known
    scene.publish(a_member_change("bob", before=None, after="alive"))
    assert brief(scene.read(watcher)) == [("up", "bob", 80, "passing")]


def test_an_instance_that_changes_its_service_goes_from_one_and_comes_to_the_other() -> None:
    scene = Scene()
    scene.view.put(an_instance("web", id="x"))
    web, api, both = scene.watch(1, service="web"), scene.watch(2, service="api"), scene.watch(3)
    for watcher in (web, api, both):
        scene.read(watcher)
    scene.publish(scene.view.put(an_instance("api", id="x")))
    assert brief(scene.read(web)) == [("down", "ann", 80, "passing")]
    assert brief(scene.read(api)) == [("up", "ann", 80, "passing")]
    assert [event["type"] for event in scene.read(both)] == ["down", "up"]


def test_members_are_told_with_before_and_after() -> None:
    scene = Scene()
    watcher = scene.watch(members=True)
    [snapshot] = scene.read(watcher)
    assert snapshot.keys() == {"type", "members", "index", "view"}
    scene.publish(scene.view.put_member(a_member("bob")))
    scene.publish(scene.view.put_member(a_member("bob", status="failed")))
    del scene.view.people["bob"]
    scene.publish(a_member_change("bob", before="failed", after=None))
    events = scene.read(watcher)
    assert brief(events) == [(None, "alive"), ("alive", "failed"), ("failed", None)]
    assert events[2]["member"]["name"] == "bob"  # type: ignore[index]


def test_isolation_is_told_to_every_watcher() -> None:
    scene = Scene()
    watchers = [scene.watch(1, service="web"), scene.watch(2), scene.watch(3, members=True)]
    for watcher in watchers:
        scene.read(watcher)
    scene.view.isolated = True
    scene.publish(IsolationChanged(isolated=True, silent_s=5.0))
    for watcher in watchers:
        [event] = scene.read(watcher)
        assert (event["type"], event["view"]["isolated"]) == ("view", True)  # type: ignore[index]


def test_that_the_daemon_has_met_its_peers_is_told_once_behind_what_they_told_it() -> None:
    scene = Scene()
    scene.view.met = False
    watcher = scene.watch(service="web")
    scene.read(watcher)
    scene.publish(A_SYNC)
    assert scene.read(watcher) == []
    scene.view.met = True  # with the event, or by time
    scene.publish(scene.view.put(an_instance(node="bob")))
    up, view = scene.read(watcher)
    assert (up["type"], up["more"], view["type"], view["index"]) == ("up", True, "view", up["index"])
    assert view["view"]["met"] is True  # type: ignore[index]
    scene.publish(A_SYNC)
    assert scene.read(watcher) == []


def test_a_change_before_the_watch_is_in_its_snapshot_and_is_not_told_again() -> None:
    scene = Scene()
    first = scene.watch(1, service="web")
    scene.read(first)
    scene.watches.note([scene.view.put(an_instance())])  # not flushed yet
    second = scene.watch(2, service="web")
    scene.watches.flush(now=scene.now)
    assert brief(scene.read(first)) == [("up", "ann", 80, "passing")]
    assert brief(scene.read(second)) == ["snapshot"]
    assert scene.read(second) == []


def test_one_event_too_many_drops_all_and_tells_resync_with_a_fresh_snapshot() -> None:
    scene = Scene()
    slow, quick = scene.watch(1, service="web"), scene.watch(2, service="web")
    scene.read(slow)
    for port in range(1, WATCH_EVENTS_MAX + 1):
        scene.publish(scene.view.put(an_instance(port=port)))
        scene.read(quick)
    assert len(slow.pending) == WATCH_EVENTS_MAX
    assert scene.counters.resyncs == 0
    scene.publish(scene.view.put(an_instance(port=9_999)))
    assert len(slow.pending) == 0
    events = scene.read(slow)
    assert brief(events) == ["resync", "snapshot"]
    assert [row["port"] for row in events[1]["instances"]] == [9_999]  # type: ignore[attr-defined]
    assert scene.counters.resyncs == 1
    scene.publish(scene.view.put(an_instance(port=10_000)))
    assert brief(scene.read(slow)) == [("changed", "ann", 10_000, "passing")]


def test_a_watcher_that_never_reads_holds_a_bounded_number_while_100_000_events_pass() -> None:
    scene = Scene()
    stalled, reading = scene.watch(1, services=True, members=True), scene.watch(2, service="web")
    scene.read(stalled)
    told = 0
    most = 0
    for number in range(1_000):
        changes: list[Event] = [scene.view.put(an_instance(id=f"i{at}", port=1 + number)) for at in range(100)]
        scene.publish(*changes)
        most = max(most, len(stalled.pending))
        told += len(scene.read(reading))
    assert most <= WATCH_EVENTS_MAX
    assert told >= 99_900  # the first hundred are in the snapshot
    assert brief(scene.read(stalled)) == ["resync", "snapshot"]


def test_a_burst_of_member_news_beyond_the_limit_becomes_a_resync() -> None:
    scene = Scene()
    watcher = scene.watch(members=True)
    scene.read(watcher)
    scene.publish(*[scene.view.put_member(a_member("bob")) for _ in range(MEMBER_NEWS_MAX + 1)])
    assert brief(scene.read(watcher)) == ["resync", "snapshot"]


def test_many_marked_instances_are_found_by_reading_everything_once() -> None:
    scene = Scene()
    watcher = scene.watch()
    scene.read(watcher)
    changes = [scene.view.put(an_instance(id=f"i{at:04}")) for at in range(5_000)]
    scene.watches.note(changes)
    reads = scene.view.reads
    scene.watches.flush(now=scene.now)
    assert scene.view.reads == reads + 1
    assert brief(scene.read(watcher)) == ["resync", "snapshot"]


def test_one_change_is_encoded_once_for_all_watchers_of_an_encoding() -> None:
    scene = Scene()
    watchers = [scene.watch(1), scene.watch(2), scene.watch(3, MESSAGE_PACK)]
    for watcher in watchers:
        scene.read(watcher)
    scene.publish(scene.view.put(an_instance()))
    changes = [watcher.pending[0] for watcher in watchers]
    assert changes[0] is changes[1] is changes[2]
    assert changes[0].encoded(JSON, more=False) is changes[0].encoded(JSON, more=False)
    events = [scene.read(watcher) for watcher in watchers]
    assert events[0] == events[1] == events[2]


def test_a_watch_that_is_closed_costs_nothing_more_once_nobody_may_come_back_for_it() -> None:
    scene = Scene()
    watcher = scene.watch(service="web")
    scene.watches.close(watcher, now=scene.now)
    assert scene.counters.watches == 0
    assert scene.watches.note([scene.view.put(an_instance())]) is True
    scene.now += WATCH_LINGER_S
    scene.watches.flush(now=scene.now)
    assert scene.watches.note([scene.view.put(an_instance())]) is False
    reads = scene.view.reads
    scene.watches.flush(now=scene.now)
    assert scene.view.reads == reads


def test_a_client_is_roused_once_until_it_reads() -> None:
    scene = Scene()
    watcher = scene.watch(service="web")
    scene.read(watcher)
    scene.publish(scene.view.put(an_instance(port=1)))
    scene.publish(scene.view.put(an_instance(port=2)))
    assert scene.news == [1]


def test_events_are_taken_in_pieces_of_about_the_size_asked_for() -> None:
    scene = Scene()
    watcher = scene.watch(service="web")
    scene.read(watcher)
    for port in range(1, 11):
        scene.publish(scene.view.put(an_instance(port=port)))
    assert len(scene.read(watcher, bytes_max=1)) == 1
    assert len(scene.read(watcher)) == 9


def test_a_cut_that_shows_is_told_with_one_index_and_a_suspicion_is_not_told() -> None:
    scene = Scene()
    for name in ("bob", "cat"):
        scene.view.put_member(a_member(name))
        scene.view.put(an_instance(node=name))
    watcher = scene.watch(service="web")
    scene.read(watcher)
    for name in ("bob", "cat"):  # found dead, and the verdict is held
        scene.view.rows[name, "web"] = replace(scene.view.rows[name, "web"], node_status="failed")
        scene.publish(a_member_change(name, before="suspect", after="failed"))
    assert scene.read(watcher) == []
    for name in ("bob", "cat"):
        scene.view.rows[name, "web"] = replace(scene.view.rows[name, "web"], status="unreachable", ready=False)
    scene.publish(CutShown(members=(NodeId("bob"), NodeId("cat")), held_s=2.0))
    told = scene.read(watcher)
    assert brief(told) == [("changed", "bob", 80, "unreachable"), ("changed", "cat", 80, "unreachable")]
    assert len({event["index"] for event in told}) == 1


def test_the_marks_of_the_guard_and_of_isolation_are_told_when_they_come_and_go() -> None:
    scene = Scene()
    scene.view.put_member(a_member("bob"))
    scene.view.put(an_instance(node="bob"))
    watcher = scene.watch(service="web")
    scene.read(watcher)
    mark = replace(scene.view.rows["bob", "web"], degraded=True)
    scene.view.rows["bob", "web"] = mark
    scene.publish(GuardChanged(service="web", nodes=(NodeId("bob"),), kept=1, ready=0, cause="last"))
    scene.view.rows["bob", "web"] = replace(mark, degraded=False)
    scene.publish(IsolationChanged(isolated=False, silent_s=0.0))
    told = [event for event in scene.read(watcher) if event["type"] == "changed"]
    assert [event["instance"]["degraded"] for event in told] == [True, False]  # type: ignore[index]
