"""Calls through the transport on bad days, with real daemons and real servers: none fails that may be made again."""

import signal
import time

import pytest

from gossipd.balancing import Calls
from gossipd.client import Mirror
from simulations.reality.cluster import wait_until
from tests.bench.calls import CALLS_MAX, Load, Scene, in_turn, leaving

pytestmark = pytest.mark.slow

MANY = 200
"""Calls in a second."""


class Seen:
    """Makes calls as the transport does, in turn, and remembers the mirror."""

    def __init__(self) -> None:
        self.mirror: Mirror | None = None

    def __call__(self, mirror: Mirror, service: str) -> Calls:
        self.mirror = mirror
        return in_turn(mirror, service)

    def wait_ready(self, count: int) -> None:
        wait_until(lambda: self.mirror and len(self.mirror.ready("web")) == count, what=f"{count} instances are ready")


def test_no_idempotent_call_fails_while_one_server_is_killed_and_another_hangs() -> None:
    seen = Seen()
    with Scene(seen) as scene, Load(scene.http) as load:
        killed, hung, left = scene.servers
        load.wait_more(MANY)
        assert {each.port for each in scene.noting.attempts} == {killed, hung, left}
        scene.servers[killed].kill()
        killed_at = time.monotonic()
        load.wait_more(MANY)
        scene.servers[hung].send_signal(signal.SIGSTOP)
        hung_at = time.monotonic()
        seen.wait_ready(1)
        load.wait_more(MANY)  # what was under way has ended
        settled_at = time.monotonic()
        load.wait_more(MANY)
        load.finish()
        statistics = scene.transport.services.statistics()["web"]
    assert load.failed == []
    assert len(load.done) < CALLS_MAX
    assert {each.port for each in scene.noting.attempts if each.began_at > settled_at} == {left}
    for what, port, since in (("killed", killed, killed_at), ("hung", hung, hung_at)):
        vain, last_s = leaving(scene.noting.attempts, port, since)
        print(f"{what}: {vain} attempts in vain, the last after {last_s:.3f} s")
    failed = [each for each in scene.noting.attempts if each.error]
    assert failed, "nobody was called in vain: there was nothing to survive"
    assert (statistics.retries, statistics.failed) == (len(failed), len(failed))


def test_no_call_fails_while_the_daemon_is_killed_and_comes_back_alone() -> None:
    seen = Seen()
    with Scene(seen) as scene, Load(scene.http) as load:
        first, others = scene.cluster["n1"], [scene.cluster["n2"], scene.cluster["n3"]]
        [own] = [row["port"] for row in first.instances("web") if row["node"] == "n1"]
        first.call("deregister", id=f"web-{own}")  # so that it comes back with nothing of its own
        seen.wait_ready(2)
        load.wait_more(MANY)
        assert seen.mirror is not None
        mirror = seen.mirror
        first.kill()
        wait_until(lambda: mirror.stale, what="the mirror says that it is stale")
        load.wait_more(MANY)
        for daemon in others:
            daemon.stop()
        scene.cluster.start("n1", join=[others[0]])
        wait_until(lambda: not mirror.view.met, what="the mirror hears of a daemon that has met nobody")
        load.wait_more(MANY)
        for daemon in others:
            daemon.cont()
        wait_until(lambda: mirror.view.met and not mirror.stale, what="the mirror is fresh again")
        load.wait_more(MANY)
        load.finish()
        statistics = scene.transport.services.statistics()["web"]
    assert load.failed == []
    assert len(load.done) < CALLS_MAX
    assert (statistics.failed, statistics.retries) == (0, 0)
    assert {each.port for each in scene.noting.attempts[-MANY:]} == set(scene.servers) - {own}
