"""How an instance is, from its checks: what runs, what silence means, what aliases see, what flaps."""

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gossipd.checks import Alias, Check, CheckResult, Tcp, Ttl
from gossipd.config import ChecksConfig
from gossipd.core.checks.health import Effect, HealthChanged, Monitor, Overdue, Report, StartCheck, StopCheck
from gossipd.core.events import CheckChanged
from gossipd.errors import RequestError
from gossipd.limits import CHECK_OUTPUT_BYTES_MAX, CHECK_OUTPUTS_BYTES_MAX, CHECKS_MAX, CHECKS_PER_INSTANCE_MAX
from gossipd.records import Health, Service

PASSING, WARNING, CRITICAL = Health
CONFIG = ChecksConfig()
WEB = Service(name="web", id="web", port=80)
UP = Check(id="up", target=Tcp())
ALIVE = Check(id="alive", target=Ttl(ttl_s=30.0))
CHANGED = HealthChanged(id="web")


def a_result(health: Health = PASSING, output: str = "") -> CheckResult:
    return CheckResult(health=health, output=output)


def unknown(_: Alias) -> CheckResult:
    return a_result(CRITICAL, "not known")


def a_monitor(*checks: Check, config: ChecksConfig = CONFIG) -> Monitor:
    monitor = Monitor(config, rng=Random(1), look_up=unknown)
    monitor.set(WEB, checks, now=0.0)
    return monitor


def runs(effects: Sequence[Effect]) -> dict[str, int]:
    """What is to be tried: the run by check."""
    return {effect.check.id: effect.run for effect in effects if isinstance(effect, StartCheck)}


def without_reports(effects: Sequence[Effect]) -> list[Effect]:
    return [effect for effect in effects if not isinstance(effect, Report)]


def bring(monitor: Monitor, health: Health, *, now: float, output: str = "") -> list[Effect]:
    """Let the one check of the monitor run and bring *health*."""
    [run] = runs(monitor.handle_timer(now=now)).values()
    return monitor.finished(run, a_result(health, output), now=now)


def test_an_instance_without_checks_is_passing() -> None:
    monitor = a_monitor()
    assert monitor.health("web") is PASSING
    assert monitor.next_deadline() == math.inf
    assert monitor.is_known("web")


def test_a_new_check_is_tried_at_once_and_critical_until_it_passes() -> None:
    monitor = a_monitor(UP)
    assert (monitor.health("web"), monitor.is_known("web"), monitor.next_deadline()) == (CRITICAL, False, 0.0)
    effects = monitor.handle_timer(now=0.0)
    assert effects == [StartCheck(run=1, check=UP, service=WEB)]
    event = CheckChanged(id="web", check="up", before=CRITICAL, after=PASSING, output="open")
    assert monitor.finished(1, a_result(output="open"), now=0.1) == [Report(event=event), CHANGED]
    assert (monitor.health("web"), monitor.is_known("web")) == (PASSING, True)


def test_the_first_result_is_news_even_if_it_only_confirms_the_beginning() -> None:
    monitor = a_monitor(UP)
    assert bring(monitor, CRITICAL, now=0.0) == [CHANGED]
    assert monitor.is_known("web")


def test_the_gravest_check_decides() -> None:
    monitor = a_monitor(replace(UP, id="a", initial=PASSING), replace(UP, id="b", initial=PASSING))
    run = runs(monitor.handle_timer(now=0.0))
    for health, of_b, of_both in (
        (WARNING, PASSING, WARNING),
        (CRITICAL, WARNING, CRITICAL),
        (PASSING, CRITICAL, CRITICAL),
    ):
        monitor.finished(run["a"], a_result(health), now=1.0)
        monitor.finished(run["b"], a_result(of_b), now=1.0)
        assert monitor.health("web") is of_both
        run = runs(monitor.handle_timer(now=monitor.next_deadline() + 60.0))
        while len(run) < 2:
            run |= runs(monitor.handle_timer(now=monitor.next_deadline() + 60.0))


