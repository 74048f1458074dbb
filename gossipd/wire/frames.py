"""Length-prefixed frames: 4 bytes, big-endian, then as many bytes. Fed in pieces; for streams and the API socket."""

from gossipd.errors import OversizedPacket

LENGTH_BYTES = 4


def frame(data: bytes) -> bytes:
    """Return *data*, which is not empty, behind its length."""
    assert data, "an empty frame is not accepted by any reader"
    return len(data).to_bytes(LENGTH_BYTES) + data


class FrameReader:
    """Bytes in as they come, whole frames out. Holds at most one frame of *max_bytes*, besides what is being fed."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._broken: str | None = None

    @property
    def buffered_bytes(self) -> int:
        """Bytes of a frame whose end has not come; 0 where a stream may end."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that *data* completes, in order.

        Raises: OversizedPacket for a frame that is announced as empty or as larger than *max_bytes*, before any of its
        body is kept. Whole frames ahead of it in the same *data* are returned first; the error then comes with the next
        call. Nothing can follow it: every later call raises it again.
        """
        if self._broken is not None:
            raise OversizedPacket(self._broken)
        self._buffer += data
        frames: list[bytes] = []
        start = 0
        while len(self._buffer) - start >= LENGTH_BYTES:
            body = start + LENGTH_BYTES
            length = int.from_bytes(self._buffer[start:body])
            if not 1 <= length <= self._max_bytes:
                self._broken = f"frame of {length} bytes, expected 1 to {self._max_bytes}"
                self._buffer.clear()
                if not frames:
                    raise OversizedPacket(self._broken)
                return frames
            if len(self._buffer) - body < length:
                break
            frames.append(bytes(self._buffer[body : body + length]))
            start = body + length
        del self._buffer[:start]
        return frames
