"""The check against reality, whole and small: real daemons are started, hurt, watched and compared, and nothing is left."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from simulations.reality import networks
from simulations.reality.cluster import wait_until

pytestmark = pytest.mark.slow

MARK = "LAB_TEST_MARK"


def a_check(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "simulations", "reality", "--daemons=5", "--profile=local", "--seeds=2", "--once"]
    return subprocess.Popen(
        [*command, f"--out={folder}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, MARK: str(folder)},
        start_new_session=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # a shell's background job ignores it, and so its children
    )


def left_of(folder: Path) -> list[str]:
    """Return the command lines of all processes that the check which writes to *folder* started, its own included."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={folder}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # it has ended, or is another user's
    return found


def test_real_daemons_are_measured_as_simulated_ones_and_nothing_is_left(tmp_path: Path) -> None:
    """Whether they agree is for a quiet machine and more samples to say; here every row is there, and tells."""
    check = a_check(tmp_path, "--trials=crash,leave,single")
    said, _ = check.communicate(timeout=110)
    assert check.returncode in (0, 1), said
    assert (tmp_path / "reality.csv").exists(), said
    with (tmp_path / "reality.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["what"]: row for row in csv.DictReader(file)}
    assert {row["verdict"] for row in rows.values()} <= {"inside", "by chance", "OUTSIDE"}
    assert [what for what in rows if what.startswith(("crash", "restart", "leave"))] == [
        "crash: failed everywhere",
        "crash: first suspected",
        "crash: first failed",
        "restart: alive everywhere",
        "leave: left everywhere",
        "restart after leaving: alive everywhere",
    ]
    why_not = networks.why_not(os.environ)
    if why_not is None:
        assert rows["cut off: failed to all others"]["real"] == "1"
    else:
        assert f"SKIPPED single, which cut the network: {why_not}" in said
    assert "Latest timer of a daemon that was never frozen" in said
    assert left_of(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_check_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    check = a_check(tmp_path)
    try:
        wait_until(lambda: any("gossipd run" in line for line in left_of(tmp_path)), what="a daemon runs")
        os.killpg(check.pid, number)  # as a terminal does, and timeout
        check.communicate(timeout=60)
        assert check.returncode != 0
        wait_until(lambda: left_of(tmp_path) == [], what="nothing is left", within_s=10)
    finally:
        if check.poll() is None:
            os.killpg(check.pid, signal.SIGKILL)
            check.communicate()
