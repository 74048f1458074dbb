"""What arrives on the network and should not change anything: it is counted by reason, and the daemon still answers."""

import socket
from collections.abc import Iterator

import pytest

from gossipd.limits import DATAGRAM_BYTES_MAX, SEAL_HEADER_BYTES, SEAL_TAG_BYTES
from gossipd.wire.messages import Ack
from simulations.reality.cluster import Cluster, wait_until
from tests.e2e.packets import Stranger, a_death, a_ping, dropped_since, flipped, total, wait_dropped

pytestmark = pytest.mark.slow

REPEATS = 20
"""How often each bad packet is sent."""

SEALED_BYTES_MIN = SEAL_HEADER_BYTES + SEAL_TAG_BYTES
"""Anything shorter cannot be a packet; anything longer can, until its seal is looked at."""


@pytest.fixture(scope="module")
def three() -> Iterator[Cluster]:
    """Three daemons that agree, one instance registered; shared, because no test here may change anything."""
    with Cluster() as cluster:
        daemons = cluster.start_together(3)
        daemons[0].call("register", name="web", id="web-1", port=80, kept=True)
        wait_until(lambda: all(d.passing("web") == {"web-1"} for d in daemons), what="everybody finds web")
        yield cluster


@pytest.fixture
def cluster(three: Cluster) -> Iterator[Cluster]:
    """The three; what they believe must be the same afterwards, and they must be alive to each other."""
    before = three.state()
    yield three
    three.wait_agreed()
    assert three.state() == before


@pytest.fixture
def friend(cluster: Cluster) -> Iterator[Stranger]:
    """Somebody who has the cluster's key but is no member."""
    assert cluster.keyring is not None
    with Stranger(cluster.keyring, cluster.name) as stranger:
        yield stranger


def test_a_packet_under_a_wrong_key_changes_nothing_and_is_counted(cluster: Cluster) -> None:
    target = cluster["n1"]
    before = target.statistics()["dropped"]
    with Stranger(cluster.write_key("wrong.key"), cluster.name) as enemy:
        for _ in range(REPEATS):
            enemy.send(target, enemy.seal(a_death(cluster["n2"], accuser="n3"), a_ping(target)))
        wait_dropped(target, before, {"unknown_key": REPEATS})
        assert enemy.receive(within_s=0.2) is None
    assert target.passing("web") == {"web-1"}


def test_a_packet_of_another_cluster_under_our_key_changes_nothing_and_is_counted(cluster: Cluster) -> None:
    target = cluster["n1"]
    before = target.statistics()["dropped"]
    assert cluster.keyring is not None
    with Stranger(cluster.keyring, "other") as enemy:
        enemy.send(target, enemy.seal(a_death(cluster["n2"], accuser="n3"), a_ping(target)))
        wait_dropped(target, before, {"unknown_key": 1})
        assert enemy.receive(within_s=0.2) is None


def test_a_packet_changed_on_the_way_changes_nothing_and_is_counted(cluster: Cluster, friend: Stranger) -> None:
    target = cluster["n1"]
    before = target.statistics()["dropped"]
    data = friend.seal(a_death(cluster["n2"], accuser="n3"), a_ping(target))
    friend.send(target, *(flipped(data, at=at) for at in range(len(data))))
    # the header's first 5 bytes say version and key, all else is authenticated
    wait_dropped(target, before, {"unknown_version": 1, "unknown_key": 4, "broken_seal": len(data) - 5})
    assert friend.receive(within_s=0.2) is None


def test_a_replayed_packet_is_answered_once_and_counted(cluster: Cluster, friend: Stranger) -> None:
    target = cluster["n1"]
    before = target.statistics()["dropped"]
    recorded = [friend.seal(a_ping(target, sequence)) for sequence in range(3)]
    for sequence, data in enumerate(recorded):
        friend.send(target, data)
        answer = friend.receive(within_s=20)
        assert answer is not None
        assert answer.messages[0] == Ack(sequence=sequence)
    for _ in range(REPEATS):
        friend.send(target, *recorded)
    wait_dropped(target, before, {"replayed": 3 * REPEATS})
    assert friend.receive(within_s=0.2) is None


