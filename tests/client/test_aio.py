"""The client for async code, under asyncio and trio, against a real server in another thread that goes away and comes back."""

from collections.abc import Awaitable, Callable
from contextlib import ExitStack, aclosing
from pathlib import Path

import anyio
import pytest

from gossipd.client import Backoff
from gossipd.client.aio import Discovery
from gossipd.errors import RequestError
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
            async with client.registered("web", port=80, drain_s=0.1):
                assert [one.port for one in await client.wait("web")] == [80]
            assert (await client.resolve("web")).endpoints == ()

    with a_daemon(tmp_path / "s") as (_, commands):
        run(story, backend)
        assert commands.asked == [("drain", "web", "its program stops", 0.1)]


def test_errors_leave_the_block_as_they_are(tmp_path: Path, backend: str) -> None:
    async def story() -> None:
        with pytest.raises(RequestError, match="is it running") as caught:
            async with a_client(tmp_path / "none"):
                pass
        assert caught.value.code == "no_daemon"
        client = a_client(tmp_path / "s")
        with pytest.raises(RequestError, match="make another"):
            await client.resolve("web")
        with pytest.raises(RequestError, match="port=0"):
            async with client:
                await client.register("web", port=0)
        with pytest.raises(RequestError, match="make another"):
            await client.resolve("web")

    with a_daemon(tmp_path / "s"):
        run(story, backend)
