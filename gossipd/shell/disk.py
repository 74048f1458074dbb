"""The data directory: who we are, whom we met, what we were told to keep. Losing it costs no correctness (D11).

One daemon at a time, by a lock. A file is written whole beside the old one, fsynced, renamed over it, and the directory
fsynced, so a crash leaves the old or the new. A file that cannot be believed is set aside, and the daemon starts
without it. Everything here blocks: call it before the loop runs, or in a thread.
"""

import errno
import fcntl
import os
import stat
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from gossipd.errors import StorageError
from gossipd.ids import NodeId
from gossipd.limits import INTEGER_MAX
from gossipd.node.peers import PeerEntry
from gossipd.node.registrations import NOTHING_KEPT, Kept
from gossipd.shell import stored
from gossipd.shell.log import Log

LOCK, IDENTITY, PEERS, REGISTRATIONS = "lock", "identity.json", "peers.json", "registrations.json"

SET_ASIDE_MAX = 10
"""Unbelievable versions kept of each file; past it the last is overwritten."""

T = TypeVar("T")


class DataDirectory:
    """The directory at *path*, made if missing (0700) and locked until `close` or the end of the process.

    Raises: StorageError if it cannot be made, belongs to somebody else, or is used by another process.
    """

    def __init__(self, path: str, *, log: Log) -> None:
        self.path = path
        self._log = log
        try:
            os.makedirs(path, mode=0o700, exist_ok=True)
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise StorageError(f"data directory {path} cannot be used: {_reason(error)}") from None
        self._lock_fd = -1
        self._writing = threading.Lock()  # a write whose caller gave up may still be under way
        try:
            self._make_private()
            self._lock_fd = self._lock()
        except OSError as error:
            self.close()
            raise StorageError(f"data directory {path} cannot be used: {_reason(error)}") from None
        except StorageError:
            self.close()
            raise
        for name in (IDENTITY, PEERS, REGISTRATIONS):  # left by a crash while writing
            self._remove(f"{name}.tmp")

    def close(self) -> None:
        """Give the directory free for others; while a write hangs, only the end of the process does."""
        if not self._writing.acquire(blocking=False):
            return
        self._writing.release()
        for fd in (self._lock_fd, self._fd):
            if fd >= 0:
                os.close(fd)
        self._lock_fd = self._fd = -1

    def load_identity(self) -> stored.Identity | None:
        return self._load(IDENTITY, stored.IDENTITY_BYTES_MAX, stored.decode_identity_untrusted, None)

    def load_peers(self, *, now_ms: int) -> list[PeerEntry]:
        return self._load(
            PEERS, stored.PEERS_BYTES_MAX, lambda data: stored.decode_peers_untrusted(data, now_ms=now_ms), []
        )

    def load_registrations(self, *, now_ms: int) -> Kept:
        return self._load(
            REGISTRATIONS,
            stored.REGISTRATIONS_BYTES_MAX,
            lambda data: stored.decode_registrations_untrusted(data, now_ms=now_ms),
            NOTHING_KEPT,
        )

    def save_identity(self, identity: stored.Identity) -> None:
        """Raises: OSError, then the former identity is still there. So do the others."""
        self._replace(IDENTITY, stored.encode_identity(identity))

    def save_peers(self, peers: Sequence[PeerEntry], *, now_ms: int) -> None:
        self._replace(PEERS, stored.encode_peers(peers, saved_ms=now_ms))

    def save_registrations(self, kept: Kept, *, now_ms: int) -> None:
        self._replace(REGISTRATIONS, stored.encode_registrations(kept, saved_ms=now_ms))

    def claim_epoch(self, name: NodeId, *, now_ms: int) -> int:
        """Return an epoch above every former one, on disk before anybody hears of it.

        A disk that cannot take it does not stop the daemon: should the clock be set back as well, the others will tell
        us the epoch we had (`EpochRaised`).
        """
        before = self.load_identity()
        epoch = max(1, now_ms) if before is None else max(before.epoch + 1, now_ms)
        epoch = min(epoch, INTEGER_MAX)  # whoever forged one so late had the key; none beyond it can be written or read
        if before is not None and before.name != name:
            self._log.info("this data directory was another node's", former=before.name, name=name)
        try:
            self.save_identity(stored.Identity(name=name, epoch=epoch))
        except OSError as error:
            self._log.error("identity cannot be saved", directory=self.path, error=_reason(error))
        return epoch

    def _make_private(self) -> None:
        """Take the directory from everybody else. Raises: StorageError if others could have written into it."""
        status = os.fstat(self._fd)
        if status.st_uid not in (os.geteuid(), 0):
            raise StorageError(f"data directory {self.path} belongs to user {status.st_uid}, expected {os.geteuid()}")
        if stat.S_IMODE(status.st_mode) & 0o077:
            try:
                os.fchmod(self._fd, 0o700)
            except OSError as error:
                if status.st_mode & 0o022:
                    raise
                self._log.warning("data directory is readable by others", directory=self.path, error=_reason(error))

    def _lock(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            fd = os.open(LOCK, flags, 0o600, dir_fd=self._fd)
        except OSError as error:
            raise StorageError(f"data directory {self.path} cannot be used: {LOCK}: {_reason(error)}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(fd, 0)
            _write_all(fd, f"{os.getpid()}\n".encode())
        except BlockingIOError:
            holder = os.read(fd, 32).strip()
            os.close(fd)
            who = f"process {int(holder)}" if holder.isdigit() else "another process"
            raise StorageError(f"data directory {self.path} is used by {who}") from None
        except OSError as error:
            if error.errno == errno.ENOSPC:  # the lock holds without the number in it
                return fd
            os.close(fd)
            raise
        return fd

    def _load(self, name: str, bytes_max: int, decode: Callable[[bytes], T], missing: T) -> T:
        """Return what *name* says, or *missing* if there is no such file or it had to be set aside."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._fd)
        except FileNotFoundError:
            return missing
        except OSError as error:
            self._set_aside(name, _reason(error))
            return missing
        try:
            try:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise ValueError("not a regular file")
                with open(fd, "rb", closefd=False) as file:
                    data = file.read(bytes_max + 1)
            finally:
                os.close(fd)
            if len(data) > bytes_max:
                raise ValueError(f"more than {bytes_max} bytes")
            return decode(data)
        except OSError as error:
            self._set_aside(name, _reason(error))
        except ValueError as error:
            self._set_aside(name, str(error))
        return missing

    def _set_aside(self, name: str, reason: str) -> None:
        """Rename the file *name* so that a person can look at it and nothing reads it again."""
        number = 1
        while number < SET_ASIDE_MAX and self._exists(f"{name}.bad-{number}"):
            number += 1
        aside = f"{name}.bad-{number}"
        try:
            os.rename(name, aside, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        except OSError as error:
            self._log.error("file cannot be set aside", file=f"{self.path}/{name}", error=_reason(error))
        self._log.error("file set aside, starting without it", file=f"{self.path}/{name}", to=aside, reason=reason)

    def _replace(self, name: str, data: bytes) -> None:
        """Write *data* as the file *name*, all of it or none."""
        with self._writing:
            self._replace_alone(name, data)

    def _replace_alone(self, name: str, data: bytes) -> None:
        new = f"{name}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            fd = os.open(new, flags, 0o600, dir_fd=self._fd)
            try:
                _write_all(fd, data)
                os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(new, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        except OSError:
            self._remove(new)
            raise
        os.fsync(self._fd)

    def _exists(self, name: str) -> bool:
        try:
            os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except OSError:
            return False
        return True

    def _remove(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self._fd)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._log.warning("file cannot be removed", file=f"{self.path}/{name}", error=_reason(error))


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
