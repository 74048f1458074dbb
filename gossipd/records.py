"""The nouns that travel: what a node claims about a member, and what it publishes in the catalog.

Values only. Which of two wins is decided in `core`; how they are written as bytes in `wire`.
"""

from dataclasses import dataclass, field
from enum import IntEnum

from gossipd.ids import Address, Incarnation, NodeId, Version


class Status(IntEnum):
    """What is believed of a member; at equal incarnation the graver one wins."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """*accuser* says that *member*, as of *incarnation*, has *status*. A member accuses itself to be ALIVE or LEFT.

    *protocol_min* to *protocol_max* are the packet formats that the member speaks. *age_s* is how many seconds ago the
    verdict DEAD or LEFT was reached: it travels along, so that everybody forgets at the same time and no tombstone is
    reborn by a sync. It and *accuser* are evidence, not state: two claims that differ only there are the same claim.
    """

    member: NodeId
    incarnation: Incarnation
    status: Status
    address: Address
    accuser: NodeId
    protocol_min: int = 1
    protocol_max: int = 1
    age_s: int = field(default=0, compare=False)


class Health(IntEnum):
    """What the checks of an instance say, the gravest of them; Consul's words."""

    PASSING = 0
    WARNING = 1
    CRITICAL = 2


class Mode(IntEnum):
    """What people, or a farewell, have decided about an instance or a node, whatever its checks say."""

    NORMAL = 0
    DRAINING = 1
    """It finishes the work that it has and is to get no more."""
    MAINTENANCE = 2
    """It is to get no work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How an instance is, as its owner sees it; travels in its record, so that everybody sees the same.

    *damped*: it changed so often that it is held out until it has been quiet (RFC 2439). *reason* tells people why *mode* is not
    NORMAL, 0 to 256 bytes.
    """

    health: Health = Health.PASSING
    mode: Mode = Mode.NORMAL
    damped: bool = False
    reason: str = ""


NORMAL_STATE = State()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One instance of a service, as its owner registered it. *address* None means: the owner's own address.

    *name* is a DNS label, *id* is unique on its owner (1 to 128 bytes), *port* 1 to 65535, *weight* 0 to 65535.
    *tags* are sorted and unique, *metadata* is sorted by key. *state* is the owner's to change, not the registering client's.
    """

    name: str
    id: str
    port: int
    address: str | None = None
    protocol: str = "tcp"
    tags: tuple[str, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    weight: int = 1
    state: State = NORMAL_STATE


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInfo:
    """What a node says of itself: *labels* (zone, region, ...) sorted by key, and the *software* version it runs.

    *mode* other than NORMAL holds for all its instances, *reason* tells people why (0 to 256 bytes).
    """

    labels: tuple[tuple[str, str], ...] = ()
    software: str = ""
    mode: Mode = Mode.NORMAL
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Opaque:
    """Content of a kind that this version does not know: kept, relayed and counted, but not shown."""

    kind: str
    data: bytes = field(repr=False)


Content = Service | NodeInfo | Opaque


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A fact that *owner* published under *key*; *content* None is a tombstone.

    *floor*: the owner's promise that none of its records of this epoch with seq <= floor is valid any more.
    *signature* has its place in the record but is not made or checked yet. *encoded* is the owner's own encoding of all
    the rest, relayed byte for byte.
    """

    owner: NodeId
    version: Version
    floor: int
    key: str
    content: Content | None
    signature: bytes | None = field(default=None, repr=False)
    encoded: bytes = field(default=b"", repr=False, compare=False)
