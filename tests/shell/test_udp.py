"""Real datagrams on loopback: every size arrives, nothing that cannot be sent raises, ports and families fit."""

import socket
from collections.abc import Iterator

import pytest
import trio

from gossipd.errors import ConfigError
from gossipd.ids import Address
from gossipd.limits import DATAGRAM_BYTES_MAX
from gossipd.shell import addresses
from gossipd.shell.bind import Bound, bind_all
from gossipd.shell.udp import DATAGRAMS_PER_WAKE_MAX, Udp
from tests.shell.fakes import ReadableLog

V4, V6 = Address("127.0.0.1", 0), Address("::1", 0)


@pytest.fixture
def both() -> Iterator[list[Bound]]:
    bound = bind_all([V4, V6])
    yield bound
    for each in bound:
        each.close()


@pytest.mark.trio
@pytest.mark.parametrize("index", [0, 1], ids=["IPv4", "IPv6"])
async def test_a_datagram_arrives_with_its_source_and_an_oversized_one_is_seen_to_be_so(
    both: list[Bound], readable: ReadableLog, nursery: trio.Nursery, index: int
) -> None:
    sends, receives = trio.open_memory_channel[tuple[bytes, Address]](10)
    udp = Udp([each.udp for each in both], log=readable.log)
    nursery.start_soon(udp.run, lambda data, source: sends.send_nowait((data, source)))
    target = both[index].address
    for data in (b"", b"x" * DATAGRAM_BYTES_MAX, b"x" * 1_500):
        udp.send(data, target)
    with trio.fail_after(5):
        got = [await receives.receive() for _ in range(3)]
    assert [len(data) for data, _ in got] == [0, DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MAX + 1]
    assert {source for _, source in got} == {target}
    nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_a_mapped_target_goes_out_by_ipv4(
    both: list[Bound], readable: ReadableLog, nursery: trio.Nursery
) -> None:
    sends, receives = trio.open_memory_channel[Address](1)
    udp = Udp([each.udp for each in both], log=readable.log)
    nursery.start_soon(udp.run, lambda _, source: sends.send_nowait(source))
    udp.send(b"x", Address("::ffff:127.0.0.1", both[0].address.port))
    with trio.fail_after(5):
        assert await receives.receive() == both[0].address
    nursery.cancel_scope.cancel()


def test_what_cannot_be_sent_is_counted_by_reason_and_never_raises(both: list[Bound], readable: ReadableLog) -> None:
    udp = Udp([both[0].udp], log=readable.log)
    udp.send(b"x", Address("::1", 7950))
    udp.send(b"x", Address("not-an-address.example", 7950))
    udp.send(b"x", Address("0.0.0.0", 7950))
    udp.send(b"x", Address("224.0.0.1", 7950))
    udp.send(b"x", Address("127.0.0.1", 0))
    udp.send(b"x", Address("127.0.0.1", 70_000))
    udp.send(b"x" * 70_000, both[0].address)
    both[0].udp.close()
    udp.send(b"x", both[0].address)
    udp.send(b"x", Address("::2", 7950))
    assert udp.send_errors == {"no_socket": 2, "address": 5, "EMSGSIZE": 1, "EBADF": 1}
    warnings = [line for line in readable.lines() if " warning " in line]
    assert [line.partition("no socket for addresses of this kind")[1] != "" for line in warnings] == [True]


def test_a_full_send_buffer_drops_and_does_not_wait(both: list[Bound], readable: ReadableLog) -> None:
    class Full(socket.socket):
        def sendto(self, *details: object) -> int:
            raise BlockingIOError(11, "try again")

    full = Full(socket.AF_INET, socket.SOCK_DGRAM)
    full.bind(("127.0.0.1", 0))
    udp = Udp([full], log=readable.log)
    udp.send(b"x", both[0].address)
    udp.close()
    assert udp.send_errors == {"EAGAIN": 1}
    assert readable.lines() == []


@pytest.mark.trio
async def test_a_flood_leaves_others_their_turn(both: list[Bound], readable: ReadableLog) -> None:
    got: list[bytes] = []
    udp = Udp([both[0].udp], log=readable.log)
    udp.drain()  # nobody receives yet: nothing is lost
    with trio.move_on_after(5) as scope:

        def receive(data: bytes, _: Address) -> None:
            got.append(data)
            if len(got) == DATAGRAMS_PER_WAKE_MAX:
                scope.cancel()

        for _ in range(DATAGRAMS_PER_WAKE_MAX + 10):
            udp.send(b"x", both[0].address)
        await udp.run(receive)
    assert len(got) == DATAGRAMS_PER_WAKE_MAX


def test_port_zero_is_one_port_for_tcp_and_udp_of_all_addresses(both: list[Bound]) -> None:
    ports = {each.address.port for each in both}
    ports |= {opened.getsockname()[1] for each in both for opened in (each.tcp, each.udp)}
    assert len(ports) == 1
    assert 0 not in ports


def test_another_port_is_drawn_while_udp_has_it_already() -> None:
    taken = []
    try:
        for _ in range(20):  # the first draws may or may not collide; none may fail
            [bound] = bind_all([V4])
            taken.append(bound)
    finally:
        for bound in taken:
            bound.close()
    assert len({bound.address for bound in taken}) == 20


def test_an_address_in_use_names_the_setting_and_leaves_nothing_open(both: list[Bound]) -> None:
    taken = both[0].address
    with pytest.raises(ConfigError, match=f"bind={taken}, expected an address that can be bound: address already"):
        bind_all([Address("127.0.0.1", 0), taken])


def test_udp_taken_alone_is_in_use_too() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        with pytest.raises(ConfigError, match="in use"):
            bind_all([Address(*udp.getsockname())])


def test_the_receive_buffer_is_raised(both: list[Bound]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        usual = plain.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert both[0].udp.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= usual


@pytest.mark.parametrize(
    ("bound", "told"),
    [
        (["127.0.0.1", "10.0.0.1"], "10.0.0.1"),
        (["::1"], "::1"),
        (["fd00::5", "0.0.0.0"], "fd00::5"),
    ],
)
def test_the_advertised_address_is_the_most_reachable_one_bound(bound: list[str], told: str) -> None:
    assert addresses.advertised([Address(host, 7950) for host in bound]) == Address(told, 7950)


def test_bound_to_everything_the_hosts_own_address_is_advertised() -> None:
    told = addresses.advertised([Address("0.0.0.0", 7950)])
    assert not addresses.is_unspecified(told.host)
    assert told == Address(addresses.primary_host(socket.AF_INET) or "127.0.0.1", 7950)
