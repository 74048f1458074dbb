"""Drains and maintenance, restarts without a blip, and a farewell that begins with a drain."""

from dataclasses import replace
from random import Random

import pytest

from gossipd.config import LAN, LOCAL
from gossipd.core.events import RegistrationsChanged
from gossipd.errors import RequestError
from gossipd.ids import NodeId
from gossipd.limits import (
    DECISIONS_MAX,
    INTEGER_MAX,
    LABELS_MAX,
    NODE_LABELS_BYTES_MAX,
    REASON_BYTES_MAX,
    UNREGISTERED_DECISION_S,
)
from gossipd.node.decisions import Decision, Decisions, StoredDecision
from gossipd.node.node import Node
from gossipd.node.registrations import Kept, KeptRegistration
from gossipd.node.view import KEPT
from gossipd.records import NORMAL_STATE, Mode, State
from tests.network import Network, a_service, address_of
from tests.node.living import ALIVE, CRITICAL, OVER_FIRST, PASSING, UP, Alone, finish_all, info_of, state_of

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


def test_what_remained_of_one_drain_says_nothing_of_the_next() -> None:
    alone = Alone()
    alone.register()
    alone.do(alone.node.drain("web", now=alone.now)[1])
    alone.do(alone.node.progress("web", 0, now=alone.now)[1])
    alone.do(alone.node.maintain("web", reason="", now=alone.now))
    assert alone.node.drain("web", now=alone.now)[0].remaining is None
    alone.do(alone.node.progress("web", 0, now=alone.now)[1])
    assert alone.node.drain("web", reason="the same drain", now=alone.now)[0].remaining == 0


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


def test_what_an_instance_said_of_its_drain_outlives_a_drain_of_the_node() -> None:
    alone = Alone()
    alone.register()
    alone.register("other")
    alone.do(alone.node.drain("web", now=alone.now)[1])
    alone.do(alone.node.progress("web", 0, now=alone.now)[1])
    alone.do(alone.node.drain(None, now=alone.now)[1])
    alone.do(alone.node.progress("other", 3, now=alone.now)[1])
    alone.do(alone.node.undrain(None, now=alone.now))
    alone.run(1.0)
    drain = alone.row().drain
    assert drain is not None
    assert (drain.remaining, drain.done) == (0, True)
    alone.do(alone.node.drain("other", now=alone.now)[1])
    drain = alone.row("other").drain
    assert drain is not None
    assert drain.remaining is None


def test_what_remains_on_a_node_is_a_number_that_can_be_answered() -> None:
    alone = Alone()
    alone.do(alone.node.drain(None, now=alone.now)[1])
    for id in ("web", "other"):
        alone.register(id)
        alone.do(alone.node.progress(id, INTEGER_MAX, now=alone.now)[1])
    drain = alone.node.view.node_state(now=alone.now).drain
    assert drain is not None
    assert drain.remaining == INTEGER_MAX


def test_an_instance_under_maintenance_tells_how_far_the_drain_of_its_node_is() -> None:
    alone = Alone()
    alone.register()
    alone.do(alone.node.maintain("web", reason="disk", now=alone.now))
    with pytest.raises(RequestError, match="does not drain"):
        alone.node.progress("web", 3, now=alone.now)
    alone.do(alone.node.drain(None, deadline_s=60.0, now=alone.now)[1])
    row = alone.node.progress("web", 3, now=alone.now)[0]
    assert (row.deadline_left_s, row.remaining, row.done) == (60.0, 3, False)


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
    alone.net.now += UNREGISTERED_DECISION_S + 1.0
    alone.do(alone.node.handle_timer(now=alone.now))
    assert state_of(alone.node, "a") == State(mode=Mode.MAINTENANCE, reason="disk")
    assert state_of(alone.node, "b") == NORMAL_STATE
    alone.do(alone.node.deregister("a", now=alone.now))
    changes = len(alone.net.heard(RegistrationsChanged))
    alone.net.now += UNREGISTERED_DECISION_S + 1.0
    alone.do(alone.node.handle_timer(now=alone.now))
    assert alone.node.kept(now=alone.now).decisions == ()
    assert len(alone.net.heard(RegistrationsChanged)) == changes + 1


