"""The socket itself: real clients, honest ones and others, against a server over a fake view."""

import json
import os
import socket
import stat
from pathlib import Path

import pytest
import trio
import trio.testing

from gossipd.api import connection as connection_module
from gossipd.api import server as server_module
from gossipd.api.connection import Peer
from gossipd.api.server import PATH_BYTES_MAX, ApiServer
from gossipd.errors import ConfigError, StorageError
from gossipd.limits import API_WATCHES_PER_CONNECTION_MAX, WATCH_EVENTS_MAX
from tests.api_scene import DEADLINE_S, Talk, a_frame, code_of, running, until
from tests.fakes_api import FakeCommands, FakeView, a_member, an_instance

pytestmark = pytest.mark.trio


async def test_both_encodings_give_equal_answers(tmp_path: Path) -> None:
    async with running(tmp_path) as scene:
        scene.view.put(an_instance())
        lines, frames = await scene.connect(), await scene.connect()
        asked: list[tuple[str, dict[str, object]]] = [
            ("members", {}),
            ("services", {}),
            ("resolve", {"service": "web"}),
            ("resolve", {"service": "nothing"}),
            ("info", {}),
            ("why", {"subject": "ann"}),
            ("why", {"subject": "nobody"}),
            ("join", {"targets": ["somebody", "nobody"]}),
            ("register", {"name": "api", "port": 0}),
            ("deregister", {"id": "absent"}),
            ("nonsense", {}),
            ("register", {"name": "api", "port": 1}),
        ]
        for number, (method, params) in enumerate(asked):
            message = {"id": number, "method": method, "params": params}
            await lines.send(message)
            await frames.stream.send_all(a_frame(message))
            answer = await lines.read()
            assert answer == await frames.read_frame(), method
            assert answer["id"] == number


async def test_requests_on_one_connection_are_answered_in_their_order(tmp_path: Path) -> None:
    async with running(tmp_path) as scene:
        talk = await scene.connect()
        join: dict[str, object] = {"id": 3, "method": "join", "params": {"targets": ["h"]}}
        await talk.send(*[join if at == 3 else {"id": at, "method": "info"} for at in range(9)])
        assert [(await talk.read())["id"] for _ in range(9)] == list(range(9))


async def test_a_join_that_takes_long_does_not_hold_other_clients(tmp_path: Path) -> None:
    async with running(tmp_path) as scene:
        scene.commands.join_may_end = trio.Event()
        slow, quick = await scene.connect(), await scene.connect()
        await slow.send({"id": 1, "method": "join", "params": {"targets": ["h"]}})
        await until(lambda: scene.commands.joined)
        assert "result" in await quick.ask("info")
        scene.commands.join_may_end.set()
        assert (await slow.read())["result"] == {"joined": {"h": None}}


async def test_leave_is_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as scene:
        talk = await scene.connect()
        assert (await talk.ask("leave"))["result"] == {}
        assert scene.commands.left


@pytest.mark.parametrize(
    "data",
    [b"garbage\n", b"\x00\x20\x00\x00", b"\x00" * 3, b'{"id":1,"method":"info"', a_frame({"method": "info"})[:-1]],
    ids=["garbage", "frame too long", "half a header", "half a line", "half a frame"],
)
async def test_lost_framing_is_answered_and_closed(tmp_path: Path, data: bytes) -> None:
    async with running(tmp_path) as scene:
        talk = await scene.connect()
        await talk.stream.send_all(data)
        await talk.stream.send_eof()
        read = talk.read_frame if data[0] == 0 else talk.read
        assert code_of(await read()) == "bad_frame"
        assert await talk.closed()
        assert scene.server.statistics()["bad_frames"] == 1
        assert "result" in await (await scene.connect()).ask("info")


