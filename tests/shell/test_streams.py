"""Real TCP on loopback: every byte arrives, every end is told once, what waits is bounded."""

import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from gossipd.ids import Address
from gossipd.limits import STREAM_BYTES_MAX
from gossipd.shell.bind import bind_all
from gossipd.shell.streams import Streams
from tests.shell.fakes import ReadableLog

pytestmark = pytest.mark.trio


@dataclass
class Feed:
    """Numbers accepted streams from *next*; None refuses. Notes what it hears, bytes put together."""

    next: int | None = 1
    heard: list[tuple[object, ...]] = field(default_factory=list)
    received: dict[int, bytes] = field(default_factory=dict)
    changed: trio.Event = field(default_factory=trio.Event)

    def _note(self, *details: object) -> None:
        self.heard.append(details)
        self._tell()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    def accept_stream(self, source: Address) -> int | None:
        number = self.next
        if number is not None:
            self.next = number + 1
        self._note("accept", number)
        return number

    def stream_opened(self, stream: int) -> None:
        self._note("opened", stream)

    def receive_stream(self, stream: int, data: bytes) -> None:
        self.received[stream] = self.received.get(stream, b"") + data
        self._tell()

    def stream_closed(self, stream: int, *, error: str | None) -> None:
        self._note("closed", stream, error)

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(10):
            while not condition():
                await self.changed.wait()


@dataclass
class Pair:
    """*near* opens streams to *far*, from number 100."""

    near: Streams
    near_feed: Feed
    far: Streams
    far_feed: Feed
    target: Address
    nursery: trio.Nursery

    async def open(self, number: int = 100) -> None:
        self.near.open(number, self.target, timeout_s=5)
        await self.near_feed.until(lambda: ("opened", number) in self.near_feed.heard)
        await self.far_feed.until(lambda: ("accept", 1) in self.far_feed.heard)


@pytest.fixture(params=["127.0.0.1", "::1"])
async def pair(request: pytest.FixtureRequest, readable: ReadableLog, nursery: trio.Nursery) -> AsyncIterator[Pair]:
    [bound] = bind_all([Address(request.param, 0)])
    near, far = (Streams(tcp, write_timeout_s=5, log=readable.log) for tcp in ([], [bound.tcp]))
    near_feed, far_feed = Feed(), Feed()
    await nursery.start(near.run, near_feed)
    await nursery.start(far.run, far_feed)
    yield Pair(near, near_feed, far, far_feed, bound.address, nursery)
    nursery.cancel_scope.cancel()
    bound.close()


async def test_bytes_arrive_whole_both_ways_and_closing_is_told_to_the_other_side_only(pair: Pair) -> None:
    await pair.open()
    question, answer = b"q" * 3_000_000, b"a" * 3_000_000
    pair.near.send(100, question[:1_000_000])
    pair.near.send(100, question[1_000_000:])
    pair.far.send(1, answer)
    await pair.far_feed.until(lambda: len(pair.far_feed.received.get(1, b"")) == len(question))
    await pair.near_feed.until(lambda: len(pair.near_feed.received.get(100, b"")) == len(answer))
    pair.far.close(1)
    await pair.near_feed.until(lambda: ("closed", 100, None) in pair.near_feed.heard)
    assert pair.near_feed.heard == [("opened", 100), ("closed", 100, None)]
    assert pair.far_feed.heard == [("accept", 1)]
    assert pair.far_feed.received[1] == question
    assert pair.near_feed.received[100] == answer


async def test_closing_writes_out_first_even_when_the_peer_still_sends(pair: Pair) -> None:
    await pair.open()
    pair.far.send(1, b"a" * 2_000_000)
    pair.far.close(1)
    pair.near.send(100, b"never read" * 10_000)
    await pair.near_feed.until(lambda: ("closed", 100, None) in pair.near_feed.heard)
    assert len(pair.near_feed.received[100]) == 2_000_000


