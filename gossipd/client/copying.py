"""The instances of chosen services as watches tell them: events in, dictionaries out. Pure."""

from collections.abc import Iterable, Mapping

from gossipd.balancing.endpoint import Endpoint, Key
from gossipd.client.answers import View, endpoint_of, view_of
from gossipd.errors import RequestError
from gossipd.limits import API_WATCHES_PER_CONNECTION_MAX


class Copy:
    """What is known of each of *services*: `instances` holds all of them, the ready and the others, by node and id.

    A tuple in it is never changed, only replaced, so any thread may read it. After a `resync` the last good one stays until the
    snapshot has come. Raises: RequestError `bad_request` if *services* are none, too many, or no strings.
    """

    def __init__(self, services: Iterable[str]) -> None:
        names = tuple(dict.fromkeys(services))
        if not 1 <= len(names) <= API_WATCHES_PER_CONNECTION_MAX or not all(isinstance(name, str) for name in names):
            message = (
                f"services={names!r}, expected 1 to {API_WATCHES_PER_CONNECTION_MAX} names, such as mirror('web', 'db')"
            )
            raise RequestError("bad_request", message)
        self.services = names
        self.instances: dict[str, tuple[Endpoint, ...]] = dict.fromkeys(names, ())
        self.view = View()
        """As the daemon last told it; only *isolated* and *index* are kept up with."""
        self.missing = set(names)
        """Services whose first snapshot has not come."""
        self._rows: dict[str, dict[Key, Endpoint]] = {name: {} for name in names}
        self._told: dict[str, dict[Key, Endpoint]] = {}

    def tell(self, service: str, event: Mapping[str, object]) -> bool:
        """The watch of *service* said *event*; return whether its instances are others now.

        Raises: RequestError `bad_answer` if a row is no instance.
        """
        kind, rows = event.get("type"), self._told.get(service)
        if kind == "resync":
            self._told.pop(service, None)
            return False
        if kind == "snapshot":
            listed = event.get("instances")
            rows = {one.key: one for one in map(endpoint_of, listed if isinstance(listed, list) else ())}
        elif kind in ("up", "changed", "down"):
            rows = dict(self._rows[service]) if rows is None else rows
            endpoint = endpoint_of(event.get("instance"))
            rows[endpoint.key] = endpoint
            if kind == "down":
                del rows[endpoint.key]
        if "view" in event:
            self.view = view_of(event["view"])
        if rows is None or event.get("more") is True:
            if rows is not None:
                self._told[service] = rows
            return False
        self._told.pop(service, None)
        self._rows[service] = rows
        first = service in self.missing
        self.missing.discard(service)
        before = self.instances[service]
        self.instances[service] = tuple(rows[key] for key in sorted(rows))
        return first or self.instances[service] != before

    def __getitem__(self, service: str) -> tuple[Endpoint, ...]:
        """Return the instances of *service*. Raises: RequestError `not_mirrored`."""
        try:
            return self.instances[service]
        except KeyError:
            expected = ", ".join(self.services)
            message = f"service={service!r}, expected one of {expected}: name it where the mirror is made"
            raise RequestError("not_mirrored", message) from None
