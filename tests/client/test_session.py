"""What outlives a connection, without a socket: what is asked again, registered again, watched on, and what is not."""

import json
from random import Random

import pytest

from gossipd.client.session import PIPELINED, Feed, Session
from gossipd.errors import RequestError

GONE = RequestError("disconnected", "it went")


def a_session(*, opened: bool = True, events_max: int = 4_096) -> Session:
    session = Session(rng=Random(1), events_max=events_max)
    if opened:
        session.opened(now=0.0)
    return session


def said(data: bytes) -> list[tuple[str, dict[str, object]]]:
    """Return the methods and parameters that *data* asks for."""
    asked = [json.loads(line) for line in data.splitlines()]
    return [(one["method"], one["params"]) for one in asked]


def tell(session: Session, id: int, **message: object) -> bytes:
    return session.receive(json.dumps({"id": id, **message}).encode() + b"\n", now=1.0)


def nothing() -> None:
    return None


def registered(session: Session, **params: object) -> None:
    asked, _ = session.ask("register", params, on_done=nothing)
    tell(session, asked.id, result={"registration": {}})


def a_feed(session: Session, **params: object) -> Feed:
    feed, _ = session.watch(params, on_event=nothing)
    return feed


def test_a_request_that_meets_no_connection_is_said_on_the_next() -> None:
    session, ended = a_session(opened=False), []
    asked, data = session.ask("resolve", {"service": "web"}, on_done=lambda: ended.append(1))
    assert data == b""
    assert said(session.opened(now=0.0)) == [("resolve", {"service": "web"})]
    tell(session, asked.id, result={"instances": []})
    assert (asked.result, ended) == ({"instances": []}, [1])


def test_what_was_registered_is_registered_again_before_watches_and_requests() -> None:
    session = a_session()
    session.ask("info", {}, on_done=nothing)
    a_feed(session, service="db")
    registered(session, name="web", port=80)
    session.lost(GONE, now=1.0)
    assert said(session.opened(now=2.0)) == [
        ("register", {"name": "web", "port": 80}),
        ("watch", {"service": "db"}),
        ("info", {}),
    ]


def test_what_was_withdrawn_refused_or_is_kept_by_the_daemon_is_not_registered_again() -> None:
    session = a_session()
    registered(session, name="gone", port=80)
    asked, _ = session.ask("deregister", {"id": "gone"}, on_done=nothing)
    tell(session, asked.id, error={"code": "not_found", "message": "m"})
    registered(session, name="kept", port=80, kept=True)
    asked, _ = session.ask("register", {"name": "bad", "port": 0}, on_done=nothing)
    tell(session, asked.id, error={"code": "bad_request", "message": "m"})
    session.lost(GONE, now=1.0)
    assert said(session.opened(now=2.0)) == []


def test_a_changed_registration_is_made_again_as_it_was_last() -> None:
    session = a_session()
    registered(session, name="web", id="a", port=80)
    registered(session, name="web", id="a", port=81)
    session.lost(GONE, now=1.0)
    assert said(session.opened(now=2.0)) == [("register", {"name": "web", "id": "a", "port": 81})]


def test_a_registration_that_is_refused_when_made_again_says_why_and_is_tried_at_the_next_connection() -> None:
    session = a_session()
    registered(session, name="web", port=80)
    session.lost(GONE, now=1.0)
    [line] = session.opened(now=2.0).splitlines()
    tell(session, json.loads(line)["id"], error={"code": "quota", "message": "too many"})
    error = session.registrations["web"].error
    assert error is not None
    assert error.code == "quota"
    session.lost(GONE, now=3.0)
    assert said(session.opened(now=4.0)) == [("register", {"name": "web", "port": 80})]


def test_leave_and_what_has_another_answer_are_not_asked_again() -> None:
    session = a_session()
    leave, _ = session.ask("leave", {}, on_done=nothing)
    once, _ = session.ask("resolve", {"service": "web"}, again=False, on_done=nothing)
    session.lost(GONE, now=1.0)
    assert leave.error is once.error is GONE
    assert session.opened(now=2.0) == b""


