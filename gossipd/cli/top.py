"""`gossipd top`: the terminal, its keys, and the thread that hears the daemon."""

import os
import queue
import select
import signal
import sys
import termios
import threading
import time
import tty
from contextlib import suppress
from typing import Any

import click
from rich.console import Console
from rich.live import Live

from gossipd.cli import doors, render
from gossipd.cli.picture import Picture
from gossipd.cli.screen import screen
from gossipd.client import Client
from gossipd.errors import RequestError

EVENTS_MAX = 1_024
"""Events that wait to be shown; past it the daemon's own rule for slow readers holds: they are dropped, and a snapshot follows."""

DRAW_S = 0.1
"""Least seconds between two drawings: more cannot be read."""

TICK_S = 1.0
"""Most seconds between two: ages grow."""

RETRY_S = 0.3
"""Pause before a lost daemon is asked again."""

FILTER_MAX = 64
"""Longest filter."""

SIGNALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGWINCH)


def once(socket: str | None) -> None:
    """Print what is there now, as tables. Raises: RequestError."""
    with doors.connected(socket) as client:
        event: dict[str, Any] = next(client.watch(members=True, services=True))
    picture = Picture()
    picture.apply(event, at=0.0)
    lines = [(line.name, line.ready, line.known, line.degraded) for line in picture.services()]
    header = ("SERVICE", "READY", "KNOWN", "DEGRADED")
    click.echo(render.table(header, lines, right=header[1:], colour=doors.colourful()) if lines else "no services")
    click.echo(render.members(event["members"], colour=doors.colourful()))
    footer = render.footer(event["view"])
    if footer is not None:
        click.echo(footer)


def is_terminal() -> bool:
    """Return whether there is a terminal that can be drawn on."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


def top(socket: str | None) -> None:
    """Show what is there and every change, until q, Ctrl-C or a signal; however it ends, the terminal is as it was.

    Raises: RequestError if no daemon answers at the start; later it is waited for.
    """
    with doors.connected(socket):
        pass
    ended_by = Top(socket).run()
    if ended_by is not None and ended_by != signal.SIGINT:
        signal.signal(ended_by, signal.SIG_DFL)
        os.kill(os.getpid(), ended_by)


class Feed:
    """Hears the daemon in a thread: events, and a text where it is lost. *wake* is called for each."""

    def __init__(self, socket: str | None, *, wake: int) -> None:
        self._socket = socket
        self._wake = wake
        self.heard: queue.Queue[dict[str, Any] | str] = queue.Queue(EVENTS_MAX)
        threading.Thread(target=self._run, name="feed", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                with Client(self._socket) as client:
                    for event in client.watch(members=True, services=True):
                        self._put(event)
                self._put("it ended the watch")
            except RequestError as error:
                self._put(str(error))
            time.sleep(RETRY_S)

    def _put(self, heard: dict[str, Any] | str) -> None:
        self.heard.put(heard)
        with suppress(BlockingIOError):  # as many as the pipe holds will do
            os.write(self._wake, b"\0")


class Top:
    """The loop: what was heard, what was typed, what the system says; then, not too often, a drawing."""

    def __init__(self, socket: str | None) -> None:
        self._woken, self._wake = os.pipe()
        for descriptor in (self._woken, self._wake):
            os.set_blocking(descriptor, False)
        self._feed = Feed(socket, wake=self._wake)
        self._picture = Picture()
        self._live = Live(
            console=Console(), screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._before = termios.tcgetattr(sys.stdin)
        self._paused = False
        self._wanted = ""
        self._typing = False
        self._signals: list[int] = []

    def run(self) -> int | None:
        """Return the number of the signal that ended it, if one did."""
        former = {number: signal.signal(number, lambda got, _: self._signals.append(got)) for number in SIGNALS}
        former_wake = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        try:
            tty.setcbreak(sys.stdin)  # keys as they are pressed, and not shown
            with self._live:
                return self._loop()
        finally:
            with suppress(termios.error):  # it may have gone
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)
            signal.set_wakeup_fd(former_wake)
            for number, handler in former.items():
                signal.signal(number, handler)

    def _loop(self) -> int | None:
        drawn_at = -TICK_S
        dirty = True
        while True:
            now = time.monotonic()
            due = drawn_at + (DRAW_S if dirty else TICK_S)
            if now >= due:
                self._draw(now)
                drawn_at, dirty = now, False
                continue
            ready, _, _ = select.select([sys.stdin.fileno(), self._woken], [], [], due - now)
            if self._woken in ready:
                os.read(self._woken, 65_536)
                dirty = True
            while self._signals:
                number = self._signals.pop(0)
                if number == signal.SIGTSTP:
                    self._suspend()
                elif number != signal.SIGWINCH:
                    return number
            if sys.stdin.fileno() in ready:
                dirty = True
                if not self._read_keys():
                    return None
            self._hear()

    def _hear(self) -> None:
        """Take what was heard, unless it is to stand still."""
        while not self._paused and not self._feed.heard.empty():
            heard = self._feed.heard.get()
            if isinstance(heard, str):
                self._picture.lose(heard, at=time.monotonic())
            else:
                self._picture.apply(heard, at=time.monotonic())

    def _read_keys(self) -> bool:
        """Take what was typed; return whether to go on."""
        try:
            data = os.read(sys.stdin.fileno(), 1_024)
        except OSError:
            data = b""
        if not data:
            return False  # the terminal has gone
        text = data.decode(errors="replace")
        if text.startswith("\x1b") and len(text) > 1:
            return True  # an arrow or a function key
        return all(self._press(key) for key in text)

    def _press(self, key: str) -> bool:
        if self._typing:
            if key in "\r\n\x1b":
                self._typing = False
                self._wanted = "" if key == "\x1b" else self._wanted
            elif key in "\x7f\b":
                self._wanted = self._wanted[:-1]
            elif key.isprintable():
                self._wanted = (self._wanted + key)[:FILTER_MAX]
        elif key == "q":
            return False
        elif key == "p":
            self._paused = not self._paused
        elif key == "/":
            self._typing, self._wanted = True, ""
        elif key == "\x1b":
            self._wanted = ""
        return True

    def _suspend(self) -> None:
        """Ctrl-Z: give the terminal back, stop, and take it again when we are continued."""
        self._live.stop()
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)
        os.kill(os.getpid(), signal.SIGSTOP)
        tty.setcbreak(sys.stdin)
        self._live.start()

    def _draw(self, now: float) -> None:
        shown = screen(
            self._picture,
            lines=self._live.console.size.height,
            now=now,
            wall=time.time(),
            paused=self._paused,
            wanted=self._wanted,
            typing=self._typing,
        )
        self._live.update(shown, refresh=True)
