"""Who believes what of whom, as the nodes said it in their events: one byte a pair, and counts by subject.

A process that does not run believes nothing. Hosts are numbers.
"""

from gossipd.core.events import MemberChanged
from gossipd.records import Status

ALIVE, SUSPECT, DEAD, LEFT, UNKNOWN = int(Status.ALIVE), int(Status.SUSPECT), int(Status.DEAD), int(Status.LEFT), 4
WORDS = ("alive", "suspect", "dead", "left", "unknown")


class Beliefs:
    """What each running host believes of each; `counts[subject][status]` is how many others do."""

    def __init__(self, hosts: int) -> None:
        self.hosts = hosts
        self.of: list[bytearray | None] = [None] * hosts
        """`of[observer][subject]`; None while the observer does not run."""
        self.counts = [[0] * 5 for _ in range(hosts)]

    def begin(self, observer: int, *, knows: int) -> None:
        """A process of *observer* starts, knowing itself and the first *knows* hosts, as alive."""
        self.end(observer)
        row = bytearray([ALIVE]) * knows + bytearray([UNKNOWN]) * (self.hosts - knows)
        row[observer] = ALIVE
        self.of[observer] = row
        for subject, status in enumerate(row):
            if subject != observer:
                self.counts[subject][status] += 1

    def end(self, observer: int) -> None:
        """The process of *observer* is gone."""
        row = self.of[observer]
        if row is not None:
            for subject, status in enumerate(row):
                if subject != observer:
                    self.counts[subject][status] -= 1
        self.of[observer] = None

    def note(self, observer: int, subject: int, event: MemberChanged) -> None:
        """*observer* changed its belief about *subject*."""
        row = self.of[observer]
        assert row is not None
        after = UNKNOWN if event.after is None else int(event.after)
        if observer != subject:
            counts = self.counts[subject]
            counts[row[subject]] -= 1
            counts[after] += 1
        row[subject] = after

    def believers(self, subject: int, status: int) -> list[int]:
        """Return the running hosts, other than *subject*, that believe *status* of it."""
        return [
            observer
            for observer, row in enumerate(self.of)
            if row is not None and observer != subject and row[subject] == status
        ]
