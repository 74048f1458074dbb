"""How fast a mirror answers inside the application, by itself and while what it mirrors changes: one thread that looks, one core.

`python -m tests.bench --only mirror`.
"""

import gc
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from timeit import Timer

import anyio
from anyio.lowlevel import checkpoint

from gossipd.balancing import PeakEwma
from gossipd.client import Discovery, aio
from gossipd.client.mirror import BaseMirror
from simulations.reality.cluster import Cluster, Daemon, wait_until
from tests.bench.meter import Meter
from tests.bench.results import SpeedRow, percentile

INSTANCES = (3, 30, 300)
AT_LEAST_PER_S = 500_000

SECONDS = 0.3
"""Of looking up the same thing for the rate, and once more with a clock around each lookup for the percentiles."""

EACH = 500
"""Lookups between two clocks, and between two times that an event loop may do something else."""

CHANGES_FIRST = 3
"""Changes to be heard before figures begin."""

CHANGES_WITHIN_S = 20.0

CHANGES_PER_S = 20
CHANGES_MAX = 2_000
"""The process that makes them ends with it, whatever else does not."""

CHANGER = """
import random, sys, time
from gossipd.client import Client
path, instances, per_second, changes = sys.argv[1], *map(int, sys.argv[2:])
with Client(path) as client:
    for number in range(changes):
        client.call("register", name="web", id=f"web-{number % instances}", port=random.randrange(1_000, 60_000), kept=True)
        time.sleep(1 / per_second)
"""

LOOKUPS = {
    'mirror["web"]': 'mirror["web"]',
    'mirror.ready("web")': 'mirror.ready("web")',
    "pick of peak EWMA": "balancer.pick(now=monotonic())",
}


def mirror_speeds() -> dict[str, list[SpeedRow]]:
    """Return how fast lookups are, for the mirror of sync code and that of async code (asyncio), by the title of a table."""
    rows: list[SpeedRow] = []
    with Cluster(profile="lan", cluster="bench") as cluster:
        daemon = cluster.start("n1")
        for instances in INSTANCES:
            with daemon.client() as client:
                for number in range(instances):
                    client.call("register", name="web", id=f"web-{number}", port=80, kept=True)
            wait_until(lambda: len(daemon.passing("web")) == instances, what=f"{instances} instances are ready")  # noqa: B023
            for changing in (False, True):
                _in_sync_code(daemon, instances, changing, rows)
                anyio.run(_in_async_code, daemon, instances, changing, rows)
    return {"Lookups in a mirror": rows}


def _in_sync_code(daemon: Daemon, instances: int, changing: bool, rows: list[SpeedRow]) -> None:
    with (
        Discovery(daemon.socket) as discovery,
        discovery.mirror("web") as mirror,
        _changes(daemon, instances, changing),
    ):
        for _ in _looked_up(mirror, daemon, f"sync, {instances} instances", changing, rows):
            pass


async def _in_async_code(daemon: Daemon, instances: int, changing: bool, rows: list[SpeedRow]) -> None:
    async with aio.Discovery(daemon.socket) as discovery, discovery.mirror("web") as mirror:
        with _changes(daemon, instances, changing):
            for _ in _looked_up(mirror, daemon, f"async, {instances} instances", changing, rows):
                await checkpoint()


def _looked_up(mirror: BaseMirror, daemon: Daemon, where: str, changing: bool, rows: list[SpeedRow]) -> Iterator[None]:
    """Look up again and again, and put what was found into *rows*; yields when an event loop may do something else."""
    balancer = PeakEwma(Random(1))
    mirror.feed("web", balancer)
    heard: list[float] = []
    mirror.listen(lambda _service, _endpoints: heard.append(time.monotonic()), "web")
    until = time.monotonic() + CHANGES_WITHIN_S
    while changing and len(heard) < 1 + CHANGES_FIRST:
        if time.monotonic() > until:
            raise TimeoutError(f"no {CHANGES_FIRST} changes were heard within {CHANGES_WITHIN_S:g} s")
        yield
    names = {"mirror": mirror, "balancer": balancer, "monotonic": time.monotonic, "gc": gc}
    for what, statement in LOOKUPS.items():
        timer = Timer(statement, "gc.enable()", globals=names)  # as in an application; timeit switches it off
        before, begun = len(heard), time.monotonic()
        many, single = (Meter([daemon.process.pid], seconds=SECONDS, each=EACH) for _ in range(2))
        for _ in many.laps():
            timer.timeit(EACH)
            yield
        took: list[float] = []
        for _ in single.laps():
            took += (timer.timeit(1) for _ in range(EACH))
            yield
        told = f", {(len(heard) - before) / (time.monotonic() - begun):.0f} changes/s" if changing else ""
        speed = replace(many.speed, p50_s=percentile(took, 0.5), p99_s=percentile(took, 0.99))
        rows.append(SpeedRow(what=f"{what}, {where}{told}", speed=speed, at_least=AT_LEAST_PER_S))


@contextmanager
def _changes(daemon: Daemon, instances: int, changing: bool) -> Iterator[None]:
    """Have another process change one instance after another, if *changing*."""
    if not changing:
        yield
        return
    arguments = map(str, (daemon.socket, instances, CHANGES_PER_S, CHANGES_MAX))
    changer = subprocess.Popen([sys.executable, "-c", CHANGER, *arguments])
    try:
        yield
    finally:
        changer.kill()
        changer.wait()
