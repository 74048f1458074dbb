"""Asks web for each path that it reads, with requests: printf '/hello/ann\n/hello/bob\n' | python requests_adapter.py"""

import sys
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from gossipd.balancing import Calls, Lease
from gossipd.client import Discovery, retrying

IDEMPOTENT = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}


class GossipAdapter(HTTPAdapter):
    """Sends the requests of a session to the instances of one service: session.mount("http://web.gossip/", GossipAdapter(calls))"""

    def __init__(self, calls: Calls) -> None:
        super().__init__()
        self.calls = calls

    def send(self, request: requests.PreparedRequest, *args: Any, **how: Any) -> requests.Response:
        where = urlsplit(str(request.url))

        def attempt(lease: Lease) -> requests.Response:
            directed = request.copy()
            directed.url = where._replace(netloc=lease.endpoint.authority).geturl()
            directed.headers.setdefault("Host", where.netloc)
            try:
                response = super(GossipAdapter, self).send(directed, *args, **how)
            except requests.ConnectionError as error:
                reason = getattr(error.args[0], "reason", None)
                lease.failed(sent=not isinstance(reason, NewConnectionError | ConnectTimeoutError))
                raise
            response.request, response.url = request, str(request.url)
            if response.status_code in (502, 503, 504):
                lease.failed()
            if lease.outcome is not None or not how.get("stream"):
                response.content  # noqa: B018  (read here, its end is part of the attempt, and the connection is free again)
            return response

        again = request.method in IDEMPOTENT and isinstance(request.body, str | bytes | None)
        return retrying(self.calls, attempt, idempotent=again)


def main() -> None:
    with Discovery() as discovery, discovery.mirror("web") as mirror, requests.Session() as session:
        session.mount("http://web.gossip/", GossipAdapter(mirror.calls("web")))
        for line in sys.stdin:
            answer = session.get(f"http://web.gossip{line.strip()}", timeout=1.0)
            answer.raise_for_status()
            print(answer.text, flush=True)


if __name__ == "__main__":
    main()
