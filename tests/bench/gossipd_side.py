"""Measurements of real gossipd daemons: LAN profile, LAN defaults, one key, loopback."""

import time
from random import Random
from statistics import median
from typing import Any

from gossipd.client import Client
from simulations.reality.cluster import Cluster, Daemon, wait_until
from simulations.reality.sockets import Watchers
from tests.bench.api_bench import measure_pipelined, measure_sequential
from tests.bench.machine import Traffic, cpu_seconds, loopback_traffic, memory_of
from tests.bench.results import percentile

SETTLE_S = 10.0
"""Quiet time before idleness is measured: what joining set off has died down."""

CHANGE_PAUSE_S = 0.2
"""Between two changes, so that each is alone on the network."""

LOOK_PAUSE_S = 0.05
"""Between two looks at all views while they fill: looking without a pause takes the processor from those looked at."""

CHANGE_LIMIT_S = 20.0
JOIN_LIMIT_S = 120.0
KILL_LIMIT_S = 120.0

UDP_HEADER_BYTES = 28
"""IPv4 and UDP, which a daemon does not count for itself."""

SERVICES_EACH = 10

DATAGRAM_COUNTERS = ("datagrams_sent", "datagram_bytes_sent")


class Ours:
    """*count* daemons that know nobody yet; on exit all have ended."""

    def __init__(self, count: int) -> None:
        self.cluster = Cluster(profile="lan", cluster="bench")
        try:
            self.daemons = [self.cluster.launch(f"n{number}") for number in range(1, count + 1)]
            for daemon in self.daemons:
                daemon.wait_ready(within_s=180)
        except BaseException:
            self.cluster.close()
            raise

    def __enter__(self) -> "Ours":
        return self

    def __exit__(self, *_error: object) -> None:
        self.cluster.close()

    @property
    def running(self) -> list[Daemon]:
        return [daemon for daemon in self.daemons if daemon.running]

    @property
    def pids(self) -> list[int]:
        return [daemon.process.pid for daemon in self.running]

    def join(self) -> float:
        """Let all join the first at once; return the seconds until the last view is complete."""
        clients = [daemon.client() for daemon in self.daemons]
        askers = [daemon.client() for daemon in self.daemons[1:]]
        for client in [*clients, *askers]:
            client.call("info")
        begun = time.monotonic()
        for asker in askers:
            _send(asker, "join", targets=[self.daemons[0].address])
        waiting = list(clients)
        while waiting:
            time.sleep(LOOK_PAUSE_S)
            waiting = [client for client in waiting if _alive(client) < len(self.daemons)]
            if time.monotonic() - begun > JOIN_LIMIT_S:
                raise TimeoutError(f"{len(waiting)} views are not complete within {JOIN_LIMIT_S:g} s")
        taken_s = time.monotonic() - begun
        for client in [*clients, *askers]:
            client.close()
        return taken_s

    def idle(self, seconds: float) -> dict[str, float]:
        """Return what an idle daemon costs on average: part of a core, and per second what loopback carried for it."""
        time.sleep(SETTLE_S)
        pids = self.pids
        own_before = self._own_counters()
        cpu, traffic, begun = cpu_seconds(pids), loopback_traffic(), time.monotonic()
        time.sleep(seconds)
        spent = time.monotonic() - begun
        cpu, carried = cpu_seconds(pids) - cpu, loopback_traffic()
        own = [now - before for now, before in zip(self._own_counters(), own_before, strict=True)]
        per = idle_figures(len(pids), spent, cpu, traffic, carried)
        own_spent = time.monotonic() - begun
        per["own_packets_per_s"] = own[0] / own_spent / len(pids)
        per["own_bytes_per_s"] = (own[1] + UDP_HEADER_BYTES * own[0]) / own_spent / len(pids)
        return per

    def changes(self, count: int, *, seed: int = 1) -> list[float]:
        """Return for each of *count* changes of a service on a random daemon the seconds until the last watch told it."""
        rng, taken = Random(seed), []
        clients = [daemon.client() for daemon in self.running]
        try:
            with Watchers([daemon.socket for daemon in self.running], {"service": "bench"}) as watchers:
                for number in range(count):
                    port = 1_000 + number
                    owner = rng.randrange(len(clients))
                    begun = time.monotonic()
                    _send(clients[owner], "register", name="bench", id=f"bench-{owner}", port=port)
                    told = watchers.wait(lambda event: _port(event) == port, within_s=CHANGE_LIMIT_S)  # noqa: B023
                    taken.append(max(told.values()) - begun)
                    time.sleep(CHANGE_PAUSE_S)
        finally:
            for client in clients:
                client.close()
        return taken

    def memory(self) -> tuple[float, float]:
        """Register SERVICES_EACH on each daemon; return the median and largest resident memory once all know all."""
        clients = [daemon.client() for daemon in self.running]
        try:
            for number, client in enumerate(clients):
                for service in range(SERVICES_EACH):
                    name = f"service-{service}"
                    client.call(
                        "register",
                        name=name,
                        id=f"{name}-{number}",
                        port=8_000,
                        tags=["v1"],
                        metadata={"build": "1234"},
                    )
            wanted = SERVICES_EACH * len(clients)
            for client in clients:
                wait_until(lambda: _instances(client) >= wanted, what="everybody knows all services", within_s=120)  # noqa: B023
            return memory_of(self.pids)
        finally:
            for client in clients:
                client.close()

    def resolve(self, *, instances: int = 5) -> dict[str, float]:
        """Return requests a second that one client gets answered by one daemon of the cluster, in both encodings."""
        clients = [daemon.client() for daemon in self.running[:instances]]
        try:
            for number, client in enumerate(clients):
                client.call("register", name="fast", id=f"fast-{number}", port=80)
            target = self.running[-1]
            wait_until(lambda: len(target.passing("fast")) == len(clients), what="all instances are found")
            speeds: dict[str, float] = {}
            for packed, name in ((False, "json"), (True, "msgpack")):
                one = measure_sequential(target.socket, "fast", packed=packed)
                many = measure_pipelined(target.socket, "fast", packed=packed, requests=100_000)
                speeds |= {f"serial_{name}": one.per_second, f"pipelined_{name}": many.per_second}
                speeds |= {f"pipelined_{name}_core": many.per_server_core_second}
            return speeds
        finally:
            for client in clients:
                client.close()

    def kills(self, count: int, *, seed: int = 2) -> list[float]:
        """Kill *count* daemons one after another; return the seconds until all others had declared each failed."""
        rng, taken = Random(seed), []
        for _ in range(count):
            victim = rng.choice(self.running[1:])
            others = [daemon for daemon in self.running if daemon is not victim]
            with Watchers([daemon.socket for daemon in others], {"members": True, "services": False}) as watchers:
                begun = time.monotonic()
                victim.kill()
                told = watchers.wait(lambda event: _failed(event) == victim.name, within_s=KILL_LIMIT_S)  # noqa: B023
                taken.append(max(told.values()) - begun)
        return taken

    def _own_counters(self) -> list[int]:
        found = [daemon.statistics() for daemon in self.running]
        return [sum(int(each[name]) for each in found) for name in DATAGRAM_COUNTERS]