def test_output_is_cut_to_its_limit_in_bytes_and_stays_text() -> None:
    monitor = a_monitor(replace(UP, output_bytes_max=5))
    bring(monitor, PASSING, now=0.0, output="äää")
    [(row, last_at, due_at)] = monitor.rows("web")
    assert row.output == "ää"
    assert last_at == 0.0
    assert 5.0 <= due_at <= 16.0


def test_a_report_that_does_not_come_makes_critical_whatever_the_thresholds() -> None:
    monitor = a_monitor(replace(ALIVE, failures_before_critical=3))
    assert without_reports(monitor.report("web", "alive", a_result(), now=10.0)) == [CHANGED]
    assert monitor.next_deadline() == 40.0
    assert monitor.handle_timer(now=39.9) == []
    assert without_reports(monitor.handle_timer(now=40.0)) == [CHANGED]
    assert monitor.health("web") is CRITICAL
    [(row, _, _)] = monitor.rows("web")
    assert row.output == "no report for 30 s"
    assert monitor.next_deadline() > 60.0  # the penalty's memory alone


def test_a_pause_of_the_machine_gives_everybody_as_much_more_time() -> None:
    monitor = a_monitor(replace(ALIVE, initial=PASSING, deregister_critical_after_s=5.0))
    monitor.overslept(100.0)
    assert monitor.next_deadline() == 130.0
    monitor.handle_timer(now=130.0)
    monitor.overslept(50.0)
    assert monitor.next_deadline() == 185.0


def test_a_failure_across_a_pause_of_the_machine_is_tried_again_and_a_success_counts() -> None:
    monitor = a_monitor(replace(UP, initial=PASSING))
    run = runs(monitor.handle_timer(now=0.0))["up"]
    monitor.overslept(60.0)
    again = runs(monitor.finished(run, a_result(CRITICAL, "timed out"), now=60.0))["up"]
    assert monitor.health("web") is PASSING
    assert monitor.failed == 0
    assert without_reports(monitor.finished(again, a_result(CRITICAL), now=60.1)) == [CHANGED]


def test_an_instance_that_stays_critical_is_overdue() -> None:
    check = replace(UP, deregister_critical_after_s=60.0, initial=PASSING)
    monitor = a_monitor(check)
    bring(monitor, CRITICAL, now=0.0)
    bring(monitor, PASSING, now=15.0)
    bring(monitor, CRITICAL, now=30.0)
    for at in (50.0, 70.0):
        bring(monitor, CRITICAL, now=at)
    effects = monitor.handle_timer(now=90.0)
    assert Overdue(id="web", check=check) in effects
    monitor.remove("web", lost=True, now=90.0)
    assert "web" not in monitor


GATED = (replace(UP, id="gate"), replace(UP, id="dear", gate="gate"))


def test_a_check_behind_a_gate_waits_until_it_opens() -> None:
    monitor = a_monitor(*GATED)
    run = runs(monitor.handle_timer(now=0.0))
    assert run.keys() == {"gate"}
    monitor.finished(run["gate"], a_result(CRITICAL), now=0.1)
    run = runs(monitor.handle_timer(now=1.0))
    assert run.keys() == {"gate"}
    assert runs(monitor.finished(run["gate"], a_result(), now=1.1)).keys() == {"dear"}


def test_a_check_behind_a_gate_that_closed_is_not_tried() -> None:
    monitor = a_monitor(*(replace(check, initial=PASSING) for check in GATED))
    run = runs(monitor.handle_timer(now=0.0))
    assert run.keys() == {"gate", "dear"}
    monitor.finished(run["dear"], a_result(), now=0.1)
    monitor.finished(run["gate"], a_result(CRITICAL), now=0.1)
    seen: set[str] = set()
    at = 0.1
    while at < 100.0:
        at = monitor.next_deadline()
        run = runs(monitor.handle_timer(now=at))
        seen |= run.keys()
        if "gate" in run:
            monitor.finished(run["gate"], a_result(CRITICAL), now=at)
    assert seen == {"gate"}


