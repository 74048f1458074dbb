"""The mirror of async code, kept by a task of its client; and an event that can be used again."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import anyio
from anyio.lowlevel import checkpoint

from gossipd.client.mirror import BaseMirror, Change
from gossipd.client.patience import seconds, seconds_or_none
from gossipd.client.session import Feed
from gossipd.client.wording import closed, late, not_open, unchanged
from gossipd.errors import RequestError

if TYPE_CHECKING:
    from gossipd.client.aio import Discovery


class Bell:
    """An event that can be used again."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    @property
    def ring(self) -> Callable[[], None]:
        return lambda: self._event.set()

    @property
    def rang(self) -> bool:
        return self._event.is_set()

    def reset(self) -> None:
        self._event = anyio.Event()

    async def wait(self, timeout_s: float | None) -> bool:
        """Return whether it rang within *timeout_s*; None: wait for ever."""
        with anyio.move_on_after(timeout_s):
            await self._event.wait()
        return self.rang


class Mirror(BaseMirror):
    """As `gossipd.client.Mirror`, for one event loop: enter it with `async with`, within the block of its client."""

    _client: "Discovery"

    def __init__(self, client: "Discovery", services: tuple[str, ...], *, timeout_s: float) -> None:
        super().__init__(client, services)
        self._timeout_s = seconds("timeout_s", timeout_s)
        self._told = Bell()
        self._complete = Bell()
        self._feeds: dict[str, Feed] = {}
        self._entered = False

    async def __aenter__(self) -> Self:
        self._entered = True
        self._client._usable()
        self._usable()
        try:
            for service in self._copy.services:
                self._feeds[service] = await self._client._watch({"service": service}, self._told.ring)
            self._client._begin(self._run)
            if not await self._complete.wait(self._timeout_s):
                raise late(self._client.path, self._timeout_s, self._client._session)
            if self.error is not None:
                raise self.error
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the watches; what is known stays readable, and is stale. Once more does nothing."""
        self._end()
        self._told.ring()
        for feed in self._feeds.values():
            await self._client._shut(feed)

    def changes(self, *, timeout_s: float | None = None) -> "Changes":
        """As `gossipd.client.Mirror.changes`, for `async for`."""
        return Changes(self, timeout_s)

    def _usable(self) -> None:
        if not self._entered:
            raise not_open("discovery.mirror(...)")
        super()._usable()
        self._client._check_loop()

    async def _run(self) -> None:
        try:
            while not self._over():
                await self._told.wait(self._patience_s())
                self._told.reset()
                for service, feed in self._feeds.items():
                    while not self._over() and (event := await self._client._take(feed)) is not None:
                        self._tell(service, event)
                self._let_go()
                if not self._copy.missing:
                    self._complete.ring()
        except RequestError as error:
            self._end(error)
        finally:
            self._end(None if self._over() else closed())
            self._complete.ring()


class Changes:
    """The changes of a mirror for one reader, as `async for` takes them; it may be left at any time."""

    def __init__(self, mirror: Mirror, timeout_s: float | None) -> None:
        self._mirror = mirror
        self._timeout_s = seconds_or_none("timeout_s", timeout_s)
        self._bell = Bell()
        self._reader = mirror._reader(self._bell.ring)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        """Return the next change. Raises: RequestError `timeout`, or why the mirror is kept no more."""
        while True:
            self._bell.reset()
            change = self._mirror._next_change(self._reader)
            if change is not None:
                await checkpoint()
                return change
            if not await self._bell.wait(self._timeout_s):
                raise unchanged(self._mirror._copy.services, self._timeout_s)
