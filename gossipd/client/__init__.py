"""Floor 4: the daemon beside an application, asked over its local socket. Brings in neither the daemon nor what it needs.

places       where the socket is
protocol     the conversation without a socket: requests out, answers and events in, when to connect again
connection   `Client`: one blocking connection, for commands and scripts
"""

from gossipd.client.connection import Client
from gossipd.client.places import SYSTEM_SOCKET, distrusted, socket_places, user_directory

__all__ = ["SYSTEM_SOCKET", "Client", "distrusted", "socket_places", "user_directory"]
