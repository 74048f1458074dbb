"""E1: members that are alive and declared dead all the same, while some of them stall: SWIM, Lifeguard's parts, gossipd.

Lifeguard (Dadgar, Phillips, Currey, DSN 2018), table IV. C members stall for D and run for I, over and over
and all at once. The lists of D and I are recalled, not found. They stall in one of three ways:

- stuck: sends and receives stall, and who waits for one does nothing else, as memberlist's goroutines: one probe and one tick of
  gossip a stall, while verdicts fall in time. gossipd's driver is one task, so that it stands still: frozen;
- block: sends and receives stall, while every timer fires, and what was to be sent goes out at the end;
- freeze: nothing runs. Who wakes reads waiting datagrams first where gossipd's driver does.

Counted are (observer, subject) verdicts, in two readings of what is false. FP and FP- are about *healthy* members, by anybody and
by healthy ones. *any* is about members that live, the stalling included; but whoever stalls for 32 s is rightly found silent by
everybody: 2,000 to 14,000 verdicts in one world, and the paper has 339,002 in thousands. Its FP- is 0.4 % of its FP: verdicts fell
at the stalling, and hardly left them. Here they leave, with the first tick after a stall, before waiting refutations are read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from gossipd.config import ProtocolConfig
from gossipd.core.events import Event, IsolationChanged, MemberChanged
from gossipd.records import Status
from simulations import modes
from simulations.experiments import true_crash, variants
from simulations.experiments.measure import sent
from simulations.experiments.result import (
    Experiment,
    Limit,
    Plot,
    Result,
    Series,
    Settings,
    Table,
    Verdict,
    at_most,
    between,
    holds,
    spread,
)
from simulations.experiments.statistics import paired_ratio, summarise
from simulations.host import Host
from simulations.watching import Watcher
from simulations.world import World

KINDS = ("stuck", "block", "freeze")
QUIET_S = 5.0
"""Everybody knows everybody from the start, so that the paper's 15 s of joining are not needed."""

PUBLISHED: Mapping[str, tuple[float, float, float, float]] = {
    "SWIM": (100, 100, 100, 100),
    "LHA-Probe": (67.72, 32.88, 98.46, 90.03),
    "LHA-Suspicion": (3.00, 6.71, 111.31, 106.52),
    "Buddy": (94.08, 44.57, 100.07, 99.01),
    "Lifeguard": (1.53, 1.89, 110.59, 97.97),
}
"""Table IV [L]: FP, FP-, messages and bytes, in percent of SWIM's."""

PLANE_PUBLISHED = {"5": (100.0, 1.9), "4": (84.5, 4.8), "2": (56.6, 13.7)}
"""Lifeguard at alpha: median full detection and FP, in percent of SWIM's at alpha = 5 [L~]."""

FEW = 100
"""False verdicts of SWIM's below which nothing is judged by its part of them."""

