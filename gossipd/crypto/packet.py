"""One packet: the header that every datagram and stream frame begins with, and the seal on what follows.

Layout: version 1, key id 4, session 12, counter 8, then the ciphertext and its tag; the 25 bytes of header are
authenticated. Without a keyring the same header goes before the plain payload, under an id that no key has; neither kind
is ever taken for the other. Which counters and sessions are acceptable is decided in `seal`.
"""

import struct
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gossipd.crypto.keyring import Keyring, derive, plain_id
from gossipd.errors import BrokenSeal, MalformedPacket, OversizedPacket, UnknownKey, UnknownVersion
from gossipd.limits import SEAL_HEADER_BYTES, SEAL_TAG_BYTES

VERSION = 1
SESSION_BYTES = 12
COUNTER_MAX = 2**63 - 1
"""Packets of one session; at a million a second, 292,000 years."""

_HEADER = struct.Struct(">B4s12sQ")
_NONCE = struct.Struct(">4xQ")
assert _HEADER.size == SEAL_HEADER_BYTES


class Header(NamedTuple):
    """What stands before every payload. *key_id* is the sealing key's, or the cluster's own in unsealed packets."""

    key_id: bytes
    session: bytes
    counter: int


class Keys:
    """The keyring as one cluster sees it: ids to keys, and what is derived from them."""

    def __init__(self, keyring: Keyring | None, cluster: str) -> None:
        self.cluster = cluster
        self.plain_id = plain_id(cluster)
        self._by_id = {} if keyring is None else keyring.by_id(cluster)
        self.primary_id = next(iter(self._by_id), self.plain_id)

    @property
    def sealed(self) -> bool:
        """Whether there is a key."""
        return bool(self._by_id)

    def knows(self, key_id: bytes) -> bool:
        """Return whether a packet under *key_id* can be ours: with keys, one of theirs; without, the cluster's own."""
        return key_id in self._by_id if self._by_id else key_id == self.plain_id

    def cipher(self, key_id: bytes, *, salt: bytes, purpose: str) -> AESGCM | None:
        """Return the cipher that the key of *key_id* makes for *salt* and *purpose*; None without keys."""
        if not self._by_id:
            return None
        return AESGCM(derive(self._by_id[key_id], salt=salt, purpose=purpose, cluster=self.cluster))


def seal_packet(cipher: AESGCM | None, header: Header, payload: bytes) -> bytes:
    """Return *header* and *payload*, encrypted and authenticated unless *cipher* is None.

    A header must never be used twice with one cipher: its counter is the nonce.
    """
    head = _HEADER.pack(VERSION, *header)
    return head + (payload if cipher is None else cipher.encrypt(_NONCE.pack(header.counter), payload, head))


def open_packet(cipher: AESGCM | None, header: Header, data: bytes) -> bytes:
    """Return the payload of *data*, whose header was read before. Raises: BrokenSeal."""
    if cipher is None:
        return data[SEAL_HEADER_BYTES:]
    try:
        return cipher.decrypt(_NONCE.pack(header.counter), data[SEAL_HEADER_BYTES:], data[:SEAL_HEADER_BYTES])
    except InvalidTag:
        raise BrokenSeal("forged or damaged") from None


def read_header(data: bytes, keys: Keys, *, bytes_max: int) -> Header:
    """Return the header of *data*. Raises: OversizedPacket, UnknownVersion, MalformedPacket, UnknownKey."""
    if len(data) > bytes_max:
        raise OversizedPacket(f"packet of {len(data)} bytes, expected at most {bytes_max}")
    if data and data[0] != VERSION:
        raise UnknownVersion(f"version={data[0]}, expected {VERSION}")
    if len(data) < SEAL_HEADER_BYTES:
        raise MalformedPacket(f"packet of {len(data)} bytes, expected at least {SEAL_HEADER_BYTES}")
    _, key_id, session, counter = _HEADER.unpack_from(data)
    if not keys.knows(key_id):
        raise UnknownKey(f"key id {key_id.hex()} is not ours")
    least = SEAL_HEADER_BYTES + (SEAL_TAG_BYTES if keys.sealed else 0)
    if len(data) < least:
        raise MalformedPacket(f"packet of {len(data)} bytes, expected at least {least}")
    if counter > COUNTER_MAX:
        raise MalformedPacket(f"counter={counter}, expected at most {COUNTER_MAX}")
    return Header(key_id, session, counter)
