"""`gossipd exec` with real programs and without a daemon: signals, the terminal, exit codes, and nobody left behind."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from gossipd.cli.main import cli
from tests.terminals import Run, alive, state, until

pytestmark = pytest.mark.slow

GOSSIPD = [sys.executable, "-m", "gossipd"]
EXEC = [*GOSSIPD, "exec", "--name", "web", "--port", "8080", "--drain-s", "0"]

PROGRAM = """
import os, signal, sys
def tell(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # at once and whole, in handlers too
def heard(number, frame):
    tell(signal.Signals(number).name)
    if number == signal.SIGTERM:
        sys.exit(7)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH):
    signal.signal(number, heard)
tell("pid", os.getpid(), os.environ["PORT"], sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])), "ready")
while True:
    line = sys.stdin.readline() if os.isatty(0) else signal.pause()
    if line:
        tell("read", line.strip())
"""


def nowhere(directory: Path) -> dict[str, str]:
    """Return an environment without a daemon."""
    return {"GOSSIPD_SOCKET": str(directory / "none")}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def start(*args: str, terminal: bool = False) -> Run:
        program = list(args) or [sys.executable, "-c", PROGRAM]
        runs.append(Run([*EXEC, "--", *program], environ=nowhere(tmp_path), terminal=terminal))
        return runs[-1]

    yield start
    for each in runs:
        each.close()


def started(program: Run) -> int:
    """Return the program's process id once it is ready."""
    text = program.until(lambda text: "ready" in text)
    return int(text.partition("pid ")[2].split()[0])


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -KILL $$", 137), ("kill -TERM $$", 143)]
)
def test_the_exit_code_is_the_programs(script: str, code: int, run: Callable[..., Run]) -> None:
    assert run("/bin/sh", "-c", script).wait() == code


def test_a_program_that_is_not_found_or_cannot_run_is_told_as_env_does(tmp_path: Path, run: Callable[..., Run]) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program")
    missing, unusable = run("/none/such"), run(str(plain))
    assert (missing.wait(), unusable.wait()) == (127, 126)
    assert missing.until(lambda text: text.endswith("\n")) == "gossipd: error: /none/such: no such program\n"
    assert unusable.until(lambda text: text.endswith("\n")) == f"gossipd: error: {plain}: Permission denied\n"


def test_the_program_gets_its_port_and_an_empty_signal_mask_and_we_say_once_that_no_daemon_is_there(
    run: Callable[..., Run],
) -> None:
    program = run()
    pid = started(program)
    assert f"pid {pid} 8080 []" in program.text
    program.until(lambda text: "web is not registered, trying again" in text)
    os.kill(program.pid, signal.SIGTERM)
    assert program.wait() == 7
    program.until(lambda text: "SIGTERM" in text)
    assert program.text.count("web is not registered") == 1


def test_each_signal_is_passed_on_once(run: Callable[..., Run]) -> None:
    program = run()
    started(program)
    names = ["SIGHUP", "SIGUSR1", "SIGINT", "SIGUSR2", "SIGQUIT"]
    for count, name in enumerate(names, 1):
        os.kill(program.pid, getattr(signal, name))
        program.until(lambda _text, count=count: len(program.heard()) == count)  # type: ignore[misc]
    os.kill(program.pid, signal.SIGTERM)
    assert program.wait() == 7
    program.until(lambda text: "SIGTERM" in text)
    assert program.heard() == [*names, "SIGTERM"]


def test_if_we_are_killed_the_program_is_told_to_end(run: Callable[..., Run]) -> None:
    program = run()
    pid = started(program)
    os.kill(program.pid, signal.SIGKILL)
    assert program.wait() == -signal.SIGKILL
    until(lambda: not alive(pid), "the program has ended")
    program.until(lambda text: "SIGTERM" in text)


def test_ctrl_c_and_what_is_typed_reach_the_program_once(run: Callable[..., Run]) -> None:
    program = run(terminal=True)
    started(program)
    program.type("\x03")
    program.until(lambda _: program.heard() == ["SIGINT"])
    program.type("hello\n")
    program.until(lambda text: "read hello" in text)
    program.type("\x1c")
    program.until(lambda _: len(program.heard()) == 2)
    program.type("again\n")
    program.until(lambda text: "read again" in text)
    os.kill(program.pid, signal.SIGTERM)
    program.until(lambda text: "SIGTERM" in text)
    assert program.wait() == 7
    assert program.heard() == ["SIGINT", "SIGQUIT", "SIGTERM"]


def test_ctrl_z_stops_us_too_and_a_continued_job_has_the_terminal_again(run: Callable[..., Run]) -> None:
    program = run(terminal=True)
    pid = started(program)
    program.type("\x1a")
    until(lambda: state(pid) == state(program.pid) == "T", "both have stopped")
    os.kill(program.pid, signal.SIGCONT)
    until(lambda: "T" not in state(pid) + state(program.pid), "both run")
    program.type("hello\n")
    program.until(lambda text: "read hello" in text)
    program.type("\x03")
    program.until(lambda _: program.heard() == ["SIGINT"])
    os.kill(program.pid, signal.SIGTERM)
    program.until(lambda text: "SIGTERM" in text)
    assert program.wait() == 7


def test_a_shell_that_ran_us_has_the_terminal_afterwards(tmp_path: Path) -> None:
    """A script without job control, which would never take it back by itself."""
    script = f"{' '.join(EXEC)} -- /bin/true; echo ended; read line && echo got $line"
    shell = Run(["/bin/sh", "-c", script], environ=nowhere(tmp_path), terminal=True)
    try:
        shell.until(lambda text: "ended" in text)
        shell.type("hello\n")
        shell.until(lambda text: "got hello" in text)
        assert shell.wait() == 0
    finally:
        shell.close()


def test_exec_is_a_command_whose_options_end_at_the_program() -> None:
    command = cli.commands["exec"]
    program = click.Context(cli, **cli.context_settings)
    context = command.make_context("exec", ["--name", "web", "--port", "1", "ls", "-l", "--port", "2"], parent=program)
    assert (context.params["args"], context.params["port"]) == (("ls", "-l", "--port", "2"), 1)
