"""Who is held out for a while because its calls fail: outlier ejection, each instance behind a circuit breaker.

One state for each instance: *closed* (gets work), *open* (held out until a time), *half-open* (the time is over: one trial call at
a time decides). Two findings open it: failures in a row, and a success rate far below the others'. Knows no clock and no sockets;
a call's outcome comes in, and the set of those that are held out goes to the balancer's `avoid`.

Source: Envoy, "Outlier detection" and "Panic threshold"; the half-open trial is the circuit breaker's (Nygard, "Release It!").
Departs: Envoy lets an ejected host back with all its traffic when its time is over; here a single call is risked first. That
makes a mistake cheap, so the base time is 5 s, not 30 s.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Literal

from gossipd.balancing.base import NOBODY
from gossipd.balancing.endpoint import Key
from gossipd.ranges import check_ranges

BreakerState = Literal["closed", "open", "half-open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EjectionPolicy:
    """When an instance is held out, and for how long. Raises: ConfigError that names field, value and expectation."""

    failures_in_a_row: int = 5
    """So many open the breaker, whatever the others do; Envoy's consecutive_5xx."""
    base_s: float = 5.0
    """Seconds that it is open the first time; the k-th time in a row k times as long."""
    longest_s: float = 300.0
    """The longest of these; Envoy's max_ejection_time."""
    share_max: float = 0.5
    """Part of the ready instances that may be held out at once, 0 to 1: rounded down, but at least one if there are two or more,
    and never all. Envoy's 10 % is for fleets; most services here have a handful. 0 holds nobody out."""
    panic_share: float = 0.5
    """Part of the ready instances below which those that are not held out are too few to carry the load: then all get work."""
    interval_s: float = 10.0
    """How often success rates are compared, and how long an instance must behave to have one ejection forgotten."""
    rate_hosts_min: int = 5
    """Instances with enough calls in an interval to compare success rates at all."""
    rate_calls_min: int = 100
    """Calls in an interval that are enough."""
    rate_deviations: float = 1.9
    """So many standard deviations below the mean success rate open the breaker."""

    def __post_init__(self) -> None:
        check_ranges(
            "ejection",
            self,
            failures_in_a_row=(1, math.inf),
            base_s=(0.001, math.inf),
            longest_s=(self.base_s, math.inf),
            share_max=(0, 1),
            panic_share=(0, 1),
            interval_s=(0.001, math.inf),
            rate_hosts_min=(2, math.inf),
            rate_calls_min=(1, math.inf),
            rate_deviations=(0, math.inf),
        )

    def ejected_max(self, ready: int) -> int:
        """Return how many of *ready* instances may be held out at once."""
        if self.share_max == 0:
            return 0
        return min(ready - 1, max(1, int(ready * self.share_max))) if ready > 1 else 0


@dataclass(slots=True, eq=False)
class _Breaker:
    open_until: float | None = None
    """None: closed."""
    trial: bool = False
    """Half-open, and the trial call is under way."""
    times: int = 0
    """Ejections not yet forgotten: the next is so many times, and once more, as long as the first."""
    in_a_row: int = 0
    good: int = 0
    """Calls of this interval that succeeded."""
    bad: int = 0


