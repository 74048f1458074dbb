"""Whether we know again, after a start, what the others know: `met` in the view. Reads the machines, changes nothing.

A sync that finds nothing that we lacked shows that we know what that peer knows. Where several daemons restarted together that may
be next to nothing: they may have met only each other. So whoever is in the peer book, and so recent that the cluster still
remembers it, alive or gone, must be a member first, and no other sync may be under way. There is an end to that: whoever went for
good, while all who knew of it restarted, is remembered by nobody.
"""

import math
from collections.abc import Iterable

from gossipd.node.machines import Machines
from gossipd.node.peers import PeerEntry

MEET_S = 40.0
"""Longest that others are waited for, from the first sync that ended well. Most are met within a second or
two; for `sync.seed_interval_s`, which is 30 s, those of the peer book that nobody here knows of are looked for in every round."""


class Meeting:
    """Waits for *peers* that were seen less than *remembered_s* ago. `look` is called after every input."""

    def __init__(self, peers: Iterable[PeerEntry], *, remembered_s: float) -> None:
        self._awaited = {peer.name for peer in peers if peer.age_s < remembered_s}
        self._syncs = 0
        self._met_at = math.inf

    def look(self, machines: Machines, *, now: float) -> None:
        """See whether a sync has just shown that we know what there is to know."""
        counters = machines.counters
        if self._met_at == math.inf and counters.syncs_completed:
            self._met_at = now + MEET_S
        if now >= self._met_at or counters.syncs_in_step == self._syncs:
            return
        self._syncs = counters.syncs_in_step
        self._awaited -= machines.table.rows.keys()
        if not self._awaited and not machines.streams.syncing:
            self._met_at = now

    def met(self, *, now: float) -> bool:
        """Return whether we have met whom we knew before, or have waited for long enough."""
        return now >= self._met_at
