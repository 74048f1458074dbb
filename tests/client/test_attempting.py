"""One call with its retries, in sync code and under asyncio and trio: the same table for all. No daemon, no socket."""

import time
from collections.abc import Callable
from random import Random

import anyio
import pytest

from gossipd.balancing import Calls, Endpoint, Lease, Maglev, RetryPolicy, RoundRobin
from gossipd.client import aio, retrying
from gossipd.errors import NoInstance, RequestError

WAYS = ["sync", "asyncio", "trio"]

Step = Callable[[Lease], object]


def some_calls(*, instances: int = 3, attempts_max: int = 3, clock: Callable[[], float] = time.monotonic) -> Calls:
    calls = Calls(
        RoundRobin(Random(1)), clock=clock, rng=Random(1), retry=RetryPolicy(attempts_max=attempts_max, base_s=0.0)
    )
    calls.update([Endpoint(node=f"n{number}", id="web", address="a", port=80) for number in range(instances)])
    return calls


class Script:
    """A call that does in turn what each of *steps* does."""

    def __init__(self, *steps: Step) -> None:
        self._steps = steps
        self.asked: list[str] = []

    def __call__(self, lease: Lease) -> object:
        self.asked.append(lease.endpoint.node)
        return self._steps[len(self.asked) - 1](lease)


def made(way: str, calls: Calls, call: Callable[[Lease], object], *, idempotent: bool = True) -> object:
    """Make *call* with retries in this *way*."""
    if way == "sync":
        return retrying(calls, call, idempotent=idempotent)

    async def attempt(lease: Lease) -> object:
        await anyio.lowlevel.checkpoint()
        return call(lease)

    async def story() -> object:
        return await aio.retrying(calls, attempt, idempotent=idempotent)

    return anyio.run(story, backend=way)


def answers(_lease: Lease) -> object:
    return "answer"


def breaks(_lease: Lease) -> object:
    raise TimeoutError("it hangs")


def refuses(_lease: Lease) -> object:
    raise ConnectionRefusedError("nobody listens")


def says_busy(lease: Lease) -> object:
    lease.failed()
    return "busy"


def is_asked_wrongly(lease: Lease) -> object:
    lease.succeeded()
    raise KeyError("404")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("steps", "idempotent", "outcome"),
    [
        ([answers], True, "answer"),
        ([breaks, answers], True, "answer"),
        ([breaks, breaks, answers], True, "answer"),
        ([breaks, breaks, breaks], True, TimeoutError),
        ([breaks], False, TimeoutError),
        ([refuses, answers], False, "answer"),
        ([says_busy, answers], True, "answer"),
        ([says_busy, says_busy, says_busy], True, "busy"),
        ([says_busy], False, "busy"),
        ([is_asked_wrongly], True, KeyError),
    ],
)
def test_a_call_is_made_again_when_it_failed_and_may_be(
    way: str, steps: list[Step], idempotent: bool, outcome: object
) -> None:
    script, calls = Script(*steps), some_calls()
    if isinstance(outcome, type) and issubclass(outcome, Exception):
        with pytest.raises(outcome):
            made(way, calls, script, idempotent=idempotent)
    else:
        assert made(way, calls, script, idempotent=idempotent) == outcome
    assert len(set(script.asked)) == len(script.asked) == len(steps)
    assert calls.statistics().under_way == 0


@pytest.mark.parametrize("way", WAYS)
def test_where_nobody_is_left_to_try_what_came_of_the_last_attempt_is_the_answer(way: str) -> None:
    calls = some_calls(instances=1)

    def goes(_lease: Lease) -> object:
        calls.update([])
        raise TimeoutError("it went")

    with pytest.raises(TimeoutError, match="it went") as caught:
        made(way, calls, goes)
    assert isinstance(caught.value.__cause__, NoInstance)
    with pytest.raises(NoInstance):
        made(way, calls, answers)


@pytest.mark.parametrize("way", WAYS)
def test_where_nobody_is_left_to_try_what_the_last_attempt_returned_is_the_answer(way: str) -> None:
    calls = some_calls()

    def says_busy_and_all_go(lease: Lease) -> object:
        calls.update([])
        return says_busy(lease)

    assert made(way, calls, Script(says_busy_and_all_go)) == "busy"


@pytest.mark.parametrize("way", WAYS)
def test_what_is_no_failure_of_the_instance_leaves_at_once(way: str) -> None:
    calls = some_calls()

    def interrupted(_lease: Lease) -> object:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(way, calls, interrupted)
    assert calls.statistics().cancelled == 1
    with pytest.raises(RequestError, match="call=5, expected a function of a lease") as caught:
        made(way, calls, 5) if way == "sync" else anyio.run(lambda: aio.retrying(calls, 5, idempotent=True))  # type: ignore[arg-type]
    assert caught.value.code == "bad_request"


def test_a_sync_call_is_told_what_is_left_until_the_deadline() -> None:
    now = [10.0]
    calls = some_calls(clock=lambda: now[0])
    left: list[float] = []

    def slow(lease: Lease) -> object:
        left.append(lease.left_s)
        now[0] += 1.5
        raise TimeoutError

    with pytest.raises(TimeoutError):
        retrying(calls, slow, idempotent=True, deadline_s=2.0)
    assert left == [2.0, 0.5]
    with pytest.raises(ValueError, match="deadline_s=0"):
        retrying(calls, slow, idempotent=True, deadline_s=0)
    with calls.pick() as lease:
        assert lease.left_s == float("inf")


@pytest.mark.parametrize("way", WAYS[1:])
def test_an_async_attempt_is_cancelled_at_the_deadline_and_counts_as_failed(way: str) -> None:
    calls = some_calls()

    async def hang(_lease: Lease) -> None:
        await anyio.sleep_forever()

    async def story() -> None:
        with pytest.raises(TimeoutError, match=r"^no answer of .+:80 before the deadline of 0.01 s$"):
            await aio.retrying(calls, hang, idempotent=True, deadline_s=0.01)

    anyio.run(story, backend=way)
    assert (calls.statistics().failed, calls.statistics().under_way) == (1, 0)


@pytest.mark.parametrize("way", WAYS[1:])
def test_a_sync_function_in_async_code_is_told_so_and_harms_no_instance(way: str) -> None:
    calls = some_calls()

    async def story() -> None:
        await aio.retrying(calls, answers, idempotent=True)  # type: ignore[arg-type]

    with pytest.raises(RequestError, match="call returned 'answer', expected an awaitable: say `async def`"):
        anyio.run(story, backend=way)
    assert (calls.statistics().cancelled, calls.statistics().failed) == (1, 0)


def test_equal_work_goes_to_the_same_instance() -> None:
    calls = Calls(Maglev(), clock=time.monotonic, rng=Random(1))
    calls.update([Endpoint(node=f"n{number}", id="web", address="a", port=80) for number in range(3)])
    asked = {retrying(calls, lambda lease: lease.endpoint.node, idempotent=True, key="kim") for _ in range(20)}
    assert len(asked) == 1
    with pytest.raises(TypeError):
        retrying(calls, answers, idempotent=True)
