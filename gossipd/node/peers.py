"""The peer book: where every peer ever met was last seen, so that we can look for it after any cut and any restart (D3)."""

from dataclasses import dataclass

from gossipd.ids import Address, NodeId
from gossipd.limits import PEER_BOOK_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerEntry:
    """*name* was last known alive at *address*, *age_s* seconds ago."""

    name: NodeId
    address: Address
    age_s: float


class PeerBook:
    """At most PEER_BOOK_MAX peers, the least recently seen goes first; older ones than *age_most_s* are dropped."""

    def __init__(self, entries: list[PeerEntry], *, age_most_s: float, now: float) -> None:
        self._age_most_s = age_most_s
        self._seen: dict[NodeId, tuple[Address, float]] = {}
        for entry in sorted(entries, key=lambda entry: -entry.age_s)[-PEER_BOOK_MAX:]:
            self._seen[entry.name] = (entry.address, now - entry.age_s)

    def __len__(self) -> int:
        return len(self._seen)

    def note(self, name: NodeId, address: Address, *, now: float) -> None:
        """Remember that *name* is at *address* as of *now*."""
        self._seen.pop(name, None)
        self._seen[name] = (address, now)
        if len(self._seen) > PEER_BOOK_MAX:
            del self._seen[next(iter(self._seen))]

    def addresses(self) -> list[tuple[NodeId, Address]]:
        """Return names and addresses, the longest unseen first."""
        return [(name, address) for name, (address, _) in self._seen.items()]

    def entries(self, *, live: list[NodeId], now: float) -> list[PeerEntry]:
        """Return what is to be kept on disk; those now *live* are seen as of now, and those too old are dropped."""
        for name in live:
            if name in self._seen:
                self.note(name, self._seen[name][0], now=now)
        self._seen = {name: seen for name, seen in self._seen.items() if now - seen[1] <= self._age_most_s}
        return [
            PeerEntry(name=name, address=address, age_s=max(0.0, now - at))
            for name, (address, at) in self._seen.items()
        ]
