"""The client for async code, under asyncio and trio alike: the names and the behaviour of the blocking one.

Everything about requests, watches and registrations is in `session`; here are the stream and the tasks, by anyio. Not safe from
threads: use it in the event loop that it was entered in.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Self, TypeVar, Unpack

import anyio
from anyio.abc import SocketStream, TaskGroup
from anyio.lowlevel import current_token

from gossipd.balancing.base import WorkKey
from gossipd.balancing.calls import Calls, Lease
from gossipd.client.aio_mirror import Bell, Mirror
from gossipd.client.answers import Answer, Filters, Offer, answer_of, question, registration
from gossipd.client.attempting import Course
from gossipd.client.base import QUIET_S, READ_BYTES, BaseDiscovery
from gossipd.client.connecting import no_daemon, refused, trusted
from gossipd.client.holding import DRAIN_LOOK_S, DRAIN_REASON, BaseRegistered, drain_of, drained_before
from gossipd.client.patience import seconds, seconds_or_none
from gossipd.client.session import Asked, Feed
from gossipd.client.wording import AWAY, closed, hung_up, late, not_open, watch_params, wrong_loop
from gossipd.errors import RequestError

__all__ = ["Discovery", "Mirror", "Registered", "retrying"]

T = TypeVar("T")


ENDED = (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError)


class Registered(BaseRegistered):
    """An instance that is registered while a `Discovery.registered` block runs, as `gossipd.client.Registered`."""

    _client: "Discovery"

    async def heartbeat(self) -> bool:
        """As `gossipd.client.Registered.heartbeat`."""
        due = self._due()
        if due:
            await self._client.call("heartbeat", id=self.id)
        return due

    async def progress(self, remaining: int) -> None:
        """Say how much work is left while it drains; at 0 the drain is done. Raises: RequestError."""
        await self._client.call("progress", id=self.id, remaining=remaining)


class Discovery(BaseDiscovery):
    """As `gossipd.client.Discovery`, for one event loop: enter it with `async with`, and share it between tasks.

    Entering connects, and raises RequestError `no_daemon` if nobody answers, unless *patient*.
    """

    def _set_up(self) -> None:
        self._stream: SocketStream | None = None
        self._group: TaskGroup | None = None
        self._open_now = False
        self._loop: object = None
        """The event loop that it was entered in."""

    async def __aenter__(self) -> Self:
        if self._group is not None:
            raise closed()
        first = None if self._patient else await self._connect()
        self._loop = current_token()
        self._writing = anyio.Lock()
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._open_now = True
        self._group.start_soon(self._run, first)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._group is not None
        self._open_now = False
        self._session.end(closed())
        self._group.cancel_scope.cancel()
        await self._group.__aexit__(None, None, None)  # not *error*: it leaves the block as it is, in no group

    async def call(self, method: str, /, *, timeout_s: float | None = None, **params: object) -> dict[str, Any]:
        """As `gossipd.client.Discovery.call`."""
        return await self._call(method, params, timeout_s=timeout_s)

    async def resolve(self, service: str, *, timeout_s: float | None = None, **filters: Unpack[Filters]) -> Answer:
        """As `gossipd.client.Discovery.resolve`."""
        params = question(service, filters)
        self._usable()
        kept = self._last_good.find(params, now=time.monotonic())
        if kept is not None and not self.connected:
            return kept
        try:
            result = await self._call("resolve", params, again=kept is None, timeout_s=timeout_s)
        except RequestError as error:
            if kept is None or error.code not in AWAY:
                raise
            return kept
        return self._judged(service, params, result)

    async def wait(self, service: str, *, ready: int = 1, wait_s: float = 30.0, **filters: Unpack[Filters]) -> Answer:
        """As `gossipd.client.Discovery.wait`."""
        params = question(service, filters) | {"ready": ready, "timeout": seconds("wait_s", wait_s, zero=True)}
        self._usable()
        async with Discovery(self.path, timeout_s=self._timeout_s, patient=True) as aside:
            return answer_of(service, await aside._call("wait", params, timeout_s=wait_s + self._timeout_s))

    async def services(self) -> list[dict[str, Any]]:
        """Return every service, sorted by name, with its counts."""
        return list((await self.call("services"))["services"])

    async def members(self) -> list[dict[str, Any]]:
        """Return every member, sorted by name."""
        return list((await self.call("members"))["members"])

    async def register(self, name: str, *, port: int, **offer: Unpack[Offer]) -> dict[str, Any]:
        """As `gossipd.client.Discovery.register`."""
        return dict((await self._call("register", registration(name, port, offer)))["registration"])

    async def deregister(self, id: str) -> None:
        """Withdraw an instance of this node. Raises: RequestError `not_found` if there is none."""
        await self._call("deregister", {"id": id})

    async def watch(
        self,
        service: str | None = None,
        *,
        members: bool = False,
        services: bool | None = None,
        since: int | None = None,
        timeout_s: float | None = None,
    ) -> AsyncGenerator[dict[str, Any], None]:
        """As `gossipd.client.Discovery.watch`; leave it early only within `contextlib.aclosing`."""
        seconds_or_none("timeout_s", timeout_s)
        told = Bell()
        feed = await self._watch(watch_params(service, members, services, since), told.ring)
        try:
            while True:
                told.reset()
                event = await self._take(feed)
                if event is not None:
                    yield event
                elif not await told.wait(timeout_s):
                    raise late(self.path, timeout_s, self._session)
        finally:
            await self._shut(feed)

    def mirror(self, *services: str, timeout_s: float | None = None) -> Mirror:
        """Return a copy of *services* that is kept up to date inside `async with`, whose block begins when it is complete.

        Raises: RequestError, when the block is entered also `timeout` if it is not complete in time.
        """
        return Mirror(self, services, timeout_s=self._patience(timeout_s))

    @asynccontextmanager
    async def registered(
        self, name: str, *, port: int, drain_s: float = 1.0, **offer: Unpack[Offer]
    ) -> AsyncIterator[Registered]:
        """As `gossipd.client.Discovery.registered`. Cancelled, it still drains."""
        seconds("drain_s", drain_s, zero=True)
        id = str(offer.get("id", name))
        try:
            row = await self.register(name, port=port, **offer)
        except anyio.get_cancelled_exc_class():  # the daemon may have done it
            await self._withdraw(id)
            raise
        try:
            if drained_before(row):
                await self.call("undrain", id=id)
            yield Registered(self, id, lease_s=offer.get("lease_s"))
        finally:
            if self.connected:
                with anyio.CancelScope(shield=True), suppress(RequestError):
                    await self._drain(id, drain_s)
            await self._withdraw(id)

    async def _withdraw(self, id: str) -> None:
        if self._session.withdrawn(id):
            with anyio.CancelScope(shield=True), suppress(RequestError):
                await self.deregister(id)

    async def _drain(self, id: str, drain_s: float) -> None:
        if drain_s <= 0:
            return
        ends_at = time.monotonic() + drain_s
        result = await self.call("drain", id=id, reason=DRAIN_REASON, deadline=drain_s)
        drain: dict[str, Any] | None = result["drain"]
        while drain is not None and not drain["done"] and time.monotonic() < ends_at and self.connected:
            await anyio.sleep(DRAIN_LOOK_S)
            drain = drain_of(await self.call("registrations"), id)

    async def _watch(self, params: dict[str, object], on_event: Callable[[], None]) -> Feed:
        self._usable()
        feed, said = self._session.watch(params, on_event=on_event)
        try:
            await self._send(self._stream, said)
        except BaseException:  # nobody would ever end it
            await self._shut(feed)
            raise
        return feed

    async def _take(self, feed: Feed) -> dict[str, object] | None:
        event, said = self._session.take(feed)
        await self._send(self._stream, said)
        return event

    async def _shut(self, feed: Feed) -> None:
        if self._is_parents():
            return  # the watch is the parent's, and goes on
        said = self._session.unwatch(feed)
        with anyio.CancelScope(shield=True), anyio.move_on_after(self._timeout_s):
            await self._send(self._stream, said)

    async def _call(
        self, method: str, params: Mapping[str, object], *, again: bool = True, timeout_s: float | None = None
    ) -> dict[str, Any]:
        self._usable()
        patience_s = self._patience(timeout_s)
        done = Bell()
        asked, said = self._session.ask(method, params, again=again, on_done=done.ring)
        try:
            with anyio.move_on_after(patience_s):
                await self._send(self._stream, said)
                await done.wait(None)
            if not done.rang:
                raise late(self.path, patience_s, self._session)
        finally:
            self._session.forget(asked)
        return _result(asked)

    async def _send(self, current: SocketStream | None, said: bytes) -> None:
        """Send *said* on the connection that it was meant for; if that has ended, it is said again on the next.

        Who is cancelled leaves no half of it behind. A daemon that does not read it within the client's time-out is left.
        """
        if current is None or not said:
            return
        try:
            async with self._writing:
                with anyio.fail_after(self._timeout_s, shield=True):
                    await current.send(said)
        except ENDED:
            await current.aclose()

    def _begin(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run *task* until the end of the block, if it does not end before."""
        assert self._group is not None
        self._group.start_soon(task)

    def _usable(self) -> None:
        self._check_process()
        if self._group is None:
            raise not_open("Discovery()")
        if not self._open_now:
            raise closed()
        self._check_loop()

    def _check_loop(self) -> None:
        try:
            here = current_token()
        except RuntimeError:  # this thread runs no event loop
            here = None
        if here != self._loop:
            raise wrong_loop()

    async def _run(self, first: SocketStream | None) -> None:
        current = first or await self._connect_again()
        while True:
            async with current:
                said = self._session.opened(now=time.monotonic())
                self._stream = current
                await self._send(current, said)
                error = await self._converse(current)
                self._stream = None
                self._session.lost(error, now=time.monotonic())
            current = await self._connect_again()

    async def _converse(self, current: SocketStream) -> RequestError:
        """Hear what the daemon says until the connection ends; return why it did."""
        while True:
            data: bytes | None = None
            try:
                with anyio.move_on_after(QUIET_S):
                    data = await current.receive(READ_BYTES)
                said = self._session.ping() if data is None else self._session.receive(data, now=time.monotonic())
            except RequestError as error:
                return error
            except OSError as error:
                return hung_up(self.path, error)
            except ENDED:
                return hung_up(self.path)
            await self._send(current, said)

    async def _connect_again(self) -> SocketStream:
        while True:
            await anyio.sleep(max(0.0, self._session.plan.due_at - time.monotonic()))
            try:
                return await self._connect()
            except RequestError as error:
                self._session.lost(error, now=time.monotonic())

    async def _connect(self) -> SocketStream:
        for place in self._places:
            trusted(place)
            try:
                opened = await anyio.connect_unix(place)
            except OSError as error:
                meaning = refused(place, error)
                if meaning is not None:
                    raise meaning from None
            else:
                self.path = place
                return opened
        raise no_daemon(self._places)


async def retrying(
    calls: Calls,
    call: Callable[[Lease], Awaitable[T]],
    *,
    idempotent: bool,
    key: WorkKey = None,
    deadline_s: float | None = None,
) -> T:
    """As `gossipd.client.retrying`; an attempt under way at the deadline is cancelled, and TimeoutError is its error."""
    course = Course(call, calls.attempts(key, idempotent=idempotent, deadline_s=deadline_s))
    while True:
        with course as lease:
            with anyio.move_on_after(lease.left_s) as waiting:
                result = await _awaitable(call(lease), lease)
            if waiting.cancelled_caught:
                raise TimeoutError(f"no answer of {lease.endpoint.authority} before the deadline of {deadline_s} s")
        if course.pause_s is None:
            return result
        await anyio.sleep(course.pause_s)
        if not course.goes_on():
            return result


def _awaitable(made: T, lease: Lease) -> T:
    if not isinstance(made, Awaitable):
        lease.cancelled()
        raise RequestError("bad_request", f"call returned {made!r}, expected an awaitable: say `async def`")
    return made


def _result(asked: Asked) -> dict[str, Any]:
    if asked.error is not None:
        raise asked.error
    assert asked.result is not None
    return asked.result
