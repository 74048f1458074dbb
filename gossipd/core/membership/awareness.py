"""Own health: how much a node trusts its own timers (Lifeguard section 3.1, the local health multiplier).

0 is well. A node that misses answers which others would have had waits longer before it accuses.
"""


class Awareness:
    """A score from 0 to *most* - 1; intervals and time-outs are stretched by score + 1."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.score = 0

    def apply(self, delta: int) -> None:
        """Move the score by *delta*, within its range."""
        self.score = min(self._most - 1, max(0, self.score + delta))

    def stretch(self, seconds: float) -> float:
        """Return *seconds* times score + 1."""
        return seconds * (self.score + 1)
