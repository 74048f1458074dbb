"""Many local sockets watched by one thread, so that measuring costs little of what is measured."""

import json
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

Event = dict[str, Any]

Told = tuple[float, int, Event]
"""When, on the monotonic clock, which watch told what."""


class Watchers:
    """A watch on each of *paths*, which are numbered from 0: *params* say of what. More may be added later."""

    def __init__(self, paths: Sequence[str], params: Event, *, timeout_s: float = 30.0) -> None:
        self._selector = selectors.DefaultSelector()
        self._buffers: dict[int, bytearray] = {}
        self._sockets: dict[int, socket.socket] = {}
        self._request = json.dumps({"id": 1, "method": "watch", "params": params}).encode() + b"\n"
        self._timeout_s = timeout_s
        for number, path in enumerate(paths):
            self.add(number, path)
        self.wait(lambda event: event["type"] == "snapshot", within_s=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for number in list(self._sockets):
            self.drop(number)
        self._selector.close()

    def add(self, number: int, path: str) -> None:
        """Watch *path* as *number*, which is not watched yet. Raises: OSError if nobody answers there."""
        each = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            each.settimeout(self._timeout_s)
            each.connect(path)
            each.sendall(self._request)
        except BaseException:
            each.close()
            raise
        self._sockets[number] = each
        self._buffers[number] = bytearray()
        self._selector.register(each, selectors.EVENT_READ, number)

    def drop(self, number: int) -> None:
        """Watch *number* no longer; once more does nothing."""
        each = self._sockets.pop(number, None)
        if each is not None:
            self._selector.unregister(each)
            each.close()
            del self._buffers[number]

    def read(self, *, within_s: float) -> list[Told]:
        """Return what was told, once anybody told anything or *within_s* has passed. A watch whose daemon has gone is dropped."""
        ready = self._selector.select(max(0.0, within_s))
        now = time.monotonic()
        return [(now, key.data, event) for key, _ in ready for event in self._read(key.data)]

    def wait(
        self, wanted: Callable[[Event], bool], *, within_s: float, without: Sequence[int] = ()
    ) -> dict[int, float]:
        """Return by number when each watch told an event that is *wanted*, but for those in *without*.

        Raises: TimeoutError naming who did not.
        """
        until = time.monotonic() + within_s
        waiting = set(self._buffers) - set(without)
        told: dict[int, float] = {}
        while waiting:
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"{len(waiting)} watches did not tell within {within_s:g} s: {sorted(waiting)[:10]}")
            for now, number, event in self.read(within_s=left_s):
                if number in waiting and wanted(event):
                    waiting.discard(number)
                    told[number] = now
        return told

    def _read(self, number: int) -> list[Event]:
        try:
            data = self._sockets[number].recv(1 << 20)
        except ConnectionResetError:
            data = b""
        if not data:
            self.drop(number)
            return []
        buffer = self._buffers[number]
        buffer += data
        *lines, rest = buffer.split(b"\n")
        self._buffers[number] = bytearray(rest)
        return [event for event in (json.loads(line).get("event") for line in lines) if event is not None]
