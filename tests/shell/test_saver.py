"""Registrations reach the disk at once, the peer book now and then and at the end, and a bad disk is tried again."""

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock

from gossipd.core.events import EpochRaised, MemberChanged, Overslept, RegistrationsChanged
from gossipd.ids import Address, Incarnation, NodeId
from gossipd.node.peers import PeerEntry
from gossipd.node.registrations import Kept, KeptRegistration
from gossipd.records import Service, Status
from gossipd.shell.saver import PEERS_INTERVAL_S, PEERS_REFRESH_S, Saver
from gossipd.shell.stored import Identity
from tests.shell.fakes import ReadableLog

pytestmark = pytest.mark.trio

ANN = NodeId("ann")
WEB = Service(name="web", id="web", port=80)
JOINED = MemberChanged(
    member=NodeId("bob"),
    before=None,
    after=Status.ALIVE,
    incarnation=Incarnation(1, 0),
    address=Address("127.0.0.1", 1),
    accuser=NodeId("bob"),
    source=NodeId("bob"),
    how="gossip",
)


@dataclass
class FakeDirectory:
    """Notes what is saved, and fails the first *failing* times."""

    failing: int = 0
    saved: list[str] = field(default_factory=list)

    def _save(self, what: str) -> None:
        if self.failing:
            self.failing -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        self.saved.append(what)

    def save_identity(self, identity: Identity) -> None:
        self._save(f"identity {identity.epoch}")

    def save_peers(self, peers: Sequence[PeerEntry], *, now_ms: int) -> None:
        self._save(f"peers {len(peers)}")

    def save_registrations(self, kept: Kept, *, now_ms: int) -> None:
        self._save(f"registrations {len(kept.registrations)}")


def a_saver(directory: FakeDirectory, readable: ReadableLog) -> Saver:
    return Saver(
        directory,
        me=ANN,
        epoch=lambda: 7,
        peers=lambda: [],
        kept=lambda: Kept(registrations=(KeptRegistration(service=WEB),)),
        log=readable.log,
        call=at_once,
    )


async def at_once(write: Callable[[], None]) -> None:
    write()


async def test_registrations_and_identity_are_saved_at_once(
    autojump_clock: MockClock, nursery: trio.Nursery, readable: ReadableLog
) -> None:
    directory = FakeDirectory()
    saver = a_saver(directory, readable)
    nursery.start_soon(saver.run)
    saver.hear([RegistrationsChanged(), Overslept(by_s=1.0), EpochRaised(epoch=7), RegistrationsChanged()])
    await trio.sleep_until(autojump_clock.current_time() + 0.1)
    assert directory.saved == ["identity 7", "registrations 1"]
    nursery.cancel_scope.cancel()


async def test_the_peer_book_is_saved_now_and_then_however_much_happens(
    autojump_clock: MockClock, nursery: trio.Nursery, readable: ReadableLog
) -> None:
    directory = FakeDirectory()
    saver = a_saver(directory, readable)
    nursery.start_soon(saver.run)
    started_at = autojump_clock.current_time()
    for second in range(100):
        saver.hear([JOINED])
        await trio.sleep_until(started_at + second)
    assert directory.saved == ["peers 0"] * int(100 / PEERS_INTERVAL_S)
    nursery.cancel_scope.cancel()


async def test_a_quiet_cluster_is_saved_once_an_hour(
    autojump_clock: MockClock, nursery: trio.Nursery, readable: ReadableLog
) -> None:
    directory = FakeDirectory()
    nursery.start_soon(a_saver(directory, readable).run)
    await trio.sleep_until(autojump_clock.current_time() + 3.5 * PEERS_REFRESH_S)
    assert directory.saved == ["peers 0"] * 3
    nursery.cancel_scope.cancel()


async def test_a_full_disk_is_logged_and_tried_again(
    autojump_clock: MockClock, nursery: trio.Nursery, readable: ReadableLog
) -> None:
    directory = FakeDirectory(failing=4)
    saver = a_saver(directory, readable)
    nursery.start_soon(saver.run)
    saver.hear([RegistrationsChanged()])
    await trio.sleep_until(autojump_clock.current_time() + 20)
    assert directory.saved == ["registrations 1"]
    assert saver.failures == 4
    assert 'what=registrations error="no space left on device"' in readable.lines()[0]
    nursery.cancel_scope.cancel()


async def test_the_end_saves_the_peer_book_and_what_is_due_even_while_cancelled(readable: ReadableLog) -> None:
    directory = FakeDirectory()
    saver = a_saver(directory, readable)
    saver.hear([RegistrationsChanged()])
    with trio.CancelScope() as scope:
        scope.cancel()
        await saver.save_last()
    assert directory.saved == ["registrations 1", "peers 0"]
