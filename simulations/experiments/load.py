"""E7: messages and bytes of each member, idle, under churn and while ten crash, against the number of members.

SWIM's load is flat: 2.0 messages sent per member and period (figure 2 of its paper), bytes as table 2 of Rapid's counts them: per
process and second. Headers are counted: 28 bytes a datagram, 40 a segment of a stream.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from gossipd.config import LAN, ProtocolConfig
from simulations import faults, modes
from simulations.experiments.result import (
    SUMMARY_COLUMNS,
    Cell,
    Experiment,
    Limit,
    Plot,
    Result,
    Series,
    Settings,
    Table,
    Verdict,
    at_most,
    spread,
    summary_cells,
    within,
)
from simulations.experiments.statistics import Summary, summarise
from simulations.faults import Crash, Restart
from simulations.watching import Watcher
from simulations.world import World

BEFORE_S = 10
CHURN_PER_MIN = 0.01
CRASHES = 10
RAPID = {"10 crashes": ((0.54, 5.61, 7.36), (0.64, 6.40, 8.04))}
"""memberlist at n = 1,000, KB a second and process, received and sent: mean, p99, most [L]."""

GOAL_MEAN_KB, GOAL_P99_KB = (0.54, 0.64), 3.7


def idle(world: World, seconds: int) -> None:
    world.run(seconds)


def churn(world: World, seconds: int) -> None:
    """1 % of the members a minute restart, one after the other, at least one."""
    due = max(1, round(len(world.hosts) * CHURN_PER_MIN * seconds / 60))
    for _ in range(due):
        world.run(seconds / due / 2)
        faults.apply(world, Restart(hosts=(world.rng.randrange(1, len(world.hosts)),)))
        world.run(seconds / due / 2)


def crashes(world: World, seconds: int) -> None:
    """Ten members, or a tenth of a small world, crash at once."""
    faults.apply(world, Crash(hosts=tuple(range(1, 1 + min(CRASHES, max(1, len(world.hosts) // 10))))))
    world.run(seconds)


SITUATIONS: dict[str, Callable[[World, int], None]] = {"idle": idle, "churn 1 %/min": churn, "10 crashes": crashes}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """One world's figures; *messages* for each member that ran all the time, KB for each such member and second."""

    messages: tuple[float, ...]
    """Datagrams sent in a period."""
    received_kb: tuple[float, ...]
    sent_kb: tuple[float, ...]


class _PerSecond(Watcher):
    def __init__(self) -> None:
        self.rows: list[list[tuple[int, int, int]]] = []

    def on_second(self) -> None:
        traffic = [host.traffic for host in self.world.hosts]
        self.rows.append(
            [(of.datagrams_out, of.bytes_in + of.stream_bytes_in, of.bytes_out + of.stream_bytes_out) for of in traffic]
        )


def measure(config: ProtocolConfig, situation: str, members: int, seconds: int, seed: int) -> Loaded:
    """Count in a warm world of *members* for *seconds*, after BEFORE_S of quiet."""
    world = World(members, seed=seed, config=config, node_type=modes.node_type(config))
    world.start_warm(services=1)
    world.run(BEFORE_S - 0.5)
    counts = _PerSecond()
    world.watch(counts)
    SITUATIONS[situation](world, seconds)
    throughout = [host.number for host in world.hosts if host.node is not None and host.run == 1]
    counted = np.asarray(counts.rows)[:, throughout, :]
    each = np.diff(counted, axis=0) * [config.probe.interval_s, 0.001, 0.001]
    return Loaded(
        messages=tuple(each[:, :, 0].mean(axis=0).tolist()),
        received_kb=tuple(each[:, :, 1].ravel().tolist()),
        sent_kb=tuple(each[:, :, 2].ravel().tolist()),
    )


Key = tuple[str, str, int]
Found = dict[Key, dict[str, Summary]]
WHAT: dict[str, Callable[[Loaded], tuple[float, ...]]] = {
    "messages": lambda loaded: loaded.messages,
    "KB/s received": lambda loaded: loaded.received_kb,
    "KB/s sent": lambda loaded: loaded.sent_kb,
}


