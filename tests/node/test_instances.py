"""The life of an instance on its own node, and what others hear of it: holders, leases, drains, checks, restarts."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest

from gossipd.checks import Alias, Check, CheckResult, Tcp, Ttl
from gossipd.config import LAN, LOCAL
from gossipd.core.events import RegistrationLost, RegistrationsChanged
from gossipd.errors import RequestError
from gossipd.ids import Address
from gossipd.limits import RECORD_BYTES_MAX, REGISTRATIONS_PER_UID_MAX, UNREGISTERED_DECISION_S
from gossipd.node.actions import Action, CancelCheck, Publish, RunCheck, UnwatchPid, WatchPid
from gossipd.node.node import Node
from gossipd.node.view import KEPT, CheckRow, Holder, RegistrationRow
from gossipd.records import NORMAL_STATE, Health, Mode, NodeInfo, Service, State
from tests.network import Network, a_service

PASSING, WARNING, CRITICAL = Health
UP = Check(id="up", target=Tcp())
ALIVE = Check(id="alive", target=Ttl(ttl_s=10.0))
LEASE = Holder(kind="lease", lease_s=30.0)
OVER_FIRST = Holder(kind="connection", connection=1)


class Alone:
    """One node, alone, on a clock of its own; *done* are the actions since the last look."""

    def __init__(self) -> None:
        self.net = Network(config=LOCAL)
        self.node = self.net.add(0)

    @property
    def now(self) -> float:
        return self.net.now

    def take(self) -> Sequence[Action]:
        """What it asked for since the last call, but packets and news."""
        kinds = RunCheck | CancelCheck | WatchPid | UnwatchPid
        taken = [action for _, _, action in self.net.history if isinstance(action, kinds)]
        self.net.history.clear()
        return taken

    def register(
        self, id: str = "web", *checks: Check, holder: Holder = KEPT, port: int = 80, address: str | None = None
    ) -> RegistrationRow:
        service = Service(name="web", id=id, port=port, address=address)
        row, actions = self.node.register(service, holder=holder, checks=checks, now=self.now)
        self.net.do(self.node, actions)
        return row

    def do(self, actions: list[Action]) -> None:
        self.net.do(self.node, actions)

    def run(self, seconds: float) -> None:
        self.net.run(seconds)

    def finish(self, health: Health = PASSING, output: str = "") -> None:
        """Let every check that runs bring *health*."""
        for action in self.take():
            if isinstance(action, RunCheck):
                result = CheckResult(health=health, output=output)
                self.do(self.node.check_finished(action.run, result, now=self.now))

    def lost(self) -> list[str]:
        return [event.why for event in self.net.heard(RegistrationLost) if isinstance(event, RegistrationLost)]

    def row(self, id: str = "web") -> RegistrationRow:
        [found] = [row for row in self.node.view.registrations(now=self.now) if row.id == id]
        return found

    def checks(self, id: str = "web") -> list[CheckRow]:
        return self.node.view.checks(id, now=self.now)


def state_of(node: Node, id: str = "web", *, owner: Node | None = None) -> State | None:
    """How *node* believes instance *id* of *owner* to be; None if it knows of none."""
    record = node._m.catalog.get((owner or node).me, f"service/{id}")
    return record.content.state if record is not None and isinstance(record.content, Service) else None


def info_of(node: Node, owner: Node) -> NodeInfo:
    record = node._m.catalog.get(owner.me, "node")
    assert record is not None
    assert isinstance(record.content, NodeInfo)
    return record.content


# ------------------------------------------------------------------------------------------------------------- checks


def test_an_instance_with_checks_is_published_at_once_and_ready_when_they_pass() -> None:
    alone = Alone()
    row = alone.register("web", UP)
    assert (row.health, row.checks, row.holder) == ("critical", 1, "kept")
    assert state_of(alone.node) == State(health=CRITICAL)
    alone.run(0.1)
    [run] = alone.take()
    assert run == RunCheck(run=1, check=UP, service=a_service(), host="127.0.0.1")
    alone.do(alone.node.check_finished(1, CheckResult(health=PASSING, output="open"), now=alone.now))
    assert state_of(alone.node) == NORMAL_STATE
    [checked] = alone.checks()
    assert (checked.id, checked.kind, checked.health, checked.output) == ("up", "tcp", "passing", "open")
    assert (checked.successes, checked.failures) == (1, 0)
    assert checked.next_run_s is not None
    assert 4.0 < checked.next_run_s < 16.0


def test_checks_try_the_address_of_the_instance() -> None:
    alone = Alone()
    alone.register("web", UP, address="192.0.2.7")
    alone.run(0.1)
    [run] = alone.take()
    assert isinstance(run, RunCheck)
    assert run.host == "192.0.2.7"


def test_only_a_change_of_state_is_news() -> None:
    alone = Alone()
    alone.register("web", replace(UP, interval_s=1.0))
    alone.run(0.1)
    alone.finish()
    index = alone.node.view.index
    for _ in range(20):
        alone.run(1.0)
        alone.finish(output=str(alone.now))
    assert alone.node.view.index == index
    statistics = alone.node.view.statistics(now=alone.now)
    assert statistics.checks_run > 15
    assert (statistics.checks, statistics.checks_failed, statistics.checks_running) == (1, 0, 0)
    alone.run(1.0)
    alone.finish(CRITICAL)
    assert alone.node.view.index == index + 1
    assert state_of(alone.node) == State(health=CRITICAL)


def test_what_flaps_is_held_out_for_everybody_and_no_longer_news_until_it_is_let_in() -> None:
    net = Network(config=LOCAL)
    nodes = net.cluster(4)
    owner = nodes[1]
    service, check = a_service(), replace(ALIVE, initial=PASSING)
    net.do(owner, owner.register(service, holder=KEPT, checks=(check,), now=net.now)[1])
    for at in range(12):
        result = CheckResult(health=CRITICAL if at % 2 == 0 else PASSING)
        net.do(owner, owner.report("web", None, result, now=net.now))
        net.run(1.0)
    held_out = State(health=CRITICAL, damped=True)
    assert [state_of(node, owner=owner) for node in nodes] == [held_out] * 4
    [row] = owner.view.registrations(now=net.now)
    assert (row.health, row.damped) == ("passing", True)
    assert row.penalty > LOCAL.checks.damping_reuse
    index = [node.view.index for node in nodes]
    for at in range(6):
        result = CheckResult(health=CRITICAL if at % 2 == 0 else PASSING)
        net.do(owner, owner.report("web", None, result, now=net.now))
        net.run(1.0)
    assert [node.view.index for node in nodes] == index
    assert owner.view.statistics(now=net.now).instances_damped == 1
    net.do(owner, owner.undamp("web", now=net.now))
    net.run(1.0)
    assert [state_of(node, owner=owner) for node in nodes] == [NORMAL_STATE] * 4


def test_it_is_let_in_by_time_alone() -> None:
    alone = Alone()
    alone.register("web", replace(ALIVE, initial=PASSING))
    for at in range(8):
        result = CheckResult(health=CRITICAL if at % 2 == 0 else PASSING)
        alone.do(alone.node.report("web", "alive", result, now=alone.now))
    assert alone.row().damped
    waited_s = 0.0
    while alone.row().damped:
        alone.do(alone.node.report("web", "alive", CheckResult(health=PASSING), now=alone.now))
        alone.run(5.0)
        waited_s += 5.0
    assert 110.0 <= waited_s <= 130.0  # from 4,000 to 1,000: two half-lives
    assert state_of(alone.node) == NORMAL_STATE


def test_registering_again_is_no_blip() -> None:
    alone = Alone()
    alone.register("web", UP)
    alone.run(0.1)
    alone.finish()
    index = alone.node.view.index
    alone.register("web", UP)
    alone.register("web", replace(UP, interval_s=3.0))
    assert state_of(alone.node) == NORMAL_STATE
    assert alone.node.view.index == index
    alone.register("web", UP, port=81)
    assert state_of(alone.node) == NORMAL_STATE


def test_a_state_that_a_client_brings_is_not_its_to_say() -> None:
    alone = Alone()
    service = replace(a_service(), state=State(health=CRITICAL, damped=True))
    alone.do(alone.node.register(service, holder=KEPT, now=alone.now)[1])
    assert state_of(alone.node) == NORMAL_STATE


def test_an_alias_follows_its_target_through_the_cluster() -> None:
    net = Network(config=LOCAL)
    nodes = net.cluster(3)
    database = Service(name="db", id="db", port=5432)
    net.do(
        nodes[1], nodes[1].register(database, holder=KEPT, checks=(replace(ALIVE, initial=PASSING),), now=net.now)[1]
    )
    net.run(1.0)
    follows = Check(id="db", target=Alias(id="db", node="n1"))
    net.do(nodes[0], nodes[0].register(a_service(), holder=KEPT, checks=(follows,), now=net.now)[1])
    second = Check(id="web", target=Alias(id="web", node="n0"))
    net.do(nodes[0], nodes[0].register(a_service(id="second"), holder=KEPT, checks=(second,), now=net.now)[1])
    assert state_of(nodes[0]) == state_of(nodes[0], "second") == NORMAL_STATE
    net.do(nodes[1], nodes[1].maintain("db", reason="upgrade", now=net.now))
    net.run(1.0)
    assert state_of(nodes[2], owner=nodes[0]) == state_of(nodes[2], "second", owner=nodes[0]) == State(health=CRITICAL)
    [row] = nodes[0].view.checks("web", now=net.now)
    assert (row.kind, row.output) == ("alias", "db on n1 is maintenance")
    net.do(nodes[1], nodes[1].maintain("db", reason=None, now=net.now))
    net.run(1.0)
    assert state_of(nodes[2], "second", owner=nodes[0]) == NORMAL_STATE
    net.crash(nodes[1])
    net.run(20.0)
    assert state_of(nodes[2], "second", owner=nodes[0]) == State(health=CRITICAL)


def test_an_alias_of_the_node_itself_fails_while_the_node_drains() -> None:
    alone = Alone()
    alone.register("web", Check(id="node", target=Alias()), Check(id="me", target=Alias(node="n0")))
    assert state_of(alone.node) == NORMAL_STATE
    alone.do(alone.node.drain(None, now=alone.now)[1])
    assert state_of(alone.node) == State(health=CRITICAL)
    alone.do(alone.node.undrain(None, now=alone.now))
    assert state_of(alone.node) == NORMAL_STATE


def test_an_instance_whose_check_stays_critical_is_withdrawn_and_what_ran_is_stopped() -> None:
    alone = Alone()
    alone.register("web", replace(UP, deregister_critical_after_s=60.0), replace(UP, id="other"))
    alone.run(59.0)
    alone.take()
    alone.run(2.0)
    assert alone.node.view.registrations(now=alone.now) == []
    assert alone.lost() == ["its check 'up' has been critical for 60 s"]
    assert {type(action) for action in alone.take()} == {CancelCheck}
    assert alone.node.view.statistics(now=alone.now).checks_running == 0


def test_only_ttl_checks_can_be_reported() -> None:
    alone = Alone()
    passing = CheckResult(health=PASSING)
    alone.register("web", UP, ALIVE, holder=LEASE)
    alone.do(alone.node.report("web", None, passing, now=alone.now))
    for id, check, wrong in (
        ("web", "up", "check='up', expected a ttl check of 'web': alive"),
        ("web", "lease", "expected a ttl check"),
        ("db", None, "id='db', expected an instance"),
    ):
        with pytest.raises(RequestError, match=wrong):
            alone.node.report(id, check, passing, now=alone.now)
    alone.register("web", ALIVE, replace(ALIVE, id="more"))
    with pytest.raises(RequestError, match="has 2 ttl checks, expected the id of one"):
        alone.node.report("web", None, passing, now=alone.now)
    with pytest.raises(RequestError, match="has no lease"):
        alone.node.renew("web", now=alone.now)


# ------------------------------------------------------------------------------------------------------------ holders


def test_a_lease_that_is_not_renewed_is_critical_and_then_gone() -> None:
    alone = Alone()
    row = alone.register("web", holder=LEASE)
    assert (row.health, row.lease_left_s, row.checks) == ("passing", 30.0, 0)
    alone.run(20.0)
    alone.do(alone.node.renew("web", now=alone.now))
    alone.run(29.9)
    assert state_of(alone.node) == NORMAL_STATE
    assert alone.row().lease_left_s == pytest.approx(0.1)
    alone.run(0.2)
    assert state_of(alone.node) == State(health=CRITICAL)
    assert alone.row().lease_left_s == 0.0
    assert [check.output for check in alone.checks()] == ["no report for 30 s"]
    alone.run(59.8)
    assert state_of(alone.node) is not None
    alone.run(0.2)
    assert state_of(alone.node) is None
    assert alone.lost() == ["its lease has been critical for 60 s"]


def test_a_lapsed_lease_that_is_renewed_or_taken_again_is_well() -> None:
    alone = Alone()
    alone.register("web", holder=LEASE)
    for take_again in (
        lambda: alone.do(alone.node.renew("web", now=alone.now)),
        lambda: alone.register("web", holder=LEASE),
    ):
        alone.run(31.0)
        assert state_of(alone.node) == State(health=CRITICAL)
        take_again()
        assert state_of(alone.node) == NORMAL_STATE
        alone.run(29.0)
        assert state_of(alone.node) == NORMAL_STATE


def test_a_pause_of_the_machine_costs_no_lease() -> None:
    alone = Alone()
    alone.register("web", holder=LEASE)
    alone.run(1.0)
    alone.net.now += 3_600.0
    alone.run(25.0)
    assert state_of(alone.node) == NORMAL_STATE


def test_the_end_of_a_process_ends_what_it_held_at_once() -> None:
    alone = Alone()
    holder = Holder(kind="pid", pid=77)
    alone.register("a", holder=holder)
    alone.register("b", holder=holder)
    alone.register("c", holder=KEPT)
    assert alone.take() == [WatchPid(pid=77)]
    alone.do(alone.node.pid_exited(77, now=alone.now))
    assert [row.id for row in alone.node.view.registrations(now=alone.now)] == ["c"]
    assert alone.lost() == ["process 77 has ended"] * 2
    assert alone.take() == [UnwatchPid(pid=77)]


def test_a_process_that_holds_nothing_any_more_is_not_watched() -> None:
    alone = Alone()
    alone.register("a", holder=Holder(kind="pid", pid=77))
    alone.register("b", holder=Holder(kind="pid", pid=77))
    alone.register("a", holder=Holder(kind="pid", pid=78))
    assert alone.take() == [WatchPid(pid=77), WatchPid(pid=78)]
    alone.register("b", holder=KEPT)
    alone.do(alone.node.deregister("a", now=alone.now))
    assert alone.take() == [UnwatchPid(pid=77), UnwatchPid(pid=78)]


def test_a_lost_connection_has_its_grace() -> None:
    alone = Alone()
    alone.register("web", holder=OVER_FIRST)
    alone.do(alone.node.connection_lost(1, now=alone.now))
    alone.run(2.9)
    assert state_of(alone.node) == NORMAL_STATE
    alone.register("web", holder=Holder(kind="connection", connection=2))
    alone.run(10.0)
    alone.do(alone.node.connection_lost(2, now=alone.now))
    alone.run(3.1)
    assert alone.lost() == ["its connection was lost"]


def test_the_quota_of_a_user_binds_him_alone() -> None:
    alone = Alone()
    kim = replace(KEPT, uid=1_000)
    for number in range(REGISTRATIONS_PER_UID_MAX):
        alone.register(f"web-{number}", holder=kim)
    with pytest.raises(RequestError, match="user 1000 holds 1024 instances, expected at most 1024") as caught:
        alone.register("more", holder=kim)
    assert caught.value.code == "quota"
    alone.register("web-0", holder=kim, port=81)
    alone.register("more", holder=replace(KEPT, uid=1_001))
    alone.register("still-more", holder=replace(KEPT, uid=0))
    with pytest.raises(RequestError):
        alone.register("more", holder=kim)
    alone.register("web-0", holder=replace(KEPT, uid=1_001))
    alone.register("more", holder=kim)


def test_what_could_not_take_its_worst_state_is_refused_before_anything_changes() -> None:
    alone = Alone()
    metadata = tuple((f"k{number:02}", "x" * 1_000) for number in range(16))
    service = Service(name="web", id="web", port=80, metadata=metadata)
    with pytest.raises(RequestError, match=f"expected at most {RECORD_BYTES_MAX}"):
        alone.node.register(replace(service, metadata=(*metadata, ("last", "x" * 224))), holder=KEPT, now=alone.now)
    alone.do(
        alone.node.register(replace(service, metadata=(*metadata, ("last", "x" * 120))), holder=KEPT, now=alone.now)[1]
    )
    with pytest.raises(RequestError, match=f"expected at most {RECORD_BYTES_MAX}"):
        alone.node.drain("web", reason="x" * 256, now=alone.now)
    assert state_of(alone.node) == NORMAL_STATE
    assert alone.row().mode == "normal"


# --------------------------------------------------------------------------------------------- drains and maintenance


def test_a_drain_is_heard_by_all_and_done_when_nothing_remains() -> None:
    net = Network(config=LOCAL)
    nodes = net.cluster(4)
    owner = nodes[0]
    net.do(owner, owner.register(a_service(), holder=KEPT, now=net.now)[1])
    row, actions = owner.drain("web", reason="deploy", now=net.now)
    net.do(owner, actions)
    assert (row.since_s, row.heard, row.deadline_left_s, row.remaining, row.done) == (0.0, False, None, None, False)
    net.run(2.0)
    draining = State(mode=Mode.DRAINING, reason="deploy")
    assert [state_of(node, owner=owner) for node in nodes] == [draining] * 4
    row = owner.progress("web", 3, now=net.now)[0]
    assert (row.since_s, row.heard, row.remaining, row.done) == (2.0, True, 3, False)
    assert owner.progress("web", 0, now=net.now)[0].done
    assert owner.view.registrations(now=net.now)[0].drain == owner.progress("web", 0, now=net.now)[0]
    net.do(owner, owner.undrain("web", now=net.now))
    net.run(2.0)
    assert [state_of(node, owner=owner) for node in nodes] == [NORMAL_STATE] * 4
    assert owner.view.registrations(now=net.now)[0].drain is None
    with pytest.raises(RequestError, match="does not drain"):
        owner.progress("web", 0, now=net.now)


def test_a_drain_is_done_at_its_deadline_whatever_remains() -> None:
    alone = Alone()
    alone.register()
    alone.do(alone.node.drain("web", deadline_s=10.0, now=alone.now)[1])
    alone.do(alone.node.progress("web", 5, now=alone.now)[1])
    alone.run(9.0)
    drain = alone.row().drain
    assert drain is not None
    assert (drain.deadline_left_s, drain.done) == (1.0, False)
    alone.run(1.0)
    drain = alone.row().drain
    assert drain is not None
    assert (drain.deadline_left_s, drain.done) == (0.0, True)


def test_a_node_drains_with_all_that_it_has() -> None:
    net = Network(config=LOCAL)
    nodes = net.cluster(2)
    owner = nodes[0]
    for id in "ab":
        net.do(owner, owner.register(a_service(id=id), holder=KEPT, now=net.now)[1])
    net.do(owner, owner.drain(None, reason="kernel", now=net.now)[1])
    net.run(1.0)
    assert info_of(nodes[1], owner).mode is Mode.DRAINING
    assert info_of(nodes[1], owner).reason == "kernel"
    assert state_of(nodes[1], "a", owner=owner) == NORMAL_STATE
    owner.progress("a", 0, now=net.now)
    state = owner.view.node_state(now=net.now)
    assert state.drain is not None
    assert (state.mode, state.reason, state.drain.remaining, state.drain.done) == ("draining", "kernel", None, False)
    owner.progress("b", 0, now=net.now)
    state = owner.view.node_state(now=net.now)
    assert state.drain is not None
    assert (state.drain.remaining, state.drain.done) == (0, True)


def test_the_last_decision_holds_and_each_end_ends_its_own() -> None:
    alone = Alone()
    alone.register()
    alone.do(alone.node.maintain("web", reason="", now=alone.now))
    alone.do(alone.node.undrain("web", now=alone.now))
    assert state_of(alone.node) == State(mode=Mode.MAINTENANCE)
    alone.do(alone.node.drain("web", now=alone.now)[1])
    alone.do(alone.node.maintain("web", reason=None, now=alone.now))
    assert state_of(alone.node) == State(mode=Mode.DRAINING)
    for ask in (
        lambda: alone.node.drain("db", now=alone.now),
        lambda: alone.node.undrain("db", now=alone.now),
        lambda: alone.node.maintain("db", reason="", now=alone.now),
        lambda: alone.node.progress("db", 1, now=alone.now),
        lambda: alone.node.undamp("db", now=alone.now),
    ):
        with pytest.raises(RequestError, match="id='db', expected an instance"):
            ask()
    with pytest.raises(RequestError, match="reason='x"):
        alone.node.drain("web", reason="x" * 257, now=alone.now)


def test_maintenance_outlives_its_instance_by_a_day_and_a_drain_ends_with_it() -> None:
    alone = Alone()
    for id in "ab":
        alone.register(id, holder=OVER_FIRST)
    alone.do(alone.node.maintain("a", reason="disk", now=alone.now))
    alone.do(alone.node.drain("b", now=alone.now)[1])
    for id in "ab":
        alone.do(alone.node.deregister(id, now=alone.now))
        alone.register(id, holder=OVER_FIRST)
    assert state_of(alone.node, "a") == State(mode=Mode.MAINTENANCE, reason="disk")
    assert state_of(alone.node, "b") == NORMAL_STATE
    alone.do(alone.node.deregister("a", now=alone.now))
    changes = len(alone.net.heard(RegistrationsChanged))
    alone.net.now += UNREGISTERED_DECISION_S + 1.0
    alone.do(alone.node.handle_timer(now=alone.now))
    assert alone.node.kept(now=alone.now).decisions == ()
    assert len(alone.net.heard(RegistrationsChanged)) == changes + 1


# ----------------------------------------------------------------------------------------------------------- restarts


def test_checks_decisions_and_the_instances_survive_a_restart_without_a_blip() -> None:
    net = Network(config=LOCAL)
    nodes = net.cluster(3)
    owner = nodes[1]
    checks = (UP, replace(ALIVE, initial=PASSING))
    net.do(owner, owner.register(a_service(), holder=KEPT, checks=checks, now=net.now)[1])
    net.do(owner, owner.register(a_service(id="idle"), holder=KEPT, now=net.now)[1])
    net.do(owner, owner.maintain("idle", reason="disk", now=net.now))
    finish_all(net, owner)
    net.run(1.0)
    kept, peers = owner.kept(now=net.now), owner.peer_book(now=net.now)
    assert {each.service.id: each.checks for each in kept.registrations} == {"web": checks, "idle": ()}
    before = {node.me: state_of(node, owner=owner) for node in (nodes[0], nodes[2])}
    assert set(before.values()) == {NORMAL_STATE}
    net.crash(owner)
    net.run(0.5)
    again = net.add(1, epoch=2_000, kept=kept, peers=peers)
    states = {state_of(node, owner=again) for node in (nodes[0], nodes[2])}
    for _ in range(20):
        net.run(0.1)
        states |= {state_of(node, owner=again) for node in (nodes[0], nodes[2])}
    assert states == {NORMAL_STATE}, "nobody publishes what no check has said yet"
    finish_all(net, again)
    net.run(1.0)
    assert [state_of(node, owner=again) for node in (nodes[0], again, nodes[2])] == [NORMAL_STATE] * 3
    assert state_of(nodes[0], "idle", owner=again) == State(mode=Mode.MAINTENANCE, reason="disk")


def test_what_no_check_speaks_of_after_a_restart_is_published_as_it_is() -> None:
    net = Network(config=LOCAL)
    nodes = net.cluster(2)
    owner = nodes[1]
    net.do(owner, owner.register(a_service(), holder=KEPT, checks=(UP,), now=net.now)[1])
    kept, peers = owner.kept(now=net.now), owner.peer_book(now=net.now)
    net.crash(owner)
    again = net.add(1, epoch=2_000, kept=kept, peers=peers)
    assert state_of(again) is None
    net.run(6.0)
    assert state_of(again) == state_of(nodes[0], owner=again) == State(health=CRITICAL)


def finish_all(net: Network, node: Node) -> None:
    """Let what is due be tried, and pass."""
    net.run(0.2)
    runs = [action for _, source, action in net.history if source == net.where(node) and isinstance(action, RunCheck)]
    for action in runs:
        net.do(node, node.check_finished(action.run, CheckResult(health=PASSING), now=net.now))
    net.history.clear()


# ------------------------------------------------------------------------------------------------------------ leaving


def test_a_node_with_instances_drains_before_it_leaves() -> None:
    net = Network(config=LAN)
    nodes = net.cluster(3)
    net.do(nodes[1], nodes[1].register(a_service(), holder=KEPT, now=net.now)[1])
    net.run(2.0)
    began = net.now
    net.do(nodes[1], nodes[1].leave(now=began))
    with pytest.raises(RequestError, match="leaving"):
        nodes[1].register(a_service(id="late"), holder=KEPT, now=net.now)
    net.run(0.5)
    assert info_of(nodes[0], nodes[1]).mode is Mode.DRAINING
    assert {row.name: row.status for row in nodes[0].view.members(now=net.now)}["n1"] == "alive"
    assert nodes[1].view.info(now=net.now).leaving
    net.run_until(lambda: status_of(nodes[0], nodes[1], net.now) == "left", within_s=5.0)
    assert LAN.leave.drain_s <= net.now - began <= LAN.leave.drain_s + 0.5
    net.run_until(lambda: "LeaveFinished" in {type(event).__name__ for _, _, event in net.events}, within_s=5.0)
    assert net.now - began <= LAN.leave.timeout_s


def test_a_node_without_instances_or_without_others_leaves_at_once() -> None:
    net = Network(config=LAN)
    nodes = net.cluster(2)
    net.run(1.0)
    net.do(nodes[1], nodes[1].leave(now=net.now))
    assert net.run_until(lambda: status_of(nodes[0], nodes[1], net.now) == "left", within_s=1.0) < 0.5
    alone = Alone()
    alone.register()
    alone.do(alone.node.leave(now=alone.now))
    alone.run(0.01)
    assert "LeaveFinished" in {type(event).__name__ for _, _, event in alone.net.events}


def status_of(node: Node, of: Node, now: float) -> str:
    row = node.view.member(of.me, now=now)
    assert row is not None
    return row.status


def test_a_drain_for_leaving_is_not_kept_for_the_next_run() -> None:
    net = Network(config=LAN)
    nodes = net.cluster(2)
    net.do(nodes[1], nodes[1].register(a_service(), holder=KEPT, now=net.now)[1])
    net.do(nodes[1], nodes[1].leave(now=net.now))
    assert nodes[1].view.node_state(now=net.now).mode == "draining"
    assert nodes[1].kept(now=net.now).decisions == ()


# -------------------------------------------------------------------------------------------------------------- laws


def test_equal_lives_ask_for_equal_actions_byte_for_byte() -> None:
    def life(seed: int) -> list[tuple[float, Address, Action]]:
        net, rng = Network(config=LOCAL), Random(seed)
        nodes = net.cluster(3)
        for _ in range(120):
            node = rng.choice(nodes)
            id = rng.choice("ab")
            try:
                match rng.randrange(7):
                    case 0 | 1:
                        checks = (UP, ALIVE) if rng.random() < 0.7 else ()
                        holder = rng.choice([KEPT, LEASE, OVER_FIRST, Holder(kind="pid", pid=7)])
                        net.do(node, node.register(a_service(id=id), holder=holder, checks=checks, now=net.now)[1])
                    case 2:
                        net.do(node, node.drain(id, deadline_s=5.0, now=net.now)[1])
                    case 3:
                        net.do(node, node.maintain(rng.choice([id, None]), reason="x", now=net.now))
                    case 4:
                        net.do(node, node.maintain(rng.choice([id, None]), reason=None, now=net.now))
                    case 5:
                        health = CheckResult(health=rng.choice(list(Health)))
                        net.do(node, node.report(id, "alive", health, now=net.now))
                    case _:
                        net.do(node, node.pid_exited(7, now=net.now))
            except RequestError:
                pass
            for _, source, action in list(net.history[-50:]):
                if isinstance(action, RunCheck) and rng.random() < 0.3:
                    health = CheckResult(health=rng.choice(list(Health)))
                    net.do(net.nodes[source], net.nodes[source].check_finished(action.run, health, now=net.now))
            net.run(rng.random())
        net.run(10.0)
        views = [[state_of(node, id, owner=owner) for owner in nodes for id in "ab"] for node in nodes]
        assert views[0] == views[1] == views[2]
        return net.history

    assert life(1) == life(1)
    assert life(2) != life(1)


def test_an_idle_node_with_checks_wakes_for_them_alone() -> None:
    alone = Alone()
    for number in range(10):
        alone.register(f"web-{number}", replace(UP, interval_s=60.0))
    alone.run(1.0)
    alone.finish()
    wakes = 0
    end = alone.now + 60.0
    while (at := alone.node.next_deadline()) < end:
        alone.net.now = max(alone.now, at)
        alone.do(alone.node.handle_timer(now=alone.now))
        alone.finish()
        wakes += 1
    assert 10 <= wakes <= 10 + 60 / LOCAL.probe.interval_s + 60 / LOCAL.sync.reconnect_interval_s + 20


def test_there_is_news_of_what_is_lost() -> None:
    alone = Alone()
    alone.register("web", holder=Holder(kind="pid", pid=7))
    actions = alone.node.pid_exited(7, now=alone.now)
    assert Publish(event=RegistrationLost(id="web", why="process 7 has ended")) in actions
