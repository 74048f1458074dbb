"""Frames: whole, cut anywhere, several at once; and never more memory than one frame."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipd.errors import OversizedPacket
from gossipd.wire.frames import FrameReader, frame


def test_a_frame_is_its_length_and_its_bytes() -> None:
    assert frame(b"abc") == b"\x00\x00\x00\x03abc"


def test_a_frame_is_handed_out_once_its_last_byte_is_there() -> None:
    reader = FrameReader(16)
    assert reader.feed(frame(b"abc")[:-1]) == []
    assert reader.buffered_bytes == 6
    assert reader.feed(b"c") == [b"abc"]
    assert reader.buffered_bytes == 0


@given(st.lists(st.binary(min_size=1, max_size=16), max_size=6), st.data())
def test_frames_come_out_whole_however_they_are_cut(frames: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(frame, frames))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader = FrameReader(16)
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [found for piece in pieces for found in reader.feed(piece)] == frames
    assert reader.buffered_bytes == 0


def test_a_frame_cut_at_any_length_waits_for_its_rest() -> None:
    whole = frame(b"abc")
    for length in range(len(whole)):
        reader = FrameReader(16)
        assert reader.feed(whole[:length]) == []
        assert reader.feed(whole[length:] + b"\x00") == [b"abc"]
        assert reader.buffered_bytes == 1


@pytest.mark.parametrize("length", [0, 17, 2**31, 2**32 - 1])
def test_a_frame_of_wrong_length_is_refused_before_its_body_comes(length: int) -> None:
    reader = FrameReader(16)
    with pytest.raises(OversizedPacket, match=f"frame of {length} bytes, expected 1 to 16"):
        reader.feed(length.to_bytes(4))
    assert reader.buffered_bytes == 0
    with pytest.raises(OversizedPacket):
        reader.feed(frame(b"abc"))
    assert reader.buffered_bytes == 0


def test_whole_frames_ahead_of_a_wrong_one_are_handed_out_first() -> None:
    reader = FrameReader(16)
    assert reader.feed(frame(b"abc") + bytes(4)) == [b"abc"]
    with pytest.raises(OversizedPacket):
        reader.feed(b"")


def test_a_frame_of_the_full_length_is_accepted() -> None:
    assert FrameReader(16).feed(frame(b"x" * 16)) == [b"x" * 16]


def test_an_empty_frame_is_never_written() -> None:
    with pytest.raises(AssertionError):
        frame(b"")
