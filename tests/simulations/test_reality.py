"""The check against reality, its pure parts: times from what was told, what lies inside an interval, what cannot be done."""

import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from gossipd.config import LOCAL
from gossipd.core.events import MemberChanged
from gossipd.ids import Address, Incarnation, NodeId
from gossipd.records import Status
from simulations.faults import Block, Crash, Cut, Freeze, Heal, Register, Thaw
from simulations.network import Link
from simulations.reality import networks, real
from simulations.reality.command import command
from simulations.reality.compare import Row, at_least, rows, table
from simulations.reality.networks import Loopback
from simulations.reality.observed import ALIVE, FAILED, NEVER, SUSPECT, Observed
from simulations.reality.real import RealStage
from simulations.reality.simulated import CPU_S, Machine, SharedCores, SimulatedStage, link_of, simulate
from simulations.reality.sockets import Watchers
from simulations.reality.trials import TRIALS, Play, Samples, hosts_of
from simulations.world import World

MACHINE = Machine(
    cores=2, told_s=0.000_5, member_s=0.001, start_s=0.0, link=Link(delay_s=0.000_1), local_s=(0.000_5, 0.001)
)


def a_row(real: list[float], simulated: list[float]) -> Row:
    return Row(what="crash", unit="s", real=real, simulated=simulated)


def a_change(member: NodeId) -> MemberChanged:
    return MemberChanged(
        member=member,
        before=Status.DEAD,
        after=Status.ALIVE,
        incarnation=Incarnation(1, 1),
        address=Address("10.0.0.1", 7946),
        accuser=member,
        source=member,
        how="gossip",
    )


def test_a_belief_counts_from_when_it_last_became_so() -> None:
    seen = Observed()
    seen.hear_status(1.0, 1, 0, ALIVE)
    seen.hear_status(2.0, 2, 0, ALIVE)
    seen.hear_status(5.0, 1, 0, SUSPECT)
    seen.hear_status(6.0, 1, 0, FAILED)
    assert seen.everywhere(0, FAILED, among={0, 1, 2}, since=4.0) == NEVER
    seen.hear_status(7.0, 2, 0, FAILED)
    seen.hear_status(8.0, 2, 0, FAILED)
    assert seen.everywhere(0, FAILED, among={0, 1, 2}, since=4.0) == 7.0
    assert seen.everywhere(0, FAILED, among={0, 1}, since=6.5) == 6.5
    assert seen.first(0, SUSPECT, since=4.0) == 5.0
    assert seen.first(0, SUSPECT, since=5.5) == NEVER


def test_who_has_gone_believes_nothing() -> None:
    seen = Observed()
    seen.hear_status(1.0, 1, 0, ALIVE)
    seen.hear_port(1.0, 1, 0, "web", 80)
    seen.forget(1)
    assert seen.everywhere(0, ALIVE, among={1}, since=0.0) == NEVER
    assert seen.known_everywhere(0, "web", 80, among={1}, since=0.0) == NEVER


def test_an_instance_is_gone_everywhere_also_for_those_who_never_heard_of_it() -> None:
    seen = Observed()
    seen.hear_port(1.0, 1, 0, "web", 80)
    assert seen.known_everywhere(0, "web", None, among={0, 1, 2}, since=2.0) == NEVER
    seen.hear_port(3.0, 1, 0, "web", None)
    assert seen.known_everywhere(0, "web", None, among={0, 1, 2}, since=2.0) == 3.0


def test_accusations_are_counted_by_whom_they_are_about() -> None:
    seen = Observed()
    for at, subject, status in ((1.0, 1, SUSPECT), (3.0, 2, SUSPECT), (4.0, 2, FAILED), (5.0, 3, SUSPECT)):
        seen.hear_status(at, 0, subject, status)
    assert seen.accused(0, since=2.0) == 2
    assert seen.accused(0, since=2.0, spared=(3,)) == 1


def test_an_interval_holds_all_of_few_samples_and_all_but_the_tails_of_many() -> None:
    few = [float(value) for value in range(100)]
    assert a_row([0.0], few).interval == (0.0, 99.0)
    assert a_row([0.0], [*few, NEVER]).interval == (0.0, 99.0)
    assert a_row([0.0], [value / 10 for value in range(1_000)]).interval == pytest.approx((1.0, 98.9), abs=0.11)


