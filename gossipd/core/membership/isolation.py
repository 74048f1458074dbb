"""Whether it is us who are cut off (D3). An isolated node keeps its catalog, says so in every answer, and accuses nobody.

Two signs: nobody has answered for `isolation_periods` probe periods, while two or more others were believed alive; or most of
those who were alive are silent at once. With one other member there is no telling which of the two failed, and it is the other
who is held to have failed, or a pair could never notice a crash.
"""

import math
from collections import deque

from gossipd.config import ProbeConfig


class Isolation:
    """The state, and what it is judged by."""

    def __init__(self, config: ProbeConfig, *, now: float) -> None:
        self._limit_s = config.isolation_periods * config.interval_s
        self._periods = config.isolation_periods
        self._recent: deque[bool] = deque(maxlen=self._periods)
        self._failed_since = 0
        self._peers = 0
        self.heard_at = now
        """When anybody last answered us."""
        self.isolated = False

    def heard(self, *, live: int, now: float) -> None:
        """Somebody answered us, if only to say that another did not; *live* others are believed alive."""
        self.heard_at = now
        self._failed_since = 0
        self._peers = live

    def answered(self, *, live: int, now: float) -> None:
        """Somebody answered a probe or a sync of ours as it should be."""
        self.heard(live=live, now=now)
        self._recent.append(True)

    def failed(self) -> None:
        """A probe of ours, its helpers included, brought no answer."""
        self._failed_since += 1
        self._recent.append(False)

    def shift(self, by_s: float) -> None:
        """We slept for *by_s* seconds: our silence then was not the others'."""
        self.heard_at += by_s

    def next_deadline(self) -> float:
        """Return when the silence will have lasted too long; `math.inf` until a probe has failed in it.

        Without a failed probe it may be our own doing: a bad score stretches our interval.
        """
        in_doubt = self._failed_since > 0 and self._peers >= 2 and not self.isolated
        return self.heard_at + self._limit_s if in_doubt else math.inf

    def judge(self, *, alive: int, suspect: int, now: float) -> bool:
        """Return whether the state changed. *alive* and *suspect* count the others.

        Isolation ends when most of the last `isolation_periods` attempts were answered and most of the others are not suspect.
        """
        before = self.isolated
        most_silent = suspect + alive >= 3 and suspect > alive
        if self.isolated:
            self.isolated = 2 * sum(self._recent) <= self._periods or most_silent
        else:
            self.isolated = self.next_deadline() <= now or most_silent
            if self.isolated:
                self._recent.clear()  # answers from before the silence do not end it
        return self.isolated != before