def idle_figures(count: int, spent_s: float, cpu_s: float, before: Traffic, after: Traffic) -> dict[str, float]:
    """Return averages per process and second."""
    return {
        "cpu_percent": 100 * cpu_s / spent_s / count,
        "bytes_per_s": (after.bytes - before.bytes) / spent_s / count,
        "packets_per_s": (after.packets - before.packets) / spent_s / count,
    }


def spread(values: list[float]) -> dict[str, float]:
    """Return the percentiles that are told of *values*."""
    return {"p50": median(values), "p99": percentile(values, 0.99), "max": max(values), "count": len(values)}


def _send(client: Client, method: str, **params: object) -> None:
    """Ask without waiting; the answer is read, and passed over, by the next call."""
    client._ask(method, params)


def _alive(client: Client) -> int:
    view: Any = client.call("services")["view"]
    return int(view["members_alive"])


def _instances(client: Client) -> int:
    rows: Any = client.call("services")["services"]
    return sum(int(row["instances"]) for row in rows)


def _port(event: dict[str, Any]) -> int | None:
    return event["instance"]["port"] if event["type"] in ("up", "changed") else None


def _failed(event: dict[str, Any]) -> str | None:
    return event["member"]["name"] if event["type"] == "member" and event["after"] == "failed" else None
