"""How often news is sent, and how fast: pure arithmetic and a token bucket."""

import math


def transmit_limit(members: int, *, factor: float) -> int:
    """Return how often each member sends one message: ``factor * ceil(log10(members + 1))``; 0 when *members* is 0.

    Source: SWIM section 4.1 (lambda log n); base and rounding are memberlist's.
    """
    return int(factor * math.ceil(math.log10(members + 1)))


class TokenBucket:
    """*per_s* tokens a second on average, *burst* at once."""

    def __init__(self, *, per_s: float, burst: float, now: float) -> None:
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
