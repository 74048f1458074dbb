"""Calls by the name of a service, from httpx in threads, under asyncio and under trio, to real HTTP servers."""

import math
import os
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Protocol, cast

import anyio
import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from gossipd.balancing import Calls, CallStatistics, Maglev, RoundRobin
from gossipd.client import Backoff, Discovery, aio
from gossipd.client.aio_transport import AsyncGossipTransport
from gossipd.client.mirror import BaseMirror, Mirror
from gossipd.client.transport import GossipTransport, NotCalled
from gossipd.errors import RequestError
from gossipd.limits import API_WATCHES_PER_CONNECTION_MAX, TRANSPORT_SERVICES_MAX
from tests.fakes_api import FakeView, an_instance
from tests.http_server import Server
from tests.served import DEADLINE_S, a_daemon
from tests.shell.checkers.targets import self_signed

WEB = "http://web.gossip"
HOWTO = Path(__file__).parents[2] / "docs" / "howto"


class Http(Protocol):
    """An httpx client of whatever kind, as sync code sees it."""

    def request(self, method: str, url: str, **how: Any) -> httpx.Response: ...

    def look(self, url: str) -> int:
        """Return the status of *url*; its body is not read."""
        ...

    def statistics(self) -> dict[str, CallStatistics]: ...


class Sync:
    def __init__(self, client: httpx.Client, transport: GossipTransport) -> None:
        self._client = client
        self.statistics = transport.services.statistics

    def request(self, method: str, url: str, **how: Any) -> httpx.Response:
        return self._client.request(method, url, **how)

    def look(self, url: str) -> int:
        with self._client.stream("GET", url) as response:
            return response.status_code


class Async:
    def __init__(self, client: httpx.AsyncClient, transport: AsyncGossipTransport, portal: Any) -> None:
        self._client = client
        self._portal = portal
        self.statistics = transport.services.statistics

    def request(self, method: str, url: str, **how: Any) -> httpx.Response:
        return cast(httpx.Response, self._portal.call(partial(self._client.request, method, url, **how)))

    def look(self, url: str) -> int:
        async def look() -> int:
            async with self._client.stream("GET", url) as response:
                return response.status_code

        return cast(int, self._portal.call(look))


Open = Callable[..., AbstractContextManager[Http]]


