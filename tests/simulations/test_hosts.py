"""What a host is made of does what its settings say: clock, processor, interface, buffers, checks, disk; and so do faults."""

import math

import pytest

from gossipd.ids import Address
from gossipd.limits import STREAMS_OUTBOUND_MAX
from gossipd.node.actions import Action, OpenStream, SendDatagram
from gossipd.node.node import Node
from gossipd.records import Health, Service
from gossipd.wire.records import SERVICE_KEY_PREFIX
from simulations import inside
from simulations.beliefs import ALIVE
from simulations.faults import (
    CutRing,
    Fault,
    Flap,
    Freeze,
    Heal,
    Leave,
    Lose,
    Register,
    Restart,
    SetClockBack,
    SetHealth,
    SetLink,
    SlowDisk,
    SlowDown,
    UseKeys,
    apply,
)
from simulations.host import HostSettings, WakeOrder
from simulations.network import LAN_LINK, WORLD_SITES, GroupCut, Link, Topology
from simulations.streams import SEGMENT_BYTES
from simulations.world import World

AT_ONCE = Topology(link=Link(delay_s=0.0, jitter_s=0.0))


class Deaf(Node):
    """Does nothing but note when it heard something, since it began."""

    heard: list[float]

    def start(self, *, now: float) -> list[Action]:
        self.began, self.heard = now, []
        return []

    def next_deadline(self) -> float:
        return math.inf

    def receive_datagram(self, data: bytes, source: Address, *, now: float) -> list[Action]:
        self.heard.append(now - self.began)
        return []


def a_world(hosts: int = 4, *, topology: Topology | None = None, **settings: object) -> World:
    world = World(hosts, seed=1, topology=topology, settings=HostSettings(**settings))  # type: ignore[arg-type]
    world.start_warm(services=1)
    return world


def test_clocks_drift_apart_by_as_much_as_is_asked_for() -> None:
    assert {host.rate for host in a_world().hosts} == {1.0}
    rates = [host.rate for host in a_world(50, drift=0.01).hosts]
    assert 0.99 <= min(rates) < 0.995
    assert 1.005 < max(rates) <= 1.01


def test_an_interface_sends_one_packet_after_another() -> None:
    world = World(4, seed=1, topology=AT_ONCE, settings=HostSettings(nic_bytes_per_s=1_000.0), node_type=Deaf)
    world.start_warm()
    others = tuple(host.address for host in world.hosts[1:])
    world._perform(world.hosts[0], [SendDatagram(data=bytes(72), targets=others)])
    world.run(0.35)
    arrived = [at for host in world.hosts[1:] if isinstance(host.node, Deaf) for at in host.node.heard]
    assert arrived == pytest.approx([0.1, 0.2, 0.3])


def test_each_segment_of_a_stream_and_each_timer_takes_processor_time() -> None:
    world = a_world(cpu_s=0.01)
    host = world.hosts[1]
    world.give(host, lambda *_: (), None, None, 3 * SEGMENT_BYTES)
    assert host.busy_until == pytest.approx(0.04)
    began: list[float] = []
    world.looking.append(lambda looked: began.append(world.now) if looked is host else None)
    world.network.cut("all", GroupCut(4, [(0,), (1,), (2,), (3,)]), now=world.now)
    world.run(5.0)
    assert len(began) > 5
    assert host.busy_until == pytest.approx(began[-1] + 0.01)  # cut off: timers alone


@pytest.mark.parametrize(("wake", "read"), [(WakeOrder.DRIVER, 64), (WakeOrder.TIMERS, 0), (WakeOrder.DATAGRAMS, 100)])
def test_who_wakes_reads_as_many_datagrams_before_its_late_timer_as_the_wake_order_says(
    wake: WakeOrder, read: int
) -> None:
    inputs: list[str] = []

    class Noting(Node):
        def receive_datagram(self, data: bytes, source: Address, *, now: float) -> list[Action]:
            inputs.append("datagram")
            return super().receive_datagram(data, source, now=now)

        def handle_timer(self, *, now: float) -> list[Action]:
            inputs.append("timer")
            return super().handle_timer(now=now)

    world = World(1, seed=1, settings=HostSettings(wake=wake), node_type=Noting)
    world.start_warm()
    world.freeze(0)
    for _ in range(100):
        world.schedule(2.0, world._arrive, world.hosts[0], bytes(60), world.hosts[0].address)
    world.run(3.0)
    assert inputs == []
    world.thaw(0)
    world.run(1.0)
    assert inputs.index("timer") == read
    assert inputs.count("datagram") == 100


def test_what_a_blocked_process_said_waits_in_a_bounded_buffer_and_leaves_first() -> None:
    world = a_world(receive_buffer_bytes=10 * 768)
    host = world.hosts[2]
    world.block(2)
    world.run(30.0)
    held = sum(len(action.targets) for action, _ in host.outbox if isinstance(action, SendDatagram))
    sent = host.traffic.datagrams_out
    assert 0 < held <= 10
    world.unblock(2)
    assert host.traffic.datagrams_out == sent + held


