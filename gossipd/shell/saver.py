"""When the data directory is written: registrations and identity at once, the peer book now and then and at the end.

Writing happens in a thread and never holds the loop. A disk that fails is logged, counted and tried again.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

import trio

from gossipd.core.events import EpochRaised, Event, MemberChanged, RegistrationsChanged
from gossipd.ids import NodeId
from gossipd.node.peers import PeerEntry
from gossipd.node.registrations import Kept
from gossipd.shell.log import Log
from gossipd.shell.stored import Identity

PEERS_INTERVAL_S = 30.0
"""Least seconds between two writings of the peer book, however fast members come and go."""

PEERS_REFRESH_S = 3_600.0
"""Most seconds between two: its ages are those of the last change, and after a crash every peer would look old."""

RETRY_MIN_S, RETRY_MAX_S = 1.0, 30.0
"""Wait after a failed write, doubled each time until one succeeds (serf retries a full disk each 30 s)."""

LAST_SAVE_S = 5.0
"""Seconds that the last writing may hold up the exit: a dead disk must not keep the process."""


class Directory(Protocol):
    """Where it is kept: `gossipd.shell.disk.DataDirectory`. Each may raise OSError."""

    def save_identity(self, identity: Identity) -> None: ...
    def save_peers(self, peers: Sequence[PeerEntry], *, now_ms: int) -> None: ...
    def save_registrations(self, kept: Kept, *, now_ms: int) -> None: ...


async def in_thread(write: Callable[[], None]) -> None:
    """Call *write* where it does not hold the loop; cancelled, leave it to finish by itself."""
    await trio.to_thread.run_sync(write, abandon_on_cancel=True)


class Saver:
    """Keeps *directory* up to date with what the callables return; `hear` tells it what changed."""

    def __init__(
        self,
        directory: Directory,
        *,
        me: NodeId,
        epoch: Callable[[], int],
        peers: Callable[[], Sequence[PeerEntry]],
        kept: Callable[[], Kept],
        log: Log,
        wall_clock: Callable[[], float] = time.time,
        call: Callable[[Callable[[], None]], Awaitable[None]] = in_thread,
    ) -> None:
        self._directory = directory
        self._me = me
        self._epoch = epoch
        self._peers = peers
        self._kept = kept
        self._log = log
        self._wall_clock = wall_clock
        self._call = call
        self._identity_due = self._kept_due = self._peers_due = False
        self._wake = trio.Event()
        self._retry_s = RETRY_MIN_S
        self.failures = 0
        """Writes that the disk refused."""

    def hear(self, events: Sequence[Event]) -> None:
        """Note which of *events* must reach the disk; a subscriber of the driver."""
        for event in events:
            match event:
                case RegistrationsChanged():
                    self._kept_due = True
                case EpochRaised():
                    self._identity_due = True
                case MemberChanged():
                    if self._peers_due:
                        continue
                    self._peers_due = True
                case _:
                    continue
            self._wake.set()

    async def run(self) -> None:
        """Write what is due, when it is due, until cancelled."""
        now = trio.current_time()
        peers_next = now + PEERS_INTERVAL_S
        peers_latest = now + PEERS_REFRESH_S
        while True:
            self._wake = trio.Event()
            if not (self._identity_due or self._kept_due):
                with trio.move_on_at(peers_next if self._peers_due else peers_latest):
                    await self._wake.wait()
                    continue
            now = trio.current_time()
            done = await self._save_urgent()
            if now >= peers_latest or (self._peers_due and now >= peers_next):
                done = await self._save_peers() and done
                if done:
                    peers_next, peers_latest = now + PEERS_INTERVAL_S, now + PEERS_REFRESH_S
            await self._pause_after(done)

    async def save_last(self) -> None:
        """Write everything once more, also while being cancelled, within LAST_SAVE_S."""
        with trio.move_on_after(LAST_SAVE_S, shield=True):
            await self._save_urgent()
            await self._save_peers()

    async def _pause_after(self, done: bool) -> None:
        if done:
            self._retry_s = RETRY_MIN_S
        else:
            await trio.sleep(self._retry_s)
            self._retry_s = min(2 * self._retry_s, RETRY_MAX_S)

    async def _save_urgent(self) -> bool:
        """Write identity and registrations if they are due; return whether nothing is due any more."""
        if self._identity_due:
            self._identity_due = False
            identity = Identity(name=self._me, epoch=self._epoch())
            self._identity_due = not await self._write("identity", partial(self._directory.save_identity, identity))
        if self._kept_due:
            self._kept_due = False
            kept, now_ms = self._kept(), int(self._wall_clock() * 1000)
            if not await self._write("registrations", partial(self._directory.save_registrations, kept, now_ms=now_ms)):
                self._kept_due = True
        return not (self._identity_due or self._kept_due)

    async def _save_peers(self) -> bool:
        self._peers_due = False
        peers, now_ms = list(self._peers()), int(self._wall_clock() * 1000)
        if not await self._write("peers", partial(self._directory.save_peers, peers, now_ms=now_ms)):
            self._peers_due = True
        return not self._peers_due

    async def _write(self, what: str, write: Callable[[], None]) -> bool:
        """Call *write* in a thread; return whether it succeeded."""
        try:
            await self._call(write)
        except OSError as error:
            self.failures += 1
            reason = (error.strerror or str(error)).lower()
            self._log.error("data directory cannot be written, trying again", what=what, error=reason)
            return False
        return True
