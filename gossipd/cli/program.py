"""A program that runs under us: in a process group of its own, with the terminal if we have it, never left behind.

Every signal reaches it once. What a terminal makes (Ctrl-C, Ctrl-Z, a new size) goes to the group in the foreground, which is the
program's; what is sent to us, or to our own group as shells do for a job, reaches us alone, and we pass it on.
"""

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence

NOT_EXECUTABLE = 126
NOT_FOUND = 127
"""Exit codes of env(1) and every shell."""

PR_SET_PDEATHSIG = 1

FORWARDED = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
"""Passed on as they come; SIGTERM too, but it is for the caller to say when."""

WATCHED = frozenset((*FORWARDED, signal.SIGTERM, signal.SIGCHLD, signal.SIGCONT))
"""Blocked in every thread of ours and taken one by one with `signal.sigwaitinfo`."""

STDIN = 0


class NotStarted(Exception):
    """The program could not be started; *code* is the exit code that says so."""

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.code = code


class Program:
    """The child. Made in the main thread, before any other: it is told of the end of the thread that made it.

    If we die without a word, by SIGKILL, the kernel sends it SIGTERM (prctl(2), PR_SET_PDEATHSIG). Its own children, and a program
    that gained rights when it was started (set-user-ID), are not told.
    """

    def __init__(self, args: Sequence[str], *, environ: Mapping[str, str]) -> None:
        """Start it. Raises: NotStarted."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, its end would never be told
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [*WATCHED, signal.SIGTTOU])
        self._on_terminal = os.isatty(STDIN)
        prepare = _preparation(mask, foreground=self._in_foreground(os.getpgrp()))
        try:
            self._process = subprocess.Popen(
                args, env=environ, preexec_fn=prepare, process_group=0, close_fds=False
            )  # what is open and inheritable is meant for it
        except (FileNotFoundError, NotADirectoryError):
            raise NotStarted(f"{args[0]}: no such program", code=NOT_FOUND) from None
        except OSError as error:
            raise NotStarted(f"{args[0]}: {error.strerror or error}", code=NOT_EXECUTABLE) from None
        self.pid = self._process.pid

    def send(self, number: int) -> None:
        """Send it signal *number*; nothing once it was reaped."""
        if self._process.returncode is None:
            os.kill(self.pid, number)

    def look(self) -> int | None:
        """Return the exit code if it has ended, 128 + n if by signal n. If it was stopped on a terminal, stop, too."""
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            if pid == 0:
                return None
            if pid != self.pid:  # as the first process of a container we are given the orphans of others
                continue
            if os.WIFSTOPPED(status):
                if self._on_terminal:  # a shell waits for us: it is to know that the job has stopped
                    self._take_terminal()
                    os.kill(os.getpid(), signal.SIGSTOP)
                continue
            code = os.waitstatus_to_exitcode(status)
            self._process.returncode = code
            self._take_terminal()
            return code if code >= 0 else 128 - code

    def resume(self) -> None:
        """We were continued: so is the program, with the terminal if we have it."""
        if self._process.returncode is not None:
            return
        if self._on_terminal and self._in_foreground(os.getpgrp()):
            os.tcsetpgrp(STDIN, self.pid)
        os.killpg(self.pid, signal.SIGCONT)

    def _take_terminal(self) -> None:
        if self._on_terminal and self._in_foreground(self.pid):
            os.tcsetpgrp(STDIN, os.getpgrp())

    def _in_foreground(self, group: int) -> bool:
        """Return whether *group* has the terminal."""
        try:
            return self._on_terminal and os.tcgetpgrp(STDIN) == group
        except OSError:  # a terminal, but not ours
            return False


def _preparation(mask: set[int | signal.Signals], *, foreground: bool) -> Callable[[], None]:
    """Return what the child does before it becomes the program; *mask* are the signals that it is to have blocked."""
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def prepare() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(128 + signal.SIGTERM)  # our parent died before the kernel knew that we care
        if foreground:
            os.tcsetpgrp(STDIN, os.getpid())  # SIGTTOU is blocked: this may be done from the background
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    return prepare