def test_registering_the_same_again_keeps_what_is_known_and_what_runs() -> None:
    monitor = a_monitor(UP, ALIVE)
    run = runs(monitor.handle_timer(now=0.0))["up"]
    monitor.report("web", "alive", a_result(), now=0.0)
    assert monitor.set(WEB, (UP, ALIVE), now=1.0) == []
    assert monitor.set(replace(WEB, tags=("v2",)), (UP, ALIVE), now=1.0) == []
    assert monitor.finished(run, a_result(), now=1.0)[-1] == CHANGED
    assert monitor.health("web") is PASSING


def test_a_changed_check_begins_with_the_health_that_it_had() -> None:
    monitor = a_monitor(UP)
    bring(monitor, PASSING, now=0.0)
    assert monitor.set(WEB, (replace(UP, interval_s=1.0),), now=1.0) == []
    assert (monitor.health("web"), monitor.next_deadline()) == (PASSING, 1.0)
    assert monitor.checks == 1


def test_a_service_that_moved_is_tried_where_it_is_now() -> None:
    monitor = a_monitor(UP)
    run = runs(monitor.handle_timer(now=0.0))["up"]
    moved = replace(WEB, port=81)
    assert monitor.set(moved, (UP,), now=0.5) == [StopCheck(run=run)]
    assert monitor.finished(run, a_result(), now=0.6) == []
    assert monitor.handle_timer(now=0.6) == [StartCheck(run=2, check=UP, service=moved)]


def test_what_is_withdrawn_is_not_tried_any_more() -> None:
    monitor = a_monitor(UP, ALIVE)
    run = runs(monitor.handle_timer(now=0.0))["up"]
    assert monitor.remove("web", lost=False, now=1.0) == [StopCheck(run=run)]
    assert (monitor.next_deadline(), monitor.checks) == (math.inf, 0)
    assert monitor.finished(run, a_result(), now=1.0) == []


def test_what_flaps_is_held_out_and_let_in_when_it_was_quiet() -> None:
    monitor = a_monitor(replace(ALIVE, initial=PASSING))
    for at in range(8):
        monitor.report("web", "alive", a_result(CRITICAL if at % 2 == 0 else PASSING), now=float(at))
    assert monitor.damping.damped("web")
    let_in = monitor.damping.next_deadline()
    for at in range(10, int(let_in), 10):
        monitor.report("web", "alive", a_result(), now=float(at))
    assert monitor.handle_timer(now=let_in) == [CHANGED]
    assert not monitor.damping.damped("web")


def test_it_can_be_let_in_by_hand() -> None:
    monitor = a_monitor(replace(ALIVE, initial=PASSING))
    assert monitor.undamp("web") == []
    for at in range(8):
        monitor.report("web", "alive", a_result(CRITICAL if at % 2 == 0 else PASSING), now=float(at))
    assert monitor.undamp("web") == [CHANGED]
    assert monitor.damping.penalty("web", now=8.0) == 0.0


def test_what_vanishes_and_comes_back_again_and_again_flaps_too() -> None:
    monitor = a_monitor()
    for at in range(4):
        monitor.remove("web", lost=True, now=float(at))
        monitor.set(WEB, (), now=float(at))
    assert monitor.damping.damped("web")


def test_to_warn_and_to_pass_in_turn_is_no_flapping() -> None:
    monitor = a_monitor(replace(ALIVE, initial=PASSING))
    for at in range(100):
        monitor.report("web", "alive", a_result(WARNING if at % 2 else PASSING), now=float(at))
    assert monitor.damping.penalty("web", now=100.0) == 0.0


class Elsewhere:
    """What is known of other instances, for aliases."""

    def __init__(self) -> None:
        self.health = CRITICAL

    def look_up(self, alias: Alias) -> CheckResult:
        return a_result(self.health, f"{alias.id} is {self.health.name.lower()}")


