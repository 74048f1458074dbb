"""What lies between hosts: delay, loss, bursts, bandwidth, cuts, distance."""

import math
from random import Random

import pytest

from simulations.host import RECEIVE_BUFFER_BYTES
from simulations.network import (
    WORLD_SITES,
    Burst,
    GroupCut,
    Link,
    Network,
    OneWayCut,
    RingCut,
    Topology,
    distance_km,
    kernel_bytes,
    round_trip_s,
)


def a_network(link: Link, hosts: int = 3) -> Network:
    return Network(Topology(link=link), hosts, Random(1))


def lost_part(network: Network, packets: int = 20_000) -> float:
    return sum(network.transit(0, 1, 100, 0.0) == math.inf for _ in range(packets)) / packets


def test_the_default_buffer_holds_as_many_datagrams_as_linux_s_does() -> None:
    assert [RECEIVE_BUFFER_BYTES // kernel_bytes(size) for size in (1, 1_400)] == [277, 92]


def test_delay_lies_between_the_least_and_the_jitter_above_it() -> None:
    network = a_network(Link(delay_s=0.01, jitter_s=0.005))
    delays = [network.transit(0, 1, 100, 1.0) - 1.0 for _ in range(1_000)]
    assert 0.01 <= min(delays) < 0.0101
    assert 0.0149 < max(delays) <= 0.015


def test_loss_is_the_part_that_was_asked_for_and_one_s_own_interface_adds_to_it() -> None:
    network = a_network(Link(loss=0.2))
    assert lost_part(network) == pytest.approx(0.2, abs=0.01)
    network.set_loss(1, incoming=0.5, outgoing=0.0)
    assert lost_part(network) == pytest.approx(1 - 0.8 * 0.5, abs=0.01)


def test_bursts_lose_runs_of_packets_with_the_length_and_the_part_of_the_model() -> None:
    network = a_network(Link(burst=Burst(begins=0.01, ends=0.1)))
    lost = [network.transit(0, 1, 100, 0.0) == math.inf for _ in range(100_000)]
    runs = sum(one and not before for before, one in zip([False, *lost], lost, strict=False))
    assert sum(lost) / len(lost) == pytest.approx(0.01 / (0.01 + 0.1), rel=0.1)
    assert sum(lost) / runs == pytest.approx(10, rel=0.1)


def test_a_burst_loses_the_part_that_it_says_of_what_falls_into_it() -> None:
    network = a_network(Link(burst=Burst(begins=0.1, ends=0.1, loss=0.4)))
    assert lost_part(network) == pytest.approx(0.5 * 0.4, abs=0.02)


def test_bandwidth_spaces_packets_and_loses_what_waits_too_long() -> None:
    network = a_network(Link(delay_s=0, jitter_s=0, bytes_per_s=1_000, backlog_s=0.25))
    assert [network.transit(0, 1, 100, 0.0) for _ in range(5)] == pytest.approx([0.1, 0.2, 0.3, math.inf, math.inf])
    assert network.transit(1, 0, 100, 0.0) == pytest.approx(0.1)


def test_some_packets_come_twice_and_some_are_overtaken() -> None:
    network = a_network(Link(duplicate=0.1, reorder=0.3, reorder_s=1.0, jitter_s=0))
    assert sum(network.duplicated(0, 1) for _ in range(10_000)) / 10_000 == pytest.approx(0.1, abs=0.01)
    late = sum(network.transit(0, 1, 100, 0.0) > 0.01 for _ in range(10_000)) / 10_000
    assert late == pytest.approx(0.3, abs=0.02)


def test_a_group_hears_itself_a_bridge_hears_all_and_so_does_who_is_in_none() -> None:
    cut = GroupCut(6, [(0, 1, 2), (2, 3, 4)])
    assert not cut.blocks(0, 1)
    assert cut.blocks(0, 3)
    assert not cut.blocks(2, 0)
    assert not cut.blocks(2, 3)
    assert not cut.blocks(5, 0)


def test_a_one_way_cut_blocks_one_direction() -> None:
    cut = OneWayCut(3, (0,), (1, 2))
    assert (cut.blocks(0, 1), cut.blocks(1, 0), cut.blocks(1, 2)) == (True, False, False)


def test_a_ring_cut_leaves_everybody_its_neighbours() -> None:
    cut = RingCut(8, 3)
    assert [number for number in range(8) if not cut.blocks(0, number)] == [0, 1, 2, 3, 5, 6, 7]


def test_cuts_under_other_names_hold_together_and_the_past_is_remembered() -> None:
    network = a_network(Link())
    network.cut("one", GroupCut(3, [(0,), (1, 2)]), now=1.0)
    network.cut("other", OneWayCut(3, (1,), (2,)), now=2.0)
    assert not network.reaches(0, 1)
    assert not network.reaches(1, 2)
    network.heal("one", now=3.0)
    assert network.reaches(0, 1)
    assert not network.linked(0, 1, since=2.5)
    assert network.linked(0, 1, since=3.5)
    network.heal(now=4.0)
    assert network.whole


def test_distance_makes_delay_as_in_corrosion_s_model() -> None:
    by_name = {site.name: site for site in WORLD_SITES}
    assert distance_km(by_name["lhr"], by_name["iad"]) == pytest.approx(5_900, rel=0.02)
    assert round_trip_s(5_900) == pytest.approx(0.0827, rel=0.01)
    topology = Topology(sites=WORLD_SITES)
    placed = topology.place(210)
    assert [placed.count(site) for site in range(12)] == [30, 20, 20, 10, 20, 20, 20, 10, 10, 20, 20, 10]
    assert topology.between(0, 4).delay_s == pytest.approx(0.0414, rel=0.03)


def test_a_burst_is_remembered_on_its_link_until_long_enough_ago() -> None:
    network = a_network(Link(burst=Burst(begins=1.0, ends=1.0)))
    network.transit(0, 1, 100, 7.0)
    network.transit(0, 1, 100, 8.0)  # which ends it
    assert [network.in_burst(1, 0, since=since) for since in (6.0, 7.5)] == [True, False]
    assert not network.in_burst(0, 2, since=0.0)
