"""The client for async code, under asyncio and trio, against a real server in another thread that goes away and comes back."""

import socket
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack, aclosing
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest

from gossipd.balancing import Endpoint, RoundRobin
from gossipd.client import Backoff
from gossipd.client.aio import Discovery, Mirror
from gossipd.errors import RequestError
from gossipd.limits import API_WATCHES_PER_CONNECTION_MAX
from gossipd.node.view import RegistrationRow
from gossipd.records import Service
from tests.fakes_api import FakeCommands
from tests.served import DEADLINE_S, a_daemon

SOON = Backoff(base_s=0.005, pause_max_s=0.02)

pytestmark = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def run(story: Callable[[], Awaitable[None]], backend: str) -> None:
    anyio.run(story, backend=backend)


def a_client(path: Path, *, patient: bool = False) -> Discovery:
    return Discovery(path, timeout_s=DEADLINE_S, patient=patient, backoff=SOON)


def test_a_restart_of_the_daemon_is_survived(tmp_path: Path, backend: str) -> None:
    async def story() -> None:
        with ExitStack() as first, ExitStack() as second:
            first.enter_context(a_daemon(tmp_path / "s"))
            async with (
                a_client(tmp_path / "s") as client,
                aclosing(client.watch("web", timeout_s=DEADLINE_S)) as events,
            ):
                await client.register("web", port=80)
                assert (await anext(events))["type"] == "snapshot"
                fresh = await client.resolve("web")
                await anyio.to_thread.run_sync(first.close)
                while client.connected:
                    await anyio.lowlevel.checkpoint()
                stale = await client.resolve("web")
                assert stale.endpoints == fresh.endpoints
                assert (fresh.stale, stale.stale) == (False, True)
                _, commands = second.enter_context(a_daemon(tmp_path / "s"))
                assert (await client.call("info"))["info"]["name"] == "ann"
                assert "web" in commands.registered
                await client.register("web", port=81)
                async for event in events:
                    if event.get("instance", {}).get("port") == 81:
                        break

    run(story, backend)


def test_an_instance_is_drained_and_withdrawn_at_the_end_of_its_block(tmp_path: Path, backend: str) -> None:
    async def story() -> None:
        async with a_client(tmp_path / "s") as client:
            async with client.registered("web", port=80, drain_s=0.1, lease_s=3_000.0) as web:
                assert (web.id, web.error, await web.heartbeat()) == ("web", None, False)
                assert [one.port for one in await client.wait("web")] == [80]
            assert (await client.resolve("web")).endpoints == ()

    with a_daemon(tmp_path / "s") as (_, commands):
        run(story, backend)
        assert commands.asked == [("drain", "web", "its program stops", 0.1)]


