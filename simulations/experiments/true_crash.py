"""E4: how long a crash goes unnoticed: until the first member declares it dead, and until the last does.

`papers.md` section 2: ``t_first = wait + T + Min`` with the wait of free-running phases. A few members at a time crash for real:
the machine is gone, until everybody has given it up and some seconds have passed; then it restarts.
"""

import math
from itertools import product

import numpy as np

from gossipd.config import LAN, ProtocolConfig
from simulations import modes
from simulations.experiments.measure import Detections, suspicion_least_s
from simulations.experiments.result import (
    SUMMARY_COLUMNS,
    Experiment,
    Limit,
    Plot,
    Result,
    Series,
    Settings,
    Table,
    Verdict,
    spread,
    summary_cells,
    within,
)
from simulations.experiments.statistics import Summary, summarise
from simulations.world import World

MEMBERS = 128
DOWN_AT_ONCE = 3
"""Of 128: 2 % fewer probers, 0.02 s more to wait."""

P99_FROM = 300
"""Crashes from which on the 99th percentile is judged."""

ALPHAS = (5.0, 4.0, 2.0)
PUBLISHED = {5.0: (12.23, 16.0, 18.3), 4.0: (10.1, 13.9, 16.2), 2.0: (5.9, 9.7, 12.0)}
"""Median, p99 and p99.9 of the first detection at n = 128, derived [D]."""

Found = dict[tuple[str, str], Summary]
WHAT = ("suspected", "first dead", "all dead")


def configurations() -> dict[str, ProtocolConfig]:
    """Return what is compared, by name."""
    made = {f"SWIM alpha={alpha:g}": modes.swim(alpha) for alpha in ALPHAS}
    made |= {f"Lifeguard alpha={alpha:g}": modes.lifeguard(alpha) for alpha in ALPHAS}
    return made | {"gossipd": LAN}


