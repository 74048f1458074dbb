"""What becomes of one HTTP request to a service: which URLs mean one, what counts as failure, what is sent again. Without I/O.

`exchange` is a generator: it says what to do next, and is told what came of it. The transports for sync code and for async code
do what it says. httpx's values come in and go out; its sockets do not.
"""

import math
import os
from collections import OrderedDict
from collections.abc import Generator, Mapping
from dataclasses import dataclass, fields
from email.utils import parsedate_to_datetime
from threading import Lock
from time import monotonic, time
from typing import Generic, TypeVar

import httpx

from gossipd.balancing.base import WorkKey
from gossipd.balancing.calls import Attempts, Calls, CallStatistics, Lease
from gossipd.balancing.endpoint import Endpoint
from gossipd.client.mirror import BaseMirror
from gossipd.client.patience import seconds_or_none
from gossipd.client.wording import closed, forked
from gossipd.errors import CallError, ConfigError
from gossipd.limits import TRANSPORT_SERVICES_MAX
from gossipd.ranges import check_ranges

M = TypeVar("M", bound=BaseMirror)

EXTENSION = "gossipd"
"""The name of our extension of a request (a `Wish` as a dictionary) and of a response (the Endpoint that answered)."""

SUFFIX = ".gossip"

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Methods that, made twice, do the same as once. Source: RFC 9110 section 9.2.2."""

RETRIED = frozenset({502, 503, 504})
"""Answers that say: not now, not here. Any other 5xx is a failure too, but would most likely be the same at another instance."""

RETRY_AFTER_MAX_S = 2.0
"""Longest wait for an instance that asked for one, where there is no other: what asks for more is left to the caller."""

NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout)

ITS_FAULT = (httpx.NetworkError, httpx.ConnectTimeout, httpx.ReadTimeout, httpx.WriteTimeout, httpx.RemoteProtocolError)
"""Errors that count as failures of the instance. The others (no free connection in the pool, a broken proxy, a request that
cannot be written, an error of the application's own body) say nothing about it."""


class NotCalled(httpx.ConnectError, CallError):
    """The request went to no instance: none is known or ready, the daemon is away, the URL names none. The message says what to do.

    `__cause__` is the CallError or RequestError behind it, if there is one.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a request says by `extensions={"gossipd": {...}}`. Raises: ConfigError that names the field."""

    idempotent: bool | None = None
    """Whether it may be sent again; None: as its method says."""
    key: WorkKey = None
    """What balancers that send equal work to the same instance go by."""
    deadline_s: float | None = None
    """Seconds for all attempts and pauses until an answer begins; None: as long as the attempts take."""

    def __post_init__(self) -> None:
        if self.idempotent is not None and type(self.idempotent) is not bool:
            raise ConfigError(f"{EXTENSION}.idempotent={self.idempotent!r}, expected True or False")
        if self.deadline_s is not None:
            check_ranges(EXTENSION, self, deadline_s=(0.001, math.inf))


@dataclass(frozen=True, slots=True)
class Send:
    """Send *request*; tell the response."""

    request: httpx.Request


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait."""

    pause_s: float


@dataclass(frozen=True, slots=True)
class Shut:
    """Close *response*: nobody will read it."""

    response: httpx.Response


Step = Send | Pause | Shut


class Ending:
    """Reports a call when the body of its response has ended; once."""

    __slots__ = ("_latency_s", "_lease")

    def __init__(self, lease: Lease, latency_s: float) -> None:
        self._lease = lease
        self._latency_s = latency_s

    def whole(self) -> None:
        """The body came to its end."""
        if self._lease.outcome is None:
            self._lease.succeeded(self._latency_s)

    def broken(self, error: BaseException) -> None:
        """Reading the body ended in *error*."""
        if self._lease.outcome is None:
            _report(self._lease, error)

    def shut(self) -> None:
        """The response was closed, perhaps before its end: then nothing is learnt."""
        if self._lease.outcome is None:
            self._lease.cancelled()


Steps = Generator[Step, httpx.Response | None, tuple[httpx.Response, Ending]]


class Services(Generic[M]):
    """The mirror and the calls of each service that was called, TRANSPORT_SERVICES_MAX at most. Safe from many threads."""

    def __init__(self, suffix: str) -> None:
        if not suffix.startswith(".") or suffix == ".":
            raise ConfigError(f"suffix={suffix!r}, expected a dot and a name, such as {SUFFIX!r}")
        self._suffix = suffix.lower()
        self._kept: OrderedDict[str, tuple[M, Calls]] = OrderedDict()
        self._lock = Lock()
        self._pid = os.getpid()
        self.ended = False
        self.let_go = 0
        """Services that are not mirrored any more because so many others were called since."""

    def named(self, url: httpx.URL) -> str | None:
        """Return the service that *url* names; None: it is no URL of ours. Raises: NotCalled if it is, but cannot be called."""
        if not url.host.endswith(self._suffix):
            return None
        service = url.host.removesuffix(self._suffix)
        if not service or "." in service:
            raise NotCalled(f"host={url.host!r}, expected one name and {self._suffix}, such as web{self._suffix}")
        if url.port is not None:
            raise NotCalled(f"port={url.port} of {url.host}, expected none: each instance has its own, leave it out")
        if self._pid != os.getpid():
            raise NotCalled(str(forked()))
        return service

    def find(self, service: str) -> Calls | None:
        """Return the calls to *service*; None: it has to be mirrored first. Raises: RequestError `closed`."""
        with self._lock:
            if self.ended:
                raise closed()
            mirror, calls = self._kept.get(service, (None, None))
            if mirror is None or mirror.error is not None:
                return None
            self._kept.move_to_end(service)
            return calls

    def keep(self, service: str, mirror: M, calls: Calls) -> M | None:
        """Keep these; return the mirror that is not kept any more: this one, if all has ended meanwhile."""
        with self._lock:
            if self.ended:
                return mirror
            former = self._kept.pop(service, None)
            self._kept[service] = mirror, calls
            if former is None and len(self._kept) > TRANSPORT_SERVICES_MAX:
                self.let_go += 1
                former = self._kept.popitem(last=False)[1]
            return None if former is None else former[0]

    def end(self) -> list[M]:
        """Find and keep nothing any more; return the mirrors."""
        with self._lock:
            self.ended = True
            mirrors = [mirror for mirror, _ in self._kept.values()]
            self._kept.clear()
            return mirrors

    def statistics(self) -> dict[str, CallStatistics]:
        """Return the counters of each service that is mirrored now."""
        with self._lock:
            return {service: calls.statistics() for service, (_, calls) in self._kept.items()}


def busy(service: str, timeout_s: float | None) -> NotCalled:
    """Other services took all the time that there was to look for *service*."""
    return NotCalled(f"service={service!r} was not looked for within {timeout_s} s, others took as long: try later")


def connect_timeout_s(request: httpx.Request) -> float | None:
    """Return how long *request* may take to connect: also to find where; None: as long as the client of the daemon waits.

    Raises: RequestError `bad_request`.
    """
    return seconds_or_none("timeout.connect", request.extensions.get("timeout", {}).get("connect"))


def wish_of(request: httpx.Request) -> Wish:
    """Return what *request* says for itself. Raises: ConfigError."""
    said = request.extensions.get(EXTENSION, {})
    known = [field.name for field in fields(Wish)]
    if not isinstance(said, Mapping) or not set(said) <= set(known):
        raise ConfigError(f"extensions[{EXTENSION!r}]={said!r}, expected a dictionary of {', '.join(known)}")
    return Wish(**said)


def exchange(calls: Calls, request: httpx.Request) -> Steps:
    """Say how *request* is made by *calls*; return the response, and what its body has to be told of.

    A response is read by who asked, so what happens to its body is never a reason to send the request again. Raises: what the
    last attempt ended in, NotCalled if there was none, ConfigError or TypeError for a wrong wish.
    """
    wish = wish_of(request)
    again = request.method in IDEMPOTENT if wish.idempotent is None else wish.idempotent
    whole = isinstance(request.stream, httpx.ByteStream)  # any other body can be read only once
    attempts = calls.attempts(wish.key, idempotent=again and whole, deadline_s=wish.deadline_s)
    try:
        lease = attempts.pick()
    except CallError as error:
        raise NotCalled(str(error)) from error
    while True:
        began_at = monotonic()
        try:
            response = yield Send(_directed(request, lease.endpoint, within_s=attempts.left_s))
        except BaseException as error:
            _report(lease, error)
            following = yield from _another(attempts, lease)
            if following is None:
                error.add_note(f"at {_shown(lease.endpoint)}")
                raise
            lease = following
            continue
        assert response is not None
        ending = Ending(lease, monotonic() - began_at)
        if response.status_code >= 500:
            lease.failed()
            following = (yield from _another(attempts, lease, response)) if response.status_code in RETRIED else None
            if following is not None:
                lease = following
                continue
        elif response.is_closed:  # it was made with its body at hand
            ending.whole()
        response.extensions[EXTENSION] = lease.endpoint
        return response, ending


def _another(
    attempts: Attempts, failed: Lease, response: httpx.Response | None = None
) -> Generator[Step, object, Lease | None]:
    """Wait, and return the lease for the next attempt; *response*, if there is one, is closed then. None: it is over."""
    pause_s = attempts.pause_s()
    if pause_s is None:
        return None
    lease: Lease | None = None
    try:
        yield Pause(pause_s)
        lease = attempts.pick()
        if response is not None:
            asked_s = retry_after_s(response, now=time()) if lease.endpoint.key == failed.endpoint.key else 0.0
            wait_s = asked_s - pause_s
            if asked_s > RETRY_AFTER_MAX_S or wait_s >= attempts.left_s:
                lease.cancelled()
                return None
            if wait_s > 0.0:
                yield Pause(wait_s)
            yield Shut(response)
    except CallError:
        return None
    except BaseException:
        if lease is not None:
            lease.cancelled()
        if response is not None:
            yield Shut(response)
        raise
    return lease


def _directed(request: httpx.Request, endpoint: Endpoint, *, within_s: float = math.inf) -> httpx.Request:
    """Return *request* to *endpoint*, each of its time-outs at most *within_s* seconds.

    The Host header stays, and TLS asks for a certificate of that name, unless the request names another as `sni_hostname`.
    """
    extensions = dict(request.extensions)
    if request.url.scheme == "https":
        extensions.setdefault("sni_hostname", request.url.host)
    if within_s < math.inf:
        timeouts = extensions.get("timeout", {})
        extensions["timeout"] = {
            phase: min(within_s, math.inf if timeouts.get(phase) is None else timeouts[phase])
            for phase in ("connect", "read", "write", "pool")
        }
    url = request.url.copy_with(host=endpoint.address, port=endpoint.port)
    return httpx.Request(request.method, url, headers=request.headers, stream=request.stream, extensions=extensions)


def retry_after_s(response: httpx.Response, *, now: float) -> float:
    """Return the seconds for which *response* asks to be left alone, as of *now* on the wall; 0.0 if it does not.

    Source: RFC 9110 section 10.2.3: seconds or a date.
    """
    said = response.headers.get("retry-after", "")
    if said.isdecimal():
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - now)
    except ValueError:
        return 0.0


def _report(lease: Lease, error: BaseException) -> None:
    if isinstance(error, ITS_FAULT):
        lease.failed(sent=not isinstance(error, NEVER_SENT))
    else:
        lease.cancelled()


def _shown(endpoint: Endpoint) -> str:
    return f"{endpoint.id} on {endpoint.node}, {endpoint.authority}"
