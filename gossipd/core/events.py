"""What users may hear: every change of belief, with its evidence. The shell logs them, watchers get them, `why` keeps them."""

from dataclasses import dataclass, field

from gossipd.ids import Address, Incarnation, NodeId, Version
from gossipd.records import Health, Record, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberChanged:
    """The belief about *member* changed. *before* None: it is new; *after* None: it was forgotten.

    *accuser* made the claim, *source* handed it to us (we ourselves, or a peer); *how* is the path: "probe", "gossip", "sync",
    "timer", "self", "command". Equal *before* and *after* with a new *incarnation*: it refuted, moved or restarted.
    """

    member: NodeId
    before: Status | None
    after: Status | None
    incarnation: Incarnation
    address: Address
    accuser: NodeId
    source: NodeId
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordChanged:
    """The record *key* of *owner* changed. *before* None: it is new; *after* None: it is gone (tombstone, floor, forgotten)."""

    owner: NodeId
    key: str
    before: Record | None
    after: Record | None
    version: Version
    source: NodeId
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationChanged:
    """The node began or ceased to believe that it is the one cut off (D3)."""

    isolated: bool
    silent_s: float
    """Seconds since anybody answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutShown:
    """That *members*, sorted, are dead now shows in their instances: one change, however many they are."""

    members: tuple[NodeId, ...]
    held_s: float
    """Seconds since the first of them was found dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardChanged:
    """Instances of *service* on *nodes*, sorted, began or ceased to be kept, though their nodes are believed dead.

    They began to be kept because the *last* ready instance, or more than the permitted *share*, would have gone; they ceased after
    *time*, or because the service is as large without them (*replaced*). With *heard* and *owner* the last of them has spoken
    again, or its owner has withdrawn it; then *nodes* is empty, and other events tell what became of each.
    """

    service: str
    nodes: tuple[NodeId, ...]
    kept: int
    """Instances of the service that are kept from now on."""
    ready: int | None
    """Its ready instances besides; None if nobody counted."""
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NameConflict:
    """A live process at *address* bears our name. Neither is stopped; an operator must rename one."""

    address: Address
    incarnation: Incarnation


@dataclass(frozen=True, slots=True, kw_only=True)
class DatagramsBlocked:
    """*member* answered over TCP but not over UDP: a firewall or a packet-size problem between it and us."""

    member: NodeId
    address: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Overslept:
    """Our own timers fired *by_s* seconds late; outstanding deadlines were moved by as much, and nobody was accused for it."""

    by_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRaised:
    """Our former self outranked us (lost disk and a clock set back), so we took a later *epoch*; it must be persisted."""

    epoch: int


TO_OURSELVES = "it is this node itself"
"""The error of a sync with one of our own addresses: to be told to who asked for it, and to nobody else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncFinished:
    """A sync with *address* ended; *peer* is its name when it got that far, *error* None when it succeeded."""

    stream: int
    address: Address
    peer: NodeId | None
    opened_by_us: bool
    items_received: int = 0
    items_sent: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    changed: bool = False
    """Whether it changed anything here: what is received may be refused."""
    fetch: bool = False
    """Whether we only fetched what was announced, and compared nothing."""
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationsChanged:
    """What must be on disk changed: the kept registrations, or what drains or is under maintenance (`Node.kept`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationLost:
    """Instance *id* of this node was withdrawn without its holder asking: *why* is a sentence."""

    id: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckChanged:
    """The health of check *check* of instance *id* of this node changed; *output* is what its last result said."""

    id: str
    check: str
    before: Health
    after: Health
    output: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveFinished:
    """We have said goodbye and lingered: the process may exit."""

    heard: bool = field(default=True)
    """Whether the news went out as often as intended; False when the time-out came first or nobody was there."""


Event = (
    MemberChanged
    | RecordChanged
    | IsolationChanged
    | CutShown
    | GuardChanged
    | NameConflict
    | DatagramsBlocked
    | Overslept
    | EpochRaised
    | SyncFinished
    | RegistrationsChanged
    | RegistrationLost
    | CheckChanged
    | LeaveFinished
)
