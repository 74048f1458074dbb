"""How often news is sent: pure arithmetic. How fast is a `gossipd.tokens.TokenBucket`'s."""

import math


def transmit_limit(members: int, *, factor: float) -> int:
    """Return how often each member sends one message: ``factor * ceil(log10(members + 1))``; 0 when *members* is 0.

    Source: SWIM section 4.1 (lambda log n); base and rounding are memberlist's.
    """
    return int(factor * math.ceil(math.log10(members + 1)))
