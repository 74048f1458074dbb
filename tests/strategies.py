"""Hypothesis strategies for everything that travels: names, claims, services, records, each message, envelopes."""

import ipaddress

from hypothesis import strategies as st

from gossipd.ids import Address, Incarnation, NodeId, Version
from gossipd.limits import RECORD_BYTES_MAX
from gossipd.records import (
    NORMAL_STATE,
    Claim,
    Content,
    Health,
    Mode,
    NodeInfo,
    Opaque,
    Record,
    Service,
    State,
    Status,
)
from gossipd.wire.messages import (
    Ack,
    Announce,
    Envelope,
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

counters = st.integers(0, 2**53 - 1)
sequences = st.integers(0, 2**32 - 1)
ports = st.integers(1, 65_535)
names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
node_ids = names.map(NodeId)
hosts = st.one_of(
    st.ip_addresses(v=4),
    st.ip_addresses(v=6).filter(lambda ip: isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is None),
).map(str)
addresses = st.builds(Address, hosts, ports)
incarnations = st.builds(Incarnation, counters, counters)
versions = st.builds(Version, counters, st.integers(1, 2**53 - 1))


def texts(bytes_max: int, *, bytes_min: int = 1) -> st.SearchStrategy[str]:
    """Text without control characters, of *bytes_min* to *bytes_max* bytes of UTF-8."""
    characters = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])
    return st.text(characters, min_size=bytes_min, max_size=bytes_max // 4)


labels = st.dictionaries(texts(64), texts(128, bytes_min=0), max_size=4).map(lambda known: tuple(sorted(known.items())))


@st.composite
def claims(draw: st.DrawFn) -> Claim:
    member = draw(node_ids)
    status = draw(st.sampled_from(Status))
    least = draw(st.integers(1, 255))
    return Claim(
        member=member,
        incarnation=draw(incarnations),
        status=status,
        address=draw(addresses),
        accuser=member if status in (Status.ALIVE, Status.LEFT) else draw(node_ids),
        protocol_min=least,
        protocol_max=draw(st.integers(least, 255)),
        age_s=0 if status is Status.ALIVE else draw(sequences),
    )


states = st.just(NORMAL_STATE) | st.builds(
    State,
    health=st.sampled_from(Health),
    mode=st.sampled_from(Mode),
    damped=st.booleans(),
    reason=texts(64, bytes_min=0),
)
services = st.builds(
    Service,
    name=names,
    id=texts(128),
    port=ports,
    address=st.none()
    | hosts
    | st.lists(names, min_size=2, max_size=3).map(".".join).filter(lambda host: not host[-1].isdigit()),
    protocol=st.just("tcp") | names,
    tags=st.sets(texts(32), max_size=4).map(lambda tags: tuple(sorted(tags))),
    metadata=labels,
    weight=st.just(1) | st.integers(0, 65_535),
    state=states,
)
node_infos = st.builds(
    NodeInfo,
    labels=labels,
    software=texts(32, bytes_min=0),
    mode=st.sampled_from(Mode),
    reason=texts(64, bytes_min=0),
)
opaques = st.builds(Opaque, names.filter(lambda kind: kind not in ("service", "node")), st.binary(max_size=64))
contents: st.SearchStrategy[Content | None] = st.none() | services | node_infos | opaques


@st.composite
def records(draw: st.DrawFn, content: st.SearchStrategy[Content | None] = contents) -> Record:
    version = draw(versions)
    chosen = draw(content)
    match chosen:
        case Service():
            key = f"service/{chosen.id}"
        case NodeInfo():
            key = "node"
        case Opaque() | None:
            key = draw(texts(160))
    return make_record(
        draw(node_ids),
        version,
        draw(st.integers(0, version.seq - 1)),
        key,
        chosen,
        draw(st.none() | st.binary(min_size=1, max_size=128)),
    )


pings = st.builds(Ping, sequence=sequences, target=node_ids)
acks = st.builds(Ack, sequence=sequences)
nacks = st.builds(Nack, sequence=sequences)
ping_requests = st.builds(PingRequest, sequence=sequences, target=node_ids, window_ms=st.integers(1, 600_000))
announces = st.builds(Announce, owner=node_ids, version=versions, digest=st.binary(min_size=8, max_size=8))
twins = st.builds(Twin, incarnation=incarnations, address=addresses)
refutations = st.builds(Refutation, member=node_ids, counter=counters, check=sequences)
messages: st.SearchStrategy[Message] = st.one_of(
    pings, acks, nacks, ping_requests, claims(), records(), announces, twins, refutations
)


def hashes(count: int) -> st.SearchStrategy[bytes]:
    """*count* hashes of 8 bytes, concatenated."""
    return st.binary(min_size=8 * count, max_size=8 * count)


sync_opens = st.builds(SyncOpen, buckets=st.integers(0, 6).flatmap(lambda power: hashes(2**power)))


@st.composite
def sync_diffs(draw: st.DrawFn) -> SyncDiff:
    buckets = sorted(draw(st.sets(st.integers(0, 4_095), max_size=6)))
    parts = tuple(draw(hashes(draw(st.integers(0, 4)))) for _ in buckets)
    return SyncDiff(buckets=tuple(buckets), hashes=parts, last=draw(st.booleans()))


sync_items = st.builds(SyncItems, items=st.lists(claims() | records(), max_size=4).map(tuple), last=st.booleans())
fetches = st.builds(Fetch, digests=st.integers(1, 6).flatmap(hashes))
stream_messages: st.SearchStrategy[StreamMessage] = st.one_of(
    pings, acks, sync_opens, sync_diffs(), sync_items, fetches
)

envelopes = st.builds(Envelope, sender=node_ids, messages=st.lists(messages, max_size=3).map(tuple))

assert RECORD_BYTES_MAX > 4 * (64 + 128 + 32) + 64 + 512, "a record drawn above always fits"
