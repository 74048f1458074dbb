"""The demo as a newcomer runs it: every promise is told and kept, and nothing is left behind."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Path]:
    """A temporary directory short enough for Unix sockets, empty again at the end."""
    directory = tmp_path / "t"
    directory.mkdir()
    yield directory
    assert list(directory.iterdir()) == []


def start(room: Path, *args: str) -> "subprocess.Popen[str]":
    env = {**os.environ, "TMPDIR": str(room) if len(str(room)) < 70 else "/tmp", "GOSSIPD_NAME": "not-for-the-demo"}
    command = [sys.executable, "-m", "gossipd", "demo", *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True)


def daemons_of(room: Path) -> list[str]:
    """Return the command lines of processes that were started below *room*."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(room) in text:
            found.append(text)
    return found


@pytest.mark.parametrize("nodes", [3, 5])
def test_the_demo_keeps_every_promise(nodes: int, room: Path) -> None:
    output, errors = start(room, "--nodes", str(nodes)).communicate(timeout=90)
    assert errors == ""
    told = [
        rf"starting {nodes} daemons",
        rf"all {nodes} answer on their sockets, [\d.]+ m?s",
        r"every view is complete, [\d.]+ m?s later",
        r"every daemon's own catalog has all 4 instances, [\d.]+ m?s",
        r"killed n3 with SIGKILL",
        r"suspects? n3, [\d.]+ m?s after the kill",
        r"others say that n3 has failed, [\d.]+ m?s",
        r"web now has 2 instances",
        r"restarted n3",
        r"n3 is alive again everywhere, [\d.]+ m?s after its start,\s+with epoch (\d+), higher than (\d+)",
        r"web is back to 3 instances everywhere",
        r"n1 saw all \d+ leave, none of them fail; exit code 0 each",
        r"every promise was kept",
        r"What to try next",
    ]
    position = 0
    for pattern in told:
        found = re.compile(pattern).search(output, position)
        assert found is not None, f"{pattern!r} is not told, or not in its turn:\n{output}"
        position = found.end()
    assert output.count("n3  web-2  passing") == 2  # before the crash and after the return
    assert "\x1b" not in output
    assert daemons_of(room) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_behind(number: signal.Signals, room: Path) -> None:
    process = start(room)
    assert process.stdout is not None
    process.stdout.readline()  # the daemons are being started
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "")
    assert daemons_of(room) == []
