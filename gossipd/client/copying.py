"""The instances of chosen services as watches tell them: events in, dictionaries out. Pure; `now` is monotonic seconds.

A daemon that has just restarted at first knows only its own instances. Until it has synced with a peer (`met` in its view) and
counts as many members as before, or for HOLD_S, what it does not name is held as it was: that it is missing says nothing yet.
"""

import math
from collections.abc import Callable, Iterable, Mapping

from gossipd.balancing.endpoint import Endpoint, Key
from gossipd.client.answers import HOLD_S, View, endpoint_of, knows_less, view_of
from gossipd.client.wording import not_open
from gossipd.errors import RequestError
from gossipd.limits import API_WATCHES_PER_CONNECTION_MAX


class Copy:
    """What is known of each of *services*: `instances` holds all of them, the ready and the others, by node and id, from the first
    snapshot on.

    A tuple in it is never changed, only replaced, so any thread may read it. After a `resync` the last good one stays until the
    snapshot has come. Raises: RequestError `bad_request` if *services* are none, too many, or no strings.
    """

    def __init__(self, services: Iterable[str]) -> None:
        names = tuple(services)
        if (
            not all(isinstance(name, str) for name in names)
            or not 1 <= len(set(names)) <= API_WATCHES_PER_CONNECTION_MAX
        ):
            message = (
                f"services={names!r}, expected 1 to {API_WATCHES_PER_CONNECTION_MAX} names, such as mirror('web', 'db')"
            )
            raise RequestError("bad_request", message)
        self.services = tuple(dict.fromkeys(names))
        self.instances: dict[str, tuple[Endpoint, ...]] = {}
        self._ready: dict[str, tuple[Endpoint, ...]] = {}
        """Those of them that are to get work: sorted out once for each change, not for each lookup."""
        self.view = View()
        """As the daemon last told it; only *isolated*, *met* and *index* are kept up with."""
        self.missing = set(self.services)
        """Services whose first snapshot has not come."""
        self._told = {name: _Told() for name in self.services}

    def tell(self, service: str, event: Mapping[str, object], *, now: float) -> bool:
        """The watch of *service* said *event*; return whether its instances are others now.

        Raises: RequestError `bad_answer` if a row is no instance.
        """
        told = self._told[service]
        if "view" in event:
            self.view = told.view = view_of(event["view"])
            told.met = not knows_less(told.view, told.before)
        match event.get("type"):
            case "resync":
                told.coming = None
                return False
            case "snapshot":
                listed = event.get("instances")
                rows = {one.key: one for one in map(endpoint_of, listed if isinstance(listed, list) else ())}
                told.begin(rows, held=self.instances.get(service, ()), now=now)
            case "up" | "changed" | "down" as kind:
                told.change(endpoint_of(event.get("instance")), gone=kind == "down")
        if event.get("more") is True:
            return False
        told.settle()
        first = event.get("type") == "snapshot" and service in self.missing
        if first:
            self.missing.discard(service)
        return self._show(service) or first

    def next_deadline(self) -> float:
        """Return when rows that are held have been held for long enough; infinity if none are."""
        return min(told.held_until for told in self._told.values())

    def handle_timer(self, *, now: float) -> list[str]:
        """Let go of what has been held for HOLD_S; return the services whose instances are others now."""
        due = [service for service, told in self._told.items() if told.held_until <= now]
        for service in due:
            self._told[service].let_go()
        return [service for service in due if self._show(service)]

    @property
    def holding(self) -> bool:
        """Whether some of this is what was known before the daemon restarted."""
        return self.next_deadline() < math.inf

    def _show(self, service: str) -> bool:
        told, before = self._told[service], self.instances.get(service, ())
        rows = {**told.held, **told.rows}
        self.instances[service] = tuple(rows[key] for key in sorted(rows))
        self._ready[service] = tuple(one for one in self.instances[service] if one.ready)
        return self.instances[service] != before

    def __getitem__(self, service: str) -> tuple[Endpoint, ...]:
        """Return the instances of *service*. Raises: RequestError `not_mirrored`; `closed` before its first snapshot."""
        try:
            return self.instances[service]
        except (KeyError, TypeError):
            raise self._not_mirrored(service) from None

    def ready(self, service: str) -> tuple[Endpoint, ...]:
        """Return the instances of *service* that are to get work. Raises: as `copy[service]`."""
        try:
            return self._ready[service]
        except (KeyError, TypeError):
            raise self._not_mirrored(service) from None

    def _not_mirrored(self, service: object) -> RequestError:
        if service in self.services:
            return not_open("discovery.mirror(...)")
        expected = ", ".join(self.services)
        message = f"service={service!r}, expected one of {expected}: name it where the mirror is made"
        return RequestError("not_mirrored", message)


class _Told:
    """What the watch of one service has told."""

    __slots__ = ("before", "coming", "held", "held_until", "met", "rows", "view")

    def __init__(self) -> None:
        self.rows: dict[Key, Endpoint] = {}
        self.coming: dict[Key, Endpoint] | None = None
        """What `rows` will be when all of one look at the catalog has come."""
        self.view = self.before = View()
        """The daemon's view when it last had met all that it knew before."""
        self.met = True
        self.held: dict[Key, Endpoint] = {}
        """Rows from before a restart of the daemon that it has not named since."""
        self.held_until = math.inf

    def begin(self, rows: dict[Key, Endpoint], *, held: Iterable[Endpoint], now: float) -> None:
        """A snapshot came, when *held* was shown."""
        self.coming = rows
        if not self.met:
            self.held = {one.key: one for one in held}
            self.held_until = now + HOLD_S if self.held else math.inf

    def change(self, endpoint: Endpoint, *, gone: bool) -> None:
        self.coming = dict(self.rows) if self.coming is None else self.coming
        self.coming[endpoint.key] = endpoint
        if gone:
            del self.coming[endpoint.key]
            self.held.pop(endpoint.key, None)

    def settle(self) -> None:
        """All of one look has come."""
        if self.coming is not None:
            self.rows, self.coming = self.coming, None
        if self.met:
            self.before = self.view
            self.let_go()

    def let_go(self) -> None:
        self.held, self.held_until = {}, math.inf


class Reader:
    """Who follows a copy's changes at its own pace: of each service it is given the latest, so what it has still to be given is
    bounded by the number of services. *on_change* is called when there is something."""

    def __init__(self, services: Iterable[str], on_change: Callable[[], None]) -> None:
        self._unseen = dict.fromkeys(services)
        self.on_change = on_change

    def note(self, service: str) -> None:
        """The instances of *service* have changed."""
        self._unseen[service] = None
        self.on_change()

    def take(self) -> str | None:
        """Return the service that has waited longest to be seen; None if all has been."""
        for service in self._unseen:
            del self._unseen[service]
            return service
        return None
