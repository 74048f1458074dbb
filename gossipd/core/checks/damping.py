"""Damping: what changes from ready to not ready too often is held out until it has been quiet (RFC 2439, route flap damping).

Each such change adds to a penalty, which halves with time. From `suppress` on an instance is held out; below `reuse` it is let
in again. The penalty has a ceiling, so that nothing is held out for more than `hold_most_s` after it has become quiet. An
instance that was lost and comes back under its id brings its penalty along.
"""

import math
from dataclasses import dataclass

from gossipd.config import ChecksConfig
from gossipd.core.deadlines import Deadlines
from gossipd.limits import PENALTIES_MAX


@dataclass(slots=True)
class _Row:
    penalty: float
    at: float
    damped: bool = False


class Damping:
    """Penalties by instance id: at most PENALTIES_MAX, past which the changes of others are not held against them."""

    def __init__(self, config: ChecksConfig) -> None:
        self._half_life_s = config.damping_half_life_s
        self._step = config.damping_penalty
        self._suppress = config.damping_suppress
        self._reuse = config.damping_reuse
        halvings = min(1_000.0, config.damping_hold_most_s / config.damping_half_life_s)
        self._most = config.damping_reuse * 2.0**halvings
        self._rows: dict[str, _Row] = {}
        self._ends: Deadlines[str] = Deadlines()
        """When one is let in, or its penalty is worth no memory."""

    def __len__(self) -> int:
        return len(self._rows)

    def damped(self, id: str) -> bool:
        row = self._rows.get(id)
        return row is not None and row.damped

    def penalty(self, id: str, *, now: float) -> float:
        """Return what is left of the penalty of *id*."""
        row = self._rows.get(id)
        return 0.0 if row is None else self._decayed(row, now)

    def fell(self, id: str, *, now: float) -> bool:
        """*id* is no longer ready; return whether it is held out from now on."""
        row = self._rows.get(id)
        if row is None:
            if not self._step or len(self._rows) >= PENALTIES_MAX:
                return False
            row = self._rows[id] = _Row(0.0, now)
        row.penalty = min(self._most, self._decayed(row, now) + self._step)
        row.at = now
        begins = not row.damped and row.penalty >= self._suppress
        row.damped = row.damped or begins
        self._set_end(id, row)
        return begins

    def forget(self, id: str) -> None:
        """Let *id* in, and hold nothing against it."""
        self._rows.pop(id, None)
        self._ends.cancel(id)

    def next_deadline(self) -> float:
        return self._ends.next()

    def pop_due(self, *, now: float) -> list[str]:
        """Return who is let in now."""
        let_in = []
        for id in self._ends.pop_due(now):
            row = self._rows[id]
            if row.damped:
                row.damped = False
                self._set_end(id, row)
                let_in.append(id)
            else:
                del self._rows[id]
        return let_in

    def _set_end(self, id: str, row: _Row) -> None:
        """RFC 2439 section 4.3: memory is given back when the penalty is below half of what lets in."""
        least = self._reuse if row.damped else self._reuse / 2
        self._ends.set(id, row.at + self._half_life_s * max(0.0, math.log2(row.penalty / least)))

    def _decayed(self, row: _Row, now: float) -> float:
        halvings: float = max(0.0, now - row.at) / self._half_life_s
        return row.penalty * math.exp2(-halvings)