@pytest.mark.parametrize(
    ("real", "good"),
    [
        ([1.0, 5.0, 9.0], True),
        ([1.0, 5.0, 12.0], True),
        ([1.0, 12.0, 12.0], False),
        ([*[5.0] * 30, 12.0], True),  # one in thirty is what chance leaves outside
        ([*[5.0] * 28, 12.0, 12.0, 12.0, 12.0], False),
        ([5.0, NEVER, NEVER], False),  # it always happens in simulations
    ],
)
def test_a_row_is_inside_unless_chance_would_hardly_put_so_many_outside(real: list[float], good: bool) -> None:
    row = a_row(real, [float(value % 11) for value in range(99)])
    assert row.good is good
    assert row.verdict().good is good
    outside = row.inside < len(row.happened)
    assert row.cells()[-1] == ("OUTSIDE" if not good else "by chance" if outside else "inside")


@pytest.mark.parametrize(("happened", "good"), [(0, False), (4, True), (8, True)])
def test_what_happens_now_and_then_has_to_happen_about_as_often(happened: int, good: bool) -> None:
    real = [1.0] * happened + [NEVER] * (8 - happened)
    assert a_row(real, [1.0, 1.0, 1.0, NEVER] * 20).good is good


def test_the_binomial_tail_is_that_of_the_textbook() -> None:
    assert at_least(0, 5, 0.3) == pytest.approx(1.0)
    assert at_least(2, 3, 0.5) == pytest.approx(0.5)


def test_the_table_pools_worlds_and_keeps_the_order() -> None:
    real, worlds = Samples(), [Samples(), Samples()]
    for samples, value in zip([real, *worlds], (1.5, 1.0, 2.0), strict=True):
        samples.add("crash", value)
        samples.add("accused", 0.0, "members")
    made = table(rows(real, worlds), ["a note"])
    assert [row[:3] for row in made.rows] == [("crash", "s", "1"), ("accused", "members", "1")]
    assert made.rows[0][6:] == ("2", "1", "2", "2", "1 of 1", "inside")
    assert made.notes == ("a note",)


def test_a_link_has_the_round_trips_that_were_measured() -> None:
    trips = [value / 1e5 for value in range(100, 200)]
    link = link_of(trips)
    rng = np.random.default_rng(1)
    drawn = 2 * (link.delay_s + CPU_S) + link.jitter_s * (rng.random(10_000) + rng.random(10_000))
    assert np.median(drawn) == pytest.approx(np.median(trips), rel=0.02)
    assert np.min(drawn) == pytest.approx(np.min(trips), rel=0.05)


def test_simulated_trials_measure_all_that_real_ones_do_and_the_same_seed_measures_the_same() -> None:
    chosen = list(TRIALS)
    first = simulate(LOCAL, MACHINE, chosen, nodes=6, seed=1)
    assert first == simulate(LOCAL, MACHINE, chosen, nodes=6, seed=1)
    found = {what: values for (what, _), values in first.taken.items()}
    assert len(found) == 26
    assert all(0 < value < 1 for value in found["register: known everywhere"])
    assert all(value < 10 for value in found["crash: failed everywhere"])
    assert found["frozen 3 s: accused by the woken"] == [0.0, 0.0]


def test_hosts_on_shared_cores_wait_for_each_other() -> None:
    quick, slow = (
        simulate(LOCAL, replace(MACHINE, cores=cores, told_s=0.004), ["spread"], nodes=8, seed=1) for cores in (8, 1)
    )
    key = ("register: known everywhere", "s")
    assert np.median(slow.taken[key]) > 2 * np.median(quick.taken[key])


def test_what_one_input_changes_costs_once_and_what_the_next_one_changes_costs_again() -> None:
    world = World(2, seed=1, config=LOCAL)
    cores = SharedCores(MACHINE, Random(1))
    world.watch(cores)
    host, row = world.hosts[0], a_change(world.hosts[1].name)
    cores.on_event(host, row)
    once = host.busy_until
    cores.on_event(host, row)
    assert host.busy_until == once > 0.0
    world.run(0.001)
    cores.on_event(host, row)
    assert host.busy_until > max(once, 0.001)