def test_what_a_blocked_process_gives_up_or_has_no_room_for_is_dropped_and_counted() -> None:
    world = a_world(receive_buffer_bytes=10 * 768)
    host = world.hosts[2]
    wanted: list[Action] = []

    class Wanting(Node):
        def handle_timer(self, *, now: float) -> list[Action]:
            actions = super().handle_timer(now=now)
            if self.me == "n2" and host.blocked:
                wanted.extend(actions)
            return actions

    assert host.node is not None
    host.node.__class__ = Wanting
    world.block(2)
    world.run(300.0)
    opened = {action.stream for action in wanted if isinstance(action, OpenStream)}
    held = {action.stream for action, _ in host.outbox if isinstance(action, OpenStream)}
    said = sum(len(action.targets) for action in wanted if isinstance(action, SendDatagram))
    assert len(opened) > 2 * STREAMS_OUTBOUND_MAX
    assert len(held) <= STREAMS_OUTBOUND_MAX
    assert len(held) == sum(not isinstance(action, SendDatagram) for action, _ in host.outbox)
    datagrams = sum(len(action.targets) for action, _ in host.outbox if isinstance(action, SendDatagram))
    assert host.traffic.unsent == said - datagrams + len(opened - held)
    world.unblock(2)
    world.run(30.0)
    assert world.beliefs.counts[2][ALIVE] == 3


def test_what_a_frozen_process_is_asked_it_does_in_order_when_it_goes_on() -> None:
    world = a_world()
    world.freeze(1)
    assert world.register(1, Service(name="db", id="job", port=1))
    assert world.register(1, Service(name="db", id="job", port=2))
    world.run(2.0)
    assert port_of(world) is None
    world.thaw(1)
    assert world.register(1, Service(name="db", id="job", port=3))
    world.run(2.0)
    assert port_of(world) == 3
    world.freeze(1)
    assert world.deregister(1, "job")
    world.stop(1)
    assert not world.deregister(1, "job")
    world.start(1)
    world.run(2.0)
    assert port_of(world) == 3  # who asked has lost its connection


def port_of(world: World) -> int | None:
    node = world.hosts[1].node
    assert node is not None
    return inside.answered_port(node, "n1", SERVICE_KEY_PREFIX + "job")


def test_some_datagrams_arrive_twice() -> None:
    world = a_world(topology=Topology(link=Link(duplicate=1.0)))
    world.run(5.5)
    out, arrived = (
        sum(getattr(host.traffic, way) for host in world.hosts) for way in ("datagrams_out", "datagrams_in")
    )
    assert arrived == 2 * out > 0


def health_of(world: World) -> Health | None:
    node = world.hosts[1].node
    assert node is not None
    state = inside.state(node, "n1", "job")
    return None if state is None else state.health


def test_a_check_brings_what_was_set_after_the_time_that_a_try_takes() -> None:
    def seen_s(check_s: float) -> float | None:
        world = a_world(check_s=check_s)
        apply(world, SetHealth(hosts=(1,), id="job", health=Health.PASSING))
        apply(world, Register(hosts=(1,), id="job", checked_every_s=10.0))
        return world.run_until(lambda: health_of(world) is Health.PASSING, within_s=15.0, every_s=0.01)

    quick_s, slow_s = seen_s(0.0), seen_s(0.5)
    assert quick_s is not None
    assert slow_s == pytest.approx(quick_s + 0.5, abs=0.011)


def test_a_peer_book_is_read_unless_it_is_not_to_be() -> None:
    for peers, met in ((True, 4), (False, 0)):
        world = a_world(5)
        for number in range(5):
            world.stop(number)
        for number in range(1, 5):
            world.start(number)
        world.start(0, peers=peers)
        node = world.hosts[0].node
        assert node is not None
        assert len(node.peer_book(now=world.hosts[0].clock(world.now))) == met


def test_a_link_everywhere_leaves_distances_as_they_are() -> None:
    world = World(12, seed=1, topology=Topology(sites=WORLD_SITES))
    before = world.network.link(0, 1)
    assert before.jitter_s == pytest.approx(LAN_LINK.jitter_s + 0.05 * before.delay_s)
    apply(world, SetLink(link=Link(loss=0.1)))
    after = world.network.link(0, 1)
    assert (after.delay_s, after.loss) == (before.delay_s, 0.1)


# ----------------------------------------------------------------------------------------------------------------- faults


def test_a_link_of_one_direction_is_nobody_else_s() -> None:
    world = a_world()
    apply(world, SetLink(link=Link(loss=0.3), sources=(0,), targets=(1, 2)))
    assert [(a, b) for a in range(4) for b in range(4) if world.network.link(a, b).loss] == [(0, 1), (0, 2)]


def test_a_flap_cuts_and_heals_as_often_as_it_says() -> None:
    world = a_world()
    apply(world, Flap(groups=((0, 1), (2, 3)), cut_s=2.0, healed_s=3.0, times=2))
    whole: list[bool] = []
    for _ in range(12):
        world.run(1.0 if whole else 0.5)
        whole.append(world.network.reaches(0, 2))
    assert whole == [False, False, True, True, True] * 2 + [True, True]


