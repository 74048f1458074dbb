"""The seal of datagrams: opened once by who has the key, and by nobody else, and never in the clear by mistake."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from gossipd.crypto import seal
from gossipd.crypto.keyring import Keyring
from gossipd.crypto.packet import COUNTER_MAX, Keys, read_header
from gossipd.crypto.seal import Opener, Sealer
from gossipd.errors import (
    BrokenSeal,
    MalformedPacket,
    OversizedPacket,
    PeerError,
    ReplayedPacket,
    UnknownKey,
    UnknownVersion,
)
from gossipd.limits import DATAGRAM_BYTES_MAX, PAYLOAD_BYTES_MAX, REPLAY_WINDOW, SEAL_HEADER_BYTES
from tests.crypto.golden import CLUSTER, DATAGRAM_KEY, KEYRING, OTHER_SESSION, PACKETS, PAYLOAD, SESSION

OLD, NEW = bytes(32), b"n" * 16
ANYBODY = bytes(12)


def a_sealer(*keys: bytes, session: bytes = SESSION, cluster: str = CLUSTER) -> Sealer:
    return Sealer(Keyring(keys) if keys else KEYRING, cluster, session)


def an_opener(*keys: bytes, cluster: str = CLUSTER, own: bytes = OTHER_SESSION) -> Opener:
    return Opener(Keyring(keys) if keys else KEYRING, cluster, own)


def a_plain_pair(*, cluster: str = CLUSTER) -> tuple[Sealer, Opener]:
    return Sealer(None, cluster, SESSION), Opener(None, cluster, OTHER_SESSION)


def test_a_sealed_datagram_has_the_bytes_it_has_always_had() -> None:
    sealer = a_sealer()
    assert sealer.seal(PAYLOAD) == PACKETS["sealed-datagram"]
    assert sealer.seal(PAYLOAD) == PACKETS["second-datagram"]
    assert a_plain_pair()[0].seal(PAYLOAD) == PACKETS["plain-datagram"]


def test_a_session_key_and_nonce_are_what_the_specification_says() -> None:
    """The datagram is opened here with nothing but AES-GCM, the pinned key and the counter."""
    data = PACKETS["second-datagram"]
    nonce = bytes(4) + (1).to_bytes(8)
    assert AESGCM(DATAGRAM_KEY).decrypt(nonce, data[25:], data[:25]) == PAYLOAD


@given(st.binary(max_size=PAYLOAD_BYTES_MAX))
def test_what_is_sealed_is_opened(payload: bytes) -> None:
    for sealer, opener in ((a_sealer(), an_opener()), a_plain_pair()):
        assert opener.open_untrusted(sealer.seal(payload)) == (SESSION, 0, payload)


def test_one_datagram_may_go_to_several_targets() -> None:
    data = a_sealer().seal(PAYLOAD)
    assert [an_opener().open_untrusted(data).payload for _ in range(3)] == [PAYLOAD] * 3


def test_a_datagram_with_any_byte_changed_is_refused() -> None:
    data = a_sealer().seal(PAYLOAD)
    opener = an_opener()
    for index in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            forged = bytearray(data)
            forged[index] ^= flip
            with pytest.raises(PeerError) as caught:
                opener.open_untrusted(bytes(forged))
            assert caught.type is (UnknownVersion if index == 0 else UnknownKey if index < 5 else caught.type)
            assert index < 5 or caught.type in (BrokenSeal, MalformedPacket)
    assert len(opener) == 0
    assert opener.open_untrusted(data).payload == PAYLOAD


def test_a_datagram_cut_at_any_length_or_with_a_tail_is_refused() -> None:
    data = a_sealer().seal(PAYLOAD)
    opener = an_opener()
    for length in range(len(data)):
        with pytest.raises((MalformedPacket, BrokenSeal)):
            opener.open_untrusted(data[:length])
    with pytest.raises(BrokenSeal):
        opener.open_untrusted(data + b"\x00")
    assert len(opener) == 0


@given(st.binary(max_size=100))
def test_no_bytes_make_anything_but_a_peer_error_leave(data: bytes) -> None:
    sealed, plain = an_opener(), a_plain_pair()[1]
    head = b"\x01" + bytes.fromhex(KEYRING.key_ids(CLUSTER)[0])
    for candidate in (data, b"\x01" + data, head + data):
        with suppress(PeerError):
            sealed.open_untrusted(candidate)
            raise AssertionError("opened what nobody sealed")
        with suppress(PeerError):
            plain.open_untrusted(candidate)


@pytest.mark.parametrize("opener", [an_opener(), a_plain_pair()[1]])
def test_a_datagram_above_the_limit_is_refused_unread(opener: Opener) -> None:
    with pytest.raises(OversizedPacket):
        opener.open_untrusted(b"\xff" * (DATAGRAM_BYTES_MAX + 1))


def test_the_largest_payload_makes_the_largest_datagram() -> None:
    assert len(a_sealer().seal(bytes(PAYLOAD_BYTES_MAX))) == DATAGRAM_BYTES_MAX
    with pytest.raises(AssertionError):
        a_sealer().seal(bytes(PAYLOAD_BYTES_MAX + 1))


@pytest.mark.parametrize(("sealer", "opener"), [(a_sealer(), an_opener()), a_plain_pair()])
def test_a_replayed_datagram_is_refused(sealer: Sealer, opener: Opener) -> None:
    data = sealer.seal(PAYLOAD)
    opener.open_untrusted(data)
    for _ in range(2):
        with pytest.raises(ReplayedPacket):
            opener.open_untrusted(data)


def test_an_overtaken_datagram_is_opened_once_within_the_window_and_refused_beyond() -> None:
    sealer, opener = a_sealer(), an_opener()
    packets = [sealer.seal(b"") for _ in range(REPLAY_WINDOW + 1)]
    opener.open_untrusted(packets[REPLAY_WINDOW])
    with pytest.raises(ReplayedPacket):
        opener.open_untrusted(packets[0])
    assert opener.open_untrusted(packets[1]).counter == 1
    assert opener.open_untrusted(packets[REPLAY_WINDOW - 1]).counter == REPLAY_WINDOW - 1
    for late in (packets[1], packets[REPLAY_WINDOW - 1], packets[REPLAY_WINDOW]):
        with pytest.raises(ReplayedPacket):
            opener.open_untrusted(late)


@pytest.mark.parametrize("ahead", [1, 2, REPLAY_WINDOW - 1, REPLAY_WINDOW, REPLAY_WINDOW + 1, COUNTER_MAX - 7])
def test_a_jump_forgets_nothing_that_is_still_in_the_window(ahead: int) -> None:
    opener = a_plain_pair()[1]
    head = b"\x01" + Keys(None, CLUSTER).plain_id + SESSION
    for counter in (0, 7, 7 + ahead):
        opener.open_untrusted(head + counter.to_bytes(8))
    for counter in (0, 7, 7 + ahead):
        with pytest.raises(ReplayedPacket):
            opener.open_untrusted(head + counter.to_bytes(8))


near_the_window = st.builds(
    lambda times, near: max(0, times * REPLAY_WINDOW + near), st.integers(0, 3), st.integers(-3, 3)
)


@given(st.lists(near_the_window | st.integers(0, 3 * REPLAY_WINDOW), max_size=60))
def test_a_datagram_is_opened_unless_it_was_before_or_lies_behind_the_window(counters: list[int]) -> None:
    opener = a_plain_pair()[1]
    head = b"\x01" + Keys(None, CLUSTER).plain_id + SESSION
    seen: set[int] = set()
    for counter in counters:
        expected = counter not in seen and counter > max(seen, default=0) - REPLAY_WINDOW
        opened = False
        with suppress(ReplayedPacket):
            opener.open_untrusted(head + counter.to_bytes(8))
            opened = True
        assert opened == expected
        seen |= {counter} if opened else set()


def test_our_own_datagram_sent_back_to_us_is_refused() -> None:
    for keyring in (KEYRING, None):
        data = Sealer(keyring, CLUSTER, SESSION).seal(PAYLOAD)
        with pytest.raises(ReplayedPacket, match="our own"):
            Opener(keyring, CLUSTER, SESSION).open_untrusted(data)


def test_a_flood_without_the_key_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal, "SESSIONS_MAX", 2)
    sealer, opener = a_sealer(), an_opener()
    first, second, third = (sealer.seal(b"") for _ in range(3))
    opener.open_untrusted(first)
    opener.open_untrusted(third)
    head = first[:5]
    for number in range(1, 100):
        for session, counter in ((number.to_bytes(12), 7), (SESSION, number + 10_000), (SESSION, COUNTER_MAX)):
            with pytest.raises(BrokenSeal):
                opener.open_untrusted(head + session + counter.to_bytes(8) + bytes(40))
    assert len(opener) == 1
    assert opener.open_untrusted(second).counter == 1
    for replay in (first, second, third):
        with pytest.raises(ReplayedPacket):
            opener.open_untrusted(replay)


def test_the_least_recently_heard_session_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal, "SESSIONS_MAX", 2)
    opener = an_opener()
    ann, bob, cid = (a_sealer(session=bytes([number]) * 12) for number in (1, 2, 3))
    anns = ann.seal(b"")
    opener.open_untrusted(anns)
    bobs = bob.seal(b"")
    opener.open_untrusted(bobs)
    opener.open_untrusted(ann.seal(b""))
    opener.open_untrusted(cid.seal(b""))
    assert len(opener) == 2
    with pytest.raises(ReplayedPacket):
        opener.open_untrusted(anns)
    assert opener.open_untrusted(bobs).payload == b""


def test_a_key_is_rotated_in_three_steps_without_a_packet_lost() -> None:
    """Scenarios 60 and 61: every key of the ring opens, the first seals, a removed one fails."""
    rings = [Keyring((OLD,)), Keyring((OLD, NEW)), Keyring((NEW, OLD)), Keyring((NEW,))]
    nodes = [
        (Sealer(rings[0], CLUSTER, bytes([n]) * 12), Opener(rings[0], CLUSTER, bytes([n]) * 12)) for n in (1, 2, 3)
    ]

    def everybody_hears_everybody() -> None:
        for sealer, _ in nodes:
            data = sealer.seal(PAYLOAD)
            for other, opener in nodes:
                if other is not sealer:
                    assert opener.open_untrusted(data).payload == PAYLOAD

    recorded = nodes[0][0].seal(b"old")
    for ring in rings[1:]:
        for sealer, opener in nodes:
            sealer.rekey(ring)
            opener.rekey(ring)
            everybody_hears_everybody()
    with pytest.raises(UnknownKey):
        nodes[1][1].open_untrusted(recorded)


def test_a_window_outlives_a_new_key() -> None:
    sealer, opener = a_sealer(OLD), an_opener(OLD)
    before = sealer.seal(PAYLOAD)
    opener.open_untrusted(before)
    for part in (sealer, opener):
        part.rekey(Keyring((NEW, OLD)))
    with pytest.raises(ReplayedPacket):
        opener.open_untrusted(before)
    assert opener.open_untrusted(sealer.seal(PAYLOAD)).counter == 1
    with pytest.raises(ReplayedPacket):
        opener.open_untrusted(before)


def test_no_nonce_is_used_twice_under_one_key_however_often_keys_change() -> None:
    sealer = a_sealer(OLD, NEW)
    used = set()
    for turn in range(6):
        for _ in range(3):
            header = sealer.seal(b"")[:SEAL_HEADER_BYTES]
            assert header not in used
            used.add(header)
        sealer.rekey(Keyring((OLD, NEW) if turn % 2 else (NEW, OLD)))
    assert sorted(int.from_bytes(header[-8:]) for header in used) == list(range(18))


def test_sealing_ends_before_a_nonce_is_used_twice() -> None:
    sealer = a_sealer()
    sealer._counter = COUNTER_MAX
    assert an_opener().open_untrusted(sealer.seal(PAYLOAD)).counter == COUNTER_MAX
    with pytest.raises(AssertionError, match="nonce"):
        sealer.seal(PAYLOAD)


def test_a_counter_beyond_the_last_is_refused() -> None:
    data = a_plain_pair()[0].seal(PAYLOAD)
    with pytest.raises(MalformedPacket, match="counter"):
        a_plain_pair()[1].open_untrusted(data[:17] + b"\x80" + bytes(7))


@pytest.mark.parametrize("other", ["test", "prod2", "Prod", ""])
def test_clusters_of_other_names_never_talk_even_with_the_same_key(other: str) -> None:
    with pytest.raises(UnknownKey):
        an_opener(cluster=other).open_untrusted(a_sealer().seal(PAYLOAD))
    with pytest.raises(UnknownKey):
        a_plain_pair(cluster=other)[1].open_untrusted(a_plain_pair()[0].seal(PAYLOAD))


def test_the_name_of_a_cluster_is_in_the_session_key_and_not_only_in_the_id() -> None:
    data = a_sealer(cluster="test").seal(PAYLOAD)
    renamed = data[:1] + bytes.fromhex(KEYRING.key_ids(CLUSTER)[0]) + data[5:]
    with pytest.raises(BrokenSeal):
        an_opener().open_untrusted(renamed)


def test_sealed_and_plain_never_mix() -> None:
    plain_sealer, plain_opener = a_plain_pair()
    with pytest.raises(UnknownKey):
        an_opener().open_untrusted(plain_sealer.seal(PAYLOAD))
    with pytest.raises(UnknownKey):
        plain_opener.open_untrusted(a_sealer().seal(PAYLOAD))


@pytest.mark.parametrize("make", [a_sealer, an_opener])
def test_a_key_is_never_taken_away(make: Callable[[], Sealer | Opener]) -> None:
    part = make()
    with pytest.raises(ValueError, match="expected a keyring"):
        part.rekey(None)
    for plain in a_plain_pair():
        plain.rekey(KEYRING)


def test_an_unknown_version_is_told_from_damage() -> None:
    with pytest.raises(UnknownVersion, match="version=2, expected 1"):
        an_opener().open_untrusted(b"\x02" + bytes(60))
    with pytest.raises(MalformedPacket):
        an_opener().open_untrusted(b"")


def test_a_header_reads_as_it_was_written() -> None:
    header = read_header(a_sealer().seal(PAYLOAD), Keys(KEYRING, CLUSTER), bytes_max=DATAGRAM_BYTES_MAX)
    assert header == (bytes.fromhex(KEYRING.key_ids(CLUSTER)[0]), SESSION, 0)
