"""Packets sealed with known keys and sessions, as they have been since the first version; shown in docs/reference/wire.md."""

from gossipd.crypto.keyring import Keyring

KEY = bytes(range(32))
CLUSTER = "prod"
KEYRING = Keyring((KEY,))
SESSION = bytes.fromhex("a0a1a2a3a4a5a6a7a8a9aaab")
OTHER_SESSION = bytes.fromhex("b0b1b2b3b4b5b6b7b8b9babb")
PAYLOAD = bytes.fromhex("a3616e6e930107a3626f62")
"""ann pings bob."""
ANSWER = bytes.fromhex("a3626f62920207")
"""bob answers."""

KEY_ID = bytes.fromhex("dbc0ea5a")
PLAIN_ID = bytes.fromhex("bb563d08")
DATAGRAM_KEY = bytes.fromhex("ce861efba4f2f8a55b7cc218258430732f679b2c3657f61d2fccb9b95336adc1")
"""What HKDF makes of KEY for SESSION's datagrams."""

PACKETS: dict[str, bytes] = {
    "sealed-datagram": bytes.fromhex(
        "01dbc0ea5aa0a1a2a3a4a5a6a7a8a9aaab00000000000000007d1e00dbcf2db0be0525ccc5db6303904b72138bd85bd80bca3f47"
    ),
    "second-datagram": bytes.fromhex(
        "01dbc0ea5aa0a1a2a3a4a5a6a7a8a9aaab00000000000000014827a51fab2218ba0d2d132550ff71a22244d8755bbace6cbd8e12"
    ),
    "plain-datagram": bytes.fromhex("01bb563d08a0a1a2a3a4a5a6a7a8a9aaab0000000000000000a3616e6e930107a3626f62"),
    "stream-open": bytes.fromhex(
        "01dbc0ea5aa0a1a2a3a4a5a6a7a8a9aaab000000000000000003893516bf07ac8fad506acc9e8a0a737784beb96050594ad1e7f5"
    ),
    "stream-reply": bytes.fromhex(
        "01dbc0ea5ab0b1b2b3b4b5b6b7b8b9babb00000000000000005816841be77d0ec587a1e2d9ad17213ee20af1bfc3ca35"
    ),
    "stream-more": bytes.fromhex(
        "01dbc0ea5aa0a1a2a3a4a5a6a7a8a9aaab0000000000000001a8a9cf3d156ea802be8f1c681ec9edf8b0d65e500ef4519dd46594"
    ),
}
