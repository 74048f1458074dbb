"""Commands under test as processes of their own: on pipes or on a real terminal, and what they wrote so far."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path

PATIENCE_S = 60.0

ON_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
"""Makes the standard input of a new session its terminal, then becomes the command. No fork of ours: there may be threads."""


class Run:
    """A command under test, on pipes or on a terminal, and what it wrote so far."""

    def __init__(
        self, args: list[str], *, environ: Mapping[str, str], terminal: bool = False, size: tuple[int, int] = (24, 80)
    ) -> None:
        environ = {**os.environ, **environ}
        if terminal:
            self._output, theirs = pty.openpty()
            self.resize(lines=size[0], columns=size[1])
            args = [sys.executable, "-c", ON_TERMINAL, *args]
            process = subprocess.Popen(
                args, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, start_new_session=True
            )
        else:
            self._output, theirs = os.pipe()
            process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environ)
        process.returncode = 0  # reaped here
        self.pid = process.pid
        os.close(theirs)
        self.text = ""
        self.code: int | None = None

    def type(self, text: str) -> None:
        os.write(self._output, text.encode())

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def until(self, condition: Callable[[str], bool]) -> str:
        """Read until *condition* holds for all that was written; return that."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition(self.text):
            left_s = deadline - time.monotonic()
            assert left_s > 0, self.text
            if select.select([self._output], [], [], left_s)[0]:
                try:
                    data = os.read(self._output, 65_536)
                except OSError:  # the other side of a terminal is closed
                    data = b""
                assert data or condition(self.text), f"it ended: {self.text}"
                self.text += data.decode(errors="replace")
        return self.text

    def wait(self) -> int:
        """Return its exit code."""
        if self.code is None:
            deadline = time.monotonic() + PATIENCE_S
            while (found := os.waitpid(self.pid, os.WNOHANG))[0] == 0:
                assert time.monotonic() < deadline, self.text
                time.sleep(0.01)
            self.code = os.waitstatus_to_exitcode(found[1])
        return self.code

    def close(self) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.kill(self.pid, signal.SIGCONT)
            os.waitpid(self.pid, 0)
        os.close(self._output)

    def frame(self) -> str:
        """Return what was written since the cursor was last sent home, without colours: what a live screen shows now."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", self.text.rpartition("\x1b[H")[2])

    def heard(self) -> list[str]:
        """Return the names of signals that it wrote, in order."""
        return re.findall(r"SIG[A-Z0-9]+", self.text)

    def resize(self, *, lines: int, columns: int) -> None:
        """Give its terminal another size."""
        fcntl.ioctl(self._output, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def settings(self) -> list[object]:
        """Return how its terminal is set (termios)."""
        return termios.tcgetattr(self._output)


def alive(pid: int) -> bool:
    """Return whether process *pid* runs; one that has ended but was not reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
