"""Calls with requests and with urllib3, as the examples of docs/howto make them."""

import time
from collections.abc import Callable, Iterator
from random import Random

import pytest
import requests
from urllib3 import PoolManager
from urllib3.exceptions import HTTPError

from docs.howto.examples.requests_adapter import GossipAdapter
from docs.howto.examples.urllib3_calls import call
from gossipd.balancing import Calls, Endpoint, RoundRobin
from simulations.reality.cluster import Cluster, wait_until
from tests.examples.programs import Program
from tests.http_server import Server

Ask = Callable[[Calls, str], int]
"""Asks `/` with a method and returns the status."""


def by_requests(calls: Calls, method: str) -> int:
    with requests.Session() as session:
        session.mount("http://web.gossip/", GossipAdapter(calls))
        answer = session.request(method, "http://web.gossip/", data=b"body", timeout=1.0)
        assert answer.url == "http://web.gossip/"
        return answer.status_code


def by_urllib3(calls: Calls, method: str) -> int:
    with PoolManager() as http:
        return call(http, calls, method, "/", b"body").status


@pytest.fixture(params=[by_requests, by_urllib3])
def ask(request: pytest.FixtureRequest) -> Ask:
    ask: Ask = request.param
    return ask


@pytest.fixture
def pair() -> Iterator[tuple[Server, Server]]:
    with Server() as first, Server() as second:
        yield first, second


def calls_to(*servers: Server) -> Calls:
    calls = Calls(RoundRobin(Random(1)), clock=time.monotonic, rng=Random(1))
    calls.update(Endpoint(node="ann", id=str(one.port), address="127.0.0.1", port=one.port) for one in servers)
    return calls


@pytest.mark.parametrize("bad", ["503", "close", "half"])
def test_a_failure_is_made_good_if_that_is_safe(ask: Ask, pair: tuple[Server, Server], bad: str) -> None:
    calls = calls_to(*pair)
    pair[0].answers = [bad]
    assert [ask(calls, "PUT") for _ in range(2)] == [200, 200]
    assert calls.statistics().retries == 1
    assert {(asked[2], asked[3]) for one in pair for asked in one.asked} == {("web.gossip", b"body")}
    pair[0].answers, pair[1].answers = [bad], [bad]
    if bad == "503":
        assert ask(calls, "POST") == 503
    else:
        with pytest.raises((requests.RequestException, HTTPError)):
            ask(calls, "POST")
    assert calls.statistics().retries == 1


def test_who_is_not_there_is_passed_over_by_every_method(ask: Ask, pair: tuple[Server, Server]) -> None:
    calls = calls_to(*pair)
    pair[0].close()
    assert [ask(calls, "POST") for _ in range(2)] == [200, 200]
    assert calls.statistics().retries >= 1
    assert len(pair[1].asked) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["requests_adapter.py", "urllib3_calls.py"])
def test_no_call_fails_when_an_instance_goes(cluster: Cluster, pair: tuple[Server, Server], name: str) -> None:
    daemon = cluster["n1"]
    ids = [str(server.port) for server in pair]
    with daemon.client() as client:
        for server in pair:
            client.call("register", name="web", id=str(server.port), address="127.0.0.1", port=server.port)
        wait_until(lambda: daemon.passing("web") == set(ids), what="both are ready")
        with Program(name, daemon) as program:
            program.say(*["/"] * 20)
            program.wait_lines(lambda lines: len(lines) >= 10, what="some answers")
            pair[0].close()
            program.say(*["/"] * 20)
            lines = program.wait_lines(lambda lines: len(lines) >= 40, what="all answers")
            assert program.end() == 0
        assert set(lines) <= set(ids)
        assert lines[-1] == ids[1]
        for id in ids:
            client.call("deregister", id=id)
    wait_until(lambda: not daemon.instances("web"), what="none is left")
