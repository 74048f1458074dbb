"""Every mistake of a caller raises a documented error that says what to do: one table for sync code, one for asyncio and trio."""

import math
import re
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from gossipd.client import Client, Discovery, aio, retrying
from gossipd.client.aio_transport import AsyncGossipTransport
from gossipd.client.transport import GossipTransport
from gossipd.errors import ConfigError, NoInstance, RequestError
from tests.fakes_api import an_instance
from tests.served import DEADLINE_S, a_daemon

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "use-from-python.md"

DOCUMENTED = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", PAGE.read_text(), flags=re.MULTILINE))))

TIMES: list[tuple[str, dict[str, Any], str]] = [
    ("call", {}, "timeout_s"),
    ("resolve", {"service": "web"}, "timeout_s"),
    ("resolve", {"service": "web"}, "max_age_s"),
    ("wait", {"service": "web"}, "wait_s"),
    ("register", {"name": "web", "port": 80}, "lease_s"),
    ("registered", {"name": "web", "port": 80}, "drain_s"),
    ("mirror", {}, "timeout_s"),
    ("watch", {"service": "web"}, "timeout_s"),
]
"""Every method that is given a time: what else it is given, and the name of the time."""

NO_TIMES: tuple[Any, ...] = (math.inf, math.nan, 1e10, -1, True, "5")

ARGUMENTS: list[tuple[str, dict[str, Any], str]] = [
    ("resolve", {"service": 5}, "service=5, expected a string"),
    ("resolve", {"service": "web", "tags": "v1"}, "tags='v1', expected a list of strings"),
    ("resolve", {"service": "web", "zones": "a"}, "zones='a', expected one of"),
    ("resolve", {"service": "web", "limit": "3"}, "limit='3'"),
    ("wait", {"service": "web", "ready": 0}, "ready=0"),
    ("register", {"name": 5, "port": 80}, "name=5, expected a string"),
    ("register", {"name": "web", "port": "80"}, "port='80'"),
    ("register", {"name": "web", "port": 80, "colour": "red"}, "colour='red', expected one of"),
    ("register", {"name": "web", "port": 80, "methods": "a"}, "methods='a', expected a list of strings: methods=['a']"),
    ("register", {"name": "web", "port": 80, "tags": 5}, "tags=5, expected a list of strings"),
    (
        "register",
        {"name": "web", "port": 80, "checks": "ttl"},
        "checks='ttl', expected a list of checks: checks=['ttl']",
    ),
    ("register", {"name": "web", "port": 80, "checks": 5}, "checks=5, expected a list of checks"),
    *(
        (method, {**given, name: wrong}, f"{name}={wrong!r}, expected sec")
        for method, given, name in TIMES
        for wrong in NO_TIMES
    ),
    ("registered", {"name": "web", "port": 80, "drain_s": None}, "drain_s=None, expected seconds of 0 or more"),
    ("mirror", {"timeout_s": 0}, "timeout_s=0, expected seconds above 0"),
    ("watch", {"service": "web", "timeout_s": 0}, "timeout_s=0, expected seconds above 0"),
    ("watch", {"service": "NOT A LABEL"}, "NOT A LABEL"),
]
"""Method, what it is given, what it says."""

POSITIONAL = {"call": ("info",), "mirror": ("web",)}

OF_MIRRORS: list[tuple[Callable[[Any], object], str, str]] = [
    (lambda mirror: mirror["wbe"], "not_mirrored", "service='wbe', expected one of web"),
    (lambda mirror: mirror[["web"]], "not_mirrored", "expected one of web"),
    (lambda mirror: mirror.ready("wbe"), "not_mirrored", "name it where the mirror is made"),
    (lambda mirror: mirror.calls("wbe"), "not_mirrored", "expected one of web"),
    (
        lambda mirror: mirror.calls("web", "random"),
        "bad_request",
        "balancer='random', expected one of gossipd.balancing",
    ),
    (lambda mirror: mirror.feed("web", object()), "bad_request", "cannot be fed, expected a balancer or calls"),
    (lambda mirror: next(mirror.changes(timeout_s=math.inf)), "bad_request", "timeout_s=inf, expected seconds above 0"),
    (lambda mirror: mirror.listen(5), "bad_request", "listener=5, expected a function"),
    (lambda mirror: retrying(mirror.calls("web"), 5, idempotent=True), "bad_request", "call=5"),  # type: ignore[arg-type]
]
"""What is done with a mirror of "web", the code, what it says."""