ORDER = ("SWIM", "Buddy", "LHA-Probe", "LHA-Suspicion", "Lifeguard")


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """*count* members stall for *stall_s*, then run for *run_s*, until the world ends."""

    kind: str
    count: int
    stall_s: float
    run_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What one world saw: verdicts about living, about healthy members, about those by healthy ones; and what was sent."""

    any: int
    false: int
    healthy: int
    messages: int
    bytes: int
    isolated: int


class Verdicts(Watcher):
    """Every (observer, subject) that was declared dead, all of which live."""

    def __init__(self, anomalous: Sequence[int]) -> None:
        self._anomalous = frozenset(anomalous)
        self.events: list[tuple[float, int, int]] = []
        self.isolated = 0

    def on_event(self, host: Host, event: Event) -> None:
        if isinstance(event, IsolationChanged):
            self.isolated += event.isolated
        if isinstance(event, MemberChanged) and event.after is Status.DEAD and event.before is not Status.DEAD:
            self.events.append((self.world.now, host.number, self.world.number_of[event.member]))

    def count(self) -> tuple[int, int, int]:
        """Return how many verdicts there were, about healthy members, and about those by healthy ones."""
        about = [observer for _, observer, subject in self.events if subject not in self._anomalous]
        return len(self.events), len(about), sum(observer not in self._anomalous for observer in about)


def measure(name: str, config: ProtocolConfig, anomaly: Anomaly, members: int, seconds: float, seed: int) -> Count:
    """Return what one world of *members* saw in *seconds* of *anomaly*; equal seeds stall equal members at equal times."""
    world = World(members, seed=seed, config=config, node_type=variants.node_type(name, config))
    world.start_warm()
    victims = world.rng.sample(range(members), anomaly.count)
    seen = Verdicts(victims)
    world.watch(seen)
    world.run(QUIET_S)
    before = sent(world)
    end = world.now + seconds
    stall, release = stalls(world, anomaly.kind, one_task=name == "gossipd")
    while world.now < end:
        for victim in victims:
            stall(victim)
        world.run_to(min(end, world.now + anomaly.stall_s))
        for victim in victims:
            release(victim)
        world.run_to(min(end, world.now + anomaly.run_s))
    messages, octets = (after - earlier for after, earlier in zip(sent(world), before, strict=True))
    every, false, healthy = seen.count()
    return Count(any=every, false=false, healthy=healthy, messages=messages, bytes=octets, isolated=seen.isolated)


def stalls(world: World, kind: str, *, one_task: bool) -> tuple[Callable[[int], None], Callable[[int], None]]:
    """Return what begins and what ends a stall of one host; *one_task*: it does one thing at a time."""
    if kind == "freeze" or (kind == "stuck" and one_task):
        return world.freeze, world.thaw
    if kind == "block":
        return world.block, world.unblock

    def stick(number: int) -> None:
        world.block(number)
        _set_stuck(world, number, True)

    def release(number: int) -> None:
        _set_stuck(world, number, False)
        world.command(number, lambda node, now: node.handle_timer(now=now))  # its time was over before it reads an ack
        world.unblock(number)

    return stick, release


def _set_stuck(world: World, number: int, stuck: bool) -> None:
    node = world.hosts[number].node
    assert node is not None
    variants.set_stuck(node, stuck)


# ----------------------------------------------------------------------------------------------------------------- the grid


def configurations() -> dict[str, ProtocolConfig]:
    """Return the five of table IV, gossipd's defaults, and Lifeguard's other points on the plane."""
    made = {name: make() for name, make in modes.MODES.items()}
    return made | {f"Lifeguard alpha={alpha:g}": modes.lifeguard(alpha) for alpha in (4.0, 2.0)}


SMALL: Mapping[str, tuple[tuple[int, float, float], ...]] = {
    "stuck": ((16, 32.768, 0.001), (16, 32.768, 0.256), (4, 32.768, 0.016)),
    "block": ((16, 32.768, 0.001),),
    "freeze": ((16, 8.192, 0.001),),
}
"""C, D and I of the cells that make nearly all false verdicts: stalls beyond SWIM's 10.5 s, and runs too short to read."""


def grid(settings: Settings) -> list[Anomaly]:
    """Return the cells: the paper's, or those of its corners that make nearly all of its verdicts."""
    if settings.quick:
        return [Anomaly(kind=kind, count=2, stall_s=16.0, run_s=0.004) for kind in KINDS]
    small = [(kind, *cell) for kind in KINDS for cell in SMALL[kind]]
    full = product(KINDS, (1, 4, 8, 16, 24, 32), (0.512, 2.048, 8.192, 16.384, 32.768), (0.001, 0.016, 0.256, 4.096))
    return [
        Anomaly(kind=kind, count=count, stall_s=stall_s, run_s=run_s)
        for kind, count, stall_s, run_s in (full if settings.full else small)
    ]


def run(settings: Settings) -> Result:
    members, seconds = settings.pick((16, 18.0), (128, 120.0), (128, 120.0))
    seeds = settings.seed_list(quick=1, usual=1, full=1)
    configs, anomalies = configurations(), grid(settings)
    order = [(name, anomaly, seed) for anomaly, seed, name in product(anomalies, seeds, configs)]
    cells = [(name, configs[name], of, members, seconds, seed) for name, of, seed in order]
    counts = spread(settings, measure, cells)
    found: dict[tuple[str, str], list[Count]] = {}
    for (name, anomaly, _), count in zip(order, counts, strict=True):
        found.setdefault((anomaly.kind, name), []).append(count)
    latency = _latencies(settings, configs)
    chosen = [f"{a.kind} {a.count} x {a.stall_s:g} s / {a.run_s:g} s" for a in anomalies]
    notes = (
        f"{members} members, {seconds:g} s a world, {len(seeds)} seeds for each of {len(anomalies)} cells",
        "the whole grid" if settings.full else f"REDUCED to C x D / I of {', '.join(chosen)}",
        "SWIM, LHA-Probe and Buddy neither count confirmations nor pass them on; Lifeguard wants three of them at every alpha.",
        *modes.NOT_SWITCHED[1:2],
    )
    return Result(
        tables=(*(_table(kind, found) for kind in KINDS), _by_count(order, counts), _plane(found, latency)),
        plots=tuple(_plot(kind, found, latency) for kind in KINDS),
        verdicts=tuple(verdict for kind in KINDS for verdict in _verdicts(kind, found, latency)),
        notes=(*notes, *_notes(found)),
    )


