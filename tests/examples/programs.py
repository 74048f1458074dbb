"""The examples of docs/howto as processes: told lines, their lines read with a deadline, and nothing left behind."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from simulations.reality.cluster import PATIENCE_S, Daemon

EXAMPLES = Path(__file__).parents[2] / "docs" / "howto" / "examples"


class Program:
    """An example that runs beside *daemon*; what it prints is kept in `lines`. On exit it has ended."""

    def __init__(self, name: str, daemon: Daemon, *arguments: str, **environment: str) -> None:
        self.lines: list[str] = []
        self._told = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", EXAMPLES / name, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"GOSSIPD_SOCKET": daemon.socket} | environment,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()

    def say(self, *lines: str) -> None:
        """Write *lines* to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write("".join(f"{line}\n" for line in lines))
        self.process.stdin.flush()

    def end(self) -> int:
        """Say that there are no more lines, and return its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(PATIENCE_S)

    def wait_lines(self, enough: Callable[[list[str]], bool], *, what: str) -> list[str]:
        """Return what it has printed as soon as that is *enough*. Raises: AssertionError."""
        with self._told:
            assert self._told.wait_for(lambda: enough(self.lines) or not self._reader.is_alive(), PATIENCE_S), what
            assert enough(self.lines), f"{what}: it ended after {self.lines[-3:]}"
            return list(self.lines)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._told:
                self.lines.append(line.rstrip("\n"))
                self._told.notify_all()
        with self._told:
            self._told.notify_all()
