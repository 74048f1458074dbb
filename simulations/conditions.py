"""What a story may expect: frozen values that print as sentences and can be looked up in a world at any moment.

Only hosts whose process runs well are asked; a frozen one has no opinion.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gossipd.records import Health
from gossipd.wire.records import SERVICE_KEY_PREFIX
from simulations import inside
from simulations.beliefs import DEAD, SUSPECT, WORDS
from simulations.faults import Hosts, named
from simulations.world import World


class Condition(Protocol):
    """Prints as what it says; looks and changes nothing."""

    def holds(self, world: World) -> bool: ...


def agree(world: World, hosts: Sequence[int] | None = None) -> bool:
    """Return whether all well-running hosts, or those of *hosts*, hold the same claims and records."""
    asked = [world.hosts[number] for number in (range(len(world.hosts)) if hosts is None else hosts)]
    nodes = [host.node for host in asked if host.well and host.node is not None]
    if len(nodes) < 2:
        return True
    first = inside.root(nodes[0])
    return all(inside.root(node) == first for node in reversed(nodes))


@dataclass(frozen=True, slots=True, kw_only=True)
class AllAgree:
    """Views and catalogs are equal everywhere, or among *hosts*."""

    hosts: Hosts | None = None

    def __str__(self) -> str:
        where = "everywhere" if self.hosts is None else f"among {named(self.hosts)}"
        return f"views and catalogs equal {where}"

    def holds(self, world: World) -> bool:
        return agree(world, self.hosts)


@dataclass(frozen=True, slots=True, kw_only=True)
class AllSee:
    """Every well-running host sees instance *id* of *owner* with this *health*, and *damped* or not."""

    owner: int
    health: Health
    damped: bool
    id: str = "web-1"

    def __str__(self) -> str:
        held_out = ", held out" if self.damped else ""
        return f"everybody to see {self.id} on {named((self.owner,))} {self.health.name.lower()}{held_out}"

    def holds(self, world: World) -> bool:
        owner = world.hosts[self.owner].name
        states = [
            inside.state(host.node, owner, self.id) for host in world.hosts if host.well and host.node is not None
        ]
        return all(state is not None and (state.health, state.damped) == (self.health, self.damped) for state in states)


@dataclass(frozen=True, slots=True, kw_only=True)
class AllBelieve:
    """Every well-running host (of *observers*) believes *status* of each of *subjects*, itself aside."""

    subjects: Hosts
    status: int
    observers: Hosts | None = None

    def __str__(self) -> str:
        who = "everybody" if self.observers is None else named(self.observers)
        return f"{who} to believe {named(self.subjects)} {WORDS[self.status]}"

    def holds(self, world: World) -> bool:
        asked = range(len(world.hosts)) if self.observers is None else self.observers
        for number in asked:
            row = world.beliefs.of[number]
            if row is None or not world.hosts[number].well:
                continue
            if any(row[subject] != self.status for subject in self.subjects if subject != number):
                return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class NobodyAccuses:
    """No well-running host (of *observers*) believes one of *subjects* suspect or dead."""

    subjects: Hosts
    observers: Hosts | None = None

    def __str__(self) -> str:
        who = "nobody" if self.observers is None else f"none of {named(self.observers)}"
        return f"{who} to accuse {named(self.subjects)}"

    def holds(self, world: World) -> bool:
        asked = range(len(world.hosts)) if self.observers is None else self.observers
        rows = [world.beliefs.of[number] for number in asked if world.hosts[number].well]
        return not any(row[subject] in (SUSPECT, DEAD) for row in rows if row is not None for subject in self.subjects)


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolated:
    """Each of *hosts* says that it is the one cut off, or none does."""

    hosts: Hosts
    isolated: bool = True

    def __str__(self) -> str:
        return f"{named(self.hosts)} to call {'themselves' if len(self.hosts) > 1 else 'itself'} " + (
            "isolated" if self.isolated else "connected"
        )

    def holds(self, world: World) -> bool:
        nodes = [world.hosts[number].node for number in self.hosts]
        return all(node is not None and inside.isolated(node) is self.isolated for node in nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogShows:
    """Every well-running host (of *observers*) answers with instance *id* of each of *owners*, at *port*; None: without it."""

    owners: Hosts
    id: str = "web-1"
    port: int | None = 8080
    observers: Hosts | None = None

    def __str__(self) -> str:
        who = "every catalog" if self.observers is None else f"the catalogs of {named(self.observers)}"
        what = "without" if self.port is None else "with"
        return f"{who} {what} {self.id} of {named(self.owners)}{'' if self.port is None else f' at {self.port}'}"

    def holds(self, world: World) -> bool:
        asked = range(len(world.hosts)) if self.observers is None else self.observers
        key = SERVICE_KEY_PREFIX + self.id
        for number in asked:
            host = world.hosts[number]
            if host.node is None or not host.well:
                continue
            for owner in self.owners:
                if inside.answered_port(host.node, world.hosts[owner].name, key) != self.port:
                    return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Every well-running host (of *observers*) answers with *ready* ready instances of web, *degraded* of all it answers with."""

    ready: int
    degraded: int | None = 0
    """None: however many."""
    observers: Hosts | None = None

    def __str__(self) -> str:
        who = "everybody" if self.observers is None else named(self.observers)
        marked = "" if self.degraded is None else f", {self.degraded} degraded"
        return f"{who} to answer with {self.ready} ready instances{marked}"

    def holds(self, world: World) -> bool:
        for number in range(len(world.hosts)) if self.observers is None else self.observers:
            host = world.hosts[number]
            if host.node is None or not host.well:
                continue
            rows = host.node.view.instances(service="web", now=host.clock(world.now))
            degraded = sum(row.degraded for row in rows)
            if sum(row.ready for row in rows) != self.ready or self.degraded not in (None, degraded):
                return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class CutsShown:
    """Each of *observers* has shown so many cuts in its answers since it started."""

    observers: Hosts
    times: int

    def __str__(self) -> str:
        return f"{named(self.observers)} to have shown {self.times} cut{'s' if self.times != 1 else ''}"

    def holds(self, world: World) -> bool:
        nodes = [world.hosts[number].node for number in self.observers]
        return all(node is not None and inside.machines(node).guard.cuts_shown == self.times for node in nodes)
