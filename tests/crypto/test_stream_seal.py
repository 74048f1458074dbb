"""The seal of streams: a conversation is heard once, whole, in order, by the two ends that hold it."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipd.crypto import seal
from gossipd.crypto.keyring import Keyring
from gossipd.crypto.seal import AcceptorSeal, InitiatorSeal, SeenStreams
from gossipd.errors import BrokenSeal, OversizedPacket, PeerError, ReplayedPacket, UnknownKey
from gossipd.limits import STREAM_FRAME_BYTES_MAX, STREAM_PAYLOAD_BYTES_MAX
from tests.crypto.golden import ANSWER, CLUSTER, KEYRING, OTHER_SESSION, PACKETS, PAYLOAD, SESSION

OLD, NEW = bytes(32), b"n" * 32
BOTH_MODES = pytest.mark.parametrize("keyring", [KEYRING, None], ids=["sealed", "plain"])


@dataclass
class Network:
    """Two daemons: what they share over all their streams, and every frame that was on the wire."""

    keyring: Keyring | None = KEYRING
    at_initiator: SeenStreams = field(default_factory=SeenStreams)
    at_acceptor: SeenStreams = field(default_factory=SeenStreams)

    def connect(self, number: int = 0) -> tuple[InitiatorSeal, AcceptorSeal]:
        initiator = InitiatorSeal(self.keyring, CLUSTER, bytes([number]) + SESSION[1:], self.at_initiator)
        return initiator, AcceptorSeal(self.keyring, CLUSTER, bytes([number]) + OTHER_SESSION[1:], self.at_acceptor)

    def talk(self, number: int = 0) -> tuple[InitiatorSeal, AcceptorSeal, list[bytes]]:
        """Two frames in each direction, and the wire's record of them."""
        initiator, acceptor = self.connect(number)
        wire = [initiator.seal(b"open")]
        assert acceptor.open_untrusted(wire[0]) == b"open"
        for payload in (b"reply 0", b"reply 1"):
            wire.append(acceptor.seal(payload))
            assert initiator.open_untrusted(wire[-1]) == payload
        wire.append(initiator.seal(b"more"))
        assert acceptor.open_untrusted(wire[-1]) == b"more"
        return initiator, acceptor, wire


def test_the_frames_of_a_stream_have_the_bytes_they_have_always_had() -> None:
    initiator = InitiatorSeal(KEYRING, CLUSTER, SESSION, SeenStreams())
    acceptor = AcceptorSeal(KEYRING, CLUSTER, OTHER_SESSION, SeenStreams())
    frames = [initiator.seal(PAYLOAD)]
    acceptor.open_untrusted(frames[0])
    frames.append(acceptor.seal(ANSWER))
    initiator.open_untrusted(frames[1])
    frames.append(initiator.seal(PAYLOAD))
    assert frames == [PACKETS[name] for name in ("stream-open", "stream-reply", "stream-more")]


@BOTH_MODES
def test_both_ends_hear_each_other_in_order(keyring: Keyring | None) -> None:
    Network(keyring).talk()


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=64)), max_size=20))
def test_what_is_said_in_any_turns_is_heard(turns: list[tuple[bool, bytes]]) -> None:
    initiator, acceptor, _ = Network().talk()
    for by_initiator, payload in turns:
        if by_initiator:
            assert acceptor.open_untrusted(initiator.seal(payload)) == payload
        else:
            assert initiator.open_untrusted(acceptor.seal(payload)) == payload


@BOTH_MODES
def test_a_replayed_opening_frame_is_refused_by_every_later_stream(keyring: Keyring | None) -> None:
    network = Network(keyring)
    _, acceptor, wire = network.talk()
    with pytest.raises(ReplayedPacket):
        acceptor.open_untrusted(wire[0])
    with pytest.raises(ReplayedPacket, match="opened before"):
        network.connect(1)[1].open_untrusted(wire[0])


def test_a_recorded_frame_fits_no_other_conversation_even_where_the_opening_is_forgotten() -> None:
    """Splice: the very opening frame, then the recorded rest, at an acceptor that has restarted meanwhile."""
    _, _, wire = Network().talk()
    acceptor = Network().connect(1)[1]
    assert acceptor.open_untrusted(wire[0]) == b"open"
    with pytest.raises(BrokenSeal):
        acceptor.open_untrusted(wire[3])


@BOTH_MODES
def test_frames_of_another_stream_are_refused_in_both_directions(keyring: Keyring | None) -> None:
    network = Network(keyring)
    _, _, first = network.talk(1)
    initiator, acceptor = network.connect(2)
    acceptor.open_untrusted(initiator.seal(b"open"))
    if keyring is not None:  # in the clear nothing proves who answers first
        with pytest.raises(BrokenSeal):
            initiator.open_untrusted(first[1])
    initiator.open_untrusted(acceptor.seal(b"reply"))
    for frame in first[1:3]:
        with pytest.raises(PeerError):
            initiator.open_untrusted(frame)
    with pytest.raises(BrokenSeal):
        acceptor.open_untrusted(first[3])


@BOTH_MODES
def test_frames_out_of_order_repeated_or_left_out_are_refused(keyring: Keyring | None) -> None:
    initiator, acceptor, wire = Network(keyring).talk()
    fourth, fifth = initiator.seal(b"4"), initiator.seal(b"5")
    for wrong in (fifth, wire[3]):
        with pytest.raises(ReplayedPacket):
            acceptor.open_untrusted(wrong)
    assert acceptor.open_untrusted(fourth) == b"4"
    assert acceptor.open_untrusted(fifth) == b"5"
    skipped, reply = acceptor.seal(b"skipped"), acceptor.seal(b"reply")
    for wrong in (reply, wire[1], wire[2]):
        with pytest.raises(ReplayedPacket):
            initiator.open_untrusted(wrong)
    assert initiator.open_untrusted(skipped) == b"skipped"


