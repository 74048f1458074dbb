"""The file of the Unix socket: who may listen there, and who may connect."""

import errno
import fcntl
import os
import socket
import stat

from gossipd.errors import StorageError


class SocketFile:
    """The right to listen at *path*, and the socket there: one holder at a time, by a lock on a file beside it.

    The lock file stays when the socket goes, because removing a lock file is a race; the kernel frees the lock itself
    with the process, so it can never be stale.
    """

    def __init__(self, path: str, *, mode: int) -> None:
        self._path = path
        os.makedirs(os.path.dirname(path) or ".", mode=0o755, exist_ok=True)
        self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._take_over()
            self.socket.setblocking(False)
            os.fchmod(self.socket.fileno(), mode)  # what bind starts from, so that the file is never wider than *mode*
            self.socket.bind(path)
            os.chmod(path, mode)  # what the umask took away
            found = os.stat(path)
            self._identity = (found.st_dev, found.st_ino)
            self.socket.listen(128)
        except BaseException:
            self.socket.close()
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Stop listening and remove the socket, unless something else stands in its place by now."""
        try:
            found = os.lstat(self._path)
            if (found.st_dev, found.st_ino) == self._identity:
                os.unlink(self._path)
        except FileNotFoundError:
            pass
        self.socket.close()
        os.close(self._lock)

    def _take_over(self) -> None:
        """Make room at the path. Raises: StorageError if someone listens there, or what is there is no socket."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(f"another gossipd holds {self._path}; stop it, or choose another socket") from None
        try:
            if not stat.S_ISSOCK(os.lstat(self._path).st_mode):
                raise StorageError(f"{self._path} exists and is not a socket; move it away, or choose another path")
        except FileNotFoundError:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            failure = probe.connect_ex(self._path)
        if failure not in (errno.ECONNREFUSED, errno.ENOENT):  # it answered, or its backlog is full (EAGAIN)
            raise StorageError(f"another process listens on {self._path}; stop it, or choose another socket")
        os.unlink(self._path)
