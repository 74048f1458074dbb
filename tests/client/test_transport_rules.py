"""What becomes of one HTTP request to a service, as a table of outcomes: no socket, no clock but the one of the test."""

from collections.abc import Iterator
from random import Random
from typing import Any

import httpx
import pytest

from gossipd.balancing import Calls, EjectionPolicy, Endpoint, RetryPolicy, RoundRobin
from gossipd.client.mirror import Mirror
from gossipd.client.transport_rules import NotCalled, Pause, Send, Services, exchange, retry_after_s
from gossipd.errors import ConfigError, NoInstance, TooManyCalls
from gossipd.tokens import TokenBucket

TIMEOUTS = {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0}

Outcome = int | httpx.Response | BaseException


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def some_calls(instances: int = 3, *, clock: Clock | None = None, **how: Any) -> Calls:
    """Calls to instances at the ports from 1 on, never held out."""
    made = Calls(
        RoundRobin(Random(1)),
        clock=clock or Clock(),
        rng=Random(1),
        ejection=EjectionPolicy(share_max=0),
        **{"retry": RetryPolicy(), **how},
    )
    made.update(
        Endpoint(node="ann", id=f"web-{port}", address="127.0.0.1", port=port) for port in range(1, instances + 1)
    )
    return made


def a_request(method: str = "GET", url: str = "http://web.gossip/", **how: Any) -> httpx.Request:
    extensions = {"timeout": dict(TIMEOUTS)} | how.pop("extensions", {})
    return httpx.Request(method, url, extensions=extensions, **how)


def an_answer(status: int, **headers: str) -> httpx.Response:
    """An answer whose body has not come yet, as from a socket."""
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(b""))


class Played:
    """One exchange that got *outcomes*, one for each request that it wanted to send."""

    def __init__(self, calls: Calls, request: httpx.Request, *outcomes: Outcome, clock: Clock | None = None) -> None:
        self.sent: list[httpx.Request] = []
        self.pauses: list[float] = []
        self.shut: list[httpx.Response] = []
        self.response: httpx.Response | None = None
        self.error: BaseException | None = None
        left = iter(outcomes)
        steps = exchange(calls, request)
        try:
            step = next(steps)
            while True:
                if isinstance(step, Send):
                    self.sent.append(step.request)
                    outcome = next(left)
                    if isinstance(outcome, BaseException):
                        step = steps.throw(outcome)
                    else:
                        step = steps.send(an_answer(outcome) if isinstance(outcome, int) else outcome)
                elif isinstance(step, Pause):
                    self.pauses.append(step.pause_s)
                    if clock is not None:
                        clock.now += step.pause_s
                    step = next(steps)
                else:
                    self.shut.append(step.response)
                    step = next(steps)
        except StopIteration as end:
            self.response, ending = end.value
            ending.whole()
        except Exception as error:
            self.error = error

    @property
    def ports(self) -> list[int | None]:
        return [request.url.port for request in self.sent]


def a_stream() -> Iterator[bytes]:
    yield b"only once"


IDEMPOTENT = {"extensions": {"gossipd": {"idempotent": True}}}
NOT_AGAIN = {"extensions": {"gossipd": {"idempotent": False}}}