class Ejections:
    """The breakers of one service's ready instances. Not safe from threads: its owner holds a lock."""

    def __init__(self, policy: EjectionPolicy, *, now: float) -> None:
        self._policy = policy
        self._breakers: dict[Key, _Breaker] = {}
        self._held: frozenset[Key] = NOBODY
        self._held_until = math.inf
        self._panic = False
        self._next_interval = now + policy.interval_s
        self.ejected = 0
        """Times that a breaker opened."""
        self.spared = 0
        """Times that one did not open because enough were."""
        self.panics = 0
        """Times that too many were held out, and so nobody was."""

    def update(self, ready: Iterable[Key], *, now: float) -> None:
        """The *ready* ones are these from now on; who stays keeps its breaker."""
        self._breakers = {key: self._breakers.get(key) or _Breaker() for key in ready}
        self._look(now)

    def state(self, key: Key, *, now: float) -> BreakerState:
        """Return the state of *key*'s breaker; closed if there is none."""
        breaker = self._breakers.get(key)
        if breaker is None or breaker.open_until is None:
            return "closed"
        return "open" if now < breaker.open_until else "half-open"

    def held(self, *, now: float) -> frozenset[Key]:
        """Return who is to get no call: the open ones, and the half-open ones whose trial is under way. Nobody in a panic."""
        if now >= self._held_until:
            self._look(now)
        return self._held

    def begin(self, key: Key, *, now: float) -> bool:
        """A call to *key* begins. Return whether it is the trial that decides; its end must be told."""
        breaker = self._breakers.get(key)
        if breaker is None or breaker.open_until is None or breaker.trial or now < breaker.open_until:
            return False
        breaker.trial = True
        self._look(now)
        return True

    def succeeded(self, key: Key, *, trial: bool, now: float) -> None:
        """A call to *key* succeeded; *trial* as `begin` said."""
        self._count(key, trial=trial, good=True, now=now)

    def failed(self, key: Key, *, trial: bool, now: float) -> None:
        """A call to *key* failed; *trial* as `begin` said."""
        self._count(key, trial=trial, good=False, now=now)

    def cancelled(self, key: Key, *, trial: bool, now: float) -> None:
        """A call to *key* ended without a verdict: if it was the trial, the next call is."""
        breaker = self._breakers.get(key)
        if trial and breaker is not None:
            breaker.trial = False
            self._look(now)

    def _count(self, key: Key, *, trial: bool, good: bool, now: float) -> None:
        if now >= self._next_interval:
            self._compare(now)
        breaker = self._breakers.get(key)
        if breaker is None:
            return
        if trial:
            self._judge(breaker, good, now)
        elif breaker.open_until is None:  # what began before it opened says nothing new
            breaker.good += good
            breaker.bad += not good
            breaker.in_a_row = 0 if good else breaker.in_a_row + 1
            if breaker.in_a_row >= self._policy.failures_in_a_row:
                self._open(breaker, now)

    def _judge(self, breaker: _Breaker, good: bool, now: float) -> None:
        """The trial of *breaker* is over."""
        breaker.trial = False
        if good:
            breaker.open_until, breaker.in_a_row = None, 0
        else:
            self._hold(breaker, now)
        self._look(now)

    def _open(self, breaker: _Breaker, now: float) -> None:
        """Open a closed *breaker*, unless as many as may be are not closed already."""
        breaker.in_a_row = 0
        opened = sum(other.open_until is not None for other in self._breakers.values())
        if opened >= self._policy.ejected_max(len(self._breakers)):
            self.spared += 1
            return
        self._hold(breaker, now)
        self._look(now)

    def _hold(self, breaker: _Breaker, now: float) -> None:
        self.ejected += 1
        breaker.times += 1
        breaker.open_until = now + min(self._policy.base_s * breaker.times, self._policy.longest_s)

    def _compare(self, now: float) -> None:
        """An interval is over: open whose success rate is far below the others', forgive who behaved."""
        passed = 1 + int((now - self._next_interval) / self._policy.interval_s)
        self._next_interval = now + self._policy.interval_s
        enough = self._policy.rate_calls_min
        rates = {
            key: breaker.good / (breaker.good + breaker.bad)
            for key, breaker in self._breakers.items()
            if breaker.open_until is None and breaker.good + breaker.bad >= enough
        }
        least = -math.inf
        if len(rates) >= self._policy.rate_hosts_min:
            least = fmean(rates.values()) - self._policy.rate_deviations * pstdev(rates.values())
        for key, breaker in self._breakers.items():
            breaker.good = breaker.bad = 0
            if breaker.open_until is None and rates.get(key, math.inf) < least:
                self._open(breaker, now)
            elif breaker.open_until is None:
                breaker.times = max(0, breaker.times - passed)

    def _look(self, now: float) -> None:
        """Work out who is held out at *now*, and until when that holds."""
        held, self._held_until = [], math.inf
        for key, breaker in self._breakers.items():
            if breaker.open_until is None:
                continue
            if now < breaker.open_until:
                self._held_until = min(self._held_until, breaker.open_until)
                held.append(key)
            elif breaker.trial:
                held.append(key)
        free = len(self._breakers) - len(held)
        panic = bool(held) and free < self._policy.panic_share * len(self._breakers)
        self.panics += panic and not self._panic
        self._panic = panic
        if panic:
            held.clear()
        self._held = frozenset(held)
