"""`gossipd top` on a real terminal, beside real daemons."""

import re
import signal
import sys
from collections.abc import Iterator

import pytest

from simulations.reality.cluster import Cluster, Daemon
from tests.terminals import Run, state, until

pytestmark = pytest.mark.slow

GOSSIPD = [sys.executable, "-m", "gossipd"]
ENTER_SCREEN, LEAVE_SCREEN, SHOW_CURSOR = "\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h"


@pytest.fixture
def pair() -> Iterator[tuple[Cluster, Daemon, Daemon]]:
    with Cluster() as cluster:
        first, second = cluster.start_together(2)
        yield cluster, first, second


@pytest.fixture
def runs() -> Iterator[list[Run]]:
    made: list[Run] = []
    yield made
    for each in made:
        each.close()


def a_top(daemon: Daemon, runs: list[Run], *, args: tuple[str, ...] = ("top",), command: list[str] = GOSSIPD) -> Run:
    """Return `gossipd top` on a terminal of 100 x 30."""
    environ = {"GOSSIPD_SOCKET": daemon.socket, "TERM": "xterm-256color"}
    run = Run([*command, *args], environ=environ, terminal=True, size=(30, 100))
    runs.append(run)
    return run


def shows(run: Run, pattern: str) -> None:
    """Return when the screen shows *pattern*."""
    run.until(lambda _: re.search(pattern, run.frame()) is not None)


def restored(run: Run, before: list[object]) -> None:
    """Assert that *run* left the terminal as it was."""
    run.until(lambda text: text.count(ENTER_SCREEN) == text.count(LEAVE_SCREEN) > 0)
    assert run.text.rindex(SHOW_CURSOR) > run.text.rindex("\x1b[?25l")
    assert run.settings() == before


def test_it_shows_what_is_and_what_changes_and_survives_a_restart_of_the_daemon(
    pair: tuple[Cluster, Daemon, Daemon], runs: list[Run]
) -> None:
    cluster, first, second = pair
    second.call("register", name="web", id="web-2", port=80, kept=True)
    second.call("register", name="db", id="db-2", port=81, kept=True)
    run = a_top(first, runs)
    before = run.settings()
    shows(run, r"n2\s+alive")
    shows(run, r"web\s+1\s+1")
    shows(run, r"gossipd on n1 .* members: 2 alive")
    second.call("drain", id="web-2", reason="upgrade")
    shows(run, r"web: web-2 on n2 passing -> draining \(upgrade\)")
    shows(run, r"web\s+0\s+1\s+1 draining")
    second.call("deregister", id="web-2")
    shows(run, r"web: web-2 on n2 is gone, was draining")
    run.type("p")
    shows(run, "PAUSED")
    second.call("deregister", id="db-2")
    run.type("p")
    shows(run, r"db: db-2 on n2 is gone")
    run.type("/n2")
    shows(run, r"filter: n2_")
    run.type("\r")
    shows(run, r"q quit   p pause   / filter   filter: n2")
    assert "n1 (me)" not in run.frame()
    run.type("\x1b")
    shows(run, r"n1 \(me\)")
    run.resize(lines=16, columns=60)
    run.until(lambda _: [len(line) for line in run.frame().splitlines()] == [60] * 16)
    first.kill()
    shows(run, r"no daemon for .*, trying again")
    shows(run, r"n2\s+alive")
    cluster.start("n1", join=[second])
    shows(run, r"this node's daemon is back")
    second.kill()
    shows(run, r"n2\s+failed")
    run.type("q")
    assert run.wait() == 0
    restored(run, before)


@pytest.mark.parametrize(("ends", "code"), [("\x03", 0), (signal.SIGTERM, -signal.SIGTERM), ("\x1c", -signal.SIGQUIT)])
def test_however_it_ends_the_terminal_is_as_it_was(
    ends: str | signal.Signals, code: int, pair: tuple[Cluster, Daemon, Daemon], runs: list[Run]
) -> None:
    run = a_top(pair[1], runs)
    before = run.settings()
    shows(run, r"n2\s+alive")
    assert run.settings() != before
    run.type(ends) if isinstance(ends, str) else run.signal(ends)
    assert run.wait() == code
    restored(run, before)


def test_an_error_of_our_own_leaves_the_terminal_as_it_was(
    pair: tuple[Cluster, Daemon, Daemon], runs: list[Run]
) -> None:
    broken = (
        "import gossipd.cli.top as top; from gossipd.cli.main import main\n"
        "draw = top.screen; drawn = []\n"
        "def screen(*a, **k):\n"
        "    drawn.append(1)\n"
        "    if len(drawn) > 3: raise ZeroDivisionError\n"
        "    return draw(*a, **k)\n"
        "top.screen = screen; main()"
    )
    run = a_top(pair[1], runs, command=[sys.executable, "-c", broken])
    before = run.settings()
    assert run.wait() == 1
    run.until(lambda text: "ZeroDivisionError" in text)
    restored(run, before)


def test_a_stopped_one_gives_the_terminal_back_and_takes_it_again(
    pair: tuple[Cluster, Daemon, Daemon], runs: list[Run]
) -> None:
    run = a_top(pair[1], runs)
    before = run.settings()
    shows(run, r"n2\s+alive")
    run.type("\x1a")
    until(lambda: state(run.pid) == "T", "it has stopped")
    restored(run, before)
    run.signal(signal.SIGCONT)
    run.until(lambda text: text.count(ENTER_SCREEN) == 2)
    shows(run, r"n2\s+alive")
    run.type("q")
    assert run.wait() == 0
    restored(run, before)


def test_without_a_terminal_it_says_so_and_once_prints_tables(
    pair: tuple[Cluster, Daemon, Daemon], runs: list[Run]
) -> None:
    _, first, second = pair
    second.call("register", name="web", id="web-2", port=80, kept=True)
    environ = {"GOSSIPD_SOCKET": first.socket}
    until(lambda: first.passing("web") == {"web-2"}, "n1 finds web")
    runs += [Run([*GOSSIPD, "top", *args], environ=environ) for args in ((), ("--once",))]
    assert [run.wait() for run in runs] == [2, 0]
    runs[0].until(lambda text: "no terminal, expected --once, or `gossipd watch`" in text)
    runs[1].until(lambda text: re.search(r"web +1 +1 +0\n.*NAME +STATUS.*\nn1 \(me\)", text, re.DOTALL) is not None)
