"""The simulated side: worlds on the machine that was measured, heard as a watch on each daemon would tell.

What the lab does not model by itself is given to it here: hosts that share the cores of one machine, what an input costs them, how
long packets take, and how long local sockets take to tell.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heapreplace
from random import Random
from statistics import median

import numpy as np

from gossipd.config import ProtocolConfig
from gossipd.core.events import Event, IsolationChanged, MemberChanged, RecordChanged
from gossipd.records import Record, Service, Status
from gossipd.wire.records import SERVICE_KEY_PREFIX
from simulations import faults
from simulations.faults import Fault
from simulations.host import Host, HostSettings
from simulations.network import Link, Topology
from simulations.reality.observed import ALIVE, FAILED, LEFT, SUSPECT, Observed
from simulations.reality.trials import Play, Samples, hosts_of
from simulations.steps import StartCold
from simulations.watching import Watcher
from simulations.world import World

STATUSES = {Status.ALIVE: ALIVE, Status.SUSPECT: SUSPECT, Status.DEAD: FAILED, Status.LEFT: LEFT}


CPU_S = HostSettings().cpu_s
"""Processor time of a datagram or a timer: the lab's own figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine on which all daemons run, as measured while they ran there."""

    cores: int
    told_s: float
    """Mean processor time of records that one input changes: to send them on and to tell them to a watch, which is read on the
    same machine. Drawn from an exponential distribution, since others use the processors too. All else takes CPU_S."""
    member_s: float
    """The same of members that one input changes, with what they publish."""
    start_s: float
    """The same of a process that is ready, beyond what it hears: code that runs for the first time, and a watch that begins."""
    link: Link
    """From one daemon to another, with the wait for a processor that others use, but without CPU_S."""
    local_s: tuple[float, ...]
    """Half the round trips on local sockets: how late a command is taken, and a change told. Drawn from at random."""

    def __str__(self) -> str:
        least_s, most_s = self.link.delay_s, self.link.delay_s + self.link.jitter_s
        return (
            f"{self.cores} cores for all daemons; {self.told_s * 1e3:.1f} ms of processor for what changes records, "
            f"{self.member_s * 1e3:.1f} ms for what changes a member, {self.start_s * 1e3:.1f} ms for a start, "
            f"{CPU_S * 1e6:.0f} µs for anything else; {least_s * 1e3:.2f} to {most_s * 1e3:.2f} ms from one to another, "
            f"one packet in ten up to {self.link.reorder_s * 1e3:.1f} ms later; "
            f"{median(self.local_s) * 1e3:.1f} ms until a watch is told"
        )


def link_of(round_trips_s: Sequence[float]) -> Link:
    """Return a link with round trips like *round_trips_s*, of which CPU_S goes to each end.

    The least and the median are as measured; one packet in ten is held back, which makes the tail of a busy machine.
    """
    least, half, late = (float(at) for at in np.quantile(round_trips_s, (0.02, 0.5, 0.95)))
    delay_s = max(0.000_02, least / 2 - CPU_S)
    jitter_s = half - least
    return Link(delay_s=delay_s, jitter_s=jitter_s, reorder=0.1, reorder_s=max(0.0, late - half))


class SharedCores(Watcher):
    """Lets all hosts share the cores of *machine*: while all are taken, nobody begins anything.

    It alone watches and changes what happens: the lab gives each host a processor of its own.
    """

    def __init__(self, machine: Machine, rng: Random) -> None:
        self._free_at = [0.0] * machine.cores
        self._machine = machine
        self._rng = rng
        self._charged: dict[int, float] = {}
        """When an input that changed something last took time of each host."""

    def on_start(self, host: Host) -> None:
        self._charge(host, self._machine.start_s)

    def on_event(self, host: Host, event: Event) -> None:
        now = self.world.now
        mean_s = self._machine.member_s if isinstance(event, MemberChanged) else self._machine.told_s
        if isinstance(event, MemberChanged | RecordChanged) and self._charged.get(host.number) != now:
            self._charged[host.number] = now
            self._charge(host, mean_s)

    def _charge(self, host: Host, mean_s: float) -> None:
        if mean_s:
            host.busy_until = max(self.world.now, host.busy_until) + self._rng.expovariate(1 / mean_s)

    def on_input(self, host: Host) -> None:
        now = self.world.now
        heapreplace(self._free_at, max(now, host.busy_until))
        free_at = self._free_at[0]
        if free_at > now:
            for other in self.world.hosts:
                other.busy_until = max(other.busy_until, free_at)


class Listener(Watcher):
    """Writes what nodes publish into an `Observed`."""

    def __init__(self, observed: Observed, late_s: Callable[[], float]) -> None:
        self.observed = observed
        self._late_s = late_s

    def on_event(self, host: Host, event: Event) -> None:
        now, number_of = self.world.now + self._late_s(), self.world.number_of
        match event:
            case MemberChanged():
                status = None if event.after is None else STATUSES[event.after]
                self.observed.hear_status(now, host.number, number_of[event.member], status)
            case RecordChanged() if event.key.startswith(SERVICE_KEY_PREFIX):
                id = event.key.removeprefix(SERVICE_KEY_PREFIX)
                self.observed.hear_port(now, host.number, number_of[event.owner], id, _port(event.after))
            case IsolationChanged():
                self.observed.hear_alone(now, host.number, event.isolated)
            case _:
                pass

    def on_start(self, host: Host) -> None:
        self.observed.forget(host.number)
        self.observed.born[host.number] = self.world.now

    def on_stop(self, host: Host) -> None:
        self.observed.forget(host.number)
        self.observed.ended[host.number] = self.world.now


class SimulatedStage:
    """Trials in *world*, where nothing runs yet."""

    def __init__(self, world: World, machine: Machine) -> None:
        self.world = world
        self.hosts = len(world.hosts)
        self.observed = Observed()
        self._leaving: set[int] = set()
        self._late_s = partial(Random(f"{world.seed} local").choice, machine.local_s)
        world.watch(Listener(self.observed, self._late_s))
        world.watch(SharedCores(machine, Random(f"{world.seed} cores")))

    @property
    def running(self) -> set[int]:
        return {host.number for host in self.world.running()} - self._leaving

    def do(self, step: Fault | StartCold) -> float:
        begun = self.world.now
        match step:
            case StartCold():
                for number in step.hosts:
                    self.world.start(number, seeds=[seed for seed in step.seeds if seed != number])
            case faults.Register() | faults.Deregister():
                self.world.run(self._late_s())
                faults.apply(self.world, step)
            case _:
                if isinstance(step, faults.Restart):
                    self._leaving -= set(step.hosts)
                faults.apply(self.world, step)
                if isinstance(step, faults.Leave):
                    self._leaving |= set(step.hosts)
        return begun

    def run(self, seconds: float) -> None:
        self.world.run(seconds)

    def run_until(self, holds: Callable[[], bool], *, within_s: float) -> bool:
        return self.world.run_until(holds, within_s=within_s) is not None


def simulate(
    config: ProtocolConfig, machine: Machine, trials: Sequence[str], *, nodes: int, seed: int, once: bool = False
) -> Samples:
    """Return what *trials* measure among *nodes* daemons in the world of *seed*, on *machine*."""
    world = World(hosts_of(trials, nodes), seed=seed, config=config, topology=Topology(link=machine.link))
    play = Play(SimulatedStage(world, machine), nodes=nodes, rng=Random(f"{seed} trials"), once=once)
    play.start()
    for name in trials:
        play.trial(name)
    return play.samples


def _port(record: Record | None) -> int | None:
    return record.content.port if record is not None and isinstance(record.content, Service) else None
