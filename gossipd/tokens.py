"""A token bucket: how often something may happen. Pure arithmetic; knows no clock."""

import math
import sys

from gossipd.ranges import in_range


class TokenBucket:
    """*per_s* tokens a second on average, *burst* at once: both finite, 0 or more. Raises: ValueError."""

    def __init__(self, *, per_s: float, burst: float, now: float) -> None:
        for name, value in (("per_s", per_s), ("burst", burst)):
            if not in_range(value, 0, sys.float_info.max):
                raise ValueError(f"{name}={value!r}, expected a finite number, 0 or more")
        self._per_s = per_s
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, count: float, *, now: float) -> bool:
        """Take *count* tokens and return True, or none and return False."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._per_s)
        self._at = max(self._at, now)
        if self._tokens < count:
            return False
        self._tokens -= count
        return True

    def spend(self, count: float, *, now: float) -> None:
        """Take *count* tokens, though there may be fewer: first the debt is paid off. It is never more than a burst."""
        self.take(0, now=now)
        self._tokens = max(-self._burst, self._tokens - count)

    def left(self, *, now: float) -> float:
        """Return how many tokens there are now, 0 or more."""
        self.take(0, now=now)
        return max(0.0, self._tokens)

    def wait_s(self, count: float, *, now: float) -> float:
        """Return seconds until *count* tokens will be there if nobody takes any; infinity if that is never. Takes none.

        A nanosecond more than it takes, so that who waits for so long finds them in spite of rounding.
        """
        if count > self._burst:
            return math.inf
        missing = count - self._tokens - max(0.0, now - self._at) * self._per_s
        if missing <= 0:
            return 0.0
        return missing / self._per_s + 1e-9 if self._per_s > 0 else math.inf
