"""A pool that connects to the PostgreSQL primary among the hosts in gossipd: python postgres_pool.py < some.sql"""

import asyncio
import sys
from collections.abc import Iterable
from typing import Any

import asyncpg

from gossipd.balancing import Endpoint
from gossipd.client.aio import Discovery, Mirror
from gossipd.errors import NoInstance


def hosts(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """Return *endpoints* as asyncpg takes them. Raises: NoInstance for none: asyncpg would try localhost."""
    listed = list(endpoints)
    if not listed:
        raise NoInstance("no database is ready: see gossipd services")
    return {"host": [one.address for one in listed], "port": [one.port for one in listed]}


def pool_of(mirror: Mirror, service: str, **settings: Any) -> Any:
    """Return a pool, as asyncpg.create_pool does; each new connection is to whoever is primary then."""

    async def connect(*_: object, **given: Any) -> Any:
        return await asyncpg.connect(
            **hosts(mirror.ready(service)), target_session_attrs="primary", **settings, **given
        )

    return asyncpg.create_pool(connect=connect, min_size=0)


async def follow(mirror: Mirror, pool: Any) -> None:
    """Have every connection made anew after a change, when it is next taken from the pool."""
    async for _ in mirror.changes():
        await pool.expire_connections()


async def main() -> None:
    async with (
        Discovery() as discovery,
        discovery.mirror("db") as mirror,
        pool_of(mirror, "db", user="app", database="shop") as pool,
        asyncio.TaskGroup() as tasks,
    ):
        following = tasks.create_task(follow(mirror, pool))
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(await pool.execute(line), flush=True)
        following.cancel()


if __name__ == "__main__":
    asyncio.run(main())
