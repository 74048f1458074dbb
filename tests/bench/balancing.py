"""What the balancers do, in small tables: python -m tests.bench.balancing [--only SECTION ...].

All but `speed` are computed with fixed seeds on virtual time and say the same on every machine; `speed` is processor time.
docs/explain/balancing.md shows one run and says how to read it.
"""

import argparse
import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from math import sqrt
from random import Random
from time import process_time

from gossipd.balancing import (
    Balancer,
    Calls,
    EjectionPolicy,
    Endpoint,
    LeastOutstanding,
    Maglev,
    PeakEwma,
    Rendezvous,
    RetryPolicy,
    RingHash,
    RoundRobin,
    SmoothWeighted,
    UniformRandom,
    WeightedRandom,
    ZoneAware,
)
from tests.bench.results import percentile

Make = Callable[[int], Balancer]
"""A balancer by its seed: clients of one seed would all pick the same."""

MAKES: dict[str, Make] = {
    "round robin": lambda seed: RoundRobin(Random(seed)),
    "smooth weighted": lambda seed: SmoothWeighted(Random(seed)),
    "random": lambda seed: UniformRandom(Random(seed)),
    "weighted random": lambda seed: WeightedRandom(Random(seed)),
    "least outstanding": lambda seed: LeastOutstanding(Random(seed)),
    "peak EWMA": lambda seed: PeakEwma(Random(seed)),
    "ring hash": lambda _: RingHash(),
    "rendezvous": lambda _: Rendezvous(),
    "Maglev": lambda _: Maglev(),
}
BY_KEY = ("ring hash", "rendezvous", "Maglev")
PICKS = 100_000
KEYS = 20_000
SEEDS = 3
CALLS = 40_000
WORKERS = 4
"""Calls that an instance of the simulation serves at once; the others wait in its line."""
SERVICE_S = 0.01
"""What a call takes there on average (exponentially distributed)."""
PERCENTILES = (0.5, 0.99, 0.999)