def test_an_alias_follows_whom_it_is_about() -> None:
    elsewhere = Elsewhere()
    monitor = Monitor(CONFIG, rng=Random(1), look_up=elsewhere.look_up)
    monitor.set(WEB, (Check(id="db", target=Alias(id="db-1", node="bob")),), now=0.0)
    assert (monitor.health("web"), monitor.is_known("web")) == (CRITICAL, True)
    assert monitor.stirred("bob", now=1.0) == []
    elsewhere.health = PASSING
    assert monitor.stirred("cat", now=1.0) == []
    assert without_reports(monitor.stirred("bob", now=1.0)) == [CHANGED]
    assert monitor.health("web") is PASSING
    assert (monitor.has_aliases_of("bob"), monitor.has_aliases_of(None)) == (True, False)
    monitor.remove("web", lost=False, now=2.0)
    assert not monitor.has_aliases_of("bob")


def test_aliases_in_a_circle_are_refused() -> None:
    monitor = a_monitor()
    monitor.set(replace(WEB, id="a"), (Check(id="x", target=Alias(id="b")),), now=0.0)
    monitor.set(replace(WEB, id="b"), (Check(id="x", target=Alias(id="c")),), now=0.0)
    for id, target in (("c", "a"), ("c", "c"), ("b", "a")):
        with pytest.raises(RequestError, match="expected no circle"):
            monitor.set(replace(WEB, id=id), (Check(id="x", target=Alias(id=target)),), now=0.0)
    assert "c" not in monitor


