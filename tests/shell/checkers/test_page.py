"""The examples of docs/howto/health-checks.md: each is read, and each that is tried passes against a real target."""

import re
import socket
import tomllib
from pathlib import Path

import pytest
import trio

from gossipd.check_reading import check_as_map, kind_of, parse_check, read_checks
from gossipd.checks import CHECK_KINDS, Check, Runnable
from gossipd.records import Health
from tests.shell.checkers.targets import Handler, read_until, serving, try_once
from tests.shell.checkers.test_grpc import SERVING, HealthServer

PAGE = (Path(__file__).resolve().parents[3] / "docs/howto/health-checks.md").read_text(encoding="utf-8")
EXAMPLES = [read_checks(tomllib.loads(text)["checks"]) for text in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)]
TRIED = [check for checks in EXAMPLES for check in checks if isinstance(check.target, Runnable)]


def test_every_kind_has_an_example() -> None:
    assert {kind_of(checks[0].target) for checks in EXAMPLES} == set(CHECK_KINDS)


def test_every_short_form_on_the_page_is_of_its_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| (.*) \|$", PAGE, re.MULTILINE)
    assert [kind for kind, _ in rows[:7]] == ["http", "tcp", "grpc", "unix", "script", "ttl", "alias"]
    for kind, shown in rows[:7]:
        assert {kind_of(parse_check(text).target) for text in re.findall(r"`([^`]+)`", shown)} == {kind}


def test_the_mistake_on_the_page_is_refused_in_those_words() -> None:
    with pytest.raises(ValueError, match="expected") as refused:
        read_checks([{"http": "/health", "timeout": "20s"}])
    assert str(refused.value) in PAGE


@pytest.mark.trio
@pytest.mark.parametrize("check", TRIED, ids=lambda check: kind_of(check.target))
async def test_an_example_passes(check: Check, tmp_path: Path) -> None:
    written = check_as_map(check)
    written.pop("gate", None)
    target = kind_of(check.target)
    path = tmp_path / "web.sock"
    if target == "unix":
        written["unix"] = str(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        async with serving(HANDLERS.get(target, hear)) as port:
            result = await try_once(written, port=port)
    assert result.health is Health.PASSING, result


async def hear(stream: trio.SocketStream) -> None:
    await stream.receive_some(1)


async def answer(stream: trio.SocketStream) -> None:
    await read_until(stream, b"\r\n\r\n")
    await stream.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")


HANDLERS: dict[str, Handler] = {"http": answer, "grpc": HealthServer(statuses={"shop.Cart": SERVING}).handle}
