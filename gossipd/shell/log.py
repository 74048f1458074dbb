"""Log lines: a constant sentence and facts as fields, as text or JSON, one line each, to a file descriptor.

Nothing that a peer sent can forge a line or move a terminal's cursor: values are written in printable ASCII, all else
is escaped. A sentence that repeats too fast is counted instead of written. A full pipe costs lines, which are counted
and told later, never the loop's time: the descriptor is polled first, and a line is no longer than a pipe takes whole.
"""

import json
import os
import re
import select
import time
from collections.abc import Callable, Mapping
from enum import Enum

LEVELS = ("debug", "info", "warning", "error")
"""From chatty to grave."""

FORMATS = ("text", "json")

LINE_BYTES_MAX = 4_096
"""Longest line: PIPE_BUF on Linux, what a pipe that polls as writable accepts without blocking."""

VALUE_CHARS_MAX = 512
"""Longest value of a field, before escaping: a traceback's last lines, or a host name and then some."""

REPEATS_MAX = 50
"""Lines of one sentence within REPEAT_WINDOW_S; at debug level there is no limit."""

REPEAT_WINDOW_S = 10.0
"""Seconds over which repeats are counted."""

SENTENCES_MAX = 512
"""Sentences counted at once; they are constants of ours, so this is only a guard."""

_BARE = re.compile(r"[A-Za-z0-9._:/@%+,\[\]-]+", re.ASCII)


class Log:
    """Writes lines of *level* or above to *fd*, which stays the caller's. Never raises for what the descriptor does."""

    def __init__(
        self,
        fd: int = 2,
        *,
        format: str = "text",
        level: str = "info",
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert format in FORMATS, format
        self._fd = fd
        self._render = _as_json if format == "json" else _as_text
        self._wall_clock = wall_clock
        self._clock = clock
        self._repeats: dict[str, list[float]] = {}  # sentence -> [start of its window, lines in it]
        self._flush_at = 0.0
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self.dropped = 0
        """Lines that the descriptor did not take and nobody was told of yet."""
        self.set_level(level)

    def set_level(self, level: str) -> None:
        """Write lines of *level*, one of LEVELS, and graver ones from now on."""
        self.level = level
        self._least = LEVELS.index(level)

    def debug(self, sentence: str, /, **fields: object) -> None:
        if self._least == 0:
            self._write("debug", sentence, fields)

    def info(self, sentence: str, /, **fields: object) -> None:
        if self._least <= 1:
            self._limited("info", sentence, fields)

    def warning(self, sentence: str, /, **fields: object) -> None:
        if self._least <= 2:
            self._limited("warning", sentence, fields)

    def error(self, sentence: str, /, **fields: object) -> None:
        self._limited("error", sentence, fields)

    def tell_repeats(self, *, all: bool = False) -> None:
        """Tell of the sentences held back whose window is over; *all*: of the others too, as at the end."""
        now = self._clock()
        self._flush_at = now + REPEAT_WINDOW_S
        for sentence, (start, lines) in list(self._repeats.items()):
            if all or now - start >= REPEAT_WINDOW_S:
                del self._repeats[sentence]
                if lines > REPEATS_MAX:
                    held = int(lines) - REPEATS_MAX
                    self._write("warning", "repeated lines held back", {"line": sentence, "count": held})

    def _limited(self, level: str, sentence: str, fields: Mapping[str, object]) -> None:
        now = self._clock()
        if now >= self._flush_at:
            self.tell_repeats()
        if sentence not in self._repeats and len(self._repeats) >= SENTENCES_MAX:
            self._repeats.clear()
        window = self._repeats.setdefault(sentence, [now, 0])
        window[1] += 1
        if window[1] <= REPEATS_MAX:
            self._write(level, sentence, fields)

    def _write(self, level: str, sentence: str, fields: Mapping[str, object]) -> None:
        moment = self._wall_clock()
        if self.dropped:
            told = self._render(moment, "warning", "log lines lost, nobody reads them", {"count": self.dropped})
            if self._put(told):
                self.dropped = 0
        if self.dropped or not self._put(self._render(moment, level, sentence, fields)):
            self.dropped += 1

    def _put(self, line: str) -> bool:
        """Write *line* if that cannot block; return whether it is out."""
        data = line.encode("ascii")
        try:
            ready = self._poll.poll(0)
            if not ready or not ready[0][1] & select.POLLOUT:
                return False
            return os.write(self._fd, data) == len(data)
        except OSError:  # nobody left to tell
            return False


def _as_text(moment: float, level: str, sentence: str, fields: Mapping[str, object]) -> str:
    line = f"{_time_stamp(moment)} {level:<7} {_printable(sentence)}"
    for name, value in fields.items():
        text = _plain(value)
        shown = text if isinstance(text, str) else json.dumps(text)
        if isinstance(text, str) and _BARE.fullmatch(text) is None:
            shown = _quoted(text)
        more = f" {name}={shown}"
        if len(line) + len(more) < LINE_BYTES_MAX:
            line += more
    return line + "\n"


def _as_json(moment: float, level: str, sentence: str, fields: Mapping[str, object]) -> str:
    fixed = {"time": _time_stamp(moment), "level": level, "message": sentence}
    assert not fixed.keys() & fields.keys(), fields
    line = "{" + ", ".join(f'"{name}": {_quoted(value)}' for name, value in fixed.items())
    for name, value in fields.items():
        text = _plain(value)
        more = f', "{name}": {_quoted(text) if isinstance(text, str) else json.dumps(text)}'
        if len(line) + len(more) + 1 < LINE_BYTES_MAX:
            line += more
    return line + "}\n"


def _plain(value: object) -> str | int | float | bool | None:
    """Return *value* as something JSON has, strings cut to VALUE_CHARS_MAX."""
    if isinstance(value, Enum):
        return value.name.lower()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        rounded = float(f"{value:.6g}")
        return rounded if abs(rounded) < float("inf") else str(rounded)  # JSON has no infinity; NaN compares false too
    if isinstance(value, bytes | bytearray | memoryview):
        text = bytes(value).hex()
    elif isinstance(value, BaseException):
        text = str(value) or type(value).__name__
    else:
        text = str(value)
    return text if len(text) <= VALUE_CHARS_MAX else text[:VALUE_CHARS_MAX] + "..."


def _quoted(text: str) -> str:
    """Return *text* as a JSON string in printable ASCII."""
    return json.dumps(text).replace("\x7f", "\\u007f")


def _printable(text: str) -> str:
    return text if text.isascii() and text.isprintable() else _quoted(text)


def _time_stamp(moment: float) -> str:
    """Return RFC 3339 in UTC with milliseconds."""
    millis = int(moment * 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(millis // 1000)) + f".{millis % 1000:03d}Z"
