"""Waiting for instances: answered when enough are ready, told why not when the time is over."""

from dataclasses import replace
from pathlib import Path

import pytest
import trio.testing

from gossipd.api import connection as connection_module
from gossipd.api import watches as watches_module
from gossipd.api.methods import parse_request
from gossipd.api.requests import Wait
from gossipd.api.waiting import MISSING_MAX, timed_out
from gossipd.errors import RequestError
from gossipd.node.view import CheckRow, InstanceRow
from tests.api_scene import Scene, code_of, running, until
from tests.fakes_api import FakeCommands, FakeView, a_check, a_conversation, a_member, an_instance, asked

NOT_READY = {"ready": False, "serving": False}


def a_wait(**params: object) -> Wait:
    request = parse_request("wait", {"service": "web", "timeout": 0, **params})
    assert isinstance(request, Wait)
    return request


def bad(status: str, *, node: str = "bob", **values: object) -> InstanceRow:
    return replace(an_instance(node=node), status=status, **{**NOT_READY, **values})  # type: ignore[arg-type]


def why(*rows: InstanceRow, unmet: RequestError | None = None, **params: object) -> list[str]:
    view = FakeView()
    for row in rows:
        view.put(row)
    missing = timed_out(view, a_wait(**params), unmet, now=1.0).details["missing"]
    assert isinstance(missing, list)
    return missing


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (bad("unreachable", node_status="failed"), "web on bob is unreachable: its node is failed"),
        (bad("draining", reason="new version"), "web on bob is draining: new version"),
        (bad("maintenance"), "web on bob is maintenance"),
        (bad("critical"), "web on bob is critical: its node knows why"),
        (bad("critical", damped=True), "web on bob is held out: it changed too often"),
        (
            bad("passing", degraded=True),
            "web on bob is passing, but its node may be gone and guard.policy is 'refuse'",
        ),
    ],
)
def test_each_instance_that_is_not_ready_has_its_reason(row: InstanceRow, sentence: str) -> None:
    assert why(row) == [sentence]


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (replace(a_check(), health="critical", output="\n 503 no disk \nmore"), "check http says '503 no disk'"),
        (replace(a_check(), health="critical", output="", last_run_s=None), "check http has said nothing yet"),
        (replace(a_check(), health="critical", output=" "), "check http failed"),
    ],
)
def test_of_an_own_instance_the_first_line_of_the_failing_check_is_told(check: CheckRow, said: str) -> None:
    view = FakeView()
    asked(a_conversation(FakeCommands(view)), "register", name="web", port=80)
    view.put(bad("critical", node="ann"))
    view.checked = [replace(a_check(), id="tcp"), check]
    assert timed_out(view, a_wait(), None, now=1.0).details["missing"] == [f"web on ann is critical: {said}"]


def test_that_there_are_too_few_is_told_first() -> None:
    assert why() == ["no instance of web is known"]
    assert why(tags=["v9"]) == ["no instance of web that matches is known"]
    assert why(an_instance(), ready=2) == ["1 instance of web is known"]
    assert why(an_instance(), bad("draining"), ready=3) == ["2 instances of web are known", "web on bob is draining"]
    assert why(an_instance(), bad("draining"), ready=2) == ["web on bob is draining"]
    assert why(unmet=RequestError("stale", "x")) == ["stale: x", "no instance of web is known"]


def test_many_that_are_missing_are_counted() -> None:
    missing = why(*[bad("draining", node=f"n{at:03}") for at in range(MISSING_MAX + 2)])
    assert len(missing) == MISSING_MAX + 1
    assert missing[-1] == "2 more are not ready"


async def waits(scene: Scene, number: int = 1) -> None:
    await until(lambda: scene.server.statistics()["waits"] == number)


@pytest.mark.trio
async def test_what_is_ready_is_answered_at_once_as_resolve_would(tmp_path: Path) -> None:
    async with running(tmp_path) as scene:
        scene.view.put(an_instance())
        talk = await scene.connect()
        assert await talk.ask("wait", service="web") == await talk.ask("resolve", service="web")
        assert scene.server.statistics()["waits"] == 0