PLANE = ("Lifeguard", "Lifeguard alpha=4", "Lifeguard alpha=2", "gossipd", "SWIM")


def _latencies(settings: Settings, configs: Mapping[str, ProtocolConfig]) -> dict[str, float]:
    """Return the median full detection of a true crash, in seconds, of those on the plane."""
    crashes, members = settings.pick((1, 12), (40, 128), (500, 128))
    samples = spread(settings, true_crash.measure, [(name, configs[name], members, crashes, 1) for name in PLANE])
    return {name: summarise([crash[2] for crash in sample]).p50 for name, sample in zip(PLANE, samples, strict=True)}


# --------------------------------------------------------------------------------------------------------------- reporting


Found = Mapping[tuple[str, str], Sequence[Count]]


def _percent(kind: str, name: str, field: str, found: Found) -> float:
    ours, base = ([float(getattr(count, field)) for count in found[kind, of]] for of in (name, "SWIM"))
    return 100 * paired_ratio(ours, base).value


def _table(kind: str, found: Found) -> Table:
    rows = []
    worlds = len(found[kind, "SWIM"])
    for of, name in found:
        if of != kind:
            continue
        counts = found[of, name]
        false = summarise([float(count.false) for count in counts])
        ratio = paired_ratio([float(count.false) for count in counts], [float(c.false) for c in found[of, "SWIM"]])
        published = PUBLISHED.get(name, (None,) * 4)
        rows.append(
            (
                name,
                sum(count.false for count in counts),
                published[0],
                100 * ratio.value,
                f"{100 * ratio.low:.3g}-{100 * ratio.high:.3g}",
                sum(count.healthy for count in counts),
                published[1],
                _percent(kind, name, "healthy", found),
                sum(count.any for count in counts),
                _percent(kind, name, "any", found),
                f"{false.mean:.1f} {false.low:.0f}-{false.high:.0f}",
                f"{false.p50:.0f}/{false.p99:.0f}/{false.p999:.0f}",
                sum(count.messages for count in counts) / 1e6,
                published[2],
                _percent(kind, name, "messages", found),
                published[3],
                _percent(kind, name, "bytes", found),
            )
        )
    return Table(
        name=f"lifeguard_{kind}",
        title=f"Members declared dead that live ({kind}); percent are of SWIM's, [L] is Lifeguard's table IV",
        columns=(
            *("configuration", "FP", "FP % [L]", "FP %", "95 %", "FP-", "FP- % [L]", "FP- %", "any", "any %"),
            *("mean, 95 %", "p50/p99/p99.9", "Mmsgs", "msgs % [L]", "msgs %", "bytes % [L]", "bytes %"),
        ),
        rows=tuple(rows),
        notes=(f"mean and quantiles are of FP in each of {worlds} worlds, the same seeds in every row.",),
    )


def _by_count(order: Sequence[tuple[str, Anomaly, int]], counts: Sequence[Count]) -> Table:
    sums: dict[tuple[str, str, int], tuple[int, int]] = {}
    for (name, anomaly, _), count in zip(order, counts, strict=True):
        key = (anomaly.kind, name, anomaly.count)
        false, healthy = sums.get(key, (0, 0))
        sums[key] = (false + count.false, healthy + count.healthy)
    columns = ("kind", "configuration", "C", "FP", "FP-")
    rows = tuple((*key, *value) for key, value in sorted(sums.items()))
    return Table(
        name="lifeguard_by_count", title="The same by the number of stalling members", columns=columns, rows=rows
    )


