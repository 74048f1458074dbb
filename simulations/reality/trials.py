"""What is done to both sides: each trial is a few story steps, and the times that are taken from what observers told.

A trial knows a stage: it does steps there and waits; whether time is virtual or real it does not know.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from simulations.faults import Crash, Cut, Deregister, Fault, Freeze, Heal, Hosts, Leave, Register, Restart, Thaw
from simulations.reality.observed import ALIVE, FAILED, LEFT, NEVER, SUSPECT, Observed
from simulations.sides import split
from simulations.steps import StartCold

PATIENCE_S = 60.0
"""Longest wait for anything: what has not happened by then counts as never."""

SETTLE_S = 4.0
"""Quiet time after everybody has met, so that joining has died down."""

CHANGES = 10
"""Registrations, and as many withdrawals, in one round."""

TOGETHER = 10
"""One in so many crashes or freezes at the same moment, at least one: each is a sample."""

WOKEN_S = 5.0
"""How long a woken host is watched for whom it accuses."""

SECONDS = "s"
COUNT = "members"


class Stage(Protocol):
    """Where trials are played: simulated or real."""

    observed: Observed
    hosts: int
    """Hosts there are, whether or not a process runs there."""

    @property
    def running(self) -> set[int]:
        """The hosts whose process exists and is not leaving, the frozen included."""

    def do(self, step: Fault | StartCold) -> float:
        """Do *step* and return when. Raises: ValueError if this stage cannot do such a step."""

    def run(self, seconds: float) -> None:
        """Let time pass."""

    def run_until(self, holds: Callable[[], bool], *, within_s: float) -> bool:
        """Let time pass until *holds*; return whether it did."""


@dataclass(slots=True, kw_only=True)
class Samples:
    """What was measured, by what it is: seconds (NEVER: it did not happen) or counts."""

    taken: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    """By what and unit, in the order in which they were first taken."""

    def add(self, what: str, value: float, unit: str = SECONDS) -> None:
        self.taken.setdefault((what, unit), []).append(value)

    def extend(self, others: "Samples") -> None:
        for key, values in others.taken.items():
            self.taken.setdefault(key, []).extend(values)


class Play:
    """One stage with what is needed to play trials on it."""

    def __init__(self, stage: Stage, *, nodes: int, rng: Random, once: bool = False) -> None:
        """*once*: play each trial once, however often it is due."""
        self.stage = stage
        self.once = once
        self.nodes = nodes
        """Hosts that run from the beginning; the others join later."""
        self.rng = rng
        self.samples = Samples()
        self.seen = stage.observed
        self._port = 1_000

    def start(self) -> None:
        """Start everybody, each knowing host 0, and wait until all know all and it is quiet."""
        hosts = tuple(range(self.nodes))
        begun = self.stage.do(StartCold(hosts=hosts))

        def met() -> bool:
            return self.stage.running == set(hosts) and self.all_alive(begun) < NEVER

        if not self.stage.run_until(met, within_s=2 * PATIENCE_S):
            raise TimeoutError(f"{self.nodes} daemons did not find each other within {2 * PATIENCE_S:g} s")
        self.stage.run(SETTLE_S)

    def trial(self, name: str, telling: Callable[[str], None] = lambda _text: None) -> None:
        """Play trial *name* as often as it is due."""
        kind = TRIALS[name]
        times = 1 if self.once else kind.times
        for round in range(times):
            telling(f"{name}, {round + 1} of {times}")
            kind.play(self)

    def all_alive(self, since: float) -> float:
        """Return when the last view became complete, `NEVER` while one is not."""
        running = self.stage.running
        return max(self.seen.everywhere(subject, ALIVE, among=running, since=since) for subject in running)

    def pick(self, count: int) -> Hosts:
        """Return some running hosts; never host 0, which the others join through."""
        return tuple(sorted(self.rng.sample(sorted(self.stage.running - {0}), count)))

    def pause(self) -> None:
        """Let up to a second and a half pass, so that a fault falls anywhere in a probe period."""
        self.stage.run(self.rng.uniform(0.5, 1.5))

    def time(self, what: str, look: Callable[[], float], *, since: float, within_s: float = PATIENCE_S) -> float:
        """Wait until *look* returns a time and take it as a sample, since *since*; return it."""
        self.stage.run_until(lambda: look() < NEVER, within_s=within_s)
        at = look()
        self.samples.add(what, at - since)
        return at

    def everywhere(self, subject: int, status: str, *, since: float) -> Callable[[], float]:
        return lambda: self.seen.everywhere(subject, status, among=self.stage.running, since=since)

    def known(self, owner: int, id: str, port: int | None, *, since: float) -> Callable[[], float]:
        return lambda: self.seen.known_everywhere(owner, id, port, among=self.stage.running, since=since)

    def new_port(self) -> int:
        self._port += 1
        return self._port

    def restart(self, hosts: Hosts, what: str) -> None:
        """Start the processes of *hosts* again, and wait each time until all others believe it alive."""
        for host in hosts:  # one by one: interpreters that start together take the processor from each other
            self.stage.do(Restart(hosts=(host,)))
            self.born(host, what)

    def born(self, host: int, what: str) -> None:
        """Take the time from the start of the process of *host* until the last other one believes it alive."""
        self.stage.run_until(lambda: host in self.seen.born, within_s=PATIENCE_S)
        since = self.seen.born[host]
        self.time(what, self.everywhere(host, ALIVE, since=since), since=since)


Trial = Callable[[Play], None]


def spread(play: Play) -> None:
    """A service is registered, or withdrawn, and the last daemon hears of it."""
    owners = [play.rng.choice(sorted(play.stage.running)) for _ in range(CHANGES)]
    for number, owner in enumerate(owners):
        id, port = f"spread-{number}", play.new_port()
        at = play.stage.do(Register(hosts=(owner,), service="spread", id=id, port=port))
        play.time("register: known everywhere", play.known(owner, id, port, since=at), since=at)
        play.stage.run(play.rng.uniform(0.1, 0.4))
    for number, owner in enumerate(owners):
        id = f"spread-{number}"
        at = play.stage.do(Deregister(hosts=(owner,), id=id))
        play.time("deregister: gone everywhere", play.known(owner, id, None, since=at), since=at)
        play.stage.run(play.rng.uniform(0.1, 0.4))


def crash(play: Play) -> None:
    """Processes are killed: first suspected, first declared failed, failed everywhere; then they start again."""
    play.pause()
    victims = play.pick(max(1, play.nodes // TOGETHER))
    at = play.stage.do(Crash(hosts=victims, silent=False))
    for victim in victims:
        play.time("crash: failed everywhere", play.everywhere(victim, FAILED, since=at), since=at)
    for victim in victims:
        play.samples.add("crash: first suspected", play.seen.first(victim, SUSPECT, since=at) - at)
        play.samples.add("crash: first failed", play.seen.first(victim, FAILED, since=at) - at)
    play.stage.run(2.0)
    play.restart(victims, "restart: alive everywhere")
    play.stage.run(3.0)


def freeze(play: Play, for_s: float) -> None:
    """Processes are stopped for a while, and go on."""
    play.pause()
    victims = play.pick(max(1, play.nodes // TOGETHER))
    label = f"frozen {for_s:g} s"
    at = play.stage.do(Freeze(hosts=victims))
    play.stage.run(for_s)
    woken = play.stage.do(Thaw(hosts=victims))
    play.stage.run(WOKEN_S)
    for victim in victims:
        play.samples.add(f"{label}: first suspected", play.seen.first(victim, SUSPECT, since=at) - at)
        play.samples.add(f"{label}: first failed", play.seen.first(victim, FAILED, since=at) - at)
        play.time(f"{label}: alive everywhere, from waking", play.everywhere(victim, ALIVE, since=woken), since=woken)
        accused = play.seen.accused(victim, since=woken, spared=victims)
        play.samples.add(f"{label}: accused by the woken", accused, COUNT)
    play.stage.run(3.0)


def leave(play: Play, hosts: Hosts = ()) -> None:
    """The process of one of *hosts*, or of any host, is asked to stop; then it starts again."""
    play.pause()
    (who,) = hosts or play.pick(1)
    play.seen.ended.pop(who, None)
    at = play.stage.do(Leave(hosts=(who,)))
    play.time("leave: left everywhere", play.everywhere(who, LEFT, since=at), since=at)
    play.stage.run_until(lambda: who in play.seen.ended, within_s=PATIENCE_S)
    play.restart((who,), "restart after leaving: alive everywhere")
    play.stage.run(2.0)


def join(play: Play) -> None:
    """A host that nobody ever heard of joins."""
    play.pause()
    host = max(play.stage.running) + 1
    play.stage.do(StartCold(hosts=(host,)))
    play.born(host, "join: alive everywhere")
    play.stage.run(2.0)


def halves(play: Play) -> None:
    """The network is cut through the middle for 30 s; both sides write; it heals."""
    play.pause()
    running = sorted(play.stage.running)
    left, right = (tuple(running[host] for host in part) for part in split(len(running), 1, 1))
    at = play.stage.do(Cut(groups=(left, right)))
    play.stage.run(5.0)
    ports = {owner: play.new_port() for owner in (left[0], right[-1])}
    for owner, port in ports.items():
        play.stage.do(Register(hosts=(owner,), service="cut", id="cut", port=port))
    play.stage.run(25.0)
    for observers, others in ((left, right), (right, left)):
        first = min(play.seen.first(other, FAILED, since=at) for other in others)
        last = max(play.seen.everywhere(other, FAILED, among=observers, since=at) for other in others)
        play.samples.add("halves: first of the other side failed", first - at)
        play.samples.add("halves: whole other side failed to all", last - at)
    healed = play.stage.do(Heal())

    def agreed() -> float:
        writes = (play.known(owner, "cut", port, since=healed)() for owner, port in ports.items())
        return max(play.all_alive(healed), *writes)

    play.time("halves: views and writes complete, from healing", agreed, since=healed)
    play.stage.run(5.0)


def single(play: Play) -> None:
    """One host is cut off for 15 s."""
    play.pause()
    (who,) = play.pick(1)
    others = tuple(sorted(play.stage.running - {who}))
    at = play.stage.do(Cut(groups=((who,), others)))
    play.stage.run(15.0)
    play.samples.add("cut off: it says so", play.seen.first_alone(who, True, since=at) - at)
    play.samples.add("cut off: first failed to others", play.seen.first(who, FAILED, since=at) - at)
    last = play.seen.everywhere(who, FAILED, among=others, since=at)
    play.samples.add("cut off: failed to all others", last - at)
    play.samples.add("cut off: accused by it", play.seen.accused(who, since=at), COUNT)
    healed = play.stage.do(Heal())
    back = "cut off: no longer says so, from healing"
    play.time(back, lambda: play.seen.first_alone(who, False, since=healed), since=healed)
    play.time("cut off: views complete, from healing", lambda: play.all_alive(healed), since=healed)
    play.stage.run(5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A trial and how often it is played."""

    play: Trial
    times: int
    cuts: bool = False
    """Whether it needs a network that can be cut."""


TRIALS = {
    "spread": Kind(play=spread, times=2),
    "crash": Kind(play=crash, times=2),
    "freeze-3": Kind(play=lambda play: freeze(play, 3.0), times=2),
    "freeze-15": Kind(play=lambda play: freeze(play, 15.0), times=1),
    "leave": Kind(play=leave, times=2),
    "join": Kind(play=join, times=2),
    "single": Kind(play=single, times=2, cuts=True),
    "halves": Kind(play=halves, times=1, cuts=True),
}


def hosts_of(trials: Sequence[str], nodes: int) -> int:
    """Return how many hosts a stage needs for *trials*, those that join later included."""
    return nodes + (TRIALS["join"].times if "join" in trials else 0)
