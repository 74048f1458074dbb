"""What must hold in every world, whatever the story: invariants, kept step by step from the nodes' events.

Each says what it judges and what it leaves alone. A host is *well* while its process runs, is not frozen, blocked or slowed down,
and loses nothing on its own interface. What is impaired, or was a moment ago, is not judged and does not accuse.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from gossipd.core.events import Event, IsolationChanged, MemberChanged, RecordChanged
from gossipd.ids import Incarnation, Version
from gossipd.records import Status
from simulations import inside
from simulations.beliefs import ALIVE, DEAD, LEFT, SUSPECT, WORDS
from simulations.conditions import agree
from simulations.host import Host
from simulations.watching import Watcher

AFTERMATH_S = 15.0
"""Seconds after an impairment during which a host is not judged: above the least suspicion of 1,000 members, 12 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much a story allows."""

    dead_for_s: float = 20.0
    """How long after the last fault somebody alive may still be believed dead, by anybody."""
    bytes_per_s: float = 64_000.0
    """Sent by one host, all headers included, on average over *bytes_over_s*."""
    bytes_over_s: int = 10
    agree: bool = True
    """Whether all are to agree at the end."""
    deaths: bool = True
    """Whether anybody at all, cut off or hindered too, may be declared dead."""


def impaired(watcher: Watcher, host: Host, *, within_s: float = AFTERMATH_S) -> bool:
    """Return whether *host* is, or was within the last *within_s*, hindered by anything but a cut."""
    world = watcher.world
    network, number = world.network, host.number
    return (
        not host.well
        or world.now - host.impaired_at < within_s
        or host.cpu_s > 10 * world.settings.cpu_s
        or network.loss_in[number] > 0
        or network.loss_out[number] > 0
    )


class NoFalseDeath(Watcher):
    """No healthy member is declared dead on its own side of a cut.

    Judged is who passes the verdict (its own timer), if both are well and have reached each other since before the suspicion could
    begin, and the victim hears everybody whom the judge hears: on one side of any clean cut. Left alone: verdicts handed on.
    """

    SINCE_S = 30.0

    def on_event(self, host: Host, event: Event) -> None:
        if not isinstance(event, MemberChanged) or event.after is not Status.DEAD or event.how != "timer":
            return
        world = self.world
        subject = world.hosts[world.number_of[event.member]]
        linked = world.network.linked(host.number, subject.number, since=world.now - self.SINCE_S)
        if not linked or impaired(self, subject) or impaired(self, host):
            return
        reaches = world.network.reaches
        side = [other for other in world.hosts if other.up and reaches(other.number, host.number)]
        if all(reaches(other.number, subject.number) and reaches(subject.number, other.number) for other in side):
            world.fail("no false death", f"{host.name} declared {event.member} dead, which is well and on its side")


class NobodyDies(Watcher):
    """Nobody is declared dead, whoever it is: for stories in which no verdict is due."""

    def on_event(self, host: Host, event: Event) -> None:
        if isinstance(event, MemberChanged) and event.after is Status.DEAD:
            self.world.fail("nobody dies", f"{host.name} holds {event.member} for dead, by {event.how}")


class NoFalseIsolation(Watcher):
    """No healthy member takes itself for the one cut off while it reaches half of those whom it believes alive or suspect.

    Between a quarter and a half it may; so may whose reach has changed in the last SINCE_S, or who was impaired. Not reached is who
    is impaired, or behind a burst of loss: bursts outlast the three tries of a roll call.
    """

    SINCE_S = 5.0

    def on_event(self, host: Host, event: Event) -> None:
        if not isinstance(event, IsolationChanged) or not event.isolated or impaired(self, host):
            return
        world = self.world
        row = world.beliefs.of[host.number]
        assert row is not None
        believed = [other for other in world.hosts if other is not host and row[other.number] in (ALIVE, SUSPECT)]
        reached = sum(self._reaches(host, other) for other in believed)
        if 2 * reached >= len(believed):
            what = f"{host.name} took itself for cut off, which reaches {reached} of the {len(believed)} it knows"
            world.fail("no false isolation", what)

    def _reaches(self, one: Host, other: Host) -> bool:
        network, since = self.world.network, self.world.now - self.SINCE_S
        if impaired(self, other, within_s=self.SINCE_S) or not network.linked(one.number, other.number, since=since):
            return False
        return not network.in_burst(one.number, other.number, since=since)


class NobodyAliveStaysDead(Watcher):
    """Once the network has been whole for *within_s*, no well host believes another well one dead or departed."""

    def __init__(self, within_s: float = 20.0) -> None:
        self._within_s = within_s

    def on_second(self) -> None:
        world = self.world
        if world.network.whole and world.now - world.network.changed_at >= self._within_s:
            for subject in world.hosts:
                counts = world.beliefs.counts[subject.number]
                if counts[DEAD] or counts[LEFT]:
                    self._judge(subject, DEAD)
                    self._judge(subject, LEFT)

    def _judge(self, subject: Host, status: int) -> None:
        world = self.world
        if subject.node is None or subject.node.leaving or impaired(self, subject, within_s=self._within_s):
            return
        for number in world.beliefs.believers(subject.number, status):
            if not impaired(self, world.hosts[number], within_s=self._within_s):
                what = f"n{number} believes {subject.name}, which is well, {WORDS[status]}"
                world.fail("nobody alive stays dead", f"{what}, {self._within_s:g} s after the last fault")
                return


class AllAgreeAtTheEnd(Watcher):
    """When a story is over and its network whole: equal views and catalogs, every member seen as it is, and every answer true.

    True is: what the running owners have registered, and nothing else of them. Left alone: hosts impaired at the end.
    """

    def finish(self) -> None:
        world = self.world
        hosts = [host for host in world.hosts if not impaired(self, host, within_s=1.0)]
        if not world.network.whole or not hosts:
            return
        if not agree(world, [host.number for host in hosts]):
            groups: dict[int, list[str]] = {}
            for host in hosts:
                assert host.node is not None
                groups.setdefault(inside.root(host.node), []).append(host.name)
            largest = max(groups.values(), key=len)
            others = [name for group in groups.values() if group is not largest for name in group]
            world.fail("all agree", f"{len(groups)} different views; {len(others)} apart from most, {others[0]} first")
        self._see_as_is(hosts)
        self._answers_true(hosts[0])

    def _see_as_is(self, hosts: list[Host]) -> None:
        for host in hosts:
            believed = self.world.beliefs.of[host.number]
            assert believed is not None
            for other in hosts:
                if believed[other.number] != ALIVE and other.node is not None and not other.node.leaving:
                    what = f"{host.name} believes {other.name} {WORDS[believed[other.number]]}, which is well"
                    self.world.fail("all agree", what)
                    return

    def _answers_true(self, asked: Host) -> None:
        assert asked.node is not None
        answered: dict[str, dict[str, int]] = {}
        for owner, id, port in inside.answers(asked.node):
            answered.setdefault(owner, {})[id] = port
        for host in self.world.running():
            assert host.node is not None
            kept = host.node.kept(now=host.clock(self.world.now)).registrations
            registered = {each.service.id: each.service.port for each in kept}
            if not impaired(self, host) and answered.get(host.name, {}) != registered:
                wrong = answered.get(host.name, {}).keys() ^ registered.keys() or registered.keys()
                what = f"{asked.name} answers {answered.get(host.name)} for {host.name}, which has {registered}"
                self.world.fail(
                    "all agree", what if len(what) < 200 else f"{asked.name} is wrong about {sorted(wrong)[:3]}"
                )
                return


class NoResurrection(Watcher):
    """Within one process, no record comes back at or below the version at which it was withdrawn, and versions only grow."""

    def __init__(self) -> None:
        self._seen: list[dict[tuple[str, str], tuple[Version, bool]]] = []

    def on_start(self, host: Host) -> None:
        self._of(host).clear()

    def _of(self, host: Host) -> dict[tuple[str, str], tuple[Version, bool]]:
        while len(self._seen) <= host.number:
            self._seen.append({})
        return self._seen[host.number]

    def on_event(self, host: Host, event: Event) -> None:
        if not isinstance(event, RecordChanged):
            return
        seen, key = self._of(host), (event.owner, event.key)
        before = seen.get(key)
        if before is not None and event.after is not None and event.version <= before[0]:
            was = "withdrawn" if before[1] else "replaced"
            what = f"{event.key} of {event.owner} came back at {host.name} as {tuple(event.version)}"
            self.world.fail("no resurrection", f"{what} by {event.how}, {was} at {tuple(before[0])}")
        if before is None or event.version > before[0]:
            seen[key] = (event.version, event.after is None)


class OnlyGrows(Watcher):
    """Within one process, what is believed of a member never goes back: to a lower incarnation, or to a lighter status at the same.

    Left alone: a member that was forgotten; and a suspicion of one's own that is taken back because it is oneself who is cut off.
    """

    def __init__(self) -> None:
        self._seen: list[dict[str, tuple[Incarnation, Status]]] = []
        self._ranks: dict[tuple[Incarnation, Status], tuple[Incarnation, Status]] = {}
        """Each once: all who watch believe much the same."""

    def on_start(self, host: Host) -> None:
        self._of(host).clear()

    def _of(self, host: Host) -> dict[str, tuple[Incarnation, Status]]:
        while len(self._seen) <= host.number:
            self._seen.append({})
        return self._seen[host.number]

    def on_event(self, host: Host, event: Event) -> None:
        if not isinstance(event, MemberChanged):
            return
        seen = self._of(host)
        if event.after is None:
            seen.pop(event.member, None)
            return
        now, before = (event.incarnation, event.after), seen.get(event.member)
        withdrawn = event.how == "self" and event.before is Status.SUSPECT and event.after is Status.ALIVE
        if before is not None and now < before and not (withdrawn and now[0] == before[0]):
            what = f"{host.name} went from {_claim(before)} back to {_claim(now)} about {event.member}, by {event.how}"
            self.world.fail("only grows", what)
        seen[event.member] = self._ranks.setdefault(now, now)


def _claim(rank: tuple[Incarnation, Status]) -> str:
    return f"{rank[1].name} {rank[0].epoch}.{rank[0].counter}"


class EventsTellAll(Watcher):
    """What a node's events told is what its table says: no belief changes in silence. A few hosts are compared each second."""

    EACH_SECOND = 3

    def __init__(self) -> None:
        self._turn = 0

    def on_second(self) -> None:
        hosts = self.world.hosts
        for _ in range(min(self.EACH_SECOND, len(hosts))):
            self._turn = (self._turn + 1) % len(hosts)
            self._compare(hosts[self._turn])

    def finish(self) -> None:
        for host in self.world.hosts:
            self._compare(host)

    def _compare(self, host: Host) -> None:
        told = self.world.beliefs.of[host.number]
        if host.node is None or told is None:
            return
        for member, status in inside.statuses(host.node):
            number = self.world.number_of[member]
            if told[number] != status:
                what = f"{host.name} holds {member} for {WORDS[status]}, but its events said {WORDS[told[number]]}"
                self.world.fail("events tell all", what)
                return


