"""The keys of a cluster: which one seals, which may open, and the short ids by which packets name them.

Nothing here shows a key: not its repr, not an error, not an id. Entropy comes in; files are the shell's business.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gossipd.errors import ConfigError
from gossipd.limits import KEYS_MAX

KEY_ID_BYTES = 4
KEY_BYTES = (16, 24, 32)
"""Accepted lengths of a key. All are stretched to 32 bytes: the cipher is always AES-256."""

_EXPECTED = "16, 24 or 32 bytes in base64"


@dataclass(frozen=True, slots=True)
class Keyring:
    """1 to KEYS_MAX different *keys* of 16, 24 or 32 bytes. The first seals, every one opens. Raises: ConfigError."""

    keys: tuple[bytes, ...] = field(repr=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.keys) <= KEYS_MAX:
            raise ConfigError(f"keyring of {len(self.keys)} keys, expected 1 to {KEYS_MAX}")
        for number, key in enumerate(self.keys, start=1):
            if type(key) is not bytes or len(key) not in KEY_BYTES:
                raise ConfigError(f"key {number} of the keyring, expected {_EXPECTED}")
            if key in self.keys[: number - 1]:
                raise ConfigError(f"key {number} of the keyring is there twice, expected each once")

    @classmethod
    def parse(cls, text: str) -> "Keyring":
        """Return the keyring in the *text* of a file: one base64 key a line; '#' begins a comment.

        Raises: ConfigError that names the line and what was expected there, never what stands there.
        """
        keys: list[bytes] = []
        for number, line in enumerate(text.split("\n"), start=1):
            encoded = line.partition("#")[0].strip()
            if not encoded:
                continue
            try:
                key = base64.b64decode(encoded, validate=True)
            except ValueError:
                raise ConfigError(f"line {number}, expected one key: {_EXPECTED}") from None
            if len(key) not in KEY_BYTES:
                raise ConfigError(f"line {number} has {len(key)} bytes, expected one key: {_EXPECTED}")
            if key in keys:
                raise ConfigError(f"line {number} repeats an earlier key, expected each once")
            if len(keys) == KEYS_MAX:
                raise ConfigError(f"line {number} has one key too many, expected at most {KEYS_MAX}")
            keys.append(key)
        if not keys:
            raise ConfigError(f"no key in the file, expected 1 to {KEYS_MAX}: one a line, {_EXPECTED}")
        return cls(tuple(keys))

    def key_ids(self, cluster: str) -> tuple[str, ...]:
        """Return the ids of the keys in *cluster*, as hex, the sealing key's first; they may be shown to anybody."""
        return tuple(key_id(key, cluster).hex() for key in self.keys)

    def by_id(self, cluster: str) -> dict[bytes, bytes]:
        """Return the keys by their ids in *cluster*, the sealing key first.

        Raises: ConfigError if two have one id (once in 2**32 pairs), or one has the id of unsealed packets.
        """
        keys = {key_id(key, cluster): key for key in self.keys}
        if len(keys) < len(self.keys) or plain_id(cluster) in keys:
            raise ConfigError("two keys of the keyring have the same id by chance, expected others: generate a new one")
        return keys


def generate_key(entropy: Callable[[int], bytes]) -> bytes:
    """Return a new key of 32 bytes from *entropy*, which must be as good as os.urandom."""
    key = entropy(32)
    assert len(key) == 32, len(key)
    return key


def encode_key(key: bytes) -> str:
    """Return *key* as its line in a keyring file, without the line end. It is the secret itself."""
    return base64.b64encode(key).decode()


def key_id(key: bytes, cluster: str) -> bytes:
    """Return the 4 bytes by which packets of *cluster* name *key*; they tell nothing about the key."""
    return derive(key, salt=b"", purpose="key-id", cluster=cluster, length=KEY_ID_BYTES)


def plain_id(cluster: str) -> bytes:
    """Return the 4 bytes that stand in place of a key id in unsealed packets of *cluster*."""
    return sha256(_info("plaintext", cluster)).digest()[:KEY_ID_BYTES]


def derive(key: bytes, *, salt: bytes, purpose: str, cluster: str, length: int = 32) -> bytes:
    """Return HKDF-SHA256 (RFC 5869) of *key*: *length* bytes that are for *purpose* in *cluster* alone."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=_info(purpose, cluster)).derive(key)


def _info(purpose: str, cluster: str) -> bytes:
    """The cluster's name is last and purposes have no '/', so no two pairs are written alike."""
    return f"gossipd/1/{purpose}/{cluster}".encode()
