"""What a user writes, with each public name of the client and of balancing: `make lint` checks its types; nothing runs it."""

import os
import time
from collections.abc import Iterator
from random import Random

from gossipd import client
from gossipd.balancing import (
    Attempts,
    Balancer,
    BreakerState,
    Calls,
    CallStatistics,
    EjectionPolicy,
    Endpoint,
    Lease,
    LeastOutstanding,
    Maglev,
    PeakEwma,
    Rendezvous,
    RetryPolicy,
    RingHash,
    RoundRobin,
    SmoothWeighted,
    TokenBucket,
    UniformRandom,
    WeightedRandom,
    WorkKey,
    ZoneAware,
)
from gossipd.client import (
    SYSTEM_SOCKET,
    Answer,
    Backoff,
    Client,
    Discovery,
    Mirror,
    Registered,
    View,
    aio,
    distrusted,
    methods_of,
    retrying,
    socket_places,
    user_directory,
)
from gossipd.errors import CallError, RequestError


def where() -> str:
    places: tuple[str, ...] = socket_places(os.environ)
    trusted = [place for place in places if distrusted(place) is None]
    return next(iter(trusted), SYSTEM_SOCKET) or user_directory(os.geteuid())


def script() -> int:
    with Client(where(), timeout_s=1.0) as daemon:
        for event in daemon.watch("web", timeout_s=1.0):
            print(event["type"])
        return len(str(daemon.call("info")["info"]))


def serve(work: Iterator[int]) -> None:
    with (
        Discovery(timeout_s=5.0, patient=True, backoff=Backoff(base_s=0.1), rng=Random(1)) as discovery,
        discovery.registered("web", port=8080, tags=["v1"], methods=["users.get"], lease_s=30, drain_s=2) as web,
    ):
        registered: Registered = web
        for left in work:
            renewed: bool = registered.heartbeat()
            registered.progress(left if renewed else 0)
        error: RequestError | None = registered.error
        row = discovery.register("db", id=registered.id + "-db", port=5432, weight=3)
        discovery.deregister(str(row["id"]))
        print(error, discovery.members(), discovery.services(), discovery.path)
    discovery.close()


def ask(discovery: Discovery) -> tuple[list[str], int]:
    answer: Answer = discovery.resolve(
        "web", tags=("v1",), metadata={"a": "b"}, methods=["users.get"], near=True, limit=3
    )
    view: View = answer.view
    try:
        answer = discovery.wait("web", ready=2, wait_s=1.0, status="any")
    except RequestError as error:
        print(error.code, error.details)
    known: tuple[bool, bool, float | None] = (discovery.connected, discovery.stale, discovery.age_s)
    print(known, discovery.call("why", subject="web"), view.met, view.isolated, answer.age_s)
    for event in discovery.watch("web", timeout_s=1.0):
        print(event["type"])
    return [method for endpoint in answer for method in methods_of(endpoint)], view.index


def follow(discovery: Discovery) -> Endpoint:
    balancer = RoundRobin(Random(1))
    with discovery.mirror("web", "db", timeout_s=2.0) as mirror:
        known: Mirror = mirror
        known.feed("web", balancer)
        known.listen(lambda service, endpoints: print(service, len(endpoints), known.stale, known.age_s))
        for service, endpoints in known.changes(timeout_s=1.0):
            print(service, [endpoint.authority for endpoint in endpoints])
        error: RequestError | None = known.error
        print(error, known.view.members_alive)
        known.close()
        return known["web"][0] if known.ready("web") else balancer.pick(now=0.0)


def balancers(rng: Random) -> list[Balancer]:
    keyed: list[Balancer] = [Maglev(), RingHash(), Rendezvous()]
    plain = [RoundRobin(rng), SmoothWeighted(rng), UniformRandom(rng), WeightedRandom(rng), LeastOutstanding(rng)]
    zoned = ZoneAware(lambda: PeakEwma(rng, decay_s=5.0), zone="a", region="eu", rng=rng)
    return [*keyed, *plain, zoned]


def call(mirror: Mirror, key: WorkKey) -> str:
    calls: Calls = mirror.calls(
        "web",
        Maglev(),
        ejection=EjectionPolicy(),
        retry=RetryPolicy(attempts_max=2),
        limiter=TokenBucket(per_s=100.0, burst=10.0, now=time.monotonic()),
        lease_s=30.0,
    )
    calls.update(mirror["web"])

    def fetch(lease: Lease) -> str:
        return f"http://{lease.endpoint.authority}/ within {lease.left_s}"

    said: str = retrying(calls, fetch, idempotent=True, key=key, deadline_s=1.0)
    statistics: CallStatistics = calls.statistics()
    print(statistics.retries, calls.retry.attempts_max)
    return said


def call_by_hand(calls: Calls, endpoint: Endpoint) -> None:
    state: BreakerState = calls.breaker(endpoint)
    attempts: Attempts = calls.attempts("key", idempotent=False, deadline_s=1.0)
    try:
        with attempts.pick() as lease:
            print(state, attempts.left_s, lease.number, lease.began_at, lease.trial)
            lease.failed(0.1, sent=False)
    except CallError as error:
        print(error)
    if attempts.pause_s() is None:
        print(attempts.given_up, lease.outcome, lease.sent)
    calls.pick("key").succeeded(0.2)
    calls.pick("key").cancelled()


async def in_async_code(left: int) -> str:
    async with aio.Discovery(timeout_s=5.0) as discovery, discovery.registered("web", port=80, lease_s=30) as web:
        registered: aio.Registered = web
        renewed: bool = await registered.heartbeat()
        await registered.progress(left if renewed else 0)
        await discovery.deregister(str((await discovery.register("db", port=5432))["id"]))
        found: Answer = await discovery.wait("web", ready=1)
        print(found, await discovery.resolve("web"), await discovery.members(), await discovery.services())
        async for event in discovery.watch("web"):
            print(event["type"], await discovery.call("info"))
        async with discovery.mirror("web") as mirror:
            known: aio.Mirror = mirror
            async for service, endpoints in known.changes():
                print(service, endpoints)
            calls = known.calls("web")
            await known.aclose()

        async def fetch(lease: Lease) -> str:
            return lease.endpoint.authority

        said: str = await aio.retrying(calls, fetch, idempotent=True, deadline_s=1.0)
        return said


def types_that_are_checked(discovery: Discovery, calls: Calls, mirror: client.Mirror) -> None:
    discovery.resolve("web", zones="a")  # type: ignore[call-arg]
    discovery.resolve("web", limit="3")  # type: ignore[arg-type]
    discovery.register("web", port="80")  # type: ignore[arg-type]
    discovery.registered("web")  # type: ignore[call-arg]
    mirror.calls("web", "round robin")  # type: ignore[arg-type]
    retrying(calls, lambda lease: lease)  # type: ignore[call-arg]