@pytest.mark.parametrize(
    ("method", "how", "first", "attempts", "counted"),
    [
        ("GET", {}, 200, 1, "succeeded"),
        ("GET", {}, 302, 1, "succeeded"),
        ("GET", {}, 404, 1, "succeeded"),
        ("GET", {}, 429, 1, "succeeded"),
        ("GET", {}, 500, 1, "failed"),
        ("GET", {}, 501, 1, "failed"),
        *((method, {}, 503, 2, "failed") for method in ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")),
        *((method, {}, 503, 1, "failed") for method in ("POST", "PATCH", "CONNECT", "LOCK")),
        ("GET", {}, 502, 2, "failed"),
        ("GET", {}, 504, 2, "failed"),
        ("POST", IDEMPOTENT, 503, 2, "failed"),
        ("GET", NOT_AGAIN, 503, 1, "failed"),
        ("POST", {}, httpx.ConnectError(""), 2, "failed"),
        ("POST", {}, httpx.ConnectTimeout(""), 2, "failed"),
        ("GET", NOT_AGAIN, httpx.ConnectError(""), 2, "failed"),
        *(
            (method, {}, error(""), attempts, "failed")
            for error in (
                *(httpx.ReadTimeout, httpx.WriteTimeout, httpx.ReadError),
                *(httpx.WriteError, httpx.CloseError, httpx.RemoteProtocolError),
            )
            for method, attempts in (("GET", 2), ("POST", 1))
        ),
        ("GET", {}, httpx.PoolTimeout(""), 1, "cancelled"),
        ("GET", {}, httpx.LocalProtocolError(""), 1, "cancelled"),
        ("GET", {}, httpx.ProxyError(""), 1, "cancelled"),
        ("GET", {}, ZeroDivisionError(), 1, "cancelled"),
        ("PUT", {"content": b"again"}, 503, 2, "failed"),
        ("PUT", {"json": {"again": 1}}, 503, 2, "failed"),
        ("PUT", {"content": a_stream()}, 503, 1, "failed"),
        ("POST", IDEMPOTENT | {"content": a_stream()}, 503, 1, "failed"),
        ("PUT", {"files": {"a": b"b"}}, httpx.ReadError(""), 1, "failed"),
        ("PUT", {"content": a_stream()}, httpx.ConnectError(""), 2, "failed"),
    ],
)
def test_an_outcome_is_counted_and_sent_again_elsewhere_as_the_table_says(
    method: str, how: dict[str, Any], first: Outcome, attempts: int, counted: str
) -> None:
    calls = some_calls()
    played = Played(calls, a_request(method, **how), first, 200)
    assert len(played.sent) == len(set(played.ports)) == attempts
    assert len(played.pauses) == attempts - 1
    statistics = calls.statistics()
    assert getattr(statistics, counted) == (1 if counted != "succeeded" else attempts)
    assert statistics.succeeded == (1 if counted == "succeeded" or attempts == 2 else 0)
    assert statistics.under_way == 0
    if attempts == 2:
        assert played.response is not None
        assert played.response.status_code == 200
        assert len(played.shut) == (1 if isinstance(first, int) else 0)
    elif isinstance(first, int):
        assert played.response is not None
        assert (played.response.status_code, played.shut) == (first, [])
    else:
        assert played.error is first


def test_the_last_attempt_is_the_answer_when_all_fail() -> None:
    played = Played(some_calls(), a_request(), 503, httpx.ReadError("gone"), 502)
    assert played.response is not None
    assert (played.response.status_code, len(played.sent)) == (502, 3)
    played = Played(some_calls(), a_request(), 503, 503, httpx.ReadError("gone"))
    assert str(played.error) == "gone"
    assert played.error is not None
    assert played.error.__notes__[0].startswith("at web-")


def test_a_request_goes_to_the_instance_under_the_name_of_the_service() -> None:
    calls = some_calls(1)
    [sent] = Played(calls, a_request(url="https://web.gossip/a%2Fb?c=d", headers={"x": "y"}), 200).sent
    assert str(sent.url) == "https://127.0.0.1:1/a%2Fb?c=d"
    assert (sent.headers["host"], sent.headers["x"]) == ("web.gossip", "y")
    assert sent.extensions["sni_hostname"] == "web.gossip"
    assert sent.extensions["timeout"] == TIMEOUTS
    own = {"sni_hostname": "www.example.com"}
    [sent] = Played(calls, a_request(url="https://web.gossip/", extensions=own), 200).sent
    assert sent.extensions["sni_hostname"] == "www.example.com"
    calls.update([Endpoint(node="ann", id="web", address="::1", port=8080)])
    [sent] = Played(calls, a_request(), 200).sent
    assert str(sent.url) == "http://[::1]:8080/"
    assert "sni_hostname" not in sent.extensions


def test_a_response_tells_which_instance_answered() -> None:
    played = Played(some_calls(1), a_request(), 200)
    assert played.response is not None
    assert played.response.extensions["gossipd"].key == ("ann", "web-1")


def test_a_deadline_bounds_each_attempt_and_ends_the_retries() -> None:
    clock = Clock()
    calls = some_calls(clock=clock)
    wish = {"gossipd": {"deadline_s": 2.0}, "timeout": TIMEOUTS | {"read": 1.0, "pool": None}}
    steps = exchange(calls, a_request(extensions=wish))
    step = next(steps)
    assert isinstance(step, Send)
    assert step.request.extensions["timeout"] == {"connect": 2.0, "read": 1.0, "write": 2.0, "pool": 2.0}
    clock.now = 2.0
    with pytest.raises(httpx.ReadTimeout):
        steps.throw(httpx.ReadTimeout(""))


@pytest.mark.parametrize(
    ("said", "paused_s", "sent"),
    [("1", 1.0, 2), ("0", None, 2), ("2", 2.0, 2), ("3", None, 1), ("soon", None, 2)],
)
def test_an_instance_without_another_is_left_alone_for_as_long_as_it_asks(
    said: str, paused_s: float | None, sent: int
) -> None:
    calls = some_calls(1)
    played = Played(calls, a_request(), an_answer(503, **{"Retry-After": said}), 200)
    assert len(played.sent) == sent
    assert played.response is not None
    assert played.response.status_code == (200 if sent == 2 else 503)
    if paused_s is not None:
        assert sum(played.pauses) == pytest.approx(paused_s)
    assert calls.statistics().under_way == 0


def test_retry_after_of_one_instance_does_not_hold_up_another() -> None:
    played = Played(some_calls(2), a_request(), an_answer(503, **{"Retry-After": "3600"}), 200)
    assert len(set(played.ports)) == 2
    assert sum(played.pauses) < 1.0


@pytest.mark.parametrize(
    ("said", "expected_s"),
    [
        ("7", 7.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
        ("-7", 0.0),
        ("1.5", 0.0),
        ("9" * 400, float("inf")),
        ("Thu, 99 Foo", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(said: str, expected_s: float) -> None:
    assert retry_after_s(an_answer(503, **{"Retry-After": said}), now=10.0) == expected_s


def test_who_is_cancelled_in_a_pause_leaves_no_response_open_and_no_call_under_way() -> None:
    calls = some_calls()
    steps = exchange(calls, a_request())
    next(steps)
    refused = an_answer(503)
    assert isinstance(steps.send(refused), Pause)
    step = steps.throw(KeyboardInterrupt())
    assert getattr(step, "response", None) is refused
    with pytest.raises(KeyboardInterrupt):
        next(steps)
    assert calls.statistics().under_way == 0
    steps = exchange(calls, a_request())
    next(steps)
    with pytest.raises(KeyboardInterrupt):
        steps.throw(KeyboardInterrupt())
    assert (calls.statistics().under_way, calls.statistics().cancelled) == (0, 1)


def test_who_is_cancelled_while_an_instance_wants_to_be_left_alone_has_no_call_under_way() -> None:
    calls = some_calls(1)
    steps = exchange(calls, a_request())
    next(steps)
    steps.send(an_answer(503, **{"Retry-After": "1"}))
    assert isinstance(next(steps), Pause)
    assert calls.statistics().under_way == 1
    steps.throw(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        next(steps)
    assert (calls.statistics().under_way, calls.statistics().cancelled) == (0, 1)


def test_an_answer_whose_body_is_at_hand_is_a_success_at_once() -> None:
    calls = some_calls()
    steps = exchange(calls, a_request())
    next(steps)
    with pytest.raises(StopIteration):
        steps.send(httpx.Response(200, text="all of it"))
    assert calls.statistics().succeeded == 1


def test_a_body_that_breaks_is_a_failure_and_one_that_nobody_reads_says_nothing() -> None:
    for say, counted in (("broken", "failed"), ("shut", "cancelled"), ("whole", "succeeded")):
        calls = some_calls()
        steps = exchange(calls, a_request())
        next(steps)
        with pytest.raises(StopIteration) as end:
            steps.send(an_answer(200))
        _, ending = end.value.value
        assert calls.statistics().under_way == 1
        if say == "broken":
            ending.broken(httpx.ReadError(""))
        else:
            getattr(ending, say)()
        ending.shut()
        ending.whole()
        statistics = calls.statistics()
        assert getattr(statistics, counted) == 1
        assert (statistics.under_way, statistics.ignored_reports) == (0, 0)


def test_a_call_that_cannot_be_made_is_an_error_of_httpx_that_says_what_to_do() -> None:
    played = Played(some_calls(0), a_request())
    assert isinstance(played.error, NotCalled)
    assert isinstance(played.error, httpx.ConnectError)
    assert isinstance(played.error.__cause__, NoInstance)
    assert "gossipd services" in str(played.error)
    played = Played(some_calls(limiter=TokenBucket(per_s=1, burst=1, now=0.0)), a_request(), 503, 200)
    assert played.response is not None
    assert (played.response.status_code, played.shut) == (503, [])
    empty = TokenBucket(per_s=1, burst=1, now=0.0)
    assert empty.take(1, now=0.0)
    played = Played(some_calls(limiter=empty), a_request())
    assert played.error is not None
    assert isinstance(played.error.__cause__, TooManyCalls)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ("key", "expected a dictionary of idempotent, key, deadline_s"),
        ({"idempotnt": True}, "expected a dictionary of idempotent, key, deadline_s"),
        ({"idempotent": "yes"}, "gossipd.idempotent='yes', expected True or False"),
        ({"deadline_s": 0}, "gossipd.deadline_s=0, expected"),
        ({"deadline_s": "1"}, "gossipd.deadline_s='1', expected"),
    ],
)
def test_a_wrong_wish_is_told(wish: object, message: str) -> None:
    played = Played(some_calls(), a_request(extensions={"gossipd": wish}))
    assert isinstance(played.error, ConfigError)
    assert message in str(played.error)
    assert played.sent == []


@pytest.mark.parametrize(
    ("url", "service"),
    [
        ("http://web.gossip/", "web"),
        ("HTTPS://WEB.GOSSIP/a?b", "web"),
        ("http://web.gossip:80/", "web"),
        ("http://web.example.com/", None),
        ("http://gossip/", None),
        ("http://127.0.0.1:80/", None),
        ("http://web.gossip.example.com/", None),
    ],
)
def test_a_url_names_a_service_or_it_is_not_ours(url: str, service: str | None) -> None:
    assert Services[Mirror](".gossip").named(httpx.URL(url)) == service


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://web.gossip:8080/", "port=8080 of web.gossip, expected none"),
        ("http://v1.web.gossip/", "expected one name and .gossip, such as web.gossip"),
        ("http://.gossip/", "expected one name"),
    ],
)
def test_a_url_that_cannot_be_called_says_why(url: str, message: str) -> None:
    with pytest.raises(NotCalled, match=message):
        Services[Mirror](".gossip").named(httpx.URL(url))


@pytest.mark.parametrize("suffix", ["gossip", ".", ""])
def test_a_suffix_begins_with_a_dot(suffix: str) -> None:
    with pytest.raises(ConfigError, match="expected a dot and a name"):
        Services[Mirror](suffix)
