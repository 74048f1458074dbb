"""What daemons say to each other: a frozen class a message, `Message` and `StreamMessage` the unions.

The sender's name is in the envelope, once for all messages in it. Bytes are in `codec`; the specification for a second
implementation is docs/reference/wire.md.
"""

from dataclasses import dataclass, field

from gossipd.ids import Address, Incarnation, NodeId, Version
from gossipd.records import Claim, Record

PROTOCOL_VERSION = 1
"""The one packet format there is; a member says which range it speaks in its claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """*target* is asked for an Ack of the same *sequence* (0 to 2**32 - 1); anybody else stays silent (rule 33)."""

    sequence: int
    target: NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """The sender, or for a PingRequest its target, is alive."""

    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Nack:
    """The sender is alive, but the target of the PingRequest with this *sequence* has not answered it yet."""

    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PingRequest:
    """The receiver is asked to ping *target* and to relay its Ack, within *window_ms* (1 to 600,000); then nobody listens."""

    sequence: int
    target: NodeId
    window_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Announce:
    """The sender has a record too large for a datagram; *digest* is its 8-byte item hash, to fetch it by."""

    owner: NodeId
    version: Version
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """The sender is alive and bears the receiver's name: sent to a process that claims the sender's name (D2)."""

    incarnation: Incarnation
    address: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Refutation:
    """*member* is alive, at this *counter* of the epoch, the address and the protocols that the receiver knows of it.

    *check*, 0 to 2**32 - 1, is the beginning of the resulting claim's item hash: whoever knows others drops it. It is half as long
    as the claim, and after a cut of two halves every member has one to tell everybody.
    """

    member: NodeId
    counter: int
    check: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOpen:
    """Opens a sync: one 8-byte XOR of item hashes per bucket, concatenated; a power of two, 1 to SYNC_BUCKETS_MAX."""

    buckets: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncDiff:
    """Answers SyncOpen: the sender's 8-byte item hashes, concatenated, in each bucket that differs.

    *buckets* are indices, ascending; *hashes* one string for each. A bucket that was empty at the opener is left out:
    its items are simply sent. *last* is False while further SyncDiff follow; the next one may begin with the bucket
    that this one ended with, to go on with its hashes.
    """

    buckets: tuple[int, ...]
    hashes: tuple[bytes, ...] = field(repr=False)
    last: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncItems:
    """Claims and records that the receiver is believed to lack; *last* is False while further SyncItems follow."""

    items: tuple[Claim | Record, ...]
    last: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """Asks for the items with these 8-byte hashes, concatenated, 1 to SYNC_ITEMS_PER_FRAME_MAX; answered by SyncItems."""

    digests: bytes = field(repr=False)


WholeMessage = Ping | Ack | Nack | PingRequest | Claim | Record | Announce | Twin
"""What can be understood by itself."""

Message = WholeMessage | Refutation
"""What a datagram may carry, several at once."""

StreamMessage = Ping | Ack | SyncOpen | SyncDiff | SyncItems | Fetch
"""What a frame of a stream may carry, one at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A decoded datagram: who says it, and what."""

    sender: NodeId
    messages: tuple[Message, ...]