@pytest.mark.parametrize("start", [b"{", (10 << 20).to_bytes(4, "big")], ids=["line", "frame"])
async def test_ten_megabytes_in_one_message_are_refused_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    monkeypatch.setattr(connection_module, "LINGER_S", DEADLINE_S)
    async with running(tmp_path) as scene:
        talk = await scene.connect()
        await talk.stream.send_all(start)
        for _ in range(10 << 4):
            await talk.stream.send_all(b" " * 65_536)
        await talk.stream.send_eof()
        assert code_of(await (talk.read_frame() if start[0] == 0 else talk.read())) == "bad_frame"
        assert await talk.closed()


async def test_a_bad_line_costs_only_itself(tmp_path: Path) -> None:
    async with running(tmp_path) as scene:
        talk = await scene.connect()
        await talk.stream.send_all(b'{"id":1,}\n{"id":2,"method":"info"}\n')
        first, second = await talk.read(), await talk.read()
        assert (first["id"], code_of(first)) == (None, "bad_request")
        assert second["id"] == 2
        assert "result" in second


async def test_a_message_left_half_sent_is_a_bad_frame_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "STALL_S", 0.05)
    async with running(tmp_path) as scene:
        talk = await scene.connect()
        await talk.stream.send_all(b'{"id":1,')
        assert code_of(await talk.read()) == "bad_frame"
        assert await talk.closed()
        assert scene.server.statistics()["connections_stalled"] == 1


async def test_a_client_that_sends_thousands_of_bad_lines_ahead_is_answered_in_turns_with_others(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as scene:
        flood, other = await scene.connect(), await scene.connect()
        await flood.stream.send_all(b"{\n" * 32_000)  # 64 KiB, whose answers are 4 MB; not one of them is read
        assert code_of(await other.ask("bogus")) == "unknown_method"
        first = await flood.read()
        assert code_of(first) == "bad_request"


async def test_a_client_that_reads_slowly_gets_every_answer_and_holds_little(tmp_path: Path) -> None:
    async with running(tmp_path) as scene:
        for number in range(50):
            scene.view.put(an_instance(node=f"n{number}"))
        talk, other = await scene.connect(), await scene.connect()
        written: list[int] = []

        async def pipeline() -> None:
            for start in range(0, 2_000, 100):
                await talk.send(
                    *[{"id": at, "method": "resolve", "params": {"service": "web"}} for at in range(start, start + 100)]
                )
                written.append(start)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pipeline)
            await trio.testing.wait_all_tasks_blocked(0.01)
            asked = scene.server.statistics()["requests"]
            assert asked < 200, "it went on answering a client that does not read"
            assert "result" in await other.ask("info")
            assert [(await talk.read())["id"] for _ in range(2_000)] == list(range(2_000))
        assert len(written) == 20


async def test_a_client_that_never_reads_its_answers_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "STALL_S", 0.05)
    async with running(tmp_path) as scene:
        for number in range(200):
            scene.view.put(an_instance(node=f"n{number}"))
        talk = await scene.connect()
        with pytest.raises(trio.BrokenResourceError):
            await talk.send(*[{"id": 1, "method": "resolve", "params": {"service": "web"}}] * 10_000)
        await until(lambda: not scene.server.clients())
        assert scene.server.statistics()["connections_stalled"] == 1


async def test_a_watch_that_is_never_read_is_harmless_while_100_000_events_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "FLUSH_INTERVAL_S", 0.0)
    async with running(tmp_path) as scene:
        stalled, other = await scene.connect(), await scene.connect()
        await stalled.send({"id": 1, "method": "watch"})
        assert (await stalled.read())["id"] == 1
        most = 0
        for number in range(500):
            scene.server.publish([scene.view.put(an_instance(id=f"i{at}", port=1 + number)) for at in range(200)])
            await trio.lowlevel.checkpoint()
            if number % 50 == 0:
                assert "result" in await other.ask("info")
            most = max(most, *(row.held_events for row in scene.server.clients()))
        assert 0 < most <= WATCH_EVENTS_MAX
        assert len(scene.server.clients()) == 2
        types: list[object] = []
        ports: set[object] = set()
        while "snapshot" not in types:
            event = (await stalled.read())["event"]
            assert isinstance(event, dict)
            types.append(event["type"])
            ports = {row["port"] for row in event.get("instances", [])}
        assert types[-2:] == ["resync", "snapshot"]
        assert ports == {500}
        assert scene.server.statistics()["resyncs"] == 1


