"""What checks cost the daemon that runs them: processor time for one of each kind, and a thousand http checks at 10 s intervals.

The costs are the runner's alone (`gossipd.shell.checkers`); the thousand are run by a whole daemon. Both live in this process; the
server that is checked is another one, and so are the scripts. `python -m tests.bench.checks` prints the figures, and when the
thousand were started.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
import unittest.mock
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import trio

from gossipd import daemon
from gossipd.check_reading import parse_check
from gossipd.checks import Check, CheckResult
from gossipd.core.checks.schedule import Schedule
from gossipd.daemon_config import DaemonConfig
from gossipd.node.view import KEPT
from gossipd.records import Health, Service
from gossipd.shell.checkers.runner import Checkers

CHECKS = 1_000
INTERVAL_S = 10.0
ROUNDS = 2
AT_ONCE = 16
BIN_S = 0.1

Figures = dict[str, float]

SERVER = """
import socket, sys
listener = socket.socket(fileno=int(sys.argv[1]))
while True:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nready")
"""


def checks_cost(starts: list[float]) -> Figures:
    """Return milliseconds of processor time for one check of each kind, by kind; and of the paced thousand the share of a core in
    percent, the worst lateness in seconds, that of the first tries too, and how many times as many start in the busiest BIN_S as on
    average. *starts* gets theirs."""
    with _server() as port:
        service = Service(name="web", id="web-1", port=port)
        figures = {
            f"{kind}_ms": trio.run(_cost_s, parse_check(text), service, times) * 1e3
            for kind, text, times in (
                ("tcp", "tcp", 2_000),
                ("http", "http:/health", 2_000),
                ("script", "script:true", 500),
            )
        }
        return figures | trio.run(_paced, port, starts)


async def _cost_s(check: Check, service: Service, times: int) -> float:
    """Return seconds of our processor time for one try, averaged over *times* after a warm start, AT_ONCE at a time."""
    room = trio.CapacityLimiter(AT_ONCE)
    done = trio.Event()
    finished = 0

    def count(run: int, result: CheckResult) -> None:
        nonlocal finished
        assert result.health is Health.PASSING, result.output
        room.release_on_behalf_of(run)
        finished += 1
        if finished == times:
            done.set()

    async with trio.open_nursery() as nursery:
        checkers = Checkers(count, scripts=True)
        await nursery.start(checkers.serve)
        began = 0.0
        for run in range(times):
            if run == times // 10:
                began = time.process_time()
            await room.acquire_on_behalf_of(run)
            checkers.run(run, check, service, "127.0.0.1")
        await done.wait()
        spent = time.process_time() - began
        nursery.cancel_scope.cancel()
    return spent / (times - times // 10)


async def _paced(port: int, starts: list[float]) -> Figures:
    """Let a daemon check CHECKS instances: first all of them as they are registered, then ROUNDS, whose *starts*, in seconds, are
    noted."""
    late_s: list[float] = []
    start = Schedule.start

    def note(self: Schedule[tuple[str, ...]], key: tuple[str, ...], *, due_at: float, now: float) -> int:
        starts.append(now)
        late_s.append(now - due_at)
        return start(self, key, due_at=due_at, now=now)

    with tempfile.TemporaryDirectory() as folder, unittest.mock.patch.object(Schedule, "start", note):
        config = DaemonConfig(name="n1", socket=f"{folder}/sock", bind=("127.0.0.1:0",), log_level="error")
        async with trio.open_nursery() as nursery:
            running = await nursery.start(partial(daemon.run_daemon, config, signals=False))
            for number in range(CHECKS):
                service = Service(name="web", id=f"web-{number}", port=port)
                check = parse_check(f"http:/health@{INTERVAL_S:g}s")
                running.commands.register(service, holder=KEPT, checks=[check], now=trio.current_time())
            await trio.sleep(
                2 * INTERVAL_S
            )  # the first tries are made as soon as the pace allows, which is late for most
            first_late_s = max(late_s)
            starts.clear()
            late_s.clear()
            began, cpu = trio.current_time(), time.process_time()
            await trio.sleep(ROUNDS * INTERVAL_S)
            spent, passed = time.process_time() - cpu, trio.current_time() - began
            starts[:] = [at - began for at in starts]
            health = [row.health for row in running.view.registrations(now=trio.current_time())]
            nursery.cancel_scope.cancel()
    assert health == ["passing"] * CHECKS, health
    busiest = max(Counter(int(at / BIN_S) for at in starts).values())
    return {
        "paced_cpu_percent": spent / passed * 100,
        "paced_late_s": max(late_s),
        "paced_first_late_s": first_late_s,
        "paced_per_s": len(starts) / passed,
        "paced_busiest_bin": busiest / (len(starts) / (ROUNDS * INTERVAL_S / BIN_S)),
    }


def histogram(starts: list[float]) -> str:
    """Return how many tries began in each second."""
    seconds = Counter(int(at) for at in starts)
    return "\n".join(
        f"{second:3d} s  {seconds[second]:4d}  {'#' * (seconds[second] // 2)}" for second in sorted(seconds)
    )


@contextmanager
def _server() -> Iterator[int]:
    """A server in a process of its own that answers every request at once; yields its port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1_024)
        fd = listener.fileno()
        command = [sys.executable, "-c", SERVER, str(fd)]
        with subprocess.Popen(command, pass_fds=[fd], stderr=subprocess.DEVNULL) as process:
            try:
                yield listener.getsockname()[1]
            finally:
                process.kill()


if __name__ == "__main__":
    print(f"load {os.getloadavg()[0]:.2f}")
    noted: list[float] = []
    for name, value in checks_cost(noted).items():
        print(f"{name}: {value:.3g}")
    print(histogram(noted))
