"""Tell systemd how we are (sd_notify): ready, reloading, stopping, alive. Without systemd it does nothing.

Source: sd_notify(3), systemd.service(5). A message is one datagram to a Unix socket named by NOTIFY_SOCKET.
"""

import socket
import time
from collections.abc import Mapping

import trio


class Notifier:
    """Sends state to the socket at *path*, an abstract one if it begins with "@"; None: to nobody.

    Never blocks, never raises.
    """

    def __init__(self, path: str | None, *, watchdog_s: float | None = None) -> None:
        self._path = "\0" + path[1:] if path is not None and path.startswith("@") else path
        self.watchdog_s = watchdog_s if path is not None else None
        """Seconds within which systemd wants a sign of life; None: it does not ask."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], *, pid: int) -> "Notifier":
        """Return the notifier that *environment* asks of process *pid*; malformed values count as absent."""
        micros = environment.get("WATCHDOG_USEC", "")
        wanted = micros.isascii() and micros.isdigit() and int(micros) > 0
        if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
            wanted = False
        return cls(environment.get("NOTIFY_SOCKET") or None, watchdog_s=int(micros) / 1e6 if wanted else None)

    def ready(self, status: str) -> bool:
        return self._send(f"READY=1\nSTATUS={_one_line(status)}")

    def status(self, status: str) -> bool:
        return self._send(f"STATUS={_one_line(status)}")

    def reloading(self) -> bool:
        return self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> bool:
        return self._send(f"STOPPING=1\nSTATUS={_one_line(status)}")

    def alive(self) -> bool:
        return self._send("WATCHDOG=1")

    async def run_watchdog(self) -> None:
        """Give a sign of life twice in each `watchdog_s`; return at once when nobody asks for it."""
        while self.watchdog_s is not None:
            self.alive()
            await trio.sleep(self.watchdog_s / 2)

    def _send(self, message: str) -> bool:
        """Send *message*; return whether it went out."""
        if self._path is None:
            return False
        try:
            with socket.socket(
                socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            ) as sender:
                sender.sendto(message.encode(), self._path)
        except (OSError, ValueError):  # gone, full, or not a path: systemd notices by itself
            return False
        return True


def _one_line(text: str) -> str:
    return " ".join(text.split())
