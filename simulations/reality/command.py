"""The check's face on the command line: real daemons first, then worlds with the processor time that those took."""

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from types import FrameType
from typing import NoReturn

import click

from gossipd.config import PRESETS, ProtocolConfig
from simulations.experiments import result
from simulations.experiments.command import MADE_BY
from simulations.experiments.tables import as_text, write_csv
from simulations.options import make_folder
from simulations.reality import networks
from simulations.reality.compare import ENOUGH, TAIL, UNLIKELY, rows, table
from simulations.reality.networks import Bridged, Loopback
from simulations.reality.real import Effort, RealStage
from simulations.reality.simulated import CPU_S, Machine, link_of, simulate
from simulations.reality.trials import TRIALS, Play, Samples, hosts_of, leave, spread

NAME = "reality"
LEAST, MOST = 5, 60
QUIET_S, RESTS = 8.0, 2
"""How long daemons are left alone to see what they take when nothing happens, and how often: the quietest time counts, since syncs
go on for a while after all have met."""

MOVES = 3
"""How often a member leaves and comes back, to see what that costs the others."""

LOCAL_REQUESTS = 300
"""Small requests that tell how quick local sockets are."""


@click.command(NAME)
@click.option("--daemons", type=click.IntRange(LEAST, MOST), default=30, show_default=True)
@click.option("--profile", type=click.Choice(list(PRESETS)), default="lan", show_default=True)
@click.option("--trials", default=",".join(TRIALS), show_default=True, help="What to do, in this order.")
@click.option("--seeds", type=click.IntRange(min=1), default=20, show_default=True, help="Simulated worlds.")
@click.option("--seed", type=int, default=1, show_default=True, help="What chooses real victims and moments.")
@click.option("--once", is_flag=True, help="Each trial once: only to show that it runs.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("build/lab"), show_default=True)
def command(daemons: int, profile: str, trials: str, seeds: int, seed: int, once: bool, out: Path) -> None:
    """Do the same steps to real daemons and to simulated ones, and tell whether the real times lie inside the simulated.

    Starts DAEMONS processes on this machine, in namespaces of their own where it allows them, else on loopback, where
    nothing can be cut. Exit status 1 if something is outside.
    """
    chosen = trials.split(",")
    unknown = [name for name in chosen if name not in TRIALS]
    if unknown or len(set(chosen)) < len(chosen):
        raise click.UsageError(f"trials {trials!r}, expected some of, each once: {','.join(TRIALS)}")
    if out.resolve().is_relative_to(networks.HIDDEN):
        raise click.UsageError(f"--out {out}, expected a folder outside {networks.HIDDEN}, which the namespaces hide")
    make_folder(out)
    why_not = networks.why_not(os.environ)
    given = {"daemons": daemons, "profile": profile, "trials": trials, "seeds": seeds, "seed": seed, "out": out}
    arguments = [NAME, *(f"--{name}={value}" for name, value in given.items()), *(["--once"] if once else [])]
    if why_not is None:
        networks.enter(arguments, os.environ)
    check = Check(trials=chosen, why_not=why_not, daemons=daemons, profile=profile, seeds=seeds, seed=seed, once=once)
    try:
        with _interruptible():
            text, verdicts, good = check.run(out)
    except (OSError, RuntimeError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(text)
    made_by = f"{MADE_BY}python -m simulations {' '.join(arguments)}"
    (out / f"{NAME}.txt").write_text(f"{made_by}\n{text}\n\n{verdicts}\n", encoding="utf-8")
    sys.exit(0 if good else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What is to be measured. *why_not*: why nothing can be cut, or None."""

    trials: Sequence[str]
    why_not: str | None
    daemons: int
    profile: str
    seeds: int
    seed: int
    once: bool
    begun: float = field(default_factory=time.monotonic)

    def run(self, out: Path) -> tuple[str, str, bool]:
        """Measure both sides and write the table to *out*; return what there is to say, a verdict a line, whether all are good."""
        played = [name for name in self.trials if self.why_not is None or not TRIALS[name].cuts]
        hosts = hosts_of(played, self.daemons)
        network = Bridged(hosts) if self.why_not is None else Loopback(self.why_not)
        with RealStage(hosts, profile=self.profile, network=network) as stage:
            real, machine, notes = self._real(stage, played)
        self._tell(f"{self.seeds} worlds of as many hosts")
        cells = [(PRESETS[self.profile], machine, played, number) for number in range(1, self.seeds + 1)]
        worlds = result.spread(result.Settings(), partial(_world, nodes=self.daemons, once=self.once), cells)
        compared = rows(real, worlds)
        made = table(compared, [*notes, *self._notes(played)])
        write_csv(made, out)
        outside = [row.what for row in compared if not row.good]
        verdicts = "\n".join(str(row.verdict()) for row in compared)
        said = (
            f"OUTSIDE: {'; '.join(outside)}"
            if outside
            else f"all {len(compared)} rows are inside, or outside by chance"
        )
        return f"{as_text(made)}\n{said}", verdicts, not outside

    def _real(self, stage: RealStage, trials: Sequence[str]) -> tuple[Samples, Machine, list[str]]:
        """Play *trials* on real daemons; return what was measured, the machine it was on, and what to note of it."""
        play = Play(stage, nodes=self.daemons, rng=Random(f"{self.seed} trials"), once=self.once)
        self._tell(f"start {self.daemons} daemons, and wait until all know all")
        play.start()
        start_lag_s, loads = stage.note_lag(), []
        self._tell("see how quick this machine is")
        machine = self._machine(stage)
        for name in trials:
            play.trial(name, self._tell)
            loads.append(os.getloadavg()[0])
        notes = [
            f"What was measured of this machine, and given to the simulated one: {machine}.",
            f"Load of this machine: {min(loads):.1f} to {max(loads):.1f}. Latest timer of a daemon that was never frozen: "
            f"{start_lag_s * 1e3:.0f} ms while all started, {stage.note_lag() * 1e3:.0f} ms by the end.",
        ]
        return play.samples, machine, notes

    def _machine(self, stage: RealStage) -> Machine:
        """Let nothing happen for a while, then some news spread, then a member leave and return; measure what that costs."""
        play = Play(stage, nodes=self.daemons, rng=Random(f"{self.seed} effort"))
        quiet, rests = stage.effort(), list[Effort]()
        for _ in range(RESTS):
            begun = quiet
            stage.run(QUIET_S)
            quiet = stage.effort()
            rests.append(quiet.since(begun))
        idle = min(rests, key=lambda rest: rest.cpu_s / rest.at_s)
        spread(play)
        busy = stage.effort().since(quiet)
        who = play.pick(1)
        before = stage.effort(spared=who)
        started_s = []
        for _ in range(MOVES):
            leave(play, who)
            started_s.append(stage.start_s(who[0], quiet=idle.cpu_s / idle.at_s / self.daemons))
        moves = stage.effort(spared=who).since(before)
        local_s = stage.local_s(times=max(1, LOCAL_REQUESTS // self.daemons))
        member_s = _news_s(moves, idle) / (2 * MOVES * (self.daemons - 1))
        return Machine(
            cores=os.cpu_count() or 1,
            told_s=_news_s(busy, idle) / max(1, busy.told),
            member_s=member_s,
            start_s=max(0.0, sum(started_s) / MOVES - member_s),
            link=link_of(stage.round_trips_s()),
            local_s=tuple(each / 2 for each in local_s),
        )

    def _notes(self, played: Sequence[str]) -> list[str]:
        skipped = [name for name in self.trials if name not in played]
        where = "in namespaces on one bridge" if self.why_not is None else "on loopback"
        return [
            *([f"SKIPPED {', '.join(skipped)}, which cut the network: {self.why_not}"] if skipped else []),
            f"{self.daemons} daemons, profile {self.profile}, {where}; {self.seeds} simulated worlds; "
            f"{time.monotonic() - self.begun:.0f} s in all.",
            f"Interval: from the {TAIL:.0%} to the {1 - TAIL:.0%} quantile of the simulated samples, "
            f"with fewer than {ENOUGH} from the least to the greatest.",
            f"A row is OUTSIDE if chance puts so many of its samples outside in less than {UNLIKELY:.0%} of such rows; "
            "if in more, they are outside by chance.",
        ]

    def _tell(self, text: str) -> None:
        click.echo(f"{time.monotonic() - self.begun:6.1f} s  {text}", err=True)


def _world(
    config: ProtocolConfig, machine: Machine, trials: Sequence[str], seed: int, *, nodes: int, once: bool
) -> Samples:
    return simulate(config, machine, trials, nodes=nodes, seed=seed, once=once)


def _news_s(busy: Effort, idle: Effort) -> float:
    """Return the processor time that news took in *busy*, beyond what is idle and what the lab charges for each input."""
    meanwhile = busy.at_s / idle.at_s
    return max(0.0, busy.cpu_s - idle.cpu_s * meanwhile - (busy.inputs - idle.inputs * meanwhile) * CPU_S)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end this as Ctrl-C does: daemons first."""

    def interrupt(number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt(signal.Signals(number).name)

    former = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def register(cli: click.Group) -> None:
    """Add the command to the lab's group."""
    cli.add_command(command)