def test_one_check_too_many_is_refused_and_changes_nothing() -> None:
    monitor = a_monitor()
    checks = [replace(ALIVE, id=str(number)) for number in range(CHECKS_PER_INSTANCE_MAX)]
    for number in range(CHECKS_MAX // CHECKS_PER_INSTANCE_MAX):
        monitor.set(replace(WEB, id=str(number)), checks, now=0.0)
    with pytest.raises(RequestError, match="4097 checks of one node, expected at most 4096"):
        monitor.set(replace(WEB, id="more"), [ALIVE], now=0.0)
    with pytest.raises(RequestError, match="expected at most 16"):
        monitor.set(replace(WEB, id="more"), [replace(ALIVE, id=str(number)) for number in range(18)], now=0.0)
    with pytest.raises(RequestError, match="each id once"):
        monitor.set(replace(WEB, id="0"), [ALIVE, ALIVE], now=0.0)
    assert "more" not in monitor
    assert monitor.checks == CHECKS_MAX


def test_the_outputs_of_all_checks_together_are_bounded() -> None:
    monitor, more = a_monitor(), replace(WEB, id="more")
    large = replace(ALIVE, output_bytes_max=CHECK_OUTPUT_BYTES_MAX)
    checks = [replace(large, id=str(number)) for number in range(CHECKS_PER_INSTANCE_MAX)]
    most = CHECK_OUTPUTS_BYTES_MAX // CHECK_OUTPUT_BYTES_MAX // CHECKS_PER_INSTANCE_MAX
    for _ in range(2):
        for number in range(most):
            monitor.set(replace(WEB, id=str(number)), checks, now=0.0)
    with pytest.raises(RequestError, match=f"expected at most {CHECK_OUTPUTS_BYTES_MAX}"):
        monitor.set(more, [ALIVE], now=0.0)
    assert "more" not in monitor
    monitor.set(replace(WEB, id="0"), checks[1:], now=0.0)
    monitor.set(more, [large], now=0.0)
    monitor.remove("more", lost=False, now=0.0)
    monitor.set(replace(WEB, id="0"), checks, now=0.0)


TARGETS = (Tcp(), Ttl(ttl_s=3.0), Alias(id="a"), Alias(id="x", node="bob"))


class AnyLife(RuleBasedStateMachine):
    """Whatever happens: what is said of an instance is the gravest of its checks, and what was begun is ended or stopped."""

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.monitor = Monitor(replace(CONFIG, concurrent=3), rng=Random(1), look_up=self._look_up)
        self.running: dict[int, str] = {}
        self.elsewhere = PASSING

    def _look_up(self, alias: Alias) -> CheckResult:
        return a_result(self.elsewhere)

    def _hear(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case StartCheck():
                    assert effect.run not in self.running
                    self.running[effect.run] = effect.service.id
                case StopCheck():
                    del self.running[effect.run]
                case HealthChanged() | Overdue():
                    assert effect.id in self.monitor
                case Report():
                    assert effect.event.before is not effect.event.after
        overdue = {effect.id for effect in effects if isinstance(effect, Overdue)}
        for id in sorted(overdue):
            self._hear(self.monitor.remove(id, lost=True, now=self.now))

    @rule(
        id=st.sampled_from("ab"),
        tried=st.lists(st.sampled_from(TARGETS), max_size=4),
        gated=st.booleans(),
        doomed=st.booleans(),
        port=st.integers(1, 2),
    )
    def set(self, id: str, tried: list[Tcp | Ttl | Alias], gated: bool, doomed: bool, port: int) -> None:
        checks = [
            Check(
                id=str(number),
                target=target,
                interval_s=1.0,
                gate="0" if gated and number else None,
                deregister_critical_after_s=5.0 if doomed else None,
            )
            for number, target in enumerate(tried)
        ]
        if id == "a":
            checks = [check for check in checks if check.target != Alias(id="a")]
            if checks and checks[0].id != "0":
                checks = [replace(check, gate=None) for check in checks]
        self._hear(self.monitor.set(Service(name="web", id=id, port=port), checks, now=self.now))

    @rule(id=st.sampled_from("ab"), lost=st.booleans())
    def remove(self, id: str, lost: bool) -> None:
        if id in self.monitor:
            self._hear(self.monitor.remove(id, lost=lost, now=self.now))

    @rule(health=st.sampled_from(Health), pick=st.integers(0, 2))
    def finish(self, health: Health, pick: int) -> None:
        if self.running:
            run = sorted(self.running)[pick % len(self.running)]
            del self.running[run]
            self._hear(self.monitor.finished(run, a_result(health), now=self.now))

    @rule(id=st.sampled_from("ab"), health=st.sampled_from(Health))
    def report(self, id: str, health: Health) -> None:
        if id in self.monitor:
            for row, _, _ in list(self.monitor.rows(id)):
                if isinstance(row.check.target, Ttl):
                    self._hear(self.monitor.report(id, row.check.id, a_result(health), now=self.now))

    @rule(health=st.sampled_from(Health), node=st.sampled_from([None, "bob"]))
    def stir(self, health: Health, node: str | None) -> None:
        self.elsewhere = health
        self._hear(self.monitor.stirred(node, now=self.now))

    @rule(by_s=st.sampled_from([0.01, 0.5, 2.0, 60.0]))
    def wait(self, by_s: float) -> None:
        until = self.now + by_s
        wakes = 0
        while (at := self.monitor.next_deadline()) <= until:
            self.now = max(self.now, at)
            self._hear(self.monitor.handle_timer(now=self.now))
            wakes += 1
            assert wakes < 1_000, "it wakes for nothing"
        self.now = until

    @rule(by_s=st.sampled_from([1.0, 60.0]))
    def sleep(self, by_s: float) -> None:
        self.now += by_s
        self.monitor.overslept(by_s)

    @invariant()
    def the_gravest_check_decides(self) -> None:
        for id in "ab":
            if id in self.monitor:
                healths = [row.verdict.health for row, _, _ in self.monitor.rows(id)]
                assert self.monitor.health(id) is max(healths, default=PASSING)

    @invariant()
    def nothing_runs_that_nobody_waits_for(self) -> None:
        assert self.monitor.schedule.running == len(self.running) <= 3
        assert all(id in self.monitor for id in self.running.values())


TestAnyLife = AnyLife.TestCase
TestAnyLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
