"""What a daemon keeps, whom it keeps out, and what it takes over while it runs."""

import json
import signal
import socket
from pathlib import Path

import pytest

from gossipd.errors import RequestError
from simulations.reality.cluster import Cluster, Daemon, wait_until

pytestmark = pytest.mark.slow

FAILED, USAGE = 1, 2
"""Exit codes, as documented."""


def test_a_second_daemon_on_the_same_data_directory_is_refused() -> None:
    with Cluster() as cluster:
        first = cluster.start("n1")
        second = cluster.launch("n2", options={"data-dir": first.directory / "data"})
        assert second.wait() == FAILED
        complaint = f"gossipd: error: data directory {first.directory / 'data'} is used by process {first.process.pid}"
        assert second.complaint() == complaint
        assert first.statuses() == {"n1": "alive"}


def test_a_second_daemon_on_the_same_socket_is_refused() -> None:
    with Cluster() as cluster:
        first = cluster.start("n1")
        second = cluster.launch("n2", options={"socket": first.socket})
        assert second.wait() == FAILED
        (complaint,) = second.complaint().splitlines()
        assert complaint == f"gossipd: error: another gossipd holds {first.socket}; stop it, or choose another socket"
        assert first.info()["name"] == "n1"


def test_a_second_daemon_on_the_same_address_is_refused() -> None:
    with Cluster() as cluster:
        first = cluster.start("n1")
        second = cluster.launch("n2", port=first.port)
        assert second.wait() == USAGE
        (complaint,) = second.complaint().splitlines()
        assert complaint.startswith(f"gossipd: error: bind={first.address}, expected an address that can be bound")
        assert first.statuses() == {"n1": "alive"}


def test_the_socket_that_a_killed_daemon_left_is_replaced() -> None:
    with Cluster() as cluster:
        first = cluster.start("n1")
        first.kill()
        assert Path(first.socket).is_socket()
        assert cluster.start("n1").info()["name"] == "n1"


def test_a_socket_on_which_nobody_listens_is_replaced() -> None:
    with Cluster() as cluster:
        path = cluster.directory / "stale.sock"
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        assert cluster.start("n1", options={"socket": path}).info()["name"] == "n1"


def test_what_is_no_socket_is_not_replaced() -> None:
    with Cluster() as cluster:
        path = cluster.directory / "precious"
        path.write_text("a letter")
        daemon = cluster.launch("n1", options={"socket": path})
        assert daemon.wait() == FAILED
        assert "is not a socket" in daemon.complaint()
        assert path.read_text() == "a letter"


@pytest.mark.parametrize("how", ["sigterm", "sigkill"])
def test_kept_registrations_survive_a_restart(how: str) -> None:
    with Cluster() as cluster:
        first, second = cluster.start_together(2)
        second.call("register", name="web", id="web-2", port=80, tags=["a", "b"], metadata={"v": "1"}, kept=True)
        second.call("register", name="old", id="old-2", port=81, kept=True)
        second.call("deregister", id="old-2")
        rows = wait_until(lambda: first.instances("web"), what="n1 finds web")
        wait_until(lambda: _stored_ids(second) == ["web-2"], what="what is kept is on disk")
        if how == "sigterm":
            assert second.terminate() == 0
            wait_until(lambda: first.instances("web") == [], what="web has gone with n2")
        else:
            second.kill()
            wait_until(lambda: first.instances("web")[0]["degraded"], what="web is kept, marked")
        cluster.start("n2", join=[first])
        wait_until(lambda: [row["degraded"] for row in first.instances("web")] == [False], what="web is back")
        (row,) = first.instances("web")
        assert row | {"age_s": 0} == rows[0] | {"age_s": 0}
        # The kill may have come before n1 heard of the withdrawal: then it answers the former record for its grace.
        wait_until(lambda: first.instances("old") == [], what="what was withdrawn stays so")


def test_a_registration_bound_to_a_connection_vanishes_everywhere_after_the_grace(tmp_path: Path) -> None:
    settings = tmp_path / "gossipd.toml"
    settings.write_text("[catalog]\nconnection_grace_s = 0.5\n")
    with Cluster() as cluster:
        daemons = cluster.start_together(3, options={"config": settings})
        client = daemons[2].client()
        client.call("register", name="web", id="web-3", port=80)
        wait_until(lambda: all(d.passing("web") == {"web-3"} for d in daemons), what="everybody finds web")
        client.close()
        wait_until(lambda: [d.instances("web") for d in daemons] == [[]] * 3, what="web is gone everywhere")


