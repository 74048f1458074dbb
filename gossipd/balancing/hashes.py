"""Hashes that agree between processes, machines and versions: never Python's `hash()`, which differs in every process."""

from hashlib import blake2b

from gossipd.balancing.base import WorkKey
from gossipd.balancing.endpoint import Key

MASK = 2**64 - 1
POINTS_PER_DIGEST = 8
"""64 bytes of one BLAKE2b digest, in words of 8."""


def work_hash(key: WorkKey) -> int:
    """Return the 64-bit hash of what identifies a piece of work; text, its UTF-8 bytes, and a number's digits are alike.

    Raises: TypeError if *key* is None or of another type.
    """
    if isinstance(key, str):
        data = key.encode("utf-8", "surrogatepass")
    elif isinstance(key, bytes):
        data = key
    elif type(key) is int:
        data = b"%d" % key
    elif key is None:
        raise TypeError(
            "key is missing, expected text, bytes or a whole number: equal keys go to the same instance; pick(key)"
        )
    else:
        raise TypeError(
            f"key={key!r} is a {type(key).__name__}, expected text, bytes or a whole number: make one of it"
        )
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


def instance_points(key: Key, count: int) -> list[int]:
    """Return the first *count* of an endless row of 64-bit hashes that belong to the instance *key*."""
    name = f"{key[0]}\0{key[1]}\0".encode("utf-8", "surrogatepass")
    points: list[int] = []
    while len(points) < count:
        digest = blake2b(name + b"%d" % len(points)).digest()
        points += [int.from_bytes(digest[at : at + 8], "big") for at in range(0, 8 * POINTS_PER_DIGEST, 8)]
    return points[:count]


def mixed(value: int) -> int:
    """Return a 64-bit number, each bit of which depends on each bit of the 64-bit *value*; one to one.

    Source: the finalizer of MurmurHash3 (Appleby).
    """
    value ^= value >> 33
    value = value * 0xFF51AFD7ED558CCD & MASK
    value ^= value >> 33
    value = value * 0xC4CEB9FE1A85EC53 & MASK
    return value ^ value >> 33
