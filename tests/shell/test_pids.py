"""The end of a process is told once, soon and of the right process, with a pidfd and without."""

import os
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress

import pytest
import trio

from gossipd.shell.pids import Pids, pidfd

pytestmark = pytest.mark.trio

DEADLINE_S = 10.0


def no_pidfd(_: int) -> int | None:
    """As on a kernel that has none."""
    return None


WAYS = pytest.mark.parametrize("open_pidfd", [pidfd, no_pidfd])


class Heard:
    """The pids that were told, in order."""

    def __init__(self) -> None:
        self.pids: list[int] = []
        self._news = trio.Event()

    def __call__(self, pid: int) -> None:
        self.pids.append(pid)
        self._news.set()

    async def wait(self, count: int) -> None:
        with trio.fail_after(DEADLINE_S):
            while len(self.pids) < count:
                await self._news.wait()
                self._news = trio.Event()


@asynccontextmanager
async def watching(
    heard: Heard, open_pidfd: Callable[[int], int | None], *, pidfds_max: int | None = None
) -> AsyncIterator[Pids]:
    pids = Pids(heard, open_pidfd=open_pidfd, pidfds_max=pidfds_max)
    async with trio.open_nursery() as nursery:
        await nursery.start(pids.run)
        yield pids
        nursery.cancel_scope.cancel()


def a_process() -> subprocess.Popen[bytes]:
    """One that lives until its input ends."""
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)


@WAYS
async def test_the_end_of_a_process_is_told_once(open_pidfd: Callable[[int], int | None]) -> None:
    heard = Heard()
    with a_process() as first, a_process() as second:
        async with watching(heard, open_pidfd) as pids:
            for pid in (first.pid, second.pid, first.pid):
                pids.watch(pid)
            assert len(pids) == 2
            first.kill()
            await heard.wait(1)  # nobody has waited for it yet: a zombie has ended, too
            second.kill()
            await heard.wait(2)
            assert (heard.pids, len(pids)) == ([first.pid, second.pid], 0)


@WAYS
async def test_a_process_that_is_gone_is_told_soon_but_not_at_once(open_pidfd: Callable[[int], int | None]) -> None:
    with a_process() as gone:
        gone.kill()
    heard = Heard()
    async with watching(heard, open_pidfd) as pids:
        pids.watch(gone.pid)
        assert heard.pids == []
        await heard.wait(1)
        assert heard.pids == [gone.pid]


@WAYS
async def test_what_nobody_asks_about_any_more_is_not_told(open_pidfd: Callable[[int], int | None]) -> None:
    heard = Heard()
    with a_process() as one, a_process() as other:
        async with watching(heard, open_pidfd) as pids:
            pids.watch(one.pid)
            pids.watch(other.pid)
            pids.unwatch(one.pid)
            pids.unwatch(one.pid)
            one.kill()
            other.kill()
            await heard.wait(1)
            assert heard.pids == [other.pid]


async def test_no_descriptor_is_left_behind() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with a_process() as process:
        async with watching(Heard(), pidfd) as pids:
            pids.watch(process.pid)
            pids.unwatch(process.pid)
            pids.watch(process.pid)
        process.kill()
    assert len(os.listdir("/proc/self/fd")) <= before


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Nothing more can be opened."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as held:
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 8, limits[1]))
        held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        with suppress(OSError):
            while True:
                held.callback(os.close, os.open("/dev/null", os.O_RDONLY))
        yield


async def test_who_has_no_descriptor_left_takes_nobody_for_dead() -> None:
    with a_process() as gone:
        gone.kill()
    heard = Heard()
    with a_process() as process:
        async with watching(heard, pidfd) as pids:
            with no_descriptor_left():
                pids.watch(process.pid)
                pids.watch(gone.pid)
                await heard.wait(1)
            process.kill()
            await heard.wait(2)
    assert heard.pids == [gone.pid, process.pid]


async def test_pidfds_leave_descriptors_for_others() -> None:
    opened: list[int] = []

    def open_pidfd(pid: int) -> int | None:
        opened.append(pid)
        return pidfd(pid)

    heard = Heard()
    with a_process() as first, a_process() as second:
        async with watching(heard, open_pidfd, pidfds_max=1) as pids:
            pids.watch(first.pid)
            pids.watch(second.pid)
            second.kill()
            await heard.wait(1)
            first.kill()
            await heard.wait(2)
            with a_process() as third:
                pids.watch(third.pid)
                third.kill()
                await heard.wait(3)
    assert opened == [first.pid, third.pid]
