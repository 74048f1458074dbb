"""An instance as a balancer sees it: where it is, and whether it is to get work."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gossipd.ids import Address

Key = tuple[str, str]
"""Node and instance id: what an instance is known by, whatever its address."""

WEIGHT_MAX = 65_535
"""As a registration allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One instance of a service. The field names are those of a row of `resolve`, and mean the same.

    Only a *ready* one is ever picked. *weight* is its part of the work beside the others', 0 to 65535; 0: none, unless all that
    are ready have 0.
    Raises: ValueError that names the field, its value and what was expected.
    """

    node: str
    id: str
    address: str
    port: int
    service: str = ""
    protocol: str = "tcp"
    weight: int = 1
    zone: str | None = None
    region: str | None = None
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    degraded: bool = False
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    key: Key = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if type(self.weight) is not int or not 0 <= self.weight <= WEIGHT_MAX:
            raise ValueError(f"weight={self.weight!r}, expected a whole number from 0 to {WEIGHT_MAX}")
        if type(self.port) is not int or not 1 <= self.port <= 65_535:
            raise ValueError(f"port={self.port!r}, expected a whole number from 1 to 65535")
        object.__setattr__(self, "key", (self.node, self.id))

    @property
    def authority(self) -> str:
        """host:port as in a URL, an IPv6 address in brackets."""
        return str(Address(self.address, self.port))
