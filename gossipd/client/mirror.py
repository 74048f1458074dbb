"""A watched copy of chosen services inside the process: what mirrors of both kinds do alike, and the one that a thread keeps."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import TYPE_CHECKING, Self
from weakref import WeakSet

from gossipd.balancing.base import Balancer
from gossipd.balancing.calls import LEASE_S, Calls
from gossipd.balancing.ejection import EjectionPolicy
from gossipd.balancing.endpoint import Endpoint
from gossipd.balancing.loads import PeakEwma
from gossipd.balancing.retries import RetryPolicy
from gossipd.client.answers import View
from gossipd.client.base import BaseDiscovery
from gossipd.client.copying import Copy, Reader
from gossipd.client.patience import seconds, seconds_or_none
from gossipd.client.session import Feed
from gossipd.client.wording import closed, late, too_many_listeners, unchanged
from gossipd.errors import RequestError
from gossipd.limits import MIRROR_LISTENERS_MAX
from gossipd.tokens import TokenBucket

if TYPE_CHECKING:
    from gossipd.client.blocking import Discovery

Change = tuple[str, tuple[Endpoint, ...]]
"""A service and its instances."""

Listener = Callable[[str, tuple[Endpoint, ...]], None]
"""Is told a service and its instances."""


class BaseMirror:
    """The instances of some services, always at hand: `mirror["web"]` reads a dictionary, and never waits or asks.

    They are all that are known, the ready and the others; `ready` leaves the others out. While the daemon is away they are the
    last good ones, and `stale` says so. Made by `Discovery.mirror`.
    """

    def __init__(self, client: BaseDiscovery, services: tuple[str, ...]) -> None:
        self._copy = Copy(services)
        self._client = client
        self._listeners: list[tuple[str | None, Listener]] = []
        self._readers: WeakSet[Reader] = WeakSet()
        self._announcing = threading.RLock()
        """Listeners hear one after another, the newest last."""
        self._ended = False
        self.error: RequestError | None = None
        """Why the mirror is not kept any more; None: it is, or was closed."""

    def __getitem__(self, service: str) -> tuple[Endpoint, ...]:
        """Return the known instances of *service*, by node and id. Raises: RequestError `not_mirrored`."""
        return self._copy[service]

    def ready(self, service: str) -> tuple[Endpoint, ...]:
        """Return the instances of *service* that are to get work. Raises: RequestError `not_mirrored`."""
        return self._copy.ready(service)

    @property
    def view(self) -> View:
        """What the daemon last said of its own view."""
        return self._copy.view

    @property
    def age_s(self) -> float | None:
        """Seconds since the daemon was last heard."""
        return self._client.age_s

    @property
    def stale(self) -> bool:
        """Whether this may be out of date: the daemon is away, silent, or has met nobody since it restarted; or the mirror is
        not kept any more."""
        return self._ended or self._copy.holding or self._client.stale

    def listen(self, listener: Listener, service: str | None = None) -> None:
        """Call *listener* now and whenever the instances of *service*, or of any, have changed; from where the mirror is kept.

        It may ask a sync client, and must not wait in async code. What it raises is logged. Raises: RequestError `not_mirrored`,
        `too_many_listeners`, `bad_request`, `closed`, `forked`.
        """
        self._usable()
        if not callable(listener):
            raise RequestError(
                "bad_request", f"listener={listener!r}, expected a function of a service and its instances"
            )
        with self._announcing:
            if len(self._listeners) >= MIRROR_LISTENERS_MAX:
                raise too_many_listeners()
            for name in self._copy.services if service is None else (service,):
                listener(name, self._copy[name])
            self._listeners.append((service, listener))

    def feed(self, service: str, fed: Balancer | Calls) -> None:
        """Keep *fed* up with the instances of *service*. Raises: RequestError as `listen`."""
        if not isinstance(fed, Balancer | Calls):
            raise RequestError(
                "bad_request", f"{fed!r} cannot be fed, expected a balancer or calls of gossipd.balancing"
            )
        self.listen(lambda _service, endpoints: fed.update(endpoints), service)

    def calls(
        self,
        service: str,
        balancer: Balancer | None = None,
        *,
        ejection: EjectionPolicy | None = None,
        retry: RetryPolicy | None = None,
        limiter: TokenBucket | None = None,
        lease_s: float = LEASE_S,
    ) -> Calls:
        """Return calls to *service* that are kept up with its instances, picked by *balancer*, by default PeakEwma.

        Make them once and keep them: what they learn of the instances is theirs. The clock is time.monotonic; the rest is as for
        `gossipd.balancing.Calls`. Raises: RequestError as `listen`, ValueError.
        """
        if not isinstance(balancer, Balancer | None):
            raise RequestError("bad_request", f"balancer={balancer!r}, expected one of gossipd.balancing, or None")
        made = Calls(
            balancer or PeakEwma(Random()),
            clock=time.monotonic,
            rng=Random(),
            ejection=ejection,
            retry=retry,
            limiter=limiter,
            lease_s=lease_s,
        )
        self.feed(service, made)
        return made

    def _tell(self, service: str, event: Mapping[str, object]) -> None:
        """The watch of *service* said *event*. Raises: RequestError `bad_answer`."""
        if self._copy.tell(service, event, now=time.monotonic()):
            self._announce(service)

    def _let_go(self) -> None:
        """Let go of what has been held for a restarted daemon for long enough."""
        for service in self._copy.handle_timer(now=time.monotonic()):
            self._announce(service)

    def _patience_s(self) -> float | None:
        """Return the seconds until there is something to let go of; None: nothing is held."""
        return max(0.0, self._copy.next_deadline() - time.monotonic()) if self._copy.holding else None

    def _end(self, error: RequestError | None = None) -> None:
        """It is kept no more, because of *error* or because it was closed: whoever follows it hears of that."""
        self._ended, self.error = True, self.error or error
        for reader in list(self._readers):
            reader.on_change()

    def _over(self) -> bool:
        return self._ended

    def _usable(self) -> None:
        self._client._check_process()
        if self._ended:
            raise self.error or closed("mirror")

    def _reader(self, on_change: Callable[[], None]) -> Reader:
        self._usable()
        reader = Reader(self._copy.services, on_change)
        with self._announcing:
            self._readers.add(reader)
        return reader

    def _next_change(self, reader: Reader) -> Change | None:
        """Return what *reader* is to see next; None if there is nothing now. Raises: RequestError if there never will be."""
        with self._announcing:
            service = reader.take()
        if service is not None:
            return service, self._copy[service]
        self._usable()
        return None

    def _announce(self, service: str) -> None:
        with self._announcing:
            for reader in self._readers:
                reader.note(service)
            for wanted, listener in self._listeners:
                if wanted in (None, service):
                    try:
                        listener(service, self._copy[service])
                    except Exception:
                        logging.getLogger("gossipd.client").exception("a listener of a mirror failed")


class Mirror(BaseMirror):
    """The mirror of sync code, kept by a thread of its own; safe to share between threads."""

    _client: "Discovery"

    def __init__(self, client: "Discovery", services: tuple[str, ...], *, timeout_s: float) -> None:
        super().__init__(client, services)
        seconds("timeout_s", timeout_s)
        self._told = threading.Event()
        self._complete = threading.Event()
        self._feeds: dict[str, Feed] = {}
        try:
            for service in self._copy.services:
                self._feeds[service] = client._open({"service": service}, self._told.set)
            self._thread = threading.Thread(target=self._run, name="gossipd mirror", daemon=True)
            self._thread.start()
            if not self._complete.wait(timeout_s):
                raise late(client.path, timeout_s, client._session)
            if self.error is not None:
                raise self.error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the watches; what is known stays readable, and is stale. Once more does nothing."""
        self._end()
        self._told.set()
        for feed in self._feeds.values():
            self._client._shut(feed)

    def changes(self, *, timeout_s: float | None = None) -> Iterator[Change]:
        """Yield each service with its instances now, and again whenever these have changed; for one reader.

        A slow reader gets the latest of each service, and not what was in between. *timeout_s* bounds the wait for a change.
        Raises: RequestError `timeout`, or why the mirror is kept no more.
        """
        seconds_or_none("timeout_s", timeout_s)
        bell = threading.Event()
        reader = self._reader(bell.set)
        while True:
            bell.clear()
            change = self._next_change(reader)
            if change is not None:
                yield change
            elif not bell.wait(timeout_s):
                raise unchanged(self._copy.services, timeout_s)

    def _run(self) -> None:
        while not self._over():
            self._told.wait(self._patience_s())
            self._told.clear()
            try:
                for service, feed in self._feeds.items():
                    while not self._over() and (event := self._client._take(feed)) is not None:
                        self._tell(service, event)
                self._let_go()
            except RequestError as error:
                self._end(error)
            if not self._copy.missing or self.error is not None:
                self._complete.set()