def test_an_oversized_packet_changes_nothing_and_is_counted(cluster: Cluster, friend: Stranger) -> None:
    target = cluster["n1"]
    before = target.statistics()["dropped"]
    data = friend.seal(a_ping(target))
    for size in (DATAGRAM_BYTES_MAX + 1, 9_000, 65_000):
        friend.send(target, data.ljust(size, b"\0"))
    wait_dropped(target, before, {"oversized": 3})
    assert friend.receive(within_s=0.2) is None


def test_a_packet_truncated_at_any_length_changes_nothing_and_is_counted(cluster: Cluster, friend: Stranger) -> None:
    target = cluster["n1"]
    before = target.statistics()["dropped"]
    data = friend.seal(a_death(cluster["n2"], accuser="n3"), a_ping(target))
    friend.send(target, *(data[:length] for length in range(len(data))))
    wait_dropped(target, before, {"malformed": SEALED_BYTES_MIN, "broken_seal": len(data) - SEALED_BYTES_MIN})
    assert friend.receive(within_s=0.2) is None


def test_a_flood_of_random_datagrams_changes_nothing_and_is_counted_and_the_daemon_still_answers(
    cluster: Cluster, friend: Stranger
) -> None:
    target = cluster["n1"]
    before = target.statistics()
    sent = friend.flood(target, seed=1, datagrams=6_000, per_s=3_000)
    assert target.passing("web") == {"web-1"}
    reasons = ("malformed", "unknown_version", "unknown_key")

    def counted() -> bool:
        return total(dropped_since(before["dropped"], target), reasons) >= 0.9 * sent

    wait_until(counted, what=f"{sent} datagrams are counted, but for what the system lost")
    assert total(dropped_since(before["dropped"], target), reasons) <= sent
    friend.send(target, friend.seal(a_ping(target)))
    answer = friend.receive(within_s=20)
    assert answer is not None
    assert answer.messages[0] == Ack(sequence=7)
    for name in ("n1", "n2", "n3"):
        assert not cluster[name].log("member failed")


def test_a_stranger_with_the_key_who_is_no_member_is_told_nothing_but_an_ack(
    cluster: Cluster, friend: Stranger
) -> None:
    target = cluster["n1"]
    friend.send(target, friend.seal(a_ping(target)))
    answer = friend.receive(within_s=20)
    assert answer is not None
    assert answer.messages == (Ack(sequence=7),)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0\0\0\0",
        b"\xff" * 64,
        b"GET / HTTP/1.1\r\n\r\n",
        (1_000).to_bytes(4) + b"\x01" + bytes(999),
        b"\x01" * 100_000,
    ],
    ids=["empty-frame", "endless-frame", "http", "forged-frame", "much"],
)
def test_garbage_on_a_stream_changes_nothing_is_counted_and_closes_it(cluster: Cluster, garbage: bytes) -> None:
    target = cluster["n1"]
    before = target.statistics()["dropped"]
    with socket.create_connection((target.host, target.port), timeout=20) as stream:
        try:
            stream.sendall(garbage)
            assert stream.recv(1) == b""
        except ConnectionError:
            pass  # closed while there was more to read
    wait_until(lambda: sum(dropped_since(before, target).values()) == 1, what="it is counted")


def test_streams_that_say_nothing_are_bounded_and_do_not_keep_others_out_for_ever(cluster: Cluster) -> None:
    target = cluster["n1"]
    before = target.statistics()["dropped"]
    silent = [socket.create_connection((target.host, target.port), timeout=20) for _ in range(80)]
    try:
        wait_until(
            lambda: dropped_since(before, target).get("streams_inbound", 0) >= 16, what="64 are accepted, not more"
        )
        outcome = wait_until(
            lambda: cluster["n2"].call("join", targets=[target.address])["joined"].get(target.address, 1) is None,
            what="n2 can sync with n1 again",
        )
        assert outcome
    finally:
        for stream in silent:
            stream.close()
