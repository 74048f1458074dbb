"""What was saved comes back; what was torn, edited or planted is set aside; one daemon at a time."""

import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipd.check_reading import read_checks
from gossipd.checks import Check, Http, Tcp, Ttl
from gossipd.errors import StorageError
from gossipd.ids import Address, NodeId
from gossipd.limits import (
    CHECK_BODY_BYTES_MAX,
    CHECK_TARGET_BYTES_MAX,
    CHECKS_MAX,
    DECISIONS_MAX,
    INTEGER_MAX,
    LABEL_VALUE_BYTES_MAX,
    LABELS_MAX,
    RECORD_BYTES_PER_OWNER_MAX,
    SERVICE_ID_BYTES_MAX,
)
from gossipd.node.decisions import StoredDecision
from gossipd.node.peers import PeerEntry
from gossipd.node.registrations import Kept, KeptRegistration
from gossipd.records import Health, Mode, Service
from gossipd.shell import stored
from gossipd.shell.disk import SET_ASIDE_MAX, DataDirectory
from tests.network import a_service
from tests.shell.fakes import ReadableLog

ANN, BOB = NodeId("ann"), NodeId("bob")
NOW_MS = 1_700_000_000_000
PEERS = [
    PeerEntry(name=ANN, address=Address("192.0.2.7", 7950), age_s=0.0),
    PeerEntry(name=BOB, address=Address("2001:db8::7", 1), age_s=12.5),
]
OLD_SERVICE = {
    "name": "web",
    "id": "web \u2028 1",
    "port": 80,
    "address": "192.0.2.9",
    "protocol": "http",
    "tags": ["a", "b"],
    "metadata": [["k", "v\n"], ["z", ""]],
    "weight": 0,
}
"""As the first format wrote it."""
SERVICES = [
    Service(name="db", id="db-1", port=5432),
    Service(
        name="web",
        id="web \u2028 1",
        port=80,
        address="192.0.2.9",
        protocol="http",
        tags=("a", "b"),
        metadata=(("k", "v\n"), ("z", "")),
        weight=0,
    ),
]


CHECKS = (
    Check(id="up", target=Tcp(), interval_s=2.5, timeout_s=1.0, deregister_critical_after_s=60.0),
    Check(id="http", target=Http(url="/health", headers=(("Host", "x"),)), gate="up", notes="the page"),
    Check(id="alive", target=Ttl(ttl_s=30.0), initial=Health.WARNING),
)
DECISIONS = (
    StoredDecision(subject=None, mode=Mode.MAINTENANCE, reason="new disk", age_s=1.5),
    StoredDecision(subject="web-1", mode=Mode.DRAINING, age_s=0.25, deadline_s=30.0),
)
KEPT = Kept(
    registrations=(KeptRegistration(service=SERVICES[0], checks=CHECKS), KeptRegistration(service=SERVICES[1])),
    decisions=DECISIONS,
)


@pytest.fixture
def directory(tmp_path: Path, readable: ReadableLog) -> Iterator[DataDirectory]:
    opened = DataDirectory(str(tmp_path / "state"), log=readable.log)
    yield opened
    opened.close()


def test_what_was_saved_comes_back(directory: DataDirectory) -> None:
    directory.save_peers(PEERS, now_ms=NOW_MS)
    directory.save_registrations(KEPT, now_ms=NOW_MS)
    assert directory.load_peers(now_ms=NOW_MS) == PEERS
    assert directory.load_registrations(now_ms=NOW_MS) == KEPT


def test_registrations_of_the_first_format_are_read() -> None:
    data = json.dumps({"format": 1, "services": [OLD_SERVICE]}).encode()
    assert stored.decode_registrations_untrusted(data, now_ms=NOW_MS) == Kept(
        registrations=(KeptRegistration(service=SERVICES[1]),)
    )


def test_a_drain_goes_on_while_nobody_runs(directory: DataDirectory) -> None:
    directory.save_registrations(KEPT, now_ms=NOW_MS)
    ages = [decision.age_s for decision in directory.load_registrations(now_ms=NOW_MS + 60_000).decisions]
    assert ages == [61.5, 60.25]


def test_an_empty_directory_knows_nothing_and_is_silent(directory: DataDirectory, readable: ReadableLog) -> None:
    assert directory.load_identity() is None
    assert directory.load_peers(now_ms=NOW_MS) == []
    assert directory.load_registrations(now_ms=NOW_MS) == Kept()
    assert readable.lines() == []


