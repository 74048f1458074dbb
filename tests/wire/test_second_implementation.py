"""A second implementation, written from docs/reference/wire.md alone, talks to a node.

What is between the two lines knows msgpack and cryptography and nothing of gossipd. If the page is not enough, it is the page
that is to be mended.
"""

import ipaddress
from collections.abc import Sequence
from hashlib import blake2b, sha256
from typing import Any

import msgpack
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gossipd.ids import Address
from gossipd.node.actions import Action, CloseStream, SendDatagram, SendStream
from gossipd.node.node import Node
from gossipd.node.view import KEPT
from tests.network import KEY, Network, a_service, address_of, instances, members

# ------------------------------------------------------------------------------------------------ the other implementation

PING, ACK, CLAIM, RECORD = 1, 2, 5, 6
SYNC_OPEN, SYNC_DIFF, SYNC_ITEMS, FETCH = 16, 17, 18, 19
BUCKETS = 16

Message = list[Any]


class Cluster:
    """A cluster's name and its one key, or none."""

    def __init__(self, name: str, key: bytes | None) -> None:
        self.name, self.key = name, key
        if key is None:
            self.id = sha256(f"gossipd/1/plaintext/{name}".encode()).digest()[:4]
        else:
            self.id = self.derive("key-id", None, 4)

    def derive(self, purpose: str, salt: bytes | None, size: int) -> bytes:
        assert self.key is not None
        return HKDF(SHA256(), size, salt, f"gossipd/1/{purpose}/{self.name}".encode()).derive(self.key)

    def pack(self, purpose: str, salt: bytes, session: bytes, counter: int, payload: bytes) -> bytes:
        header = b"\x01" + self.id + session + counter.to_bytes(8, "big")
        if self.key is None:
            return header + payload
        nonce = bytes(4) + counter.to_bytes(8, "big")
        return header + AESGCM(self.derive(purpose, salt, 32)).encrypt(nonce, payload, header)

    def unpack(self, purpose: str, salt: bytes, packet: bytes) -> bytes:
        assert packet[0] == 1
        assert packet[1:5] == self.id
        header, rest = packet[:25], packet[25:]
        if self.key is None:
            return rest
        return AESGCM(self.derive(purpose, salt, 32)).decrypt(bytes(4) + header[17:25], rest, header)


def say(sender: str, *messages: Message) -> bytes:
    return b"".join(msgpack.packb(part) for part in (sender, *messages))


def heard(payload: bytes) -> tuple[str, list[Message]]:
    reader = msgpack.Unpacker()
    reader.feed(payload)
    sender, *messages = reader
    return sender, messages


class Caller:
    """The end that opens a stream."""

    def __init__(self, cluster: Cluster, me: str, session: bytes) -> None:
        self.cluster, self.me, self.session = cluster, me, session
        self.counter = 0
        self.salt = b""

    def frame(self, message: Message) -> bytes:
        purpose, salt = ("stream-more", self.salt) if self.counter else ("stream-open", self.session)
        packet = self.cluster.pack(purpose, salt, self.session, self.counter, say(self.me, message))
        self.counter += 1
        return len(packet).to_bytes(4, "big") + packet

    def read(self, data: bytes) -> list[Message]:
        messages = []
        while data:
            size = int.from_bytes(data[:4], "big")
            packet, data = data[4 : 4 + size], data[4 + size :]
            self.salt = self.session + packet[5:17]
            _, said = heard(self.cluster.unpack("stream-reply", self.salt, packet))
            messages += said
        return messages


def item_hash(item: Message) -> bytes:
    if item[0] == CLAIM:
        _, member, epoch, counter, status, host, port, least, most = item[:9]
        texts = ["claim", member, epoch, counter, status, ipaddress.ip_address(host), port, least, most]
    else:
        owner, epoch, seq, _floor, key = msgpack.unpackb(item[1])[:5]
        texts = ["record", owner, key, epoch, seq]
    return blake2b("\0".join(map(str, texts)).encode(), digest_size=8).digest()


