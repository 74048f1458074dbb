"""A name is all its addresses, is never given up, and never holds anybody up."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock

from gossipd.ids import Address
from gossipd.limits import SEEDS_MAX
from gossipd.shell.resolve import REFRESH_S, RETRY_S, Seeds, resolve
from tests.shell.fakes import ReadableLog

pytestmark = pytest.mark.trio

Row = tuple[int, int, int, str, tuple[object, ...]]


@dataclass
class FakeResolver(trio.abc.HostnameResolver):
    """Answers from *hosts*; what is not there does not resolve; "slow" never answers."""

    hosts: dict[str, list[str]]
    asked: list[str] = field(default_factory=list)

    async def getaddrinfo(  # type: ignore[override]
        self, host: bytes, port: int, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Row]:
        name = host.decode()
        self.asked.append(name)
        if name == "slow":
            await trio.sleep_forever()
        if name not in self.hosts:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6, type, 17, "", (ip, port, 0, 0))
            if ":" in ip
            else (socket.AF_INET, type, 17, "", (ip, port))
            for ip in self.hosts[name]
        ]

    async def getnameinfo(self, sockaddr: object, flags: int) -> tuple[str, str]:
        raise NotImplementedError


@pytest.fixture
async def resolver() -> FakeResolver:
    made = FakeResolver({"seed": ["192.0.2.1", "192.0.2.2", "2001:db8::1", "fe80::1%eth0", "192.0.2.1"]})
    trio.socket.set_custom_hostname_resolver(made)
    return made


async def test_a_name_is_all_its_addresses_that_we_can_reach(resolver: FakeResolver) -> None:
    assert await resolve("seed", default_port=7950) == [
        Address("192.0.2.1", 7950),
        Address("192.0.2.2", 7950),
        Address("2001:db8::1", 7950),
    ]
    assert resolver.asked == ["seed"]
    only = await resolve("seed:8000", default_port=7950, families=[socket.AF_INET6])
    assert only == [Address("2001:db8::1", 8000)]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.9", Address("192.0.2.9", 7950)),
        ("[2001:DB8::9]:80", Address("2001:db8::9", 80)),
        ("::ffff:192.0.2.9", Address("192.0.2.9", 7950)),
    ],
)
async def test_an_address_is_not_looked_up(resolver: FakeResolver, text: str, address: Address) -> None:
    assert await resolve(text, default_port=7950) == [address]
    assert resolver.asked == []


async def test_what_does_not_resolve_is_told_in_words(autojump_clock: MockClock, resolver: FakeResolver) -> None:
    with pytest.raises(OSError, match=r"^unknown cannot be resolved: Name or service not known$"):
        await resolve("unknown", default_port=7950)
    started_at = autojump_clock.current_time()
    with pytest.raises(OSError, match=r"^slow cannot be resolved: no answer within 10 s$"):
        await resolve("slow", default_port=7950)
    assert autojump_clock.current_time() - started_at == pytest.approx(10)
    with pytest.raises(OSError, match=r"^seed has no address that this daemon can reach$"):
        await resolve("seed", default_port=7950, families=[])
    with pytest.raises(ValueError, match="expected a port"):
        await resolve("seed:", default_port=7950)
    assert resolver.asked == ["unknown", "slow", "seed"]


@dataclass
class Told:
    """What seeds were applied, in order."""

    rounds: list[list[Address]] = field(default_factory=list)

    def __call__(self, seeds: Sequence[Address]) -> None:
        self.rounds.append(list(seeds))


def the_seeds(targets: Sequence[str], told: Told, readable: ReadableLog) -> Seeds:
    return Seeds(
        targets,
        default_port=7950,
        families=[socket.AF_INET],
        apply=told,
        log=readable.log,
    )


async def test_an_unresolved_name_is_tried_for_ever_and_holds_up_nobody(
    autojump_clock: MockClock, nursery: trio.Nursery, resolver: FakeResolver, readable: ReadableLog
) -> None:
    told = Told()
    nursery.start_soon(the_seeds(["192.0.2.9", "later", "slow"], told, readable).run)
    await trio.sleep_until(autojump_clock.current_time() + 0.5)
    assert told.rounds == [[Address("192.0.2.9", 7950)]]
    await trio.sleep(1_000 * RETRY_S)
    assert resolver.asked.count("later") > 500
    resolver.hosts["later"] = ["192.0.2.10"]
    await trio.sleep(3 * RETRY_S)
    assert told.rounds[1:] == [[Address("192.0.2.9", 7950), Address("192.0.2.10", 7950)]]
    assert "seed not resolved, trying again seed=" in readable.lines()[0]
    nursery.cancel_scope.cancel()


async def test_names_are_looked_up_again_and_a_failure_keeps_the_last_answer(
    autojump_clock: MockClock, nursery: trio.Nursery, resolver: FakeResolver, readable: ReadableLog
) -> None:
    told = Told()
    nursery.start_soon(the_seeds(["seed"], told, readable).run)
    await trio.sleep_until(autojump_clock.current_time() + 1)
    resolver.hosts["seed"].reverse()  # no news
    await trio.sleep(REFRESH_S)
    del resolver.hosts["seed"]
    await trio.sleep(REFRESH_S)
    resolver.hosts["seed"] = ["192.0.2.77"]
    await trio.sleep(2 * REFRESH_S)
    assert told.rounds == [
        [Address("192.0.2.1", 7950), Address("192.0.2.2", 7950)],
        [Address("192.0.2.77", 7950)],
    ]
    nursery.cancel_scope.cancel()


async def test_new_targets_replace_the_old(
    autojump_clock: MockClock, nursery: trio.Nursery, resolver: FakeResolver, readable: ReadableLog
) -> None:
    told = Told()
    seeds = the_seeds(["192.0.2.9"], told, readable)
    nursery.start_soon(seeds.run)
    await trio.sleep_until(autojump_clock.current_time() + 1_000_000)
    seeds.set_targets(["seed"])
    await trio.sleep(1)
    seeds.set_targets([])
    await trio.sleep(1)
    assert [len(seeds) for seeds in told.rounds] == [1, 2, 0]
    assert resolver.asked == ["seed"]
    nursery.cancel_scope.cancel()


async def test_seeds_are_bounded(
    autojump_clock: MockClock, nursery: trio.Nursery, resolver: FakeResolver, readable: ReadableLog
) -> None:
    resolver.hosts["many"] = [f"192.0.{number // 250}.{number % 250}" for number in range(SEEDS_MAX + 50)]
    told = Told()
    nursery.start_soon(the_seeds(["many"], told, readable).run)
    await trio.sleep_until(autojump_clock.current_time() + 1)
    assert [len(seeds) for seeds in told.rounds] == [SEEDS_MAX]
    assert f"too many seeds, the last are not used found={SEEDS_MAX + 50}" in readable.lines()[0]
    nursery.cancel_scope.cancel()