@pytest.fixture(params=["threads", "asyncio", "trio"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Return what opens a client of each kind; its daemon is at `s` in *tmp_path*."""
    backoff = Backoff(base_s=0.005, pause_max_s=0.02)

    @contextmanager
    def open_sync(verify: ssl.SSLContext | bool = True, **how: Any) -> Iterator[Http]:
        how = {"calls": in_turn, "wrapped": httpx.HTTPTransport(verify=verify), **how}
        with (
            Discovery(tmp_path / "s", backoff=backoff) as discovery,
            GossipTransport(discovery, **how) as transport,
            httpx.Client(transport=transport, timeout=DEADLINE_S) as client,
        ):
            yield Sync(client, transport)

    @contextmanager
    def open_async(verify: ssl.SSLContext | bool = True, **how: Any) -> Iterator[Http]:
        how = {"calls": in_turn, "wrapped": httpx.AsyncHTTPTransport(verify=verify), **how}
        with start_blocking_portal(request.param) as portal:
            discovery = aio.Discovery(tmp_path / "s", backoff=backoff)
            with portal.wrap_async_context_manager(discovery):
                transport = portal.call(partial(AsyncGossipTransport, discovery, **how))
                client = httpx.AsyncClient(transport=transport, timeout=DEADLINE_S)
                with portal.wrap_async_context_manager(client):
                    yield Async(client, transport, portal)

    return open_sync if request.param == "threads" else open_async


def in_turn(mirror: BaseMirror, service: str) -> Calls:
    return mirror.calls(service, RoundRobin(Random(1)))


@pytest.fixture
def view(tmp_path: Path) -> Iterator[FakeView]:
    with a_daemon(tmp_path / "s") as (view, _):
        yield view


@pytest.fixture
def pair(view: FakeView) -> Iterator[tuple[Server, Server]]:
    """Two servers, both instances of `web`."""
    first, second = Server(), Server()
    for server in (first, second):
        row = an_instance("web", id=f"web-{server.port}", port=server.port)
        view.put(replace(row, address="127.0.0.1"))
    yield first, second
    first.close()
    second.close()


def test_calls_by_name_go_to_the_instances_in_turn(opened: Open, pair: tuple[Server, Server]) -> None:
    with opened() as http:
        answers = [http.request("GET", f"{WEB}/users?id=7") for _ in range(4)]
        assert sorted(int(answer.text) for answer in answers) == sorted([one.port for one in pair] * 2)
        assert {(ask[1], ask[2]) for one in pair for ask in one.asked} == {("/users?id=7", "web.gossip")}
        assert str(answers[0].url) == f"{WEB}/users?id=7"
        statistics = http.statistics()["web"]
        assert (statistics.succeeded, statistics.under_way) == (4, 0)


@pytest.mark.parametrize("bad", ["503", "close"])
def test_a_failure_is_made_good_by_another_instance_if_that_is_safe(
    opened: Open, pair: tuple[Server, Server], bad: str
) -> None:
    with opened() as http:
        pair[0].answers = [bad]
        for _ in range(2):
            assert http.request("PUT", f"{WEB}/", content=b"all of it").status_code == 200
        assert [ask[3] for one in pair for ask in one.asked] == [b"all of it"] * 3
        pair[0].answers, pair[1].answers = [bad], [bad]
        if bad == "503":
            assert http.request("POST", f"{WEB}/", content=b"once").status_code == 503
        else:
            with pytest.raises(httpx.RemoteProtocolError):
                http.request("POST", f"{WEB}/", content=b"once")
        assert len([1 for one in pair for ask in one.asked if ask[0] == "POST"]) == 1


def test_an_instance_that_hangs_costs_one_time_out_and_no_call(opened: Open, pair: tuple[Server, Server]) -> None:
    pair[0].answers = ["hang"]
    with opened() as http:
        timeout = httpx.Timeout(DEADLINE_S, read=0.1)
        for _ in range(2):
            assert http.request("GET", f"{WEB}/", timeout=timeout).status_code == 200
        assert http.statistics()["web"].failed == 1


def test_who_is_not_there_is_passed_over_even_by_what_may_not_be_made_twice(
    opened: Open, view: FakeView, pair: tuple[Server, Server]
) -> None:
    nobody = Server()
    nobody.close()
    view.put(replace(an_instance("web", id="gone", port=nobody.port), address="127.0.0.1"))
    with opened() as http:
        for number in range(3):
            assert http.request("POST", f"{WEB}/{number}", files={"a": b"read once"}).status_code == 200
        assert http.statistics()["web"].failed >= 1
    asked = [ask for one in pair for ask in one.asked]
    assert sorted(ask[1] for ask in asked) == ["/0", "/1", "/2"]
    assert all(b"read once" in ask[3] for ask in asked)


def test_a_body_that_breaks_off_is_a_failure_and_one_that_is_left_says_nothing(
    opened: Open, pair: tuple[Server, Server]
) -> None:
    for one in pair:
        one.answers = ["half"]
    with opened() as http:
        with pytest.raises(httpx.RemoteProtocolError):
            http.request("GET", f"{WEB}/")
        assert http.statistics()["web"].failed == 1
        assert http.look(f"{WEB}/") == 200
        statistics = http.statistics()["web"]
        assert (statistics.failed, statistics.cancelled, statistics.under_way) == (1, 1, 0)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_task_that_is_cancelled_says_nothing_of_the_instance(
    tmp_path: Path, pair: tuple[Server, Server], backend: str
) -> None:
    for one in pair:
        one.answers = ["hang"]

    async def story() -> None:
        transport = AsyncGossipTransport(discovery := aio.Discovery(tmp_path / "s"))
        async with discovery, httpx.AsyncClient(transport=transport, timeout=DEADLINE_S) as client:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.get, f"{WEB}/")
                while not pair[0].asked and not pair[1].asked:
                    await anyio.sleep(0.001)
                tasks.cancel_scope.cancel()
            statistics = transport.services.statistics()["web"]
            assert (statistics.cancelled, statistics.failed, statistics.under_way) == (1, 0, 0)

    anyio.run(story, backend=backend)


def test_a_certificate_has_to_be_for_the_name_of_the_service(opened: Open, view: FakeView, tmp_path: Path) -> None:
    with Server(tls=self_signed(tmp_path, "web.gossip")) as server:
        for service in ("web", "db"):
            view.put(replace(an_instance(service, port=server.port), address="127.0.0.1"))
        trusted = ssl.create_default_context(cafile=tmp_path / "certificate.pem")

        def status(url: str, **extensions: str) -> int:
            with opened(verify=trusted) as http:
                return http.request("GET", url, extensions=extensions).status_code

        assert status("https://web.gossip/") == 200
        with pytest.raises(httpx.ConnectError, match="at db on ann"):
            status("https://db.gossip/")
        assert status("https://db.gossip/", sni_hostname="web.gossip") == 200


def test_other_hosts_and_redirects_to_them_pass_through(opened: Open, pair: tuple[Server, Server]) -> None:
    first, second = pair
    elsewhere = f"http://127.0.0.1:{second.port}/there"
    first.answers = second.answers = [f"302 {elsewhere}"]
    with opened() as http:
        assert http.request("GET", elsewhere, follow_redirects=False).status_code == 302
        assert http.statistics() == {}
        second.answers = first.answers = [f"302 {elsewhere}"]
        answer = http.request("GET", f"{WEB}/", follow_redirects=True)
        assert (answer.status_code, str(answer.url), answer.text) == (200, elsewhere, str(second.port))
        assert http.statistics()["web"].picked == 1


@pytest.mark.usefixtures("pair")
def test_equal_keys_go_to_the_same_instance(opened: Open) -> None:
    with opened(calls=lambda mirror, service: mirror.calls(service, Maglev())) as http:
        for key in ("ann", "bob", "cy"):
            how = {"extensions": {"gossipd": {"key": key}}}
            assert len({http.request("GET", f"{WEB}/", **how).text for _ in range(5)}) == 1
        with pytest.raises(TypeError):
            http.request("GET", f"{WEB}/")


@pytest.mark.usefixtures("view")
def test_who_asks_for_what_nobody_offers_is_told_what_to_do(opened: Open) -> None:
    with opened() as http:
        with pytest.raises(NotCalled, match="gossipd services"):
            http.request("GET", "http://nobody.gossip/")
        with pytest.raises(NotCalled, match="expected"):
            http.request("GET", "http://no_label.gossip/")
        with pytest.raises(httpx.ConnectError, match="leave it out"):
            http.request("GET", "http://web.gossip:8080/")


@pytest.mark.usefixtures("view")
@pytest.mark.parametrize("wrong", [math.inf, math.nan, -1.0, "5"])
def test_a_time_to_connect_that_is_none_is_told(opened: Open, wrong: Any) -> None:
    with opened() as http, pytest.raises(NotCalled, match=f"timeout.connect={wrong!r}, expected seconds above 0"):
        http.request("GET", f"{WEB}/", timeout=wrong)


def test_a_daemon_that_is_away_is_told_as_such(opened: Open, tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s"):
        manager = opened()
        http = manager.__enter__()
        with pytest.raises(NotCalled, match="no instance is known"):
            http.request("GET", f"{WEB}/")
    with pytest.raises(NotCalled, match="no instance is known"):
        http.request("GET", f"{WEB}/")
    with pytest.raises(NotCalled, match=r"within 0\.05 s"):
        http.request("GET", "http://db.gossip/", timeout=httpx.Timeout(DEADLINE_S, connect=0.05))
    manager.__exit__(None, None, None)


@pytest.mark.usefixtures("pair")
def test_names_from_urls_are_mirrored_up_to_a_limit_and_the_oldest_is_let_go(opened: Open) -> None:
    with opened() as http:
        http.request("GET", f"{WEB}/")
        for number in range(API_WATCHES_PER_CONNECTION_MAX + 1):  # none of those let go keeps its watch
            with pytest.raises(NotCalled):
                http.request("GET", f"http://s{number}.gossip/")
            if number == TRANSPORT_SERVICES_MAX - 2:
                http.request("GET", f"{WEB}/")  # so that it is not the one called longest ago
            if number == TRANSPORT_SERVICES_MAX - 1:
                assert "web" in http.statistics()
                assert "s0" not in http.statistics()
        assert len(http.statistics()) == TRANSPORT_SERVICES_MAX
        assert "web" not in http.statistics()
        assert http.request("GET", f"{WEB}/").status_code == 200


def test_beside_other_transports_it_takes_only_what_is_its_own(tmp_path: Path, pair: tuple[Server, Server]) -> None:
    with (
        Discovery(tmp_path / "s") as discovery,
        httpx.Client(mounts={"all://*.gossip": GossipTransport(discovery)}) as client,
    ):
        assert client.get(f"{WEB}/").status_code == 200
        assert client.get(f"http://127.0.0.1:{pair[0].port}/").status_code == 200
    with (
        Discovery(tmp_path / "s") as discovery,
        httpx.Client(transport=GossipTransport(discovery, suffix=".internal")) as client,
    ):
        assert client.get("http://web.internal/").status_code == 200


@pytest.mark.usefixtures("pair")
def test_many_threads_that_call_at_once_share_one_mirror(tmp_path: Path) -> None:
    made: list[str] = []

    def counted(mirror: BaseMirror, service: str) -> Calls:
        made.append(service)
        return mirror.calls(service)

    with (
        Discovery(tmp_path / "s") as discovery,
        GossipTransport(discovery, calls=counted) as transport,
        httpx.Client(transport=transport, timeout=DEADLINE_S) as client,
    ):
        start = threading.Barrier(8)

        def work() -> None:
            start.wait()
            for _ in range(10):
                assert client.get(f"{WEB}/").status_code == 200

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert made == ["web"]
        assert transport.services.statistics()["web"].succeeded == 80


def test_nobody_needs_httpx_who_does_not_call_with_it() -> None:
    program = (
        "import sys, gossipd.client.aio, gossipd.balancing; assert 'httpx' not in sys.modules; "
        "del sys.modules['anyio']; import gossipd.client.transport; assert 'anyio' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.usefixtures("view")
def test_a_transport_that_is_closed_calls_nobody(tmp_path: Path) -> None:
    with Discovery(tmp_path / "s") as discovery:
        transport = GossipTransport(discovery)
        transport.close()
        with pytest.raises(NotCalled, match="closed"):
            transport.handle_request(httpx.Request("GET", f"{WEB}/"))
        assert discovery.connected


@pytest.mark.usefixtures("pair")
def test_a_transport_of_the_parent_process_calls_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        Discovery(tmp_path / "s") as discovery,
        httpx.Client(transport=GossipTransport(discovery)) as client,
    ):
        assert client.get(f"{WEB}/").status_code == 200
        child = os.getpid() + 1
        with monkeypatch.context() as patched:
            patched.setattr(os, "getpid", lambda: child)
            with pytest.raises(NotCalled, match="make one in each process"):
                client.get(f"{WEB}/")


@pytest.mark.usefixtures("pair")
def test_a_mirror_that_is_not_kept_any_more_is_made_anew(tmp_path: Path) -> None:
    mirrors: list[BaseMirror] = []

    def noted(mirror: BaseMirror, service: str) -> Calls:
        mirrors.append(mirror)
        return mirror.calls(service)

    with (
        Discovery(tmp_path / "s") as discovery,
        httpx.Client(transport=GossipTransport(discovery, calls=noted)) as client,
    ):
        for _ in range(2):
            assert client.get(f"{WEB}/").status_code == 200
        assert len(mirrors) == 1
        mirrors[0].error = RequestError("bad_answer", "a row is no instance")
        assert client.get(f"{WEB}/").status_code == 200
        assert len(mirrors) == 2


@pytest.mark.usefixtures("pair")
def test_a_mirror_that_is_made_while_the_transport_closes_is_closed_too(tmp_path: Path) -> None:
    mirrors: list[Mirror] = []

    def closing(mirror: Mirror, service: str) -> Calls:
        mirrors.append(mirror)
        transport.services.end()
        return mirror.calls(service)

    with Discovery(tmp_path / "s") as discovery:
        transport = GossipTransport(discovery, calls=closing)
        transport.handle_request(httpx.Request("GET", f"{WEB}/")).close()
        with pytest.raises(RequestError, match="this mirror is closed"):
            mirrors[0].listen(print)
        transport.close()


@pytest.mark.usefixtures("pair")
def test_a_daemon_of_its_own_is_found_by_the_environment_and_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOSSIPD_SOCKET", str(tmp_path / "s"))
    with httpx.Client(transport=GossipTransport()) as client:
        assert client.get(f"{WEB}/").status_code == 200
    assert not [one.name for one in threading.enumerate() if one.name.startswith("gossipd")]
    with start_blocking_portal("asyncio") as portal:

        async def story() -> int:
            async with httpx.AsyncClient(transport=AsyncGossipTransport()) as client:
                return (await client.get(f"{WEB}/")).status_code

        assert portal.call(story) == 200


@pytest.mark.usefixtures("pair")
def test_what_the_page_shows_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOSSIPD_SOCKET", str(tmp_path / "s"))
    monkeypatch.syspath_prepend(HOWTO / "examples")
    blocks = re.findall(r"^```python\n(.*?)^```$", (HOWTO / "call-over-http.md").read_text(), re.MULTILINE | re.DOTALL)
    with Discovery() as discovery, discovery.mirror("web") as mirror:
        names: dict[str, Any] = {"mirror": mirror}
        for block in blocks:
            exec(block, names)
            if names["http"].is_closed:
                names["http"] = httpx.Client(transport=GossipTransport(discovery))
        anyio.run(names["main"])
        names["http"].close()
        names["transport"].close()
        names["session"].close()
