"""script checks with real programs: those that succeed, warn, fail, hang, fork, flood, and will not die."""

import os
import select
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest
import trio

from gossipd.checks import CheckResult
from gossipd.records import Health, Service
from gossipd.shell.checkers.runner import Checkers
from gossipd.shell.checkers.script import _Output, _start
from tests.shell.checkers.targets import WEB, check_of, checkers, try_once

QUICK = {"interval": 1, "timeout": 0.5}


def shell(line: str, **keys: object) -> dict[str, object]:
    return {"script": line, "shell": True, **keys}


@pytest.mark.parametrize(
    ("line", "health", "output"),
    [
        ("echo fine", Health.PASSING, "exit status 0\nfine"),
        ("true", Health.PASSING, "exit status 0"),
        ("echo filling; exit 1", Health.WARNING, "exit status 1\nfilling"),
        ("echo full >&2; exit 2", Health.CRITICAL, "exit status 2\nfull"),
        ("exit 255", Health.CRITICAL, "exit status 255"),
        ("echo bye; kill -SEGV $$", Health.CRITICAL, "killed by SIGSEGV\nbye"),
        ("exec >&- 2>&-; exit 1", Health.WARNING, "exit status 1"),
    ],
)
@pytest.mark.trio
async def test_the_exit_status_decides(line: str, health: Health, output: str) -> None:
    assert await try_once(shell(line)) == CheckResult(health=health, output=output)


@pytest.mark.trio
async def test_arguments_reach_the_program_as_they_are_and_no_shell_sees_them() -> None:
    result = await try_once({"script": ["printf", "%s|", "a b", "$HOME", "*", ""]})
    assert result.output == "exit status 0\na b|$HOME|*||"


@pytest.mark.trio
async def test_a_script_is_told_whom_it_checks_and_little_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    service = Service(name="web", id="web-1", port=8080)
    result = await try_once({"script": ["env"]}, port=8080, host="192.0.2.1", service=service)
    assert sorted(result.output.splitlines()[1:]) == [
        "GOSSIPD_ADDRESS=192.0.2.1",
        "GOSSIPD_ID=web-1",
        "GOSSIPD_PORT=8080",
        "GOSSIPD_SERVICE=web",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ]


