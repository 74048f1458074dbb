"""The demo's steps. Each states what it promises, waits for it with a deadline, and tells how long it took."""

import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from gossipd.demo.cluster import INTERRUPTS, POLL_S, BrokenPromise, Cluster
from gossipd.demo.screen import Screen, Views, choose_screen

OVERALL_S = 55.0
"""The whole demo ends by then, promise kept or not."""

STEP_S = 20.0
"""Longest wait for one promise: suspicion with the local profile takes 1.5 to 9 s after at most a second of silence."""

LISTED_MAX = 4
"""More names than this are only counted."""

VICTIM = "n3"
SEED = "n1"
DB = "db"
WEB = "web"


def run_demo(*, nodes: int, logs: Path | None = None) -> int:
    """Tell the story with *nodes* daemons, 3 to 20; return 0 if every promise was kept, else 1, having said which not.

    Children and files are gone afterwards, also after Ctrl-C, SIGTERM and errors. With *logs* the daemons' logs are
    copied there first.
    """
    assert 3 <= nodes <= 20
    with _orderly(), choose_screen() as screen, Cluster(nodes=nodes) as cluster:
        try:
            Story(cluster, screen).tell()
        except BrokenPromise as broken:
            screen.say(f"BROKEN PROMISE: {broken}")
            for name in broken.about:
                screen.quote(f"{name}: {line}" for line in cluster.log_tail(name))
            print(f"gossipd: error: the demo promised what did not happen: {broken}", file=sys.stderr)
            return 1
        finally:
            if logs is not None:
                cluster.copy_logs(logs)
    _what_next()
    return 0


class Story:
    """One telling. *cluster* has not been started yet."""

    def __init__(self, cluster: Cluster, screen: Screen) -> None:
        self._cluster = cluster
        self._screen = screen
        self._until = time.monotonic() + OVERALL_S
        self._names = list(cluster.daemons)
        self._web = ["n2", VICTIM, self._names[-1] if len(self._names) > 3 else SEED]

    def tell(self) -> None:
        self._start()
        self._converge()
        self._screen.pause()
        self._register()
        self._screen.pause()
        before = self._crash()
        self._screen.pause()
        self._return(before)
        self._screen.pause()
        self._leave()

    def _start(self) -> None:
        count = len(self._names)
        others = f"{self._names[1]} to {self._names[-1]}"
        self._screen.say(f"starting {count} daemons on loopback, with a fresh key; {others} know only {SEED}")
        started = time.monotonic()
        for name in self._names:
            self._cluster.start(name, join=None if name == SEED else SEED)
        self._wait(f"all {count} daemons answer", lambda views: all(views.values()))
        self._screen.say(f"all {count} answer on their sockets, {_since(started)} after the start")

    def _converge(self) -> None:
        started = time.monotonic()
        count = len(self._names)

        def complete(views: Views) -> bool:
            return all(_alive(view) == count for view in views.values())

        def so_far(views: Views) -> str:
            return f"{sum(_alive(view) == count for view in views.values())} of {count} views are complete"

        self._wait(f"every view shows {count} members alive", complete, so_far)
        self._screen.say(f"every view is complete, {_since(started)} later: {count} members alive, seen by all {count}")

    def _register(self) -> None:
        for number, name in enumerate(self._web, start=1):
            self._cluster.daemons[name].call("register", name=WEB, id=f"web-{number}", port=8000 + number, kept=True)
        self._cluster.daemons[SEED].call("register", name=DB, port=5432, tags=["primary"], kept=True)
        started = time.monotonic()
        self._screen.say(f"registered {WEB} on {_listed(self._web)}, and {DB} on {SEED}, each with its own daemon")
        self._wait_everywhere(f"all daemons know 3 instances of {WEB} and 1 of {DB}", {WEB: 3, DB: 1})
        self._screen.say(
            f"every daemon's own catalog has all 4 instances, {_since(started)} after the last registration"
        )
        self._resolve()

    def _crash(self) -> int:
        """Kill the victim; return the epoch that it had."""
        row = self._cluster.views()[SEED][VICTIM]
        epoch = int(row["epoch"])
        self._cluster.kill(VICTIM)
        killed = time.monotonic()
        self._screen.say(f"killed {VICTIM} with SIGKILL: it can tell nobody")
        views = self._wait(
            f"somebody suspects {VICTIM}",
            lambda views: any(_status(view, VICTIM) != "alive" for view in views.values()),
        )
        first = [name for name, view in views.items() if _status(view, VICTIM) != "alive"]
        self._screen.say(
            f"{_listed(first)} suspect{'s' if len(first) == 1 else ''} {VICTIM}, {_since(killed)} after the kill"
        )

        def failed(views: Views) -> bool:
            return all(_status(view, VICTIM) == "failed" for view in views.values())

        self._wait(f"every daemon declares {VICTIM} failed", failed)
        survivors = len(self._names) - 1
        self._screen.say(f"all {survivors} others say that {VICTIM} has failed, {_since(killed)} after the kill")
        self._wait_everywhere(f"resolve {WEB} leaves out {VICTIM}", {WEB: 2})
        self._screen.say(f"{WEB} now has 2 instances, as seen from every daemon:")
        self._resolve()
        self._why()
        return epoch

    def _return(self, former_epoch: int) -> None:
        self._cluster.start(VICTIM, join=SEED)
        started = time.monotonic()
        self._screen.say(f"restarted {VICTIM} under the same name, with the data directory that the crash left")

        def back(views: Views) -> bool:
            rows = [view.get(VICTIM) for view in views.values()]
            return all(row is not None and row["status"] == "alive" and row["epoch"] > former_epoch for row in rows)

        views = self._wait(f"every daemon sees {VICTIM} alive again, with a higher epoch", back)
        epoch = views[SEED][VICTIM]["epoch"]
        self._screen.say(
            f"{VICTIM} is alive again everywhere, {_since(started)} after its start,"
            f" with epoch {epoch}, higher than {former_epoch}"
        )
        self._wait_everywhere(f"all daemons know 3 instances of {WEB} again", {WEB: 3})
        self._screen.say(f"{WEB} is back to 3 instances everywhere: the daemon of {VICTIM} had kept its registration")
        self._resolve()

    def _leave(self) -> None:
        leaving = [name for name in self._names if name != SEED]
        started = time.monotonic()
        self._screen.say(f"{leaving[0]} to {leaving[-1]} get SIGTERM: they say goodbye before they end")
        self._cluster.terminate(leaving, within_s=self._left())
        self._wait(
            f"{SEED} knows that the others left",
            lambda views: all(_status(views[SEED], name) == "left" for name in leaving),
        )
        self._screen.say(f"{SEED} saw all {len(leaving)} leave, none of them fail; exit code 0 each, {_since(started)}")
        self._cluster.terminate([SEED], within_s=self._left())
        self._screen.say(f"{SEED} left too, exit code 0: every promise was kept")

    # --------------------------------------------------------------------------------------------------------- helpers

    def _left(self) -> float:
        """Return the seconds that the next promise has."""
        return max(0.1, min(STEP_S, self._until - time.monotonic()))

    def _wait(
        self, promise: str, kept: Callable[[Views], bool], so_far: Callable[[Views], str] | None = None
    ) -> dict[str, Any]:
        """Return the views once *kept* holds of them. Raises: BrokenPromise at the deadline."""
        within_s = self._left()
        until = time.monotonic() + within_s
        told = ""
        while True:
            views = self._cluster.views()
            self._screen.show(views)
            if kept(views):
                return views
            if so_far is not None and (news := so_far(views)) != told:
                told = news
                self._screen.progress(news)
            if time.monotonic() >= until:
                raise BrokenPromise(f"{promise}: not within {within_s:.1f} s", about=views)
            time.sleep(POLL_S)

    def _wait_everywhere(self, promise: str, expected: dict[str, int]) -> None:
        """Wait until every daemon resolves each service to as many instances as *expected*."""
        within_s = self._left()
        until = time.monotonic() + within_s
        while True:
            lacking = []
            for daemon in self._cluster.running():
                for service, count in expected.items():
                    answer = daemon.ask("resolve", service=service)
                    if answer is None or len(answer["instances"]) != count:
                        lacking.append(daemon.name)
            if not lacking:
                return
            if time.monotonic() >= until:
                raise BrokenPromise(f"{promise}: not within {within_s:.1f} s", about=dict.fromkeys(lacking))
            time.sleep(POLL_S)

    def _resolve(self) -> None:
        """Quote what `gossipd resolve web` prints, asked of a daemon that does not serve it, if there is one."""
        name = next((name for name in self._names if name not in self._web), SEED)
        rows = self._cluster.daemons[name].call("resolve", service=WEB)["instances"]
        lines = [f"{row['address']}:{row['port']}  {row['node']}  {row['id']}  {row['status']}" for row in rows]
        self._screen.quote([f"$ gossipd resolve {WEB}    (asked of {name})", *lines])

    def _why(self) -> None:
        """Quote the last words of `gossipd why`: the evidence behind the verdict."""
        answer = self._cluster.daemons[SEED].ask("why", subject=VICTIM)
        if answer is not None:
            rows = answer["evidence"]["history"][-3:]
            lines = [f"{row['ago_s']:.1f}s ago  {row['what']}  ({row['how']})" for row in rows]
            self._screen.quote([f"$ gossipd why {VICTIM}    (asked of {SEED})", *lines])


