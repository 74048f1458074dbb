"""Cuts: verdicts on members that fall silent together become one change of what readers see.

A verdict is shown at once if nobody else is suspect. While others are, it is held until none is, for a limited time: whoever they
are, they are probably part of the same outage. Rapid's filter (Suresh et al., USENIX ATC 2018) holds a view change while any
subject is between its watermarks; Departs: there is no consensus, and time ends the wait, so each node decides for itself and no
side of a partition waits for the other.
"""

import math

from gossipd.ids import NodeId


class Cuts:
    """The members whose verdict is held. Bounded by the member table."""

    def __init__(self, *, batch_s: float) -> None:
        self._batch_s = batch_s
        self._held: dict[NodeId, float] = {}
        """When each was found dead, the first first."""
        self._until = math.inf
        self._patient = False
        self._paused = False

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, member: NodeId) -> bool:
        return member in self._held

    def died(self, member: NodeId, *, now: float) -> None:
        """Hold the verdict on *member* until `pop` returns it."""
        self._held[member] = now
        self._until = min(self._until, now + self._batch_s)

    def drop(self, member: NodeId) -> bool:
        """Forget the verdict on *member*; return whether there was one."""
        if self._held.pop(member, None) is None:
            return False
        if not self._held:
            self._clear()
        return True

    def pause(self) -> None:
        """Hold whatever comes, for as long as it takes: we are the one cut off."""
        self._paused = True

    def resume(self, *, now: float) -> None:
        """We hear the others again: what was held waits once more for as long as a batch may, for news that is on its way."""
        self._paused = False
        if self._held:
            self._patient, self._until = True, now + self._batch_s

    def shift(self, by_s: float) -> None:
        """Move the end of the wait by *by_s* seconds that we slept through."""
        self._until += by_s

    def next_deadline(self) -> float:
        """Return when the wait ends whatever happens; `math.inf` while nothing is held, or all is."""
        return math.inf if self._paused else self._until

    def pop(self, *, suspects: int, now: float) -> tuple[list[NodeId], float]:
        """Return the members whose verdict is to be shown now, and for how many seconds the first of them was held.

        None while one of the *suspects*, the members suspected now, may still join them.
        """
        if self._paused or not self._held or (now < self._until and (suspects or self._patient)):
            return [], 0.0
        members, since = sorted(self._held), min(self._held.values())
        self._held.clear()
        self._clear()
        return members, max(0.0, now - since)

    def _clear(self) -> None:
        self._until, self._patient = math.inf, False
