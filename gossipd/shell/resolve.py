"""Names to addresses, and never giving up on a name: a seed that does not resolve today may tomorrow.

Every name means all its addresses. Lookups run in threads and never hold the loop.
"""

import math
import socket
from collections.abc import Callable, Collection, Sequence

import trio

from gossipd.ids import Address, split_host_port
from gossipd.limits import SEEDS_MAX
from gossipd.shell import addresses
from gossipd.shell.log import Log

RETRY_S = 30.0
"""Seconds until a name that did not resolve is looked up again."""

REFRESH_S = 300.0
"""Seconds until names that resolved are looked up again: cloud load balancers and headless services change theirs."""

LOOKUP_S = 10.0
"""Seconds that one lookup may take; the system's resolver would go on for 40."""

LOOKUPS_MAX = 8
"""Lookups, and so threads, at once."""

ALL_FAMILIES = (socket.AF_INET, socket.AF_INET6)


async def resolve(target: str, *, default_port: int, families: Collection[int] = ALL_FAMILIES) -> list[Address]:
    """Return every address of *target*, a host[:port], that is of one of *families*, in the resolver's order.

    Raises: ValueError if *target* is malformed; OSError, with words for people, if the lookup failed or found nothing.
    """
    host, port = split_host_port(target, default_port=default_port)
    try:
        return [Address(addresses.canonical(host), port)]
    except ValueError:
        pass  # a name
    with trio.move_on_after(LOOKUP_S) as patience:
        try:
            found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except socket.gaierror as error:
            raise OSError(f"{host} cannot be resolved: {error.strerror}") from None
        except UnicodeError:
            raise ValueError(f"{host!r}, expected a host name") from None
    if patience.cancelled_caught:
        raise OSError(f"{host} cannot be resolved: no answer within {LOOKUP_S:g} s")
    rows = [addresses.from_sockaddr(row[4]) for row in found if row[0] in families and "%" not in str(row[4][0])]
    if not rows:
        raise OSError(f"{host} has no address that this daemon can reach")
    return list(dict.fromkeys(rows))


class Seeds:
    """Keeps *apply* told of the addresses behind *targets*, each a host[:port]; at most SEEDS_MAX of them.

    *families*: those we have sockets for. A name that fails keeps the addresses it had.
    """

    def __init__(
        self,
        targets: Sequence[str],
        *,
        default_port: int,
        families: Collection[int],
        apply: Callable[[Sequence[Address]], None],
        log: Log,
    ) -> None:
        self._targets = tuple(targets)
        self._default_port = default_port
        self._families = families
        self._apply = apply
        self._log = log
        self._known: dict[str, list[Address]] = {}
        self._applied: list[Address] = []
        self._changed = trio.Event()

    def set_targets(self, targets: Sequence[str]) -> None:
        """Look for *targets* from now on."""
        self._targets = tuple(targets)
        self._changed.set()

    async def run(self) -> None:
        """Look up, tell, wait, until cancelled. Without names it sleeps until the targets change."""
        while True:
            self._changed = trio.Event()
            targets = self._targets
            unresolved = await self._look_up(targets)
            self._tell()  # those that are no longer among the targets are forgotten
            settled_s = REFRESH_S if any(map(_is_name, targets)) else math.inf
            pause_s = RETRY_S if unresolved else settled_s
            with trio.move_on_after(pause_s):
                await self._changed.wait()

    async def _look_up(self, targets: Sequence[str]) -> int:
        """Look up *targets*, several at once; return how many failed."""
        failed: list[str] = []
        limit = trio.CapacityLimiter(LOOKUPS_MAX)

        async def look_up(target: str) -> None:
            async with limit:
                try:
                    self._known[target] = await resolve(
                        target, default_port=self._default_port, families=self._families
                    )
                except (OSError, ValueError) as error:
                    failed.append(target)
                    self._log.warning("seed not resolved, trying again", seed=target, error=error, retry_s=RETRY_S)
                else:
                    self._tell()  # at once: the others may take long

        async with trio.open_nursery() as nursery:
            for target in dict.fromkeys(targets):
                nursery.start_soon(look_up, target)
        return len(failed)

    def _tell(self) -> None:
        self._known = {target: self._known[target] for target in self._targets if target in self._known}
        found = list(dict.fromkeys(address for known in self._known.values() for address in known))
        if len(found) > SEEDS_MAX:
            self._log.warning("too many seeds, the last are not used", found=len(found), limit=SEEDS_MAX)
            del found[SEEDS_MAX:]
        if sorted(found) != sorted(self._applied):  # resolvers rotate their answers
            self._applied = found
            self._apply(found)


def _is_name(target: str) -> bool:
    try:
        addresses.canonical(split_host_port(target, default_port=1)[0])
    except ValueError:
        return True
    return False
