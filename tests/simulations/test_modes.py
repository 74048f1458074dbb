"""Each switch of a mode does what it says: with it a thing happens, without it not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gossipd.config import LAN, ProtocolConfig
from gossipd.core.membership.suspicion import suspicion_timeout_s
from gossipd.ids import NodeId
from gossipd.node.statistics import Statistics
from gossipd.records import Service
from simulations import inside, modes
from simulations.modes import composed
from simulations.network import GroupCut
from simulations.world import World

UNSYNCED = replace(LAN, sync=replace(LAN.sync, interval_s=3_600.0))
"""So that what is seen comes from datagrams alone."""

NONE = composed(lha_probe=False, lha_suspicion=False, buddy=False, base=UNSYNCED)
PROBE = composed(lha_probe=True, lha_suspicion=False, buddy=False, base=UNSYNCED)
SUSPICION = composed(lha_probe=False, lha_suspicion=True, buddy=False, base=UNSYNCED)
BUDDY = composed(lha_probe=False, lha_suspicion=False, buddy=True, base=UNSYNCED)


def a_world(config: ProtocolConfig, hosts: int = 8) -> World:
    world = World(hosts, seed=1, config=config, node_type=modes.node_type(config))
    world.start_warm()
    world.run(3.0)
    return world


def machines(world: World, number: int) -> Any:
    node = world.hosts[number].node
    assert node is not None
    return inside.machines(node)


def statistics(world: World) -> list[Statistics]:
    return [host.node.view.statistics(now=host.clock(world.now)) for host in world.hosts if host.node is not None]


def after_a_crash(config: ProtocolConfig) -> World:
    world = a_world(config)
    world.stop(3)
    world.run(4.0)
    return world


def test_lha_probe_is_a_score_that_others_have_not() -> None:
    def score(config: ProtocolConfig) -> int:
        world = a_world(config)
        world.block(0)
        world.run(5.0)
        return int(machines(world, 0).awareness.score)

    assert score(PROBE) > 0
    assert score(NONE) == score(SUSPICION) == score(BUDDY) == 0


def test_only_lha_probe_has_helpers_say_that_the_target_is_silent() -> None:
    def nacks(config: ProtocolConfig) -> int:
        return sum(of.nacks_received for of in statistics(after_a_crash(config)))

    assert nacks(PROBE) > 0
    assert nacks(NONE) == nacks(SUSPICION) == nacks(BUDDY) == 0


def test_lha_suspicion_starts_beta_times_as_long_and_the_others_at_the_least() -> None:
    least_s = suspicion_timeout_s(8, interval_s=1.0, factor=5.0)

    def wait_s(config: ProtocolConfig) -> float:
        world = a_world(config)
        suspicions = machines(world, 0).table.suspicions
        incarnation = machines(world, 3).table.own.incarnation
        suspicions.start(NodeId("n3"), incarnation, NodeId("n0"), members=8, now=0.0)
        return float(suspicions.next_deadline())

    assert wait_s(SUSPICION) == pytest.approx(6 * least_s)
    assert wait_s(NONE) == wait_s(PROBE) == wait_s(BUDDY) == pytest.approx(least_s)


def test_only_with_buddy_does_a_ping_tell_a_suspect_what_is_thought_of_it() -> None:
    def refutations(config: ProtocolConfig) -> int:
        world = a_world(replace(config, suspicion=replace(config.suspicion, factor=100.0)))  # nobody is declared dead
        m = machines(world, 0)
        now = world.hosts[0].clock(world.now)
        m.perform(m.table.accuse(NodeId("n3"), now=now), now=now)
        m.spreader.membership.clear()  # so that only a ping of n0 itself can tell
        world.run(15.0)
        return int(machines(world, 3).table.refutations)

    assert refutations(BUDDY) == 1
    assert refutations(NONE) == refutations(PROBE) == 0


def test_the_time_out_follows_the_round_trip_in_gossipd_alone() -> None:
    def longest_s(config: ProtocolConfig) -> float:
        world = a_world(config)
        world.run(8.0)
        return float(machines(world, 0).prober.timeout_s(NodeId("n1")))

    assert longest_s(NONE) == 0.5
    assert longest_s(LAN) == 0.2


@pytest.mark.parametrize("config", [modes.swim(), modes.lifeguard()], ids=["SWIM", "Lifeguard"])
def test_who_is_cut_off_is_isolated_in_gossipd_alone(config: ProtocolConfig) -> None:
    def isolated(config: ProtocolConfig) -> bool:
        world = a_world(config)
        world.network.cut("cut", GroupCut(8, [[0], range(1, 8)]), now=world.now)
        world.run(20.0)
        assert world.hosts[0].node is not None
        return inside.isolated(world.hosts[0].node)

    assert isolated(LAN)
    assert not isolated(config)


def test_one_that_overslept_is_merciful_in_gossipd_alone() -> None:
    def oversleeps(config: ProtocolConfig) -> int:
        world = a_world(config)
        world.freeze(0)
        world.run(3.0)
        world.thaw(0)
        world.run(1.0)
        return statistics(world)[0].oversleeps

    assert oversleeps(LAN) == 1
    assert oversleeps(NONE) == 0


def test_news_is_pushed_eagerly_in_gossipd_alone() -> None:
    def eager(config: ProtocolConfig) -> int:
        world = a_world(config)
        world.register(0, Service(name="web", id="web-1", port=80))
        world.run(1.0)
        return sum(of.eager_packets for of in statistics(world))

    assert eager(LAN) > 0
    assert eager(NONE) == 0


@pytest.mark.parametrize("stream_ping", [False, True])
def test_a_late_ack_tries_a_stream_only_if_told_to(stream_ping: bool) -> None:
    config = composed(lha_probe=False, lha_suspicion=False, buddy=False, stream_ping=stream_ping, base=UNSYNCED)
    assert (sum(of.streams_opened for of in statistics(after_a_crash(config))) > 0) == stream_ping


def test_lost_members_are_knocked_at_at_serfs_pace_but_in_gossipd() -> None:
    assert NONE.sync.reconnect_interval_s == 30.0
    assert modes.MODES["gossipd"]() is LAN


@pytest.mark.parametrize(("make", "alpha"), [(modes.swim, 4.0), (modes.lifeguard, 2.0)])
def test_alpha_is_the_suspicion_s_factor(make: Callable[[float], ProtocolConfig], alpha: float) -> None:
    assert make(alpha).suspicion.factor == alpha
    assert replace(make(alpha), suspicion=make(5.0).suspicion) == make(5.0)


def test_only_gossipd_stops_telling_what_it_hears_again() -> None:
    """In a mode each member tells as often as memberlist: 8 times of 12."""

    def news_sent(config: ProtocolConfig) -> int:
        quiet = replace(config, probe=replace(config.probe, interval_s=600.0, timeout_s=0.5, timeout_floor_s=0.5))
        world = a_world(quiet, hosts=12)
        before = sum(host.traffic.datagrams_out for host in world.hosts)
        world.register(0, Service(name="web", id="web", port=1))
        world.run(3.0)
        return sum(host.traffic.datagrams_out for host in world.hosts) - before

    assert news_sent(UNSYNCED) == 12 * 4
    assert news_sent(NONE) == 12 * 8
