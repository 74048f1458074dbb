"""Mirrors and blocks that hold a registration, against a real server in another thread that goes away and comes back."""

import logging
import threading
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from gossipd.balancing import RoundRobin
from gossipd.balancing.endpoint import Endpoint
from gossipd.client import Backoff, Discovery
from gossipd.client.holding import DRAIN_REASON, Pace
from gossipd.errors import NoInstance, RequestError
from gossipd.limits import MIRROR_LISTENERS_MAX
from tests.served import DEADLINE_S, a_daemon


def a_client(path: Path) -> Discovery:
    return Discovery(path, timeout_s=DEADLINE_S, backoff=Backoff(base_s=0.005, pause_max_s=0.02))


class Heard:
    """Remembers what a mirror announced, and waits for a port."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ports: dict[str, list[int]] = {}

    def __call__(self, service: str, endpoints: tuple[Endpoint, ...]) -> None:
        with self._changed:
            self._ports[service] = [one.port for one in endpoints]
            self._changed.notify_all()

    def wait(self, service: str, ports: list[int]) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._ports.get(service) == ports, DEADLINE_S)


def test_a_mirror_follows_over_a_restart_of_the_daemon_and_feeds_a_balancer(tmp_path: Path) -> None:
    heard, balancer = Heard(), RoundRobin(Random(1))
    with a_daemon(tmp_path / "s"):
        client = a_client(tmp_path / "s")
        mirror = client.mirror("web", "db")
        assert (mirror["web"], mirror["db"]) == ((), ())
        mirror.listen(heard)
        mirror.feed("web", balancer)
        client.register("web", port=80)
        assert heard.wait("web", [80])
        assert mirror.ready("web") == mirror["web"]
        assert balancer.pick(now=0.0).port == 80
        assert mirror.view.members_alive == 1
        assert mirror.age_s is not None
    assert [one.port for one in mirror["web"]] == [80]
    with a_daemon(tmp_path / "s"):
        client.register("web", port=81)
        assert heard.wait("web", [81])
        assert balancer.pick(now=0.0).port == 81
        client.close()
    assert [one.port for one in mirror["web"]] == [81]
    assert mirror.stale
    mirror.close()


def test_a_listener_that_fails_is_logged_and_the_others_hear_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard()

    def failing(_service: str, endpoints: tuple[Endpoint, ...]) -> None:
        if endpoints:
            raise ZeroDivisionError

    with a_daemon(tmp_path / "s"), a_client(tmp_path / "s") as client, client.mirror("web") as mirror:
        mirror.listen(failing)
        mirror.listen(heard, "web")
        client.register("web", port=80)
        assert heard.wait("web", [80])
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        with pytest.raises(RequestError, match="expected one of web"):
            mirror.listen(heard, "db")


def test_calls_follow_the_mirror_and_send_nothing_to_who_has_gone(tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s"), a_client(tmp_path / "s") as client, client.mirror("web") as mirror:
        calls, turns = mirror.calls("web"), mirror.calls("web", RoundRobin(Random(1)), lease_s=1.0)
        with pytest.raises(NoInstance, match="no instance is known"):
            calls.pick()
        heard = Heard()
        mirror.listen(heard)
        client.register("web", port=80)
        client.register("web", id="b", port=81)
        assert heard.wait("web", [81, 80])
        assert {turns.pick().endpoint.port for _ in range(2)} == {80, 81}
        client.deregister("b")
        client.register("web", port=82)
        assert heard.wait("web", [82])
        with calls.pick() as lease:
            assert lease.endpoint.port == 82
        assert calls.statistics().succeeded == 1
        with pytest.raises(RequestError, match="expected one of web"):
            mirror.calls("db")


def test_who_makes_calls_anew_for_each_request_is_told_to_keep_them(tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s"), a_client(tmp_path / "s") as client, client.mirror("web") as mirror:
        for _ in range(MIRROR_LISTENERS_MAX):
            mirror.calls("web")
        with pytest.raises(RequestError, match="make them once, and keep them") as caught:
            mirror.calls("web")
        assert caught.value.code == "too_many_listeners"


def test_a_mirror_of_what_is_no_service_says_so(tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s"), a_client(tmp_path / "s") as client:
        with pytest.raises(RequestError) as caught:
            client.mirror("NOT A LABEL")
        assert caught.value.code == "bad_request"
        with pytest.raises(RequestError, match="expected 1 to 64 names"):
            client.mirror()


def test_an_instance_is_drained_and_withdrawn_at_the_end_of_its_block(tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s") as (_, commands), a_client(tmp_path / "s") as client:
        with client.registered("web", port=80, id="a") as web:
            assert web.id == "a"
            assert web.error is None
            assert "a" in commands.registered
        assert commands.asked == [("drain", "a", "its program stops", 1.0)]
        assert commands.registered == {}
        with client.registered("web", port=80, drain_s=0):
            pass
        assert len(commands.asked) == 1


def test_an_instance_that_cannot_be_drained_is_withdrawn_all_the_same(tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RequestError("quota", "4096 instances drain or are under maintenance, expected fewer")

    with a_daemon(tmp_path / "s") as (_, commands), a_client(tmp_path / "s") as client:
        commands.drain = refuse  # type: ignore[assignment, method-assign]
        with client.registered("web", port=80):
            pass
        assert commands.registered == {}


@pytest.mark.parametrize(("reason", "asked"), [(DRAIN_REASON, [("undrain", "web")]), ("its disk is full", [])])
def test_a_program_that_was_killed_while_it_drained_gets_work_again_and_one_that_others_drain_does_not(
    tmp_path: Path, reason: str, asked: list[object]
) -> None:
    with a_daemon(tmp_path / "s") as (_, commands), a_client(tmp_path / "s") as client:
        register = commands.register
        commands.register = lambda service, **given: replace(  # type: ignore[method-assign]
            register(service, **given), mode="draining", reason=reason
        )
        with client.registered("web", port=80, drain_s=0):
            assert commands.asked == asked


def test_a_block_that_ends_while_the_daemon_is_away_does_not_wait_for_it(tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s"):
        client = a_client(tmp_path / "s")
        block = client.registered("web", port=80)
        block.__enter__()
        events = client.watch("web", timeout_s=DEADLINE_S)
        next(events)
    client.close()
    block.__exit__(None, None, None)
    with pytest.raises(RequestError, match="make another"):
        next(events)


def test_a_lease_is_renewed_in_each_third_of_it(tmp_path: Path) -> None:
    pace = Pace(3.0, now=10.0)
    assert [pace.is_due(now=now) for now in (10.0, 10.9, 11.0, 11.5, 12.0)] == [False, False, True, False, True]
    with a_daemon(tmp_path / "s") as (_, commands), a_client(tmp_path / "s") as client:
        with client.registered("web", port=80, lease_s=3_000.0, drain_s=0) as web:
            assert not web.heartbeat()
        with client.registered("web", port=80, drain_s=0) as web:
            assert web.heartbeat()  # the fake renews what has no lease
            web.progress(3)
        assert commands.asked == [("renew", "web"), ("progress", "web", 3)]