@pytest.mark.parametrize(
    ("events", "since"),
    [
        ([{"type": "snapshot", "index": 7}], 7),
        ([{"type": "snapshot", "index": 7}, {"type": "up", "index": 8, "more": True}], 7),
        ([{"type": "snapshot", "index": 7}, {"type": "up", "index": 8}], 8),
        ([{"type": "snapshot", "index": 7}, {"type": "resync"}], None),
        ([], None),
    ],
)
def test_a_watch_goes_on_after_the_last_index_that_it_has_all_of(
    events: list[dict[str, object]], since: int | None
) -> None:
    session = a_session()
    feed = a_feed(session, service="web")
    for event in events:
        tell(session, feed.id, event=event)
    session.lost(GONE, now=1.0)
    expected = {"service": "web"} | ({} if since is None else {"since": since})
    assert said(session.opened(now=2.0)) == [("watch", expected)]


def test_a_watch_that_nobody_reads_begins_afresh() -> None:
    session = a_session(events_max=2)
    feed = a_feed(session, service="web")
    for index in range(3):
        tell(session, feed.id, event={"type": "up", "index": index})
    assert len(feed.events) == 0
    before = feed.id
    event, data = session.take(feed)
    assert event == {"type": "resync"}
    assert said(data) == [("unwatch", {"id": before}), ("watch", {"service": "web"})]
    tell(session, before, event={"type": "up", "index": 9})  # said before it was ended
    assert session.take(feed) == (None, b"")
    tell(session, feed.id, event={"type": "snapshot", "index": 9})
    assert session.take(feed) == ({"type": "snapshot", "index": 9}, b"")


def test_a_refused_watch_says_why_and_is_not_opened_again() -> None:
    session = a_session()
    feed = a_feed(session, service="NO LABEL")
    tell(session, feed.id, error={"code": "bad_request", "message": "m"})
    with pytest.raises(RequestError, match="m"):
        session.take(feed)
    session.lost(GONE, now=1.0)
    assert session.opened(now=2.0) == b""


def test_the_end_of_a_watch_that_nobody_ended_is_followed_by_the_next_connection() -> None:
    session = a_session()
    feed = a_feed(session, service="web")
    tell(session, feed.id, end={"reason": "closed"})
    session.lost(GONE, now=1.0)
    assert said(session.opened(now=2.0)) == [("watch", {"service": "web"})]


def test_no_more_is_said_at_once_than_the_daemon_reads() -> None:
    session = a_session()
    for port in range(1, 200):
        registered(session, name="web", id=str(port), port=port)
    session.lost(GONE, now=1.0)
    lines = session.opened(now=2.0).splitlines()
    assert len(lines) == PIPELINED
    heard = 0
    while heard < len(lines):
        lines += tell(session, json.loads(lines[heard])["id"], result={"registration": {}}).splitlines()
        heard += 1
    assert [params["port"] for _, params in said(b"\n".join(lines))] == list(range(1, 200))


def test_a_refused_connection_is_of_no_use_and_does_not_shorten_the_next_pause() -> None:
    session = a_session()
    session.lost(GONE, now=1.0)
    session.opened(now=2.0)
    with pytest.raises(RequestError) as caught:
        session.receive(b'{"id":null,"error":{"code":"too_many_connections","message":"m"}}\n', now=2.0)
    assert caught.value.code == "too_many_connections"
    assert session.plan.failures == 1
    tell(session, 999, result={})
    assert session.plan.failures == 0


def test_a_question_that_only_wants_a_sign_of_life_is_asked_once_at_a_time() -> None:
    session = a_session()
    data = session.ping()
    assert said(data) == [("info", {})]
    assert session.ping() == b""
    tell(session, json.loads(data)["id"], result={})
    assert said(session.ping()) == [("info", {})]
    session.lost(GONE, now=1.0)
    assert session.ping() == b""


def test_the_end_tells_everybody() -> None:
    session = a_session()
    asked, _ = session.ask("info", {}, on_done=nothing)
    feed = a_feed(session, service="web")
    session.end(GONE)
    assert asked.error is GONE
    with pytest.raises(RequestError, match="it went"):
        session.take(feed)
    with pytest.raises(RequestError, match="it went"):
        session.ask("info", {}, on_done=nothing)
    with pytest.raises(RequestError, match="it went"):
        session.watch({"service": "web"}, on_event=nothing)


def test_a_65th_watch_is_refused() -> None:
    session = a_session()
    for _ in range(64):
        a_feed(session, service="web")
    with pytest.raises(RequestError, match="expected fewer than 64") as caught:
        a_feed(session, service="web")
    assert caught.value.code == "too_many_watches"