def _points(kind: str, found: Found, latency: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Return latency and FP of each configuration, in percent of SWIM's."""
    return {name: (100 * latency[name] / latency["SWIM"], _percent(kind, name, "false", found)) for name in PLANE}


def _plane(found: Found, latency: Mapping[str, float]) -> Table:
    rows = []
    for kind in KINDS:
        for name, (slow, false) in _points(kind, found, latency).items():
            alpha = "5" if name == "Lifeguard" else name.rpartition("=")[2]
            published = PLANE_PUBLISHED.get(alpha, (None, None))
            rows.append((kind, name, latency[name], published[0], slow, published[1], false))
    return Table(
        name="lifeguard_plane",
        title="False positives against latency, percent of SWIM's at alpha = 5",
        columns=("kind", "configuration", "median s", "latency % [L~]", "latency %", "FP % [L~]", "FP %"),
        rows=tuple(rows),
    )


def _plot(kind: str, found: Found, latency: Mapping[str, float]) -> Plot:
    points = _points(kind, found, latency)
    floor = 1e-3
    series = tuple(
        Series(label=name, x=(slow,), y=(max(floor, false),), joined=False) for name, (slow, false) in points.items()
    )
    published = Limit(
        label="Lifeguard at alpha = 5, 4, 2 [L~]",
        x=[slow for slow, _ in PLANE_PUBLISHED.values()],
        y=[false for _, false in PLANE_PUBLISHED.values()],
        points=True,
    )
    return Plot(
        name=f"lifeguard_plane_{kind}",
        title=f"False positives against latency ({kind}; none is drawn as {floor:g} %)",
        x_label="median full detection, % of SWIM's",
        y_label="FP, % of SWIM's",
        series=series,
        limits=(published, Limit(label="goal: 1.53 % at 84.5 % or less", y=(1.53,))),
        log_y=True,
    )


def _notes(found: Found) -> list[str]:
    said = {f"{kind} {name}": sum(c.isolated for c in counts) for (kind, name), counts in found.items()}
    return [f"members that called themselves isolated in {name}: {count}" for name, count in said.items() if count]


def _verdicts(kind: str, found: Found, latency: Mapping[str, float]) -> list[Verdict]:
    sums = {name: sum(count.false for count in found[kind, name]) for name in (*ORDER, "gossipd")}
    if sums["SWIM"] >= FEW:
        return _compared(kind, found, latency)
    shown = ", ".join(f"{name} {false}" for name, false in sums.items())
    claim = f"{kind}: fewer than {FEW} FP in SWIM, too few for ratios; Lifeguard and gossipd have no more"
    good = max(sums["Lifeguard"], sums["gossipd"]) <= sums["SWIM"]
    return [holds(claim, good, ours=shown, wanted="at most SWIM's")]


def _compared(kind: str, found: Found, latency: Mapping[str, float]) -> list[Verdict]:
    false = {name: _percent(kind, name, "false", found) for name in (*ORDER, "gossipd")}
    shown = " > ".join(f"{name} {false[name]:.3g}" for name in ORDER)
    ordered = all(_no_fewer(kind, one, other, found) for one, other in pairwise(ORDER))
    messages, octets = (_percent(kind, "Lifeguard", field, found) for field in ("messages", "bytes"))
    slow = 100 * latency["gossipd"] / latency["SWIM"]
    best = false["gossipd"] <= 1.53 and slow <= 84.5
    anyone = _percent(kind, "Lifeguard", "any", found)
    guard, swim = ([float(count.false) for count in found[kind, name]] for name in ("Lifeguard", "SWIM"))
    ratio = paired_ratio(guard, swim)
    claim = f"{kind}: Lifeguard's FP by SWIM's (95 %: {100 * ratio.low:.2g} to {100 * ratio.high:.2g} %)"
    few = sum(count.healthy for count in found[kind, "gossipd"])
    return [
        holds(
            f"{kind}: order of the five on FP, but for what is within 95 %", ordered, ours=shown, wanted="this order"
        ),
        between(claim, false["Lifeguard"], low=0.8, high=3, unit=" %"),
        _healthy_verdict(kind, found),
        between(f"{kind}: Lifeguard's messages", messages, low=105, high=115, unit=" % of SWIM's"),
        at_most(f"{kind}: Lifeguard's bytes", octets, wanted=100, unit=" % of SWIM's"),
        holds(
            f"{kind}: gossipd's defaults on the plane",
            best,
            ours=f"FP {false['gossipd']:.3g} % at {slow:.3g} % of the latency",
            wanted="FP at most 1.53 % at 84.5 % or less",
            better=True,
        ),
        at_most(f"{kind}: Lifeguard's verdicts about any living member", anyone, wanted=3, unit=" % of SWIM's"),
        at_most(f"{kind}: gossipd's FP- (all C)", float(few), wanted=0, beat=0),
    ]


def _no_fewer(kind: str, one: str, other: str, found: Found) -> bool:
    """Whether *one* has as many FP as *other*, or fewer by no more than chance makes (paired worlds)."""
    ours, theirs = ([float(count.false) for count in found[kind, name]] for name in (other, one))
    ratio = paired_ratio(ours, theirs)
    return sum(theirs) >= sum(ours) or ratio.low <= 1


def _healthy_verdict(kind: str, found: Found) -> Verdict:
    claim = f"{kind}: Lifeguard's FP-"
    swim, ours = (sum(count.healthy for count in found[kind, name]) for name in ("SWIM", "Lifeguard"))
    if swim == 0:
        return holds(f"{claim}; SWIM has none", ours == 0, ours=str(ours), wanted="0")
    return at_most(claim, _percent(kind, "Lifeguard", "healthy", found), wanted=4, unit=" % of SWIM's")


EXPERIMENT = Experiment(title="False positives while members stall: SWIM, Lifeguard's parts, gossipd", run=run)
