"""What people and applications ask of daemons in a story: frozen values that print as sentences, performed by `faults.apply`."""

from collections.abc import Sequence
from dataclasses import dataclass

from gossipd.checks import Check, Tcp
from gossipd.limits import KEYS_MAX
from gossipd.records import Health, Service
from gossipd.validation import check_service
from simulations.network import check_amounts

Hosts = tuple[int, ...]


def named(hosts: Sequence[int]) -> str:
    """Return *hosts* as people write them: "n3", "n0 to n9", "n1, n4 and 17 more"."""
    if not hosts:
        return "nobody"
    if len(hosts) > 2 and list(hosts) == list(range(hosts[0], hosts[0] + len(hosts))):
        return f"n{hosts[0]} to n{hosts[-1]}"
    shown = [f"n{host}" for host in hosts[:6]]
    if len(hosts) > 6:
        return ", ".join(shown[:4]) + f" and {len(hosts) - 4} more"
    return shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + f" and {shown[-1]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """Each of *hosts* registers one instance *id*, kept, or changes it."""

    hosts: Hosts
    service: str = "web"
    id: str = "web-1"
    port: int = 8080
    checked_every_s: float | None = None
    """Interval of a check that brings what `SetHealth` said last, passing before; None: it has none."""

    def __post_init__(self) -> None:
        check_service(self.instance())
        check_amounts(checked_every_s=self.checked_every_s)
        if self.checked_every_s == 0:
            raise ValueError("checked_every_s=0, expected more than 0")

    def instance(self) -> Service:
        return Service(name=self.service, id=self.id, port=self.port)

    def checks(self) -> tuple[Check, ...]:
        if self.checked_every_s is None:
            return ()
        timeout_s = min(1.0, self.checked_every_s)
        return (Check(id="up", target=Tcp(), interval_s=self.checked_every_s, timeout_s=timeout_s),)

    def __str__(self) -> str:
        checked = "" if self.checked_every_s is None else f", checked every {self.checked_every_s:g} s,"
        return f"register {self.id} (port {self.port}){checked} on {named(self.hosts)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deregister:
    hosts: Hosts
    id: str = "web-1"

    def __str__(self) -> str:
        return f"withdraw {self.id} on {named(self.hosts)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetHealth:
    """From now on tries of the checks of instance *id* on *hosts* bring *health*."""

    hosts: Hosts
    health: Health
    id: str = "web-1"

    def __str__(self) -> str:
        return f"checks of {self.id} on {named(self.hosts)} bring {self.health.name.lower()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UseKeys:
    """*hosts* get a keyring of these *keys*, each a number that stands for 32 bytes; the first seals. Restarts keep it."""

    hosts: Hosts
    keys: tuple[int, ...]

    def __post_init__(self) -> None:
        different = {key for key in self.keys if 0 <= key < 256}
        if not 1 <= len(self.keys) == len(different) <= KEYS_MAX:
            raise ValueError(f"keys={self.keys!r}, expected 1 to {KEYS_MAX} different numbers from 0 to 255")

    def __str__(self) -> str:
        others = "".join(f", open with {key}" for key in self.keys[1:])
        return f"let {named(self.hosts)} seal with key {self.keys[0]}{others}"
