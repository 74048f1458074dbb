"""systemd is told, through real and abstract sockets, and its absence is no error."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gossipd.shell.notify import Notifier


@pytest.fixture(params=["file", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    path = str(tmp_path / "notify") if request.param == "file" else f"@gossipd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(path.replace("@", "\0", 1))
        receiver.setblocking(False)
        yield receiver, path


def test_each_state_is_one_datagram(systemd: tuple[socket.socket, str]) -> None:
    receiver, path = systemd
    notifier = Notifier(path)
    assert notifier.ready("ann at\n127.0.0.1:7950")
    assert notifier.reloading()
    assert notifier.stopping("leaving")
    assert notifier.alive()
    ready, reloading, stopping, alive = (receiver.recv(1_000).decode() for _ in range(4))
    assert ready == "READY=1\nSTATUS=ann at 127.0.0.1:7950"
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert (stopping, alive) == ("STOPPING=1\nSTATUS=leaving", "WATCHDOG=1")


@pytest.mark.parametrize("path", [None, "/nowhere/notify", "x" * 200])
def test_nobody_there_is_no_error(path: str | None) -> None:
    assert Notifier(path).ready("ann") is False


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "2000000"}, None),
        ({"NOTIFY_SOCKET": "@x"}, None),
        ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "2000000"}, 2.0),
        ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "7"}, 2.0),
        ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "8"}, None),
        ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "0"}, None),
        ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_served_when_systemd_asks_this_process(
    environment: dict[str, str], watchdog_s: float | None
) -> None:
    assert Notifier.from_environment(environment, pid=7).watchdog_s == watchdog_s
