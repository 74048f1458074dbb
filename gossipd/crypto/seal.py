"""The seals: of datagrams, where each packet stands alone, and of streams, where frames are numbered without a gap.

Datagrams: AES-256-GCM under a key of the sender's session, with the counter as nonce and a window against replays.

Streams: each end draws a session of its own. The opening frame is under a key of the initiator's session alone, since the
other's is not known yet; every later one is under a key of both, so a recorded frame fits no other conversation, place or
direction. What is left is the opening frame itself: the acceptor remembers whose it has seen.

Sessions are 12 random bytes and come in by the door. Layout and header are in `packet`.
"""

from collections import OrderedDict
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gossipd.crypto.keyring import Keyring
from gossipd.crypto.packet import COUNTER_MAX, SESSION_BYTES, Header, Keys, open_packet, read_header, seal_packet
from gossipd.errors import BrokenSeal, OwnStream, ReplayedPacket, UnknownKey
from gossipd.limits import (
    DATAGRAM_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    REPLAY_WINDOW,
    SESSIONS_MAX,
    STREAM_FRAME_BYTES_MAX,
    STREAM_PAYLOAD_BYTES_MAX,
    STREAM_SESSIONS_MAX,
)

DATAGRAM = "datagram"
"""The purpose of a session's key for its datagrams."""
OPEN = "stream-open"
"""The purpose of the key for the opening frame."""
REPLY = "stream-reply"
"""The purpose of the key for every frame of the acceptor."""
MORE = "stream-more"
"""The purpose of the key for every frame of the initiator but the first."""

_WINDOW_MASK = (1 << REPLAY_WINDOW) - 1


class Opened(NamedTuple):
    """A datagram that was accepted, once: nobody will be given it a second time."""

    session: bytes
    counter: int
    payload: bytes


class Sealer:
    """Seals the datagrams of one run of a daemon. *session* is 12 random bytes that no other run has had."""

    def __init__(self, keyring: Keyring | None, cluster: str, session: bytes) -> None:
        assert len(session) == SESSION_BYTES, len(session)
        self.session = session
        self._counter = 0
        self._use(Keys(keyring, cluster))

    @property
    def counter(self) -> int:
        """How many packets have been sealed."""
        return self._counter

    def seal(self, payload: bytes) -> bytes:
        """Return the datagram with *payload*, at most PAYLOAD_BYTES_MAX; the same bytes may go to several targets."""
        assert len(payload) <= PAYLOAD_BYTES_MAX, len(payload)
        assert self._counter <= COUNTER_MAX, "a nonce would be used twice"
        header = Header(self._keys.primary_id, self.session, self._counter)
        self._counter += 1
        return seal_packet(self._cipher, header, payload)

    def rekey(self, keyring: Keyring | None) -> None:
        """Seal with the first key of *keyring* from now on; the counter goes on, so going back repeats no nonce.

        Raises: ValueError if there was a key and is to be none: a running daemon never downgrades.
        """
        if keyring is None and self._keys.sealed:
            raise ValueError("keyring=None, expected a keyring: there is one already")
        self._use(Keys(keyring, self._keys.cluster))

    def _use(self, keys: Keys) -> None:
        self._keys = keys
        self._cipher = keys.cipher(keys.primary_id, salt=self.session, purpose=DATAGRAM)


class _Session:
    """What is remembered of one sender's run: the cipher of the key it uses now, and which counters were seen."""

    __slots__ = ("cipher", "key_id", "newest", "seen")

    def __init__(self, key_id: bytes, cipher: AESGCM | None, counter: int) -> None:
        self.key_id = key_id
        self.cipher = cipher
        self.newest = counter
        self.seen = 1
        """Bit n stands for the counter *newest* - n."""

    def was_seen(self, counter: int) -> bool:
        """Return whether *counter* was seen, or lies too far back to know."""
        behind = self.newest - counter
        return behind >= 0 and (behind >= REPLAY_WINDOW or bool(self.seen >> behind & 1))

    def mark(self, counter: int) -> None:
        """Remember *counter*, which was not seen before."""
        ahead = counter - self.newest
        if ahead <= 0:
            self.seen |= 1 << -ahead
            return
        self.seen = 1 if ahead >= REPLAY_WINDOW else (self.seen << ahead | 1) & _WINDOW_MASK
        self.newest = counter


