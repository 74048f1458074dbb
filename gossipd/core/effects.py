"""What a machine may ask of the node: frozen values, returned in the order in which they are to be carried out."""

from dataclasses import dataclass

from gossipd.core.events import Event
from gossipd.ids import Address, NodeId
from gossipd.records import Claim, Record
from gossipd.wire.messages import Announce, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    """Send *message* to a member at its known address; what room is left in the datagram carries gossip."""

    target: NodeId
    message: Message
    first: Claim | None = None
    """Goes in front of *message*: the accusation itself, to a member that is probed while not alive (buddy)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send *message* to an address: where a datagram came from, or where a lost peer was last seen; never one that a packet names.

    Gossip rides along only if *member* is one (not None).
    """

    target: Address
    message: Message
    member: NodeId | None = None
    first: Claim | None = None
    """Goes in front of *message*: what we believe of the receiver, if it should know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Tell everybody. It replaces whatever is queued under the same key."""

    item: Claim | Record | Announce
    urgent: bool = True
    """Whether somebody may act on it at once: then it is pushed, else it goes with ticks and other packets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuse:
    """Our probe of *member* failed: claim it to be suspect, unless we have reason to suspect ourselves."""

    member: NodeId
    alone: bool = False
    """Whether most of our helpers were silent, too: it may be us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPing:
    """Ping *target* over a stream beside the helpers; its Ack is given back with *sequence*. At most *timeout_s*."""

    target: NodeId
    sequence: int
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnect:
    """A lost peer answered: sync with it at once."""

    target: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbid:
    """A peer holds a record of ours that this run has not written: have the author outrank it (`Author.outbid`)."""

    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRecord:
    """The member at *target* announced a record that we lack: fetch it over a stream by its 8-byte item hash."""

    target: Address
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Tell the users."""

    event: Event


Effect = Tell | Send | Spread | Accuse | StreamPing | Reconnect | Outbid | FetchRecord | Report