def test_peers_age_while_nobody_runs_and_not_backwards(directory: DataDirectory) -> None:
    directory.save_peers(PEERS, now_ms=NOW_MS)
    assert [peer.age_s for peer in directory.load_peers(now_ms=NOW_MS + 60_000)] == [60.0, 72.5]
    assert [peer.age_s for peer in directory.load_peers(now_ms=NOW_MS - 60_000)] == [0.0, 12.5]


def test_an_epoch_grows_with_the_clock_and_without_it(directory: DataDirectory) -> None:
    assert directory.claim_epoch(ANN, now_ms=NOW_MS) == NOW_MS
    assert directory.claim_epoch(ANN, now_ms=NOW_MS) == NOW_MS + 1
    assert directory.claim_epoch(ANN, now_ms=5) == NOW_MS + 2
    assert directory.claim_epoch(ANN, now_ms=NOW_MS + 100) == NOW_MS + 100
    assert directory.load_identity() == stored.Identity(name=ANN, epoch=NOW_MS + 100)


def test_the_last_epoch_of_all_is_taken_again(directory: DataDirectory) -> None:
    directory.save_identity(stored.Identity(name=ANN, epoch=INTEGER_MAX))
    assert directory.claim_epoch(ANN, now_ms=NOW_MS) == INTEGER_MAX


def test_a_renamed_node_keeps_its_epochs_and_says_so(directory: DataDirectory, readable: ReadableLog) -> None:
    directory.claim_epoch(ANN, now_ms=NOW_MS)
    assert directory.claim_epoch(BOB, now_ms=5) == NOW_MS + 1
    assert "this data directory was another node's former=ann name=bob" in readable.lines()[0]


def test_everything_is_private_and_nothing_temporary_stays(directory: DataDirectory) -> None:
    directory.claim_epoch(ANN, now_ms=NOW_MS)
    directory.save_peers(PEERS, now_ms=NOW_MS)
    directory.save_registrations(KEPT, now_ms=NOW_MS)
    root = Path(directory.path)
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in root.iterdir()} == dict.fromkeys(
        ("lock", "identity.json", "peers.json", "registrations.json"), 0o600
    )


def test_an_open_directory_is_made_private(tmp_path: Path, readable: ReadableLog) -> None:
    tmp_path.chmod(0o755)
    DataDirectory(str(tmp_path), log=readable.log).close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_a_second_daemon_is_told_who_uses_the_directory(directory: DataDirectory, readable: ReadableLog) -> None:
    with pytest.raises(StorageError, match=f"^data directory .*/state is used by process {os.getpid()}$"):
        DataDirectory(directory.path, log=readable.log)
    directory.close()
    DataDirectory(directory.path, log=readable.log).close()


def test_a_file_in_place_of_the_directory_is_an_error_with_its_name(tmp_path: Path, readable: ReadableLog) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(StorageError, match=r"^data directory .*/state cannot be used: file exists$"):
        DataDirectory(str(tmp_path / "state"), log=readable.log)


def test_a_planted_link_in_place_of_the_lock_is_not_followed(tmp_path: Path, readable: ReadableLog) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "lock").symlink_to(victim)
    with pytest.raises(StorageError, match=r"cannot be used: lock: too many levels of symbolic links$"):
        DataDirectory(str(tmp_path / "state"), log=readable.log)
    assert victim.read_text() == "precious"


def test_a_directory_in_place_of_a_file_is_set_aside_and_costs_no_descriptor(
    directory: DataDirectory, readable: ReadableLog
) -> None:
    (Path(directory.path) / "peers.json").mkdir()
    before = os.listdir("/proc/self/fd")
    assert directory.load_peers(now_ms=NOW_MS) == []
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert 'reason="not a regular file"' in readable.lines()[0]


def test_a_crash_while_writing_leaves_the_former_file(directory: DataDirectory, readable: ReadableLog) -> None:
    directory.save_peers(PEERS, now_ms=NOW_MS)
    half = Path(directory.path) / "peers.json.tmp"
    half.write_text('{"form')
    directory.close()
    again = DataDirectory(directory.path, log=readable.log)
    assert again.load_peers(now_ms=NOW_MS) == PEERS
    assert not half.exists()
    again.close()