class Opener:
    """Opens datagrams, each once. Remembers SESSIONS_MAX senders; only an authentic packet makes it remember anything.

    *own_session* is our sealer's: what we sealed ourselves and somebody sends back to us is a replay.
    """

    def __init__(self, keyring: Keyring | None, cluster: str, own_session: bytes) -> None:
        self._keys = Keys(keyring, cluster)
        self._own_session = own_session
        self._sessions: OrderedDict[bytes, _Session] = OrderedDict()

    def __len__(self) -> int:
        """Return how many sessions are remembered."""
        return len(self._sessions)

    def open_untrusted(self, data: bytes) -> Opened:
        """Return the payload of a datagram, with the session and the counter that sealed it.

        Raises: OversizedPacket, UnknownVersion, MalformedPacket, UnknownKey, ReplayedPacket, BrokenSeal.
        """
        header = read_header(data, self._keys, bytes_max=DATAGRAM_BYTES_MAX)
        key_id, session, counter = header
        if session == self._own_session:
            raise ReplayedPacket("our own packet came back")
        known = self._sessions.get(session)
        if known is None:
            cipher = self._keys.cipher(key_id, salt=session, purpose=DATAGRAM)
            payload = open_packet(cipher, header, data)
            self._sessions[session] = _Session(key_id, cipher, counter)
            if len(self._sessions) > SESSIONS_MAX:
                self._sessions.popitem(last=False)
            return Opened(session, counter, payload)
        if known.was_seen(counter):
            raise ReplayedPacket(f"counter={counter}, expected one not seen, above {known.newest - REPLAY_WINDOW}")
        if known.key_id == key_id:
            payload = open_packet(known.cipher, header, data)
        else:  # the sender has changed its key; the session, and so the window, go on
            cipher = self._keys.cipher(key_id, salt=session, purpose=DATAGRAM)
            payload = open_packet(cipher, header, data)
            known.key_id, known.cipher = key_id, cipher
        known.mark(counter)
        self._sessions.move_to_end(session)
        return Opened(session, counter, payload)

    def rekey(self, keyring: Keyring | None) -> None:
        """Open with the keys of *keyring* from now on; windows are kept. Raises: ValueError, as `Sealer.rekey`."""
        if keyring is None and self._keys.sealed:
            raise ValueError("keyring=None, expected a keyring: there is one already")
        self._keys = Keys(keyring, self._keys.cluster)
        for known in self._sessions.values():
            known.key_id, known.cipher = b"", None  # no key has this id: the cipher is made again with the next packet


