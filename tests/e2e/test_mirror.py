"""The local daemon is killed and comes back under lookups: none is empty, and what went meanwhile is gone in the end."""

import threading
from collections.abc import Callable, Sized

import pytest

from gossipd.client import Backoff, Discovery, Mirror
from simulations.reality.cluster import Cluster, wait_until

pytestmark = pytest.mark.slow

ROUNDS = 3
"""Restarts in a row. The others stand still until the client has come back to a daemon that knows nobody."""

LOOKUP_PAUSE_S = 0.001
"""Between two lookups: some ten thousand in all, and most of the processor is left to the daemons."""


class Lookups:
    """Looks up again and again, from a thread of its own, and counts what fails or is empty."""

    def __init__(self, look: Callable[[], Sized]) -> None:
        self._look = look
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.made = 0
        self.failed: list[object] = []

    def __enter__(self) -> "Lookups":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(LOOKUP_PAUSE_S):
            self.made += 1
            try:
                found: object = self._look()
                if not found:
                    self.failed.append(found)
            except Exception as error:
                self.failed.append(error)


def test_no_lookup_fails_while_the_daemon_is_killed_and_comes_back() -> None:
    with Cluster() as cluster:
        first = cluster.start_together(3)[0]
        others = [cluster["n2"], cluster["n3"]]
        for daemon in others:
            daemon.call("register", name="web", port=80, kept=True)
            daemon.call("register", name="web", id="gone", port=81, kept=True)
        wait_until(lambda: len(first.passing("web")) == 2, what="the first daemon knows all")
        with (
            Discovery(first.socket, backoff=Backoff(base_s=0.01, pause_max_s=0.05)) as discovery,
            discovery.mirror("web") as mirror,
        ):
            wait_until(lambda: len(mirror.ready("web")) == 4, what="the mirror is complete")
            assert len(discovery.resolve("web")) == 4
            with (
                Lookups(lambda: mirror.ready("web")) as mirrored,
                Lookups(lambda: discovery.resolve("web")) as resolved,
            ):
                for number in range(ROUNDS):
                    first.kill()
                    wait_until(lambda: mirror.stale, what="the mirror says that it is stale")
                    if number == 0:
                        for daemon in others:
                            daemon.call("deregister", id="gone")
                    for daemon in others:
                        daemon.stop()
                    first = cluster.start("n1", join=[others[0]])
                    wait_until(lambda: not mirror.view.met, what="the mirror hears of a daemon that has met nobody")
                    assert discovery.resolve("web").stale
                    assert mirror.stale
                    for daemon in others:
                        daemon.cont()
                    wait_until(lambda: ids(mirror) == {("n2", "web"), ("n3", "web")}, what="it shows what is left")
                    wait_until(lambda: not mirror.stale and mirror.view.met, what="it is fresh again")
                    wait_until(lambda: not discovery.resolve("web").stale, what="so are answers")
            assert (mirrored.failed, resolved.failed) == ([], [])
            assert min(mirrored.made, resolved.made) > 100


def ids(mirror: Mirror) -> set[tuple[str, str]]:
    return {one.key for one in mirror.ready("web")}
