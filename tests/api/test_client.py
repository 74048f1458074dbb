"""The blocking client against a real server in another thread, and against nothing, strangers and the silent."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from gossipd.client import SYSTEM_SOCKET, Client, connection, distrusted, places, socket_places
from gossipd.errors import RequestError
from tests.served import DEADLINE_S, a_daemon


def test_a_call_returns_the_result(tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s"), Client(tmp_path / "s") as client:
        info = client.call("info")["info"]
        assert isinstance(info, dict)
        assert info["name"] == "ann"
        assert client.call("resolve", service="web", tags=None)["instances"] == []


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


def test_a_client_waits_for_room_in_a_full_queue_of_connections_but_not_for_ever(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as first:
        busy.bind(path)
        busy.listen(0)  # one may wait, which is nobody's turn
        first.connect(path)
        with pytest.raises(RequestError, match=r"it takes no connection within 0.05 s") as caught:
            Client(path, timeout_s=0.05).call("info")
        assert caught.value.code == "no_daemon"
        client = Client(path, timeout_s=DEADLINE_S)
        waiting = threading.Thread(target=client.__enter__)
        waiting.start()
        for _ in range(2):
            busy.accept()[0].close()
        waiting.join(DEADLINE_S)
        assert not waiting.is_alive()
        client.close()


def test_a_closed_client_says_so(tmp_path: Path) -> None:
    with a_daemon(tmp_path / "s"):
        client = Client(tmp_path / "s")
        client.call("info")
        client.close()
        client.close()
        with pytest.raises(RequestError, match="is closed"):
            client.call("info")


def test_a_chosen_socket_is_the_only_place() -> None:
    assert socket_places({"GOSSIPD_SOCKET": "/x", "XDG_RUNTIME_DIR": "/"}, uid=5) == ("/x",)


def test_root_uses_the_daemon_of_the_host(tmp_path: Path) -> None:
    environ = {"GOSSIPD_SOCKET": "", "XDG_RUNTIME_DIR": str(tmp_path)}
    assert socket_places(environ, uid=0) == socket_places({}, uid=0) == (SYSTEM_SOCKET,)


def test_a_user_has_a_socket_of_their_own_and_then_the_one_of_the_host(tmp_path: Path) -> None:
    me = tmp_path.stat().st_uid or 4_242
    own = (f"/tmp/gossipd-{me}/gossipd.sock", SYSTEM_SOCKET)
    for unusable in ("", "relative", str(tmp_path / "none"), "/etc/passwd", "/\0"):
        assert socket_places({"XDG_RUNTIME_DIR": unusable}, uid=me) == own
    strangers = tmp_path.stat().st_uid + 1
    assert socket_places({"XDG_RUNTIME_DIR": str(tmp_path)}, uid=strangers)[0] != str(tmp_path / "gossipd.sock")


def test_the_runtime_directory_comes_first_if_it_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_owner", {str(tmp_path): 5}.get)
    assert socket_places({"XDG_RUNTIME_DIR": str(tmp_path)}, uid=5) == (str(tmp_path / "gossipd.sock"), SYSTEM_SOCKET)


def test_the_account_that_the_directory_of_the_host_belongs_to_listens_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_owner", {"/run/gossipd": 5}.get)
    assert socket_places({}, uid=5) == (SYSTEM_SOCKET,)
    assert socket_places({}, uid=6) == ("/tmp/gossipd-6/gossipd.sock", SYSTEM_SOCKET)


def test_a_directory_in_tmp_is_trusted_only_if_it_is_the_users_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "user_directory", lambda _uid: str(tmp_path / "own"))
    me, path = os.geteuid(), str(tmp_path / "own" / "gossipd.sock")
    assert distrusted("/anywhere/else", uid=me) is None
    assert distrusted(path, uid=me) is None  # there is none yet
    (tmp_path / "own").mkdir(mode=0o700)
    assert distrusted(path, uid=me) is None
    assert "expected a directory of user" in (distrusted(path, uid=me + 1) or "")
    (tmp_path / "own").chmod(0o710)
    assert "mode 0700" in (distrusted(path, uid=me) or "")
    with pytest.raises(RequestError, match="is not trusted") as caught:
        Client(path).call("info")
    assert caught.value.code == "no_daemon"
    (tmp_path / "own").rmdir()
    (tmp_path / "own").symlink_to(tmp_path)
    assert distrusted(path, uid=me) is not None


def test_a_client_without_a_path_takes_the_first_place_where_somebody_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = (str(tmp_path / "none"), str(tmp_path / "stale"), str(tmp_path / "s"))
    monkeypatch.setattr(connection, "socket_places", lambda _environ: there)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(there[1])
    with a_daemon(tmp_path / "s"), Client() as client:
        client.call("info")
        assert client.path == there[2]
    with pytest.raises(RequestError, match=f"no gossipd answers at {' or '.join(there)}: is it running") as caught:
        Client().call("info")
    assert caught.value.code == "no_daemon"


def test_the_client_imports_neither_trio_nor_cryptography_nor_the_daemon() -> None:
    program = (
        "import json, sys, gossipd.client; "
        "print(json.dumps(sorted({'.'.join(name.split('.')[:2]) for name in sys.modules "
        "if name.split('.')[0] in ('trio', 'anyio', 'asyncio', 'cryptography', 'msgpack', 'gossipd')})))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=os.getcwd())
    assert json.loads(run.stdout) == [
        "gossipd",
        *(f"gossipd.{name}" for name in ("client", "errors", "limits", "ranges")),
    ]
