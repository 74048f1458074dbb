"""What a user writes, with each public name: `make lint` checks its types; nothing runs it."""

from collections.abc import Iterator
from random import Random

from gossipd.balancing import Endpoint, RoundRobin
from gossipd.client import Answer, Backoff, Discovery, Mirror, Registered, View, methods_of
from gossipd.errors import RequestError


def serve(work: Iterator[int]) -> None:
    with (
        Discovery(timeout_s=5.0, patient=True, backoff=Backoff(base_s=0.1)) as discovery,
        discovery.registered("web", port=8080, tags=["v1"], methods=["users.get"], lease_s=30, drain_s=2) as web,
    ):
        registered: Registered = web
        for left in work:
            registered.heartbeat()
            registered.progress(left)


def ask(discovery: Discovery) -> tuple[list[str], int]:
    answer: Answer = discovery.resolve(
        "web", tags=("v1",), metadata={"a": "b"}, methods=["users.get"], near=True, limit=3
    )
    view: View = answer.view
    try:
        answer = discovery.wait("web", ready=2, wait_s=1.0, status="any")
    except RequestError as error:
        print(error.code, error.details)
    return [method for endpoint in answer for method in methods_of(endpoint)], view.index


def follow(discovery: Discovery) -> Endpoint:
    balancer = RoundRobin(Random(1))
    with discovery.mirror("web", "db") as mirror:
        known: Mirror = mirror
        known.feed("web", balancer)
        known.listen(lambda service, endpoints: print(service, len(endpoints), known.stale, known.age_s))
        return known["web"][0] if known.ready("web") else balancer.pick(now=0.0)


def types_that_are_checked(discovery: Discovery) -> None:
    discovery.resolve("web", zones="a")  # type: ignore[call-arg]
    discovery.resolve("web", limit="3")  # type: ignore[arg-type]
    discovery.register("web", port="80")  # type: ignore[arg-type]
    discovery.registered("web")  # type: ignore[call-arg]
