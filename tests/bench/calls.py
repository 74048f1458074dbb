"""What a caller over HTTP notices of bad days: three servers behind three daemons, one killed and then one hung, under load.

All are real processes. `python -m tests.bench.calls` prints the table of docs/howto/call-over-http.md; the end-to-end test of calls
plays the same scene.
"""

import math
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Self

import httpx

from gossipd.balancing import Calls, EjectionPolicy, RetryPolicy, RoundRobin
from gossipd.client import Backoff, Discovery, Mirror
from gossipd.client.transport import GossipTransport
from simulations.reality.cluster import Cluster, free_port, wait_until
from tests.bench.results import percentile

CALLERS = 6
CALLS_PER_S = 200.0
CALLS_MAX = 4_000
"""Of one run: the load ends with it, whatever else does not."""

PHASE_S = 4.0
"""Of calm, after the SIGKILL, and after the SIGSTOP: 2,400 calls in all."""

TIMEOUT_S = 1.0
CHECK = "http:/@1s"

SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *_):
        pass
class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

WEB = "http://web.gossip/"


@dataclass(frozen=True, slots=True)
class Done:
    """One call, or one attempt of it: when it began, how long it took, where it went, and how it failed, if it did."""

    began_at: float
    took_s: float
    port: int | None
    error: str | None


class Noting(httpx.HTTPTransport):
    """Notes every attempt."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts: list[Done] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        began_at, error = time.monotonic(), None
        try:
            response = super().handle_request(request)
            error = None if response.status_code < 500 else str(response.status_code)
            return response
        except httpx.TransportError as raised:
            error = type(raised).__name__
            raise
        finally:
            self.attempts.append(Done(began_at, time.monotonic() - began_at, request.url.port, error))


def as_it_is(mirror: Mirror, service: str) -> Calls:
    """Return calls as the transport makes them."""
    return mirror.calls(service)


def without_retries(mirror: Mirror, service: str) -> Calls:
    """Return calls that are never made again."""
    return mirror.calls(service, retry=RetryPolicy(attempts_max=1))


def in_turn(mirror: Mirror, service: str) -> Calls:
    """Return calls that go round, whatever the latency says."""
    return mirror.calls(service, RoundRobin(Random()))


def checks_alone(mirror: Mirror, service: str) -> Calls:
    """Return calls that go round, are never made again, and hold nobody out: health checks are all there is."""
    return mirror.calls(
        service, RoundRobin(Random()), retry=RetryPolicy(attempts_max=1), ejection=EjectionPolicy(share_max=0)
    )


class Scene:
    """Three daemons, a server registered at each with a check, and a caller beside the first; nothing is left at the end."""

    def __init__(self, calls: Callable[[Mirror, str], Calls] = as_it_is) -> None:
        self._calls = calls
        self._stack = ExitStack()
        self.servers: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.cluster = stack.enter_context(Cluster())
            for daemon in self.cluster.start_together(3):
                port = free_port("127.0.0.1")
                server = subprocess.Popen([sys.executable, "-c", SERVER, str(port)])
                stack.callback(_end, server)
                self.servers[port] = server
                daemon.call("register", name="web", id=f"web-{port}", port=port, kept=True, checks=[CHECK])
            daemon = self.cluster["n1"]
            wait_until(lambda: len(daemon.passing("web")) == 3, what="all servers pass their checks")
            discovery = Discovery(daemon.socket, backoff=Backoff(base_s=0.02, pause_max_s=0.1))
            self.discovery = stack.enter_context(discovery)
            self.noting = Noting()
            self.transport = GossipTransport(discovery, wrapped=self.noting, calls=self._calls)
            self.http = stack.enter_context(httpx.Client(transport=self.transport, timeout=TIMEOUT_S))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def ready(self) -> set[str]:
        """Return the ids of the servers that the caller's daemon says are ready."""
        return self.cluster["n1"].passing("web")


