"""When each check is tried: spread evenly, never many at once, and none twice.

Every check has a grid of its own, its interval apart, whose phases follow the golden ratio and so lie evenly however many there
are; each start is moved from its grid point by a little jitter. What disturbs the grid (a first try, which is made at once, a
pause of the machine, a full house) does so once: the next try is back on it.

Two things keep starts apart whatever comes together: at most *concurrent* run at once, and they begin at no more than twice the
pace that their intervals ask for, after a small burst.
"""

import math
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

from gossipd.core.deadlines import Deadlines

K = TypeVar("K", bound=tuple[str, ...])

GOLDEN = (math.sqrt(5) - 1) / 2
"""Multiples of it, modulo 1, are the most even of all sequences that do not know their length."""

PACE = 2.0
"""Most starts a second, as a multiple of what the intervals ask for: a backlog is worked off as fast as it would have grown."""

PACE_LEAST_PER_S = 20.0
"""And as many are always granted: the checks of a few instances need not wait for each other."""

BURST = 4
"""Starts at once after a quiet time."""


@dataclass(slots=True)
class _Row:
    interval_s: float
    phase: float
    """Where its grid points are, as a part of the interval."""
    run: int | None = None
    began_at: float = -math.inf
    doubtful: bool = False
    """Whether the machine paused while it ran: then its failure may be ours."""


@dataclass(frozen=True, slots=True)
class Finished(Generic[K]):
    key: K
    took_s: float
    doubtful: bool


class Schedule(Generic[K]):
    """Who is to be tried when, by key. The number of keys is bounded by the caller."""

    def __init__(self, *, concurrent: int, jitter: float, rng: Random) -> None:
        self._concurrent = concurrent
        self._jitter = jitter
        self._rng = rng
        self._rows: dict[K, _Row] = {}
        self._due: Deadlines[K] = Deadlines()
        self._runs: dict[int, K] = {}
        self._next_run = 1
        self._phase = rng.random()
        self._asked_per_s = 0.0
        self._paced_at = -math.inf
        """When the next start is due at an even pace (the generic cell rate algorithm's arrival time)."""
        self.started = 0
        self.late_worst_s = 0.0
        """Most seconds by which a start came after it was due."""

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def running(self) -> int:
        return len(self._runs)

    def add(self, key: K, interval_s: float, *, now: float) -> None:
        """Try *key* now, and then every *interval_s* seconds."""
        assert key not in self._rows, key
        self._phase = (self._phase + GOLDEN) % 1.0
        self._rows[key] = _Row(interval_s, self._phase)
        self._asked_per_s += 1 / interval_s
        self._due.set(key, now)

    def remove(self, key: K) -> int | None:
        """Try *key* no more; return its run if one is under way, which is to be cancelled."""
        row = self._rows.pop(key)
        self._asked_per_s = self._asked_per_s - 1 / row.interval_s if self._rows else 0.0
        self._due.cancel(key)
        if row.run is not None:
            del self._runs[row.run]
        return row.run

    def restart(self, key: K, *, now: float) -> int | None:
        """Try *key* as soon as can be; return its run if one is under way, which is to be cancelled."""
        row = self._rows[key]
        run, row.run = row.run, None
        if run is not None:
            del self._runs[run]
        self._due.set(key, now)
        return run

    def again(self, key: K, pause_s: float, *, now: float) -> None:
        """Try *key* about *pause_s* after its last start: exactly, if that is less than its interval; else on its grid."""
        row = self._rows[key]
        at = row.began_at + pause_s
        if pause_s >= row.interval_s:
            step = math.floor(at / row.interval_s - row.phase + 0.5)
            jitter = self._jitter * (self._rng.random() - 0.5)
            at = (step + row.phase + jitter) * row.interval_s
        self._due.set(key, max(at, now))

    def due_at(self, key: K) -> float:
        """Return when the next try of *key* is due; `math.inf` while it runs or is held."""
        return self._due.at(key)

    def began_at(self, key: K) -> float:
        """Return when the last try of *key* began; `-math.inf` before the first."""
        return self._rows[key].began_at

    def is_held(self, key: K) -> bool:
        """Return whether *key* neither runs nor is due: it waits for `restart`."""
        return self._rows[key].run is None and key not in self._due

    def next_deadline(self) -> float:
        """Return when `pop_due` has something; `math.inf` while all places are taken."""
        if len(self._runs) >= self._concurrent:
            return math.inf
        return max(self._due.next(), self._paced_at - (BURST - 1) / self._pace_per_s())

    def pop_due(self, *, now: float) -> tuple[K, float] | None:
        """Return the key that is to be tried first, and when it was due; `start` it, or hold it until `restart`."""
        if self.next_deadline() > now:
            return None
        at = self._due.next()
        return self._due.pop_first(), at

    def start(self, key: K, *, due_at: float, now: float) -> int:
        """Return the number of the run that begins now."""
        row = self._rows[key]
        row.run, row.began_at, row.doubtful = self._next_run, now, False
        self._runs[row.run] = key
        self._next_run += 1
        self.started += 1
        self.late_worst_s = max(self.late_worst_s, now - due_at)
        self._paced_at = max(self._paced_at, now) + 1 / self._pace_per_s()
        return row.run

    def finish(self, run: int, *, now: float) -> Finished[K] | None:
        """*run* is over: say whose it was, None if it was cancelled. `again` or `restart` follows."""
        key = self._runs.pop(run, None)
        if key is None:
            return None
        row = self._rows[key]
        row.run = None
        return Finished(key, now - row.began_at, row.doubtful)

    def overslept(self) -> None:
        """The machine paused: whatever runs may fail for it."""
        for key in self._runs.values():
            self._rows[key].doubtful = True

    def _pace_per_s(self) -> float:
        return max(PACE_LEAST_PER_S, PACE * self._asked_per_s)
