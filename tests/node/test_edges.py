"""Edges of the node: what only shows where machines meet, or at the hands of a strange peer."""

from contextlib import suppress
from dataclasses import replace
from random import Random

import pytest

from gossipd.config import LAN
from gossipd.core.events import TO_OURSELVES, DatagramsBlocked, NameConflict, Overslept, SyncFinished
from gossipd.core.membership.table import TWIN_NOTICE_S
from gossipd.crypto.keyring import Keyring
from gossipd.crypto.seal import AcceptorSeal, InitiatorSeal, SeenStreams
from gossipd.errors import RequestError
from gossipd.ids import Address, NodeId, Version
from gossipd.limits import STREAM_FRAME_BYTES_MAX, STREAMS_INBOUND_MAX, STREAMS_OUTBOUND_MAX
from gossipd.node.actions import Action, CloseStream, OpenStream, Publish, SendStream
from gossipd.node.node import Node
from gossipd.node.view import KEPT, Holder
from gossipd.wire.codec import decode_stream_untrusted, encode_message, join_envelope
from gossipd.wire.frames import FrameReader, frame
from gossipd.wire.messages import Ack, Ping, StreamMessage, SyncOpen
from gossipd.wire.records import make_record
from tests.network import KEY, Network, a_service, address_of, instances, members

ELSEWHERE = Address("127.0.0.1", 40_000)


def framed(seal: InitiatorSeal | AcceptorSeal, message: StreamMessage, sender: str = "n9") -> bytes:
    return frame(seal.seal(join_envelope(NodeId(sender), [encode_message(message)])))


def a_seal() -> InitiatorSeal:
    return InitiatorSeal(KEY, "gossipd", b"abcdefghijkl", SeenStreams())


def accepted(node: Node, net: Network) -> int:
    stream, _ = node.accept_stream(ELSEWHERE, now=net.now)
    assert stream is not None
    return stream


def sent(actions: list[Action]) -> bytes:
    return b"".join(action.data for action in actions if isinstance(action, SendStream))


def test_a_command_after_a_long_idle_time_is_not_taken_for_oversleep() -> None:
    net = Network()
    node = net.add(0)
    net.run(19.0)
    net.do(node, node.set_seeds([address_of(9)], now=net.now))
    net.run(5)
    assert net.heard(Overslept) == []


def test_a_stream_ping_is_answered_by_its_ack_and_closed() -> None:
    """Scenario 36."""
    net = Network()
    node = net.add(0)
    seal = a_seal()
    ping = framed(seal, Ping(sequence=7, target=NodeId("n0")))
    actions = node.receive_stream(stream := accepted(node, net), ping, now=net.now)
    [answer] = FrameReader(STREAM_FRAME_BYTES_MAX).feed(sent(actions))
    assert encode_message(Ack(sequence=7)) in seal.open_untrusted(answer)
    assert actions[-1] == CloseStream(stream=stream)


def test_a_stream_ping_with_another_nodes_name_is_closed_without_an_answer() -> None:
    """Scenario 36."""
    net = Network()
    node = net.add(0)
    ping = framed(a_seal(), Ping(sequence=7, target=NodeId("n5")))
    assert node.receive_stream(stream := accepted(node, net), ping, now=net.now) == [CloseStream(stream=stream)]


@pytest.mark.parametrize(
    "garbage", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x20" + bytes(32), b"GET / HTTP/1.1\r\n\r\n"]
)
def test_garbage_on_a_stream_closes_it_and_is_counted(garbage: bytes) -> None:
    """Scenario 36."""
    net = Network()
    node = net.add(0)
    before = sum(node.view.statistics(now=net.now).dropped.values())
    actions = node.receive_stream(stream := accepted(node, net), garbage, now=net.now)
    assert CloseStream(stream=stream) in actions
    assert sum(node.view.statistics(now=net.now).dropped.values()) == before + 1
    assert members(node, net.now) == {"n0": "alive"}


def test_a_message_that_may_not_open_a_stream_closes_it() -> None:
    net = Network()
    node = net.add(0)
    actions = node.receive_stream(stream := accepted(node, net), framed(a_seal(), Ack(sequence=1)), now=net.now)
    assert actions == [CloseStream(stream=stream)]


def test_a_silent_stream_is_closed_at_its_timeout() -> None:
    net = Network()
    node = net.add(0)
    net.run(1)
    stream = accepted(node, net)
    ends_at = net.now + net.config.sync.timeout_s
    net.run(net.config.sync.timeout_s - 0.001)
    assert CloseStream(stream=stream) not in [action for _, _, action in net.history]
    net.run_until(lambda: CloseStream(stream=stream) in [action for _, _, action in net.history], within_s=0.001)
    assert net.now == ends_at