USES: list[Callable[[Any], object]] = [
    lambda mirror: mirror.calls("web"),
    lambda mirror: mirror.listen(print),
    lambda mirror: next(mirror.changes()),
]
"""What a mirror that is kept no more does not do."""


@contextmanager
def expect(code: str, says: str) -> Iterator[None]:
    assert code in DOCUMENTED, code
    with pytest.raises(RequestError, match=re.escape(says)) as caught:
        yield
    assert caught.value.code == code


@pytest.mark.parametrize(("method", "given", "says"), ARGUMENTS)
def test_a_wrong_argument_is_named_with_what_was_expected(
    tmp_path: Path, method: str, given: dict[str, Any], says: str
) -> None:
    with a_daemon(tmp_path / "s"), Discovery(tmp_path / "s", timeout_s=DEADLINE_S) as client:
        with expect("bad_request", says):
            made = getattr(client, method)(*POSITIONAL.get(method, ()), **given)
            if method == "watch":
                next(made)
            elif method == "registered":
                made.__enter__()
        assert client.call("info")  # and it goes on


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_so_it_is_in_async_code(tmp_path: Path, backend: str) -> None:
    async def made(client: aio.Discovery, method: str, given: dict[str, Any]) -> None:
        made = getattr(client, method)(*POSITIONAL.get(method, ()), **given)
        if method == "watch":
            await anext(made)
        elif method == "registered":
            await made.__aenter__()
        elif method != "mirror":
            await made

    async def story() -> None:
        async with aio.Discovery(tmp_path / "s", timeout_s=DEADLINE_S) as client:
            for method, given, says in ARGUMENTS:
                with expect("bad_request", says):
                    await made(client, method, given)
            async with client.mirror("web") as mirror:
                for use, code, says in OF_MIRRORS:
                    with expect(code, says):
                        use(mirror)

    with a_daemon(tmp_path / "s"):
        anyio.run(story, backend=backend)


@pytest.mark.parametrize(("use", "code", "says"), OF_MIRRORS)
def test_a_wrong_use_of_a_mirror_says_what_to_do(
    tmp_path: Path, use: Callable[[Any], object], code: str, says: str
) -> None:
    with a_daemon(tmp_path / "s"), Discovery(tmp_path / "s") as client, client.mirror("web") as mirror:
        with expect(code, says):
            use(mirror)
        mirror.listen(lambda *_: None)  # and it goes on


def test_wrong_settings_are_refused_before_anything_begins() -> None:
    for kind in (Discovery, aio.Discovery):
        with expect("bad_request", "path=5, expected the path of"):
            kind(5)  # type: ignore[arg-type]
    for plain in (Discovery, aio.Discovery, Client):
        for wrong in (0, *NO_TIMES):
            with expect("bad_request", f"timeout_s={wrong!r}, expected seconds above 0"):
                plain(timeout_s=wrong)
    for transport, other in ((GossipTransport, aio.Discovery()), (AsyncGossipTransport, Discovery())):
        with pytest.raises(ConfigError, match=r"discovery=<.*>, expected a Discovery of gossipd.client"):
            transport(other)  # type: ignore[arg-type]