def test_whoever_is_gone_for_longest_gives_way_to_a_decision_too_many() -> None:
    held = [StoredDecision(subject=f"w{number}", mode=Mode.MAINTENANCE) for number in range(DECISIONS_MAX)]
    decisions = Decisions(held, now=0.0)
    decisions.registered("w0")
    assert decisions.set(None, Decision(mode=Mode.DRAINING, reason="", since=1.0))
    assert len(decisions) == DECISIONS_MAX
    assert [decisions.get(id) is not None for id in ("w0", "w1", "w2", None)] == [True, False, True, True]
    for entry in held:
        decisions.registered(entry.subject or "")
    with pytest.raises(RequestError, match="expected fewer"):
        decisions.set("more", Decision(mode=Mode.DRAINING, reason="", since=1.0))


def test_the_largest_labels_leave_room_for_the_longest_reason() -> None:
    net = Network()
    value = "x" * (NODE_LABELS_BYTES_MAX // LABELS_MAX - 128)
    labels = [(f"{number:0128}", value) for number in range(LABELS_MAX)]
    assert sum(len(key) + len(value) for key, value in labels) == NODE_LABELS_BYTES_MAX
    node = net.add(0, name="n" * 63, epoch=INTEGER_MAX, labels=labels)
    net.do(node, node.maintain(None, reason="r" * REASON_BYTES_MAX, now=net.now))
    assert node.view.node_state(now=net.now).mode == "maintenance"


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


def test_whoever_was_killed_before_its_peer_book_was_written_blips_nobody_either() -> None:
    net = Network(config=LOCAL)
    nodes = net.cluster(2)
    owner = nodes[1]
    net.do(owner, owner.register(a_service(), holder=KEPT, checks=(UP,), now=net.now)[1])
    finish_all(net, owner)
    net.run(1.0)
    kept = owner.kept(now=net.now)
    net.crash(owner)
    again = net.add(1, epoch=2_000, kept=kept, seeds=[address_of(0)], restarted=True)
    states = set()
    for _ in range(20):
        net.run(0.1)
        states.add(state_of(nodes[0], owner=again))
    assert (states, state_of(again)) == ({NORMAL_STATE}, None)


def _restarted() -> tuple[Network, Node, Node]:
    """A network, a node whose only check has said nothing since its restart, and one that believes its former run."""
    net = Network(config=LOCAL)
    reader, owner = net.cluster(2)
    net.do(owner, owner.register(a_service(), holder=KEPT, checks=(UP,), now=net.now)[1])
    finish_all(net, owner)
    net.run(1.0)
    kept = owner.kept(now=net.now)
    net.crash(owner)
    again = net.add(1, epoch=2_000, kept=kept, seeds=[address_of(0)], restarted=True)
    net.run(0.5)
    assert (state_of(reader, owner=again), state_of(again)) == (NORMAL_STATE, None)
    return net, again, reader


def test_a_drain_after_a_restart_is_not_heard_before_it_is_published() -> None:
    net, owner, reader = _restarted()
    row, actions = owner.drain("web", deadline_s=0.0, now=net.now)
    net.do(owner, actions)
    net.run(0.5)
    drain = owner.view.registrations(now=net.now)[0].drain
    assert drain is not None
    assert (row.heard, drain.heard, drain.done) == (False, False, False)
    net.run(6.0)
    drain = owner.view.registrations(now=net.now)[0].drain
    assert drain is not None
    assert (drain.heard, drain.done) == (True, True)
    state = state_of(reader, owner=owner)
    assert state is not None
    assert state.mode is Mode.DRAINING


def test_what_is_deregistered_right_after_a_restart_is_gone_everywhere() -> None:
    net, owner, reader = _restarted()
    net.do(owner, owner.deregister("web", now=net.now))
    net.run(1.0)
    assert reader.view.instances(service="web", now=net.now) == []


def test_who_registers_before_the_start_holds_what_was_kept_and_nothing_is_forgotten() -> None:
    old, new = (replace(a_service(), port=port) for port in (80, 81))
    other = a_service(id="other")
    kept = Kept(registrations=(KeptRegistration(service=old), KeptRegistration(service=other)))
    node = Node(
        LOCAL,
        me=NodeId("ann"),
        epoch=1,
        address=address_of(0),
        rng=Random(1),
        entropy=Random(1).randbytes,
        now=0.0,
        kept=kept,
    )
    assert node.kept(now=0.0) == kept
    node.register(new, holder=KEPT, now=0.0)
    assert {each.service for each in node.kept(now=0.0).registrations} == {new, other}
    node.start(now=1.0)
    assert {each.service for each in node.kept(now=1.0).registrations} == {new, other}
    assert sorted(row.port for row in node.view.instances(now=1.0)) == [80, 81]


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
