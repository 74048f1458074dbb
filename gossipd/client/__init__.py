"""Floor 4: the daemon beside an application, asked over its local socket. Brings in neither the daemon nor what it needs.

places       where the socket is
protocol     the conversation without a socket: requests out, answers and events in, when to connect again
session      what outlives a connection: registrations, watches, unanswered requests
answers      what is asked and answered, as values
patience     how long a caller waits
connecting   how a socket is reached
connection   `Client`: one blocking connection, for commands and scripts
base         what clients of both kinds are
blocking     `Discovery`: for applications, over as many connections as it takes
aio          the same for asyncio and trio; these modules alone import anyio
holding      a registration for as long as a block runs
copying      the instances of chosen services, as watches tell them
mirror       a copy of these that is kept up to date, by a thread
aio_mirror   the same, by a task
attempting   one call with its retries
transport    `http://web.gossip/` for httpx; this and the next two import httpx, nothing else does
aio_transport    the same for httpx's async client
transport_rules  what both decide: which URLs are ours, what failed, what is sent again
wording      what clients of both kinds say alike
"""

from importlib import import_module
from typing import TYPE_CHECKING

from gossipd.client.connection import Client
from gossipd.client.places import SYSTEM_SOCKET, distrusted, socket_places, user_directory

if TYPE_CHECKING:
    from gossipd.client.answers import Answer, View, methods_of
    from gossipd.client.attempting import retrying
    from gossipd.client.blocking import Discovery
    from gossipd.client.holding import Registered
    from gossipd.client.mirror import Mirror
    from gossipd.client.protocol import Backoff

__all__ = [
    "SYSTEM_SOCKET",
    "Answer",
    "Backoff",
    "Client",
    "Discovery",
    "Mirror",
    "Registered",
    "View",
    "distrusted",
    "methods_of",
    "retrying",
    "socket_places",
    "user_directory",
]

_LATER = {
    "Answer": "answers",
    "Backoff": "protocol",
    "Discovery": "blocking",
    "Mirror": "mirror",
    "Registered": "holding",
    "View": "answers",
    "methods_of": "answers",
    "retrying": "attempting",
}


def __getattr__(name: str) -> object:
    """Import what only applications need when they first name it: a command starts quickly without."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
