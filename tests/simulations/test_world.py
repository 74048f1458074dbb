"""The world: equal seeds, equal histories; what is shared changes nothing; a warm start is what merges would have left."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gossipd.config import LAN
from gossipd.core.catalog.store import Store
from gossipd.core.items import ItemIndex
from gossipd.core.membership.awareness import Awareness
from gossipd.core.membership.table import Table
from gossipd.ids import NodeId
from gossipd.limits import MEMBERS_MAX, RECORDS_MAX, SESSIONS_MAX
from gossipd.records import Service
from simulations import inside
from simulations.beliefs import ALIVE, DEAD
from simulations.host import HostSettings, WakeOrder
from simulations.network import GroupCut, Link, Topology
from simulations.scenarios import STORIES
from simulations.steps import play, world_of
from simulations.world import World

ROOT = Path(__file__).parent.parent.parent


def run_elsewhere(hash_seed: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    command = [sys.executable, "-m", "simulations", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)


def a_world(hosts: int = 6, seed: int = 1, **settings: object) -> World:
    world = World(hosts, seed=seed, settings=HostSettings(**settings))  # type: ignore[arg-type]
    world.start_warm(services=1)
    return world


def test_equal_seeds_give_equal_histories_in_processes_that_hash_strings_differently() -> None:
    runs = [run_elsewhere(hash_seed, "run", "service_churn", "--nodes", "12", "--seed", "5") for hash_seed in (1, 2)]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr
    assert runs[0].stdout == runs[1].stdout
    line = runs[0].stdout.rstrip().rpartition("replay: python -m simulations replay ")[2]
    again = run_elsewhere(3, "replay", *line.split())
    assert again.returncode == 0, again.stdout


def test_another_seed_gives_another_history() -> None:
    hashes = set()
    for seed in (1, 2):
        world = a_world(seed=seed)
        world.run(5)
        hashes.add(world.history_hash())
    assert len(hashes) == 2


@pytest.mark.parametrize("name", ["writes_both_sides", "key_rotation_during_cut", "halves", "rolling_restart"])
def test_what_nodes_share_changes_nothing(name: str) -> None:
    story = STORIES[name](8)
    outcomes = [play(story, world_of(story, nodes=8, seed=3, shared=shared)) for shared in (True, False)]
    assert outcomes[0] == outcomes[1]
    assert outcomes[0].passed


def test_a_warm_start_is_what_ordinary_merges_would_have_left() -> None:
    world = a_world(hosts=5)
    nodes = [host.node for host in world.hosts if host.node]
    machines = inside.machines(nodes[2])
    items = ItemIndex()
    table = Table(LAN, own=machines.table.own, index=items, awareness=Awareness(8), now=0.0)
    catalog = Store(LAN.catalog, me=machines.table.me, index=items)
    for node in nodes:
        own = inside.machines(node)
        table.merge(own.table.own, source=node.me, how="gossip", now=0.0)
        catalog.owner_epoch(node.me, node.epoch, now=0.0)
        for record in own.author._live.values():
            how = "self" if node is nodes[2] else "gossip"
            catalog.merge(record, source=node.me, how=how, now=0.0)
    assert machines.table.live == table.live
    assert {name: row.claim for name, row in machines.table.rows.items()} == {
        name: row.claim for name, row in table.rows.items()
    }
    assert machines.items.root() == items.root()
    assert machines.items.xor_buckets(16) == items.xor_buckets(16)
    assert len(machines.items) == len(items) == 5 * 3
    assert sorted(map(str, machines.catalog.all())) == sorted(map(str, catalog.all()))
    assert (len(machines.catalog), machines.catalog.bytes) == (len(catalog), catalog.bytes)
    for node in nodes:
        assert sorted(map(str, machines.catalog.records_of(node.me))) == sorted(map(str, catalog.records_of(node.me)))
        assert machines.catalog.floor(node.me) == catalog.floor(node.me)
    assert [len(inside.machines(node).spreader) for node in nodes] == [0] * 5


def test_what_one_node_changes_after_a_warm_start_no_other_has() -> None:
    world = a_world(hosts=4)
    world.network.cut("all", GroupCut(4, [(0,), (1,), (2,), (3,)]), now=world.now)
    before = [inside.root(host.node) for host in world.hosts if host.node]
    world.register(0, Service(name="db", id="db", port=5432))
    after = [inside.root(host.node) for host in world.hosts if host.node]
    assert before[0] != after[0]
    assert before[1:] == after[1:]
    assert len(set(before)) == 1


def test_two_messages_a_period_are_sent_when_all_is_quiet() -> None:
    world = a_world(hosts=20)
    world.run(30)
    assert sum(host.traffic.datagrams_out for host in world.hosts) / 20 / 30 == pytest.approx(2.0, rel=0.02)


def test_a_frozen_process_hears_what_its_buffer_held_and_loses_the_rest() -> None:
    world = a_world(hosts=2, receive_buffer_bytes=10 * 768)
    world.freeze(1)
    for _ in range(20):
        world.schedule(world.now, world._arrive, world.hosts[1], bytes(60), world.hosts[0].address)
    world.run(0.001)
    assert len(world.hosts[1].waiting) == 10
    assert world.hosts[1].traffic.overflowed == 10
    world.thaw(1)
    world.run(1)
    assert len(world.hosts[1].waiting) == 0


@pytest.mark.parametrize(("wake", "accused"), [(WakeOrder.DRIVER, 0), (WakeOrder.DATAGRAMS, 0), (WakeOrder.TIMERS, 0)])
def test_who_was_frozen_accuses_nobody_whichever_fires_first_when_it_wakes(wake: WakeOrder, accused: int) -> None:
    world = a_world(hosts=8, wake=wake)
    world.run(5)
    world.freeze(3)
    world.run(4)
    world.thaw(3)
    world.run(10)
    assert [world.beliefs.counts[number][DEAD] for number in range(8)] == [accused] * 8
    assert all(world.beliefs.counts[number][ALIVE] == 7 for number in range(8))


def test_a_blocked_process_keeps_its_timers_but_nothing_leaves_it() -> None:
    world = a_world(hosts=5)
    world.run(2)
    world.block(2)
    sent = world.hosts[2].traffic.datagrams_out
    world.run(3)
    assert world.hosts[2].traffic.datagrams_out == sent
    assert world.hosts[2].outbox
    world.unblock(2)
    world.run(1)
    assert world.hosts[2].traffic.datagrams_out > sent


def test_one_thing_is_handled_at_a_time() -> None:
    world = a_world(hosts=2, cpu_s=0.01)
    world.network.cut("cut", GroupCut(2, [(0,), (1,)]), now=world.now)
    heard: list[float] = []
    world.looking.append(lambda host: heard.append(world.now) if host.number == 1 else None)
    for _ in range(5):
        world.schedule(0.0, world._arrive, world.hosts[1], bytes(60), world.hosts[0].address)
    world.run(0.045)
    assert heard == pytest.approx([0.00, 0.01, 0.02, 0.03, 0.04])


def test_a_clock_that_runs_fast_probes_more_often() -> None:
    world = World(4, seed=1)
    world.hosts[1].rate = 1.25
    world.start_warm()
    world.run(100)
    sent = [inside.machines(host.node).prober.sent for host in world.hosts if host.node]
    assert sent[0] == pytest.approx(100, abs=2)
    assert sent[1] == pytest.approx(125, abs=2)


def test_synchronous_rounds_begin_together() -> None:
    world = World(8, seed=1, synchronous=True)
    world.start_warm()
    world.run_to(0.999)
    assert sum(host.traffic.datagrams_out for host in world.hosts) == 0
    world.run_to(1.000_2)
    assert [host.traffic.datagrams_out for host in world.hosts] == [1] * 8


def test_a_restart_without_a_disk_and_with_a_clock_set_back_ends_above_the_former_epoch() -> None:
    world = a_world(hosts=5)
    world.run(2)
    former = world.hosts[3].disk.epoch
    world.stop(3)
    world.wipe(3)
    world.hosts[3].wall_shift_s = -3_600
    world.start(3, seeds=(0,))
    world.run(10)
    node = world.hosts[3].node
    assert node is not None
    assert node.epoch > former
    assert world.hosts[3].disk.epoch == node.epoch
    assert all(world.beliefs.counts[number][ALIVE] == 4 for number in range(5))


def test_what_a_slow_disk_had_not_written_is_lost_with_the_process() -> None:
    for disk_s, kept in ((0.0, 1), (5.0, 0)):
        world = World(2, seed=1, settings=HostSettings(disk_s=disk_s))
        world.start_warm()
        world.register(0, Service(name="db", id="db", port=5432))
        world.run(2)
        world.stop(0)
        assert len(world.hosts[0].disk.kept.registrations) == kept


def test_a_stream_outlives_a_short_cut_and_a_killed_process_resets_its_own() -> None:
    world = World(2, seed=1, topology=Topology(link=Link(delay_s=0.05)))
    world.start(0)
    world.network.cut("cut", GroupCut(2, [(0,), (1,)]), now=world.now)
    world.start(1, seeds=(0,))
    world.run(2)
    assert world.beliefs.counts[0][ALIVE] == 0
    world.network.heal(now=world.now)
    world.run(3)
    assert world.beliefs.counts[0][ALIVE] == 1
    assert len(world.streams) == 0


def test_who_leaves_is_listed_as_left_and_its_process_ends() -> None:
    world = a_world(hosts=5)
    world.leave(2)
    world.run(10)
    assert not world.hosts[2].up
    assert all(inside.status_of(host.node, NodeId("n2")) == 3 for host in world.running() if host.node)


def test_hosts_and_probabilities_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="hosts=0"):
        World(0, seed=1)
    with pytest.raises(ValueError, match=r"loss=-0\.1"):
        Link(loss=-0.1)
    with pytest.raises(ValueError, match="disk_s"):
        HostSettings(disk_s=-1)


def test_the_checker_of_queues_sees_what_a_node_holds() -> None:
    world = a_world(hosts=6)
    world.run(20)
    node = world.hosts[2].node
    assert node is not None
    seen = inside.queue_lengths(node)
    assert seen["members"] == (6, MEMBERS_MAX)
    assert seen["sessions"] == (5, SESSIONS_MAX)
    assert seen["records"] == (2 * 6, RECORDS_MAX)
