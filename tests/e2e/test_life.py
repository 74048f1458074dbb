"""The life of an instance with real processes: who dies, who does not renew, who drains, and what a restart leaves alone."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from simulations.reality.cluster import Cluster, Daemon, free_port, wait_until
from tests.terminals import Run

pytestmark = pytest.mark.slow

GOSSIPD = [sys.executable, "-m", "gossipd"]
PATIENCE_S = 60.0

SERVER = """
import os, signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("serving", flush=True)
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


class Watcher:
    """What a daemon tells of all instances; every event is kept."""

    def __init__(self, daemon: Daemon) -> None:
        self._client = daemon.client()
        self._events = self._client.watch(services=True, timeout_s=PATIENCE_S)
        self.events: list[dict[str, Any]] = [next(self._events)]

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the next event for which *condition* holds."""
        while True:
            self.events.append(next(self._events))
            if condition(self.events[-1]):
                return self.events[-1]

    def until_it(self, type: str, id: str, **fields: object) -> dict[str, Any]:
        """Return the next event of *type* about instance *id* whose row has *fields*."""

        def is_it(event: dict[str, Any]) -> bool:
            row = event.get("instance", {})
            return (
                event["type"] == type and row["id"] == id and all(row[name] == value for name, value in fields.items())
            )

        return self.until(is_it)

    def said(self, id: str) -> list[tuple[str, str]]:
        """Return the type and status of every event about *id*."""
        rows = [(event["type"], event["instance"]) for event in self.events if "instance" in event]
        return [(type, row["status"]) for type, row in rows if row["id"] == id]

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def runs() -> Iterator[list[Run]]:
    made: list[Run] = []
    yield made
    for each in made:
        each.close()


def an_exec(daemon: Daemon, runs: list[Run], *options: str, script: str = SERVER) -> Run:
    """Return `gossipd exec` of a server, beside *daemon*."""
    args = [*GOSSIPD, "exec", "--name", "web", *options, "--", sys.executable, "-c", script]
    runs.append(Run(args, environ={"GOSSIPD_SOCKET": daemon.socket}))
    return runs[-1]


def settings(directory: Path, text: str) -> dict[str, Any]:
    path = directory / "gossipd.toml"
    path.write_text(text)
    return {"options": {"config": path}}


def test_a_client_killed_with_sigkill_takes_its_instance_along_everywhere_after_the_grace(tmp_path: Path) -> None:
    with Cluster() as cluster:
        first, second, third = cluster.start_together(3, **settings(tmp_path, "[catalog]\nconnection_grace_s = 0.3\n"))
        environ = {**os.environ, "GOSSIPD_SOCKET": first.socket}
        held = [*GOSSIPD, "register", "web", "--port", "80", "--hold"]
        watchers = [Watcher(daemon) for daemon in (first, second, third)]
        with subprocess.Popen(held, env=environ, stdout=subprocess.DEVNULL) as client:
            for watcher in watchers:
                watcher.until_it("up", "web", ready=True)
            client.kill()
            for watcher in watchers:
                watcher.until_it("down", "web")
                assert watcher.said("web") == [("up", "passing"), ("down", "passing")]
                watcher.close()


def test_a_lease_that_is_not_renewed_is_critical_and_then_gone() -> None:
    with Cluster() as cluster:
        first, second = cluster.start_together(2)
        watcher = Watcher(second)
        with first.client() as client:
            client.call("register", name="web", port=80, lease="500ms")
        watcher.until_it("up", "web", ready=True)
        wait_until(lambda: first.call("heartbeat", id="web") == {}, what="it is renewed")
        watcher.until_it("changed", "web", status="critical", ready=False)
        watcher.until_it("down", "web")
        watcher.close()


def test_exec_is_ready_when_its_check_passes_and_drains_before_it_stops(tmp_path: Path, runs: list[Run]) -> None:
    with Cluster() as cluster:
        never = settings(tmp_path, "[catalog]\nconnection_grace_s = 3600.0\n")  # so whoever goes was withdrawn
        first, second = cluster.start_together(2, **never)
        watcher = Watcher(second)
        port = free_port("127.0.0.1")
        options = ("--id", "web-1", "--port", str(port), "--check", "http:/@1s", "--drain-s", "0.5", "--tag", "v2")
        program = an_exec(first, runs, *options)
        up = watcher.until_it("up", "web-1")["instance"]
        assert (up["status"], up["ready"], up["port"], up["tags"]) == ("critical", False, port, ["v2"])
        watcher.until_it("changed", "web-1", status="passing", ready=True)
        program.until(lambda text: "serving" in text)
        program.signal(signal.SIGTERM)
        row = watcher.until_it("changed", "web-1", status="draining")["instance"]
        assert (row["ready"], row["serving"], row["terminating"]) == (False, True, True)
        assert row["reason"] == "its program is being stopped"
        assert program.wait() == 7
        watcher.until_it("down", "web-1")
        assert watcher.said("web-1")[2:] == [("changed", "draining"), ("down", "draining")]
        watcher.close()


def test_everybody_sees_a_node_drain_before_it_goes() -> None:
    with Cluster() as cluster:
        first, second = cluster.start_together(2)
        first.call("register", name="web", port=80, kept=True)
        watcher = Watcher(second)
        if not second.passing("web"):
            watcher.until_it("up", "web", ready=True)
        first.call("drain", reason="reboot")
        assert watcher.until_it("changed", "web", status="draining")["instance"]["reason"] == "reboot"
        first.call("undrain")
        watcher.until_it("changed", "web", status="passing", ready=True)
        assert first.terminate() == 0
        watcher.until_it("changed", "web", status="draining", terminating=True)
        watcher.until_it("down", "web")
        watcher.close()


def test_a_program_that_ends_before_its_check_ever_passed_was_never_ready(runs: list[Run]) -> None:
    with Cluster() as cluster:
        first, second = cluster.start_together(2)
        watcher = Watcher(second)
        program = an_exec(
            first, runs, "--port", "1", "--check", "tcp@1s", script="import sys; sys.stdin.read(); sys.exit(5)"
        )
        assert program.wait() == 5
        if first.passing("web") or second.instances("web"):
            watcher.until_it("down", "web")
        assert first.call("registrations")["registrations"] == []
        assert not any(event["instance"]["ready"] for event in watcher.events if "instance" in event)
        watcher.close()


def test_a_drain_is_over_when_the_program_says_that_nothing_remains(runs: list[Run]) -> None:
    with Cluster() as cluster:
        (first,) = cluster.start_together(1)
        watcher = Watcher(first)
        program = an_exec(first, runs, "--port", str(free_port("127.0.0.1")), "--drain-s", "3600")
        watcher.until_it("up", "web", ready=True)
        program.until(lambda text: "serving" in text)
        program.signal(signal.SIGTERM)
        watcher.until_it("changed", "web", status="draining")
        assert first.call("progress", id="web", remaining=3)["drain"]["done"] is False
        first.call("progress", id="web", remaining=0)
        assert program.wait() == 7
        watcher.close()


def test_maintenance_outlives_the_program_and_needs_no_drain(runs: list[Run]) -> None:
    with Cluster() as cluster:
        (first,) = cluster.start_together(1)
        watcher = Watcher(first)
        program = an_exec(first, runs, "--port", str(free_port("127.0.0.1")), "--drain-s", "3600")
        watcher.until_it("up", "web", ready=True)
        first.call("maintenance", id="web", enable=True, reason="new disk")
        program.until(lambda text: "serving" in text)
        program.signal(signal.SIGTERM)
        assert program.wait() == 7
        watcher.until_it("down", "web")
        an_exec(first, runs, "--port", str(free_port("127.0.0.1")))
        row = watcher.until_it("up", "web")["instance"]
        assert (row["status"], row["reason"]) == ("maintenance", "new disk")
        watcher.close()


def test_a_refused_registration_is_told_once_and_the_program_runs(runs: list[Run]) -> None:
    with Cluster() as cluster:
        (first,) = cluster.start_together(1)
        program = an_exec(first, runs, "--port", str(free_port("127.0.0.1")), "--check", "script:/bin/true")
        program.until(lambda text: "script checks are off" in text)
        program.until(lambda text: "serving" in text)
        program.signal(signal.SIGTERM)
        assert program.wait() == 7
        assert program.text.count("trying again") == 1


def test_what_a_killed_run_left_draining_is_ready_when_it_is_run_again(runs: list[Run]) -> None:
    with Cluster() as cluster:
        (first,) = cluster.start_together(1)
        watcher = Watcher(first)
        program = an_exec(first, runs, "--port", "80", "--drain-s", "60")
        watcher.until_it("up", "web", ready=True)
        program.until(lambda text: "serving" in text)
        program.signal(signal.SIGTERM)
        watcher.until_it("changed", "web", status="draining")
        program.signal(signal.SIGKILL)
        assert program.wait() == -signal.SIGKILL
        watcher.until_it("down", "web")
        an_exec(first, runs, "--port", "80")
        wait_until(lambda: first.passing("web") == {"web"}, what="it is ready again")
        watcher.close()


def test_a_restart_of_the_daemon_loses_nothing_and_blips_nobody_whose_client_returns(
    tmp_path: Path, runs: list[Run]
) -> None:
    services = tmp_path / "services"
    services.mkdir()
    port = free_port("127.0.0.1")
    with Cluster(profile="lan") as cluster:
        how = settings(tmp_path, f'services_dir = "{services}"\n[catalog]\nepoch_grace_s = 8.0\n')
        (services / "a.toml").write_text(f'[[service]]\nname = "cache"\nport = {port}\nchecks = ["tcp@1s"]\n')
        second = cluster.start("n2")
        first = cluster.start("n1", join=[second], **how)
        cluster.wait_agreed()
        an_exec(first, runs, "--id", "web-1", "--port", str(port), "--check", "http:/@1s")
        first.call("register", name="db", port=5432, kept=True)
        ghost = first.client()
        ghost.call("register", name="ghost", port=1)
        mine = {"web-1", "db", "cache"}
        watcher = Watcher(second)
        rows = {row["id"]: row for row in watcher.events[0]["instances"]}
        while not all(rows.get(id, {}).get("ready") for id in {*mine, "ghost"}):
            row = watcher.until(lambda event: "instance" in event)["instance"]
            rows[row["id"]] = row
        seen = len(watcher.events)
        first.kill()
        ghost.close()
        again = cluster.start("n1", join=[second], **how)
        watcher.until_it("down", "ghost")  # which nobody registered again: the grace for the former run is over
        later = [event for event in watcher.events[seen:] if event.get("instance", {}).get("id") in mine]
        assert [event for event in later if event["type"] == "down" or not event["instance"]["ready"]] == []
        held = {row["id"]: row["holder"] for row in again.call("registrations")["registrations"]}
        assert held == {"cache": "configured", "db": "kept", "web-1": "connection"}
        runs[0].until(lambda text: "web-1 is registered" in text)
        assert len(re.findall("not registered, trying again", runs[0].text)) <= 2
        watcher.close()
