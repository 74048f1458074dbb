"""Where the daemon's socket is looked for, and whether it may be trusted there. Stdlib only."""

import os
import stat
from collections.abc import Mapping

SYSTEM_SOCKET = "/run/gossipd/gossipd.sock"
"""Where the daemon of the host listens."""


def user_directory(uid: int) -> str:
    """Return the directory that holds the socket of *uid*'s own daemon where the system gives users none."""
    return f"/tmp/gossipd-{uid}"


def socket_places(environ: Mapping[str, str], *, uid: int | None = None) -> tuple[str, ...]:
    """Return where a daemon of *uid* (None: of this process) listens, followed by where else its clients look.

    GOSSIPD_SOCKET alone, if it is set. Else the user's own: for root, and for whom /run/gossipd belongs to, SYSTEM_SOCKET;
    else `gossipd.sock` in XDG_RUNTIME_DIR, if that is a directory of this user; else in `user_directory`. Then
    SYSTEM_SOCKET: who runs no daemon means the host's.
    """
    chosen = environ.get("GOSSIPD_SOCKET")
    if chosen:
        return (chosen,)
    uid = os.geteuid() if uid is None else uid
    if uid == 0:
        return (SYSTEM_SOCKET,)
    name = os.path.basename(SYSTEM_SOCKET)
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and _owner(runtime) == uid:
        return (os.path.join(runtime, name), SYSTEM_SOCKET)
    if _owner(os.path.dirname(SYSTEM_SOCKET)) == uid:
        return (SYSTEM_SOCKET,)
    return (os.path.join(user_directory(uid), name), SYSTEM_SOCKET)


def distrusted(path: str, *, uid: int | None = None) -> str | None:
    """Return why nobody of *uid* should use the socket at *path*, or None: in /tmp others may have been there first."""
    uid = os.geteuid() if uid is None else uid
    directory = os.path.dirname(path)
    if directory != user_directory(uid):
        return None
    try:
        found = os.lstat(directory)
    except OSError:
        return None
    if stat.S_ISDIR(found.st_mode) and found.st_uid == uid and not found.st_mode & 0o077:
        return None
    return f"{directory} is not trusted, expected a directory of user {uid} with mode 0700: remove it, or choose another socket"


def _owner(directory: str) -> int | None:
    """Return whom *directory* belongs to; None if it is none."""
    try:
        found = os.stat(directory)
    except (OSError, ValueError):
        return None
    return found.st_uid if stat.S_ISDIR(found.st_mode) else None
