"""A Redis client that follows the primary that gossipd knows: printf 'SET k v\nGET k\n' | python redis_client.py"""

import sys
from contextlib import suppress

from redis import Redis
from redis.sentinel import MasterNotFoundError, SentinelConnectionPool

from gossipd.client import Discovery, Mirror


class Roles:
    """Says who is primary and who a replica, as the `role` in their metadata has it, where redis-py would ask Redis Sentinel."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    def discover_master(self, service: str) -> tuple[str, int]:
        for address in self._with_role("primary", service):
            return address
        raise MasterNotFoundError(f"no ready instance of {service!r} has role=primary")

    def discover_slaves(self, service: str) -> list[tuple[str, int]]:
        return self._with_role("replica", service)

    def _with_role(self, role: str, service: str) -> list[tuple[str, int]]:
        ready = self._mirror.ready(service)
        return [(endpoint.address, endpoint.port) for endpoint in ready if endpoint.metadata.get("role") == role]


def primary_of(mirror: Mirror, service: str) -> Redis:
    """Return a client whose pool leaves a former primary as soon as *mirror* knows of the next."""
    pool = SentinelConnectionPool(service, Roles(mirror))

    def follow(*_: object) -> None:
        with suppress(MasterNotFoundError):  # nobody is primary at the moment: stay
            pool.get_master_address()

    mirror.listen(follow, service)
    return Redis.from_pool(pool)


def main() -> None:
    with Discovery() as discovery, discovery.mirror("cache") as mirror, primary_of(mirror, "cache") as cache:
        for line in sys.stdin:
            print(cache.execute_command(*line.split()), flush=True)


if __name__ == "__main__":
    main()
