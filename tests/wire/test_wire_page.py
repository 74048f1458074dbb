"""docs/reference/wire.md says what the code does: every example, every type number and every limit on it is compared."""

import re
from hashlib import blake2b, sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gossipd import limits
from gossipd.core.items import claim_digest, record_digest
from gossipd.records import Claim
from gossipd.wire import codec
from tests.crypto import golden as packets
from tests.wire import golden

PAGE = (Path(__file__).parent.parent.parent / "docs" / "reference" / "wire.md").read_text(encoding="utf-8")
EXAMPLES = {
    name: bytes.fromhex(text) for name, text in re.findall(r"^```hex (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
}
ALIVE = golden.MESSAGES["claim-alive"]
assert isinstance(ALIVE, Claim)
EXPECTED = {
    **golden.BYTES,
    **packets.PACKETS,
    "envelope": golden.ENVELOPE_BYTES,
    "record-bytes": golden.SERVICE.encoded,
    "item-claim": claim_digest(ALIVE).to_bytes(8),
    "item-record": record_digest(golden.SERVICE).to_bytes(8),
    "key": packets.KEY,
    "session": packets.SESSION,
    "other-session": packets.OTHER_SESSION,
    "key-id": packets.KEY_ID,
    "plain-id": packets.PLAIN_ID,
    "datagram-key": packets.DATAGRAM_KEY,
    "payload": packets.PAYLOAD,
    "answer": packets.ANSWER,
}


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_on_the_page_is_what_the_code_writes(name: str) -> None:
    assert EXAMPLES[name] == EXPECTED[name]


def test_the_page_has_no_example_that_is_not_checked() -> None:
    assert EXAMPLES.keys() == EXPECTED.keys()


def test_the_limits_on_the_page_are_the_limits() -> None:
    rows = re.findall(r"^\| ([A-Z_]+) \| ([\d,]+) \|$", PAGE, re.MULTILINE)
    assert len(rows) >= 20
    assert {name: int(value.replace(",", "")) for name, value in rows} == {
        name: getattr(limits, name) for name, _ in rows
    }


def test_the_types_on_the_page_are_the_types() -> None:
    rows = re.findall(r"^\| (\d+) \| ([A-Z]\w+) \|", PAGE, re.MULTILINE)
    constants = {re.sub(r"(?<!^)(?=[A-Z])", "_", message).upper(): int(number) for number, message in rows}
    assert constants == {name: getattr(codec, name) for name in constants}
    assert len(rows) == len({*codec._DATAGRAM, *codec._STREAM})


def test_the_keys_on_the_page_follow_from_its_words_alone() -> None:
    def derived(purpose: str, salt: bytes, length: int) -> bytes:
        info = b"gossipd/1/" + purpose.encode() + b"/prod"
        return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(EXAMPLES["key"])

    assert derived("key-id", b"", 4) == EXAMPLES["key-id"]
    assert derived("datagram", EXAMPLES["session"], 32) == EXAMPLES["datagram-key"]
    assert sha256(b"gossipd/1/plaintext/prod").digest()[:4] == EXAMPLES["plain-id"]


def test_the_hashes_on_the_page_follow_from_its_words_alone() -> None:
    claim = b"claim\0bob\x001700000000000\x000\x000\x00192.0.2.7\x007950\x001\x001"
    record = b"record\0bob\0service/web-1\x001700000000000\x003"
    assert blake2b(claim, digest_size=8).digest() == EXAMPLES["item-claim"]
    assert blake2b(record, digest_size=8).digest() == EXAMPLES["item-record"]
