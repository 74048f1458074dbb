"""Standard streams that are closed, full, or read by nobody any more: a documented exit code, and never a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

from gossipd.cli import exits
from tests.cli.builders import WELL, a_member
from tests.cli.fakes.server import FakeDaemon

GOSSIPD = f"{sys.executable} -m gossipd"


def shell(script: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Run *script* with bash, GOSSIPD_SOCKET at *path*."""
    environ = {"GOSSIPD_SOCKET": str(path), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, env=environ, check=False)


@pytest.mark.parametrize(
    ("script", "code", "stderr"),
    [
        (f"{GOSSIPD} members | true; exit ${{PIPESTATUS[0]}}", exits.BROKEN_PIPE, ""),
        (f"{GOSSIPD} members >&-", exits.OK, ""),
        (f"{GOSSIPD} members <&- 2>&-", exits.OK, ""),
        (f"{GOSSIPD} members >/dev/full", exits.FAILED, "gossipd: error: No space left on device\n"),
    ],
)
def test_an_answer_that_nobody_takes(script: str, code: int, stderr: str, tmp_path: Path) -> None:
    rows = [a_member(f"n{number}") for number in range(2_000)]  # more than a pipe holds
    with FakeDaemon(tmp_path / "s", {"members": {"members": rows, "view": WELL}}):
        done = shell(script, tmp_path / "s")
    assert (done.returncode, done.stderr) == (code, stderr)


def test_a_watch_ends_with_its_reader_and_not_at_the_next_event(tmp_path: Path) -> None:
    snapshot = {"type": "snapshot", "instances": [], "index": 1, "view": WELL}
    with FakeDaemon(tmp_path / "s", {}, watch=[snapshot], endless=True):
        done = shell(f"{GOSSIPD} watch --json | head -n 1; exit ${{PIPESTATUS[0]}}", tmp_path / "s")
    assert (done.returncode, done.stderr) == (exits.BROKEN_PIPE, "")
    assert done.stdout.startswith('{"type": "snapshot"')


def test_nothing_of_ours_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    script = "from gossipd.cli.main import open_standard_streams as o; import os, sys; o();"
    script += f"open('{tmp_path}/found', 'w').write(' '.join(os.readlink(f'/proc/self/fd/{{n}}') for n in range(3)));"
    script += "print(sys.stdin.read(), file=sys.stderr)"
    assert shell(f'{sys.executable} -c "{script}" <&- >&- 2>&-', tmp_path / "s").returncode == 0
    assert (tmp_path / "found").read_text() == "/dev/null /dev/null /dev/null"