@BOTH_MODES
def test_the_first_answer_must_be_the_first_frame(keyring: Keyring | None) -> None:
    initiator, acceptor = Network(keyring).connect()
    acceptor.open_untrusted(initiator.seal(b"open"))
    acceptor.seal(b"swallowed")
    with pytest.raises(ReplayedPacket):
        initiator.open_untrusted(acceptor.seal(b"second"))


@BOTH_MODES
def test_a_reflected_frame_is_refused(keyring: Keyring | None) -> None:
    network = Network(keyring)
    initiator, acceptor = network.connect()
    opening = initiator.seal(b"open")
    with pytest.raises(ReplayedPacket, match="our own"):
        initiator.open_untrusted(opening)
    own_acceptor = AcceptorSeal(keyring, CLUSTER, b"s" * 12, network.at_initiator)
    with pytest.raises(ReplayedPacket):
        own_acceptor.open_untrusted(opening)
    acceptor.open_untrusted(opening)
    reply = acceptor.seal(b"reply")
    with pytest.raises((BrokenSeal, ReplayedPacket)):
        acceptor.open_untrusted(reply)
    initiator.open_untrusted(reply)
    with pytest.raises((BrokenSeal, ReplayedPacket)):
        initiator.open_untrusted(initiator.seal(b"more"))


def test_a_frame_with_any_byte_changed_is_refused_and_the_right_one_is_still_accepted() -> None:
    initiator, acceptor = Network().connect()
    for sealing, opening in ((initiator, acceptor), (acceptor, initiator), (initiator, acceptor)):
        frame = sealing.seal(b"payload")
        for index in range(len(frame)):
            forged = bytearray(frame)
            forged[index] ^= 0x40
            with pytest.raises(PeerError):
                opening.open_untrusted(bytes(forged))
        assert opening.open_untrusted(frame) == b"payload"


def test_a_flood_of_forged_openings_is_not_remembered() -> None:
    network = Network()
    opening = network.connect()[0].seal(b"open")
    for number in range(100):
        acceptor = network.connect(1)[1]
        with pytest.raises(BrokenSeal):
            acceptor.open_untrusted(opening[:5] + number.to_bytes(12) + opening[17:])
    assert len(network.at_acceptor) == 0


def test_the_oldest_opening_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal, "STREAM_SESSIONS_MAX", 2)
    seen = SeenStreams()
    for session in (b"a", b"b", b"c"):
        seen.add(session)
    assert [session in seen for session in (b"a", b"b", b"c")] == [False, True, True]


@pytest.mark.parametrize(
    ("ours", "theirs"), [((OLD,), (NEW, OLD)), ((OLD, NEW), (NEW, OLD)), ((NEW, OLD), (OLD, NEW)), ((NEW,), (OLD, NEW))]
)
def test_the_answer_is_under_the_key_of_the_opening(ours: tuple[bytes, ...], theirs: tuple[bytes, ...]) -> None:
    initiator = InitiatorSeal(Keyring(ours), CLUSTER, SESSION, SeenStreams())
    acceptor = AcceptorSeal(Keyring(theirs), CLUSTER, OTHER_SESSION, SeenStreams())
    opening = initiator.seal(b"open")
    acceptor.open_untrusted(opening)
    reply = acceptor.seal(b"reply")
    assert reply[1:5] == opening[1:5]
    assert initiator.open_untrusted(reply) == b"reply"
    assert acceptor.open_untrusted(initiator.seal(b"more")) == b"more"


@pytest.mark.parametrize(
    ("ours", "cluster", "theirs"),
    [
        (KEYRING, "test", KEYRING),
        (None, "test", None),
        (None, CLUSTER, KEYRING),
        (KEYRING, CLUSTER, None),
        (Keyring((OLD,)), CLUSTER, Keyring((NEW,))),
    ],
)
def test_a_stranger_opens_no_stream(ours: Keyring | None, cluster: str, theirs: Keyring | None) -> None:
    initiator = InitiatorSeal(ours, cluster, SESSION, SeenStreams())
    acceptor = AcceptorSeal(theirs, CLUSTER, OTHER_SESSION, SeenStreams())
    with pytest.raises(UnknownKey):
        acceptor.open_untrusted(initiator.seal(PAYLOAD))


def test_a_datagram_opens_no_stream_and_an_opening_is_no_datagram() -> None:
    datagram = seal.Sealer(KEYRING, CLUSTER, SESSION).seal(PAYLOAD)
    with pytest.raises(BrokenSeal):
        Network().connect()[1].open_untrusted(datagram)
    opening = Network().connect()[0].seal(PAYLOAD)
    with pytest.raises(BrokenSeal):
        seal.Opener(KEYRING, CLUSTER, OTHER_SESSION).open_untrusted(opening)


def test_nothing_is_sealed_before_its_key_is_known() -> None:
    initiator, acceptor = Network().connect()
    with pytest.raises(AssertionError):
        acceptor.seal(b"early")
    initiator.seal(b"open")
    with pytest.raises(AssertionError):
        initiator.seal(b"early")


def test_the_largest_payload_makes_the_largest_frame() -> None:
    initiator, acceptor = Network().connect()
    frame = initiator.seal(bytes(STREAM_PAYLOAD_BYTES_MAX))
    assert len(frame) == STREAM_FRAME_BYTES_MAX
    with pytest.raises(OversizedPacket):
        acceptor.open_untrusted(frame + b"\x00")
    assert acceptor.open_untrusted(frame) == bytes(STREAM_PAYLOAD_BYTES_MAX)
