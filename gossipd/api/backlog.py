"""What all clients together have not read yet: one budget, so that many slow readers of a large catalog cost what few do.

When it is spent, whoever has not read a byte for longest is closed; one that reads, however slowly, is not.
"""

from collections.abc import Callable


class Backlog:
    """Bytes that wait for clients, at most *most* in sum, unless a single client is owed more."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[int, tuple[int, Callable[[], None]]] = {}
        """Bytes and way to close it, by connection; who has read nothing for longest first."""
        self.total = 0

    def hold(self, connection: int, size: int, *, read: bool, close: Callable[[], None]) -> None:
        """Say that *size* bytes wait for *connection*, which has just *read* some or not; *close* ends another one if need be."""
        before, _ = (
            self._held.pop(connection, (0, close)) if read or not size else self._held.get(connection, (0, close))
        )
        self.total += size - before
        if size:
            self._held[connection] = (size, close)
        while self.total > self._most and len(self._held) > 1:
            slowest = next(each for each in self._held if each != connection)
            held, end = self._held.pop(slowest)
            self.total -= held
            end()

    def drop(self, connection: int) -> None:
        """Say that *connection* has ended."""
        held, _ = self._held.pop(connection, (0, None))
        self.total -= held
