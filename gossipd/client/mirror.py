"""A watched copy of chosen services inside the process, kept by a thread of its own."""

import logging
import threading
import time
from collections.abc import Callable
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Self

from gossipd.balancing.base import Balancer
from gossipd.balancing.calls import LEASE_S, Calls
from gossipd.balancing.ejection import EjectionPolicy
from gossipd.balancing.endpoint import Endpoint
from gossipd.balancing.loads import PeakEwma
from gossipd.balancing.retries import RetryPolicy
from gossipd.client.answers import View
from gossipd.client.copying import Copy
from gossipd.client.session import Feed
from gossipd.client.wording import late, too_many_listeners
from gossipd.errors import RequestError
from gossipd.limits import MIRROR_LISTENERS_MAX
from gossipd.tokens import TokenBucket

if TYPE_CHECKING:
    from gossipd.client.blocking import Discovery

Listener = Callable[[str, tuple[Endpoint, ...]], None]
"""Is told a service and its instances."""


class Mirror:
    """The instances of some services, always at hand: `mirror["web"]` reads a dictionary, and never waits or asks.

    They are all that are known, the ready and the others; `ready` leaves the others out. While the daemon is away they are the
    last good ones, and `stale` says so. Made by `Discovery.mirror`; safe to share between threads.
    """

    def __init__(self, client: "Discovery", services: tuple[str, ...], *, timeout_s: float) -> None:
        self._copy = Copy(services)
        self._client = client
        self._told = threading.Event()
        self._complete = threading.Event()
        self._listeners: list[tuple[str | None, Listener]] = []
        self._announcing = threading.RLock()
        """Listeners hear one after another, the newest last."""
        self._ended = False
        self.error: RequestError | None = None
        """Why the mirror is not kept any more; None: it is."""
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the watches; what is known stays readable, and is stale. Once more does nothing."""
        self._ended = True
        self._told.set()
        for feed in self._feeds.values():
            self._client._shut(feed)

    def __getitem__(self, service: str) -> tuple[Endpoint, ...]:
        """Return the known instances of *service*, by node and id. Raises: RequestError `not_mirrored`."""
        return self._copy[service]

    def ready(self, service: str) -> tuple[Endpoint, ...]:
        """Return the instances of *service* that are to get work. Raises: RequestError `not_mirrored`."""
        return tuple(endpoint for endpoint in self._copy[service] if endpoint.ready)

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
        """Whether this may be out of date: the daemon is away or silent, or the mirror is not kept any more."""
        return self._over() or self._client.stale

    def listen(self, listener: Listener, service: str | None = None) -> None:
        """Call *listener* now and whenever the instances of *service*, or of any, have changed; from the mirror's thread.

        It may ask the client. What it raises is logged. Raises: RequestError `not_mirrored`, or `too_many_listeners`.
        """
        with self._announcing:
            if len(self._listeners) >= MIRROR_LISTENERS_MAX:
                raise too_many_listeners()
            for name in self._copy.services if service is None else (service,):
                listener(name, self._copy[name])
            self._listeners.append((service, listener))

    def feed(self, service: str, fed: Balancer | Calls) -> None:
        """Keep *fed* up with the instances of *service*. Raises: RequestError as `listen`."""
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

    def _run(self) -> None:
        while not self._over():
            self._told.wait()
            self._told.clear()
            for service, feed in self._feeds.items():
                try:
                    while not self._over() and (event := self._client._take(feed)) is not None:
                        if self._copy.tell(service, event):
                            self._announce(service)
                except RequestError as error:
                    self.error = error
            if not self._copy.missing or self.error is not None:
                self._complete.set()

    def _over(self) -> bool:
        return self._ended or self.error is not None

    def _announce(self, service: str) -> None:
        with self._announcing:
            for wanted, listener in self._listeners:
                if wanted in (None, service):
                    try:
                        listener(service, self._copy[service])
                    except Exception:
                        logging.getLogger("gossipd.client").exception("a listener of a mirror failed")
