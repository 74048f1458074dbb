"""How long a suspect may stay silent, and who confirms the suspicion.

The timer starts long and shrinks as distinct accusers confirm (Lifeguard section 3.2). SWIM section 4.2; memberlist's formulas.
"""

import math
from dataclasses import dataclass, field

from gossipd.config import ProtocolConfig
from gossipd.core.deadlines import Deadlines
from gossipd.ids import Incarnation, NodeId


def suspicion_timeout_s(members: int, *, interval_s: float, factor: float = 4.0) -> float:
    """Return the least seconds a suspect may stay silent: ``factor * max(1, log10 members) * interval_s``.

    Args: *members* known live, ourselves included, 1 or more; *interval_s* between probes.
    Raises: ValueError if *members* is below 1.
    Source: SWIM section 4.2; the base-10 logarithm and its floor of 1 are memberlist's.
    """
    if members < 1:
        raise ValueError(f"members={members}, expected 1 or more")
    return factor * max(1.0, math.log10(members)) * interval_s


def confirmations_wanted(members: int, *, factor: float) -> int:
    """Return how many further accusers shrink the timer to its least: factor - 2, or 0 when so many others do not exist."""
    wanted = max(0, int(factor) - 2)
    return 0 if members - 2 < wanted else wanted


def shrunk_timeout_s(confirmations: int, *, wanted: int, least_s: float, longest_s: float) -> float:
    """Return the whole wait after *confirmations* by distinct further accusers, between *least_s* and *longest_s*.

    Source: Lifeguard section 3.2: ``max(min, max - (max - min) * log(c + 1) / log(k + 1))``.
    """
    if wanted < 1:
        return least_s
    part = math.log(confirmations + 1) / math.log(wanted + 1)
    return max(least_s, longest_s - (longest_s - least_s) * part)


@dataclass(slots=True)
class _Suspicion:
    incarnation: Incarnation
    since: float
    wanted: int = 0
    least_s: float = 0.0
    longest_s: float = 0.0
    accusers: dict[NodeId, None] = field(default_factory=dict)


class Suspicions:
    """The suspicions under way, one a member at most: bounded by the member table."""

    def __init__(self, config: ProtocolConfig) -> None:
        self._config = config
        self._open: dict[NodeId, _Suspicion] = {}
        self._deadlines: Deadlines[NodeId] = Deadlines()
        self._held = False

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, member: NodeId) -> bool:
        return member in self._open

    def start(self, member: NodeId, incarnation: Incarnation, accuser: NodeId, *, members: int, now: float) -> None:
        """Begin to suspect *member*; *members* are live, ourselves included. An earlier suspicion of it is replaced."""
        suspicion = _Suspicion(incarnation, now)
        suspicion.accusers[accuser] = None
        self._open[member] = suspicion
        self._time(suspicion, members)
        self._arm(member)

    def confirm(self, member: NodeId, accuser: NodeId) -> bool:
        """Count *accuser* and return whether that is news: each name once, the first accuser never again, none past *wanted*."""
        suspicion = self._open.get(member)
        if suspicion is None or accuser in suspicion.accusers or len(suspicion.accusers) > suspicion.wanted:
            return False
        suspicion.accusers[accuser] = None
        self._arm(member)
        return True

    def cancel(self, member: NodeId) -> None:
        """Forget the suspicion of *member*, if there is one."""
        if self._open.pop(member, None) is not None:
            self._deadlines.cancel(member)

    def accusers(self, member: NodeId) -> tuple[NodeId, ...]:
        """Return who accuses *member*, the first accuser first; empty when nobody does."""
        suspicion = self._open.get(member)
        return () if suspicion is None else tuple(suspicion.accusers)

    def accused_by_only(self, accuser: NodeId) -> list[NodeId]:
        """Return the suspects whom nobody but *accuser* accuses."""
        return [member for member, suspicion in self._open.items() if tuple(suspicion.accusers) == (accuser,)]

    def hold(self) -> None:
        """Let no suspicion run out until `release`: we doubt ourselves."""
        self._held = True

    def release(self, *, now: float) -> None:
        """Start every held suspicion afresh: what ran while we were cut off proves nothing."""
        self._held = False
        for member, suspicion in self._open.items():
            suspicion.since = now
            self._arm(member)

    def shift(self, by_s: float) -> None:
        """Move every deadline by *by_s* seconds that we slept through."""
        for suspicion in self._open.values():
            suspicion.since += by_s
        self._deadlines.shift(by_s)

    def next_deadline(self) -> float:
        """Return when the next suspicion runs out; `math.inf` while none does or they are held."""
        return math.inf if self._held else self._deadlines.next()

    def pop_due(self, *, members: int, now: float) -> list[tuple[NodeId, Incarnation]]:
        """Return the members whose time is up, with the incarnation that was suspected; they are suspected no more.

        *members* are live now. Where they were fewer at the start, as a newcomer saw it, there is more time.
        """
        due: list[tuple[NodeId, Incarnation]] = []
        for member in [] if self._held else self._deadlines.pop_due(now):
            suspicion = self._open[member]
            if self._time(suspicion, members) and self._arm(member) > now:
                continue
            self._deadlines.cancel(member)
            due.append((member, self._open.pop(member).incarnation))
        return due

    def _time(self, suspicion: _Suspicion, members: int) -> bool:
        """Give *suspicion* the waits of a cluster of so many *members*, unless it has longer ones; return whether it got them."""
        settings = self._config.suspicion
        least_s = suspicion_timeout_s(max(1, members), interval_s=self._config.probe.interval_s, factor=settings.factor)
        if least_s <= suspicion.least_s:
            return False
        suspicion.least_s, suspicion.longest_s = least_s, least_s * settings.max_factor
        suspicion.wanted = confirmations_wanted(members, factor=settings.factor)
        return True

    def _arm(self, member: NodeId) -> float:
        """Set when the suspicion of *member* runs out, and return it."""
        suspicion = self._open[member]
        wait_s = shrunk_timeout_s(
            len(suspicion.accusers) - 1,
            wanted=suspicion.wanted,
            least_s=suspicion.least_s,
            longest_s=suspicion.longest_s,
        )
        self._deadlines.set(member, suspicion.since + wait_s)
        return suspicion.since + wait_s
