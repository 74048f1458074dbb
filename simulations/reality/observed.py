"""What observers told, and when: the one kind of evidence that both sides give, and every time that is measured from it.

Hosts are numbers; times are seconds on the clock of whoever filled the log, virtual or monotonic.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

ALIVE, SUSPECT, FAILED, LEFT = "alive", "suspect", "failed", "left"
"""Statuses, as the local API calls them."""

NEVER = math.inf


@dataclass(frozen=True, slots=True)
class Told:
    """At *at*, *observer* began to believe *status* of *subject*."""

    at: float
    observer: int
    subject: int
    status: str


class Observed:
    """Beliefs as they are, since when, and every change of them."""

    def __init__(self) -> None:
        self.changes: list[Told] = []
        self.alone: list[tuple[float, int, bool]] = []
        """When which observer began (True) or ceased to call itself cut off."""
        self.born: dict[int, float] = {}
        """When the process that runs now, or ran last, began."""
        self.ended: dict[int, float] = {}
        """When the last process ended by itself."""
        self._status: dict[tuple[int, int], tuple[str, float]] = {}
        self._port: dict[tuple[int, int, str], tuple[int | None, float]] = {}

    # ------------------------------------------------------------------------------------------------------------- hearing

    def hear_status(self, at: float, observer: int, subject: int, status: str | None) -> None:
        """*observer* believes *status* of *subject*; None: it knows nothing of it any more. The same again changes nothing."""
        known = self._status.get((observer, subject))
        if status is None:
            self._status.pop((observer, subject), None)
        elif known is None or known[0] != status:
            self._status[observer, subject] = (status, at)
            self.changes.append(Told(at, observer, subject, status))

    def hear_port(self, at: float, observer: int, owner: int, id: str, port: int | None) -> None:
        """*observer* answers *port* for instance *id* of *owner*; None: it has none."""
        known = self._port.get((observer, owner, id))
        if known is None or known[0] != port:
            self._port[observer, owner, id] = (port, at)

    def hear_alone(self, at: float, observer: int, alone: bool) -> None:
        self.alone.append((at, observer, alone))

    def forget(self, observer: int) -> None:
        """The process of *observer* is gone, and with it what it believed."""
        self._status = {key: known for key, known in self._status.items() if key[0] != observer}
        self._port = {key: answer for key, answer in self._port.items() if key[0] != observer}

    # ----------------------------------------------------------------------------------------------------------- measuring

    def first(self, subject: int, status: str, *, since: float) -> float:
        """Return when anybody else first believed *status* of *subject*, from *since* on; NEVER if nobody did."""
        times = (
            told.at
            for told in self.changes
            if told.at >= since and (told.subject, told.status) == (subject, status) and told.observer != subject
        )
        return min(times, default=NEVER)

    def everywhere(self, subject: int, status: str, *, among: Iterable[int], since: float) -> float:
        """Return when the last of *among* but *subject* came to believe *status* of it, as all do now; *since* at the earliest.

        NEVER if not all do.
        """
        known = [self._status.get((observer, subject), ("", NEVER)) for observer in among if observer != subject]
        return max([since, *(at if now == status else NEVER for now, at in known)])

    def known_everywhere(self, owner: int, id: str, port: int | None, *, among: Iterable[int], since: float) -> float:
        """Return when the last of *among* but *owner* came to answer *port* for instance *id* of *owner*; see `everywhere`."""
        missing = (None, since) if port is None else (None, NEVER)
        known = [self._port.get((observer, owner, id), missing) for observer in among if observer != owner]
        return max([since, *(at if now == port else NEVER for now, at in known)])

    def accused(self, observer: int, *, since: float, spared: Iterable[int] = ()) -> int:
        """Return how many others *observer* came to believe suspect or failed, from *since* on, but for those *spared*."""
        return len(
            {
                told.subject
                for told in self.changes
                if told.observer == observer and told.at >= since and told.status in (SUSPECT, FAILED)
            }
            - {observer, *spared}
        )

    def first_alone(self, observer: int, alone: bool, *, since: float) -> float:
        """Return when *observer* first began (or, *alone* False, ceased) to call itself cut off; NEVER if it did not."""
        return min(
            (at for at, who, now in self.alone if (who, now) == (observer, alone) and at >= since), default=NEVER
        )
