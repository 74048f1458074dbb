"""The real side: daemons as processes, to which the lab's steps are done; every one is watched over its local socket."""

import signal
import time
from collections.abc import Callable
from datetime import datetime
from operator import sub
from pathlib import Path
from typing import Any, NamedTuple

from gossipd.client import Client
from gossipd.errors import RequestError
from simulations import faults
from simulations.faults import Fault, Hosts
from simulations.reality.cluster import Cluster, Daemon
from simulations.reality.networks import Loopback
from simulations.reality.observed import Observed
from simulations.reality.sockets import Event, Watchers
from simulations.steps import StartCold

LOOK_S = 0.02
"""Longest pause between two looks at what is waited for; events are timed when they come, whatever it is."""

CALL_S = 20.0
"""How long an answer of a daemon may take."""


class Effort(NamedTuple):
    """What was done so far, or between two moments."""

    at_s: float
    cpu_s: float
    """Processor time of all daemons, and of this process, which reads what they tell."""
    inputs: int
    """Datagrams and timers."""
    told: int
    """Changes that watches told."""

    def since(self, earlier: "Effort") -> "Effort":
        return Effort(*map(sub, self, earlier))


class RealStage:
    """Trials on daemons of *profile*, named n0 and so on, which end with it."""

    def __init__(self, hosts: int, *, profile: str, network: Loopback) -> None:
        self.hosts = hosts
        self.observed = Observed()
        self.worst_lag_s = 0.0
        """Greatest delay of a daemon's own timers, but for those that were frozen; see `note_lag`."""
        self._network = network
        self._cluster = Cluster(profile=profile, cluster="reality")
        self._watchers = Watchers([], {"members": True, "services": True}, timeout_s=CALL_S)
        self._clients: dict[int, Client] = {}
        self._told = 0
        self._cpu_at_ready_ns: dict[int, int] = {}
        self._starting: set[int] = set()
        """Whose process runs and has not answered yet."""
        self._up: set[int] = set()
        self._leaving: set[int] = set()
        self._frozen: set[int] = set()
        """Whose process was frozen since it began."""

    def __enter__(self) -> "RealStage":
        return self

    def __exit__(self, *_error: object) -> None:
        self._watchers.__exit__()
        for client in self._clients.values():
            client.close()
        self._cluster.close()

    @property
    def running(self) -> set[int]:
        return set(self._up)

    # ---------------------------------------------------------------------------------------------------------------- time

    def run(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            self._listen(left_s)

    def run_until(self, holds: Callable[[], bool], *, within_s: float) -> bool:
        until = time.monotonic() + within_s
        while not holds():
            left_s = until - time.monotonic()
            if left_s <= 0:
                return False
            self._listen(left_s)
        return True

    def _listen(self, within_s: float) -> None:
        """Hear what is told for a moment; greet who has started, and see who has left."""
        for at, observer, event in self._watchers.read(within_s=min(within_s, LOOK_S)):
            self._hear(at, observer, event)
        for number in sorted(self._starting):
            self._greet(number)
        for number in sorted(self._leaving):
            if not self._daemon(number).running:
                self._gone(number)

    # --------------------------------------------------------------------------------------------------------------- steps

    def do(self, step: Fault | StartCold) -> float:
        begun = time.monotonic()
        match step:
            case StartCold() | faults.Restart():
                self._start(step)
            case faults.Crash() | faults.Freeze(for_s=None) | faults.Thaw() | faults.Leave():
                for number in step.hosts:
                    self._signal(number, step)
            case faults.Register() | faults.Deregister():
                for number in step.hosts:
                    self._command(number, step)
            case faults.Cut():
                self._network.cut(step.groups)
            case faults.Heal(name=None):
                self._network.heal()
            case _:
                raise ValueError(f"cannot be done to real daemons: {step}")
        return begun

    def _start(self, step: StartCold | faults.Restart) -> None:
        if isinstance(step, faults.Restart) and not (step.disk and step.peer_book):
            raise ValueError(f"cannot be done to real daemons: {step}")
        for number in step.hosts:
            self.observed.born.pop(number, None)
            network = self._network
            # The seed is launched first, so its port is known to the others.
            self._cluster.launch(
                f"n{number}",
                join=[self._daemon(seed) for seed in step.seeds if seed != number],
                host=network.host(number),
                port=network.port(number),
                through=network.through(number),
            )
            self._starting.add(number)
            self._frozen.discard(number)

    def _signal(self, number: int, step: faults.Crash | faults.Freeze | faults.Thaw | faults.Leave) -> None:
        daemon = self._daemon(number)
        match step:
            case faults.Crash():
                daemon.kill()
                self._gone(number)
            case faults.Freeze():
                self._frozen.add(number)
                daemon.stop()
            case faults.Thaw():
                daemon.cont()
            case faults.Leave():
                self._up.discard(number)
                self._leaving.add(number)
                daemon.signal(signal.SIGTERM)

    def _command(self, number: int, step: faults.Register | faults.Deregister) -> None:
        if isinstance(step, faults.Register):
            self._clients[number].call("register", name=step.service, id=step.id, port=step.port, kept=True)
        else:
            self._clients[number].call("deregister", id=step.id)

    def _daemon(self, number: int) -> Daemon:
        return self._cluster[f"n{number}"]

    # ------------------------------------------------------------------------------------------------------------- hearing

    def _greet(self, number: int) -> None:
        """Watch host *number* if its daemon answers by now and has said since when it is ready, which it does a little later."""
        daemon = self._daemon(number)
        if not daemon.running:
            raise RuntimeError(f"n{number} ended with {daemon.process.returncode}: {daemon.complaint()}")
        client = Client(daemon.socket, timeout_s=CALL_S)
        try:
            epoch = client.call("info")["info"]["epoch"]  # type: ignore[index]
            ready = daemon.log("daemon ready", epoch=epoch)  # of this run: the log is kept over restarts
            if ready:
                self._cpu_at_ready_ns[number] = self._cpu_ns(number)
                self._watchers.add(number, daemon.socket)
        except (RequestError, OSError):
            ready = []
        if not ready:
            client.close()
            return
        self._clients[number] = client
        self.observed.forget(number)
        ready_at = datetime.fromisoformat(ready[-1]["time"]).timestamp()
        self.observed.born[number] = time.monotonic() - (time.time() - ready_at)
        self._starting.discard(number)
        self._up.add(number)

    def _gone(self, number: int) -> None:
        """The process of host *number* has ended."""
        self._watchers.drop(number)
        client = self._clients.pop(number, None)
        if client is not None:
            client.close()
        self.observed.forget(number)
        self.observed.ended[number] = time.monotonic()
        for hosts in (self._up, self._leaving, self._starting):
            hosts.discard(number)

    def _hear(self, at: float, observer: int, event: Event) -> None:
        self._told += 1
        match event["type"]:
            case "snapshot":
                for row in event["members"]:
                    self.observed.hear_status(at, observer, _number(row["name"]), row["status"])
                for row in event["instances"]:
                    self.observed.hear_port(at, observer, _number(row["node"]), row["id"], row["port"])
            case "member":
                self.observed.hear_status(at, observer, _number(event["member"]["name"]), event["after"])
            case "up" | "changed" | "down":
                row = event["instance"]
                port = None if event["type"] == "down" else row["port"]
                self.observed.hear_port(at, observer, _number(row["node"]), row["id"], port)
            case "view":
                self.observed.hear_alone(at, observer, event["view"]["isolated"])
            case other:
                raise RuntimeError(f"n{observer} told {other!r}: this watch fell behind, so times would be wrong")

    # ------------------------------------------------------------------------------------------------------------- the load

    def effort(self, *, spared: Hosts = ()) -> Effort:
        """Return what all daemons that run, but for *spared*, and this process did since they began."""
        cpu_ns = inputs = 0
        for number in sorted(self._up.difference(spared)):
            cpu_ns += self._cpu_ns(number)
            statistics = self._ask(number, "statistics")["statistics"]
            inputs += statistics["datagrams_received"] + statistics["shell"]["wakes"]
        cpu_s = cpu_ns / 1e9 + time.process_time()
        return Effort(at_s=time.monotonic(), cpu_s=cpu_s, inputs=inputs, told=self._told)

    def start_s(self, number: int, *, quiet: float) -> float:
        """Return the processor time that host *number* took since it was ready, beyond *quiet* seconds in each second."""
        since_s = time.monotonic() - self.observed.born[number]
        return (self._cpu_ns(number) - self._cpu_at_ready_ns[number]) / 1e9 - quiet * since_s

    def _cpu_ns(self, number: int) -> int:
        schedstat = Path(f"/proc/{self._daemon(number).process.pid}/schedstat").read_text()  # one thread does it all
        return int(schedstat.split()[0])

    def round_trips_s(self) -> list[float]:
        """Return what each daemon measured of each other, as its rows tell."""
        rows: list[Any] = [row for number in sorted(self._up) for row in self._ask(number, "members")["members"]]
        return [row["rtt_ms"] / 1e3 for row in rows if row["rtt_ms"] is not None]

    def local_s(self, *, times: int) -> list[float]:
        """Return how long *times* small requests to each daemon took, one after another with pauses between them."""
        took = []
        for _ in range(times):
            for number in sorted(self._up):
                self.run(0.005)
                begun = time.monotonic()
                self._ask(number, "info")
                took.append(time.monotonic() - begun)
        return took

    def note_lag(self) -> float:
        """Ask every daemon that was never frozen how late its timers fired at worst; return the worst of all so far."""
        for number in sorted(self._up - self._frozen):
            self.worst_lag_s = max(
                self.worst_lag_s, self._ask(number, "statistics")["statistics"]["shell"]["worst_lag_s"]
            )
        return self.worst_lag_s

    def _ask(self, number: int, method: str) -> dict[str, Any]:
        return self._clients[number].call(method)


def _number(name: str) -> int:
    return int(name.removeprefix("n"))
