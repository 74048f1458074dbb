"""One machine: a process that may run, and the clock, processor, receive buffer and disk that it has.

Only holds what is so; `world` decides what happens.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from gossipd.crypto.keyring import Keyring
from gossipd.ids import Address, NodeId
from gossipd.node.node import Node
from gossipd.node.peers import PeerEntry
from gossipd.node.registrations import NOTHING_KEPT, Kept
from gossipd.records import Health

PORT = 7946

RECEIVE_BUFFER_BYTES = 212_992
"""Linux's default receive buffer (net.core.rmem_default), as the kernel counts: see `network.kernel_bytes`."""


class WakeOrder(Enum):
    """Who is first when a frozen process wakes to late timers and queued datagrams."""

    DRIVER = "driver"
    """As gossipd's driver does: a timer that is 50 ms late lets up to 64 waiting datagrams be read before it."""
    TIMERS = "timers"
    DATAGRAMS = "datagrams"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """What every host of a world is like at birth."""

    cpu_s: float = 0.000_05
    """Seconds of processor for one datagram, and for each 1,448 bytes of a stream: one thing at a time, the rest waits. A
    daemon takes about as much for each packet of a burst."""
    receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES
    nic_bytes_per_s: float = 125e6
    """What the interface sends: 1 Gb/s."""
    drift: float = 0.0
    """Most by which a host's clock runs fast or slow, as a part: 50e-6 is a cheap quartz. Drawn uniformly for each host."""
    wake: WakeOrder = WakeOrder.DRIVER
    check_s: float = 0.005
    """Seconds that a try of a health check takes."""
    disk_s: float = 0.0
    """Seconds until what is to be saved is on disk; a crash before loses it."""

    def __post_init__(self) -> None:
        for name in ("cpu_s", "receive_buffer_bytes", "drift", "check_s", "disk_s"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"host.{name}={getattr(self, name)!r}, expected 0 or more")
        if not self.nic_bytes_per_s > 0 or self.drift >= 0.5:
            raise ValueError("host: nic_bytes_per_s is to be above 0 and drift below 0.5")


@dataclass(slots=True)
class Disk:
    """What survives the process."""

    epoch: int = 0
    kept: Kept = NOTHING_KEPT
    peers: tuple[PeerEntry, ...] = ()


@dataclass(slots=True)
class Traffic:
    """Bytes with all headers: 28 for a datagram, 40 for each segment of a stream and for each acknowledgement."""

    datagrams_out: int = 0
    datagrams_in: int = 0
    bytes_out: int = 0
    bytes_in: int = 0
    stream_bytes_out: int = 0
    stream_bytes_in: int = 0
    overflowed: int = 0
    """Datagrams that found the receive buffer full."""
    unsent: int = 0
    """Of a blocked process: datagrams that found its outbox full, and streams that it gave up before they could begin."""


Input = tuple[Callable[..., None], Any, Any, int]
"""Something that waits for the process: what to call with the host and two arguments, and the kernel's bytes it holds."""


@dataclass(slots=True, eq=False)
class Host:
    """Number *number*, at *address*; *node* None: the process does not run."""

    number: int
    name: NodeId
    address: Address
    rate: float
    """Seconds of its clock in a second of the world."""
    shift: float
    """Its clock when the world began."""
    cpu_s: float
    node: Node | None = None
    run: int = 0
    """How many processes were started here; events of an earlier one are void."""
    started_at: float = 0.0
    silent: bool = True
    """While no process runs: whether the machine is gone (nobody refuses streams), or just the process."""
    armed: float = math.inf
    """The earliest wake-up in the heap."""
    frozen: bool = False
    blocked: bool = False
    """Sends and receives stall, timers fire."""
    busy_until: float = 0.0
    resuming: bool = False
    """Whether there is an event in the heap that takes up *waiting*."""
    waiting: deque[Input] = field(default_factory=deque)
    waiting_bytes: int = 0
    outbox: deque[tuple[Any, int]] = field(default_factory=deque)
    """Actions that a blocked process wanted done, with their bytes."""
    outbox_bytes: int = 0
    nic_free_at: float = 0.0
    disk: Disk = field(default_factory=Disk)
    disk_s: float = 0.0
    wall_shift_s: float = 0.0
    """By how much its wall clock, which makes epochs, is ahead; negative: set back."""
    healths: dict[str, Health] = field(default_factory=dict)
    """What tries of the checks of an instance bring, by its id; of others: passing."""
    keyring: Keyring | None = None
    """Its own, if it was given one; else the world's."""
    traffic: Traffic = field(default_factory=Traffic)
    slept_since: float = 0.0
    impaired_at: float = -math.inf
    """When a fault last held it: frozen, blocked, slow or with a process restarted."""

    @property
    def up(self) -> bool:
        """Whether its process exists; it may be frozen."""
        return self.node is not None

    @property
    def well(self) -> bool:
        """Whether its process exists and runs."""
        return self.node is not None and not self.frozen and not self.blocked

    def clock(self, now: float) -> float:
        """Return its monotonic clock when the world's says *now*."""
        return now * self.rate + self.shift

    def __repr__(self) -> str:
        return f"<{self.name}{'' if self.up else ' down'}{' frozen' if self.frozen else ''}>"


def address_of(number: int) -> Address:
    """Return where host *number* listens."""
    return Address(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", PORT)