@pytest.mark.trio
async def test_a_wait_ends_when_enough_are_ready_and_holds_only_its_own_connection(tmp_path: Path) -> None:
    async with running(tmp_path) as scene:
        waiting, other = await scene.connect(), await scene.connect()
        await waiting.send(
            {"id": 1, "method": "wait", "params": {"service": "web", "ready": 2, "tags": ["v1"]}},
            {"id": 2, "method": "info"},
        )
        await waits(scene)
        rows = [an_instance(node="bob"), replace(an_instance(node="cat"), tags=[]), bad("critical", node="dee")]
        scene.server.publish([scene.view.put(row) for row in rows])
        assert "result" in await other.ask("info")
        await trio.testing.wait_all_tasks_blocked(0.001)  # it looked again, and sleeps
        assert scene.server.statistics()["waits"] == 1
        scene.server.publish([scene.view.put(an_instance(node="dee"))])
        answer = await waiting.read()
        assert [row["node"] for row in answer["result"]["instances"]] == ["bob", "dee"]  # type: ignore[index]
        assert answer["id"] == 1
        assert (await waiting.read())["id"] == 2


@pytest.mark.trio
async def test_a_wait_in_vain_says_what_is_missing(tmp_path: Path) -> None:
    async with running(tmp_path) as scene:
        scene.view.put(bad("draining", reason="new"))
        answer = await (await scene.connect()).ask("wait", service="web", ready=2, timeout="20ms")
        missing = ["1 instance of web is known", "web on bob is draining: new"]
        message = "0 of 2 instances of web are ready after 0.02 s: 1 instance of web is known"
        assert answer["error"] == {"code": "timeout", "message": message, "ready": 0, "missing": missing}


@pytest.mark.trio
async def test_a_wait_also_waits_for_the_members_that_it_wants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "AGE_STALE_S", 0.02)
    async with running(tmp_path) as scene:
        scene.view.put(an_instance())
        talk = await scene.connect()
        answer = await talk.ask("wait", service="web", min_members=2, timeout=0)
        assert answer["error"]["missing"][0].startswith("few_members: 1 members")  # type: ignore[index]
        await talk.send({"id": 1, "method": "wait", "params": {"service": "web", "min_members": 2}})
        await waits(scene)
        scene.view.put_member(a_member("bob"))  # told to nobody: it is looked for
        assert "result" in await talk.read()


@pytest.mark.trio
async def test_a_client_that_goes_waits_no_more_and_one_that_ended_its_side_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "GONE_LOOK_S", 0.02)
    async with running(tmp_path) as scene:
        gone, half, ahead = await scene.connect(), await scene.connect(), await scene.connect()
        for talk in (gone, half, ahead):
            await talk.send({"id": 1, "method": "wait", "params": {"service": "web", "timeout": 3600}})
        await half.stream.send_eof()
        await ahead.send({"id": 2, "method": "info"})
        await waits(scene, 3)
        await gone.stream.aclose()
        await waits(scene, 2)
        await ahead.stream.aclose()
        await waits(scene, 1)
        await until(lambda: len(scene.commands.lost) == 2)
        scene.server.publish([scene.view.put(an_instance())])
        assert "result" in await half.read()
        assert await half.closed()


@pytest.mark.trio
async def test_the_number_of_waits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches_module, "API_WAITS_MAX", 1)
    async with running(tmp_path) as scene:
        first, second = await scene.connect(), await scene.connect()
        await first.send({"id": 1, "method": "wait", "params": {"service": "web"}})
        await waits(scene)
        assert code_of(await second.ask("wait", service="web")) == "too_many_waits"
        await first.stream.aclose()
        await waits(scene, 0)
        assert code_of(await second.ask("wait", service="web", timeout=0)) == "timeout"


@pytest.mark.trio
async def test_a_wait_and_a_watch_on_one_connection_do_not_disturb_each_other(tmp_path: Path) -> None:
    async with running(tmp_path) as scene:
        talk = await scene.connect()
        await talk.send({"id": "w", "method": "watch", "params": {"service": "web"}})
        assert "event" in await talk.read()
        await talk.send({"id": 1, "method": "wait", "params": {"service": "web"}})
        await waits(scene)
        scene.server.publish([scene.view.put(bad("critical"))])
        assert (await talk.read())["event"]["type"] == "up"  # type: ignore[index]
        scene.server.publish([scene.view.put(an_instance(node="bob"))])
        answers = [await talk.read(), await talk.read()]
        assert {str(answer["id"]) for answer in answers} == {"w", "1"}
