"""The world: a virtual clock, an event heap, and hosts that run the daemon's own Node on an invented network.

Real encoded and sealed bytes go from host to host. A process handles one thing at a time; what comes meanwhile waits in a bounded
buffer. Everything is drawn from one seed and happens in one order, so equal seeds give equal histories in any process:
`history_hash` sums up every input that any node had. What goes wrong is in `faults`, what must hold in `checkers`.
"""

import math
from collections.abc import Callable, Sequence
from random import Random

from gossipd.checks import Check
from gossipd.config import LAN, ProtocolConfig
from gossipd.crypto.keyring import Keyring
from gossipd.ids import Address
from gossipd.node.actions import Action
from gossipd.node.node import Node
from gossipd.node.registrations import Kept, KeptRegistration
from gossipd.node.view import KEPT
from gossipd.records import Service
from simulations import inside
from simulations.driving import Driving
from simulations.host import Disk, Host, HostSettings
from simulations.network import Topology
from simulations.watching import Watcher

KEYRING = Keyring((bytes(range(32)),))
"""The one key of a simulated cluster, known to everybody who reads this."""

WALL_CLOCK_MS = 1_700_000_000_000
"""What all wall clocks say when the world begins."""


class World(Driving):
    """*hosts* machines, numbered from 0; number n is called n<n>. Nothing runs before `start` or `start_warm`."""

    def __init__(
        self,
        hosts: int,
        *,
        seed: int,
        config: ProtocolConfig = LAN,
        topology: Topology | None = None,
        settings: HostSettings | None = None,
        keyring: Keyring | None = KEYRING,
        synchronous: bool = False,
        shared: bool = True,
        node_type: type[Node] = Node,
    ) -> None:
        """*synchronous*: all probe periods begin together, else each node has a phase of its own. *shared* False: let each
        node derive and decode all by itself, which is slower and changes nothing. *node_type* plants a bug."""
        if hosts < 1:
            raise ValueError(f"hosts={hosts!r}, expected 1 or more")
        super().__init__(hosts, seed=seed, topology=topology or Topology(), settings=settings or HostSettings())
        self.config = config
        self.synchronous = synchronous
        self.keyring = keyring
        self.rng = Random(f"{seed} story")
        """For stories and faults; the network and each process have their own."""
        self._node_type = node_type
        self._shared = inside.Shared() if shared else None

    def watch(self, watcher: Watcher) -> None:
        """Let *watcher* see what happens from now on."""
        self._add(watcher)
        watcher.begin(self)

    def running(self) -> list[Host]:
        """Return the hosts whose process exists, frozen ones included."""
        return [host for host in self.hosts if host.node is not None]

    # ------------------------------------------------------------------------------------------------------- life and death

    def start_warm(self, services: int = 0, *, late: int = 0) -> None:
        """Start all hosts at once but the last *late*, who are known to nobody; the others know each other as if they had
        met long ago, with nothing left to say.

        *services*: how many kept instances each has registered, called web.
        """
        nodes: list[Node] = []
        hosts = self.hosts[: len(self.hosts) - late]
        for host in hosts:
            kept = [Service(name="web", id=f"web-{at}", port=8_000 + at) for at in range(services)]
            host.disk.kept = Kept(registrations=tuple(KeptRegistration(service=service) for service in kept))
            nodes.append(self._make_node(host, seeds=()))
            nodes[-1].start(now=host.clock(self.now))
        clocks = [host.clock(self.now) for host in hosts]
        shared = self._shared is not None
        inside.warm(nodes, Random(f"{self.seed} phases"), clocks=clocks, shared=shared)
        for host, node in zip(hosts, nodes, strict=True):
            host.impaired_at = -math.inf  # it has been well for long
            self.beliefs.begin(host.number, knows=len(hosts))
            if self.synchronous:
                inside.synchronise(node, first_probe_at=host.clock(self.now + 1.0))
            self._arm(host)
        self.note("all hosts start warm" if not late else f"{len(hosts)} hosts start warm")

    def start(self, number: int, *, seeds: Sequence[int] = (), peers: bool = True) -> None:
        """Start the process of host *number* with what is on its disk; *seeds* are hosts to join through.

        *peers* False: the peer book is not read.
        """
        host = self.hosts[number]
        assert host.node is None, f"{host} runs already"
        node = self._make_node(host, seeds=[self.hosts[seed].address for seed in seeds], peers=peers)
        self.beliefs.begin(number, knows=0)
        actions = node.start(now=host.clock(self.now))
        if self.synchronous:
            inside.synchronise(node, first_probe_at=host.clock(math.floor(self.now) + 1.0))
        for watcher in self.watchers:
            watcher.on_start(host)
        self._perform(host, actions)
        self._arm(host)

    def _make_node(self, host: Host, *, seeds: Sequence[Address], peers: bool = True) -> Node:
        wall_ms = WALL_CLOCK_MS + int((self.now + host.wall_shift_s) * 1000)
        epoch = max(host.disk.epoch + 1, wall_ms, 1)
        host.disk.epoch = epoch  # on disk before anybody hears of it, as `shell.disk` does
        host.run += 1
        host.started_at = host.impaired_at = self.now
        host.frozen = host.blocked = False
        host.busy_until, host.armed = self.now, math.inf
        host.node = self._node_type(
            self.config,
            me=host.name,
            epoch=epoch,
            address=host.address,
            rng=Random(f"{self.seed} node {host.number} run {host.run}"),
            entropy=Random(f"{self.seed} entropy {host.number} run {host.run}").randbytes,
            now=host.clock(self.now),
            keyring=host.keyring or self.keyring,
            peers=host.disk.peers if peers else (),
            seeds=seeds,
            kept=host.disk.kept,
        )
        if self._shared is not None:
            self._shared.adopt(host.node)
        return host.node

    def stop(self, number: int, *, silent: bool = True) -> None:
        """End the process of host *number* without a word. *silent*: the machine is gone; else its kernel resets streams.

        Its peer book counts as saved at this moment; registrations and epoch as `Host.disk` has them.
        """
        host = self.hosts[number]
        if host.node is None:
            return
        host.disk.peers = tuple(host.node.peer_book(now=host.clock(self.now)))
        host.node = None
        host.silent = silent
        host.frozen = host.blocked = False
        host.waiting.clear()
        host.outbox.clear()
        host.waiting_bytes = host.outbox_bytes = 0
        host.armed = math.inf
        self.streams.reset_all(host)
        self.beliefs.end(number)
        for watcher in self.watchers:
            watcher.on_stop(host)

    def wipe(self, number: int) -> None:
        """Let host *number*, whose process does not run, lose its disk."""
        self.hosts[number].disk = Disk()

    def freeze(self, number: int) -> None:
        """Let nothing run on host *number*, as SIGSTOP does; datagrams wait in its buffer, its kernel answers streams."""
        host = self.hosts[number]
        host.frozen = host.node is not None
        host.slept_since = self.now

    def thaw(self, number: int) -> None:
        """Let a frozen process go on: late timers and waiting datagrams race, by `HostSettings.wake`."""
        host = self.hosts[number]
        if host.frozen:
            host.frozen = False
            host.impaired_at = self.now
            self._wake_at(host, self.now)
            self._resume_soon(host)

    def block(self, number: int) -> None:
        """Let sends and receives of host *number* stall, while its timers fire (Lifeguard's anomaly)."""
        host = self.hosts[number]
        host.blocked = host.node is not None
        host.slept_since = self.now

    def unblock(self, number: int) -> None:
        """Let what *host* wanted to send go out, then let it read what came."""
        host = self.hosts[number]
        if host.blocked:
            host.blocked = False
            host.impaired_at = self.now
            held = [action for action, _ in host.outbox]
            host.outbox.clear()
            host.outbox_bytes = 0
            self._perform(host, held)
            self._resume_soon(host)

    # ------------------------------------------------------------------------------------------------------------- commands

    def command(self, number: int, ask: Callable[[Node, float], Sequence[Action]]) -> bool:
        """Let *ask(node, its clock)* return actions, which are performed; False if there is no process to connect to.

        Of a frozen process it is asked when that goes on, in the order of asking, unless it is stopped before.
        """
        host = self.hosts[number]
        if host.node is None:
            return False
        if host.frozen or any(step == self._asked for step, *_ in host.waiting):
            host.waiting.append((self._asked, ask, None, 0))
        else:
            self._asked(host, ask, None)
        return True

    def _asked(self, host: Host, ask: Callable[[Node, float], Sequence[Action]], _: object) -> None:
        assert host.node is not None
        self._perform(host, ask(host.node, host.clock(self.now)))
        self._arm(host)

    def register(self, number: int, service: Service, *, checks: Sequence[Check] = ()) -> bool:
        """Register *service*, kept, with *checks* that bring what `Host.healths` says, on host *number*."""
        return self.command(number, lambda node, now: node.register(service, holder=KEPT, checks=checks, now=now)[1])

    def deregister(self, number: int, id: str) -> bool:
        """Withdraw instance *id* on host *number*."""
        return self.command(number, lambda node, now: node.deregister(id, now=now))

    def use_keyring(self, number: int, keyring: Keyring) -> None:
        """Let host *number* seal with the first key of *keyring* and open with all, now and after restarts."""
        host = self.hosts[number]
        host.keyring = keyring
        if host.node is not None:
            host.node.set_keyring(keyring, now=host.clock(self.now))

    def leave(self, number: int) -> bool:
        """Let host *number* say goodbye; its process ends when it has."""
        return self.command(number, lambda node, now: node.leave(now=now))
