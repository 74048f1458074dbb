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


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One instance of a service, as its owner registered it. *address* None means: the owner's own address.

    *name* is a DNS label, *id* is unique on its owner (1 to 128 bytes), *port* 1 to 65535, *weight* 0 to 65535.
    *tags* are sorted and unique, *metadata* is sorted by key.
    """

    name: str
    id: str
    port: int
    address: str | None = None
    protocol: str = "tcp"
    tags: tuple[str, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    weight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInfo:
    """What a node says of itself: *labels* (zone, region, ...) sorted by key, and the *software* version it runs."""

    labels: tuple[tuple[str, str], ...] = ()
    software: str = ""


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