IDENTITY = {"format": 1, "name": "ann", "epoch": 5}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0" * 100,
        "null",
        "[]",
        "[" * 3_000,
        '{"format":1,"name":"ann"',
        json.dumps(IDENTITY | {"format": 2}),
        json.dumps(IDENTITY | {"format": True}),
        json.dumps(IDENTITY | {"extra": 1}),
        json.dumps(IDENTITY | {"name": "Ann"}),
        json.dumps(IDENTITY | {"name": "ann\n"}),
        json.dumps(IDENTITY | {"name": ["ann"]}),
        json.dumps(IDENTITY | {"epoch": 0}),
        json.dumps(IDENTITY | {"epoch": 2**63}),
        json.dumps(IDENTITY | {"epoch": 5.0}),
        json.dumps(IDENTITY | {"epoch": True}),
        '{"format":1,"name":"ann","epoch":NaN}',
        '{"format":1,"name":"ann","epoch":1' + "0" * 4_000 + "}",
        json.dumps(IDENTITY) + " " * 5_000,
    ],
)
def test_an_unbelievable_file_is_set_aside_and_the_start_goes_on(
    directory: DataDirectory, readable: ReadableLog, text: str
) -> None:
    file = Path(directory.path) / "identity.json"
    file.write_text(text)
    assert directory.claim_epoch(ANN, now_ms=NOW_MS) == NOW_MS
    assert (file.parent / "identity.json.bad-1").read_text() == text
    [line] = readable.lines()
    assert f"file set aside, starting without it file={file} to=identity.json.bad-1 reason=" in line


def test_bytes_that_are_no_text_are_set_aside(directory: DataDirectory, readable: ReadableLog) -> None:
    (Path(directory.path) / "peers.json").write_bytes(b"\xff\xfe{}")
    assert directory.load_peers(now_ms=NOW_MS) == []
    assert "file set aside" in readable.lines()[0]


@pytest.mark.parametrize("plant", [Path.mkdir, lambda path: path.symlink_to("/etc/passwd"), os.mkfifo])
def test_what_is_no_file_is_set_aside_and_not_followed(
    directory: DataDirectory, readable: ReadableLog, plant: Callable[[Path], None]
) -> None:
    plant(Path(directory.path) / "peers.json")
    assert directory.load_peers(now_ms=NOW_MS) == []
    assert "file set aside" in readable.lines()[0]
    directory.save_peers(PEERS, now_ms=NOW_MS)
    assert directory.load_peers(now_ms=NOW_MS) == PEERS


def test_the_number_of_set_aside_files_is_bounded(directory: DataDirectory) -> None:
    root = Path(directory.path)
    for number in range(2 * SET_ASIDE_MAX):
        (root / "identity.json").write_text(str(number))
        assert directory.load_identity() is None
    assert len(list(root.glob("identity.json.bad-*"))) == SET_ASIDE_MAX
    assert (root / f"identity.json.bad-{SET_ASIDE_MAX}").read_text() == str(2 * SET_ASIDE_MAX - 1)


PEER = ["ann", "192.0.2.7", 7950, 1.5]


@pytest.mark.parametrize(
    "row",
    [
        PEER[:3],
        [*PEER, 1],
        ["Ann", *PEER[1:]],
        ["ann", "host.example", 7950, 1.5],
        ["ann", "192.0.2.7", 0, 1.5],
        ["ann", "192.0.2.7", 65_536, 1.5],
        ["ann", "192.0.2.7", "7950", 1.5],
        ["ann", "192.0.2.7", 7950, -1],
        ["ann", "192.0.2.7", 7950, 1e300],
        ["ann", "192.0.2.7", 7950, None],
        {"name": "ann"},
        None,
    ],
)
def test_a_wrong_peer_is_not_read(row: object) -> None:
    with pytest.raises(ValueError, match=r"expected|appear"):
        stored.decode_peers_untrusted(
            json.dumps({"format": 1, "saved_ms": 1, "peers": [PEER, row]}).encode(), now_ms=NOW_MS
        )


SAVED = json.loads(stored.encode_registrations(KEPT, saved_ms=NOW_MS))
SERVICE = SAVED["services"][0]


