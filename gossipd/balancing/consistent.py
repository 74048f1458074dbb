"""Equal work to the same instance, and little work moved when instances come or go: ring, rendezvous, Maglev.

An instance is known by node and id: it keeps its work when it comes back at another port. All three raise TypeError for a key that
is missing or of a type that is not hashed.
"""

from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Sequence
from math import log

from gossipd.balancing.base import Balancer, WorkKey, others
from gossipd.balancing.endpoint import Endpoint, Key
from gossipd.balancing.hashes import MASK, instance_points, mixed, work_hash
from gossipd.limits import MAGLEV_SLOTS_MAX, RING_POINTS_MAX

STEPS_MAX = 16
"""Slots looked at before those to be avoided are sorted out one by one: where they are half, one time in 65,536."""


class _ByKey(Balancer):
    """Hashes the key before anything else, so that a wrong one is an error in an empty cluster too."""

    def pick(self, key: WorkKey = None, *, now: float, avoid: frozenset[Key] = frozenset()) -> Endpoint:
        return super().pick(work_hash(key), now=now, avoid=avoid)

    def _pick(self, key: WorkKey, now: float, avoid: frozenset[Key]) -> Endpoint:
        assert isinstance(key, int)
        return self._at(key, avoid)

    @abstractmethod
    def _at(self, spot: int, avoid: frozenset[Key]) -> Endpoint:
        """Return whose the hash *spot*, 0 to 2**64 - 1, is."""


