"""The budgets of the design, measured: real daemons on loopback, serf beside them where it is installed.

python -m tests.bench [--nodes 60] [--seconds 20] [--only SECTION ...] [--json FILE]; docs/howto/benchmark.md says how to read it.
"""

import argparse
import compileall
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TypeVar

import gossipd
from tests.bench import etcd, serf
from tests.bench.asking import ask_etcd, ask_ours, ask_serf
from tests.bench.checks import checks_cost
from tests.bench.gossipd_side import Ours, spread
from tests.bench.lookups import mirror_speeds
from tests.bench.machine import own_loopback
from tests.bench.results import Budget, Report, Row, SpeedRow
from tests.bench.serf_side import Serfs
from tests.bench.simulator import simulator_s
from tests.bench.syncs import RECORDS, sync_bytes
from tests.bench.watchers import watchers_cost

SECTIONS = (
    *("join", "idle", "changes", "memory", "resolve", "client", "kill"),
    *("sync", "simulator", "checks", "watchers", "mirror"),
)

WITHOUT_A_CLUSTER = {"sync", "simulator", "checks", "watchers", "mirror"}
"""Sections that start no daemons of their own cluster."""

ASKED = "One client, one request at a time"
"""The title of its table."""

LIMIT_S = 1_200
"""After so many seconds everything is ended, whatever hangs."""

Figures = dict[str, float]
T = TypeVar("T")


def main() -> int:
    options = _options()
    signal.signal(signal.SIGALRM, _overdue)
    signal.signal(signal.SIGTERM, _overdue)
    signal.alarm(LIMIT_S)
    compileall.compile_dir(Path(gossipd.__file__).parent, quiet=2)  # as installed; compiling costs each daemon memory
    alone = own_loopback()
    report = Report()
    with_serf = serf.installed() and not options.no_serf
    report.conditions |= {
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.2f} at the start",
        "daemons": f"{options.nodes}, LAN profile, one key, {options.seconds:g} s idle",
        "serf": f"{serf.version()}, {'without' if options.serf_plain else 'with'} a key"
        if with_serf
        else "not measured",
        "traffic": "IP packets on a loopback of our own"
        if alone
        else "IP packets on the SHARED loopback: others count too",
    }
    ours = _guarded("gossipd", report, lambda: _measure_ours(options, report)) or {}
    serfs = (_guarded("serf", report, lambda: _measure_serf(options, report)) or {}) if with_serf else {}
    fixed = _guarded("sync", report, _measure_sync) or {} if "sync" in options.only else {}
    if "simulator" in options.only:
        _say("simulator")
        fixed |= _guarded("simulator", report, lambda: {"simulator_s": simulator_s()}) or {}
    if "checks" in options.only:
        _say("checks")
        fixed |= _guarded("checks", report, lambda: checks_cost([])) or {}
    if "watchers" in options.only:
        _say("watchers")
        fixed |= _guarded("watchers", report, watchers_cost) or {}
    if "client" in options.only:
        _beside(options, report, with_serf)
    if "mirror" in options.only:
        _say("mirror")
        report.speeds |= _guarded("mirror", report, mirror_speeds) or {}
    report.rows += _rows(ours | fixed, serfs, options.only)
    print(report.as_table())
    if options.json is not None:
        options.json.write_text(report.as_json())
    return 0


def _measure_ours(options: argparse.Namespace, report: Report) -> Figures:
    figures: Figures = {}
    if set(options.only) <= WITHOUT_A_CLUSTER:
        return figures
    joins = _more_joins(lambda: Ours(options.nodes), "gossipd", options, report)
    _say(f"starting {options.nodes} daemons")
    with Ours(options.nodes) as ours:
        steps: dict[str, Callable[[], Figures]] = {
            "join": lambda: _prefixed("join", spread([*joins, ours.join()])),
            "idle": lambda: ours.idle(options.seconds),
            "changes": lambda: _prefixed("change", spread(ours.changes(options.changes))),
            "memory": lambda: dict(zip(("memory", "memory_max"), ours.memory(), strict=True)),
            "resolve": ours.resolve,
            "client": lambda: _asked(ask_ours(ours), report),
            "kill": lambda: _prefixed("kill", spread(ours.kills(options.kills))),
        }
        _run(steps, "gossipd", options, report, figures)
    return figures


