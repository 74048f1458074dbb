"""How a world drives its nodes: inputs and timers go in, actions come out and are done. Who lives and dies is in `world`."""

import heapq
import math
from collections.abc import Sequence
from random import Random
from typing import Any, assert_never

from gossipd.checks import CheckResult
from gossipd.core.events import EpochRaised, Event, LeaveFinished, MemberChanged, RegistrationsChanged
from gossipd.ids import Address, NodeId
from gossipd.node.actions import (
    Action,
    CancelCheck,
    CloseStream,
    OpenStream,
    Publish,
    RunCheck,
    SendDatagram,
    SendStream,
    UnwatchPid,
    WatchPid,
)
from gossipd.node.registrations import Kept
from gossipd.records import Health
from simulations.beliefs import UNKNOWN, Beliefs
from simulations.engine import EVENT, RECEIVED, STREAMED, WOKEN, Engine
from simulations.host import Host, HostSettings, WakeOrder, address_of
from simulations.network import IP_UDP_BYTES, Network, Topology, kernel_bytes
from simulations.streams import SEGMENT_BYTES, Streams, Turn

LATE_S = 0.05
DRAINED_MAX = 64
"""From this lateness on the driver reads so many waiting datagrams before a late timer (gossipd's `shell.driver`, `shell.udp`)."""