@pytest.mark.trio
async def test_scripts_are_off_unless_the_daemon_allows_them(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    result = await try_once({"script": ["touch", str(trace)]}, scripts=False)
    assert result.health is Health.CRITICAL
    assert result.output.startswith("script checks are off: set script_checks = true")
    assert not trace.exists()


@pytest.mark.trio
async def test_what_cannot_be_run_is_critical(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("echo")
    missing = await try_once({"script": ["/nowhere/at-all"]})
    assert missing == CheckResult(
        health=Health.CRITICAL, output="cannot run /nowhere/at-all: No such file or directory"
    )
    assert (await try_once({"script": [str(plain)]})).output == f"cannot run {plain}: Permission denied"


@pytest.mark.parametrize("ignores", ["", "trap '' TERM INT HUP; "], ids=["hangs", "ignores signals"])
@pytest.mark.trio
async def test_a_script_that_hangs_is_killed_and_what_it_said_is_shown(ignores: str, tmp_path: Path) -> None:
    with Pids(tmp_path) as pids:
        result = await try_once(shell(f"{ignores}echo half way; {pids.note}; {pids.wait}", **QUICK))
        assert result == CheckResult(health=Health.CRITICAL, output="time-out after 0.5 s while running\nhalf way")
        pids.expect_gone(1)


@pytest.mark.trio
async def test_a_child_that_holds_the_output_open_does_not_hold_the_check_up_and_dies_with_it(tmp_path: Path) -> None:
    with Pids(tmp_path) as pids:
        line = f"({pids.note_child}; {pids.wait}) & read id < {pids.notes}; echo $id > {pids.notes}; echo done"
        result = await try_once(shell(line, interval=30, timeout=20))
        assert result == CheckResult(health=Health.PASSING, output="exit status 0\ndone")
        pids.expect_gone(1)


@pytest.mark.trio
async def test_a_child_that_left_the_group_does_not_hold_the_check_up_either(tmp_path: Path) -> None:
    with Pids(tmp_path) as pids:
        line = f"setsid sh -c '{pids.note}; {pids.wait}' & read id < {pids.notes}; echo $id > {pids.notes}; echo done"
        result = await try_once(shell(line, interval=30, timeout=20))
        assert result == CheckResult(health=Health.PASSING, output="exit status 0\ndone")
        pids.silence.write_text("at last\n")
        pids.expect_gone(1)


@pytest.mark.trio
async def test_a_script_that_became_another_user_is_judged_by_its_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_group: int, _signal: int) -> None:
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(os, "killpg", refuse)  # as for `sudo`, whose group is root's also when it has ended
    assert await try_once(shell("echo fine; exit 1")) == CheckResult(
        health=Health.WARNING, output="exit status 1\nfine"
    )


@pytest.mark.trio
async def test_a_whole_family_is_killed_at_the_time_out(tmp_path: Path) -> None:
    with Pids(tmp_path) as pids:
        result = await try_once(shell(f"{pids.note}; ({pids.note_child}; {pids.wait}) & {pids.wait}", **QUICK))
        assert result.output == "time-out after 0.5 s while running"
        pids.expect_gone(2)


@pytest.mark.trio
async def test_what_a_script_wrote_last_is_read_after_its_end() -> None:
    running = await _start(["echo", "last words"], {"PATH": "/usr/bin:/bin"})
    os.waitid(os.P_PID, running.process.pid, os.WEXITED | os.WNOWAIT)
    output = _Output(5_000)
    assert await running.end(output)
    assert output.text(before=80) == "last words\n"


def test_of_a_long_output_only_the_end_is_held() -> None:
    output = _Output(1_000)
    for _ in range(100):
        output.add(b"x" * 900)
    assert output.text(before=900) == "(the last of 90000 bytes)\n" + "x" * 74
    assert len(output._kept) == 1_000


@pytest.mark.trio
async def test_a_finite_flood_is_drained_and_its_end_is_kept() -> None:
    result = await try_once(shell("head -c 300000 /dev/zero | tr '\\0' x; echo the end", output_bytes_max=200))
    assert result.health is Health.PASSING
    assert result.output.startswith("exit status 0\n(the last of 300008 bytes)\nxxx")
    assert result.output.endswith("xthe end")
    assert len(result.output.encode()) <= 200


@pytest.mark.trio
async def test_an_endless_flood_is_killed_at_its_limit_and_not_at_its_time_out() -> None:
    result = await try_once({"script": ["yes"], "interval": 60, "timeout": 60})
    assert result.health is Health.CRITICAL
    assert result.output.startswith("killed: more than 1048576 bytes of output\n")
    assert result.output.endswith("\ny")
    assert len(result.output.encode()) <= 4_096


@pytest.mark.trio
async def test_a_cancelled_script_is_killed_and_not_told(tmp_path: Path) -> None:
    with Pids(tmp_path) as pids:
        async with checkers() as (runner, results):
            runner.run(1, check_of(shell(f"{pids.note}; {pids.wait}")), WEB, "127.0.0.1")
            await pids.noted()
            runner.cancel(1)
            await trio.to_thread.run_sync(pids.expect_gone, 1)
        assert results.by_run == {}


@pytest.mark.trio
async def test_a_script_that_hangs_is_killed_when_the_daemon_stops(tmp_path: Path) -> None:
    def never(run: int, result: CheckResult) -> None:
        raise AssertionError((run, result))

    with Pids(tmp_path) as pids:
        async with trio.open_nursery() as nursery:
            runner = Checkers(never, scripts=True)
            await nursery.start(runner.serve)
            runner.run(1, check_of(shell(f"{pids.note}; {pids.wait}")), WEB, "127.0.0.1")
            await pids.noted()
            nursery.cancel_scope.cancel()
        pids.expect_gone(1)


class Pids:
    """A fifo into which scripts note their process ids, and one on which they wait for ever: nobody writes into it."""

    def __init__(self, folder: Path) -> None:
        self.silence = folder / "silence"
        notes = folder / "notes"
        os.mkfifo(self.silence)
        os.mkfifo(notes)
        self.notes = notes
        self._notes = os.open(notes, os.O_RDWR | os.O_NONBLOCK)  # as a writer too: no script waits for a reader
        self._lines = b""
        self.note = f"echo $$ > {notes}"
        self.note_child = f"sh -c 'echo $PPID' > {notes}"
        self.wait = f"read never < {self.silence}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._notes)

    async def noted(self) -> None:
        """Wait until a script has noted its id."""
        with trio.fail_after(30):
            await trio.lowlevel.wait_readable(self._notes)

    def expect_gone(self, count: int) -> None:
        """Assert that *count* processes were noted, and that they end."""
        pids = [int(line) for line in os.read(self._notes, 4_096).split()]
        assert len(pids) == count
        for pid in pids:
            with suppress(ProcessLookupError):
                fd = os.pidfd_open(pid)
                try:
                    assert select.select([fd], [], [], 10)[0], f"{pid} lives"
                finally:
                    os.close(fd)