def measure(config: ProtocolConfig, members: int, crashes: int, seed: int) -> list[tuple[float, float, float]]:
    """Return for each of *crashes* crashes the seconds until the first suspicion, the first verdict, and the last verdict."""
    world = World(members, seed=seed, config=config)
    world.start_warm()
    seen = Detections()
    world.watch(seen)
    world.run(3.0)
    crashed: dict[int, float] = {}
    down: set[int] = set()
    due = [world.now + world.rng.uniform(0, 4) for _ in range(min(DOWN_AT_ONCE, max(1, members // 8)))]
    took: list[tuple[float, float, float]] = []
    begun = 0
    while len(took) < crashes:
        world.run_to(min([world.now + 0.1, *due]))
        for victim in [victim for victim in crashed if victim in seen.gone]:
            at = crashed.pop(victim)
            took.append((seen.suspected[victim] - at, seen.dead[victim] - at, seen.gone[victim] - at))
            world.schedule(world.now + 2.0, _restart, world, victim, down)
            due.append(world.now + 5.0 + world.rng.random())
        for at in [at for at in due if at <= world.now]:
            due.remove(at)
            if begun < crashes:
                begun += 1
                victim = world.rng.choice([host.number for host in world.running() if host.number not in down])
                down.add(victim)
                seen.expect(victim)
                crashed[victim] = world.now
                world.stop(victim)
    return took


def _restart(world: World, victim: int, down: set[int]) -> None:
    world.start(victim, seeds=(world.running()[0].number,))
    world.schedule(world.now + 3.0, lambda *_: down.discard(victim))


def modelled(alpha: float, members: int = MEMBERS, *, draws: int = 200_000) -> Summary:
    """Return the model's first verdict: ``Exp(1) + T + Min``, as draws from a fixed seed [D]."""
    wait = np.random.default_rng(1).exponential(size=draws)
    return summarise((wait + 1.0 + suspicion_least_s(alpha, members)).tolist())


def run(settings: Settings) -> Result:
    members = settings.pick(16, MEMBERS, MEMBERS)
    crashes = settings.pick(3, 20, 50)
    seeds = settings.seed_list(quick=1, usual=8, full=40)
    configs = configurations()
    cells = [(configs[name], members, crashes, seed) for name, seed in product(configs, seeds)]
    samples = spread(settings, measure, cells)
    pooled: dict[tuple[str, str], list[float]] = {}
    for (name, _), sample in zip(product(configs, seeds), samples, strict=True):
        for times in sample:
            for what, time in zip(WHAT, times, strict=True):
                pooled.setdefault((name, what), []).append(time)
    found = {key: summarise(values) for key, values in pooled.items()}
    return Result(
        tables=(_table(found, members, len(seeds)),),
        plots=(_plot(found, members),),
        verdicts=tuple(_verdicts(found, members)),
        notes=(
            f"{members} members, {crashes} crashes in each of {len(seeds)} worlds for each row, the same seeds in every row.",
            "p99.9 says little below some thousand crashes a row.",
        ),
    )


def _alpha(name: str) -> float:
    return float(name.rpartition("=")[2]) if "=" in name else LAN.suspicion.factor


def _table(found: Found, members: int, seeds: int) -> Table:
    rows = []
    for (name, what), summary in found.items():
        model = modelled(_alpha(name), members) if what == "first dead" else None
        at_128 = PUBLISHED[_alpha(name)] if what == "first dead" and members == MEMBERS else None
        wanted = None if at_128 is None else " / ".join(f"{value:g}" for value in at_128)
        rows.append((name, what, *summary_cells(summary), seeds, None if model is None else model.p50, wanted))
    return Table(
        name="true_crash",
        title="Seconds from a crash until it is noticed",
        columns=("mode", "until", *SUMMARY_COLUMNS, "seeds", "model p50 [D]", "p50 / p99 / p99.9 [D]"),
        rows=tuple(rows),
        notes=("[L~] full detection, Lifeguard alpha=4 and 2 by SWIM alpha=5: 84.5 % and 56.6 %.",),
    )


def _plot(found: Found, members: int) -> Plot:
    names = list(dict.fromkeys(name for name, _ in found))
    families = {"SWIM": [], "Lifeguard": [], "gossipd": []}  # type: dict[str, list[str]]
    for name in names:
        families[name.partition(" ")[0]].append(name)
    series = tuple(
        Series(
            label=f"{family}, {what} (p50 to p99)",
            x=[_alpha(name) for name in of],
            y=[found[name, what].p50 for name in of],
            low=[found[name, what].p50 for name in of],
            high=[found[name, what].p99 for name in of],
        )
        for (family, of), what in product(families.items(), WHAT[1:])
    )
    least = Limit(label="Min + T: none can be sooner", x=ALPHAS, y=[1 + suspicion_least_s(a, members) for a in ALPHAS])
    model = Limit(label="model, first verdict, median [D]", x=ALPHAS, y=[modelled(a, members).p50 for a in ALPHAS])
    return Plot(
        name="true_crash",
        title=f"From crash to verdict, {members} members",
        x_label="alpha",
        y_label="seconds",
        series=series,
        limits=(least, model),
    )


def _verdicts(found: Found, members: int) -> list[Verdict]:
    verdicts = []
    for alpha in ALPHAS:
        model = modelled(alpha, members)
        swim, guard = (found[f"{mode} alpha={alpha:g}", "first dead"] for mode in ("SWIM", "Lifeguard"))
        claim = f"SWIM alpha={alpha:g}: median first verdict as modelled"
        verdicts.append(within(claim, swim.p50, wanted=model.p50, tolerance=0.02, unit=" s"))
        if swim.count >= P99_FROM:
            claim = f"SWIM alpha={alpha:g}: p99 of the first verdict as modelled"
            verdicts.append(within(claim, swim.p99, wanted=model.p99, tolerance=0.05, unit=" s"))
        claim = f"Lifeguard alpha={alpha:g}: median first verdict as SWIM's"
        verdicts.append(within(claim, guard.p50, wanted=swim.p50, tolerance=0.02, unit=" s"))
    base = found["SWIM alpha=5", "all dead"].p50
    for alpha, part in ((4.0, 0.845), (2.0, 0.566)):
        ours = found[f"Lifeguard alpha={alpha:g}", "all dead"].p50 / base
        claim = f"Lifeguard alpha={alpha:g}: median full detection by SWIM alpha=5's"
        verdicts.append(within(claim, ours, wanted=part, tolerance=0.05))
    suspected = found["SWIM alpha=5", "suspected"].mean
    if math.isfinite(suspected):
        claim = "real crashes: mean first suspicion, free-running, as in first_detection"
        verdicts.append(within(claim, suspected, wanted=2.0, tolerance=0.05, unit=" s"))
    return verdicts


EXPERIMENT = Experiment(title="From a crash to the first and to the last verdict", run=run)
