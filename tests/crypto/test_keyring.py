"""Keyrings: what a file may hold, that an error never shows a key, and that ids belong to one cluster."""

import base64
from random import Random

import pytest

from gossipd.crypto.keyring import Keyring, encode_key, generate_key, key_id, plain_id
from gossipd.errors import ConfigError
from gossipd.limits import KEYS_MAX
from tests.crypto import golden

KEY = bytes(range(32))
LINE = encode_key(KEY)


def lines(*keys: bytes) -> str:
    return "\n".join(map(encode_key, keys))


def test_a_file_is_one_key_a_line_with_comments() -> None:
    text = f"# the new one\n{encode_key(bytes(16))}  # since May\r\n\n  {LINE}\n"
    assert Keyring.parse(text) == Keyring((bytes(16), KEY))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no key in the file, expected 1 to 8"),
        ("# nothing\n\n", "no key in the file, expected 1 to 8"),
        (f"{LINE}\nhunter2!\n", "line 2, expected one key: 16, 24 or 32 bytes in base64"),
        (f"\n{LINE} {LINE}\n", "line 2, expected one key"),
        (f"{LINE[:-1]}\n", "line 1, expected one key"),
        (f"{encode_key(bytes(31))}", "line 1 has 31 bytes, expected one key: 16, 24 or 32 bytes in base64"),
        (f"{LINE}\n# again\n{LINE}", "line 3 repeats an earlier key, expected each once"),
        (
            lines(*(bytes([number]) * 32 for number in range(KEYS_MAX + 1))),
            "line 9 has one key too many, expected at most 8",
        ),
        ("Schlüssel", "line 1, expected one key"),
    ],
)
def test_an_error_names_the_line_and_never_what_stands_there(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Keyring.parse(text)
    assert str(caught.value).startswith(expected)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    for secret in ("hunter2", "Schl", LINE[:12]):
        assert secret not in str(caught.value)


@pytest.mark.parametrize("keys", [(), (b"short",), (KEY, KEY), tuple(bytes([number]) * 32 for number in range(9))])
def test_a_keyring_cannot_be_made_of_wrong_keys(keys: tuple[bytes, ...]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        Keyring(keys)


def test_a_keyring_does_not_show_its_keys() -> None:
    shown = repr(Keyring((KEY,))) + str(Keyring((KEY,)))
    assert repr(KEY)[2:12] not in shown
    assert KEY.hex()[:12] not in shown


def test_ids_are_pinned_and_differ_by_key_and_by_cluster() -> None:
    assert key_id(golden.KEY, golden.CLUSTER) == golden.KEY_ID
    assert plain_id(golden.CLUSTER) == golden.PLAIN_ID
    ids = {key_id(key, cluster) for key in (KEY, bytes(16), bytes(24), bytes(32)) for cluster in ("prod", "test")}
    assert len(ids | {plain_id("prod"), plain_id("test")}) == 10
    assert Keyring((bytes(16), KEY)).key_ids("prod") == (key_id(bytes(16), "prod").hex(), key_id(KEY, "prod").hex())


def test_a_generated_key_comes_from_the_entropy_given_and_fits_a_file() -> None:
    key = generate_key(Random(1).randbytes)
    assert key == Random(1).randbytes(32)
    assert Keyring.parse(encode_key(key)) == Keyring((key,))
    assert base64.b64decode(encode_key(key)) == key


def test_entropy_that_runs_short_makes_no_key() -> None:
    with pytest.raises(AssertionError):
        generate_key(lambda size: bytes(size - 1))
