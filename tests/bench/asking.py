"""One client, one request at a time: `resolve` as applications ask it, and beside it a member list of serf and a range of etcd.

All with the same number of rows in the answer. `python -m tests.bench --only client`.
"""

import json
from collections.abc import Callable
from contextlib import ExitStack

import anyio

from gossipd.client import Discovery, aio
from simulations.reality.cluster import Daemon, wait_until
from tests.bench.api_bench import measure_sequential
from tests.bench.etcd import Etcd
from tests.bench.gossipd_side import Ours
from tests.bench.meter import Meter
from tests.bench.results import Speed, SpeedRow
from tests.bench.serf import ROLE
from tests.bench.serf_side import Serfs

FEW = 5
"""Instances of the service that the budget is held against."""

AT_LEAST_PER_S = 5_000

ETCD_PREFIX = b"/services/asked/"


def ask_ours(ours: Ours) -> list[SpeedRow]:
    """Return how fast one daemon answers for a service with FEW instances, and one with an instance on every daemon."""
    target = ours.running[-1]
    rows: list[SpeedRow] = []
    with ExitStack() as stack:
        services = {"few": min(FEW, len(ours.running)), "asked": len(ours.running)}
        clients = [stack.enter_context(daemon.client()) for daemon in ours.running]
        for service, count in services.items():
            for number, client in enumerate(clients[:count]):
                client.call("register", name=service, id=f"{service}-{number}", port=8_000)
        for service, count in services.items():
            wait_until(lambda: len(target.passing(service)) == count, what=f"{count} of {service} are found")  # noqa: B023
            for what, speed in _resolved(target, service).items():
                at_least = AT_LEAST_PER_S if count <= FEW else None
                rows.append(SpeedRow(what=f"gossipd: {what}, {count} rows", speed=speed, at_least=at_least))
    return rows


def _resolved(daemon: Daemon, service: str) -> dict[str, Speed]:
    with Discovery(daemon.socket) as discovery:
        in_sync_code = _asked(lambda: discovery.resolve(service), daemon.process.pid)
    return {
        "JSON, not decoded": measure_sequential(daemon.socket, service, packed=False),
        "msgpack, not decoded": measure_sequential(daemon.socket, service, packed=True),
        "Discovery.resolve": in_sync_code,
        "aio, asyncio": anyio.run(_resolved_in_async_code, daemon, service, backend="asyncio"),
        "aio, trio": anyio.run(_resolved_in_async_code, daemon, service, backend="trio"),
    }


async def _resolved_in_async_code(daemon: Daemon, service: str) -> Speed:
    meter = Meter([daemon.process.pid])
    async with aio.Discovery(daemon.socket) as discovery:
        for _ in meter.laps():
            await discovery.resolve(service)
    return meter.speed


def ask_serf(serfs: Serfs) -> list[SpeedRow]:
    """Return how fast one agent lists its members, and those with a tag, which all have."""
    agents = serfs.running
    target = agents[-1]
    filters = {"Name": "", "Status": "alive", "Tags": ROLE}
    asks: dict[str, Callable[[], int]] = {
        "members": lambda: len(target.rpc.call("members")[b"Members"]),
        "members-filtered by a tag": lambda: len(target.rpc.call("members-filtered", filters)[b"Members"]),
    }
    rows = []
    for what, ask in asks.items():
        wait_until(lambda: ask() == len(agents), what=f"{what} of serf has {len(agents)} rows")  # noqa: B023
        speed = _asked(ask, target.process.pid)
        rows.append(SpeedRow(what=f"serf: {what}, {len(agents)} rows", speed=speed))
    return rows


def ask_etcd(count: int) -> list[SpeedRow]:
    """Return how fast one server returns *count* keys of one prefix."""
    rows = []
    with Etcd() as etcd:
        for number in range(count):
            value = {"node": f"n{number}", "address": "127.0.0.1", "port": 8_000}
            etcd.put(ETCD_PREFIX + b"%d" % number, json.dumps(value).encode())
        for what, serializable in (("range, linearizable", False), ("range, serializable", True)):

            def ask() -> bytes:
                return etcd.range(ETCD_PREFIX, serializable=serializable)  # noqa: B023

            found = ask().count(ETCD_PREFIX)
            if found != count:
                raise RuntimeError(f"etcd answered {found} keys, expected {count}")
            rows.append(SpeedRow(what=f"etcd: {what}, {count} rows", speed=_asked(ask, etcd.process.pid)))
    return rows


def _asked(ask: Callable[[], object], server: int) -> Speed:
    meter = Meter([server])
    for _ in meter.laps():
        ask()
    return meter.speed
