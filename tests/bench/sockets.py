"""Many local sockets watched by one thread, so that measuring costs little of what is measured."""

import json
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

Event = dict[str, Any]


class Watchers:
    """A watch on each of *paths*: `wait` returns once every one of them has told what is waited for."""

    def __init__(self, paths: Sequence[str], params: Event, *, timeout_s: float = 30.0) -> None:
        self._selector = selectors.DefaultSelector()
        self._buffers: dict[int, bytearray] = {}
        self._sockets: list[socket.socket] = []
        request = json.dumps({"id": 1, "method": "watch", "params": params}).encode() + b"\n"
        for number, path in enumerate(paths):
            each = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._sockets.append(each)
            self._buffers[number] = bytearray()
            each.settimeout(timeout_s)
            each.connect(path)
            each.sendall(request)
            self._selector.register(each, selectors.EVENT_READ, number)
        self.wait(lambda event: event["type"] == "snapshot", within_s=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._selector.close()
        for each in self._sockets:
            each.close()

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
            ready = self._selector.select(max(0.0, until - time.monotonic()))
            if not ready and time.monotonic() >= until:
                raise TimeoutError(f"{len(waiting)} watches did not tell within {within_s:g} s: {sorted(waiting)[:10]}")
            now = time.monotonic()
            for key, _ in ready:
                number: int = key.data
                if any(wanted(event) for event in self._read(number)) and number in waiting:
                    waiting.discard(number)
                    told[number] = now
        return told

    def _read(self, number: int) -> list[Event]:
        data = self._sockets[number].recv(1 << 20)
        if not data:
            self._selector.unregister(self._sockets[number])  # its daemon has gone
            return []
        buffer = self._buffers[number]
        buffer += data
        *lines, rest = buffer.split(b"\n")
        self._buffers[number] = bytearray(rest)
        return [event for event in (json.loads(line).get("event") for line in lines) if event is not None]
