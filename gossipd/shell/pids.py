"""Whose end ends a registration: processes are watched by pidfd, and where there is none, looked at now and then.

A number is given to a new process once the old one is gone; a pidfd, or the time at which the process began, tells them apart.
"""

import os
from collections.abc import Callable

import trio

LOOK_S = 0.25
"""Seconds between two looks at a process that has no pidfd (an old kernel, or no descriptor to spare)."""

PIDFDS_PART = 4
"""One in so many of the descriptors that the process may open may be a pidfd: the cluster and the clients need theirs."""


class Pids:
    """Calls *exited(pid)* once when a watched process ends, or soon if there is none; never before `watch` returns."""

    def __init__(
        self,
        exited: Callable[[int], None],
        *,
        open_pidfd: Callable[[int], int | None] | None = None,
        pidfds_max: int | None = None,
    ) -> None:
        """*open_pidfd* returns a descriptor that is readable once that process has ended, or None if there is none to be had."""
        self._exited = exited
        self._open_pidfd = open_pidfd or pidfd
        self._pidfds_max = os.sysconf("SC_OPEN_MAX") // PIDFDS_PART if pidfds_max is None else pidfds_max
        self._pidfds = 0
        self._watched: dict[int, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None

    def __len__(self) -> int:
        return len(self._watched)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own what watches, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    def watch(self, pid: int) -> None:
        """Watch *pid*; again does nothing. Bounded by the registrations that it is done for."""
        if pid in self._watched:
            return
        assert self._nursery is not None, "it does not run"
        scope = self._watched[pid] = trio.CancelScope()
        # Here, not in the task: nobody knows whom the number means by then.
        fd = self._open_pidfd(pid) if self._pidfds < self._pidfds_max else None
        self._pidfds += fd is not None
        self._nursery.start_soon(self._wait, pid, scope, fd, _began(pid))

    def unwatch(self, pid: int) -> None:
        """Nobody asks any more."""
        scope = self._watched.pop(pid, None)
        if scope is not None:
            scope.cancel()

    async def _wait(self, pid: int, scope: trio.CancelScope, fd: int | None, began: str | None) -> None:
        try:
            with scope:
                if fd is not None:
                    await trio.lowlevel.wait_readable(fd)
                else:
                    while began is not None and (seen := _began(pid)) is not None and seen in (began or seen, ""):
                        began = began or seen
                        await trio.sleep(LOOK_S)
        finally:
            if fd is not None:
                self._pidfds -= 1
                os.close(fd)
        if self._watched.get(pid) is scope:
            del self._watched[pid]
            self._exited(pid)


def pidfd(pid: int) -> int | None:
    """Return a descriptor that is readable once *pid* has ended; None if there is none to be had."""
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):
        return None


def _began(pid: int) -> str | None:
    """Return when process *pid* began, in ticks since boot; "" if it lives and that cannot be read (no descriptor left, a hidden
    /proc); None if there is none, or only its remains."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()  # the name before it may hold anything
    except OSError:
        return "" if exists(pid) else None
    return None if fields[0] in "ZX" else fields[19]


def exists(pid: int) -> bool:
    """Return whether there is a process *pid*, whosever it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