def _alive(view: Any) -> int:
    return sum(row["status"] == "alive" for row in view.values())


def _status(view: Any, name: str) -> str:
    """Return what *view* says of *name*; "alive" if the daemon did not answer, "forgotten" if it answered without."""
    row = view.get(name)
    if row is None:
        return "forgotten" if view else "alive"
    return str(row["status"])


def _listed(names: list[str]) -> str:
    if len(names) > LISTED_MAX:
        return f"{len(names)} daemons"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _since(start: float) -> str:
    seconds = time.monotonic() - start
    return f"{seconds * 1000:.0f} ms" if seconds < 0.1 else f"{seconds:.1f} s"


def _what_next() -> None:
    """Say what to do with a daemon of one's own; those of the demo are gone."""
    program = _program()
    print(
        f"""
What to try next: one node of your own, on this machine.

    {program} run &                        # a single node on loopback; no configuration needed
    {program} register web --port 8080     # publish a service; the daemon keeps it
    {program} resolve web                  # who serves it: a local answer
    {program} watch                        # every change as it happens, until Ctrl-C
    {program} leave                        # say goodbye and stop the daemon"""
    )


def _program() -> str:
    """Return how this program can be called from here."""
    program = Path(sys.argv[0])
    return _callable(program) if program.name == "gossipd" else f"{_callable(Path(sys.executable))} -m gossipd"


def _callable(path: Path) -> str:
    """Return the shortest text by which a shell here starts *path*: its name, a relative path, or the whole."""
    absolute = path.absolute()
    found = shutil.which(path.name)
    if found is not None and Path(found).absolute() == absolute:
        return path.name
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)


@contextmanager
def _orderly() -> Iterator[None]:
    """Make SIGTERM and SIGHUP end the demo as Ctrl-C does, with everything cleaned up; restore what was set before."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    former = {number: signal.signal(number, interrupt) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
