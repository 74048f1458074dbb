"""The life of an instance on its own node, and what others hear of it: checks, damping, aliases, holders, leases."""

from contextlib import suppress
from dataclasses import replace
from random import Random

import pytest

from gossipd.checks import Alias, Check, CheckResult
from gossipd.config import LOCAL
from gossipd.core.events import RegistrationLost
from gossipd.errors import RequestError
from gossipd.ids import Address
from gossipd.limits import RECORD_BYTES_MAX, REGISTRATIONS_PER_UID_MAX
from gossipd.node.actions import Action, CancelCheck, Publish, RunCheck, UnwatchPid, WatchPid
from gossipd.node.view import KEPT, Holder
from gossipd.records import NORMAL_STATE, Mode, Service, State
from tests.network import Network, a_service
from tests.node.living import ALIVE, CRITICAL, LEASE, OVER_FIRST, PASSING, UP, Alone, any_command, state_of

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


def test_a_lease_that_ran_out_in_a_pause_lasts_until_what_came_meanwhile_is_read() -> None:
    alone = Alone()
    alone.run(10.0)
    alone.register("web", holder=Holder(kind="lease", lease_s=0.1))
    alone.net.run_until(lambda: alone.node.next_deadline() == 10.1, within_s=0.09)
    alone.net.now = 70.0
    alone.do(alone.node.handle_timer(now=alone.now))
    assert alone.row().health == "passing"
    alone.run(0.3)
    assert alone.row().health == "critical"


def test_the_instances_of_one_node_are_those_among_all_that_it_owns() -> None:
    net = Network(config=LOCAL)
    nodes = net.cluster(2)
    for node in nodes:
        for id in ("web", "db"):
            net.do(node, node.register(a_service(id), holder=KEPT, now=net.now)[1])
    net.run(1.0)
    view = nodes[0].view
    for node in nodes:
        own = [row for row in view.instances(now=net.now) if row.node == node.me]
        assert view.instances(node=node.me, now=net.now) == own
        assert [row.id for row in own] == ["db", "web"]
    assert view.instances(node="nobody", now=net.now) == []


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
    assert state_of(alone.node) == NORMAL_STATE
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


def test_what_is_registered_has_room_for_whatever_becomes_of_it() -> None:
    alone = Alone()

    def register(length: int) -> None:
        metadata = tuple((f"k{number:02}", "x" * 1_000) for number in range(16))
        service = Service(name="web", id="web", port=80, metadata=(*metadata, ("last", "x" * length)))
        checks = (replace(ALIVE, initial=PASSING),)
        alone.do(alone.node.register(service, holder=KEPT, checks=checks, now=alone.now)[1])

    length = 100
    refused = ""
    while not refused:
        try:
            register(length)
        except RequestError as error:
            refused = str(error)
        length += 1
    assert f"expected at most {RECORD_BYTES_MAX}" in refused
    with pytest.raises(RequestError, match=f"expected at most {RECORD_BYTES_MAX}"):
        alone.node.drain("web", reason="x" * 256, now=alone.now)
    assert (state_of(alone.node), alone.row().mode) == (NORMAL_STATE, "normal")
    alone.do(alone.node.maintain("web", reason="", now=alone.now))
    for at in range(8):
        result = CheckResult(health=CRITICAL if at % 2 == 0 else PASSING)
        alone.do(alone.node.report("web", None, result, now=alone.now))
    assert state_of(alone.node) == State(health=CRITICAL, mode=Mode.MAINTENANCE, damped=True)


def test_a_registration_has_room_for_what_was_decided_of_its_id_before() -> None:
    alone = Alone()
    alone.register()
    alone.do(alone.node.maintain("web", reason="x" * 256, now=alone.now))
    metadata = tuple((f"k{number:02}", "x" * 1_000) for number in range(16))
    large = Service(name="web", id="web", port=80, metadata=(*metadata, ("last", "x" * 150)))
    with pytest.raises(RequestError, match=f"expected at most {RECORD_BYTES_MAX}"):
        alone.node.register(large, holder=KEPT, now=alone.now)
    alone.do(alone.node.maintain("web", reason=None, now=alone.now))
    alone.do(alone.node.register(large, holder=KEPT, now=alone.now)[1])
    assert alone.row().mode == "normal"


# -------------------------------------------------------------------------------------------------------------- laws


def test_equal_lives_ask_for_equal_actions_byte_for_byte() -> None:
    def life(seed: int) -> list[tuple[float, Address, Action]]:
        net, rng = Network(config=LOCAL), Random(seed)
        nodes = net.cluster(3)
        for _ in range(250):
            node = rng.choice(nodes)
            here = net.where(node)
            runs = [each.run for _, at, each in net.history[-200:] if at == here and isinstance(each, RunCheck)]
            with suppress(RequestError):
                net.do(node, any_command(rng, node, runs[-5:], now=net.now))
            net.run(rng.random())
        net.run(10.0)
        views = [[state_of(node, id, owner=owner) for owner in nodes for id in "abc"] for node in nodes]
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
