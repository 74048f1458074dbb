"""How a blocking client reaches the daemon: the first place where one answers. Stdlib only."""

import socket
import time
from collections.abc import Sequence

from gossipd.client.places import distrusted
from gossipd.errors import RequestError

CONNECT_RETRY_S = 0.01
"""Pause between two tries to connect to a daemon that is busy."""


def connect(places: Sequence[str], *, timeout_s: float) -> tuple[socket.socket, str]:
    """Return a connection to the first of *places* where somebody listens, and that place.

    *timeout_s* bounds the wait for a daemon that is busy. Raises: RequestError `no_daemon` or `no_permission`.
    """
    for place in places:
        opened = _connect(place, timeout_s)
        if opened is not None:
            return opened, place
    raise no_daemon(places)


def trusted(path: str) -> None:
    """Raise RequestError `no_daemon` if nobody should use the socket at *path*."""
    why = distrusted(path)
    if why is not None:
        raise RequestError("no_daemon", why)


def refused(path: str, error: OSError) -> RequestError | None:
    """Return what *error* means, met while connecting to *path*; None: nobody listens there."""
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return None
    if isinstance(error, PermissionError):
        message = f"no permission to open {path}: does this user belong to the group of the socket?"
        return RequestError("no_permission", message)
    return RequestError("no_daemon", f"no gossipd answers at {path}: {error.strerror or error}")


def no_daemon(places: Sequence[str]) -> RequestError:
    """Nobody listens at any of *places*."""
    return RequestError(
        "no_daemon",
        f"no gossipd answers at {' or '.join(places)}: is it running? Start it with `gossipd run`, or say where its socket is",
    )


def _connect(path: str, timeout_s: float) -> socket.socket | None:
    trusted(path)
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    opened.settimeout(timeout_s)
    try:
        _reach(opened, path, timeout_s)
    except OSError as error:
        opened.close()
        meaning = refused(path, error)
        if meaning is not None:
            raise meaning from None
        return None
    return opened


def _reach(opened: socket.socket, path: str, timeout_s: float) -> None:
    """Connect *opened*. A full queue of connections is an error at once on a Unix socket: wait for it here."""
    patience_ends = time.monotonic() + timeout_s
    while True:
        try:
            opened.connect(path)
            return
        except BlockingIOError:
            if time.monotonic() >= patience_ends:
                raise TimeoutError(f"it takes no connection within {timeout_s:g} s") from None
            time.sleep(CONNECT_RETRY_S)
