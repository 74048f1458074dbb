"""Local clients that misbehave cost the daemon bounded memory, and nobody else anything; who comes back finds what it missed."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from gossipd.errors import RequestError
from gossipd.limits import API_CONNECTIONS_MAX
from simulations.reality.cluster import Cluster, Daemon, wait_until

pytestmark = pytest.mark.slow

MIB = 1024 * 1024

MEMORY_BOUND = 24 * MIB
"""How much a daemon may grow by any of these clients: one frame of 1 MiB in each encoding and what the allocator keeps of it."""


@pytest.fixture(scope="module")
def pair() -> Iterator[Cluster]:
    """Two daemons that agree; shared, because no client here may harm them."""
    with Cluster() as cluster:
        cluster.start_together(2)
        yield cluster


@pytest.fixture
def daemon(pair: Cluster) -> Iterator[Daemon]:
    """The first; afterwards it has not grown beyond MEMORY_BOUND, answers, and nobody has missed it."""
    target = pair["n1"]
    target.info()
    before = target.rss_bytes()
    yield target
    grown = target.rss_bytes() - before
    assert target.info()["name"] == "n1"
    assert grown < MEMORY_BOUND, f"grew by {grown / MIB:.1f} MiB"
    pair.wait_agreed()
    assert not pair["n2"].log("member suspected")


def test_a_client_that_sends_garbage_is_told_and_closed(daemon: Daemon) -> None:
    for garbage in (
        os.urandom(1_000),
        b"\xff" * 100,
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\0",
        b"{]\n",
        b"[1, 2, 3]\n" * 50,
    ):
        with _connection(daemon) as client:
            client.sendall(garbage)
            client.shutdown(socket.SHUT_WR)
            assert b"error" in _read_all(client), garbage[:20]
    assert daemon.statistics()["api"]["bad_frames"] >= 1


def test_a_client_that_stops_in_half_a_frame_holds_up_nobody(daemon: Daemon) -> None:
    with ExitStack() as stack:
        for half in [b"\0\x0f\xff\xff\x81", b'{"id": 1, "method": "inf', b"\0\0"] * 20:
            stack.enter_context(_connection(daemon)).sendall(half)
        assert daemon.info()["name"] == "n1"
        assert daemon.statistics()["api"]["connections"] > 60


@pytest.mark.parametrize("line", [b"x" * MIB, b'{"id": 1, "method": "' + b"y" * MIB, b"\x00\xff\xff\xff" + b"z" * MIB])
def test_a_client_that_sends_10_mb_without_an_end_is_told_and_closed(daemon: Daemon, line: bytes) -> None:
    with _connection(daemon) as client:
        answer = b""
        try:
            client.sendall(line)
            for _ in range(9):
                client.sendall(b"x" * MIB)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # closed before the end: as it should be
        try:
            answer = _read_all(client)
        except OSError:
            return
    assert b"error" in answer


def test_many_clients_that_each_hold_a_megabyte_cost_no_more_than_their_frames(daemon: Daemon) -> None:
    before = daemon.rss_bytes()
    with ExitStack() as stack:
        for _ in range(8):
            client = stack.enter_context(_connection(daemon))
            client.sendall((MIB).to_bytes(4) + b"x" * (MIB - 10))
        daemon.info()
        assert daemon.rss_bytes() - before < 8 * 2 * MIB + MEMORY_BOUND


def test_a_client_that_asks_without_reading_answers_is_held_back_and_costs_bounded_memory(daemon: Daemon) -> None:
    before = daemon.rss_bytes()
    request = b'{"id": 1, "method": "statistics"}\n' * 1_000
    with _connection(daemon) as client:
        client.setblocking(False)
        sent = 0
        for _ in range(2_000):
            try:
                sent += client.send(request)
            except BlockingIOError:
                daemon.info()
        assert sent < 20 * MIB
        assert daemon.rss_bytes() - before < MEMORY_BOUND


def test_a_watch_that_is_never_read_costs_bounded_memory_and_others_hear_everything(daemon: Daemon) -> None:
    before = daemon.rss_bytes()
    metadata = {"padding": "x" * 200}
    changes = 3_000
    with ExitStack() as stack:
        for _ in range(8):
            deaf = stack.enter_context(_connection(daemon))
            deaf.sendall(b'{"id": 1, "method": "watch", "params": {"service": "busy"}}\n')
        reader = stack.enter_context(daemon.client())
        writer = stack.enter_context(daemon.client())
        watch = reader.watch("busy", timeout_s=30)
        assert next(watch)["type"] == "snapshot"
        ports: list[int] = []
        for number in range(changes):
            writer.call("register", name="busy", id="one", port=1 + number, metadata=metadata)
            if number % 100 == 99:
                while not ports or ports[-1] != 1 + number:
                    event = next(watch)
                    if event["type"] == "view":  # it has met its peers meanwhile
                        continue
                    assert event["type"] in ("up", "changed")
                    ports.append(event["instance"]["port"])  # type: ignore[index]
        assert ports == sorted(ports)
        assert ports[-1] == changes
        assert daemon.rss_bytes() - before < MEMORY_BOUND
        writer.call("deregister", id="one")


def test_a_watcher_that_fell_behind_is_told_to_resync_and_gets_a_fresh_snapshot(daemon: Daemon) -> None:
    with _connection(daemon) as late, daemon.client() as writer:
        late.sendall(b'{"id": 1, "method": "watch", "params": {"service": "bulk"}}\n')
        lines = late.makefile("rb")
        assert json.loads(lines.readline())["event"]["type"] == "snapshot"
        resyncs = daemon.statistics()["api"]["resyncs"]
        metadata = {f"k{number}": "x" * 1_000 for number in range(4)}
        ids = [f"bulk-{number}" for number in range(450)]
        for id in ids:
            writer.call("register", name="bulk", id=id, port=80, metadata=metadata)
        seen: list[str] = []
        while not seen or seen[-1] != "resync":
            seen.append(json.loads(lines.readline())["event"]["type"])
        fresh = json.loads(lines.readline())["event"]
        assert fresh["type"] == "snapshot"
        assert {row["id"] for row in fresh["instances"]} == set(ids)
        assert daemon.statistics()["api"]["resyncs"] == resyncs + 1
        for id in ids:
            writer.call("deregister", id=id)


def test_one_client_too_many_is_told_and_the_others_are_served(daemon: Daemon) -> None:
    with ExitStack() as stack:
        kept = stack.enter_context(daemon.client())
        most = min(API_CONNECTIONS_MAX, os.sysconf("SC_OPEN_MAX") // 2)
        clients = [stack.enter_context(_connection(daemon)) for _ in range(most + 10)]

        def refused() -> bool:
            statistics: Any = kept.call("statistics")["statistics"]
            return bool(statistics["api"]["connections_refused"] >= 11)

        wait_until(refused, what="those beyond the limit are refused")
        assert b"error" in _read_all(clients[-1])
    wait_until(lambda: daemon.statistics()["api"]["connections"] < 20, what="the places are free again")


def test_a_watch_goes_on_where_it_ended_and_begins_anew_after_a_restart_of_the_daemon() -> None:
    with Cluster() as cluster:
        daemon = cluster.start("n1")
        with daemon.client() as client:
            index: Any = next(client.watch("web", timeout_s=30))["index"]
        daemon.call("register", name="web", port=80, kept=True)
        daemon.call("register", name="web", port=81, kept=True)
        with daemon.client() as client:
            events = client.watch("web", since=index, timeout_s=30)
            missed = [next(events)]
            while missed[-1]["type"] != "resumed":  # up and changed, or one that says where both led
                missed.append(next(events))
            assert missed[0]["type"] == "up"
            assert missed[-2]["instance"]["port"] == 81  # type: ignore[index]
            index = missed[-1]["index"]
        daemon.process.kill()
        daemon.process.wait()
        with cluster.start("n1").client() as client:
            events = client.watch("web", since=index, timeout_s=30)
            assert [next(events)["type"] for _ in range(2)] == ["resync", "snapshot"]


def test_who_waits_hears_what_the_failing_check_says_and_is_answered_when_it_passes(daemon: Daemon) -> None:
    with socket.socket() as listener, daemon.client() as client:
        listener.bind(("127.0.0.1", 0))  # not listening yet: refused
        port = listener.getsockname()[1]
        client.call("register", name="late", port=port, address="127.0.0.1", checks=["tcp@200ms"])
        with pytest.raises(RequestError) as caught:
            client.call("wait", service="late", timeout="500ms")
        assert caught.value.code == "timeout"
        missing: Any = caught.value.details["missing"]
        assert missing[0].startswith("late on n1 is critical: check tcp says ")
        listener.listen()
        rows = client.call("wait", service="late", timeout=15)["instances"]
        assert [row["port"] for row in rows] == [port]  # type: ignore[attr-defined]
        client.call("deregister", id="late")


def test_a_client_that_is_killed_while_it_waits_loses_its_instance(daemon: Daemon, pair: Cluster) -> None:
    code = f"""
from gossipd.client import Client
client = Client({daemon.socket!r}, timeout_s=600)
client.call("register", name="short", port=80)
client.call("wait", service="nothing", timeout=600)
"""
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        wait_until(lambda: pair["n2"].passing("short"), what="the instance is everywhere")
        wait_until(lambda: daemon.statistics()["api"]["waits"] == 1, what="the client waits")
        process.kill()
    wait_until(lambda: daemon.statistics()["api"]["waits"] == 0, what="it waits no more")
    wait_until(lambda: not pair["n2"].instances("short"), what="its instance is gone everywhere")


def _connection(daemon: Daemon) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(daemon.socket)  # without a time-out it waits for a place in the backlog
    client.settimeout(30)
    return client


def _read_all(client: socket.socket) -> bytes:
    """Return what is sent until the daemon closes, which it does."""
    data = b""
    while more := client.recv(65_536):
        data += more
    return data
