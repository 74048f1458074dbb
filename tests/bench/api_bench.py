"""How fast `resolve` is over the local socket: one request at a time, and pipelined.

The functions measure whatever daemon listens at a path; run as a program, it measures a server over a fake view in a
process of its own: `python -m tests.bench.api_bench`.
"""

import json
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgpack
import trio

from gossipd.api.server import ApiServer
from tests.fakes_api import FakeCommands, FakeView, an_instance

PIPELINED_AT_ONCE = 500
"""Requests in the text that is repeated; the ids inside need not differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    requests: int
    seconds: float
    server_cpu_seconds: float

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    @property
    def per_server_core_second(self) -> float:
        """What one core would answer if clients and kernel cost nothing to wait for."""
        return self.requests / self.server_cpu_seconds if self.server_cpu_seconds else float("inf")


def resolve_request(service: str, id: int, *, packed: bool) -> bytes:
    message = {"id": id, "method": "resolve", "params": {"service": service}}
    if not packed:
        return json.dumps(message).encode() + b"\n"
    body: bytes = msgpack.packb(message)
    return len(body).to_bytes(4, "big") + body


def measure_sequential(path: str, service: str, *, packed: bool, seconds: float = 2.0) -> Speed:
    """Return how many times a second one client is answered that waits for each answer."""
    with _connection(path) as (client, pid):
        count, cpu, start = 0, _cpu_seconds(pid), time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds:
            client.sendall(resolve_request(service, count, packed=packed))
            _read_answer(client, packed=packed)
            count += 1
        return Speed(requests=count, seconds=spent, server_cpu_seconds=_cpu_seconds(pid) - cpu)


def measure_pipelined(path: str, service: str, *, packed: bool, requests: int = 200_000) -> Speed:
    """Return how many requests a second are answered when one client writes without waiting.

    Answers keep the order of their requests, so the client looks for the id of the last one only, and costs almost nothing.
    """
    with _connection(path) as (client, pid):
        batch = b"".join(resolve_request(service, 1_000 + at, packed=packed) for at in range(PIPELINED_AT_ONCE))
        last = requests // PIPELINED_AT_ONCE
        done = resolve_request("no-such-service", 999_999_999, packed=packed)
        cpu, start = _cpu_seconds(pid), time.perf_counter()
        writer = threading.Thread(target=client.sendall, args=(batch * last + done,))
        writer.start()
        tail = b""
        mark = b"\xce" + (999_999_999).to_bytes(4, "big") if packed else b'"id":999999999,'
        while mark not in tail:
            data = client.recv(1 << 20)
            if not data:
                raise ConnectionError("the daemon closed the connection")
            tail = tail[-32:] + data
        spent, used = time.perf_counter() - start, _cpu_seconds(pid) - cpu
        writer.join()
        return Speed(requests=last * PIPELINED_AT_ONCE, seconds=spent, server_cpu_seconds=used)


@contextmanager
def fake_server(*, instances: int = 5) -> Iterator[str]:
    """Serve a view of *instances* of `web` in a process of its own; yield the path of its socket."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "api.sock")
        ready, tell = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(ready)
            trio.run(_serve, path, instances, tell)
            os._exit(0)
        os.close(tell)
        try:
            if not os.read(ready, 1):
                raise RuntimeError("the server did not start")
            yield path
        finally:
            os.close(ready)
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)


async def _serve(path: str, instances: int, tell: int) -> None:
    view = FakeView()
    for number in range(instances):
        view.put(an_instance("web", f"n{number}"))
    async with trio.open_nursery() as nursery:
        await nursery.start(ApiServer(path, view=view, commands=FakeCommands(view)).run)
        os.write(tell, b"1")
        os.close(tell)
        await trio.sleep_forever()


@contextmanager
def _connection(path: str) -> Iterator[tuple[socket.socket, int]]:
    """Yield a connection and the process id of who answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(path)
        pid = int.from_bytes(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], sys.byteorder)
        yield client, pid


def _read_answer(client: socket.socket, *, packed: bool) -> bytes:
    answer = client.recv(1 << 20)
    if packed:
        end = 4 + int.from_bytes(answer[:4], "big")
        while len(answer) < end:
            answer += client.recv(1 << 20)
    else:
        while not answer.endswith(b"\n"):
            answer += client.recv(1 << 20)
    return answer


def _cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    for instances in (1, 5, 50):
        with fake_server(instances=instances) as path:
            for packed in (False, True):
                name = f"{instances:3} instances, {'msgpack' if packed else 'JSON':7}"
                one = measure_sequential(path, "web", packed=packed)
                many = measure_pipelined(path, "web", packed=packed)
                print(
                    f"{name}: one at a time {one.per_second:9,.0f}/s ({one.per_server_core_second:9,.0f} per core-second)"
                )
                print(
                    f"{name}: pipelined     {many.per_second:9,.0f}/s ({many.per_server_core_second:9,.0f} per core-second)"
                )


if __name__ == "__main__":
    main()
