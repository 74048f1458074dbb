"""What local clients may ask for, done: registrations at once, joining and leaving as it comes about.

Implements `gossipd.node.view.Commands` on the driver.
"""

from collections.abc import Collection, Sequence

import trio

from gossipd.checks import Check, CheckResult, Script
from gossipd.core.events import Event, LeaveFinished, SyncFinished
from gossipd.errors import RequestError
from gossipd.ids import Address
from gossipd.limits import SEEDS_MAX
from gossipd.node.view import DrainRow, Holder, RegistrationRow
from gossipd.records import Service
from gossipd.shell.driver import Driver
from gossipd.shell.pids import exists
from gossipd.shell.resolve import resolve

JOINS_MAX = 8
"""Addresses tried at once by one join; leaves three quarters of the outbound streams to the node."""

JOIN_TIMEOUTS = 3
"""A sync may take this many times the stream time-out: connect, then both directions."""


class Leaving:
    """The daemon's way out: begun once, by a signal or a client, and finished when the news is out."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.begun = trio.Event()
        self.finished = trio.Event()
        self.asked = False
        """Whether a local client waits for the end."""
        driver.subscribe(self._hear)

    def begin(self) -> None:
        """Leave the cluster; again does nothing."""
        if not self.begun.is_set():
            self.begun.set()
            self._driver.leave()

    def _hear(self, events: Sequence[Event]) -> None:
        if any(isinstance(event, LeaveFinished) for event in events):
            self.finished.set()


class LocalCommands:
    """*families*: those we have sockets for; *timeout_s*: what a stream may take to connect; *scripts*: whether
    script checks are on."""

    def __init__(
        self,
        driver: Driver,
        leaving: Leaving,
        *,
        default_port: int,
        families: Collection[int],
        timeout_s: float,
        scripts: bool,
    ) -> None:
        self._driver = driver
        self._leaving = leaving
        self._default_port = default_port
        self._families = families
        self._timeout_s = timeout_s
        self._scripts = scripts

    def register(
        self, service: Service, *, holder: Holder, checks: Sequence[Check] = (), now: float
    ) -> RegistrationRow:
        if not self._scripts and any(isinstance(check.target, Script) for check in checks):
            raise RequestError(
                "bad_request", "checks: script checks are off, expected script_checks = true in the settings"
            )
        if holder.pid is not None and not exists(holder.pid):  # nor may it take over what somebody else holds
            raise RequestError("bad_request", f"pid={holder.pid}, expected a process that lives on this host")
        return self._driver.ask(lambda node, at: node.register(service, holder=holder, checks=checks, now=at))

    def deregister(self, id: str, *, now: float) -> None:
        self._driver.tell(lambda node, at: node.deregister(id, now=at))

    def connection_lost(self, connection: int, *, now: float) -> None:
        self._driver.tell(lambda node, at: node.connection_lost(connection, now=at))

    def renew(self, id: str, *, now: float) -> None:
        self._driver.tell(lambda node, at: node.renew(id, now=at))

    def report(self, id: str, check: str | None, result: CheckResult, *, now: float) -> None:
        self._driver.tell(lambda node, at: node.report(id, check, result, now=at))

    def drain(self, id: str | None, *, reason: str = "", deadline_s: float | None = None, now: float) -> DrainRow:
        return self._driver.ask(lambda node, at: node.drain(id, reason=reason, deadline_s=deadline_s, now=at))

    def undrain(self, id: str | None, *, now: float) -> None:
        self._driver.tell(lambda node, at: node.undrain(id, now=at))

    def maintain(self, id: str | None, *, reason: str | None, now: float) -> None:
        self._driver.tell(lambda node, at: node.maintain(id, reason=reason, now=at))

    def progress(self, id: str, remaining: int, *, now: float) -> DrainRow:
        return self._driver.ask(lambda node, at: node.progress(id, remaining, now=at))

    def undamp(self, id: str, *, now: float) -> None:
        self._driver.tell(lambda node, at: node.undamp(id, now=at))

    async def join(self, targets: Sequence[str]) -> dict[str, str | None]:
        """Sync with every address of *targets*; return by address None or the error, by target if it has no address."""
        if len(targets) > SEEDS_MAX:
            raise RequestError("bad_request", f"{len(targets)} targets, expected at most {SEEDS_MAX}")
        outcome: dict[str, str | None] = {}
        found: dict[Address, None] = {}
        limit = trio.CapacityLimiter(JOINS_MAX)

        async def look_up(target: str) -> None:
            async with limit:
                try:
                    rows = await resolve(target, default_port=self._default_port, families=self._families)
                except (OSError, ValueError) as error:
                    outcome[target] = str(error)
                else:
                    found.update(dict.fromkeys(rows))

        async def sync(address: Address) -> None:
            async with limit:
                outcome[str(address)] = await self._sync(address)

        async with trio.open_nursery() as nursery:
            for target in dict.fromkeys(targets):
                nursery.start_soon(look_up, target)
        async with trio.open_nursery() as nursery:
            for address in list(found)[:SEEDS_MAX]:
                nursery.start_soon(sync, address)
        return outcome

    async def leave(self) -> None:
        """Leave, and return when the news is out; the daemon stops right after."""
        self._leaving.asked = True
        self._leaving.begin()
        await self._leaving.finished.wait()

    async def _sync(self, address: Address) -> str | None:
        """Sync with *address*; return what went wrong, or None."""
        heard: list[SyncFinished] = []
        ended = trio.Event()

        def finished(event: SyncFinished) -> None:
            heard.append(event)
            ended.set()

        patience_s = JOIN_TIMEOUTS * self._timeout_s
        try:
            stream = self._driver.sync_with(address, finished)
        except RequestError as error:
            return str(error)
        try:
            with trio.move_on_after(patience_s):
                await ended.wait()
        finally:
            self._driver.forget_sync(stream)
        return heard[0].error if heard else f"not finished within {patience_s:g} s"
