"""What the audience sees: a live table of all views on a terminal, plain lines otherwise."""

import sys
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.table import Table

Views = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""By observer, by member: the row."""

SYMBOLS = {
    "alive": ("alive", "green"),
    "suspect": ("suspect", "yellow"),
    "failed": ("failed", "red"),
    "left": ("left", "blue"),
}

WIDE_NODES_MAX = 9
"""More columns than this and a status is told by its first letter."""


PAUSE_S = 1.2
"""Between two chapters on a terminal: the whole story would be over in five seconds."""


class Screen(Protocol):
    """A context manager that shows the story."""

    def __enter__(self) -> "Screen": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def say(self, text: str) -> None:
        """Tell that a step was reached, with the time since the start."""

    def quote(self, lines: Iterable[str]) -> None:
        """Show what a command would print."""

    def show(self, views: Views) -> None:
        """Show what every daemon says of every other now."""

    def progress(self, text: str) -> None:
        """Tell how far a step has come, where there is no live table to tell it."""

    def pause(self) -> None:
        """Give the audience time to read, if there is one."""


class Lines:
    """One line a step, and whatever is asked; for pipes, logs and dumb terminals."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __enter__(self) -> "Lines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def say(self, text: str) -> None:
        self._print(f"{self._stamp()}  {text}")

    def quote(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._print(f"          {line}")

    def show(self, views: Views) -> None:
        pass

    def progress(self, text: str) -> None:
        self.say(f"  {text}")

    def pause(self) -> None:
        pass

    def _stamp(self) -> str:
        return f"[{time.monotonic() - self._started:5.1f} s]"

    def _print(self, text: str) -> None:
        print(text, flush=True)


class LiveTable(Lines):
    """The same lines, scrolling above a table: one row a member, one column an observer."""

    def __init__(self) -> None:
        super().__init__()
        from rich.live import Live

        self._live = Live(refresh_per_second=10, redirect_stderr=False, transient=True)

    def __enter__(self) -> "LiveTable":
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, views: Views) -> None:
        if views:
            self._live.update(_table(views))

    def progress(self, text: str) -> None:
        pass  # the table tells

    def pause(self) -> None:
        time.sleep(PAUSE_S)

    def _print(self, text: str) -> None:
        self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _table(views: Views) -> "Table":
    from rich.table import Table
    from rich.text import Text

    members = sorted({name for view in views.values() for name in view} | set(views), key=_number)
    table = Table(title="what each daemon (column) says of each member (row)", title_justify="left")
    table.add_column("member")
    for observer in sorted(views, key=_number):
        table.add_column(observer, justify="center")
    for member in members:
        cells = [Text(member)]
        for observer in sorted(views, key=_number):
            row = views[observer].get(member)
            word, colour = SYMBOLS.get(row["status"], (row["status"], "")) if row else ("-", "dim")
            cells.append(Text(word if len(views) <= WIDE_NODES_MAX else word[0], style=colour))
        table.add_row(*cells)
    return table


def _number(name: str) -> int:
    return int(name[1:]) if name[1:].isdigit() else 0


def choose_screen() -> Screen:
    """Return the screen for this stdout."""
    return LiveTable() if sys.stdout.isatty() else Lines()
