"""Calls by the name of a service from httpx's async client, under asyncio and trio. As `transport`, it needs httpx."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self, assert_never

import anyio
import httpx

from gossipd.balancing.calls import Calls
from gossipd.client.aio import Discovery
from gossipd.client.aio_mirror import Mirror
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

__all__ = ["AsyncGossipTransport", "NotCalled"]


class AsyncGossipTransport(httpx.AsyncBaseTransport):
    """As `gossipd.client.transport.GossipTransport`, for one event loop.

    *discovery* has been entered already. Without one our own is entered and left together with the client, so that has to be
    used in `async with`.
    """

    def __init__(
        self,
        discovery: Discovery | None = None,
        *,
        wrapped: httpx.AsyncBaseTransport | None = None,
        suffix: str = SUFFIX,
        calls: Callable[[Mirror, str], Calls] = Mirror.calls,
    ) -> None:
        self.services: Services[Mirror] = Services(suffix)
        """Those called so far; its `statistics()` tells what became of the calls to each."""
        if not isinstance(discovery, Discovery | None):
            raise ConfigError(f"discovery={discovery!r}, expected a Discovery of gossipd.client.aio, or None")
        self._owns = discovery is None
        self._discovery = discovery or Discovery()
        self._wrapped = wrapped or httpx.AsyncHTTPTransport()
        self._make_calls = calls
        self._opening = anyio.Lock()

    async def __aenter__(self) -> Self:
        if self._owns:
            await self._discovery.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()
        if self._owns:
            await self._discovery.__aexit__(kind, error, traceback)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response of an instance, or of whom the URL names if that is no service."""
        service = self.services.named(request.url)
        if service is None:
            return await self._wrapped.handle_async_request(request)
        steps = exchange(await self._calls(service, request), request)
        try:
            step = next(steps)
            while True:
                try:
                    told = await self._do(step)
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(told)
        except StopIteration as end:
            response: httpx.Response
            response, ending = end.value
        response.stream = _Body(response.stream, ending)
        return response

    async def aclose(self) -> None:
        """Close what was wrapped and the mirrors. Once more does nothing."""
        for mirror in self.services.end():
            await mirror.aclose()
        await self._wrapped.aclose()

    async def _do(self, step: Step) -> httpx.Response | None:
        match step:
            case Send():
                return await self._wrapped.handle_async_request(step.request)
            case Pause():
                await anyio.sleep(step.pause_s)
            case Shut():
                await step.response.aclose()
            case _:
                assert_never(step)
        return None

    async def _calls(self, service: str, request: httpx.Request) -> Calls:
        """Return the calls to *service*, mirrored from now on, within the time that *request* has. Raises: NotCalled."""
        try:
            return self.services.find(service) or await self._mirrored(service, connect_timeout_s(request))
        except RequestError as error:
            raise NotCalled(str(error)) from error

    async def _mirrored(self, service: str, timeout_s: float | None) -> Calls:
        with anyio.move_on_after(timeout_s) as waiting:
            await self._opening.acquire()
        if waiting.cancelled_caught:
            raise busy(service, timeout_s)
        try:
            found = self.services.find(service)
            if found is not None:
                return found
            mirror = self._discovery.mirror(service, timeout_s=timeout_s)
            async with AsyncExitStack() as failing:
                await failing.enter_async_context(mirror)
                calls = self._make_calls(mirror, service)
                failing.pop_all()
            gone = self.services.keep(service, mirror, calls)
        finally:
            self._opening.release()
        if gone is not None:
            await gone.aclose()
        return calls


class _Body(httpx.AsyncByteStream):
    """The body of a response, which tells of its end."""

    def __init__(self, stream: httpx.SyncByteStream | httpx.AsyncByteStream, ending: Ending) -> None:
        assert isinstance(stream, httpx.AsyncByteStream)
        self._stream = stream
        self._ending = ending

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                yield chunk
        except Exception as error:
            self._ending.broken(error)
            raise
        self._ending.whole()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._ending.shut()
