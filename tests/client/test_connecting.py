"""What is said where no daemon answers: by the command line and by every client, the same sentence, which tells what to do."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from click.testing import CliRunner

from gossipd.cli import exits
from gossipd.cli.main import cli
from gossipd.client import Client, Discovery, aio, base, connection
from gossipd.client.connecting import refused
from gossipd.errors import RequestError

ADVICE = "is it running? Start it with `gossipd run`, or say where its socket is"


def with_a_plain_client(path: Path | None) -> None:
    Client(path).call("info")


def with_discovery(path: Path | None) -> None:
    Discovery(path).resolve("web")


def with_async_discovery(path: Path | None) -> None:
    async def story() -> None:
        async with aio.Discovery(path):
            pass

    anyio.run(story)


CLIENTS = (with_a_plain_client, with_discovery, with_async_discovery)


@pytest.mark.parametrize("ask", CLIENTS)
def test_every_client_says_where_it_looked_and_what_to_do(
    ask: Callable[[Path | None], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RequestError) as caught:
        ask(tmp_path / "s")
    assert (caught.value.code, str(caught.value)) == ("no_daemon", f"no gossipd answers at {tmp_path}/s: {ADVICE}")
    for module in (base, connection):
        monkeypatch.setattr(module, "socket_places", lambda _environ: (f"{tmp_path}/own", f"{tmp_path}/host"))
    with pytest.raises(RequestError) as caught:
        ask(None)
    assert str(caught.value) == f"no gossipd answers at {tmp_path}/own or {tmp_path}/host: {ADVICE}"


def test_the_command_line_says_it_too(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["members", "--socket", f"{tmp_path}/s"])
    assert result.exit_code == exits.NO_DAEMON
    assert result.stderr == f"gossipd: error: no gossipd answers at {tmp_path}/s: {ADVICE}\n"


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [
        (errno.EACCES, "no_permission", "no permission to open s: does this user belong to the group of the socket?"),
        (errno.EPERM, "no_permission", "no permission to open s: does this user belong to the group of the socket?"),
        (errno.ENOTSOCK, "no_daemon", "no gossipd answers at s: Socket operation on non-socket"),
        (errno.ENAMETOOLONG, "no_daemon", "no gossipd answers at s: File name too long"),
    ],
)
def test_what_stands_in_the_way_is_named(number: int, code: str, says: str) -> None:
    error = refused("s", OSError(number, os.strerror(number)))
    assert error is not None
    assert (error.code, str(error)) == (code, says)


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ECONNREFUSED])
def test_where_nobody_listens_the_next_place_is_tried(number: int) -> None:
    assert refused("s", OSError(number, os.strerror(number))) is None