def _measure_serf(options: argparse.Namespace, report: Report) -> Figures:
    figures: Figures = {}
    if set(options.only) <= {*WITHOUT_A_CLUSTER, "resolve"}:
        return figures
    joins = _more_joins(lambda: Serfs(options.nodes, sealed=not options.serf_plain), "serf", options, report)
    _say(f"starting {options.nodes} serf agents")
    with Serfs(options.nodes, sealed=not options.serf_plain) as serfs:

        def changes() -> Figures:
            listed, told = serfs.changes(max(10, options.changes // 4))
            return _prefixed("change", spread(listed)) | _prefixed("told", spread(told))

        steps: dict[str, Callable[[], Figures]] = {
            "join": lambda: _prefixed("join", spread([*joins, serfs.join()])),
            "idle": lambda: serfs.idle(options.seconds),
            "changes": changes,
            "memory": lambda: dict(zip(("memory", "memory_max"), serfs.memory(), strict=True)),
            "client": lambda: _asked(ask_serf(serfs), report),
            "kill": lambda: _prefixed("kill", spread(serfs.kills(options.kills))),
        }
        _run(steps, "serf", options, report, figures)
    return figures


def _beside(options: argparse.Namespace, report: Report, with_serf: bool) -> None:
    """Ask etcd what was asked of the others, and tell who could not be asked."""
    if not with_serf:
        report.problems.append("serf, client: not installed (Debian: serf), or left out by --no-serf")
    if etcd.installed():
        _say("etcd: client")
        report.conditions["etcd"] = f"{etcd.version()}, one server"
        _guarded("etcd, client", report, lambda: _asked(ask_etcd(options.nodes), report))
    else:
        report.problems.append("etcd, client: not installed (Debian: etcd-server)")


def _asked(rows: list[SpeedRow], report: Report) -> Figures:
    """Put *rows* into the table of those who were asked the same; they are not among the budgets' figures."""
    report.speeds.setdefault(ASKED, []).extend(rows)
    return {}


def _more_joins(
    start: Callable[[], Ours | Serfs], who: str, options: argparse.Namespace, report: Report
) -> list[float]:
    """Return the times of all joins but the last, each of processes of its own; empty if joining is not asked for.

    Which news is lost is chance, and one loss costs seconds: a single join says little.
    """
    taken: list[float] = []
    for number in range(1, options.joins if "join" in options.only else 1):
        _say(f"{who}: join {number} of {options.joins}")

        def join() -> Figures:
            with start() as started:
                taken.append(started.join())
            return {}

        _guarded(f"{who}, join {number}", report, join)
    return taken


def _run(
    steps: dict[str, Callable[[], Figures]], who: str, options: argparse.Namespace, report: Report, figures: Figures
) -> None:
    """Take each step that is asked for; joining comes first in any case. One that fails is told, and the others go on."""
    for name, step in steps.items():
        if name == "join" or name in options.only:
            _say(f"{who}: {name}")
            figures |= _guarded(f"{who}, {name}", report, step) or {}


def _measure_sync() -> Figures:
    _say("sync")
    opener, acceptor = sync_bytes()
    return {"sync_bytes": opener + acceptor}


def _rows(ours: Figures, serfs: Figures, only: list[str]) -> list[Row]:
    """Return the table of the budgets, and below each what helps to judge it."""

    def row(
        section: str, what: str, unit: str, name: str, *, scale: float = 1, theirs: str | None = None, note: str = "",
        budget: Budget = Budget.NONE, limit: float = float("nan"),
    ) -> tuple[str, Row]:  # fmt: skip
        mine, other = ours.get(name), serfs.get(theirs or name)
        return section, Row(
            what=what,
            unit=unit,
            ours=None if mine is None else mine * scale,
            serfs=None if other is None else other * scale,
            budget=budget,
            limit=limit,
            note=note,
        )

    at_most, at_least, serf_most = Budget.AT_MOST, Budget.AT_LEAST, Budget.AT_MOST_SERF
    core = "answers per second of the daemon's processor time: what a machine that is busy otherwise does not change"
    listed = "serf: until the last member list has the tag"
    rows = [
        row("idle", "idle CPU per daemon", "% of a core", "cpu_percent", budget=serf_most),
        row("idle", "idle traffic per daemon", "bytes/s", "bytes_per_s", budget=serf_most),
        row("idle", "idle packets per daemon", "packets/s", "packets_per_s"),
        row(
            "idle", "  of it datagrams, by its own count", "bytes/s", "own_bytes_per_s", note="28 B of IP and UDP added"
        ),
        row("changes", "change seen by the last daemon, p50", "ms", "change_p50", scale=1e3, note=listed),
        row("changes", "change seen by the last daemon, p99", "ms", "change_p99", scale=1e3, budget=at_most, limit=150),
        row("changes", "  serf's event streams, p99", "ms", "-", theirs="told_p99", scale=1e3),
        row("join", "joins until every view is complete, p50", "s", "join_p50", budget=serf_most),
        row("join", "  the slowest", "s", "join_max"),
        row("kill", "kill until all declared it failed, p50", "s", "kill_p50"),
        row("kill", "kill until all declared it failed, max", "s", "kill_max"),
        row(
            "memory",
            "resident memory, median",
            "MB",
            "memory",
            scale=1e-6,
            note="serf has no services: members and a tag",
        ),
        row("memory", "resident memory, largest", "MB", "memory_max", scale=1e-6, budget=at_most, limit=45),
        row("resolve", "resolve, one at a time, JSON", "1/s", "serial_json", budget=at_least, limit=5_000),
        row("resolve", "resolve, one at a time, msgpack", "1/s", "serial_msgpack", budget=at_least, limit=5_000),
        row("resolve", "resolve, pipelined, JSON", "1/s", "pipelined_json", budget=at_least, limit=50_000),
        row("resolve", "resolve, pipelined, msgpack", "1/s", "pipelined_msgpack", budget=at_least, limit=50_000),
        row("resolve", "  pipelined, JSON, per core-second", "1/s", "pipelined_json_core", note=core),
        row("resolve", "  pipelined, msgpack, per core-second", "1/s", "pipelined_msgpack_core", note=core),
        row("sync", f"sync, {RECORDS:,} records, one differs", "bytes", "sync_bytes", budget=at_most, limit=20_000),
        row("checks", "one tcp check, CPU", "ms", "tcp_ms"),
        row("checks", "one http check, CPU", "ms", "http_ms"),
        row("checks", "one script check, CPU of the daemon", "ms", "script_ms"),
        row("checks", "1,000 http checks every 10 s, CPU", "% of a core", "paced_cpu_percent"),
        row("checks", "  worst lateness of a start", "ms", "paced_late_s", scale=1e3),
        row("checks", "  starts in the busiest 0.1 s, by average", "times", "paced_busiest_bin"),
        row("watchers", "one change, nobody watches, CPU", "ms", "alone_ms"),
        row("watchers", "one change, 1,000 watchers, CPU", "ms", "watched_ms"),
        row("watchers", "  for each watcher, CPU", "us", "delivery_us"),
        row("watchers", "  until a watcher has heard it, p50", "ms", "delay_p50_s", scale=1e3),
        row("watchers", "  until a watcher has heard it, p99", "ms", "delay_p99_s", scale=1e3),
        row("watchers", "  1,000 changes for each: lost", "events", "lost", budget=at_most, limit=0),
        row("watchers", "  the daemon grew by", "MB", "grown_bytes", scale=1e-6),
        row("simulator", "simulator, 1,000 nodes, 120 s, CPU", "s", "simulator_s", budget=at_most, limit=120),
    ]
    return [row for section, row in rows if section in only]


def _guarded(what: str, report: Report, step: Callable[[], T]) -> T | None:
    """Return what *step* measured; None, and a line in the report, if it could not."""
    try:
        return step()
    except Exception as error:  # a figure that is missing must not cost the others
        report.problems.append(f"{what}: {type(error).__name__}: {error}")
        _say(f"{what}: {type(error).__name__}: {error}")
        return None


def _prefixed(prefix: str, figures: Figures) -> Figures:
    return {f"{prefix}_{name}": value for name, value in figures.items()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=60, help="daemons, and as many serf agents [60]")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long idleness is measured [20]")
    parser.add_argument("--changes", type=int, default=60, help="changes of a service [60]")
    parser.add_argument("--kills", type=int, default=3, help="daemons killed [3]")
    parser.add_argument("--joins", type=int, default=3, help="times that all join anew [3]")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="measure this section; repeatable [all]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE as well")
    parser.add_argument("--no-serf", action="store_true", help="leave serf out even where it is installed")
    parser.add_argument("--serf-plain", action="store_true", help="run serf without a key, as it is by default")
    options = parser.parse_args()
    if not 3 <= options.nodes <= 500:
        parser.error(f"--nodes={options.nodes}, expected 3 to 500")
    options.only = options.only or list(SECTIONS)
    return options


def _overdue(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(f"ended by {signal.Signals(number).name}; everything that was started has been stopped")


def _say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