class SeenStreams:
    """Sessions that opened a stream, the last STREAM_SESSIONS_MAX of them: one for all streams of a daemon."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[bytes, bool] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, session: bytes) -> bool:
        return session in self._sessions

    def is_ours(self, session: bytes) -> bool:
        """Return whether we opened the stream of *session*."""
        return self._sessions.get(session, False)

    def add(self, session: bytes, *, ours: bool = False) -> None:
        """Remember *session*; the oldest goes when there are too many."""
        self._sessions[session] = ours
        if len(self._sessions) > STREAM_SESSIONS_MAX:
            self._sessions.popitem(last=False)


class _Direction:
    """One direction of a stream: its cipher, its session, and the number of its next frame."""

    __slots__ = ("cipher", "counter", "session")

    def __init__(self, session: bytes, cipher: AESGCM | None, counter: int) -> None:
        self.session = session
        self.cipher = cipher
        self.counter = counter

    def seal(self, key_id: bytes, payload: bytes) -> bytes:
        assert len(payload) <= STREAM_PAYLOAD_BYTES_MAX, len(payload)
        assert self.counter <= COUNTER_MAX, "a nonce would be used twice"
        header = Header(key_id, self.session, self.counter)
        self.counter += 1
        return seal_packet(self.cipher, header, payload)

    def open(self, key_id: bytes, header: Header, frame: bytes) -> bytes:
        if header.key_id != key_id:
            raise UnknownKey(f"key id {header.key_id.hex()}, expected {key_id.hex()} in all frames of this stream")
        if header.session != self.session:
            raise BrokenSeal("a frame of another stream")
        if header.counter != self.counter:
            raise ReplayedPacket(f"counter={header.counter}, expected {self.counter}: frames come in order, each once")
        payload = open_packet(self.cipher, header, frame)
        self.counter += 1
        return payload


class InitiatorSeal:
    """The end that opened the stream. It seals one frame, and more only after it has opened the first answer.

    *session* is 12 random bytes of this stream alone; *seen* is the daemon's, so that it never accepts what it opened.
    """

    def __init__(self, keyring: Keyring | None, cluster: str, session: bytes, seen: SeenStreams) -> None:
        assert len(session) == SESSION_BYTES, len(session)
        self._keys = Keys(keyring, cluster)
        self._key_id = self._keys.primary_id
        self._opening: _Direction | None = _Direction(session, self._cipher(session, OPEN), 0)
        self.session = session
        self._more: _Direction | None = None
        self._replies: _Direction | None = None
        seen.add(session, ours=True)

    def seal(self, payload: bytes) -> bytes:
        """Return the next frame with *payload*, at most STREAM_PAYLOAD_BYTES_MAX."""
        if self._opening is not None:
            opening, self._opening = self._opening, None
            return opening.seal(self._key_id, payload)
        assert self._more is not None, "a second frame before the first answer: its key is not known yet"
        return self._more.seal(self._key_id, payload)

    def open_untrusted(self, frame: bytes) -> bytes:
        """Return the payload of the acceptor's next frame. After an error the stream is to be closed.

        Raises: OversizedPacket, UnknownVersion, MalformedPacket, UnknownKey, ReplayedPacket, BrokenSeal.
        """
        header = read_header(frame, self._keys, bytes_max=STREAM_FRAME_BYTES_MAX)
        if self._replies is not None:
            return self._replies.open(self._key_id, header, frame)
        if header.session == self.session:
            raise ReplayedPacket("our own frame came back")
        both = self.session + header.session
        replies = _Direction(header.session, self._cipher(both, REPLY), 0)
        payload = replies.open(self._key_id, header, frame)
        self._replies = replies
        self._more = _Direction(self.session, self._cipher(both, MORE), 1)
        return payload

    def _cipher(self, salt: bytes, purpose: str) -> AESGCM | None:
        return self._keys.cipher(self._key_id, salt=salt, purpose=purpose)


class AcceptorSeal:
    """The end that was called. It opens one frame before it seals any, and answers with the key that the initiator used.

    *session* is 12 random bytes of this stream alone; *seen* is the daemon's memory of opening frames.
    """

    def __init__(self, keyring: Keyring | None, cluster: str, session: bytes, seen: SeenStreams) -> None:
        assert len(session) == SESSION_BYTES, len(session)
        self._keys = Keys(keyring, cluster)
        self._key_id = b""
        self.session = session
        self._seen = seen
        self._more: _Direction | None = None
        self._replies: _Direction | None = None

    def seal(self, payload: bytes) -> bytes:
        """Return the next frame with *payload*, at most STREAM_PAYLOAD_BYTES_MAX."""
        assert self._replies is not None, "an answer before the opening frame: its key is not known yet"
        return self._replies.seal(self._key_id, payload)

    def open_untrusted(self, frame: bytes) -> bytes:
        """Return the payload of the initiator's next frame. After an error the stream is to be closed.

        Raises: OversizedPacket, UnknownVersion, MalformedPacket, UnknownKey, ReplayedPacket, OwnStream, BrokenSeal.
        """
        header = read_header(frame, self._keys, bytes_max=STREAM_FRAME_BYTES_MAX)
        if self._more is not None:
            return self._more.open(self._key_id, header, frame)
        if self._seen.is_ours(header.session):
            raise OwnStream(header.session)
        if header.session in self._seen or header.session == self.session:
            raise ReplayedPacket("this stream was opened before")
        opening = _Direction(header.session, self._cipher(header.key_id, header.session, OPEN), 0)
        payload = opening.open(header.key_id, header, frame)
        self._seen.add(header.session)
        self._key_id = header.key_id
        both = header.session + self.session
        self._more = _Direction(header.session, self._cipher(header.key_id, both, MORE), 1)
        self._replies = _Direction(self.session, self._cipher(header.key_id, both, REPLY), 0)
        return payload

    def _cipher(self, key_id: bytes, salt: bytes, purpose: str) -> AESGCM | None:
        return self._keys.cipher(key_id, salt=salt, purpose=purpose)