def test_who_waits_longest_waits_for_thirty_years(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with a_daemon(path), Discovery(path, timeout_s=1e9) as client, Client(path, timeout_s=1e9) as plain:
        for one in (client, plain):
            assert one.call("info")
            assert next(one.watch(timeout_s=1e9))["type"] == "snapshot"
        with client.mirror("web", timeout_s=1e9) as mirror:
            assert next(mirror.changes(timeout_s=1e9)) == ("web", ())


def test_a_plain_client_refuses_them_for_its_watches_too(tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s"), Client(tmp_path / "s") as client:
        for wrong in (0, *NO_TIMES):
            with expect("bad_request", f"timeout_s={wrong!r}, expected seconds above 0"):
                next(client.watch(timeout_s=wrong))
        assert client.call("info")


def test_an_unknown_service_has_nobody_and_one_without_a_ready_instance_says_so(tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s") as (view, _), Discovery(tmp_path / "s") as client:
        view.put(an_instance("db"))
        assert client.resolve("wbe").endpoints == ()
        with expect("timeout", "ready"):
            client.wait("wbe", wait_s=0)
        with client.mirror("wbe") as mirror:
            with pytest.raises(NoInstance, match="see with `gossipd services` whether the name is right"):
                mirror.calls("wbe").pick()
            with expect("timeout", "nothing of wbe changed within 0.01 s"):
                list(mirror.changes(timeout_s=0.01))


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    ("close", "says"), [("mirror", "this mirror is closed: make another"), ("client", "this client is closed")]
)
def test_what_is_closed_says_so_and_keeps_what_it_knew(
    tmp_path: Path, use: Callable[[Any], object], close: str, says: str
) -> None:
    with a_daemon(tmp_path / "s") as (view, _), Discovery(tmp_path / "s") as client:
        view.put(an_instance("web"))
        mirror = client.mirror("web")
        (mirror if close == "mirror" else client).close()
        mirror._thread.join(DEADLINE_S)
        with expect("closed", says):
            for _ in range(3):  # what it knew is told first
                use(mirror)
        assert [one.id for one in mirror["web"]] == ["web"]
        assert mirror.stale


@pytest.mark.parametrize("use", USES)
def test_a_fork_reads_what_was_known_and_is_told_to_make_its_own(
    tmp_path: Path, use: Callable[[Any], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_daemon(tmp_path / "s"), Discovery(tmp_path / "s") as client, client.mirror("web") as mirror:
        monkeypatch.setattr(Discovery, "_is_parents", lambda _self: True)
        with expect("forked", "make one in each process, after the fork"):
            use(mirror)
        assert mirror["web"] == ()
        assert mirror.stale
        monkeypatch.undo()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_async_code_is_told_what_is_not_open_and_what_belongs_to_another_loop(tmp_path: Path, backend: str) -> None:
    errors: list[str] = []

    def elsewhere(uses: list[Callable[[], Awaitable[object]]]) -> None:
        async def story() -> None:
            for use in uses:
                try:
                    await use()
                except RequestError as error:
                    errors.append(error.code)

        anyio.run(story, backend=backend)

    async def story() -> None:
        client = aio.Discovery(tmp_path / "s")
        with expect("closed", "use it inside `async with Discovery() as ...:`"):
            await client.resolve("web")
        async with client:
            unopened = client.mirror("web")
            with expect("closed", "use it inside `async with discovery.mirror(...) as ...:`"):
                unopened.calls("web")
            for read in (unopened.__getitem__, unopened.ready):
                with expect("closed", "use it inside `async with discovery.mirror(...) as ...:`"):
                    read("web")
            with expect("closed", "use it inside `async with Discovery() as ...:`"):
                await aio.Discovery(tmp_path / "s").mirror("web").__aenter__()
            async with client.mirror("web") as mirror:

                async def listen() -> None:
                    mirror.listen(lambda *_: None)

                uses: list[Callable[[], Awaitable[object]]] = [lambda: client.resolve("web"), listen]
                thread = threading.Thread(target=elsewhere, args=(uses,))
                thread.start()
                await anyio.to_thread.run_sync(thread.join)
                assert errors == ["wrong_loop", "wrong_loop"]
                with expect("wrong_loop", "make one in each"):
                    await anyio.to_thread.run_sync(mirror.calls, "web")
        with expect("closed", "this client is closed: make another"):
            await client.resolve("web")

    with a_daemon(tmp_path / "s"):
        anyio.run(story, backend=backend)
