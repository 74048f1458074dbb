"""What a node answers of instances whose nodes fall silent: cuts whole, collapses kept, isolation marked."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from gossipd.config import LAN, LOCAL, ProtocolConfig
from gossipd.core.events import CutShown, GuardChanged
from gossipd.ids import Address
from gossipd.node.node import Node
from gossipd.node.view import KEPT, InstanceRow
from gossipd.records import Health, Mode, NodeInfo, Service, State
from gossipd.wire.records import NODE_KEY, SERVICE_KEY_PREFIX
from tests.network import Network, a_service, address_of, members, no_cut


def a_cluster(
    size: int, *, config: ProtocolConfig = LAN, service_on: Sequence[int] | None = None
) -> tuple[Network, list[Node]]:
    """Return a settled cluster; the nodes *service_on*, all by default, have an instance of web each."""
    net = Network(config=config)
    nodes = net.cluster(size)
    for number in range(size) if service_on is None else service_on:
        net.do(nodes[number], nodes[number].register(a_service(), holder=KEPT, now=net.now)[1])
    net.run(2)
    return net, nodes


def web(node: Node, net: Network) -> dict[str, InstanceRow]:
    return {row.node: row for row in node.view.instances(service="web", now=net.now)}


def cut_off(numbers: Sequence[int]) -> Callable[[Address, Address], bool]:
    """Return a cut around the nodes *numbers*."""
    few = {address_of(number) for number in numbers}
    return lambda source, target: (source in few) != (target in few)


class Reader:
    """Notes every different answer that *node* gave, with its index."""

    def __init__(self, net: Network, node: Node) -> None:
        self._net, self._node = net, node
        self._seen_index = -1
        self.answers: list[tuple[int, dict[str, str]]] = []

    def look(self) -> None:
        index = self._node.view.index
        if index == self._seen_index:
            return
        self._seen_index = index
        answer = {
            name: row.status + (" degraded" if row.degraded else "") for name, row in web(self._node, self._net).items()
        }
        if not self.answers or self.answers[-1][1] != answer:
            self.answers.append((index, answer))

    def counts(self) -> list[int]:
        """Return how many instances could be used in each answer."""
        return [sum(status.startswith("passing") for status in answer.values()) for _, answer in self.answers]


def run(net: Network, readers: Sequence[Reader], seconds: float) -> None:
    def look() -> bool:
        for reader in readers:
            reader.look()
        return False

    net.run_until(look, within_s=seconds, must=False)


def test_a_rack_that_vanishes_is_one_change_for_everybody() -> None:
    net, nodes = a_cluster(20)
    rack, rest = nodes[16:], nodes[:16]
    readers = [Reader(net, node) for node in rest]
    run(net, readers, 1.0)
    for node in rack:
        net.crash(node)
    run(net, readers, 60.0)
    assert [reader.counts() for reader in readers] == [[20, 16]] * 16
    for node in rest:
        cuts = [event for event in net.heard(CutShown, node) if isinstance(event, CutShown)]
        assert [len(cut.members) for cut in cuts] == [4]
        assert cuts[0].held_s <= LAN.guard.batch_s
    assert net.heard(GuardChanged) == []


def test_a_service_that_lived_on_the_rack_alone_is_kept_marked_and_goes_in_the_end() -> None:
    net, nodes = a_cluster(12, config=LOCAL, service_on=[9, 10, 11])
    first = nodes[0]
    for node in nodes[9:]:
        net.crash(node)
    net.run_until(lambda: first.view.services(now=net.now)[0].degraded == 3, within_s=20)
    (service,) = first.view.services(now=net.now)
    assert (service.ready, service.passing, service.degraded) == (3, 3, 3)
    assert {(row.status, row.ready, row.node_status) for row in web(first, net).values()} == {
        ("passing", True, "failed")
    }
    evidence = first.view.why("n9/web", now=net.now)
    assert "degraded: the collapse guard keeps it" in evidence.belief
    assert any(
        row.what.startswith("guard: the last ready instances fell silent with 3 nodes") for row in evidence.history
    )
    assert any("suspect -> failed" in row.what for row in evidence.history)
    reader = Reader(net, first)
    run(net, [reader], LOCAL.guard.hold_s)
    assert reader.counts() == [3, 0]
    assert {(row.status, row.degraded) for row in web(first, net).values()} == {("unreachable", False)}
    assert first.view.statistics(now=net.now).instances_kept == 0


@pytest.mark.parametrize(
    ("policy", "expected"), [("refuse", ("passing", False, True)), ("drop", ("unreachable", False, False))]
)
def test_the_policy_decides_what_a_silent_last_instance_is_good_for(
    policy: str, expected: tuple[str, bool, bool]
) -> None:
    config = replace(LOCAL, guard=replace(LOCAL.guard, policy=policy))  # type: ignore[arg-type]
    net, nodes = a_cluster(5, config=config, service_on=[4])
    net.crash(nodes[4])
    net.run_until(lambda: members(nodes[0], net.now)["n4"] == "failed", within_s=20)
    net.run(LOCAL.guard.batch_s)
    row = web(nodes[0], net)["n4"]
    assert (row.status, row.ready, row.degraded) == expected
    assert nodes[0].view.guard_policy == policy


def test_a_cut_minority_keeps_its_answers_marked_and_the_heal_clears_the_marks_without_a_blip() -> None:
    net, nodes = a_cluster(12)
    few, most = nodes[9:], nodes[:9]
    readers = [Reader(net, node) for node in few]
    run(net, readers, 1.0)
    net.cut = cut_off([9, 10, 11])
    run(net, readers, 90.0)
    for node in few:
        assert node.view.trust(now=net.now).isolated
        marks = {name: (row.ready, row.degraded) for name, row in web(node, net).items()}
        assert marks == {f"n{number}": (True, f"n{number}" != node.me) for number in range(12)}
    assert {sum(row.ready for row in web(node, net).values()) for node in most} == {9}
    net.cut = no_cut
    run(net, readers, 60.0)
    for reader in readers:
        assert set(reader.counts()) == {12}
        assert set(reader.answers[-1][1].values()) == {"passing"}


def test_what_we_slept_through_is_no_time_in_which_the_others_were_silent() -> None:
    net, nodes = a_cluster(3, config=LOCAL, service_on=[2])
    net.crash(nodes[2])
    net.run_until(lambda: web(nodes[0], net)["n2"].degraded, within_s=20)
    net.now += 10 * LOCAL.guard.hold_s
    net.do(nodes[0], nodes[0].handle_timer(now=net.now))
    assert web(nodes[0], net)["n2"].degraded


def test_an_owner_that_restarts_is_answered_all_along() -> None:
    net, nodes = a_cluster(5, config=LOCAL, service_on=[4])
    reader = Reader(net, nodes[0])
    run(net, [reader], 1.0)
    net.crash(nodes[4])
    run(net, [reader], 15.0)
    assert web(nodes[0], net)["n4"].degraded
    again = net.add(4, epoch=2, seeds=(address_of(0),))
    net.do(again, again.register(a_service(), holder=KEPT, now=net.now)[1])
    run(net, [reader], 60.0)
    assert set(reader.counts()) == {1}
    assert not web(nodes[0], net)["n4"].degraded


NORMAL, DRAINING, MAINTENANCE = Mode
PASSING, WARNING, CRITICAL = Health

STATES = [
    (State(), NORMAL, "passing", "ready serving"),
    (State(health=WARNING), NORMAL, "warning", "ready serving"),
    (State(health=CRITICAL), NORMAL, "critical", ""),
    (State(damped=True), NORMAL, "critical", ""),
    (State(mode=DRAINING, reason="deploy"), NORMAL, "draining", "serving terminating"),
    (State(mode=DRAINING, health=CRITICAL), NORMAL, "draining", "terminating"),
    (State(mode=MAINTENANCE), NORMAL, "maintenance", ""),
    (State(), DRAINING, "draining", "serving terminating"),
    (State(mode=MAINTENANCE), DRAINING, "maintenance", ""),
    (State(mode=DRAINING), MAINTENANCE, "maintenance", ""),
]


@pytest.mark.parametrize(("state", "node_mode", "status", "flags"), STATES)
def test_a_row_says_what_its_instance_is_good_for(state: State, node_mode: Mode, status: str, flags: str) -> None:
    net, (node, _) = a_cluster(2, service_on=[])
    machines = node._m
    info = NodeInfo(labels=(("region", "eu"), ("zone", "a")), mode=node_mode, reason="kernel" if node_mode else "")
    machines.publish(machines.author.put(NODE_KEY, info), now=net.now)
    service = Service(name="web", id="web", port=80, state=state)
    machines.publish(machines.author.put(SERVICE_KEY_PREFIX + "web", service), now=net.now)
    row = web(node, net)["n0"]
    shown = " ".join(name for name in ("ready", "serving", "terminating") if getattr(row, name))
    assert (row.status, shown, row.damped, row.degraded) == (status, flags, state.damped, False)
    assert (row.zone, row.region) == ("a", "eu")
    assert row.reason == (state.reason or ("kernel" if node_mode else None))
