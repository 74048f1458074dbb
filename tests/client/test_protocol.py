"""The conversation without a socket: what is said, what is understood however it is cut, and when to connect again."""

import json
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipd.client.protocol import (
    Answered,
    Backoff,
    Conversation,
    Ended,
    Message,
    Reconnection,
    Refused,
    Told,
    request,
)
from gossipd.errors import ConfigError, RequestError
from gossipd.limits import API_FRAME_BYTES_MAX

SAID = (
    b'{"id":1,"result":{"instances":[]}}\n'
    b'{"id":"w","error":{"code":"bad_request","message":"no"}}\n'
    b'{"id":2,"event":{"type":"snapshot","index":3}}\n'
)

GARBAGE = [
    b"hello",
    b"",
    b"[]",
    b"null",
    b"\xff\xfe",
    b'{"id":1}',
    b'{"id":1,"result":[]}',
    b'{"id":1,"event":"x"}',
    b'{"id":"mine","result":{}}',
    b'{"id":null,"result":{}}',
    b'{"id":true,"end":{}}',
    b'{"id":1.0,"end":{}}',
    b'{"result":{}}',
    b'{"id":[],"error":{}}',
    b"[" * 100_000,
    b'{"id":' + b"9" * 5_000 + b"}",
]


def heard(*pieces: bytes, answer_bytes_max: int = 1_000_000) -> tuple[list[Message], str | None]:
    """Return what is understood of *pieces*, and the code of the error that ended it."""
    conversation, messages = Conversation(answer_bytes_max=answer_bytes_max), []
    for piece in pieces:
        conversation.receive(piece)
        try:
            while (message := conversation.next_message()) is not None:
                messages.append(message)
        except RequestError as error:
            return messages, error.code
    return messages, None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"id":1,"result":{"a":1}}', Answered(1, {"a": 1})),
        (b'{"id":2,"event":{"type":"up"}}', Told(2, {"type": "up"})),
        (b'{"id":2,"end":{"reason":"unwatch"}}', Ended(2)),
    ],
)
def test_what_the_daemon_says_is_understood(line: bytes, message: Message) -> None:
    assert heard(line + b"\n") == ([message], None)


@pytest.mark.parametrize("id", [7, None])
def test_an_error_keeps_its_code_its_message_and_what_else_it_tells(id: int | None) -> None:
    error = {"code": "stale", "message": "too old", "view": {"index": 2}}
    [message], code = heard(json.dumps({"id": id, "error": error}).encode() + b"\n")
    assert code is None
    assert isinstance(message, Refused)
    assert message.id == id
    assert (message.error.code, str(message.error)) == ("stale", "too old")
    assert message.error.details == {"view": {"index": 2}}


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda line: repr(line[:20]))
def test_garbage_is_a_bad_answer_and_nothing_after_it_is_read(garbage: bytes) -> None:
    before, after = b'{"id":1,"result":{}}\n', b'{"id":2,"result":{}}\n'
    assert heard(before + garbage + b"\n" + after) == ([Answered(1, {})], "bad_answer")
    conversation = Conversation()
    conversation.receive(garbage + b"\n")
    for _ in range(2):
        with pytest.raises(RequestError, match="not gossipd as we know it"):
            conversation.next_message()
        conversation.receive(after)


@pytest.mark.parametrize("tail", [b"", b"\n"])
def test_an_answer_without_end_is_refused_before_it_fills_the_memory(tail: bytes) -> None:
    assert heard(b"x" * 101 + tail, answer_bytes_max=100) == ([], "bad_answer")
    line = b'{"id":1,"result":{}}'
    assert heard(line + b"\n", answer_bytes_max=len(line)) == ([Answered(1, {})], None)


@given(st.lists(st.integers(0, len(SAID)), max_size=12), st.binary(max_size=20))
def test_the_cuts_of_the_stream_change_nothing(cuts: list[int], tail: bytes) -> None:
    whole = SAID.replace(b'"w"', b"null") + tail
    ends = [0, *sorted(cuts), len(whole)]
    pieces = [whole[begin:end] for begin, end in pairwise(ends)]
    assert repr(heard(*pieces)) == repr(heard(whole))
    assert len(heard(whole)[0]) >= 3


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_any_bytes_raise_nothing_but_the_documented_error(pieces: list[bytes]) -> None:
    assert heard(*pieces)[1] in (None, "bad_answer")


WORDS = st.sampled_from(["id", "result", "error", "event", "end", "code"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(WORDS, inner),
    max_leaves=8,
)


@given(VALUES)
def test_any_json_raises_nothing_but_the_documented_error(value: object) -> None:
    assert heard(json.dumps(value).encode() + b"\n")[1] in (None, "bad_answer")


def test_a_request_is_one_line_without_what_is_none() -> None:
    line = request(3, "resolve", {"service": "web", "zone": None, "tags": ["ü"]})
    assert line == b'{"id": 3, "method": "resolve", "params": {"service": "web", "tags": ["\\u00fc"]}}\n'


@pytest.mark.parametrize("value", [float("nan"), b"bytes", object(), {1, 2}, "x" * API_FRAME_BYTES_MAX])
def test_a_request_that_cannot_be_said_says_so(value: object) -> None:
    with pytest.raises(RequestError, match=r"cannot be written as JSON|ask for less") as caught:
        request(1, "resolve", {"service": value})
    assert caught.value.code == "bad_request"


def test_the_longest_pause_doubles_up_to_its_cap_and_is_short_again_after_an_answer() -> None:
    class Longest(Random):
        def random(self) -> float:
            return 1.0

    plan = Reconnection(Backoff(base_s=0.1, pause_max_s=0.5), Longest())
    pauses = []
    for _ in range(5):
        plan.failed(now=10.0)
        pauses.append(round(plan.due_at - 10.0, 3))
    assert pauses == [0.1, 0.2, 0.4, 0.5, 0.5]
    plan.succeeded()
    plan.failed(now=10.0)
    assert plan.due_at == 10.1


@given(st.integers(0, 2_000), st.integers(0, 2**32))
def test_a_pause_is_never_longer_than_its_cap(failures: int, seed: int) -> None:
    plan = Reconnection(Backoff(), Random(seed))
    plan.failures = failures
    plan.failed(now=5.0)
    assert 5.0 <= plan.due_at <= 5.0 + Backoff().pause_max_s


@pytest.mark.parametrize(("field", "value"), [("base_s", 0.0), ("pause_max_s", 0.01), ("base_s", 4_000.0)])
def test_a_wrong_pause_is_refused(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=r"backoff\.\w+=.*expected"):
        Backoff(**{field: value})
