"""The blocking client against a real server in another thread, and against nothing, strangers and the silent."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from gossipd.api.server import ApiServer
from gossipd.client import SYSTEM_SOCKET, Client, default_socket_path
from gossipd.errors import RequestError
from tests.fakes_api import FakeCommands, FakeView, an_instance

DEADLINE_S = 20.0


@contextmanager
def a_daemon(path: Path) -> Iterator[tuple[FakeView, FakeCommands]]:
    """Serve fakes at *path* in a thread of its own; registering changes the view and is published."""
    view = FakeView()
    commands = FakeCommands(view)
    tokens: list[tuple[trio.lowlevel.TrioToken, trio.CancelScope]] = []
    ready = threading.Event()

    async def serve() -> None:
        server = ApiServer(path, view=view, commands=commands)
        register = commands.register

        def publishing(service, *, connection, now):  # type: ignore[no-untyped-def]
            row = register(service, connection=connection, now=now)
            server.publish([view.put(an_instance(service.name, id=service.id, port=service.port))])
            return row

        commands.register = publishing  # type: ignore[method-assign]
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            tokens.append((trio.lowlevel.current_trio_token(), nursery.cancel_scope))
            ready.set()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    try:
        assert ready.wait(DEADLINE_S)
        yield view, commands
    finally:
        [(token, scope)] = tokens
        token.run_sync_soon(scope.cancel)
        thread.join(DEADLINE_S)


def test_a_call_returns_the_result(tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s"), Client(tmp_path / "s") as client:
        info = client.call("info")["info"]
        assert isinstance(info, dict)
        assert info["name"] == "ann"
        assert client.call("resolve", service="web", tag=None)["instances"] == []


def test_an_error_of_the_daemon_is_raised_with_its_code_and_the_client_goes_on(tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s"), Client(tmp_path / "s") as client:
        with pytest.raises(RequestError, match=r"params\.port=0, expected 1 to 65535") as caught:
            client.call("register", name="web", port=0)
        assert caught.value.code == "bad_request"
        assert "info" in client.call("info")


def test_a_watch_yields_events_while_other_calls_are_made(tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s"), Client(tmp_path / "s", timeout_s=DEADLINE_S) as client:
        types = []
        for event in client.watch("web", timeout_s=DEADLINE_S):
            types.append(event["type"])
            if len(types) == 1:
                client.call("register", name="web", port=80)
            elif len(types) == 2:
                client.call("register", name="web", port=81)
            else:
                break
        assert types == ["snapshot", "up", "changed"]
        assert "info" in client.call("info")


def test_a_watch_that_is_refused_raises(tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s"), Client(tmp_path / "s") as client:
        with pytest.raises(RequestError) as caught:
            next(client.watch("NOT A LABEL", timeout_s=DEADLINE_S))
        assert caught.value.code == "bad_request"
        assert "info" in client.call("info")


def test_a_watch_with_no_news_in_time_says_so(tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s"), Client(tmp_path / "s") as client:
        events = client.watch("web", timeout_s=0.05)
        assert next(events)["type"] == "snapshot"
        with pytest.raises(RequestError) as caught:
            next(events)
        assert caught.value.code == "timeout"


def test_an_interrupted_watch_stays_interrupted_even_if_the_daemon_has_gone(tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s"):
        client = Client(tmp_path / "s", timeout_s=DEADLINE_S)
        events = client.watch("web", timeout_s=DEADLINE_S)
        next(events)
    assert isinstance(events, Generator)
    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt())
    client.close()


def test_closing_the_client_ends_the_connection(tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s") as (_, commands):
        with Client(tmp_path / "s") as client:
            client.call("register", name="web", port=80)
        with Client(tmp_path / "s") as client:
            client.call("info")
    assert sorted(commands.lost) == [1, 2]


def test_no_daemon_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with pytest.raises(RequestError, match=f"no gossipd answers at {path}: is it running\\?") as caught:
        Client(path).call("info")
    assert caught.value.code == "no_daemon"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    with pytest.raises(RequestError, match="is it running") as caught, Client(path):
        pass
    assert caught.value.code == "no_daemon"


def test_who_says_nothing_or_nonsense_or_hangs_up_is_a_clear_error(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(path)
        other.listen(5)
        with pytest.raises(RequestError) as caught:
            Client(path, timeout_s=0.05).call("info")
        assert caught.value.code == "timeout"
        other.accept()[0].close()
        for said, code in (
            (b"hello\n", "bad_answer"),
            (b"[]\n", "bad_answer"),
            (b'{"id":1}\n', "bad_answer"),
            (b"", "disconnected"),
        ):
            with Client(path, timeout_s=DEADLINE_S) as client:
                accepted, _ = other.accept()
                accepted.sendall(said)
                accepted.shutdown(socket.SHUT_WR)
                with pytest.raises(RequestError) as caught:
                    client.call("info")
                assert caught.value.code == code, said
                accepted.close()


def test_a_closed_client_says_so(tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s"):
        client = Client(tmp_path / "s")
        client.call("info")
        client.close()
        client.close()
        with pytest.raises(RequestError, match="is closed"):
            client.call("info")


@pytest.mark.parametrize(
    ("environ", "uid", "path"),
    [
        ({"GOSSIPD_SOCKET": "/x", "XDG_RUNTIME_DIR": "/run/user/5"}, 5, "/x"),
        ({"XDG_RUNTIME_DIR": "/run/user/5"}, 5, "/run/user/5/gossipd.sock"),
        ({"XDG_RUNTIME_DIR": "/run/user/0"}, 0, SYSTEM_SOCKET),
        ({"GOSSIPD_SOCKET": "", "XDG_RUNTIME_DIR": ""}, 5, SYSTEM_SOCKET),
        ({}, 0, "/run/gossipd/gossipd.sock"),
    ],
)
def test_the_socket_is_looked_for_by_one_rule(environ: dict[str, str], uid: int, path: str) -> None:
    assert default_socket_path(environ, uid=uid) == path


def test_the_client_imports_neither_trio_nor_cryptography_nor_the_daemon() -> None:
    program = (
        "import json, sys, gossipd.client; "
        "print(json.dumps([name for name in sys.modules if name.startswith(('trio', 'cryptography', 'msgpack', 'gossipd.'))]))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=os.getcwd())
    assert sorted(json.loads(run.stdout)) == ["gossipd.client", "gossipd.errors"]