def main() -> None:
    sections: dict[str, Callable[[], Iterator[Sequence[object]]]] = {
        "fairness": fairness,
        "movement": movement,
        "slow": slow,
        "failing": failing,
        "speed": speed,
    }
    parser = argparse.ArgumentParser(prog="python -m tests.bench.balancing", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", action="append", choices=list(sections), help="this table; repeatable [all]")
    for name in parser.parse_args().only or sections:
        print(f"{name}\n")
        for number, row in enumerate(sections[name]()):
            print(f"| {' | '.join(map(str, row))} |", flush=True)
            if number == 0:
                print("|" + "---|" * len(row))
        print()


def endpoints(count: int, *, weights: Sequence[int] = (1,)) -> list[Endpoint]:
    return [
        Endpoint(node=f"n{number:04}", id="web", address="10.0.0.1", port=80, weight=weights[number % len(weights)])
        for number in range(count)
    ]


def fairness() -> Iterator[Sequence[object]]:
    """Yield how the calls of each balancer spread over ten instances, when nobody is slow."""
    yield ("balancer", "weights", "least and most, in fair shares", "expected of chance (4 sigma)")
    for name, make in MAKES.items():
        if name in BY_KEY:
            continue
        for weights in [(1,), (1, 4)] if "weighted" in name else [(1,)]:
            known = endpoints(10, weights=weights)
            balancer = make(1)
            balancer.update(known)
            counts = Counter[str]()
            for number in range(PICKS):
                now = number / 1_000
                picked = balancer.pick(now=now)
                balancer.begin(picked, now=now)
                balancer.end(picked, now=now, latency_s=SERVICE_S)
                counts[picked.node] += 1
            total = sum(endpoint.weight for endpoint in known)
            shares = [counts[one.node] / PICKS * total / one.weight for one in known]
            chance = 1 / total * min(weights)
            bound = 4 * sqrt((1 - chance) / chance / PICKS)
            exact = name in ("round robin", "smooth weighted", "least outstanding")
            told = "exact" if exact else f"{1 - bound:.3f} to {1 + bound:.3f}"
            yield (name, " and ".join(map(str, weights)), f"{min(shares):.4f} to {max(shares):.4f}", told)


def movement() -> Iterator[Sequence[object]]:
    """Yield which part of the keys changes hands when one of n leaves or comes."""
    yield (
        "balancer",
        "instances",
        "1 / n",
        "moved when one leaves",
        "when one comes",
        "most keys on one, in fair shares",
    )
    for count in (3, 10, 100):
        for name in BY_KEY:
            known = endpoints(count + 1)
            balancer = MAKES[name](1)
            least, all_of_them = _owners(balancer, known[:-1]), _owners(balancer, known)
            gone = [_moved(least, _owners(balancer, [*known[:at], *known[at + 1 : -1]])) for at in range(min(count, 5))]
            fullest = max(Counter(least).values()) * count / KEYS
            leaves, comes = sum(gone) / len(gone), _moved(least, all_of_them)
            yield (name, count, f"{1 / count:.1%}", f"{leaves:.1%}", f"{comes:.1%}", f"{fullest:.2f}")


def _owners(balancer: Balancer, known: list[Endpoint]) -> list[str]:
    balancer.update(known)
    return [balancer.pick(key, now=0.0).node for key in range(KEYS)]


def _moved(before: list[str], after: list[str]) -> float:
    return sum(one != other for one, other in zip(before, after, strict=True)) / len(before)


def slow() -> Iterator[Sequence[object]]:
    """Yield the latencies of ten instances one of which is slow, in a simulation of their lines."""
    yield ("one of ten is", "load", "clients", "balancer", "p50, ms", "p99, ms", "p99.9, ms", "calls to the slow one")
    for times, load, clients in ((1, 0.5, 1), (3, 0.25, 1), (10, 0.5, 1), (10, 0.5, 20)):
        for name in ("random", "round robin", "least outstanding", "peak EWMA"):
            taken: list[float] = []
            to_slow = 0
            for seed in range(SEEDS):
                balancers = [MAKES[name](seed * clients + client) for client in range(clients)]
                latencies, count = _simulated(balancers, times=times, load=load, rng=Random(seed))
                taken += latencies
                to_slow += count
            figures = [f"{percentile(taken, part) * 1e3:,.0f}" for part in PERCENTILES]
            how = f"{times} x as slow" if times > 1 else "as the others"
            yield (how, f"{load:.0%}", clients, name, *figures, f"{to_slow / len(taken):.1%}")


def _simulated(balancers: Sequence[Balancer], *, times: float, load: float, rng: Random) -> tuple[list[float], int]:
    """Return the latencies of CALLS calls at random times, and how many went to the instance that is *times* as slow.

    *balancers*: of the clients, who make the calls in turn. *load*: of what all ten could serve if none was slow.
    """
    known = endpoints(10)
    for balancer in balancers:
        balancer.update(known)
    rate = load * len(known) * WORKERS / SERVICE_S
    lines: dict[str, deque[tuple[float, Endpoint, Balancer]]] = {endpoint.node: deque() for endpoint in known}
    busy, latencies, to_slow, arrived = Counter[str](), list[float](), 0, 0
    events: list[tuple[float, int, float, Endpoint | None, Balancer]] = [
        (rng.expovariate(rate), 0, 0.0, None, balancers[0])
    ]
    number = 0

    def serve(endpoint: Endpoint, balancer: Balancer, since: float, now: float) -> None:
        nonlocal number
        number += 1
        mean_s = SERVICE_S * (times if endpoint is known[0] else 1.0)
        heapq.heappush(events, (now + rng.expovariate(1 / mean_s), number, since, endpoint, balancer))

    while events:
        now, _, since, endpoint, balancer = heapq.heappop(events)
        if endpoint is None:
            arrived += 1
            number += 1
            if arrived < CALLS:
                heapq.heappush(
                    events, (now + rng.expovariate(rate), number, 0.0, None, balancers[arrived % len(balancers)])
                )
            picked = balancer.pick(now=now)
            balancer.begin(picked, now=now)
            to_slow += picked is known[0]
            if busy[picked.node] < WORKERS:
                busy[picked.node] += 1
                serve(picked, balancer, now, now)
            else:
                lines[picked.node].append((now, picked, balancer))
            continue
        balancer.end(endpoint, now=now, latency_s=now - since)
        latencies.append(now - since)
        if lines[endpoint.node]:
            waiting_since, waiting, whose = lines[endpoint.node].popleft()
            serve(waiting, whose, waiting_since, now)
        else:
            busy[endpoint.node] -= 1
    return latencies, to_slow


def failing() -> Iterator[Sequence[object]]:
    """Yield what 10,000 calls, 100 a second, see of three instances one of which goes bad after 10 s for 60 s."""
    yield ("one of three", "held out", "retries", "failed calls", "attempts at the bad one", "slowest call, ms")
    nobody = EjectionPolicy(share_max=0.0)
    once = RetryPolicy(attempts_max=1)
    for how, takes_s in (("refuses", 0.001), ("hangs, time-out 250 ms", 0.25)):
        for ejection, retry in ((nobody, once), (None, once), (nobody, None), (None, None)):
            failed, wasted, slowest = _failing(takes_s, ejection, retry)
            words = ["no" if part else "yes" for part in (ejection, retry)]
            yield (how, *words, f"{failed:,}", f"{wasted:,}", f"{slowest * 1e3:,.0f}")


def _failing(takes_s: float, ejection: EjectionPolicy | None, retry: RetryPolicy | None) -> tuple[int, int, float]:
    """Return how many calls failed, how many attempts the bad one cost, and how long the slowest call took."""
    now = 0.0
    calls = Calls(UniformRandom(Random(1)), clock=lambda: now, rng=Random(1), ejection=ejection, retry=retry)
    calls.update(endpoints(3))
    failed, wasted, slowest = 0, 0, 0.0
    for number in range(10_000):
        began = now = max(now, number / 100)
        attempts = calls.attempts(idempotent=True, deadline_s=2.0)
        while True:
            lease = attempts.pick()
            if lease.endpoint.node != "n0000" or not 10.0 <= now < 70.0:
                now += 0.001
                lease.succeeded()
                break
            wasted += 1
            now += takes_s
            lease.failed()
            pause_s = attempts.pause_s()
            if pause_s is None:
                failed += 1
                break
            now += pause_s
        slowest = max(slowest, now - began)
    return failed, wasted, slowest


def speed() -> Iterator[Sequence[object]]:
    """Yield what a pick and an update cost, in processor time."""
    yield ("balancer", "instances", "picks per second", "with begin and end", "update, ms")
    mirror = {"web": tuple(endpoints(10))}
    yield ("a dictionary read, for comparison", "", f"{_per_s(lambda _: mirror['web'], 500_000):,.0f}", "", "")
    zones: dict[str, Make] = {
        "zones of peak EWMA": lambda seed: ZoneAware(
            lambda: MAKES["peak EWMA"](seed), zone=None, region=None, rng=Random(seed)
        )
    }
    for name, make in (MAKES | zones).items():
        for count in (10, 1_000):
            balancer, known = make(1), endpoints(count)
            began = process_time()
            balancer.update(known)
            update_ms = (process_time() - began) * 1e3
            times = 2_000 if (name, count) == ("rendezvous", 1_000) else 50_000
            picks = _per_s(lambda number, b=balancer: b.pick(number, now=0.0), times)  # type: ignore[misc]
            whole = _per_s(lambda number, b=balancer: _call(b, number), times)  # type: ignore[misc]
            yield (name, f"{count:,}", f"{picks:,.0f}", f"{whole:,.0f}", f"{update_ms:,.2f}")
    calls = Calls(MAKES["peak EWMA"](1), clock=process_time, rng=Random(1))
    calls.update(endpoints(10))

    def lease(_: int) -> None:
        with calls.pick():
            pass

    yield ("a lease over peak EWMA", "10", "", f"{_per_s(lease, 50_000):,.0f}", "")


def _call(balancer: Balancer, number: int) -> None:
    now = number / 1_000
    endpoint = balancer.pick(number, now=now)
    balancer.begin(endpoint, now=now)
    balancer.end(endpoint, now=now, latency_s=SERVICE_S)


def _per_s(work: Callable[[int], object], times: int) -> float:
    began = process_time()
    for number in range(times):
        work(number)
    return times / (process_time() - began)


if __name__ == "__main__":
    main()
