"""The papers' own rules, where the core has others: who confirms, how news spreads, how long a suspicion lasts."""

import math

import pytest

from gossipd.core.membership.suspicion import Suspicions
from gossipd.ids import Incarnation, NodeId
from gossipd.node.node import Node
from simulations import inside, modes
from simulations.experiments import uniform_loss, variants
from simulations.network import LAN_LINK, Topology
from simulations.world import World

BOB, FIRST = NodeId("n1"), Incarnation(1, 0)


def suspicions_of(node_type: type[Node], alpha: float) -> Suspicions:
    world = World(16, seed=1, config=modes.lifeguard(alpha), node_type=node_type)
    world.start_warm()
    node = world.hosts[0].node
    assert node is not None
    suspicions = inside.machines(node).table.suspicions
    suspicions.start(BOB, FIRST, NodeId("n2"), members=10, now=0.0)
    return suspicions


@pytest.mark.parametrize(("alpha", "counted"), [(5.0, 3), (4.0, 2), (2.0, 0)])
def test_memberlist_counts_as_many_confirmations_as_alpha_less_two(alpha: float, counted: int) -> None:
    suspicions = suspicions_of(modes.PlainNode, alpha)
    assert sum(suspicions.confirm(BOB, NodeId(f"n{at}")) for at in range(3, 9)) == counted
    assert suspicions.next_deadline() == pytest.approx(alpha)


@pytest.mark.parametrize("alpha", [5.0, 4.0, 2.0])
def test_the_paper_counts_three_at_every_alpha(alpha: float) -> None:
    suspicions = suspicions_of(variants.PaperNode, alpha)
    assert suspicions.next_deadline() == pytest.approx(6 * alpha)
    assert sum(suspicions.confirm(BOB, NodeId(f"n{at}")) for at in range(3, 9)) == 3
    assert suspicions.next_deadline() == pytest.approx(alpha)


def test_swim_counts_none() -> None:
    assert not suspicions_of(variants.SwimNode, 5.0).confirm(BOB, NodeId("n3"))


@pytest.mark.parametrize(("base", "periods"), [(10.0, 6), (math.e, 9), (2.0, 15)])
def test_periods_of_seventeen_members_are_those_the_paper_may_mean(base: float, periods: int) -> None:
    assert variants.swim_periods(17, base) == periods


def test_swim_spreads_news_on_probes_alone_and_suspects_for_so_many_periods() -> None:
    node_type = variants.piggyback_node(10.0, known=17, suspects=True)
    world = World(8, seed=1, config=uniform_loss.figure_config(), node_type=node_type)
    world.start_warm()
    world.run(1.0)
    seen = uniform_loss.Deaths()
    world.watch(seen)
    world.stop(3)
    before = sum(host.traffic.datagrams_out for host in world.hosts)
    at = world.run_until(lambda: bool(seen.victims), within_s=60)
    assert at is not None
    assert seen.victims == {3}
    assert at > 2.0 + 6 * 2.0
    sent = sum(host.traffic.datagrams_out for host in world.hosts) - before
    assert sent < 7 * (at / 2 + 1) * 2.5  # a ping and an ack each period, helpers besides, and no tick


@pytest.mark.parametrize(("suspects", "known", "wait_s"), [(False, 17, 0.0), (True, 17, 12.0), (True, 0, 6.0)])
def test_a_suspicion_lasts_its_periods_and_is_not_timed_anew_when_it_runs_out(
    suspects: bool, known: int, wait_s: float
) -> None:
    node_type = variants.piggyback_node(10.0, known=known, suspects=suspects)
    world = World(2, seed=1, config=uniform_loss.figure_config(), node_type=node_type)
    world.start_warm()
    assert world.hosts[0].node is not None
    suspicions = inside.machines(world.hosts[0].node).table.suspicions
    suspicions.start(BOB, FIRST, NodeId("n2"), members=8, now=5.0)
    assert suspicions.next_deadline() == 5.0 + wait_s
    assert suspicions.pop_due(members=99, now=5.0 + wait_s) == [(BOB, FIRST)]


def test_a_verdict_ends_its_victim_where_verdicts_are_final() -> None:
    node_type = variants.piggyback_node(10.0, known=17, suspects=False)
    world = World(
        6,
        seed=1,
        config=uniform_loss.figure_config(),
        topology=Topology(link=LAN_LINK),
        node_type=node_type,
    )
    world.start_warm()
    world.run(1.0)
    seen = uniform_loss.Deaths(final=True)
    world.watch(seen)
    world.freeze(2)
    assert world.run_until(lambda: bool(seen.victims), within_s=60) is not None
    world.run(0.1)
    assert world.hosts[2].node is None
