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

import msgpack
import trio

from gossipd.api.server import ApiServer
from tests.bench.machine import cpu_seconds
from tests.bench.meter import Meter
from tests.bench.results import Speed
from tests.fakes_api import FakeCommands, FakeView, an_instance

PIPELINED_AT_ONCE = 500
"""Requests in the text that is repeated; the ids inside need not differ."""


def resolve_request(service: str, id: int, *, packed: bool) -> bytes:
    message = {"id": id, "method": "resolve", "params": {"service": service}}
    if not packed:
        return json.dumps(message).encode() + b"\n"
    body: bytes = msgpack.packb(message)
    return len(body).to_bytes(4, "big") + body


def measure_sequential(path: str, service: str, *, packed: bool) -> Speed:
    """Return how many times a second one client is answered that waits for each answer, and does not decode it."""
    with _connection(path) as (client, pid):
        meter = Meter([pid])
        for count, _ in enumerate(meter.laps()):
            client.sendall(resolve_request(service, count, packed=packed))
            _read_answer(client, packed=packed)
        return meter.speed


def measure_pipelined(path: str, service: str, *, packed: bool, requests: int = 200_000) -> Speed:
    """Return how many requests a second are answered when one client writes without waiting.

    Answers keep the order of their requests, so the client looks for the id of the last one only, and costs almost nothing.
    """
    with _connection(path) as (client, pid):
        batch = b"".join(resolve_request(service, 1_000 + at, packed=packed) for at in range(PIPELINED_AT_ONCE))
        last = requests // PIPELINED_AT_ONCE
        done = resolve_request("no-such-service", 999_999_999, packed=packed)
        cpu, own, start = cpu_seconds([pid]), time.process_time(), time.perf_counter()
        writer = threading.Thread(target=client.sendall, args=(batch * last + done,))
        writer.start()
        tail = b""
        mark = b"\xce" + (999_999_999).to_bytes(4, "big") if packed else b'"id":999999999,'
        while mark not in tail:
            data = client.recv(1 << 20)
            if not data:
                raise ConnectionError("the daemon closed the connection")
            tail = tail[-32:] + data
        spent, own, used = time.perf_counter() - start, time.process_time() - own, cpu_seconds([pid]) - cpu
        writer.join()
        return Speed(requests=last * PIPELINED_AT_ONCE, seconds=spent, client_cpu_s=own, server_cpu_s=used)


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
