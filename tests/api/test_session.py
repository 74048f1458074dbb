"""Bytes to calls: both encodings, cut anywhere, and everything that can be wrong with them."""

import json

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipd.api.encoding import JSON, MESSAGE_PACK, plain
from gossipd.api.session import Call, Fault, Session
from tests.fakes_api import an_instance


def a_line(**message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"


def a_frame(body: object) -> bytes:
    packed: bytes = body if isinstance(body, bytes) else msgpack.packb(body)
    return len(packed).to_bytes(4, "big") + packed


def read(session: Session, data: bytes) -> list[Call | Fault]:
    session.receive(data)
    return list(iter(session.next, None))


def the_end(session: Session) -> list[Call | Fault]:
    session.finish()
    return list(iter(session.next, None))


def the_fault(found: list[Call | Fault]) -> tuple[object, str, str]:
    [fault] = found
    assert isinstance(fault, Fault)
    return fault.id, fault.error.code, str(fault.error)


def test_the_same_requests_are_read_from_lines_and_from_frames() -> None:
    messages: list[dict[str, object]] = [
        {"id": 1, "method": "members"},
        {"id": "a", "method": "resolve", "params": {"service": "web"}},
        {"method": "info", "params": {}},
        {"id": None, "method": "info"},
    ]
    calls = [
        Call(1, "members", {}),
        Call("a", "resolve", {"service": "web"}),
        Call(None, "info", {}),
        Call(None, "info", {}),
    ]
    assert read(Session(), b"".join(a_line(**message) for message in messages)) == calls
    assert read(Session(), b"".join(a_frame(message) for message in messages)) == calls


@pytest.mark.parametrize("encode", [lambda message: a_line(**message), a_frame])
def test_requests_cut_at_every_byte_are_read_all_the_same(encode: object) -> None:
    assert callable(encode)
    data = encode({"id": 1, "method": "members"}) + encode({"id": 2, "method": "info"})
    for cut in range(len(data) + 1):
        session = Session()
        found = read(session, data[:cut]) + read(session, data[cut:]) + the_end(session)
        assert found == [Call(1, "members", {}), Call(2, "info", {})], cut


def test_empty_lines_and_carriage_returns_are_nothing() -> None:
    assert read(Session(), b'\r\n\n  \n {"method":"info"}\r\n  ') == [Call(None, "info", {})]


def test_a_message_is_decoded_when_it_is_asked_for_and_not_before() -> None:
    session = Session()
    session.receive(a_line(id=1, method="info") + b"{\n" * 10)
    assert session.buffered_bytes == len(a_line(id=1, method="info")) + 20
    assert session.next() == Call(1, "info", {})
    assert session.buffered_bytes == 20
    assert isinstance(session.next(), Fault)
    assert session.buffered_bytes == 18


def test_the_last_line_needs_no_newline() -> None:
    session = Session()
    assert read(session, b'{"method":"info"}') == []
    assert the_end(session) == [Call(None, "info", {})]
    assert not session.broken


@pytest.mark.parametrize("data", [b'{"method":"inf', a_frame({"method": "info"})[:-1], b"\x00\x00"])
def test_input_that_ends_in_the_middle_of_a_message_is_a_bad_frame(data: bytes) -> None:
    session = Session()
    assert read(session, data) == []
    id, code, message = the_fault(the_end(session))
    assert (id, code) == (None, "bad_frame")
    assert f"after {len(data)} bytes" in message
    assert session.broken


@pytest.mark.parametrize("data", [b"help\n", b"GET / HTTP/1.1\r\n\r\n", b"\xff\xfe{\x00", b"[1]\n"])
def test_a_first_byte_of_neither_encoding_is_a_bad_frame_and_nothing_follows(data: bytes) -> None:
    session = Session()
    assert the_fault(read(session, data))[:2] == (None, "bad_frame")
    assert session.broken
    assert read(session, a_line(method="info")) == []
    assert the_end(session) == []


def test_a_line_of_more_than_the_limit_is_a_bad_frame_and_is_not_held() -> None:
    session = Session(frame_bytes_max=100)
    found = read(session, a_line(method="info") + b"{" + b" " * 100)
    assert found[0] == Call(None, "info", {})
    assert the_fault(found[1:])[:2] == (None, "bad_frame")
    assert session.buffered_bytes == 0


def test_a_whole_line_of_more_than_the_limit_is_a_bad_frame() -> None:
    session = Session(frame_bytes_max=100)
    assert the_fault(read(session, b"{" + b" " * 100 + b"}\n"))[1] == "bad_frame"


def test_a_frame_of_more_than_the_limit_is_a_bad_frame_from_its_header_on() -> None:
    session = Session(frame_bytes_max=100)
    found = read(session, a_frame({"method": "info"}) + (101).to_bytes(4, "big"))
    assert found[0] == Call(None, "info", {})
    assert the_fault(found[1:]) == (None, "bad_frame", "a frame of 101 bytes, expected at most 100")


def test_a_message_of_exactly_the_limit_is_read() -> None:
    line = b'{"method":"info"}'
    assert read(Session(frame_bytes_max=len(line)), line + b"\n") == [Call(None, "info", {})]
    frame = a_frame({"method": "info"})
    assert read(Session(frame_bytes_max=len(frame) - 4), frame) == [Call(None, "info", {})]


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"{}}",
        b'{"id":NaN,"method":"info"}',
        b'{"id":1,"method":"info","params":{"limit":Infinity}}',
        b'{"id":1,"id":2,"method":"info"}',
        b'{"method":"info","params":{"a":1,"a":1}}',
        b'{"method":"\xff"}',
        b"{'method': 'info'}",
        b'{"id":' + b"9" * 5_000 + b"}",
        b'{"method":' + b"[" * 100_000,
        b'{"params":' + b'{"a":' * 20_000,
    ],
)
def test_a_bad_line_is_a_bad_request_and_the_next_line_is_read(line: bytes) -> None:
    session = Session()
    found = read(session, line + b"\n" + a_line(id=2, method="info"))
    assert the_fault(found[:1])[:2] == (None, "bad_request")
    assert found[1:] == [Call(2, "info", {})]
    assert not session.broken


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x81",
        msgpack.packb({"method": "info"}) + b"\x00",
        b"\x91" * 100_000,
        b"\x81\xa1a" * 30_000,
        msgpack.packb({"method": msgpack.ExtType(5, b"x")}),
        msgpack.packb({b"method": "info"}),
        msgpack.packb({1: "info"}),
        b"\x82\xa2id\x01\xa2id\x02",
        b"\x81\xa6method\xa1\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\x81\x91\x01\x01",
    ],
)
def test_a_bad_frame_body_is_a_bad_request_and_the_next_frame_is_read(body: bytes) -> None:
    session = Session()
    found = read(session, a_frame(body) + a_frame({"id": 2, "method": "info"}))
    assert the_fault(found[:1])[:2] == (None, "bad_request")
    assert found[1:] == [Call(2, "info", {})]
    assert not session.broken