class RingHash(_ByKey):
    """The owner of the first point at or after the key's, on a ring where each instance has many points. O(log n).

    *points*: of an instance of average weight, 1 to 1,000; more make shares more even (a share strays by about 1 / sqrt(points)).
    When one of n goes, its keys go to many others, and no other key moves. While weights stay the same, that is: they are relative.
    Source: Karger et al., STOC 1997; 160 points as libketama.
    """

    def __init__(self, *, points: int = 160) -> None:
        if not 1 <= points <= 1_000:
            raise ValueError(f"points={points}, expected 1 to 1000")
        super().__init__()
        self._points = points
        self._cache: dict[Key, list[int]] = {}
        self._ring: list[int] = []
        self._owners: list[Endpoint] = []

    def _prepared(self, known: tuple[Endpoint, ...], usable: tuple[Endpoint, ...]) -> Callable[[], None]:
        total = sum(endpoint.weight or 1 for endpoint in usable)
        each = min(self._points, RING_POINTS_MAX // max(1, len(usable)))
        cache, ring = {}, list[tuple[int, int]]()
        for index, endpoint in enumerate(usable):
            count = max(1, round(each * len(usable) * (endpoint.weight or 1) / total))
            points = self._cache.get(endpoint.key, [])
            if len(points) < count:
                points = instance_points(endpoint.key, count)
            cache[endpoint.key] = points
            ring += [(point, index) for point in points[:count]]
        self._cache = cache
        ring.sort()
        hashes, owners = [point for point, _ in ring], [usable[index] for _, index in ring]

        def install() -> None:
            self._ring, self._owners = hashes, owners

        return install

    def _at(self, spot: int, avoid: frozenset[Key]) -> Endpoint:
        index, owners = bisect_left(self._ring, spot), self._owners
        while True:
            endpoint = owners[index] if index < len(owners) else owners[0]
            if endpoint.key not in avoid:
                return endpoint
            index = index + 1 if index + 1 < len(owners) else 0


class Rendezvous(_ByKey):
    """Who has the highest score for the key, a hash of both, counted by its weight. O(n): for some tens of instances.

    No table and no memory: when one goes, only its keys move, evenly over all others; the same for a change of weight.
    Source: Thaler and Ravishankar, IEEE/ACM ToN 1998 (highest random weight); weights as Schindelhauer and Schomaker, SPAA 2005.
    """

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[tuple[int, float, Endpoint]] = []
        self._even = True

    def _prepared(self, known: tuple[Endpoint, ...], usable: tuple[Endpoint, ...]) -> Callable[[], None]:
        entries = [(instance_points(one.key, 1)[0], float(one.weight or 1), one) for one in usable]
        even = len({weight for _, weight, _ in entries}) < 2

        def install() -> None:
            self._entries, self._even = entries, even

        return install

    def _at(self, spot: int, avoid: frozenset[Key]) -> Endpoint:
        entries = self._entries
        if avoid:
            entries = [entry for entry in entries if entry[2].key not in avoid]
        if self._even:
            return max(entries, key=lambda entry: mixed(entry[0] ^ spot))[2]
        return max(entries, key=lambda entry: entry[1] / -log(_between_0_and_1(mixed(entry[0] ^ spot))))[2]


class Maglev(_ByKey):
    """The owner of the key's slot in a table that the instances filled in turns, each by its own order of slots. O(1).

    *slots*: of the table, a prime; about 100 or more for each instance make shares even within 1 %. When one of n goes, its slots
    are divided, and a few others change hands too. To fill the table takes tens of ms; picks go on meanwhile.
    Source: Eisenbud et al., NSDI 2016, section 3.4; turns by weight as Envoy's.
    Raises: ValueError if *slots* is not a prime up to MAGLEV_SLOTS_MAX.
    """

    def __init__(self, *, slots: int = 65_537) -> None:
        if not (1 < slots <= MAGLEV_SLOTS_MAX and _is_prime(slots)):
            raise ValueError(
                f"slots={slots}, expected a prime up to {MAGLEV_SLOTS_MAX}, as 1009, 10007, 65537 or 655373"
            )
        super().__init__()
        self._slots = slots
        self._table: list[Endpoint] = []
        self._owners: list[int] = []
        self._filled_by: list[tuple[Key, int]] = []

    def _prepared(self, known: tuple[Endpoint, ...], usable: tuple[Endpoint, ...]) -> Callable[[], None]:
        filled_by = [(endpoint.key, endpoint.weight) for endpoint in usable]
        if filled_by != self._filled_by:  # news of another port or tag is no reason to fill it anew
            self._owners = _filled(usable, self._slots) if usable else []
            self._filled_by = filled_by
        table = [usable[index] for index in self._owners]

        def install() -> None:
            self._table = table

        return install

    def _at(self, spot: int, avoid: frozenset[Key]) -> Endpoint:
        table = self._table
        for step in range(STEPS_MAX):  # neighbours in the table are strangers: the work of one goes to all others
            endpoint = table[(spot + step) % len(table)]
            if endpoint.key not in avoid:
                return endpoint
        rest = others(self._usable, avoid)  # one that is very light may not even have a slot
        return rest[mixed(spot) % len(rest)]


def _filled(usable: Sequence[Endpoint], slots: int) -> list[int]:
    """Return the index of the owner of each slot. In a round each takes its next free slot, as often as its weight allows."""
    table = [-1] * slots
    heaviest = max(endpoint.weight or 1 for endpoint in usable)
    turns = []
    for index, endpoint in enumerate(usable):
        start, skip = instance_points(endpoint.key, 2)
        turns.append([index, start % slots, skip % (slots - 1) + 1, endpoint.weight or 1, 0])
    left = slots
    while True:
        for turn in turns:
            index, slot, skip, weight, credit = turn
            turn[4] = credit + weight
            if turn[4] < heaviest:
                continue
            turn[4] -= heaviest
            while table[slot] >= 0:
                slot += skip
                if slot >= slots:
                    slot -= slots
            table[slot] = index
            turn[1] = slot
            left -= 1
            if not left:
                return table


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def part_of(spot: int) -> float:
    """Return where the hash *spot* lies between 0 and 1, told by other bits than those that the balancers above use first."""
    return _between_0_and_1(mixed(spot ^ MASK))


def _between_0_and_1(hash: int) -> float:
    """Return the 64-bit *hash* as a number above 0 and below 1: of 52 bits, or the highest would be rounded to 1."""
    return ((hash >> 12) + 0.5) / 2.0**52
