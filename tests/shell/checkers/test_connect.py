"""tcp and unix checks: ports and sockets that open and close, names of both families, what cannot be reached."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from gossipd.checks import CheckResult
from gossipd.records import Health
from gossipd.shell.checkers.runner import Checkers
from tests.shell.checkers.targets import WEB, check_of, checkers, free_port, serving, try_once

pytestmark = pytest.mark.trio


async def hold(stream: trio.SocketStream) -> None:
    await stream.receive_some(1)


async def test_a_port_that_opens_and_closes_is_followed() -> None:
    port = free_port()
    refused = CheckResult(health=Health.CRITICAL, output=f"cannot connect to 127.0.0.1:{port}: Connection refused")
    assert await try_once("tcp", port=port) == refused
    async with serving(hold, port=port):
        passing = CheckResult(health=Health.PASSING, output=f"connected to 127.0.0.1:{port}")
        assert await try_once("tcp", port=port) == passing
    assert await try_once("tcp", port=port) == refused


async def test_a_name_is_tried_over_both_families(monkeypatch: pytest.MonkeyPatch) -> None:
    know(monkeypatch, "web.example", "127.0.0.1", "::1")
    for address in ("127.0.0.1", "::1"):
        async with serving(hold, host=address) as port:
            assert (await try_once("tcp", port=port, host="web.example")).health is Health.PASSING
            assert (await try_once(f"tcp:web.example:{port}", host="192.0.2.1")).health is Health.PASSING
    refused = await try_once("tcp", port=port, host="web.example")
    assert refused.output == f"cannot connect to web.example:{port}: Connection refused"


async def test_an_address_that_answers_does_not_wait_for_one_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    know(monkeypatch, "web.example", "127.0.0.2", "127.0.0.1")
    with silent_port("127.0.0.2") as silent:
        async with serving(hold, port=silent) as port:
            result = await try_once("tcp", port=port, host="web.example")
        assert result == CheckResult(health=Health.PASSING, output=f"connected to web.example:{port}")


async def test_a_host_that_does_not_answer_is_given_up_in_time() -> None:
    with silent_port("127.0.0.1") as port:
        result = await try_once({"tcp": True, "interval": 0.5, "timeout": 0.2}, port=port)
    assert result.output == f"time-out after 0.2 s while connecting to 127.0.0.1:{port}"


class silent_port:
    """A port on *host* that answers no connection: its listener's queue is full, and Linux drops what else comes."""

    def __init__(self, host: str) -> None:
        self._host = host

    def __enter__(self) -> int:
        self._listener = socket.socket()
        self._listener.bind((self._host, 0))
        self._listener.listen(0)
        place = self._listener.getsockname()
        self._waiting = []
        for _ in range(4):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(place)
            self._waiting.append(waiting)
        port: int = place[1]
        return port

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._waiting):
            each.close()


async def test_a_name_that_nobody_knows_is_critical(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    answer(monkeypatch, "nowhere.example", unknown)
    result = await try_once("tcp:nowhere.example:80")
    assert result.output == "nowhere.example cannot be resolved: Name or service not known"


async def test_a_lookup_that_hangs_is_given_up_in_time_and_does_not_hold_others_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = threading.Event()

    def slow() -> list[str]:
        release.wait(60)
        return []

    answer(monkeypatch, "slow.example", slow)
    result = await try_once({"tcp": "slow.example:80", "interval": 0.5, "timeout": 0.2})
    assert result.output == "time-out after 0.2 s while looking up slow.example"
    async with serving(hold) as port:
        assert (await try_once("tcp", port=port)).health is Health.PASSING
    release.set()


def know(monkeypatch: pytest.MonkeyPatch, name: str, *addresses: str) -> None:
    """Let *name* mean *addresses*."""
    answer(monkeypatch, name, lambda: list(addresses))


def answer(monkeypatch: pytest.MonkeyPatch, name: str, addresses: Callable[[], list[str]]) -> None:
    """Let lookups of *name* find what *addresses* returns; all others are as ever."""
    real = socket.getaddrinfo

    def look_up(host: object, port: object, *rest: Any, **more: Any) -> list[Any]:
        if host != name:
            return real(host, port, *rest, **more)  # type: ignore[arg-type]
        found = [(socket.AF_INET6 if ":" in address else socket.AF_INET, address) for address in addresses()]
        return [(family, socket.SOCK_STREAM, 0, "", (address, port)) for family, address in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


async def test_a_unix_socket_that_opens_and_closes_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    check = f"unix:{path}"
    assert (await try_once(check)).output == f"cannot connect to {path}: No such file or directory"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert (await try_once(check)).output == f"cannot connect to {path}: Connection refused"
        listener.listen()
        assert await try_once(check) == CheckResult(health=Health.PASSING, output=f"connected to {path}")
    assert (await try_once(check)).output == f"cannot connect to {path}: Connection refused"


async def test_a_unix_socket_whose_queue_is_full_does_not_pass(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        listener.bind(str(path))
        listener.listen(0)
        waiting.connect(str(path))
        result = await try_once(f"unix:{path}")
    assert result.output == f"cannot connect to {path}: its queue of connections is full"


async def test_a_cancelled_try_tells_nothing_and_leaves_nothing() -> None:
    with silent_port("127.0.0.1") as silent:
        async with serving(hold) as port, checkers() as (runner, results):
            for run in range(10):
                runner.run(run, check_of({"tcp": f"127.0.0.1:{silent}"}), WEB, "127.0.0.1")
            await trio.testing.wait_all_tasks_blocked()
            for run in range(10):
                runner.cancel(run)
            runner.cancel(11)
            runner.run(12, check_of({"tcp": f"127.0.0.1:{port}"}), WEB, "127.0.0.1")
            runner.run(13, check_of({"tcp": f"127.0.0.1:{port}"}), WEB, "127.0.0.1")
            runner.cancel(13)
            await results.until(1)
            await trio.testing.wait_all_tasks_blocked()
        assert list(results.by_run) == [12]


async def test_each_run_is_told_once_and_may_ask_for_the_next() -> None:
    async with serving(hold) as port, trio.open_nursery() as nursery:
        told: list[int] = []
        done = trio.Event()

        def finished(run: int, _: CheckResult) -> None:
            told.append(run)
            if run == 5:
                done.set()
            else:
                runner.run(run + 1, check_of({"tcp": port}), WEB, "127.0.0.1")

        runner = Checkers(finished, scripts=False)
        await nursery.start(runner.serve)
        runner.run(1, check_of({"tcp": port}), WEB, "127.0.0.1")
        with trio.fail_after(30):
            await done.wait()
        nursery.cancel_scope.cancel()
    assert told == [1, 2, 3, 4, 5]


async def test_a_target_that_is_never_tried_is_refused_and_an_error_of_ours_ends_no_daemon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert (await try_once("ttl:30s")).output.startswith("nothing to try")

    def broken() -> list[str]:
        raise RuntimeError("out of luck")

    answer(monkeypatch, "web.example", broken)
    async with checkers() as (runner, results):
        runner.run(1, check_of("tcp:web.example:80"), WEB, "127.0.0.1")
        await results.until(1)
    assert runner.errors == 1
    words = "the check itself went wrong: RuntimeError while looking up web.example: out of luck"
    assert results.by_run == {1: [CheckResult(health=Health.CRITICAL, output=words)]}
