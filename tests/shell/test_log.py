"""A line is one line, whatever a peer put into it; repeats are counted; a full pipe holds nobody up."""

import fcntl
import json
import os

import pytest

from gossipd.ids import Address
from gossipd.records import Status
from gossipd.shell.log import LINE_BYTES_MAX, REPEAT_WINDOW_S, REPEATS_MAX, Log
from tests.shell.fakes import ReadableLog

HOSTILE = [
    "a\nb level=error",
    "a\r\x1b[2Kgone",
    "\x9b31m",
    "\u2028new line",
    "\u202egnp",
    "x\x7fy",
    'say "yes" member=n9',
    "",
    "\ud800",
    "a b",
]


def test_a_text_line_is_a_sentence_and_facts(readable: ReadableLog) -> None:
    readable.log.info("member suspected", member="n3", address=Address("::1", 7950), status=Status.SUSPECT, rtt_s=0.5)
    expected = "2023-11-14T22:13:20.250Z info    member suspected member=n3 address=[::1]:7950 status=suspect rtt_s=0.5"
    assert readable.lines() == [expected]


def test_a_json_line_is_an_object(readable: ReadableLog) -> None:
    log = Log(readable.write, format="json", wall_clock=lambda: 0.0)
    log.warning("odd", data=b"\x01\xff", none=None, flag=True, count=3, ratio=float("nan"), error=OSError("no"))
    assert [json.loads(line) for line in readable.lines()] == [
        {
            "time": "1970-01-01T00:00:00.000Z",
            "level": "warning",
            "message": "odd",
            "data": "01ff",
            "none": None,
            "flag": True,
            "count": 3,
            "ratio": "nan",
            "error": "no",
        }
    ]


@pytest.mark.parametrize("format", ["text", "json"])
@pytest.mark.parametrize("value", HOSTILE)
def test_a_peers_bytes_cannot_forge_a_line(readable: ReadableLog, format: str, value: str) -> None:
    Log(readable.write, format=format).info("heard", name=value, next="n1")
    [line] = readable.lines()
    assert line.isascii()
    assert line.isprintable()
    if format == "json":
        assert json.loads(line)["name"] == value
    else:
        shown, _, following = line.partition(" name=")[2].rpartition(" next=")
        assert (json.loads(shown), following) == (value, "n1")


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_line_has_a_greatest_length_and_stays_whole(readable: ReadableLog, format: str) -> None:
    log = Log(readable.write, format=format)
    log.info("long", **{f"field{number}": "\x00" * 10_000 for number in range(20)})
    [line] = readable.lines()
    assert len(line) < LINE_BYTES_MAX
    if format == "json":
        assert json.loads(line)["field0"].startswith("\x00")


def test_levels_below_the_set_one_are_not_written(readable: ReadableLog) -> None:
    readable.log.set_level("warning")
    readable.log.debug("a")
    readable.log.info("b")
    readable.log.warning("c")
    readable.log.error("d")
    assert [line.split()[-1] for line in readable.lines()] == ["c", "d"]


def test_a_sentence_that_repeats_is_counted_and_told_later(readable: ReadableLog) -> None:
    for _ in range(REPEATS_MAX + 7):
        readable.log.info("again", member="n1")
    readable.log.info("something else")
    assert len(readable.lines()) == REPEATS_MAX + 1
    readable.now += REPEAT_WINDOW_S
    readable.log.info("again", member="n1")
    lines = readable.lines()
    assert "repeated lines held back line=again count=7" in lines[0]
    assert len(lines) == 2


def test_what_is_held_back_is_told_at_the_end(readable: ReadableLog) -> None:
    for _ in range(REPEATS_MAX + 1):
        readable.log.info("again")
    readable.lines()
    readable.log.tell_repeats(all=True)
    assert [line.partition("held back ")[2] for line in readable.lines()] == ["line=again count=1"]


def test_a_full_pipe_drops_lines_and_says_how_many(readable: ReadableLog) -> None:
    fcntl.fcntl(readable.write, fcntl.F_SETPIPE_SZ, 16_384)
    for number in range(1_000):
        readable.log.debug("filling", number=number)
    written = readable.lines()
    readable.log.debug("after")
    told, last = readable.lines()
    assert 0 < len(written) < 1_000
    assert told.endswith(f"log lines lost, nobody reads them count={1_000 - len(written)}")
    assert last.endswith("after")


def test_a_reader_that_went_away_is_no_error() -> None:
    read, write = os.pipe()
    log = Log(write)
    os.close(read)
    log.info("to nobody")
    os.close(write)
    assert log.dropped == 1
