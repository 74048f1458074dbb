"""When a failed call is tried again: how often, after which pause, at whose cost. Waits for nothing and calls nothing itself.

The loop around an attempt is `retrying` of `gossipd.client`, or the application's own (docs/explain/balancing.md).
"""

import math
from collections import deque
from dataclasses import dataclass
from random import Random

from gossipd.ranges import check_ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how soon. Raises: ConfigError that names field, value and expectation."""

    attempts_max: int = 3
    """Attempts of one call, the first included; 1: never again."""
    base_s: float = 0.025
    """The longest pause before the second attempt; twice as long before each that follows."""
    pause_max_s: float = 2.0
    """The longest pause of all."""
    budget_share: float = 0.2
    """Retries for each call, on average over `budget_s`: with 0.2 a failing service gets at most 1.2 times its usual load."""
    budget_min_per_s: float = 10.0
    """Retries a second that are always allowed: a client with few calls has a budget too."""
    budget_s: int = 10
    """Whole seconds that a call counts for the budget."""

    def __post_init__(self) -> None:
        check_ranges(
            "retry",
            self,
            attempts_max=(1, 100),
            base_s=(0, 3_600),
            pause_max_s=(self.base_s, 3_600),
            budget_share=(0, 10),
            budget_min_per_s=(0, 1_000_000),
            budget_s=(1, 60),
        )

    def pause_s(self, failures: int, rng: Random) -> float:
        """Return the seconds to wait after so many *failures* of a call, 1 or more.

        Full jitter: anything from 0 to the longest, so that the clients of an instance that died do not come back together.
        Source: Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
        """
        return rng.random() * min(self.pause_max_s, self.base_s * 2.0 ** (failures - 1))


class RetryBudget:
    """How many retries a client may add to its calls: a share of these, and some a second in any case.

    Source: Finagle's RetryBudget: 20 %, 10 a second, 10 s. Not safe from threads: its owner holds a lock.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._share = policy.budget_share
        self._reserve = policy.budget_min_per_s * policy.budget_s
        self._seconds: deque[float] = deque([0.0], maxlen=math.ceil(policy.budget_s))
        """What each second added, the last one last."""
        self._second: int | None = None

    def deposit(self, *, now: float) -> None:
        """A call was made."""
        self._turn(now)
        self._seconds[-1] += self._share

    def withdraw(self, *, now: float) -> bool:
        """Return whether one more retry may be made; if so it is counted."""
        self._turn(now)
        if self._reserve + sum(self._seconds) < 1.0 - 1e-9:
            return False
        self._seconds[-1] -= 1.0
        return True

    def _turn(self, now: float) -> None:
        """Begin a new second for each that has begun; those that are too old go."""
        second = int(now // 1)
        if self._second is None:
            self._second = second
        for _ in range(min(second - self._second, self._seconds.maxlen or 1)):
            self._seconds.append(0.0)
        self._second = max(second, self._second)
