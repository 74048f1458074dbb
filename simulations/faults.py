"""What goes wrong, and what people do meanwhile: frozen values that print as sentences. `apply` does one to a world.

Hosts are numbers. What lasts for a time ends by itself if *for_s* is given.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import assert_never

from gossipd.crypto.keyring import Keyring
from simulations.asking import Deregister, Hosts, Register, SetHealth, UseKeys, named
from simulations.network import GroupCut, Link, OneWayCut, RingCut, check_amounts, check_probabilities
from simulations.world import World

__all__ = (
    "Deregister",
    "Hosts",
    "Register",
    "SetHealth",
    "UseKeys",
    "named",
)  # which also belong here for whoever tells a story


def _lasting(for_s: float | None) -> str:
    return "" if for_s is None else f" for {for_s:g} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """*silent*: the whole machine is gone; else only the process, and its kernel refuses streams."""

    hosts: Hosts
    silent: bool = True

    def __str__(self) -> str:
        return f"{'crash' if self.silent else 'kill the process of'} {named(self.hosts)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """Start what does not run, and stop first what does. *disk*: epoch, peer book and kept registrations survived."""

    hosts: Hosts
    disk: bool = True
    peer_book: bool = True
    seeds: Hosts = (0,)

    def __str__(self) -> str:
        lost = "" if self.disk else " without its disk"
        return f"restart {named(self.hosts)}{lost}{'' if self.peer_book else ' without its peer book'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    hosts: Hosts

    def __str__(self) -> str:
        return f"let {named(self.hosts)} leave"


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """Nothing runs, as under SIGSTOP; datagrams wait in the buffer."""

    hosts: Hosts
    for_s: float | None = None

    def __post_init__(self) -> None:
        check_amounts(for_s=self.for_s)

    def __str__(self) -> str:
        return f"freeze {named(self.hosts)}{_lasting(self.for_s)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thaw:
    hosts: Hosts

    def __str__(self) -> str:
        return f"let {named(self.hosts)} go on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Timers fire, sends and receives stall."""

    hosts: Hosts
    for_s: float | None = None

    def __post_init__(self) -> None:
        check_amounts(for_s=self.for_s)

    def __str__(self) -> str:
        return f"block the sockets of {named(self.hosts)}{_lasting(self.for_s)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unblock:
    hosts: Hosts

    def __str__(self) -> str:
        return f"unblock the sockets of {named(self.hosts)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Only those who share a group hear each other; who is in two groups is a bridge, who is in none hears all."""

    groups: tuple[Hosts, ...]
    name: str = "cut"

    def __str__(self) -> str:
        return "cut " + " from ".join(named(group) for group in self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOneWay:
    sources: Hosts
    targets: Hosts
    name: str = "one way"

    def __str__(self) -> str:
        return f"let nothing get from {named(self.sources)} to {named(self.targets)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CutRing:
    """Everybody hears only the *reach* next hosts on either side."""

    reach: int
    name: str = "ring"

    def __post_init__(self) -> None:
        check_amounts(reach=self.reach)

    def __str__(self) -> str:
        return f"let everybody hear only the {self.reach} next on either side of a ring"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flap:
    """Cut *groups* for *cut_s*, heal for *healed_s*, *times* times; a heal of all or of its *name*, and another flap of
    that name, end it."""

    groups: tuple[Hosts, ...]
    cut_s: float
    healed_s: float
    times: int
    name: str = "flap"

    def __post_init__(self) -> None:
        check_amounts(cut_s=self.cut_s, healed_s=self.healed_s, times=self.times)

    def __str__(self) -> str:
        groups = " from ".join(named(group) for group in self.groups)
        return f"{self.times} times: cut {groups} for {self.cut_s:g} s, heal for {self.healed_s:g} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heal:
    """Take away the cut, or end the flap, called *name*; None: all of them."""

    name: str | None = None

    def __str__(self) -> str:
        return "heal" if self.name is None else f"heal the {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lose:
    """*hosts* lose that part of what they receive and send, on their own interface."""

    hosts: Hosts
    incoming: float
    outgoing: float

    def __post_init__(self) -> None:
        check_probabilities(incoming=self.incoming, outgoing=self.outgoing)

    def __str__(self) -> str:
        return (
            f"let {named(self.hosts)} lose {self.incoming:.0%} of what comes in, {self.outgoing:.0%} of what goes out"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SetLink:
    """Let *link* hold from all *sources* to all *targets*; None: from everybody to everybody."""

    link: Link
    sources: Hosts | None = None
    targets: Hosts | None = None

    def __str__(self) -> str:
        who = (
            "all" if self.sources is None or self.targets is None else f"{named(self.sources)} to {named(self.targets)}"
        )
        link = self.link
        return f"links of {who}: {link.delay_s * 1e3:g} ms + {link.jitter_s * 1e3:g} ms, loss {link.loss:.0%}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowDown:
    """*cpu_s* for each datagram that *hosts* handle; None: what all others take."""

    hosts: Hosts
    cpu_s: float | None

    def __post_init__(self) -> None:
        check_amounts(cpu_s=self.cpu_s)

    def __str__(self) -> str:
        pace = "as quick as others" if self.cpu_s is None else f"take {self.cpu_s * 1e3:g} ms for each datagram"
        return f"let {named(self.hosts)} {pace if self.cpu_s is not None else 'be ' + pace}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowDisk:
    hosts: Hosts
    disk_s: float

    def __post_init__(self) -> None:
        check_amounts(disk_s=self.disk_s)

    def __str__(self) -> str:
        return f"let the disks of {named(self.hosts)} take {self.disk_s:g} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetClockBack:
    """The wall clock that makes epochs; the monotonic one goes on."""

    hosts: Hosts
    by_s: float

    def __post_init__(self) -> None:
        check_amounts(by_s=self.by_s)

    def __str__(self) -> str:
        return f"set the wall clocks of {named(self.hosts)} back by {self.by_s:g} s"


Fault = (
    Crash
    | Restart
    | Leave
    | Freeze
    | Thaw
    | Block
    | Unblock
    | Cut
    | CutOneWay
    | CutRing
    | Flap
    | Heal
    | Lose
    | SetLink
    | SlowDown
    | SlowDisk
    | SetClockBack
    | Register
    | Deregister
    | SetHealth
    | UseKeys
)


def keyring_of(keys: Sequence[int]) -> Keyring:
    """Return the keyring of numbered keys; 0 is the one that every world begins with."""
    return Keyring(tuple(bytes((key + at) % 256 for at in range(32)) for key in keys))


def apply(world: World, fault: Fault) -> None:
    """Do *fault* to *world* now."""
    world.note(str(fault))
    match fault:
        case Crash() | Restart() | Leave():
            _to_processes(world, fault)
        case Freeze() | Thaw() | Block() | Unblock():
            _to_life(world, fault)
        case Cut() | CutOneWay() | CutRing() | Flap() | Heal():
            _to_cuts(world, fault)
        case Lose() | SetLink() | SlowDown() | SlowDisk() | SetClockBack():
            _to_hardware(world, fault)
        case Register() | Deregister() | SetHealth() | UseKeys():
            _to_commands(world, fault)
        case _:
            assert_never(fault)


def _to_processes(world: World, fault: Crash | Restart | Leave) -> None:
    for number in fault.hosts:
        match fault:
            case Crash():
                world.stop(number, silent=fault.silent)
            case Restart():
                world.stop(number, silent=False)
                if not fault.disk:
                    world.wipe(number)
                seeds = [seed for seed in fault.seeds if seed != number]
                world.start(number, seeds=seeds, peers=fault.peer_book)
            case Leave():
                world.leave(number)


def _to_life(world: World, fault: Freeze | Thaw | Block | Unblock) -> None:
    match fault:
        case Freeze():
            _each(fault.hosts, world.freeze)
            if fault.for_s is not None:
                _later(world, fault.for_s, Thaw(hosts=fault.hosts))
        case Thaw():
            _each(fault.hosts, world.thaw)
        case Block():
            _each(fault.hosts, world.block)
            if fault.for_s is not None:
                _later(world, fault.for_s, Unblock(hosts=fault.hosts))
        case Unblock():
            _each(fault.hosts, world.unblock)


def _to_cuts(world: World, fault: Cut | CutOneWay | CutRing | Flap | Heal) -> None:
    count, network, now = len(world.hosts), world.network, world.now
    match fault:
        case Cut():
            network.cut(fault.name, GroupCut(count, fault.groups), now=now)
        case CutOneWay():
            network.cut(fault.name, OneWayCut(count, fault.sources, fault.targets), now=now)
        case CutRing():
            network.cut(fault.name, RingCut(count, fault.reach), now=now)
        case Heal():
            network.heal(fault.name, now=now)
        case Flap():
            going_on = network.flaps[fault.name] = object()
            for round in range(fault.times):
                at = now + round * (fault.cut_s + fault.healed_s)
                world.schedule(at, _flap, world, fault, going_on)
                world.schedule(at + fault.cut_s, _lift, world, fault, going_on)


def _flap(world: World, flap: Flap, going_on: object) -> None:
    if world.network.flaps.get(flap.name) is going_on:
        apply(world, Cut(groups=flap.groups, name=flap.name))


def _lift(world: World, flap: Flap, going_on: object) -> None:
    if world.network.flaps.get(flap.name) is going_on:
        world.note(str(Heal(name=flap.name)))
        world.network.lift(flap.name, now=world.now)


def _to_hardware(world: World, fault: Lose | SetLink | SlowDown | SlowDisk | SetClockBack) -> None:
    if isinstance(fault, SetLink):
        if fault.sources is None or fault.targets is None:
            world.network.set_all(fault.link)
            return
        for source in fault.sources:
            for target in fault.targets:
                world.network.set_link(source, target, fault.link)
        return
    for number in fault.hosts:
        host = world.hosts[number]
        match fault:
            case Lose():
                world.network.set_loss(number, incoming=fault.incoming, outgoing=fault.outgoing)
                host.impaired_at = world.now
            case SlowDown():
                host.cpu_s = world.settings.cpu_s if fault.cpu_s is None else fault.cpu_s
                host.impaired_at = world.now
            case SlowDisk():
                host.disk_s = fault.disk_s
            case SetClockBack():
                host.wall_shift_s -= fault.by_s


def _to_commands(world: World, fault: Register | Deregister | SetHealth | UseKeys) -> None:
    for number in fault.hosts:
        match fault:
            case Register():
                world.register(number, fault.instance(), checks=fault.checks())
            case Deregister():
                world.deregister(number, fault.id)
            case SetHealth():
                world.hosts[number].healths[fault.id] = fault.health
            case UseKeys():
                world.use_keyring(number, keyring_of(fault.keys))


def _each(hosts: Hosts, do: Callable[[int], None]) -> None:
    for number in hosts:
        do(number)


def _later(world: World, in_s: float, fault: Fault) -> None:
    world.schedule(world.now + in_s, _apply_later, world, fault)


def _apply_later(world: World, fault: Fault, _: object) -> None:
    apply(world, fault)