def test_a_client_that_comes_back_within_the_grace_keeps_its_registration(tmp_path: Path) -> None:
    settings = tmp_path / "gossipd.toml"
    settings.write_text("[catalog]\nconnection_grace_s = 60.0\n")
    with Cluster() as cluster:
        first, second = cluster.start_together(2, options={"config": settings})
        with first.client() as client:
            client.call("register", name="web", id="web-1", port=80)
        with second.client() as watcher, first.client() as again:
            watch = watcher.watch("web", timeout_s=20)
            while not next(watch).get("instances", True):
                pass
            again.call("register", name="web", id="web-1", port=80)
            again.call("register", name="web", id="mark", port=81)
            event = next(watch)
            assert (event["type"], event["instance"]["id"]) == ("up", "mark")  # type: ignore[index]


def test_sighup_changes_the_labels_and_a_wrong_file_changes_nothing(tmp_path: Path) -> None:
    settings = tmp_path / "gossipd.toml"
    settings.write_text('[labels]\nzone = "a"\n')
    with Cluster() as cluster:
        first, second = cluster.start_together(2, options={"config": settings})
        assert first.members()["n2"]["labels"] == {"zone": "a"}
        settings.write_text('[labels]\nzone = "b"\nrack = "r1"\n')
        second.signal(signal.SIGHUP)
        wait_until(lambda: _labels(first) == {"zone": "b", "rack": "r1"}, what="n1 sees the new labels of n2")
        settings.write_text('[labels]\nzone = "c"\n[probe]\ninterval = 1\n')
        second.signal(signal.SIGHUP)
        (line,) = wait_until(
            lambda: second.log("settings are wrong, keeping the old ones"), what="the log says what is wrong"
        )
        assert "probe.interval: unknown key, did you mean probe.interval_s" in line["error"]
        assert _labels(first) == {"zone": "b", "rack": "r1"}
        assert second.info()["labels"] == {"zone": "b", "rack": "r1"}


def test_sighup_takes_a_new_key_into_use_without_a_gap() -> None:
    """Both keys everywhere, the new one first everywhere, the old one gone: nobody is lost between the steps."""
    with Cluster() as cluster:
        assert cluster.keyring is not None
        old, new = cluster.keyring.read_text(), cluster.write_key("new.key").read_text()
        daemons = cluster.start_together(3)
        for text in (old + new, new + old, new):
            cluster.keyring.write_text(text)
            before = [len(daemon.log("settings read again")) for daemon in daemons]
            for daemon in daemons:
                daemon.signal(signal.SIGHUP)
            wait_until(
                lambda: [len(d.log("settings read again")) for d in daemons] == [count + 1 for count in before],  # noqa: B023
                what="all have read the keyring",
            )
            daemons[0].call("register", name="web", id=f"web-{len(text)}-{text[:4]}", port=80, kept=True)
            wanted = len(daemons[0].passing("web"))
            wait_until(lambda: len(daemons[2].passing("web")) == wanted, what="news travels under the new keyring")  # noqa: B023
        assert {len(daemon.info()["key_ids"]) for daemon in daemons} == {1}
        cluster.wait_agreed()
        for daemon in daemons:
            assert not daemon.log("member failed")


def test_a_torn_or_hostile_file_in_the_data_directory_is_set_aside_and_the_daemon_starts() -> None:
    with Cluster() as cluster:
        data = cluster.directory / "n1" / "data"
        data.mkdir(parents=True, mode=0o700)
        (data / "identity.json").write_text('{"format": 1, "name": "n')
        (data / "peers.json").write_bytes(b"\xff" * 1_000)
        (data / "registrations.json").write_text(json.dumps({"format": 1, "services": [{"name": "../../etc"}]}))
        daemon = cluster.start("n1")
        assert {line["to"] for line in daemon.log("file set aside, starting without it")} == {
            "identity.json.bad-1",
            "peers.json.bad-1",
            "registrations.json.bad-1",
        }


def test_a_client_may_ask_the_daemon_to_leave_and_it_exits_with_0() -> None:
    with Cluster() as cluster:
        first, second = cluster.start_together(2)
        assert second.call("leave") == {}
        assert second.wait() == 0
        wait_until(lambda: first.statuses()["n2"] == "left", what="n1 knows that n2 left")
        with pytest.raises(RequestError, match="no gossipd answers"):
            second.info()


def _stored_ids(daemon: Daemon) -> list[str]:
    """Return the ids of the registrations on *daemon*'s disk."""
    try:
        stored = json.loads((daemon.directory / "data" / "registrations.json").read_text())
    except FileNotFoundError:
        return []
    return [service["id"] for service in stored["services"]]


def _labels(daemon: Daemon) -> object:
    return daemon.members()["n2"]["labels"]