def test_one_inbound_stream_too_many_is_refused_and_counted() -> None:
    net = Network()
    node = net.add(0)
    for number in range(STREAMS_INBOUND_MAX):
        seal = InitiatorSeal(KEY, "gossipd", number.to_bytes(12), SeenStreams())
        node.receive_stream(accepted(node, net), framed(seal, SyncOpen(buckets=b"differs!")), now=net.now)
    assert node.accept_stream(ELSEWHERE, now=net.now) == (None, [])
    assert node.view.statistics(now=net.now).dropped == {"streams_inbound": 1}


def test_streams_that_say_nothing_authentic_keep_nobody_out() -> None:
    net = Network()
    node = net.add(0)
    streams = [accepted(node, net) for _ in range(STREAMS_INBOUND_MAX)]
    node.receive_stream(streams[0], framed(a_seal(), SyncOpen(buckets=b"differs!")), now=net.now)
    stream, actions = node.accept_stream(ELSEWHERE, now=net.now)
    assert stream is not None
    assert actions == [CloseStream(stream=streams[1])]


def test_bytes_without_end_of_a_frame_are_no_progress() -> None:
    net = Network()
    node = net.add(0)
    stream = accepted(node, net)
    ends_at = net.now + LAN.sync.timeout_s
    for byte in (0, 0, 255, 255, 1):
        net.run(LAN.sync.timeout_s / 6)
        node.receive_stream(stream, bytes([byte]), now=net.now)
    net.run_until(lambda: CloseStream(stream=stream) in [action for *_, action in net.history], within_s=5)
    assert net.now == ends_at


@pytest.mark.parametrize(("sender", "answered"), [("n1", True), ("n2", False)])
def test_a_stream_ping_is_answered_by_its_target_and_nobody_else(sender: str, answered: bool) -> None:
    net = Network()
    node, _ = net.cluster(2)
    net.run(1)
    net.crash(net.nodes[address_of(1)])
    began = len(net.history)

    def opened() -> list[OpenStream]:
        streams = [action for *_, action in net.history[began:] if isinstance(action, OpenStream)]
        return [stream for stream in streams if stream.timeout_s < LAN.sync.timeout_s]

    net.run_until(lambda: bool(opened()), within_s=5)
    stream = opened()[0].stream
    seal = AcceptorSeal(KEY, "gossipd", b"abcdefghijkl", SeenStreams())
    [opening] = FrameReader(STREAM_FRAME_BYTES_MAX).feed(sent(node.stream_opened(stream, now=net.now)))
    _, ping = decode_stream_untrusted(seal.open_untrusted(opening))
    assert isinstance(ping, Ping)
    node.receive_stream(stream, framed(seal, Ack(sequence=ping.sequence), sender), now=net.now)
    net.run(1)
    assert bool(net.heard(DatagramsBlocked)) == answered


@pytest.mark.parametrize("keyring", [KEY, None])
def test_a_seed_that_is_one_of_our_own_addresses_ends_quietly_and_is_no_answer(keyring: Keyring | None) -> None:
    net = Network(keyring=keyring)
    node = net.add(0)
    heard_at = node._m.isolation.heard_at
    here, _ = node.sync_with(ELSEWHERE, now=0.002)
    there, _ = node.accept_stream(ELSEWHERE, now=0.002)
    assert there is not None
    opening = sent(node.stream_opened(here, now=0.002))
    assert node.receive_stream(there, opening, now=0.002) == [CloseStream(stream=there)]
    [finished] = node.stream_closed(here, now=0.002)
    assert isinstance(finished, Publish)
    assert finished.event == SyncFinished(
        stream=here,
        address=ELSEWHERE,
        peer=None,
        opened_by_us=True,
        bytes_sent=len(opening),
        error=TO_OURSELVES,
    )
    statistics = node.view.statistics(now=0.002)
    assert (statistics.streams_failed, statistics.syncs_failed, statistics.dropped) == (0, 0, {"own_stream": 1})
    assert node._m.isolation.heard_at == heard_at


def test_an_opening_frame_that_somebody_plays_back_to_us_does_not_end_its_stream() -> None:
    net = Network()
    one, other = net.cluster(2)
    stream, actions = one.sync_with(address_of(1), now=net.now)
    actions = one.stream_opened(stream, now=net.now)
    one.receive_stream(accepted(one, net), sent(actions), now=net.now)
    answer = other.receive_stream(accepted(other, net), sent(actions), now=net.now)
    [*_, finished] = one.receive_stream(stream, sent(answer), now=net.now)
    assert isinstance(finished, Publish)
    assert isinstance(finished.event, SyncFinished)
    assert finished.event.error is None


def test_one_outbound_sync_too_many_is_refused_with_a_reason() -> None:
    net = Network()
    node = net.add(0)
    for number in range(STREAMS_OUTBOUND_MAX):
        node.sync_with(address_of(number + 1), now=net.now)
    with pytest.raises(RequestError, match="too many streams"):
        node.sync_with(address_of(99), now=net.now)


