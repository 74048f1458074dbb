"""From many threads at once: nothing is lost, nothing is counted twice, nobody gets another's turn."""

import gc
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from threading import Barrier, Thread

import pytest

from gossipd.balancing import Calls, Endpoint, LeastOutstanding, WorkKey
from gossipd.balancing.endpoint import Key
from tests.balancing.builders import ALL, PLAIN, endpoints, fed

THREADS = 8
PICKS = 300


@pytest.fixture(autouse=True)
def _hasty_switches() -> Iterator[None]:
    """Let threads take turns every few operations, so that a missing lock shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(work: Callable[[int], None]) -> None:
    """Run *work* in THREADS threads that begin together. Raises what the first of them raised."""
    barrier, errors = Barrier(THREADS), list[BaseException]()

    def run(number: int) -> None:
        barrier.wait(timeout=30)
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("name", ["round robin", "smooth weighted"])
def test_turns_stay_exact(name: str) -> None:
    known = endpoints(5, weights=(1, 3)) if name == "smooth weighted" else endpoints(5)
    balancer, picked = fed(PLAIN[name](1), known), list[str]()
    together(lambda _: picked.extend([balancer.pick(now=0.0).node for _ in range(PICKS * 9 // 10)]))
    total = sum(endpoint.weight for endpoint in known)
    rounds = THREADS * (PICKS * 9 // 10) / total
    assert Counter(picked) == {endpoint.node: rounds * endpoint.weight for endpoint in known}


@pytest.mark.parametrize("name", ALL)
def test_picks_go_on_while_the_set_changes(name: str) -> None:
    balancer = fed(ALL[name](1), endpoints(6))
    ever = set(endpoints(8))

    def work(number: int) -> None:
        for step in range(PICKS // 3):
            if number == 0:
                balancer.update(endpoints(2 + step % 7))
            else:
                endpoint = balancer.pick(step, now=float(step), avoid=frozenset({("n01", "web")}))
                assert endpoint in ever
                balancer.begin(endpoint, now=float(step))
                balancer.end(endpoint, now=float(step), latency_s=0.01)

    together(work)


@pytest.mark.parametrize("name", ALL)
def test_whoever_picks_or_updates_does_it_alone(name: str) -> None:
    """Seen from inside: races of threads are too rare to be counted on."""
    balancer = ALL[name](1)
    asked: list[str] = []

    class Avoided(frozenset[Key]):
        def __contains__(self, key: object) -> bool:
            assert balancer._lock.locked()
            asked.append("pick")
            return super().__contains__(key)

        def __iter__(self) -> Iterator[Key]:
            assert balancer._lock.locked()
            asked.append("pick")
            return super().__iter__()

    def known() -> Iterator[Endpoint]:
        for endpoint in endpoints(3):
            assert balancer._updates.locked()
            asked.append("update")
            yield endpoint

    balancer.update(known())
    assert balancer.pick("k", now=0.0, avoid=Avoided({("n01", "web")})).node != "n01"
    assert set(asked) == {"pick", "update"}


def test_leases_are_neither_lost_nor_counted_twice() -> None:
    time = iter(range(10**9))
    balancer = LeastOutstanding(Random(1))
    calls = Calls(balancer, clock=lambda: next(time) / 1e6, rng=Random(1))
    calls.update(endpoints(4))

    def work(number: int) -> None:
        for step in range(PICKS):
            if number == 0 and step % 50 == 0:
                calls.update(endpoints(4 + step // 50 % 2))
            lease = calls.pick()
            if step % 3 == 0:
                lease.failed()
            else:
                lease.succeeded()
            lease.cancelled()

    together(work)
    found = calls.statistics()
    assert (found.picked, found.under_way, found.lost) == (THREADS * PICKS, 0, 0)
    assert (found.failed, found.succeeded, found.cancelled) == (THREADS * PICKS // 3, THREADS * PICKS * 2 // 3, 0)
    assert found.ignored_reports == THREADS * PICKS
    assert _outstanding(balancer) == 0


def _outstanding(balancer: LeastOutstanding) -> int:
    return sum(load.outstanding for load in balancer._loads.values())


def test_of_updates_at_once_one_stays() -> None:
    balancer = ALL["maglev"](1)
    sets = [endpoints(2 + number) for number in range(THREADS)]

    def work(number: int) -> None:
        for _ in range(5):
            balancer.update(sets[number])

    together(work)
    seen: set[Endpoint] = {balancer.pick(key, now=0.0) for key in range(500)}
    assert seen in [set(known) for known in sets]


class Collecting(LeastOutstanding):
    """Lets the garbage collector run under its lock, as it may at any time."""

    def _pick(self, key: WorkKey, now: float, avoid: frozenset[Key]) -> Endpoint:
        gc.collect()
        return super()._pick(key, now, avoid)

    def _install(self, usable: tuple[Endpoint, ...]) -> None:
        gc.collect()
        super()._install(usable)


def left_to_the_garbage_collector(calls: Calls) -> None:
    """Begin a call in a block that nobody can end any more."""

    def block(_itself: list[Iterator[None]]) -> Iterator[None]:
        with calls.pick():
            yield

    itself = list[Iterator[None]]()
    itself.append(block(itself))
    next(itself[0])


@pytest.mark.parametrize(
    "work", [Calls.pick, lambda calls: calls.update(endpoints(4)), lambda calls: calls.pick().failed()]
)
def test_a_call_whose_block_the_garbage_collector_ends_meanwhile_is_over(work: Callable[[Calls], object]) -> None:
    balancer = Collecting(Random(1))
    calls = Calls(balancer, clock=lambda: 0.0, rng=Random(1))
    calls.update(endpoints(3))
    gc.disable()
    try:
        left_to_the_garbage_collector(calls)
        assert calls.statistics().under_way == 1
        thread = Thread(target=work, args=(calls,), daemon=True)
        thread.start()
        thread.join(timeout=30)
        assert not thread.is_alive(), "it waits for itself"
    finally:
        gc.enable()
    found = calls.statistics()
    assert found.cancelled == 1
    assert found.under_way == _outstanding(balancer) == found.picked - 1 - found.failed