def sums(items: Sequence[Message]) -> bytes:
    found = [0] * BUCKETS
    for item in items:
        value = item_hash(item)
        found[value[0] >> 4] ^= int.from_bytes(value, "big")
    return b"".join(value.to_bytes(8, "big") for value in found)


def items_in(messages: Sequence[Message]) -> list[Message]:
    """Return the items in a run of SyncItems, which must end with it."""
    assert [message[:2] for message in messages] == [[SYNC_ITEMS, False]] * (len(messages) - 1) + [[SYNC_ITEMS, True]]
    reader = msgpack.Unpacker()
    reader.feed(b"".join(message[2] for message in messages))
    return list(reader)


def service_in(item: Message) -> tuple[str, str, dict[str, Any]]:
    owner, _epoch, _seq, _floor, key, kind, content = msgpack.unpackb(item[1])
    assert kind == "service"
    return owner, key, msgpack.unpackb(content)


# ------------------------------------------------------------------------------------------------------------- the meeting

ZOE = Address("127.0.0.1", 9_999)


class Meeting:
    """A cluster of two nodes, and zoe, who is the other implementation."""

    def __init__(self, *, sealed: bool) -> None:
        self.net = Network(keyring=KEY if sealed else None)
        self.node: Node = self.net.cluster(2)[0]
        self.net.do(self.node, self.node.register(a_service(port=8_080), holder=KEPT, now=self.net.now)[1])
        self.net.run(5)
        self.cluster = Cluster("gossipd", KEY.keys[0] if sealed else None)
        self.sessions = 0

    def datagram(self, session: bytes, counter: int, *messages: Message) -> list[tuple[Address, list[Message]]]:
        data = self.cluster.pack("datagram", session, session, counter, say("zoe", *messages))
        return self.told(self.node.receive_datagram(data, ZOE, now=self.net.now))

    def told(self, actions: Sequence[Action]) -> list[tuple[Address, list[Message]]]:
        sent = [action for action in actions if isinstance(action, SendDatagram)]
        return [
            (target, heard(self.cluster.unpack("datagram", action.data[5:17], action.data))[1])
            for action in sent
            for target in action.targets
        ]

    def call(self) -> tuple[Caller, int]:
        self.sessions += 1
        stream, _ = self.node.accept_stream(ZOE, now=self.net.now)
        assert stream is not None
        return Caller(self.cluster, "zoe", self.sessions.to_bytes(12, "big")), stream

    def ask(self, caller: Caller, stream: int, *messages: Message) -> tuple[list[Message], bool]:
        """Return the answer to *messages*, and whether the node ended the stream."""
        actions: list[Action] = []
        for message in messages:
            actions += self.node.receive_stream(stream, caller.frame(message), now=self.net.now)
        data = b"".join(action.data for action in actions if isinstance(action, SendStream))
        return caller.read(data), CloseStream(stream=stream) in actions

    def everything(self) -> list[Message]:
        """Read all that the node holds, as somebody who holds nothing."""
        answer, ended = self.ask(*self.call(), [SYNC_OPEN, bytes(8 * BUCKETS)])
        assert answer[0] == [SYNC_DIFF, True, b"", b"", b""]
        assert ended
        return items_in(answer[1:])


@pytest.fixture(params=[True, False], ids=["sealed", "plain"])
def meeting(request: pytest.FixtureRequest) -> Meeting:
    return Meeting(sealed=request.param)


def test_a_ping_gets_its_ack(meeting: Meeting) -> None:
    session = b"zoe's datagr"
    assert meeting.datagram(session, 0, [PING, 7, "n0"]) == [(ZOE, [[ACK, 7]])]
    assert meeting.datagram(session, 1, [PING, 8, "nobody"], [PING, 9, "n0"]) == [(ZOE, [[ACK, 9]])]
    assert meeting.datagram(session, 0, [PING, 7, "n0"]) == [], "a replay"
    assert meeting.ask(*meeting.call(), [PING, 7, "n0"]) == ([[ACK, 7]], True)


