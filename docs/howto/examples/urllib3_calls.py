"""Asks web for each path that it reads, with urllib3: printf '/hello/ann\n/hello/bob\n' | python urllib3_calls.py"""

import sys

from urllib3 import BaseHTTPResponse, PoolManager
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from gossipd.balancing import Calls, Lease
from gossipd.client import Discovery, retrying

IDEMPOTENT = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}


def call(http: PoolManager, calls: Calls, method: str, path: str, body: bytes | None = None) -> BaseHTTPResponse:
    """Return the answer of an instance to *path*, read to its end."""

    def attempt(lease: Lease) -> BaseHTTPResponse:
        url = f"http://{lease.endpoint.authority}{path}"
        try:
            answer = http.request(method, url, body=body, headers={"Host": "web.gossip"}, timeout=1.0, retries=False)
        except (NewConnectionError, ConnectTimeoutError):
            lease.failed(sent=False)
            raise
        if answer.status in (502, 503, 504):
            lease.failed()
        return answer

    return retrying(calls, attempt, idempotent=method in IDEMPOTENT)


def main() -> None:
    with Discovery() as discovery, discovery.mirror("web") as mirror, PoolManager() as http:
        calls = mirror.calls("web")
        for line in sys.stdin:
            answer = call(http, calls, "GET", line.strip())
            if answer.status != 200:
                sys.exit(f"{line.strip()}: {answer.status}")
            print(answer.data.decode(), flush=True)


if __name__ == "__main__":
    main()