class Driving(Engine):
    """Hosts and what lies between them."""

    def __init__(self, hosts: int, *, seed: int, topology: Topology, settings: HostSettings) -> None:
        super().__init__()
        self.seed = seed
        self.settings = settings
        self.network = Network(topology, hosts, Random(f"{seed} network"))
        self.beliefs = Beliefs(hosts)
        self.streams = Streams(self)
        self.hosts = [self._make_host(number, Random(f"{seed} host {number}")) for number in range(hosts)]
        self._by_address = {host.address: host for host in self.hosts}
        self.number_of = {host.name: host.number for host in self.hosts}

    def stop(self, number: int, *, silent: bool = True) -> None:
        """End the process of host *number*."""
        raise NotImplementedError

    def _make_host(self, number: int, rng: Random) -> Host:
        drift = self.settings.drift
        return Host(
            number=number,
            name=NodeId(f"n{number}"),
            address=address_of(number),
            rate=1.0 + rng.uniform(-drift, drift) if drift else 1.0,
            shift=float(rng.randrange(1, 1_000)),
            cpu_s=self.settings.cpu_s,
            disk_s=self.settings.disk_s,
        )

    # ---------------------------------------------------------------------------------------------------------- inputs

    def give(self, host: Host, step: Turn, a: Any, b: Any, size: int) -> None:
        """Let the process of *host* take an input of *size* bytes of a stream in its turn: ``step(host, a, b)``."""
        if host.node is None:
            return
        if host.busy_until > self.now or host.waiting or host.frozen or host.blocked:
            host.waiting.append((self._turn, step, (a, b, size), 0))
            self._resume_soon(host)
        else:
            self._turn(host, step, (a, b, size))

    def _turn(self, host: Host, step: Turn, of: tuple[Any, Any, int]) -> None:
        a, b, size = of
        self.record(STREAMED, host.number, size)
        host.busy_until = self.now + host.cpu_s * (1 + size // SEGMENT_BYTES)
        self._after(host, step(host, a, b))

    def _arrive(self, host: Host, data: bytes, source: Address) -> None:
        """A datagram is at the interface of *host*."""
        if host.node is None:
            return
        host.traffic.datagrams_in += 1
        host.traffic.bytes_in += len(data) + IP_UDP_BYTES
        if host.busy_until > self.now or host.waiting or host.frozen or host.blocked:
            size = kernel_bytes(len(data))
            if host.waiting_bytes + size > self.settings.receive_buffer_bytes:
                host.traffic.overflowed += 1
                return
            host.waiting.append((self._datagram, data, source, size))
            host.waiting_bytes += size
            self._resume_soon(host)
        else:
            self._datagram(host, data, source)

    def _datagram(self, host: Host, data: bytes, source: Address) -> None:
        node, now = host.node, self.now
        assert node is not None
        self.record(RECEIVED, host.number, len(data))
        self.log += data[-8:]  # of the seal's tag, which covers all the rest
        host.busy_until = now + host.cpu_s
        self._after(host, node.receive_datagram(data, source, now=now * host.rate + host.shift))

    def _after(self, host: Host, actions: Sequence[Action]) -> None:
        if actions:
            self._perform(host, actions)
        self._arm(host)
        for look in self.looking:
            look(host)

    def _resume_soon(self, host: Host) -> None:
        if not host.resuming and host.waiting and not (host.frozen or host.blocked):
            host.resuming = True
            self.schedule(max(self.now, host.busy_until), self._resume, host)

    def _resume(self, host: Host, _: object, __: object) -> None:
        host.resuming = False
        if host.waiting and not (host.frozen or host.blocked) and host.busy_until <= self.now:
            self._take_waiting(host)
        self._resume_soon(host)

    def _take_waiting(self, host: Host) -> None:
        step, a, b, size = host.waiting.popleft()
        host.waiting_bytes -= size
        step(host, a, b)

    # --------------------------------------------------------------------------------------------------------------- timers

    def _arm(self, host: Host) -> None:
        """See to it that *host* is woken at its next deadline; later ones than the armed are found when that fires."""
        if host.node is None or host.frozen:
            return
        at = (host.node.next_deadline() - host.shift) / host.rate
        if at < host.armed:
            self._wake_at(host, max(at, self.now))

    def _wake_at(self, host: Host, at: float) -> None:
        host.armed = at
        heapq.heappush(self.heap, (at, next(self.order), self._wake, host, at, None))

    def _wake(self, host: Host, at: float, _: object) -> None:
        if at != host.armed:
            return  # an earlier one was armed meanwhile
        host.armed = math.inf
        node = host.node
        if node is None or host.frozen:
            return
        if host.busy_until > self.now:
            self._wake_at(host, host.busy_until)
            return
        clock = host.clock(self.now)
        late_s = clock - node.next_deadline()
        if late_s < 0:
            if late_s < -1e-9:
                self._arm(host)
                return
            clock -= late_s  # the clock's rate, rounded
        elif late_s >= LATE_S and host.waiting and not host.blocked:
            self._drain(host)
            if host.node is not node:
                return
        self.record(WOKEN, host.number, 0)
        host.busy_until = max(host.busy_until, self.now) + host.cpu_s
        self._after(host, node.handle_timer(now=clock))

    def _drain(self, host: Host) -> None:
        """A timer is late: read first what waits, as far as the wake order says."""
        wake = self.settings.wake
        most = {WakeOrder.DRIVER: DRAINED_MAX, WakeOrder.TIMERS: 0, WakeOrder.DATAGRAMS: len(host.waiting)}[wake]
        busy_until = self.now
        for _ in range(min(most, len(host.waiting))):
            self._take_waiting(host)
            busy_until += host.cpu_s
        host.busy_until = busy_until

    # -------------------------------------------------------------------------------------------------------------- actions

    def _perform(self, host: Host, actions: Sequence[Action]) -> None:
        """Do what the process of *host* wants, in order."""
        for action in actions:
            if host.blocked and not isinstance(action, Publish):
                self._hold(host, action)
                continue
            match action:
                case SendDatagram():
                    self._send(host, action)
                case Publish():
                    self._publish(host, action.event)
                case SendStream():
                    self.streams.send(host, action)
                case CloseStream():
                    self.streams.close(host, action)
                case OpenStream():
                    self.streams.open(host, action, self._by_address.get(action.target))
                case RunCheck():
                    self.schedule(self.now + self.settings.check_s, self._checked, host, host.run, action)
                case CancelCheck() | WatchPid() | UnwatchPid():
                    pass  # what a cancelled run brings is ignored; no process is modelled
                case _:
                    assert_never(action)

    def _checked(self, host: Host, run: int, action: RunCheck) -> None:
        """A try of a check is over, and brings what the story says."""
        if host.run == run and host.node is not None:
            health = host.healths.get(action.service.id, Health.PASSING)
            result = CheckResult(health=health, output=f"the story says {health.name.lower()}")
            self.give(host, self._take_result, action.run, result, 0)

    def _take_result(self, host: Host, run: int, result: CheckResult) -> Sequence[Action]:
        assert host.node is not None
        return host.node.check_finished(run, result, now=host.clock(self.now))

    def _hold(self, host: Host, action: Action) -> None:
        """A blocked process tries to send: into the socket's buffer, which is as large as the one for receiving.

        What it closes before it was connected never is, so that no more streams wait than a process may have open.
        """
        if isinstance(action, SendDatagram):
            size = kernel_bytes(len(action.data)) * len(action.targets)
            if host.outbox_bytes + size > self.settings.receive_buffer_bytes:
                host.traffic.unsent += len(action.targets)
            else:
                host.outbox.append((action, size))
                host.outbox_bytes += size
            return
        if isinstance(action, CloseStream):
            opening = (held for held, _ in host.outbox if isinstance(held, OpenStream) and held.stream == action.stream)
            given_up = next(opening, None)
            if given_up is not None:
                host.outbox.remove((given_up, 0))
                host.traffic.unsent += 1
                return
        host.outbox.append((action, 0))

    def _send(self, host: Host, action: SendDatagram) -> None:
        data, network, source = action.data, self.network, host.number
        size = len(data) + IP_UDP_BYTES
        traffic = host.traffic
        at = max(self.now, host.busy_until, host.nic_free_at)
        for address in action.targets:
            traffic.datagrams_out += 1
            traffic.bytes_out += size
            target = self._by_address.get(address)
            if target is None:
                continue
            at += size / self.settings.nic_bytes_per_s
            arrives = network.transit(source, target.number, size, at)
            if arrives != math.inf:
                heapq.heappush(self.heap, (arrives, next(self.order), self._arrive, target, data, host.address))
                if network.duplicated(source, target.number):
                    again = network.transit(source, target.number, size, at)
                    self.schedule(again, self._arrive, target, data, host.address)
        host.nic_free_at = at

    def _publish(self, host: Host, event: Event) -> None:
        match event:
            case MemberChanged():
                subject = self.number_of.get(event.member, -1)
                self.record(EVENT, host.number, subject * 8 + (UNKNOWN if event.after is None else event.after))
                if subject >= 0:
                    self.beliefs.note(host.number, subject, event)
            case RegistrationsChanged() | EpochRaised():
                self.schedule(self.now + host.disk_s, self._saved, host, host.run, self._to_save(host))
            case LeaveFinished():
                self.schedule(self.now, self._left, host, host.run)
            case _:
                pass
        for hear in self.hearing:
            hear(host, event)

    def _to_save(self, host: Host) -> tuple[int, Kept]:
        assert host.node is not None
        return host.node.epoch, host.node.kept(now=host.clock(self.now))

    def _saved(self, host: Host, run: int, saved: tuple[int, Kept]) -> None:
        if host.run == run and host.node is not None:
            host.disk.epoch, host.disk.kept = max(host.disk.epoch, saved[0]), saved[1]

    def _left(self, host: Host, run: int, _: object) -> None:
        if host.run == run and host.node is not None:
            self.stop(host.number, silent=False)