async def test_many_watches_that_are_never_read_share_one_budget_and_who_reads_is_served(tmp_path: Path) -> None:
    async with running(tmp_path, unread_bytes_max=2_000_000) as scene:
        for number in range(2_000):  # a snapshot of about 1 MB, far more than a socket takes
            scene.view.put(an_instance(id=f"web-{number}"))
        for _ in range(10):
            silent = await scene.connect()
            await silent.send({"id": 1, "method": "watch"})
        await until(lambda: scene.server.statistics()["connections_stalled"] >= 5)
        reader = await scene.connect()
        await reader.send({"id": 1, "method": "watch"})
        snapshot = await reader.read()
        assert "snapshot" in json.dumps(snapshot)[:100]
        assert scene.server.statistics()["connections"] >= 3


async def test_events_reach_a_watcher_and_unwatch_ends_them(tmp_path: Path) -> None:
    async with running(tmp_path) as scene:
        talk = await scene.connect()
        await talk.send({"id": "w", "method": "watch", "params": {"service": "web"}})
        assert (await talk.read())["event"]["type"] == "snapshot"  # type: ignore[index]
        scene.server.publish([scene.view.put(an_instance())])
        assert (await talk.read())["event"]["type"] == "up"  # type: ignore[index]
        await talk.send({"id": 2, "method": "unwatch", "params": {"id": "w"}})
        assert await talk.read() == {"id": "w", "end": {"reason": "unwatch"}}
        assert await talk.read() == {"id": 2, "result": {}}
        scene.server.publish([scene.view.remove("ann", "web")])
        assert code_of(await talk.ask("unwatch", id="w")) == "not_found"


async def test_a_watch_needs_an_id_of_its_own_and_their_number_is_bounded(tmp_path: Path) -> None:
    async with running(tmp_path) as scene:
        talk = await scene.connect()
        await talk.send({"method": "watch"})
        assert code_of(await talk.read()) == "bad_request"
        for id in range(API_WATCHES_PER_CONNECTION_MAX):
            await talk.send({"id": id, "method": "watch", "params": {"service": "web"}})
            assert "event" in await talk.read()
        await talk.send({"id": 0, "method": "watch"})
        assert code_of(await talk.read()) == "bad_request"
        await talk.send({"id": "more", "method": "watch"})
        assert code_of(await talk.read()) == "too_many_watches"


async def test_the_end_of_a_connection_is_told_with_its_number(tmp_path: Path) -> None:
    async with running(tmp_path) as scene:
        first, second = await scene.connect(), await scene.connect()
        await first.ask("info")
        await second.ask("register", name="web", port=80)
        await second.ask("register", name="db", port=81, kept=True)
        assert scene.commands.registered["web"][1].connection == 2
        assert scene.commands.registered["db"][1].kind == "kept"
        await second.send({"id": 1, "method": "watch"})
        await second.read()
        await second.stream.aclose()
        await until(lambda: scene.commands.lost)
        assert scene.commands.lost == [2]
        assert scene.server.statistics()["watches"] == 0
        assert [row.connection for row in scene.server.clients()] == [1]


async def test_the_peer_and_what_it_registered_are_known(tmp_path: Path) -> None:
    async with running(tmp_path) as scene:
        talk = await scene.connect()
        await talk.ask("register", name="web", port=80)
        await talk.ask("register", name="db", port=81)
        await talk.ask("deregister", id="db")
        [row] = scene.server.clients()
        assert row.peer == Peer(pid=os.getpid(), uid=os.getuid(), gid=os.getgid())
        assert row.registered == ("web",)