def test_a_sync_of_who_holds_nothing_brings_everything(meeting: Meeting) -> None:
    items = meeting.everything()
    claims = {item[1]: (item[4], item[6]) for item in items if item[0] == CLAIM}
    assert claims == {"n0": (0, address_of(0).port), "n1": (0, address_of(1).port)}
    records = [item for item in items if item[0] == RECORD]
    keys = sorted(msgpack.unpackb(record[1])[4] for record in records)
    assert keys == ["node", "node", "service/web"]
    [service] = [service_in(record) for record in records if b"service/web" in record[1]]
    assert service == ("n0", "service/web", {"name": "web", "port": 8_080})


def test_equal_holdings_have_nothing_to_say(meeting: Meeting) -> None:
    items = meeting.everything()
    answer, ended = meeting.ask(*meeting.call(), [SYNC_OPEN, sums(items)])
    assert answer == [[SYNC_DIFF, True, b"", b"", b""], [SYNC_ITEMS, True, b""]]
    assert ended


def test_a_sync_gives_and_takes_what_each_lacks(meeting: Meeting) -> None:
    everything = meeting.everything()
    claim = [CLAIM, "zoe", 5, 0, 0, bytes([127, 0, 0, 1]), ZOE.port, 1, 1]
    content = msgpack.packb({"name": "db", "port": 5_432, "unheard-of": [1]})
    record = [RECORD, msgpack.packb(["zoe", 5, 1, 0, "service/db", "service", content])]
    known, lacking = everything[1:], everything[0]
    caller, stream = meeting.call()
    answer, ended = meeting.ask(caller, stream, [SYNC_OPEN, sums([*known, claim, record])])
    [_, last, indices, counts, hashes], *empty_here = answer
    assert (last, ended) == (True, False)
    listed = [int.from_bytes(indices[at : at + 2], "big") for at in range(0, len(indices), 2)]
    assert {item_hash(item)[0] >> 4 for item in (claim, record)} <= set(listed)
    assert sum(int.from_bytes(counts[at : at + 2], "big") for at in range(0, len(counts), 2)) * 8 == len(hashes)
    taken = items_in(empty_here)
    mine = b"".join(msgpack.packb(item) for item in (claim, record))
    wanted = b"" if lacking in taken else item_hash(lacking)
    messages: list[Message] = [[SYNC_ITEMS, True, mine], *([[FETCH, wanted]] if wanted else [])]
    answer, _ = meeting.ask(caller, stream, *messages)
    assert lacking in (items_in(answer) if wanted else taken)
    meeting.node.stream_closed(stream, now=meeting.net.now)
    assert members(meeting.node, meeting.net.now)["zoe"] == "alive"
    assert instances(meeting.node, meeting.net.now)["zoe/db"] == (5_432, "passing")
    assert meeting.node.view.statistics(now=meeting.net.now).syncs_failed == 0


def test_the_other_is_probed_as_any_member_and_its_news_is_passed_on(meeting: Meeting) -> None:
    session, net = b"zoe's datagr", meeting.net
    claim = [CLAIM, "zoe", 5, 0, 0, bytes([127, 0, 0, 1]), ZOE.port, 1, 1]
    data = meeting.cluster.pack("datagram", session, session, 0, say("zoe", claim))
    net.do(meeting.node, meeting.node.receive_datagram(data, ZOE, now=net.now))

    def pings() -> list[Message]:
        told = meeting.told([action for _, where, action in net.history if where == address_of(0)])
        return [message for target, said in told for message in said if target == ZOE and message[0] == PING]

    net.run_until(lambda: bool(pings()), within_s=5)
    sequence = pings()[0][1]
    assert pings()[0] == [PING, sequence, "zoe"]
    meeting.datagram(session, 1, [ACK, sequence])
    net.run(0.5)
    assert {name: members(node, net.now)["zoe"] for name, node in enumerate(net.nodes.values())} == {
        0: "alive",
        1: "alive",
    }
    assert meeting.node.view.member("zoe", now=net.now).rtt_ms is not None  # type: ignore[union-attr]