def run(settings: Settings) -> Result:
    sizes: tuple[int, ...] = settings.pick((10, 20), (100, 300, 1_000), (100, 300, 1_000, 3_000))
    if settings.short:
        sizes = sizes[:2]
    seconds = settings.pick(12, 60, 120)
    seeds = settings.seed_list(quick=1, usual=1, full=5)
    configs = {"SWIM": modes.swim(), "gossipd": LAN}
    keys: list[Key] = list(product(configs, SITUATIONS, sizes))
    cells = [
        (configs[mode], situation, members, seconds, seed) for (mode, situation, members), seed in product(keys, seeds)
    ]
    pooled: dict[Key, list[Loaded]] = {}
    for (key, _), loaded in zip(product(keys, seeds), spread(settings, measure, cells), strict=True):
        pooled.setdefault(key, []).append(loaded)
    found: Found = {
        key: {what: summarise([value for loaded in worlds for value in of(loaded)]) for what, of in WHAT.items()}
        for key, worlds in pooled.items()
    }
    return Result(
        tables=(_table(found, len(seeds)),),
        plots=(_plot(found, "messages"), _plot(found, "KB/s sent")),
        verdicts=tuple(_verdicts(found, sizes)),
        notes=(
            f"{seconds} s after {BEFORE_S} s of quiet; members that crash or restart are not counted, those who hear of it are.",
            "Messages: per member, over all periods. KB: per member and second, as Rapid's Table 2 has them; 1 KB is 1,000 bytes.",
        ),
    )


def _table(found: Found, seeds: int) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for (mode, situation, members), summaries in found.items():
        for what, summary in summaries.items():
            published: str | None = "2.0" if what == "messages" and situation == "idle" else None
            if situation in RAPID and members == 1_000 and what != "messages":
                published = " / ".join(f"{value:g}" for value in RAPID[situation][what == "KB/s sent"])
            rows.append((mode, situation, members, what, *summary_cells(summary), seeds, published))
    columns = ("mode", "situation", "members", "of each member", *SUMMARY_COLUMNS, "seeds", "published [L]")
    notes = ("[L] messages: SWIM, Fig 2, up to 55 members. [L] KB: memberlist, Rapid's Table 2: mean / p99 / most.",)
    return Table(name="load", title="Load of one member", columns=columns, rows=tuple(rows), notes=notes)


def _plot(found: Found, what: str) -> Plot:
    series = []
    for mode, situation in dict.fromkeys((mode, situation) for mode, situation, _ in found):
        points = {n: of[what] for (m, s, n), of in found.items() if (m, s) == (mode, situation)}
        means = [summary.mean for summary in points.values()]
        series.append(Series(label=f"{mode}, {situation}", x=list(points), y=means))
    messages = what == "messages"
    return Plot(
        name="load_messages" if messages else "load_bytes",
        title="Load of one member against the size of the cluster, mean",
        x_label="members",
        y_label="datagrams sent per period" if messages else "KB sent per second",
        series=tuple(series),
        limits=(
            Limit(label="SWIM: 2.0 [L]", y=(2.0,))
            if messages
            else Limit(label="memberlist, 10 crashes, n = 1,000 [L]", y=(GOAL_MEAN_KB[1],)),
        ),
        log_x=True,
    )


def _verdicts(found: Found, sizes: tuple[int, ...]) -> list[Verdict]:
    verdicts = []
    for members in sizes:
        idle_of = found["gossipd", "idle", members]
        claim = f"{members} members, idle: messages per member and period"
        verdicts.append(within(claim, idle_of["messages"].mean, wanted=2.0, tolerance=0.02))
    largest = sizes[-1]
    ours, swim = (found[mode, "10 crashes", largest] for mode in ("gossipd", "SWIM"))
    for what, goal in zip(("KB/s received", "KB/s sent"), GOAL_MEAN_KB, strict=True):
        verdicts.append(at_most(f"{largest} members, 10 crashes: mean {what}", ours[what].mean, wanted=goal))
        verdicts.append(at_most(f"{largest} members, 10 crashes: p99 {what}", ours[what].p99, wanted=GOAL_P99_KB))
    claim = f"{largest} members, 10 crashes: messages by SWIM's"
    verdicts.append(at_most(claim, ours["messages"].mean / swim["messages"].mean, wanted=1.11))
    claim = f"{largest} members, 10 crashes: bytes by SWIM's"
    verdicts.append(at_most(claim, ours["KB/s sent"].mean / swim["KB/s sent"].mean, wanted=0.98))
    return verdicts


EXPERIMENT = Experiment(
    title="Load and scale: messages and bytes of one member, against the number of members", run=run
)