def test_a_sync_that_cannot_connect_says_why() -> None:
    net = Network()
    node = net.add(0)
    stream, actions = node.sync_with(address_of(1), now=net.now)
    assert [type(action) for action in actions] == [OpenStream]
    [closed] = node.stream_closed(stream, now=net.now, error="connection refused")
    assert isinstance(closed, Publish)
    assert isinstance(closed.event, SyncFinished)
    assert closed.event.error == "connection refused"


def test_twins_that_started_in_the_same_millisecond_are_both_told() -> None:
    net = Network()
    net.cluster(4)
    net.add(13, name="n3", epoch=1_000, seeds=(address_of(0),))
    net.run(2 * TWIN_NOTICE_S)
    told = {event.address for event in net.heard(NameConflict) if isinstance(event, NameConflict)}
    assert told == {address_of(3), address_of(13)}


def test_a_leaving_node_takes_no_registration() -> None:
    net = Network()
    nodes = net.cluster(2)
    net.do(nodes[0], nodes[0].leave(now=net.now))
    with pytest.raises(RequestError, match="leaving"):
        nodes[0].register(a_service(), holder=KEPT, now=net.now)


def test_a_wrong_field_of_a_registration_is_named_and_changes_nothing() -> None:
    net = Network()
    node = net.add(0)
    index = node.view.index
    with pytest.raises(RequestError, match=r"port=0, expected 1 to 65535"):
        node.register(replace(a_service(), port=0), holder=KEPT, now=net.now)
    assert node.view.index == index


def test_an_instance_outlives_its_connection_by_the_grace_period_and_a_client_that_returns_keeps_it() -> None:
    net = Network()
    node = net.add(0)
    grace_s = net.config.catalog.connection_grace_s
    net.do(node, node.register(a_service(), holder=Holder(kind="connection", connection=1), now=net.now)[1])
    net.do(node, node.connection_lost(1, now=net.now))
    net.run(grace_s - 0.1)
    net.do(node, node.register(a_service(), holder=Holder(kind="connection", connection=2), now=net.now)[1])
    net.run(grace_s + 1)
    assert len(node.view.instances(now=net.now)) == 1
    net.do(node, node.connection_lost(2, now=net.now))
    net.run(grace_s + 0.1)
    assert node.view.instances(now=net.now) == []


def test_two_that_cannot_agree_do_not_sync_without_a_pause() -> None:
    net = Network()
    one, other = net.cluster(2)
    net.run(60)
    record = make_record(NodeId("ghost"), Version(1, 1), 0, "service/web", a_service())
    for node in (one, other):
        node._m.perform(node._m.catalog.merge(record, source=NodeId("n9"), how="gossip", now=net.now), now=net.now)
    one._m.perform(one._m.catalog.forget(NodeId("ghost"), now=net.now), now=net.now)
    began = len(net.heard(SyncFinished, one))
    net.run(240)
    after = [event for event in net.heard(SyncFinished, one)[began:] if isinstance(event, SyncFinished)]
    assert sum(event.items_received for event in after) >= 3, "it is offered, and refused"
    assert len(after) <= 2 * 240 / 10


class Cutting(Network):
    """Gives what streams carry in pieces of any length, and lets both ends change their minds in between."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed, loss=1.0)
        self.chance = Random(seed)
        self.still = False

    def meddle(self, node: Node) -> None:
        id = f"i{self.chance.randrange(40)}"
        with suppress(RequestError):
            if self.chance.random() < 0.6:
                self.do(
                    node,
                    node.register(a_service(id=id, port=self.chance.randint(1, 65_535)), holder=KEPT, now=self.now)[1],
                )
            else:
                self.do(node, node.deregister(id, now=self.now))

    def _carry(self, end: tuple[Address, int], action: SendStream | CloseStream) -> None:
        if not isinstance(action, SendStream):
            return super()._carry(end, action)
        data = action.data
        while data:
            size = self.chance.choice([1, 3, 24, 1_000, len(data)])
            super()._carry(end, SendStream(stream=action.stream, data=data[:size]))
            data = data[size:]
            if not self.still and self.chance.random() < 0.3:
                self.meddle(self.chance.choice(list(self.nodes.values())))


@pytest.mark.parametrize("seed", range(10))
def test_syncs_opened_by_both_at_once_cut_anywhere_while_both_change_end_in_equal_holdings(seed: int) -> None:
    net = Cutting(seed)
    one, other = net.add(0), net.add(1)
    for _ in range(60):
        net.meddle(one)
        net.meddle(other)
    for _ in range(3):
        for node, target in ((one, address_of(1)), (other, address_of(0))):
            net.do(node, node.sync_with(target, now=net.now)[1])
        net.run(1)
    net.still = True
    net.do(one, one.sync_with(address_of(1), now=net.now)[1])
    net.run(1)
    assert one._m.items.xor_buckets(16) == other._m.items.xor_buckets(16)
    assert instances(one, net.now) == instances(other, net.now)
    assert {event.error for event in net.heard(SyncFinished) if isinstance(event, SyncFinished)} == {None}
