"""Whether it is us who are cut off (D3). An isolated node keeps its catalog, says so in every answer, and accuses nobody.

Two signs: nobody has answered for `isolation_periods` probe periods, while two or more others were believed alive; or most of
those who were alive are silent at once. With one other member there is no telling which of the two failed, and it is the other
who is held to have failed, or a pair could never notice a crash.

It ends when most probes are answered again; or when, over a longer time, a fair part of them is: then it is not us, and to wait
for those who crashed together would be to wait for ever. A few nodes that were cut off together hear each other now and then, but
never that often, so they go on waiting.
"""

import math
from collections import deque

from gossipd.config import ProbeConfig

ACCEPTED_PART = 0.3
"""Of the probes of four times the silence that means isolation: so many answered mean that the silent rest has crashed. Two crashes
among four nodes leave a third; six nodes of sixty that are cut off together hear a twelfth."""


class Isolation:
    """The state, and what it is judged by."""

    def __init__(self, config: ProbeConfig, *, now: float) -> None:
        self._limit_s = config.isolation_periods * config.interval_s
        self._periods = config.isolation_periods
        self._recent: deque[bool] = deque(maxlen=self._periods)
        self._waiting: deque[bool] = deque(maxlen=4 * self._periods)
        """Whether each of the last probes since we are isolated was answered."""
        self._failed_since = 0
        self._peers = 0
        self._accepted = False
        """Whether we have waited for the silent most and found that it is them; until all is well again."""
        self.heard_at = now
        """When anybody last answered us."""
        self.isolated = False

    def heard(self, *, live: int, now: float) -> None:
        """Somebody answered us, if only to say that another did not; *live* others are believed alive."""
        self.heard_at = now
        self._failed_since = 0
        self._peers = live

    def answered(self, *, live: int, now: float) -> None:
        """Somebody answered a probe of ours as it should be."""
        self.heard(live=live, now=now)
        self._recent.append(True)
        self._waiting.append(True)

    def failed(self) -> None:
        """A probe of ours, its helpers included, brought no answer."""
        self._failed_since += 1
        self._recent.append(False)
        self._waiting.append(False)

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
        """Return whether the state changed. *alive* and *suspect* count the others."""
        before = self.isolated
        most_silent = suspect + alive >= 3 and suspect > alive
        if not self.isolated:
            all_well = suspect == 0 and sum(self._recent) == self._periods
            self._accepted = self._accepted and not all_well
            self.isolated = self.next_deadline() <= now or (most_silent and not self._accepted)
            if self.isolated:
                self._recent.clear()  # answers from before the silence do not end it
                self._waiting.clear()
        else:
            healed = 2 * sum(self._recent) > self._periods and not most_silent
            waited = len(self._waiting) == self._waiting.maxlen
            self._accepted = not healed and waited and sum(self._waiting) >= ACCEPTED_PART * len(self._waiting)
            self.isolated = not (healed or self._accepted)
        return self.isolated != before
