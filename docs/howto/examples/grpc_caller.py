"""Greets each name that it reads, by whichever greeter is best at that moment: printf 'ann\nbob\n' | python grpc_caller.py"""

import sys

import grpc

from gossipd.balancing import Calls, Endpoint, Lease
from gossipd.client import Discovery, Mirror, retrying

ATTEMPT_S = 1.0
CALL_S = 5.0
RECONNECT = ("grpc.max_reconnect_backoff_ms", 1_000)
"""By default a channel may wait two minutes until it tries a restarted instance again."""
ITS_FAULT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)


class Channels:
    """A channel to each instance of a service. Those of instances that are gone close when their last call has ended."""

    def __init__(self, mirror: Mirror, service: str) -> None:
        self._channels: dict[str, grpc.Channel] = {}
        mirror.listen(self._follow, service)

    def to(self, endpoint: Endpoint) -> grpc.Channel:
        return self._channels.get(endpoint.authority) or _open(endpoint)

    def _follow(self, _service: str, endpoints: tuple[Endpoint, ...]) -> None:
        self._channels = {endpoint.authority: self.to(endpoint) for endpoint in endpoints}


def _open(endpoint: Endpoint) -> grpc.Channel:
    return grpc.insecure_channel(endpoint.authority, [RECONNECT])


class GreeterStub:
    """What protoc would write from a .proto file."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.Greet = channel.unary_unary("/shop.Greeter/Greet", str.encode, bytes.decode)


def greet(calls: Calls, channels: Channels, name: str) -> str:
    """Return the greeting. It may be asked for twice: greeting is idempotent."""

    def attempt(lease: Lease) -> str:
        stub = GreeterStub(channels.to(lease.endpoint))
        try:
            return stub.Greet(name, timeout=min(ATTEMPT_S, lease.left_s))
        except grpc.RpcError as error:
            if error.code() not in ITS_FAULT:
                lease.succeeded()  # NOT_FOUND, say, is an answer: any other would give the same
            raise

    return retrying(calls, attempt, idempotent=True, deadline_s=CALL_S)


def main() -> None:
    with Discovery() as discovery, discovery.mirror("greeter") as mirror:
        channels, calls = Channels(mirror, "greeter"), mirror.calls("greeter")
        for line in sys.stdin:
            print(greet(calls, channels, line.strip()), flush=True)


if __name__ == "__main__":
    main()