def test_a_registration_that_is_cancelled_or_cannot_be_drained_is_withdrawn_all_the_same(
    tmp_path: Path, backend: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RequestError("quota", "4096 instances drain or are under maintenance, expected fewer")

    async def story(commands: FakeCommands) -> None:
        async with a_client(tmp_path / "s") as client:
            commands.drain = refuse  # type: ignore[assignment, method-assign]
            async with client.registered("web", port=80):
                pass
            assert commands.registered == {}
            register, asked, cancelled = commands.register, threading.Event(), threading.Event()

            def registering(service: Service, **given: Any) -> RegistrationRow:
                asked.set()
                assert cancelled.wait(DEADLINE_S)
                return register(service, **given)

            async def publish() -> None:
                async with client.registered("web", port=80):
                    pass

            commands.register = registering  # type: ignore[method-assign]
            async with anyio.create_task_group() as group:
                group.start_soon(publish)
                assert await anyio.to_thread.run_sync(asked.wait, DEADLINE_S)
                group.cancel_scope.cancel()
                await anyio.lowlevel.cancel_shielded_checkpoint()
                cancelled.set()
            await client.call("info")  # answered after it
            assert commands.registered == {}

    with a_daemon(tmp_path / "s") as (_, commands):
        run(lambda: story(commands), backend)


def test_calls_end_in_time_though_the_daemon_does_not_read(tmp_path: Path, backend: str) -> None:
    ends: list[str] = []

    async def ask(client: Discovery) -> None:
        with pytest.raises(RequestError) as caught:
            await client.call("register", name="web", port=80, metadata={"a": "b" * 30_000}, timeout_s=0.1)
        ends.append(caught.value.code)

    async def story() -> None:
        async with Discovery(tmp_path / "s", timeout_s=0.1, backoff=SOON) as client:
            with anyio.fail_after(DEADLINE_S):
                async with anyio.create_task_group() as group:
                    for _ in range(100):
                        group.start_soon(ask, client)

    with socket.socket(socket.AF_UNIX) as frozen:
        frozen.bind(str(tmp_path / "s"))
        frozen.listen()
        run(story, backend)
    assert set(ends) <= {"timeout", "disconnected"}


def test_a_lease_is_renewed_and_progress_told(tmp_path: Path, backend: str) -> None:
    async def story() -> None:
        async with a_client(tmp_path / "s") as client, client.registered("web", port=80, drain_s=0) as web:
            assert await web.heartbeat()  # the fake renews what has no lease
            await web.progress(3)

    with a_daemon(tmp_path / "s") as (_, commands):
        run(story, backend)
        assert commands.asked == [("renew", "web"), ("progress", "web", 3)]


def test_a_mirror_follows_over_a_restart_of_the_daemon_and_feeds_balancers_and_calls(
    tmp_path: Path, backend: str
) -> None:
    async def story() -> None:
        heard: list[tuple[str, list[int]]] = []
        with ExitStack() as first, ExitStack() as second:
            first.enter_context(a_daemon(tmp_path / "s"))
            async with a_client(tmp_path / "s") as client, client.mirror("web", "db") as mirror:
                balancer, calls = RoundRobin(Random(1)), mirror.calls("web")
                mirror.feed("web", balancer)
                mirror.listen(lambda service, endpoints: heard.append((service, ports(endpoints))))
                changes = mirror.changes(timeout_s=DEADLINE_S)
                assert [await anext(changes), await anext(changes)] == [("web", ()), ("db", ())]
                await client.register("web", port=80)
                assert ports((await anext(changes))[1]) == [80]
                assert mirror.ready("web") == mirror["web"]
                assert balancer.pick(now=0.0).port == calls.pick().endpoint.port == 80
                assert (mirror.stale, mirror.view.members_alive) == (False, 1)
                await anyio.to_thread.run_sync(first.close)
                while client.connected:
                    await anyio.lowlevel.checkpoint()
                assert mirror.stale
                assert ports(mirror["web"]) == [80]
                second.enter_context(a_daemon(tmp_path / "s"))
                await client.register("web", port=81)
                async for service, endpoints in changes:
                    if (service, ports(endpoints)) == ("web", [81]):
                        break
                assert balancer.pick(now=0.0).port == 81
                assert heard[-1] == ("web", [81])
                await mirror.aclose()
                assert (ports(mirror["web"]), mirror.stale) == ([81], True)
                with pytest.raises(RequestError, match="this mirror is closed") as caught:
                    await anext(changes)
                assert caught.value.code == "closed"

    run(story, backend)


def ports(endpoints: Iterable[Endpoint]) -> list[int]:
    return [one.port for one in endpoints]


def test_a_slow_reader_is_given_the_latest_and_loses_none(tmp_path: Path, backend: str) -> None:
    async def story() -> None:
        async with a_client(tmp_path / "s") as client, client.mirror("web", "db") as mirror:
            slow, quick = mirror.changes(), mirror.changes(timeout_s=DEADLINE_S)
            for number in range(50):
                await client.register("web", id=f"web-{number:02}", port=80)
            await client.register("db", port=81)
            async for service, _ in quick:
                if service == "db" and mirror["db"] and len(mirror["web"]) == 50:
                    break
            given = [await anext(slow), await anext(slow)]
            assert [(service, len(endpoints)) for service, endpoints in given] == [("web", 50), ("db", 1)]
            with pytest.raises(RequestError, match=r"nothing of web, db changed within 0\.01 s") as caught:
                async for _ in mirror.changes(timeout_s=0.01):
                    pass
            assert caught.value.code == "timeout"

    with a_daemon(tmp_path / "s"):
        run(story, backend)


def test_the_end_of_the_client_ends_its_mirror_and_who_follows_it(tmp_path: Path, backend: str) -> None:
    async def story() -> None:
        ends: list[str] = []

        async def follow(mirror: Mirror) -> None:
            try:
                async for _ in mirror.changes():
                    pass
            except RequestError as error:
                ends.append(error.code)

        async with anyio.create_task_group() as group, a_client(tmp_path / "s") as client:
            mirror = client.mirror("web")
            await mirror.__aenter__()
            group.start_soon(follow, mirror)
            await anyio.wait_all_tasks_blocked()
        assert ends == ["closed"]
        with pytest.raises(RequestError, match="this client is closed"):
            mirror.listen(lambda *_: None)

    with a_daemon(tmp_path / "s"):
        run(story, backend)


def test_errors_leave_the_block_as_they_are(tmp_path: Path, backend: str) -> None:
    async def story() -> None:
        with pytest.raises(RequestError, match="is it running") as caught:
            async with a_client(tmp_path / "none"):
                pass
        assert caught.value.code == "no_daemon"
        client = a_client(tmp_path / "s")
        with pytest.raises(RequestError, match="port=0"):
            async with client:
                await client.register("web", port=0)
        with pytest.raises(RequestError, match="make another"):
            await client.resolve("web")

    with a_daemon(tmp_path / "s"):
        run(story, backend)


def test_a_watch_that_is_cancelled_before_it_has_begun_is_ended(tmp_path: Path, backend: str) -> None:
    async def story() -> None:
        async with a_client(tmp_path / "s") as client:
            for _ in range(API_WATCHES_PER_CONNECTION_MAX):
                with anyio.move_on_after(0):
                    await anext(client.watch("web"))
                with anyio.move_on_after(0):
                    await client.mirror("web").__aenter__()
            async with client.mirror("web") as mirror:
                assert not mirror.stale

    with a_daemon(tmp_path / "s"):
        run(story, backend)