async def test_half_closing_gets_the_answers_then_the_end(tmp_path: Path) -> None:
    async with running(tmp_path) as scene:
        talk = await scene.connect()
        await talk.stream.send_all(b'{"id":1,"method":"info"}\n{"id":2,"method":"members"}')
        await talk.stream.send_eof()
        assert [(await talk.read())["id"], (await talk.read())["id"]] == [1, 2]
        assert await talk.closed()


async def test_one_client_too_many_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "API_CONNECTIONS_MAX", 2)
    async with running(tmp_path) as scene:
        talks = [await scene.connect() for _ in range(2)]
        for talk in talks:
            await talk.ask("info")
        refused = await scene.connect()
        assert code_of(await refused.read()) == "too_many_connections"
        assert await refused.closed()
        assert scene.server.statistics()["connections_refused"] == 1
        await talks[0].stream.aclose()
        await until(lambda: len(scene.server.clients()) == 1)
        assert "result" in await (await scene.connect()).ask("info")


async def test_the_statistics_of_the_socket_are_in_those_of_the_node(tmp_path: Path) -> None:
    async with running(tmp_path) as scene:
        result = (await (await scene.connect()).ask("statistics"))["result"]
        assert isinstance(result, dict)
        assert result["statistics"]["api"] == scene.server.statistics()
        assert result["statistics"]["dropped"] == {"replayed": 2}


async def test_the_socket_has_its_mode_and_is_removed_at_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "for" / "it"
    before = os.umask(0o077)
    try:
        async with running(folder) as scene:
            assert stat.S_IMODE(os.stat(scene.path).st_mode) == 0o660
    finally:
        os.umask(before)
    assert not os.path.exists(scene.path)


async def test_a_second_server_on_the_same_socket_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path) as scene:
        second = ApiServer(scene.path, view=scene.view, commands=scene.commands)
        with pytest.raises(StorageError, match="another gossipd holds"):
            await second.run()
        assert "result" in await (await scene.connect()).ask("info")


async def test_a_socket_that_another_program_listens_on_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as foreign:
        foreign.bind(str(path))
        foreign.listen(1)
        with pytest.raises(StorageError, match="another process listens"):
            await ApiServer(path, view=FakeView(), commands=FakeCommands()).run()
        assert path.exists()


async def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
        dead.listen(1)
    async with running(tmp_path) as scene:
        assert "result" in await (await scene.connect()).ask("info")


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    path.write_text("precious", encoding="utf-8")
    with pytest.raises(StorageError, match="is not a socket"):
        await ApiServer(path, view=FakeView(), commands=FakeCommands()).run()
    assert path.read_text(encoding="utf-8") == "precious"


async def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StorageError, match="cannot listen on"):
        await ApiServer(tmp_path / "file" / "api.sock", view=FakeView(), commands=FakeCommands()).run()


async def test_a_path_too_long_for_a_socket_is_a_clear_error() -> None:
    for path in ("", "/" + "x" * PATH_BYTES_MAX):
        with pytest.raises(ConfigError, match="expected 1 to 107"):
            ApiServer(path, view=FakeView(), commands=FakeCommands())


async def test_a_server_that_stops_ends_its_watches_and_can_start_again(tmp_path: Path) -> None:
    async with running(tmp_path) as scene:
        talk = Talk(await trio.open_unix_socket(scene.path))
        await talk.send({"id": 1, "method": "watch", "params": {"members": True}})
        assert "event" in await talk.read()
    assert await talk.read() == {"id": 1, "end": {"reason": "closed"}}
    assert await talk.closed()
    await talk.stream.aclose()
    assert scene.commands.lost == [1]
    async with running(tmp_path) as again:
        again.view.put_member(a_member("bob"))
        result = (await (await again.connect()).ask("members"))["result"]
        assert isinstance(result, dict)
        assert [row["name"] for row in result["members"]] == ["ann", "bob"]
