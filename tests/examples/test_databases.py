"""Clients of databases follow the primary from one instance to another, as the examples of docs/howto do it."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from docs.howto.examples.postgres_pool import hosts
from docs.howto.examples.redis_client import primary_of
from gossipd.balancing import Endpoint
from gossipd.client import Discovery
from gossipd.errors import NoInstance
from simulations.reality.cluster import PATIENCE_S, Cluster, wait_until
from tests.examples.databases import HOST, Database, Postgres, Redis, serving
from tests.examples.programs import Program


class Scene:
    """Two databases of one service, registered at two daemons; the first is primary."""

    def __init__(self, cluster: Cluster, service: str, databases: list[Database]) -> None:
        self.service = service
        self.homes = dict(zip(databases, (cluster["n2"], cluster["n3"]), strict=True))
        self.first, self.second = databases
        self.give(self.first, "primary")
        self.give(self.second, "replica")
        wait_until(lambda: len(cluster["n1"].passing(service)) == 2, what="n1 knows both")

    def give(self, database: Database, role: str) -> None:
        """Let *database* be *role*, and say so in its metadata."""
        database.standby = role == "replica"
        row = {"port": database.port, "address": HOST, "metadata": {"role": role}}
        self.homes[database].call("register", name=self.service, id=f"{self.service}-{database.port}", kept=True, **row)

    def close(self) -> None:
        for database, home in self.homes.items():
            home.call("deregister", id=f"{self.service}-{database.port}")


@pytest.fixture
def scene(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Scene]:
    service, handler = request.param
    with ExitStack() as stack:
        scene = Scene(cluster, service, [stack.enter_context(serving(handler)) for _ in range(2)])
        stack.callback(scene.close)
        yield scene


REDIS: tuple[str, type[socketserver.StreamRequestHandler]] = ("cache", Redis)
POSTGRES: tuple[str, type[socketserver.StreamRequestHandler]] = ("db", Postgres)


@pytest.mark.slow
@pytest.mark.parametrize("scene", [REDIS], indirect=True)
def test_the_next_redis_command_goes_to_the_new_primary_once_the_mirror_knows_it(
    cluster: Cluster, scene: Scene
) -> None:
    roles: dict[int, str] = {}
    told = threading.Condition()

    def hear(_service: str, endpoints: tuple[Endpoint, ...]) -> None:
        with told:
            roles.update({endpoint.port: endpoint.metadata["role"] for endpoint in endpoints})
            told.notify_all()

    def give(database: Database, role: str) -> None:
        scene.give(database, role)
        with told:
            assert told.wait_for(lambda: roles[database.port] == role, PATIENCE_S)

    with (
        Discovery(cluster["n1"].socket) as discovery,
        discovery.mirror("cache") as mirror,
        primary_of(mirror, "cache") as cache,
    ):
        mirror.listen(hear, "cache")  # after the pool: whoever hears knows that the pool has heard
        assert cache.set("k", "1")
        give(scene.first, "replica")
        assert cache.get("k") == b"1", "nobody is primary: the last one is asked"
        give(scene.second, "primary")
        assert cache.set("k", "2")
    assert (scene.first.asked, scene.second.asked) == (["SET k 1", "GET k"], ["SET k 2"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scene", "program", "statement"),
    [(REDIS, "redis_client.py", "SET k v"), (POSTGRES, "postgres_pool.py", "select 'app: this'")],
    indirect=["scene"],
)
def test_the_example_follows_the_primary(cluster: Cluster, scene: Scene, program: str, statement: str) -> None:
    with Program(program, cluster["n1"]) as client:

        def asks(database: Database) -> bool:
            before, answers = len(database.asked), len(client.lines)
            client.say(statement)
            client.wait_lines(lambda lines: len(lines) > answers, what="an answer")
            return len(database.asked) > before

        assert asks(scene.first)
        scene.give(scene.first, "replica")
        scene.give(scene.second, "primary")
        wait_until(lambda: asks(scene.second), what="it asks the new primary")
        assert asks(scene.second)
        assert client.end() == 0


def test_no_database_is_an_error_and_not_localhost() -> None:
    with pytest.raises(NoInstance):
        hosts([])
