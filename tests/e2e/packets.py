"""Packets that a daemon should not like, and some that it should: made with the real seal and codec, sent on loopback."""

import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Self

from gossipd.crypto.keyring import Keyring
from gossipd.crypto.seal import Opener, Sealer
from gossipd.ids import Address, Incarnation, NodeId
from gossipd.limits import DATAGRAM_BYTES_MAX
from gossipd.records import Claim, Status
from gossipd.wire.codec import decode_envelope_untrusted, encode_message, join_envelope
from gossipd.wire.messages import Envelope, Message, Ping
from simulations.reality.cluster import Daemon, wait_until

FLOOD_MAX = 20_000
"""Most datagrams of one flood: a few seconds of loopback."""


class Stranger:
    """A UDP socket of loopback, and the key in *keyring*: what it says is authentic if that key is the cluster's."""

    def __init__(self, keyring: Path, cluster: str, *, name: str = "stranger") -> None:
        keys = Keyring.parse(keyring.read_text())
        session = os.urandom(12)
        self.name = NodeId(name)
        self._sealer = Sealer(keys, cluster, session)
        self._opener = Opener(keys, cluster, session)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def seal(self, *messages: Message) -> bytes:
        """Return the next authentic datagram."""
        return self._sealer.seal(join_envelope(self.name, [encode_message(message) for message in messages]))

    def send(self, target: Daemon, *datagrams: bytes) -> None:
        """Send *datagrams* as they are, to loopback only."""
        assert target.host == "127.0.0.1", target.host
        for data in datagrams:
            self._socket.sendto(data, (target.host, target.port))

    def receive(self, *, within_s: float) -> Envelope | None:
        """Return what was answered; None if nothing is within *within_s* seconds."""
        until = time.monotonic() + within_s
        while (left := until - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(DATAGRAM_BYTES_MAX + 1)
            except TimeoutError:
                return None
            return decode_envelope_untrusted(self._opener.open_untrusted(data).payload)
        return None

    def flood(self, target: Daemon, *, seed: int, datagrams: int, per_s: float) -> int:
        """Send random *datagrams* of random length, at most *per_s* a second; return how many the system took."""
        assert datagrams <= FLOOD_MAX, datagrams
        rng = Random(seed)
        begun, sent = time.monotonic(), 0
        for number in range(datagrams):
            wait_s = begun + number / per_s - time.monotonic()
            if wait_s > 0:
                time.sleep(wait_s)
            length = rng.randrange(1, DATAGRAM_BYTES_MAX + 1)
            # every second one has a version that we speak, or only the first byte would ever be looked at
            data = rng.randbytes(length) if number % 2 else b"\x01" + rng.randbytes(length - 1)
            sent += self._socket.sendto(data, (target.host, target.port)) == length
        return sent


def a_death(member: Daemon, *, accuser: str) -> Claim:
    """Return the claim that *member* is dead, of a later incarnation than it has: believed by whoever opens it."""
    row = member.info()
    host, _, port = row["address"].rpartition(":")
    return Claim(
        member=NodeId(member.name),
        incarnation=Incarnation(row["epoch"] + 1_000, 0),
        status=Status.DEAD,
        address=Address(host, int(port)),
        accuser=NodeId(accuser),
    )


def a_ping(target: Daemon, sequence: int = 7) -> Ping:
    return Ping(sequence=sequence, target=NodeId(target.name))


def flipped(data: bytes, *, at: int) -> bytes:
    """Return *data* with one bit changed."""
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def dropped_since(before: dict[str, int], daemon: Daemon) -> dict[str, int]:
    """Return by reason how many packets *daemon* has dropped since its counters were *before*."""
    now: dict[str, int] = daemon.statistics()["dropped"]
    return {reason: count - before.get(reason, 0) for reason, count in now.items() if count != before.get(reason, 0)}


def wait_dropped(daemon: Daemon, before: dict[str, int], expected: dict[str, int]) -> None:
    """Return once *daemon* has dropped exactly *expected*, by reason, since its counters were *before*."""

    def counted() -> bool:
        seen = dropped_since(before, daemon)
        assert seen == expected, seen
        return True

    wait_until(counted, what=f"{daemon.name} has counted {expected}", within_s=20)


def total(counts: dict[str, int], reasons: Sequence[str]) -> int:
    """Return the sum of *counts* over *reasons*."""
    return sum(counts.get(reason, 0) for reason in reasons)
