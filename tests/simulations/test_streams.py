"""Streams between hosts: how long they take, what a cut or loss does to them, and what the other end hears when one ends."""

import pytest

from gossipd.ids import Address
from gossipd.node.actions import Action, OpenStream, SendStream
from gossipd.node.node import Node
from simulations.network import GroupCut, Link, Topology
from simulations.world import World

DELAY_S = 0.05
NUMBER = 7
CUT = GroupCut(2, [(0,), (1,)])


class Ends(Node):
    """Says nothing of its own, takes every stream, and notes what it is told of them."""

    told: list[tuple[float, str, object]]

    def start(self, *, now: float) -> list[Action]:
        self.told = []
        return []

    def handle_timer(self, *, now: float) -> list[Action]:
        return []

    def next_deadline(self) -> float:
        return float("inf")

    def accept_stream(self, source: Address, *, now: float) -> tuple[int | None, list[Action]]:
        return NUMBER, []

    def stream_opened(self, stream: int, *, now: float) -> list[Action]:
        return self._note("opened", stream, now)

    def receive_stream(self, stream: int, data: bytes, *, now: float) -> list[Action]:
        return self._note("data", data, now)

    def stream_closed(self, stream: int, *, now: float, error: str | None = None) -> list[Action]:
        return self._note("closed", error, now)

    def _note(self, what: str, of: object, now: float) -> list[Action]:
        self.told.append((now, what, of))
        return []


def two_hosts(loss: float = 0.0) -> World:
    world = World(2, seed=1, topology=Topology(link=Link(delay_s=DELAY_S, jitter_s=0.0, loss=loss)), node_type=Ends)
    for number in (0, 1):
        world.start(number)
    return world


def connect(world: World, *, timeout_s: float = 20.0) -> None:
    client, server = world.hosts
    world.streams.open(client, OpenStream(stream=NUMBER, target=server.address, timeout_s=timeout_s), server)


def send(world: World, data: bytes) -> None:
    world.streams.send(world.hosts[0], SendStream(stream=NUMBER, data=data))


def told(world: World, number: int) -> list[tuple[float, str, object]]:
    """Return what the process of host *number* was told, by the world's clock, to the microsecond."""
    host = world.hosts[number]
    assert isinstance(host.node, Ends)
    return [(round((now - host.shift) / host.rate, 6), what, of) for now, what, of in host.node.told]


def test_connecting_takes_a_round_trip_and_chunks_come_in_order() -> None:
    world = two_hosts()
    connect(world)
    world.run(1.0)
    for data in (b"one", b"two"):
        send(world, data)
    world.run(1.0)
    assert told(world, 0) == [(2 * DELAY_S, "opened", NUMBER)]
    assert [of for _, _, of in told(world, 1)] == [b"one", b"two"]


@pytest.mark.parametrize(("cut_s", "again_s"), [(0.5, 1.0), (2.0, 3.0), (6.0, 7.0)])
def test_a_lost_syn_goes_again_after_one_three_and_seven_seconds(cut_s: float, again_s: float) -> None:
    world = two_hosts()
    world.network.cut("cut", CUT, now=world.now)
    connect(world)
    world.run(cut_s)
    world.network.heal(now=world.now)
    world.run(10.0)
    assert told(world, 0) == [(again_s + 2 * DELAY_S, "opened", NUMBER)]


@pytest.mark.parametrize(("cut_s", "again_s"), [(0.1, 0.2), (0.5, 0.6), (1.0, 1.4), (2.0, 3.0)])
def test_a_chunk_that_meets_a_cut_goes_again_after_waits_that_double(cut_s: float, again_s: float) -> None:
    world = two_hosts()
    connect(world)
    world.run(1.0)
    world.network.cut("cut", CUT, now=world.now)
    for data in (b"one", b"two"):
        send(world, data)
    world.run(cut_s)
    world.network.heal(now=world.now)
    world.run(10.0)
    heard = told(world, 1)
    assert [of for _, _, of in heard] == [b"one", b"two"]
    assert heard[0][0] == pytest.approx(1.0 + again_s + DELAY_S)


def test_a_long_chunk_is_exposed_to_ten_losses_and_a_short_one_to_one() -> None:
    def at_once(size: int) -> int:
        world = two_hosts(loss=0.1)
        connect(world)
        world.run(20.0)
        assert told(world, 0)[-1][1] == "opened"
        for at in range(400):
            world.run_to(100.0 * (at + 1))
            send(world, bytes(size))
            world.run(DELAY_S + 0.01)
        world.run(100.0)
        heard = [now % 100.0 for now, _, _ in told(world, 1)]
        assert len(heard) == 400
        return sum(late_s < DELAY_S + 0.01 for late_s in heard)

    assert at_once(100) / 400 == pytest.approx(0.9, abs=0.04)
    assert at_once(100_000) / 400 == pytest.approx(0.9**10, abs=0.06)


@pytest.mark.parametrize(
    ("silent", "after_s", "error"), [(False, 0.1, "connection refused"), (True, 4.0, "connection timed out")]
)
def test_a_killed_process_refuses_and_a_machine_that_is_gone_does_not_answer(
    silent: bool, after_s: float, error: str
) -> None:
    world = two_hosts()
    world.stop(1, silent=silent)
    connect(world, timeout_s=4.0)
    world.run(10.0)
    assert told(world, 0) == [(after_s, "closed", error)]


@pytest.mark.parametrize(("silent", "closed"), [(False, ["connection reset by peer"]), (True, [])])
def test_a_process_that_dies_resets_its_streams_but_not_with_its_machine(silent: bool, closed: list[str]) -> None:
    world = two_hosts()
    connect(world)
    world.run(1.0)
    world.stop(1, silent=silent)
    if silent:
        send(world, b"into the dark")
    world.run(10.0)
    assert [of for _, what, of in told(world, 0) if what == "closed"] == closed


def test_a_frozen_process_is_connected_to_by_its_kernel_and_hears_of_it_when_it_wakes() -> None:
    world = two_hosts()
    world.freeze(1)
    connect(world)
    world.run(1.0)
    send(world, b"hello")
    world.run(1.0)
    assert told(world, 0) == [(2 * DELAY_S, "opened", NUMBER)]
    assert told(world, 1) == []
    world.thaw(1)
    world.run(1.0)
    assert [of for _, _, of in told(world, 1)] == [b"hello"]


def test_a_syn_that_is_lost_takes_nothing_of_the_bandwidth_back() -> None:
    world = two_hosts()
    world.network.set_link(0, 1, Link(loss=1.0))
    world.network.set_link(1, 0, Link(delay_s=DELAY_S, jitter_s=0.0, bytes_per_s=1_000.0))
    connect(world)
    world.run(0.5)
    assert world.network.transit(1, 0, 100, world.now) == pytest.approx(world.now + 0.1 + DELAY_S)