def read(*services: object, decisions: object = ()) -> object:
    """What a file of *services* and *decisions* says."""
    fields = {"format": 2, "saved_ms": NOW_MS, "services": services, "decisions": decisions}
    return stored.decode_registrations_untrusted(json.dumps(fields).encode(), now_ms=NOW_MS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Web"},
        {"name": 1},
        {"id": ""},
        {"id": "x" * 129},
        {"port": 0},
        {"port": True},
        {"address": 5},
        {"protocol": None},
        {"tags": "abc"},
        {"tags": ["x" * 129]},
        {"tags": ["t"] * 65},
        {"metadata": [["k"]]},
        {"metadata": [["k", "v" * 1_025]]},
        {"metadata": {"k": "v"}},
        {"weight": -1},
        {"extra": 1},
        {"checks": None},
        {"checks": [{"tcp": True, "interval": -1}]},
        {"checks": [{"id": "a", "ttl": 1}, {"id": "a", "ttl": 1}]},
    ],
)
def test_a_wrong_registration_is_not_read(wrong: dict[str, object]) -> None:
    assert read(SERVICE)
    with pytest.raises(ValueError, match=r"."):
        read(SERVICE | wrong)


def test_no_client_can_register_more_than_is_read_again() -> None:
    [longest] = read_checks(
        [
            {
                "id": '"' * SERVICE_ID_BYTES_MAX,
                "http": "/" + '"' * (CHECK_TARGET_BYTES_MAX - 1),
                "method": "OPTIONS",
                "headers": {"a": '"' * (CHECK_TARGET_BYTES_MAX - 1)},
                "body": "\x01" * CHECK_BODY_BYTES_MAX,
                "expect": list(range(200, 200 + LABELS_MAX)),
                "notes": '"' * LABEL_VALUE_BYTES_MAX,
            }
        ]
    )
    kept = [KeptRegistration(service=a_service(), checks=(longest,) * number) for number in (1, 2)]
    one, two = (len(stored.encode_registrations(Kept(registrations=(each,)), saved_ms=1)) for each in kept)
    records = 6 * RECORD_BYTES_PER_OWNER_MAX
    assert records + CHECKS_MAX * (two - one) + DECISIONS_MAX * 1_024 < stored.REGISTRATIONS_BYTES_MAX


def test_the_same_registration_twice_is_not_read() -> None:
    with pytest.raises(ValueError, match="each id once"):
        read(SERVICE, SERVICE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": 1},
        {"mode": "normal"},
        {"mode": None},
        {"mode": []},
        {"reason": None},
        {"reason": "x" * 257},
        {"age_s": -1},
        {"deadline_s": "soon"},
        {"extra": 1},
    ],
)
def test_a_wrong_decision_is_not_read(wrong: dict[str, object]) -> None:
    decision = SAVED["decisions"][1]
    assert read(decisions=[decision])
    with pytest.raises(ValueError, match=r"."):
        read(decisions=[decision | wrong])
    with pytest.raises(ValueError, match="each id once"):
        read(decisions=[decision, decision])


DECODERS: list[Callable[[bytes], object]] = [
    stored.decode_identity_untrusted,
    lambda data: stored.decode_peers_untrusted(data, now_ms=NOW_MS),
    lambda data: stored.decode_registrations_untrusted(data, now_ms=NOW_MS),
]


@pytest.mark.parametrize("decode", DECODERS)
@given(
    data=st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=5)
            | st.dictionaries(
                st.sampled_from(["format", "name", "epoch", "saved_ms", "peers", "services", "decisions"]), inner
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_only_value_error_leaves_a_decoder(decode: Callable[[bytes], object], data: bytes) -> None:
    with suppress(ValueError):
        decode(data)


def test_a_file_cut_anywhere_is_not_read() -> None:
    whole = stored.encode_peers(PEERS, saved_ms=NOW_MS).rstrip(b"\n")
    for length in range(len(whole)):
        with pytest.raises(ValueError, match=r"."):
            stored.decode_peers_untrusted(whole[:length], now_ms=NOW_MS)


def test_a_disk_that_refuses_does_not_stop_the_start(directory: DataDirectory, readable: ReadableLog) -> None:
    (Path(directory.path) / "identity.json.tmp").mkdir()  # what stands in the way of the new file
    assert directory.claim_epoch(ANN, now_ms=NOW_MS) == NOW_MS
    assert "identity cannot be saved" in readable.lines()[-1]
