"""Calls by the name of a service from httpx's sync client: `http://web.gossip/path`. Needs httpx (the extra `httpx`)."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import assert_never

import httpx

from gossipd.balancing.calls import Calls
from gossipd.client.blocking import Discovery
from gossipd.client.mirror import Mirror
from gossipd.client.transport_rules import (
    SUFFIX,
    Ending,
    NotCalled,
    Pause,
    Send,
    Services,
    Shut,
    Step,
    busy,
    connect_timeout_s,
    exchange,
)
from gossipd.errors import ConfigError, RequestError

__all__ = ["GossipTransport", "NotCalled"]


class GossipTransport(httpx.BaseTransport):
    """Sends what is for `http://SERVICE.gossip/` to an instance of that service, and everything else where it says.

    A service is mirrored from its first request on. *discovery*: the daemon; by default one of our own, closed with the
    transport. *wrapped*: what really sends, closed with the transport, by default `httpx.HTTPTransport()`. *calls* makes the
    calls to a service, for another balancer or policy. Safe from many threads.

    Raises: ConfigError for a wrong *suffix* or *discovery*. A request raises NotCalled, an httpx.ConnectError, if it goes to no
    instance, else what *wrapped* raised at the last attempt. docs/howto/call-over-http.md says what is sent again, and when.
    """

    def __init__(
        self,
        discovery: Discovery | None = None,
        *,
        wrapped: httpx.BaseTransport | None = None,
        suffix: str = SUFFIX,
        calls: Callable[[Mirror, str], Calls] = Mirror.calls,
    ) -> None:
        self.services: Services[Mirror] = Services(suffix)
        """Those called so far; its `statistics()` tells what became of the calls to each."""
        if not isinstance(discovery, Discovery | None):
            raise ConfigError(f"discovery={discovery!r}, expected a Discovery of gossipd.client, or None")
        self._owns = discovery is None
        self._discovery = discovery or Discovery()
        self._wrapped = wrapped or httpx.HTTPTransport()
        self._make_calls = calls
        self._opening = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response of an instance, or of whom the URL names if that is no service."""
        service = self.services.named(request.url)
        if service is None:
            return self._wrapped.handle_request(request)
        steps = exchange(self._calls(service, request), request)
        try:
            step = next(steps)
            while True:
                try:
                    told = self._do(step)
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(told)
        except StopIteration as end:
            response: httpx.Response
            response, ending = end.value
        response.stream = _Body(response.stream, ending)
        return response

    def close(self) -> None:
        """Close what was wrapped, the mirrors, and the connection to the daemon if it is our own. Once more does nothing."""
        for mirror in self.services.end():
            mirror.close()
        if self._owns:
            self._discovery.close()
        self._wrapped.close()

    def _do(self, step: Step) -> httpx.Response | None:
        match step:
            case Send():
                return self._wrapped.handle_request(step.request)
            case Pause():
                time.sleep(step.pause_s)
            case Shut():
                step.response.close()
            case _:
                assert_never(step)
        return None

    def _calls(self, service: str, request: httpx.Request) -> Calls:
        """Return the calls to *service*, mirrored from now on, within the time that *request* has. Raises: NotCalled."""
        try:
            return self.services.find(service) or self._mirrored(service, connect_timeout_s(request))
        except RequestError as error:
            raise NotCalled(str(error)) from error

    def _mirrored(self, service: str, timeout_s: float | None) -> Calls:
        if not self._opening.acquire(timeout=-1 if timeout_s is None else timeout_s):
            raise busy(service, timeout_s)
        try:
            found = self.services.find(service)
            if found is not None:
                return found
            with ExitStack() as failing:
                mirror = failing.enter_context(self._discovery.mirror(service, timeout_s=timeout_s))
                calls = self._make_calls(mirror, service)
                failing.pop_all()
            gone = self.services.keep(service, mirror, calls)
        finally:
            self._opening.release()
        if gone is not None:
            gone.close()
        return calls


class _Body(httpx.SyncByteStream):
    """The body of a response, which tells of its end."""

    def __init__(self, stream: httpx.SyncByteStream | httpx.AsyncByteStream, ending: Ending) -> None:
        assert isinstance(stream, httpx.SyncByteStream)
        self._stream = stream
        self._ending = ending

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except Exception as error:
            self._ending.broken(error)
            raise
        self._ending.whole()

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._ending.shut()
