"""Answers that are encoded once and kept, by what was asked and in which encoding, because they are asked for again and again.

One is good until the view's index moves on or it is AGE_STALE_S old, because its ages go on growing.
"""

from dataclasses import dataclass

from gossipd.api.encoding import Encoding
from gossipd.node.view import Trust

AGE_STALE_S = 0.5
"""How far the ages in a kept answer may lag: far below the second or so between two proofs of life."""

KEPT_ENTRIES_MAX = 1_024
"""Answers kept: every (service, parameters, encoding) of a busy host, and a bound on asking for names that do not
exist."""

KEPT_BYTES_MAX = 16 * 1024 * 1024
"""Bytes of all kept answers: 1,024 of 16 kB, about 40 instances each. Past either cap everything is dropped and built
anew."""

Key = tuple[object, Encoding]


@dataclass(slots=True, kw_only=True)
class Kept:
    """Rows as bytes; and the *result* around them, with the *trust* that goes with it as of *viewed_at*."""

    index: int
    made_at: float
    rows: bytes
    owners: list[str]
    ready: int = 0
    degraded: int = 0
    """How many of the rows the guard's policy does not let us answer with."""
    viewed_at: float = -1.0
    trust: Trust | None = None
    result: bytes = b""


class KeptAnswers:
    """By key; bounded in number and bytes."""

    def __init__(self) -> None:
        self._kept: dict[Key, Kept] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key, *, index: int, now: float) -> Kept | None:
        """Return what is kept under *key* if it is still good at *index*."""
        kept = self._kept.get(key)
        if kept is None or kept.index != index or now - kept.made_at >= AGE_STALE_S:
            return None
        return kept

    def put(self, key: Key, kept: Kept) -> Kept:
        """Keep and return *kept*, unless it is too large to share the room with others."""
        former = self._kept.pop(key, None)
        if former is not None:
            self._bytes -= _cost(former)
        if _cost(kept) > KEPT_BYTES_MAX // 4:
            return kept
        if len(self._kept) >= KEPT_ENTRIES_MAX or self._bytes + _cost(kept) > KEPT_BYTES_MAX:
            self._kept.clear()
            self._bytes = 0
        self._kept[key] = kept
        self._bytes += _cost(kept)
        return kept


def _cost(kept: Kept) -> int:
    """Return the bytes that *kept* holds: the rows, and the result around a copy of them."""
    return 2 * len(kept.rows)
