"""What the blocking and the async client say alike: errors that tell what to do, and the parameters of a watch."""

from collections.abc import Iterable

from gossipd.client.session import Session
from gossipd.errors import RequestError
from gossipd.limits import MIRROR_LISTENERS_MAX

AWAY = ("disconnected", "no_daemon", "timeout")
"""Codes that mean: the daemon does not answer."""


def closed(what: str = "client") -> RequestError:
    """The client, or its mirror, was closed."""
    return RequestError("closed", f"this {what} is closed: make another, or ask before the end of its `with` block")


def not_open(what: str) -> RequestError:
    """Something of async code was used that nobody has entered."""
    return RequestError("closed", f"it is not open yet: use it inside `async with {what} as ...:`")


def forked() -> RequestError:
    """The client was made by the parent of this process."""
    return RequestError(
        "forked", "this client belongs to the parent of this process: make one in each process, after the fork"
    )


def wrong_loop() -> RequestError:
    """The async client was entered in another event loop."""
    message = "this client belongs to another event loop: make one in each, or come back with `anyio.from_thread.run`"
    return RequestError("wrong_loop", message)


def hung_up(path: str, error: OSError | None = None) -> RequestError:
    """The daemon at *path* ended the connection."""
    why = f": {error.strerror or error}" if error is not None else " closed the connection: has it stopped?"
    return RequestError("disconnected", f"gossipd at {path}{why}")


def late(path: str, timeout_s: float | None, session: Session) -> RequestError:
    """Nothing was heard from the daemon at *path* within *timeout_s*, and why."""
    if session.connected or session.trouble is None:
        return RequestError("timeout", f"gossipd at {path} said nothing within {timeout_s:g} s")
    return RequestError("disconnected", f"gossipd did not come back within {timeout_s:g} s: {session.trouble}")


def unchanged(services: Iterable[str], timeout_s: float | None) -> RequestError:
    """No change of a mirror came within *timeout_s*."""
    return RequestError("timeout", f"nothing of {', '.join(services)} changed within {timeout_s:g} s")


def too_many_listeners() -> RequestError:
    """A mirror has as many listeners as it may have."""
    message = f"the mirror has {MIRROR_LISTENERS_MAX} listeners, balancers and calls, expected fewer: make them once, and keep them"
    return RequestError("too_many_listeners", message)


def watch_params(service: str | None, members: bool, services: bool | None, since: int | None) -> dict[str, object]:
    """Return the parameters of `watch`."""
    return {"service": service, "members": members or None, "services": services, "since": since}
