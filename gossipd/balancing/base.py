"""What every balancer is: fed with endpoints, asked for one of them. Who is picked is decided by its subclasses.

No clock and no global chance: `now` and a `Random` come in. The one piece of the world in here is a lock, because applications pick
from many threads; what happens under it is short and waits for nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from itertools import pairwise
from threading import Lock  # noqa: TID251  (picked from many threads)

from gossipd.balancing.endpoint import Endpoint, Key
from gossipd.errors import NoInstance

NOBODY: frozenset[Key] = frozenset()

WorkKey = str | bytes | int | None
"""What identifies a piece of work to those that send equal work to the same instance; the others ignore it."""


class Balancer(ABC):
    """Chooses among the ready endpoints. Safe from many threads and tasks; no method waits.

    The same endpoints in any order are the same; equal seeds and equal calls give equal picks.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._updates = Lock()
        self._known = 0
        self._usable: tuple[Endpoint, ...] = ()
        self._keys: frozenset[Key] = NOBODY

    def update(self, endpoints: Iterable[Endpoint]) -> None:
        """Choose among *endpoints* from now on: all that are known, those that are not ready too. Who stays keeps its state.

        Raises: ValueError if two have the same node and id; nothing has changed then.
        """
        with self._updates:
            self.staged(endpoints)()

    def staged(self, endpoints: Iterable[Endpoint]) -> Callable[[], None]:
        """Return what puts *endpoints* in place at once. All that takes long is done before, while picks go on.

        For balancers made of balancers; one at a time. Raises: ValueError as `update`.
        """
        known = in_order(endpoints)
        usable = usable_of(known)
        install = self._prepared(known, usable)
        keys = frozenset(endpoint.key for endpoint in usable)

        def put() -> None:
            with self._lock:
                self._known, self._usable, self._keys = len(known), usable, keys
                install()

        return put

    def pick(self, key: WorkKey = None, *, now: float, avoid: frozenset[Key] = NOBODY) -> Endpoint:
        """Return a ready endpoint at *now*, in monotonic seconds; not one of *avoid* if there is another.

        Raises: NoInstance if none is ready. Hash balancers raise TypeError if *key* is missing or of another type.
        """
        with self._lock:
            if not self._usable:
                raise self._nobody()
            if len(avoid) >= len(self._keys) and self._keys <= avoid:
                avoid = NOBODY
            return self._pick(key, now, avoid)

    def begin(self, endpoint: Endpoint, *, now: float) -> None:
        """A call to *endpoint* begins. Those that weigh the load count it; *endpoint* may have gone meanwhile."""
        return  # most weigh nothing

    def end(self, endpoint: Endpoint, *, now: float, latency_s: float | None = None, failed: bool = False) -> None:
        """A call to *endpoint* that began has ended after *latency_s*; None: nothing was learnt of it."""
        return

    @abstractmethod
    def _prepared(self, known: tuple[Endpoint, ...], usable: tuple[Endpoint, ...]) -> Callable[[], None]:
        """Return what puts *usable* in place, to be called under the lock. *known* and *usable* are sorted by key."""

    @abstractmethod
    def _pick(self, key: WorkKey, now: float, avoid: frozenset[Key]) -> Endpoint:
        """Return one of the usable. There are some, and some are not in *avoid*. Called under the lock."""

    def _nobody(self) -> NoInstance:
        if not self._known:
            return NoInstance(
                "no instance is known: see with `gossipd services` whether the name is right and anybody registered it"
            )
        return NoInstance(
            f"none of the {self._known} known instances is ready: wait for one, or ask `gossipd why INSTANCE` for the reason"
        )


def in_order(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Return *endpoints* by node and id. Raises: ValueError if two have the same."""
    known = sorted(endpoints, key=lambda endpoint: endpoint.key)
    for one, other in pairwise(known):
        if one.key == other.key:
            raise ValueError(
                f"node={one.node!r} id={one.id!r} twice, expected each instance once: update with one service"
            )
    return tuple(known)


def usable_of(known: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Return those of *known* that may be picked: ready, and of a weight above 0 unless that would be none."""
    ready = tuple(endpoint for endpoint in known if endpoint.ready)
    return tuple(endpoint for endpoint in ready if endpoint.weight) or ready


def others(usable: Iterable[Endpoint], avoid: frozenset[Key]) -> tuple[Endpoint, ...]:
    """Return those of *usable* that are not to be avoided."""
    return tuple(endpoint for endpoint in usable if endpoint.key not in avoid)