FLAP = Flap(groups=((0, 1), (2, 3)), cut_s=2.0, healed_s=3.0, times=3)


@pytest.mark.parametrize("name", [None, FLAP.name])
@pytest.mark.parametrize("healed_at", [1.0, 3.0, 6.0])
def test_a_heal_ends_a_flap_that_goes_on(name: str | None, healed_at: float) -> None:
    world = a_world()
    apply(world, FLAP)
    world.run(healed_at)
    apply(world, Heal(name=name))
    assert world.network.whole
    at = world.network.changed_at
    world.run(15.0)
    assert world.network.changed_at == at


def test_a_heal_of_another_name_leaves_a_flap_alone_and_a_later_flap_takes_over() -> None:
    world = a_world()
    apply(world, FLAP)
    world.run(2.5)
    apply(world, Heal(name="cut"))
    apply(world, FLAP)
    whole: list[bool] = []
    for _ in range(8):
        world.run(1.0 if whole else 0.5)
        whole.append(world.network.whole)
    assert whole == [False, False, True, True, True, False, False, True]


def test_a_ring_lets_each_hear_its_next() -> None:
    world = a_world(8)
    apply(world, CutRing(reach=2))
    assert [other for other in range(8) if world.network.reaches(0, other)] == [0, 1, 2, 6, 7]


@pytest.mark.parametrize(
    ("fault", "attribute", "value"),
    [
        (SlowDown(hosts=(1,), cpu_s=0.1), "cpu_s", 0.1),
        (SlowDown(hosts=(1,), cpu_s=None), "cpu_s", HostSettings().cpu_s),
        (SlowDisk(hosts=(1,), disk_s=5.0), "disk_s", 5.0),
        (SetClockBack(hosts=(1,), by_s=60.0), "wall_shift_s", -60.0),
        (Freeze(hosts=(1,)), "frozen", True),
    ],
    ids=str,
)
def test_a_fault_changes_its_hosts_alone(fault: Fault, attribute: str, value: object) -> None:
    world, untouched = a_world(), a_world()
    apply(world, fault)
    assert getattr(world.hosts[1], attribute) == value
    assert getattr(world.hosts[2], attribute) == getattr(untouched.hosts[2], attribute)


def test_a_clock_set_back_makes_the_epoch_of_who_lost_its_disk_older() -> None:
    epochs = []
    for by_s in (0.0, 60.0):
        world = a_world()
        apply(world, SetClockBack(hosts=(1,), by_s=by_s))
        apply(world, Restart(hosts=(1,), disk=False, seeds=()))
        assert world.hosts[1].node is not None
        epochs.append(world.hosts[1].node.epoch)
    assert epochs[0] - epochs[1] == 60_000


def test_a_disk_that_is_slow_from_now_on_loses_what_is_written_next() -> None:
    world = a_world()
    apply(world, SlowDisk(hosts=(1,), disk_s=5.0))
    apply(world, Register(hosts=(1, 2), id="late"))
    world.run(4.0)
    for number in (1, 2):
        world.stop(number)
    kept = [{each.service.id for each in world.hosts[number].disk.kept.registrations} for number in (1, 2)]
    assert kept == [{"web-0"}, {"web-0", "late"}]


def test_a_lossy_host_loses_that_part_of_what_it_hears_and_of_what_it_says() -> None:
    world = a_world()
    apply(world, Lose(hosts=(1,), incoming=1.0, outgoing=0.0))
    assert math.inf not in {world.network.transit(1, 0, 100, 0.0) for _ in range(100)}
    assert {world.network.transit(0, 1, 100, 0.0) for _ in range(100)} == {math.inf}
    apply(world, Lose(hosts=(1,), incoming=0.0, outgoing=1.0))
    assert math.inf not in {world.network.transit(0, 1, 100, 0.0) for _ in range(100)}
    assert {world.network.transit(1, 0, 100, 0.0) for _ in range(100)} == {math.inf}


def test_who_seals_with_a_key_that_others_lack_is_not_understood_and_keeps_it_when_restarted() -> None:
    world = a_world()
    apply(world, UseKeys(hosts=(1,), keys=(5,)))
    apply(world, Restart(hosts=(1,)))
    world.run(20.0)
    assert world.beliefs.counts[1][ALIVE] == 0
    apply(world, UseKeys(hosts=(0, 1, 2, 3), keys=(0, 5)))
    world.run(20.0)
    assert world.beliefs.counts[1][ALIVE] == 3


def test_who_leaves_and_is_restarted_is_back() -> None:
    world = a_world()
    apply(world, Leave(hosts=(1,)))
    world.run(10.0)
    assert not world.hosts[1].up
    apply(world, Restart(hosts=(1,)))
    world.run(5.0)
    assert world.beliefs.counts[1][ALIVE] == 3
