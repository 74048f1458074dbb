"""script checks: a program in a session of its own, its output drained and bounded, everything it started killed at the end.

What leaves its process group (setsid) or becomes another user (sudo) escapes the killing, and cannot hold the check up: its output
is not waited for.
"""

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress

import trio

from gossipd.checks import CheckResult, Script
from gossipd.records import Health
from gossipd.shell.checkers.attempt import Attempt, Failed, reason_of, text_of

OUTPUT_BYTES_MAX = 1024 * 1024
"""Output after which a script is killed: draining more would cost the daemon more than the check is worth."""

READ_BYTES = 65_536
"""What one read takes: all that a pipe holds."""

KILLED_S = 2.0
"""Seconds that a killed script gets to end; one that hangs in the kernel is looked for again when the next script runs."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

REFUSAL = (
    "script checks are off: set script_checks = true in the daemon's settings to let those who register run programs"
)

_WORDS_BYTES = 80
"""Room for the words before the output: how it ended."""

_HEALTHS = {0: Health.PASSING, 1: Health.WARNING}


class Scripts:
    """Runs scripts, if *allowed*."""

    def __init__(self, *, allowed: bool) -> None:
        self._allowed = allowed
        self._stuck: list[subprocess.Popen[bytes]] = []

    async def run(self, target: Script, attempt: Attempt) -> CheckResult:
        """Pass on exit status 0, warn on 1, else be critical. Raises: Failed."""
        if not self._allowed:
            raise Failed(REFUSAL)
        self._stuck = [process for process in self._stuck if process.poll() is None]
        command = ["/bin/sh", "-c", *target.args] if target.shell else list(target.args)
        running = await _start(command, _environment(attempt))
        attempt.doing = "running"
        output = _Output(attempt.check.output_bytes_max)
        try:
            flooded = await running.wait(output)
        finally:
            ended = await running.end(output)
            if not ended:
                self._stuck.append(running.process)
            attempt.seen = output.text(before=_WORDS_BYTES)
        if flooded or not ended:
            raise Failed(f"killed: more than {OUTPUT_BYTES_MAX} bytes of output\n{attempt.seen}")
        status = running.process.returncode
        says = f"exit status {status}" if status >= 0 else f"killed by {_signal_name(-status)}"
        return attempt.result(_HEALTHS.get(status, Health.CRITICAL), f"{says}\n{attempt.seen}")


class _Output:
    """The last of what a script wrote, at most *bytes_max* of it."""

    def __init__(self, bytes_max: int) -> None:
        self._most = bytes_max
        self._kept = bytearray()
        self.bytes = 0

    def add(self, data: bytes) -> None:
        self.bytes += len(data)
        self._kept += data
        del self._kept[: -self._most]

    def text(self, *, before: int) -> str:
        """Return it, with a word on what is missing, so that all fits after *before* bytes."""
        room = max(0, self._most - before)
        if self.bytes <= room:
            return text_of(bytes(self._kept))
        mark = f"(the last of {self.bytes} bytes)\n"
        return mark + text_of(bytes(self._kept[len(self._kept) - max(0, room - len(mark)) :]))


class _Running:
    """A started *process*, the read end of its output's pipe, its pidfd."""

    def __init__(self, process: subprocess.Popen[bytes], pipe: int, pidfd: int) -> None:
        self.process = process
        self._pidfd = pidfd
        self._pipe = trio.lowlevel.FdStream(pipe)

    async def wait(self, output: _Output) -> bool:
        """Wait until the process has ended, but stay its parent; return whether it wrote too much before."""
        async with trio.open_nursery() as nursery:

            async def see_the_end() -> None:
                await trio.lowlevel.wait_readable(self._pidfd)
                nursery.cancel_scope.cancel()

            nursery.start_soon(see_the_end)
            while output.bytes <= OUTPUT_BYTES_MAX:
                data = await self._pipe.receive_some(READ_BYTES)
                if not data:
                    await trio.sleep_forever()
                output.add(data)
            nursery.cancel_scope.cancel()
        return output.bytes > OUTPUT_BYTES_MAX

    async def end(self, output: _Output) -> bool:
        """Kill what is left of the group, take what waits in the pipe; return whether the process is gone."""
        try:
            with suppress(PermissionError):  # all of it belongs to another user (sudo): it ends when it will
                # Until it is waited for, the number is its own, and nobody else's group can be hit.
                os.killpg(self.process.pid, signal.SIGKILL)
            with trio.CancelScope(shield=True), trio.move_on_after(KILLED_S):
                await trio.lowlevel.wait_readable(self._pidfd)
            output.add(_read_what_waits(self._pipe.fileno()))
            return self.process.poll() is not None
        finally:
            os.close(self._pidfd)
            self._pipe.close()


async def _start(command: list[str], environment: Mapping[str, str]) -> _Running:
    """Start *command*, in a thread: the disk may be slow. Raises: Failed."""
    try:
        return _Running(*await trio.to_thread.run_sync(_spawn, command, environment))
    except OSError as error:
        raise Failed(f"cannot run {command[0]}: {reason_of(error)}") from None


def _spawn(command: list[str], environment: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], int, int]:
    """Return the process, its output, its pidfd."""
    output, write_end = os.pipe()
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=write_end,
            stderr=write_end,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
    except BaseException:
        os.close(output)
        raise
    finally:
        os.close(write_end)
    try:
        return process, output, os.pidfd_open(process.pid)
    except OSError:
        os.close(output)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def _read_what_waits(pipe: int) -> bytes:
    try:
        return os.read(pipe, READ_BYTES)
    except BlockingIOError:
        return b""


def _environment(attempt: Attempt) -> dict[str, str]:
    """Return what a script is told: which instance it is about, and where that is."""
    return {
        "PATH": PATH,
        "GOSSIPD_SERVICE": attempt.service.name,
        "GOSSIPD_ID": attempt.service.id,
        "GOSSIPD_ADDRESS": attempt.host,
        "GOSSIPD_PORT": str(attempt.service.port),
    }


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