async def test_two_sides_that_both_send_much_do_not_wait_for_each_other(pair: Pair) -> None:
    await pair.open()
    much = b"x" * (STREAM_BYTES_MAX // 2)
    pair.near.send(100, much)
    pair.far.send(1, much)
    await pair.far_feed.until(lambda: len(pair.far_feed.received.get(1, b"")) == len(much))
    await pair.near_feed.until(lambda: len(pair.near_feed.received.get(100, b"")) == len(much))


async def test_more_than_may_wait_ends_the_stream_and_tells_the_node(pair: Pair) -> None:
    await pair.open()
    half = b"x" * (STREAM_BYTES_MAX // 2 + 1)
    pair.near.send(100, half)
    pair.near.send(100, half)
    await pair.near_feed.until(lambda: len(pair.near_feed.heard) == 2)
    assert pair.near_feed.heard[1] == ("closed", 100, "more waits to be written than the limit allows")
    assert pair.near.overflows == 1
    pair.near.send(100, b"too late")
    pair.near.close(100)
    await pair.open(101)  # what waited is free again
    pair.near.send(101, half)
    await pair.far_feed.until(lambda: len(pair.far_feed.received.get(2, b"")) == len(half))


async def test_a_refused_stream_is_closed(pair: Pair) -> None:
    pair.far_feed.next = None
    pair.near.open(100, pair.target, timeout_s=5)
    await pair.near_feed.until(lambda: len(pair.near_feed.heard) == 2)
    assert [row[0] for row in pair.near_feed.heard] == ["opened", "closed"]
    assert pair.far_feed.heard == [("accept", None)]


async def test_nobody_there_is_told_in_words(pair: Pair) -> None:
    with socket.socket(socket.AF_INET6 if ":" in pair.target.host else socket.AF_INET) as unused:
        unused.bind((pair.target.host, 0))
        pair.near.open(100, Address(pair.target.host, unused.getsockname()[1]), timeout_s=5)
        await pair.near_feed.until(lambda: bool(pair.near_feed.heard))
    assert pair.near_feed.heard == [("closed", 100, "connection refused")]


async def test_an_impossible_target_is_told_in_words(pair: Pair) -> None:
    pair.near.open(100, Address("example.invalid", 1), timeout_s=5)
    await pair.near_feed.until(lambda: bool(pair.near_feed.heard))
    [(what, number, error)] = pair.near_feed.heard
    assert (what, number) == ("closed", 100)
    assert "example.invalid" in str(error)


async def test_a_stream_closed_before_it_is_open_is_never_heard_of(pair: Pair) -> None:
    pair.near.open(100, pair.target, timeout_s=5)
    pair.near.close(100)
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert pair.near_feed.heard == []
    await pair.open(101)


async def test_a_peer_that_resets_is_told_with_the_reason(pair: Pair) -> None:
    with socket.create_connection(pair.target) as peer:
        await pair.far_feed.until(lambda: bool(pair.far_feed.heard))
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    await pair.far_feed.until(lambda: len(pair.far_feed.heard) == 2)
    assert pair.far_feed.heard[1] == ("closed", 1, "connection reset by peer")


async def test_a_peer_that_reads_nothing_fails_the_stream_at_the_write_timeout(
    readable: ReadableLog, nursery: trio.Nursery
) -> None:
    [bound] = bind_all([Address("127.0.0.1", 0)])
    feed = Feed()
    streams = Streams([bound.tcp], write_timeout_s=0.05, log=readable.log)
    await nursery.start(streams.run, feed)
    with socket.create_connection(bound.address):
        await feed.until(lambda: bool(feed.heard))
        streams.send(1, b"x" * STREAM_BYTES_MAX)
        await feed.until(lambda: len(feed.heard) == 2)
    assert feed.heard[1] == ("closed", 1, "took no byte for 0.05 s")
    nursery.cancel_scope.cancel()
    bound.close()


async def test_ending_the_task_closes_every_socket_and_tells_nobody(readable: ReadableLog) -> None:
    [bound] = bind_all([Address("127.0.0.1", 0)])
    feed = Feed()
    streams = Streams([bound.tcp], write_timeout_s=5, log=readable.log)
    async with trio.open_nursery() as nursery:
        await nursery.start(streams.run, feed)
        peer = socket.create_connection(bound.address)
        await feed.until(lambda: bool(feed.heard))
        nursery.cancel_scope.cancel()
    with peer:
        assert peer.recv(1) == b""
    assert feed.heard == [("accept", 1)]
    bound.close()