@pytest.mark.parametrize(
    ("message", "id"),
    [
        ({"id": 1.5, "method": "info"}, None),
        ({"id": True, "method": "info"}, None),
        ({"id": [], "method": "info"}, None),
        ({"id": "x" * 65, "method": "info"}, None),
        ({"id": "é" * 33, "method": "info"}, None),
        ({"id": "\ud800", "method": "info"}, None),
        ({"id": 2**64, "method": "info"}, None),
        ({"id": 7}, 7),
        ({"id": 7, "method": 3}, 7),
        ({"id": 7, "method": "info", "params": []}, 7),
        ({"id": 7, "method": "info", "params": None}, 7),
        ({"id": 7, "method": "info", "parms": {}}, 7),
    ],
)
def test_a_wrong_envelope_is_a_bad_request_with_its_id_if_that_is_right(message: dict[str, object], id: object) -> None:
    assert the_fault(read(Session(), a_line(**message)))[:2] == (id, "bad_request")


def test_bytes_and_times_of_msgpack_are_no_id_and_no_method() -> None:
    for wrong in (b"x", msgpack.Timestamp(1)):
        assert the_fault(read(Session(), a_frame({"id": wrong, "method": "info"})))[1] == "bad_request"
        assert the_fault(read(Session(), a_frame({"id": 1, "method": wrong})))[:2] == (1, "bad_request")


@pytest.mark.parametrize("id", [0, -(2**63), 2**64 - 1, "", "x" * 64, "\u00e9\n\x00", None])
@pytest.mark.parametrize("encoding", [JSON, MESSAGE_PACK])
def test_an_id_is_echoed_exactly(encoding: object, id: int | str | None) -> None:
    made = encoding.message(id, "result", encoding.mapping([("a", encoding.value([1, "é"]))]))  # type: ignore[attr-defined]
    expected = {"id": id, "result": {"a": [1, "é"]}}
    if encoding is JSON:
        assert made.endswith(b"\n")
        assert made.isascii()
        assert json.loads(made) == expected
    else:
        assert int.from_bytes(made[:4], "big") == len(made) - 4
        assert msgpack.unpackb(made[4:]) == expected


def test_rows_are_plain_maps_with_rounded_ages_and_null_for_what_is_not_finite() -> None:
    row = plain(an_instance())
    assert isinstance(row, dict)
    assert row["age_s"] == 0.25
    assert row["metadata"] == {"owner": "kim"}
    assert plain([0.123456, float("inf"), float("nan"), True, None, (1, "x")]) == [
        0.123,
        None,
        None,
        True,
        None,
        [1, "x"],
    ]


@given(
    st.lists(st.binary(max_size=200), max_size=8), st.sampled_from([b"", b"{", b"\x00\x00\x00", b"\x00\x00\x00\x05"])
)
def test_arbitrary_bytes_never_raise_and_hold_no_more_than_the_limit(chunks: list[bytes], start: bytes) -> None:
    session = Session(frame_bytes_max=64)
    for chunk in [start, *chunks]:
        read(session, chunk)
        assert session.buffered_bytes <= 64 + 4
    the_end(session)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["info", "id", "method"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["id", "method", "params", "x"]), inner),
)


@given(VALUES)
def test_any_json_value_is_a_call_or_a_fault(value: object) -> None:
    [found] = read(Session(), b" " + json.dumps(value).encode() + b"\n")
    assert isinstance(found, Call | Fault)
