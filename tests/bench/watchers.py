"""What a thousand watchers cost a daemon: a thousand changes told to each of them, and one connection that never reads.

A real daemon; the watchers live in a process of their own, which notes when each change came to each. Run as a program:
`python -m tests.bench.watchers`.
"""

import os
import re
import selectors
import socket
import sys
import tempfile
import time
from array import array
from pathlib import Path

from gossipd.client import Client
from simulations.reality.cluster import Cluster, memory_bytes
from tests.bench.machine import cpu_seconds
from tests.bench.results import percentile

CONNECTIONS = 250
WATCHES_EACH = 4
CHANGES = 1_000
INSTANCES = 100
"""The changes go round among these, so that no two of the same are told as one."""

PAUSE_S = 0.012
"""Between two changes: more than the daemon waits to tell a burst as one."""

LIMIT_S = 120.0

EVENT = re.compile(rb'\{"id":(\d+),"event":\{"type":"(\w+)"(?:,"instance":\{[^{}]*"port":(\d+))?')

Figures = dict[str, float]


def watchers_cost() -> Figures:
    """Return by name: milliseconds of the daemon's processor time for a change without watchers and with all of them, by which
    it grew in bytes, seconds until a change was heard (p50, p99), how many were heard and lost, and the resyncs."""
    with Cluster(profile="lan", cluster="bench") as cluster, tempfile.TemporaryDirectory() as folder:
        daemon = cluster.start("n1")
        pid = daemon.process.pid
        with daemon.client() as writer:
            for number in range(INSTANCES):
                writer.call("register", name="web", id=f"web-{number}", port=1, kept=True)
            alone_s, _ = _change(writer, pid, first=2)
            before = memory_bytes(pid)
            with _Readers(daemon.socket, Path(folder)) as readers, _watching(daemon.socket) as stalled:
                idle = memory_bytes(pid)
                cpu_s, sent = _change(writer, pid, first=2 + CHANGES)
                heard = readers.finish()
                after = memory_bytes(pid)
                resyncs = daemon.statistics()["api"]["resyncs"]
                told = _read_all(stalled)
    delays = sorted(at - sent[number] for number, at in heard)
    return {
        "alone_ms": alone_s / CHANGES * 1e3,
        "watched_ms": cpu_s / CHANGES * 1e3,
        "delivery_us": (cpu_s - alone_s) / max(len(heard), 1) * 1e6,
        "open_bytes": idle - before,
        "grown_bytes": after - before,
        "delay_p50_s": percentile(delays, 0.5),
        "delay_p99_s": percentile(delays, 0.99),
        "delay_max_s": delays[-1],
        "heard": len(heard),
        "lost": CONNECTIONS * WATCHES_EACH * CHANGES - len(heard),
        "resyncs": resyncs,
        "stalled_resyncs": sum(kind == b"resync" for kind in told),
    }


def _change(writer: Client, pid: int, *, first: int) -> tuple[float, dict[int, float]]:
    """Make CHANGES changes, the ports from *first* on; return the daemon's processor seconds, and when each was asked for."""
    sent: dict[int, float] = {}
    cpu = cpu_seconds([pid])
    due = time.monotonic()
    for port in range(first, first + CHANGES):
        due += PAUSE_S
        time.sleep(max(0.0, due - time.monotonic()))
        sent[port] = time.monotonic()
        writer.call("register", name="web", id=f"web-{port % INSTANCES}", port=port, kept=True)
    return cpu_seconds([pid]) - cpu, sent


class _Readers:
    """All watchers but the stalled ones, in a process of their own, until each has heard the last change."""

    def __init__(self, path: str, folder: Path) -> None:
        self._path = path
        self._file = folder / "heard"
        ready, tell = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            os.close(ready)
            try:
                _listen(path, self._file, tell)
                os._exit(0)
            finally:
                os._exit(1)
        os.close(tell)
        with os.fdopen(ready, "rb") as pipe:
            if pipe.read(1) != b"1":
                raise RuntimeError("the watchers did not start")

    def __enter__(self) -> "_Readers":
        return self

    def __exit__(self, *_error: object) -> None:
        if self._pid:
            os.kill(self._pid, 9)
            os.waitpid(self._pid, 0)

    def finish(self) -> list[tuple[int, float]]:
        """Return the change and the time of each event that a watcher heard."""
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        if status:
            raise RuntimeError("the watchers failed")
        numbers, times = array("I"), array("d")
        with self._file.open("rb") as file:
            count = int.from_bytes(file.read(8), "big")
            numbers.fromfile(file, count)
            times.fromfile(file, count)
        return list(zip(numbers, times, strict=True))


def _listen(path: str, file: Path, tell: int) -> None:
    """Be the watchers: note what comes until every one has heard the last change, or nothing comes any more."""
    numbers, times = array("I"), array("d")
    selector = selectors.DefaultSelector()
    halves: dict[socket.socket, bytes] = {}
    begun = ended = 0
    for _ in range(CONNECTIONS):
        client = _watching(path)
        halves[client] = b""
        selector.register(client, selectors.EVENT_READ, client)
    last, until = 1 + 2 * CHANGES, time.monotonic() + LIMIT_S
    while ended < CONNECTIONS * WATCHES_EACH and time.monotonic() < until:
        for key, _ in selector.select(1.0):
            client = key.data
            whole, _, rest = (halves[client] + client.recv(1 << 20)).rpartition(b"\n")
            now = time.monotonic()
            halves[client] = rest
            for event in EVENT.finditer(whole):
                if event[2] == b"snapshot":
                    begun += 1
                    if begun == CONNECTIONS * WATCHES_EACH:
                        os.write(tell, b"1")
                elif event[3]:
                    numbers.append(int(event[3]))
                    times.append(now)
                    ended += int(event[3]) == last
    with file.open("wb") as out:
        out.write(len(numbers).to_bytes(8, "big"))
        numbers.tofile(out)
        times.tofile(out)


def _watching(path: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(path)
    for id in range(WATCHES_EACH):
        client.sendall(b'{"id":%d,"method":"watch","params":{"service":"web"}}\n' % id)
    return client


def _read_all(client: socket.socket) -> list[bytes]:
    """Return the types of what waits for *client*."""
    client.shutdown(socket.SHUT_WR)
    data = b""
    while more := client.recv(1 << 20):
        data += more
    return [event[2] for event in EVENT.finditer(data)]


if __name__ == "__main__":
    print(f"load {os.getloadavg()[0]:.2f}", file=sys.stderr)
    for name, value in watchers_cost().items():
        print(f"{name}: {value:.6g}")