def test_a_process_that_starts_takes_its_time_before_it_answers() -> None:
    quick, slow = (
        simulate(LOCAL, replace(MACHINE, start_s=start_s), ["crash"], nodes=6, seed=1) for start_s in (0.0, 0.05)
    )
    key = ("restart: alive everywhere", "s")
    assert np.median(slow.taken[key]) > np.median(quick.taken[key]) + 0.01


def test_the_same_steps_are_values_on_both_stages_and_what_one_cannot_do_it_says() -> None:
    stage = SimulatedStage(World(hosts_of(["join"], 5), seed=1, config=LOCAL), MACHINE)
    play = Play(stage, nodes=5, rng=Random(1))
    play.start()
    assert stage.running == {0, 1, 2, 3, 4}
    stage.do(Crash(hosts=(4,)))
    assert stage.running == {0, 1, 2, 3}
    with RealStage(5, profile="local", network=Loopback("it is only a test")) as on_daemons:
        for step in (Block(hosts=(1,)), Freeze(hosts=(1,), for_s=3.0)):
            with pytest.raises(ValueError, match="cannot be done to real daemons"):
                on_daemons.do(step)
        for cut in (Cut(groups=((0,), (1,))), Heal()):
            with pytest.raises(ValueError, match="loopback cannot be cut: it is only a test"):
                on_daemons.do(cut)
        for absent in (Register(hosts=(1,)), Thaw(hosts=(1,))):
            with pytest.raises(KeyError):
                on_daemons.do(absent)


def test_a_daemon_that_answers_before_this_run_of_it_is_ready_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [{"message": "daemon ready", "epoch": 1, "time": "2026-01-01T00:00:00+00:00"}]
    client = SimpleNamespace(call=lambda _method: {"info": {"epoch": 2}}, close=lambda: None)
    daemon = SimpleNamespace(
        running=True, socket="", log=lambda _message, epoch: [line for line in lines if line["epoch"] == epoch]
    )
    monkeypatch.setattr(real, "Client", lambda *_path, **_options: client)
    monkeypatch.setattr(Watchers, "add", lambda *_watch: None)
    with RealStage(5, profile="local", network=Loopback("it is only a test")) as stage:
        monkeypatch.setattr(stage, "_daemon", lambda _number: daemon)
        monkeypatch.setattr(stage, "_cpu_ns", lambda _number: 0)
        stage._starting.add(3)
        stage._greet(3)
        assert stage.running == set()
        assert stage.observed.born == {}
        lines.append({"message": "daemon ready", "epoch": 2, "time": datetime.now(UTC).isoformat()})
        stage._greet(3)
        assert stage.running == {3}
        assert stage.observed.born[3] == pytest.approx(time.monotonic(), abs=5.0)


def test_a_machine_without_the_tools_or_the_right_says_why_nothing_can_be_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: None if tool in ("ip", "mount") else tool)
    assert networks.why_not({}) == "there is no ip and no mount on this machine"
    monkeypatch.setattr(shutil, "which", lambda tool: tool)
    monkeypatch.setattr(networks, "_unshare", lambda: ["sh", "-c", "echo unshare failed: not permitted >&2; exit 1"])
    assert str(networks.why_not({})).endswith(": unshare failed: not permitted")
    assert networks.why_not({networks.INSIDE: "1"}) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--daemons", "4"], "5<=x<=60"),
        (["--daemons", "61"], "5<=x<=60"),
        (["--trials", "crash,boil"], "trials 'crash,boil', expected some of"),
        (["--trials", "crash,crash"], "expected some of, each once"),
        (["--seeds", "0"], "x>=1"),
        (["--out", "/run/lab"], "--out /run/lab, expected a folder outside /run"),
        (["--out", "/dev/null/lab"], "--out /dev/null/lab: Not a directory"),
    ],
)
def test_bad_input_starts_nothing(arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("it went on")

    monkeypatch.setattr(networks, "why_not", never)
    refused = CliRunner().invoke(command, arguments)
    assert (refused.exit_code, said in refused.output) == (2, True), refused.output
