"""The client for sync code against a real server in another thread, which goes away and comes back."""

import gc
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import gossipd.client
from gossipd.client import Backoff, Discovery
from gossipd.errors import RequestError
from gossipd.limits import API_WATCHES_PER_CONNECTION_MAX
from tests.fakes_api import an_instance
from tests.served import DEADLINE_S, a_daemon

SOON = Backoff(base_s=0.005, pause_max_s=0.02)


def a_client(path: Path, *, timeout_s: float = DEADLINE_S, patient: bool = False) -> Discovery:
    return Discovery(path, timeout_s=timeout_s, patient=patient, backoff=SOON)


def test_instances_are_found_by_what_they_are_and_what_they_offer(tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s") as (view, _), a_client(tmp_path / "s") as client:
        row = client.register("web", port=80, tags=["v1"], methods=["users.get"], metadata={"a": "b"}, lease_s=5)
        assert row["holder"] == "lease"
        answer = client.resolve("web", tags=["v1"])
        assert [(one.node, one.id, one.port) for one in answer] == [("ann", "web", 80)]
        assert len(answer) == 1
        assert not answer.stale
        assert answer.view.index == view.index
        client.deregister("web")
        assert client.resolve("web").endpoints == ()


def test_the_methods_of_an_instance_are_metadata_that_resolve_filters_by(tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s") as (_, commands), a_client(tmp_path / "s") as client:
        client.register("web", port=80, methods=["users.get"], metadata={"a": "b"})
        service, _ = commands.registered["web"]
        assert dict(service.metadata) == {"a": "b", "rpc:users.get": "1"}
        assert client.resolve("web", methods=["users.get"]).endpoints == ()  # the fake view has metadata of its own


def test_many_threads_share_a_client(tmp_path: Path) -> None:
    found = []

    def ask(client: Discovery, name: str) -> None:
        for _ in range(20):
            found.append((name, client.resolve(name).endpoints[0].service))

    with a_daemon(tmp_path / "s") as (view, _), a_client(tmp_path / "s") as client:
        names = [f"service-{number}" for number in range(8)]
        for name in names:
            view.put(an_instance(name))
        threads = [threading.Thread(target=ask, args=(client, name)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
    assert len(found) == 160
    assert all(asked == answered for asked, answered in found)


def test_a_restart_of_the_daemon_is_survived(tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s"):
        client = a_client(tmp_path / "s")
        client.register("web", port=80)
        events = client.watch("web", timeout_s=DEADLINE_S)
        assert next(events)["type"] == "snapshot"
        fresh = client.resolve("web")
    stale = client.resolve("web")
    assert stale.endpoints == fresh.endpoints
    assert (fresh.stale, stale.stale) == (False, True)
    asked: list[object] = []
    waiting = threading.Thread(target=lambda: asked.append(client.call("info")["info"]["name"]))
    waiting.start()
    with a_daemon(tmp_path / "s") as (_, commands):
        waiting.join(DEADLINE_S)
        assert asked == ["ann"]
        assert "web" in commands.registered
        assert [one.port for one in client.resolve("web")] == [80]
        client.register("web", port=81)
        assert any(81 in _ports(event) for event in events)
        assert client.connected
        client.close()


def _ports(event: dict[str, Any]) -> list[int]:
    rows = event.get("instances") or [event[name] for name in ("instance",) if name in event]
    return [row["port"] for row in rows]


@pytest.mark.parametrize("held", ["_lock", "_writing"])
def test_watches_that_the_garbage_collector_finds_while_a_lock_is_held_end_all_the_same(
    tmp_path: Path, held: str
) -> None:
    def drop(client: Discovery) -> None:
        events = client.watch("web", timeout_s=DEADLINE_S)
        next(events)
        cycle: list[object] = [events]
        cycle.append(cycle)

    def collect(client: Discovery) -> None:
        with getattr(client, held):  # as an allocation would, in the middle of the work of any thread
            gc.collect()

    with a_daemon(tmp_path / "s"), a_client(tmp_path / "s") as client:
        gc.disable()
        try:
            for _ in range(API_WATCHES_PER_CONNECTION_MAX):
                drop(client)
            collector = threading.Thread(target=collect, args=(client,), daemon=True)
            collector.start()
            collector.join(DEADLINE_S)
        finally:
            gc.enable()
        assert not collector.is_alive()
        others = [client.watch("web", timeout_s=DEADLINE_S) for _ in range(API_WATCHES_PER_CONNECTION_MAX)]
        assert [next(events)["type"] for events in others] == ["snapshot"] * len(others)


def test_nobody_speaks_on_a_new_connection_before_what_was_registered_is_registered_again(tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s"):
        client = a_client(tmp_path / "s")
        client.register("web", port=80)
    opened, first = client._session.opened, []

    def opening(*, now: float) -> bytes:
        first.append(client._writing.locked())
        return opened(now=now)

    client._session.opened = opening  # type: ignore[method-assign]
    with client, a_daemon(tmp_path / "s"):
        client.deregister("web")
    assert first == [True]


def test_the_first_use_says_that_there_is_no_daemon_and_the_patient_wait_for_it(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is it running") as caught:
        a_client(tmp_path / "s").resolve("web")
    assert caught.value.code == "no_daemon"
    with a_client(tmp_path / "s", patient=True) as client:
        with pytest.raises(RequestError, match=r"did not come back within 0\.05 s: no gossipd answers") as caught:
            client.call("info", timeout_s=0.05)
        assert caught.value.code == "disconnected"
        assert client.stale
        assert client.age_s is None
        with a_daemon(tmp_path / "s"):
            assert client.call("info")["info"]["name"] == "ann"
            assert not client.stale


def test_a_timeout_below_a_microsecond_is_not_for_ever(tmp_path: Path) -> None:
    mine, theirs = socket.socketpair()
    with mine, theirs, a_client(tmp_path / "s", timeout_s=1e-9, patient=True) as client:
        client._begin(mine)
        assert mine.getsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, 16) != bytes(16)


def test_waiting_for_an_instance_holds_nobody_else(tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s"), a_client(tmp_path / "s") as client:
        found: list[int] = []
        waiting = threading.Thread(
            target=lambda: found.extend(one.port for one in client.wait("web", wait_s=DEADLINE_S))
        )
        waiting.start()
        client.register("web", port=80)
        waiting.join(DEADLINE_S)
        assert found == [80]
        with pytest.raises(RequestError) as caught:
            client.wait("db", wait_s=0)
        assert caught.value.code == "timeout"
        assert caught.value.details["missing"]


def test_a_closed_client_says_what_to_do_and_ends_who_waits(tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s"):
        client = a_client(tmp_path / "s")
        events = client.watch("web")
        next(events)
        closing = threading.Thread(target=client.close)
        closing.start()
        with pytest.raises(RequestError, match="make another") as caught:
            next(events)
        assert caught.value.code == "closed"
        closing.join(DEADLINE_S)
        client.close()
        with pytest.raises(RequestError, match="make another"):
            client.resolve("web")


def test_a_child_may_not_use_its_parents_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with a_daemon(tmp_path / "s"), a_client(tmp_path / "s") as client:
        me = os.getpid()
        mirror = client.mirror("web")
        events = client.watch("web")
        next(events)
        monkeypatch.setattr(os, "getpid", lambda: me + 1)
        with pytest.raises(RequestError, match="after the fork") as caught:
            client.resolve("web")
        assert caught.value.code == "forked"
        assert mirror.stale
        mirror.close()
        del events  # nor may it end its parent's watches
        monkeypatch.undo()
        assert client.call("statistics")["statistics"]["api"]["watches"] == 2


def test_wrong_arguments_say_what_was_expected(tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s"), a_client(tmp_path / "s") as client:
        for wrong, message in (
            ({"tags": "v1"}, r"tags='v1', expected a list of strings"),
            ({"tags": [1]}, r"tags=\[1\], expected a list"),
            ({"status": "passing"}, "status='passing', expected a list"),
            ({"metadata": ["a"]}, "expected a map"),
            ({"zones": "a"}, "zones='a', expected one of limit, max_age_s"),
            ({"limit": 0}, "limit=0"),
        ):
            with pytest.raises(RequestError, match=message) as caught:
                client.resolve("web", **wrong)
            assert caught.value.code == "bad_request"
        with pytest.raises(RequestError, match="service=5, expected a string"):
            client.resolve(5)  # type: ignore[arg-type]
        with pytest.raises(RequestError, match="port=0"):
            client.register("web", port=0)
        with pytest.raises(RequestError, match="NOT A LABEL"):
            next(client.watch("NOT A LABEL"))
    with pytest.raises(RequestError, match="expected seconds above 0"):
        Discovery(timeout_s=0)


def test_applications_get_neither_the_daemon_nor_what_it_needs() -> None:
    program = (
        "import json, sys; from gossipd.client import Answer, Backoff, Discovery, View, methods_of; "
        "print(json.dumps(sorted({'.'.join(name.split('.')[:2]) for name in sys.modules "
        "if name.split('.')[0] in ('trio', 'anyio', 'asyncio', 'cryptography', 'msgpack', 'gossipd')})))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=os.getcwd())
    small = ["balancing", "client", "errors", "ids", "limits", "nearness", "ranges", "tokens"]
    assert set(json.loads(run.stdout)) <= {"gossipd", *(f"gossipd.{name}" for name in small)}


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Discovry'"):
        gossipd.client.Discovry  # noqa: B018
