"""One example of every message and kind of record, with the bytes it has had since the first version.

A change here is a change of the protocol. docs/reference/wire.md shows the same bytes, and a test compares the two.
"""

from dataclasses import replace

from gossipd.core.items import claim_check
from gossipd.ids import Address, Incarnation, NodeId, Version
from gossipd.records import Claim, Health, Mode, NodeInfo, Opaque, Record, Service, State, Status
from gossipd.wire.messages import (
    Ack,
    Announce,
    Fetch,
    Message,
    Nack,
    Ping,
    PingRequest,
    Refutation,
    StreamMessage,
    SyncDiff,
    SyncItems,
    SyncOpen,
    Twin,
)
from gossipd.wire.records import make_record

ANN = NodeId("ann")
BOB = NodeId("bob")
EPOCH = 1_700_000_000_000
FIRST = Incarnation(EPOCH, 0)
BOBS = Address("192.0.2.7", 7950)
ONE = bytes.fromhex("0102030405060708")
TWO = bytes.fromhex("1112131415161718")


def _claim(status: Status, *, accuser: NodeId = BOB, age_s: int = 0, address: Address = BOBS) -> Claim:
    return Claim(member=BOB, incarnation=FIRST, status=status, address=address, accuser=accuser, age_s=age_s)


REFUTED = replace(_claim(Status.ALIVE), incarnation=Incarnation(EPOCH, 1))

WEB = Service(
    name="web",
    id="web-1",
    port=8080,
    address="db.example",
    protocol="udp",
    tags=("blue", "v2"),
    metadata=(("zone", "a"),),
    weight=5,
)
SERVICE = make_record(BOB, Version(EPOCH, 3), 1, "service/web-1", WEB)
SMALL_SERVICE = make_record(BOB, Version(EPOCH, 4), 1, "service/a", Service(name="web", id="a", port=80))
NODE = make_record(BOB, Version(EPOCH, 1), 0, "node", NodeInfo(labels=(("zone", "a"),), software="0.1.0"))
SICK_SERVICE = make_record(
    BOB,
    Version(EPOCH, 7),
    1,
    "service/a",
    Service(name="web", id="a", port=80, state=State(health=Health.CRITICAL, damped=True)),
)
DRAINING_NODE = make_record(BOB, Version(EPOCH, 8), 1, "node", NodeInfo(mode=Mode.DRAINING, reason="new kernel"))
TOMBSTONE = make_record(BOB, Version(EPOCH, 5), 1, "service/a", None)
OPAQUE = make_record(BOB, Version(EPOCH, 6), 1, "flag/x", Opaque("flag", b"\x01\x02"))
SIGNED = make_record(BOB, Version(EPOCH, 5), 1, "service/a", None, b"\xaa\xbb")

RECORDS: dict[str, Record] = {
    "record-service": SERVICE,
    "record-small-service": SMALL_SERVICE,
    "record-sick-service": SICK_SERVICE,
    "record-node": NODE,
    "record-draining-node": DRAINING_NODE,
    "record-tombstone": TOMBSTONE,
    "record-opaque": OPAQUE,
    "record-signed": SIGNED,
}

MESSAGES: dict[str, Message] = {
    "ping": Ping(sequence=7, target=BOB),
    "ack": Ack(sequence=7),
    "nack": Nack(sequence=2**32 - 1),
    "ping-request": PingRequest(sequence=7, target=BOB, window_ms=800),
    "claim-alive": _claim(Status.ALIVE),
    "claim-suspect": _claim(Status.SUSPECT, accuser=ANN),
    "claim-dead": _claim(Status.DEAD, accuser=ANN, age_s=60, address=Address("2001:db8::7", 7950)),
    "claim-left": _claim(Status.LEFT, age_s=60),
    **RECORDS,
    "announce": Announce(owner=BOB, version=Version(EPOCH, 3), digest=ONE),
    "twin": Twin(incarnation=FIRST, address=BOBS),
    "refutation": Refutation(member=BOB, counter=1, check=claim_check(REFUTED)),
}