def _end(server: subprocess.Popen[bytes]) -> None:
    server.kill()
    server.wait()


@dataclass(slots=True)
class Load:
    """Idempotent calls from CALLERS threads at CALLS_PER_S together, until the end of the block or CALLS_MAX."""

    http: httpx.Client
    done: list[Done] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        for number in range(CALLERS):
            self._threads.append(threading.Thread(target=self._run, args=(number,)))
            self._threads[-1].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.finish()

    def finish(self) -> None:
        """Begin no more calls, and return when all have ended."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    @property
    def failed(self) -> list[Done]:
        return [done for done in self.done if done.error is not None]

    def wait_more(self, calls: int) -> None:
        """Return when so many more calls have ended. Raises: AssertionError if they do not."""
        wanted = min(len(self.done) + calls, CALLS_MAX)
        wait_until(lambda: len(self.done) >= wanted, what=f"{calls} calls end")

    def _run(self, number: int) -> None:
        pause_s = CALLERS / CALLS_PER_S
        due = time.monotonic() + pause_s * number / CALLERS
        for _ in range(CALLS_MAX // CALLERS):
            if self._over.wait(max(0.0, due - time.monotonic())):
                return
            due = max(due + pause_s, time.monotonic())
            began_at, failure = time.monotonic(), None
            try:
                status = self.http.get(WEB).status_code
                failure = None if status == 200 else str(status)
            except httpx.HTTPError as error:
                failure = type(error).__name__
            self.done.append(Done(began_at, time.monotonic() - began_at, None, failure))


def leaving(attempts: list[Done], port: int, since: float) -> tuple[int, float]:
    """Return how many attempts at *port* failed that began after *since*, and how many seconds after it the last one began."""
    vain = [each.began_at - since for each in attempts if each.port == port and each.began_at >= since and each.error]
    return len(vain), max(vain, default=0.0)


def measure(name: str, calls: Callable[[Mirror, str], Calls]) -> None:
    """Print the rows of one run; a call is counted where it ended."""
    with Scene(calls) as scene, Load(scene.http) as load:
        killed, hung, _ = scene.servers
        load.wait_more(100)  # every connection is made
        began_at = time.monotonic()
        time.sleep(PHASE_S)
        scene.servers[killed].kill()
        killed_at = time.monotonic()
        time.sleep(PHASE_S)
        scene.servers[hung].send_signal(signal.SIGSTOP)
        hung_at = time.monotonic()
        time.sleep(PHASE_S)
    attempts = scene.noting.attempts
    for what, port, before, since, until in (
        ("calm", None, 0.0, began_at, killed_at),
        ("one killed", killed, began_at, killed_at, hung_at),
        ("another hung", hung, killed_at, hung_at, math.inf),
    ):
        made = [each for each in load.done if since <= each.began_at + each.took_s < until]
        failed = sum(each.error is not None for each in made)
        took = sorted(each.took_s * 1e3 for each in made)
        left = " |  | "
        if port is not None:
            usual = [each.port == port for each in attempts if before <= each.began_at < since]
            vain, last_s = leaving(attempts, port, since)
            left = f"{sum(usual) / len(usual):.0%} | {vain} | {f'{last_s:.2f}' if vain else ''}"
        times = f"{percentile(took, 0.5):.1f} | {percentile(took, 0.99):,.1f} | {took[-1]:,.0f}"
        print(f"| {name} | {what} | {len(made):,} | {failed} | {left} | {times} |", flush=True)


def main() -> None:
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.2f} at the start\n")
    columns = ["calls", "after", "made", "failed", "its share before", "attempts in vain", "last after s"]
    columns += ["p50 ms", "p99 ms", "longest ms"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    measure("as they are", as_it_is)
    measure("retries off", without_retries)
    measure("round robin", in_turn)
    measure("round robin, retries and ejection off", checks_alone)


if __name__ == "__main__":
    main()