class QueuesBounded(Watcher):
    """What grows in a node with what others send is within its limit, each second; `longest` remembers how far each got."""

    def __init__(self) -> None:
        self.longest: dict[str, int] = {}

    def on_second(self) -> None:
        for host in self.world.hosts:
            if host.node is None:
                continue
            for name, (length, limit) in inside.queue_lengths(host.node).items():
                if length > self.longest.get(name, 0):
                    self.longest[name] = length
                if length > limit:
                    self.world.fail("queues bounded", f"{length} {name} at {host.name}, expected at most {limit}")


class BytesBounded(Watcher):
    """No host sends more than *bytes_per_s* on average over *over_s* seconds; `most` remembers the busiest."""

    def __init__(self, bytes_per_s: float, over_s: int) -> None:
        self._most_bytes = bytes_per_s * over_s
        self._over_s = over_s
        self._totals: list[list[int]] = []
        self.most = 0.0

    def _sent(self) -> Iterator[int]:
        for host in self.world.hosts:
            yield host.traffic.bytes_out + host.traffic.stream_bytes_out

    def on_second(self) -> None:
        self._totals.append(list(self._sent()))
        if len(self._totals) <= self._over_s:
            return
        before = self._totals.pop(0)
        for number, (then, now) in enumerate(zip(before, self._totals[-1], strict=True)):
            if now - then > self.most * self._over_s:
                self.most = (now - then) / self._over_s
                if now - then > self._most_bytes:
                    limit = self._most_bytes / self._over_s
                    what = f"n{number} sent {self.most:,.0f} B/s for {self._over_s} s, expected at most {limit:,.0f}"
                    self.world.fail("bytes bounded", what)


def standard(bounds: Bounds) -> list[Watcher]:
    """Return a new one of each, as *bounds* say."""
    checkers: list[Watcher] = [
        NoFalseDeath(),
        NoFalseIsolation(),
        NobodyAliveStaysDead(bounds.dead_for_s),
        NoResurrection(),
        OnlyGrows(),
        EventsTellAll(),
        QueuesBounded(),
    ]
    if not bounds.deaths:
        checkers.append(NobodyDies())
    if bounds.agree:
        checkers.append(AllAgreeAtTheEnd())
    if bounds.bytes_per_s < math.inf:
        checkers.append(BytesBounded(bounds.bytes_per_s, bounds.bytes_over_s))
    return checkers