STREAM_MESSAGES: dict[str, StreamMessage] = {
    "sync-open": SyncOpen(buckets=ONE + TWO),
    "sync-diff": SyncDiff(buckets=(0, 5, 258), hashes=(ONE, b"", TWO + ONE), last=False),
    "sync-items": SyncItems(items=(_claim(Status.ALIVE), TOMBSTONE)),
    "fetch": Fetch(digests=ONE + TWO),
}


BYTES: dict[str, bytes] = {
    "ping": bytes.fromhex("930107a3626f62"),
    "ack": bytes.fromhex("920207"),
    "nack": bytes.fromhex("9203ceffffffff"),
    "ping-request": bytes.fromhex("940407a3626f62cd0320"),
    "claim-alive": bytes.fromhex("9905a3626f62cf0000018bcfe568000000c404c0000207cd1f0e0101"),
    "claim-suspect": bytes.fromhex("9b05a3626f62cf0000018bcfe568000001c404c0000207cd1f0e010100a3616e6e"),
    "claim-dead": bytes.fromhex(
        "9b05a3626f62cf0000018bcfe568000002c41020010db8000000000000000000000007cd1f0e01013ca3616e6e"
    ),
    "claim-left": bytes.fromhex("9a05a3626f62cf0000018bcfe568000003c404c0000207cd1f0e01013c"),
    "record-service": bytes.fromhex(
        "9206c48197a3626f62cf0000018bcfe568000301ad736572766963652f7765622d31a773657276696365c45987a46e61"
        "6d65a3776562a4706f7274cd1f90a761646472657373aa64622e6578616d706c65a870726f746f636f6ca3756470a474"
        "61677392a4626c7565a27632a86d6574616461746181a47a6f6e65a161a677656967687405"
    ),
    "record-small-service": bytes.fromhex(
        "9206c43497a3626f62cf0000018bcfe568000401a9736572766963652f61a773657276696365c41082a46e616d65a377"
        "6562a4706f727450"
    ),
    "record-node": bytes.fromhex(
        "9206c43b97a3626f62cf0000018bcfe568000100a46e6f6465a46e6f6465c41f82a66c6162656c7381a47a6f6e65a161"
        "a8736f667477617265a5302e312e30"
    ),
    "record-sick-service": bytes.fromhex(
        "9206c43e97a3626f62cf0000018bcfe568000701a9736572766963652f61a773657276696365c41a83a46e616d65a377"
        "6562a4706f727450a57374617465930200c3"
    ),
    "record-draining-node": bytes.fromhex(
        "9206c43297a3626f62cf0000018bcfe568000801a46e6f6465a46e6f6465c41681a57374617465940001c2aa6e6577206b65726e656c"
    ),
    "record-tombstone": bytes.fromhex("9206c41a95a3626f62cf0000018bcfe568000501a9736572766963652f61"),
    "record-opaque": bytes.fromhex("9206c42097a3626f62cf0000018bcfe568000601a6666c61672f78a4666c6167c4020102"),
    "record-signed": bytes.fromhex("9306c41a95a3626f62cf0000018bcfe568000501a9736572766963652f61c402aabb"),
    "announce": bytes.fromhex("9507a3626f62cf0000018bcfe5680003c4080102030405060708"),
    "twin": bytes.fromhex("9508cf0000018bcfe5680000c404c0000207cd1f0e"),
    "refutation": bytes.fromhex("9409a3626f6201ce9dca09a7"),
    "sync-open": bytes.fromhex("9210c41001020304050607081112131415161718"),
    "sync-diff": bytes.fromhex(
        "9511c2c406000000050102c406000100000002c418010203040506070811121314151617180102030405060708"
    ),
    "sync-items": bytes.fromhex(
        "9312c3c43a9905a3626f62cf0000018bcfe568000000c404c0000207cd1f0e01019206c41a95a3626f62cf0000018bcf"
        "e568000501a9736572766963652f61"
    ),
    "fetch": bytes.fromhex("9213c41001020304050607081112131415161718"),
}
"""Of each, as `encode_message` writes it."""

ENVELOPE_BYTES = bytes.fromhex("a3616e6e930107a3626f629905a3626f62cf0000018bcfe568000000c404c0000207cd1f0e0101")
"""Of a datagram in which ann says "ping" and "claim-alive"."""
