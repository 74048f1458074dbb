"""A real server over a fake view, and clients that say and read what they are told."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgpack
import trio
import trio.testing

from gossipd.api.server import ApiServer
from gossipd.limits import API_UNREAD_BYTES_MAX
from tests.fakes_api import FakeCommands, FakeView

DEADLINE_S = 20.0
"""For a test that hangs; nothing is timed."""


class Scene:
    """A running server, its fakes, and ways to talk to it."""

    def __init__(self, folder: Path, unread_bytes_max: int) -> None:
        self.path = str(folder / "api.sock")
        self.view = FakeView()
        self.commands = FakeCommands(self.view)
        self.server = ApiServer(self.path, view=self.view, commands=self.commands, unread_bytes_max=unread_bytes_max)
        self.talks: list[Talk] = []

    async def connect(self) -> "Talk":
        self.talks.append(Talk(await trio.open_unix_socket(self.path)))
        return self.talks[-1]


class Talk:
    """A client that sends and reads as told, in lines or in frames."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = b""

    async def send(self, *messages: dict[str, object]) -> None:
        await self.stream.send_all(b"".join(json.dumps(message).encode() + b"\n" for message in messages))

    async def read(self) -> dict[str, object]:
        while b"\n" not in self._buffer:
            data = await self.stream.receive_some(65_536)
            assert data, "the server closed the connection"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: dict[str, object] = json.loads(line)
        return message

    async def ask(self, method: str, **params: object) -> dict[str, object]:
        await self.send({"id": "ask", "method": method, "params": params})
        return await self.read()

    async def read_frame(self) -> dict[str, object]:
        while len(self._buffer) < 4 or len(self._buffer) < 4 + int.from_bytes(self._buffer[:4], "big"):
            data = await self.stream.receive_some(65_536)
            assert data, "the server closed the connection"
            self._buffer += data
        end = 4 + int.from_bytes(self._buffer[:4], "big")
        frame, self._buffer = self._buffer[4:end], self._buffer[end:]
        message: dict[str, object] = msgpack.unpackb(frame)
        return message

    async def closed(self) -> bool:
        """Read until the server closes; return that nothing but what was read before came."""
        try:
            return not self._buffer and await self.stream.receive_some(1) == b""
        except trio.BrokenResourceError:
            return True


def a_frame(message: object) -> bytes:
    body: bytes = msgpack.packb(message)
    return len(body).to_bytes(4, "big") + body


@asynccontextmanager
async def running(folder: Path, *, unread_bytes_max: int = API_UNREAD_BYTES_MAX) -> AsyncIterator[Scene]:
    scene = Scene(folder, unread_bytes_max)
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(scene.server.run)
            try:
                yield scene
            finally:
                for talk in scene.talks:
                    await talk.stream.aclose()
            nursery.cancel_scope.cancel()


async def until(condition: object) -> None:
    """Let others run until *condition* holds; the scene's deadline bounds it."""
    assert callable(condition)
    while not condition():
        await trio.testing.wait_all_tasks_blocked(0.001)


def code_of(message: dict[str, object]) -> object:
    error = message["error"]
    assert isinstance(error, dict)
    return error["code"]
