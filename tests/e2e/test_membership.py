"""Real daemons find each other, miss the dead, welcome the returned, and tell twins apart."""

import json
import shutil
import socket
import time

import pytest

from simulations.reality.cluster import Cluster, alive, wait_until

pytestmark = pytest.mark.slow

DAY_MS = 86_400_000


def test_daemons_that_know_one_seed_all_find_each_other() -> None:
    with Cluster() as cluster:
        daemons = cluster.start_together(5)
        assert [alive(daemon.statuses()) for daemon in daemons] == [{"n1", "n2", "n3", "n4", "n5"}] * 5
        assert [daemon.info()["peers_known"] for daemon in daemons] == [4] * 5


def test_a_daemon_that_waits_for_its_seed_joins_once_the_seed_is_there() -> None:
    with Cluster() as cluster:
        seed = cluster.start("n1")
        seed.kill()
        late = cluster.start("n2", join=[seed])
        assert late.statuses() == {"n2": "alive"}
        cluster.start("n1")
        cluster.wait_agreed()


def test_a_daemon_killed_with_sigkill_is_declared_failed_by_all_and_answers_leave_it_out() -> None:
    with Cluster() as cluster:
        *others, victim = cluster.start_together(5)
        others[0].call("register", name="web", id="web-1", port=80, kept=True)
        for service in ("web", "lonely"):
            victim.call("register", name=service, id=f"{service}-5", port=80, kept=True)
        wait_until(lambda: all(len(d.instances("web")) == 2 for d in others), what="everybody finds web")
        wait_until(lambda: all(d.instances("lonely") for d in others), what="everybody finds lonely")
        victim.kill()
        wait_until(lambda: all(d.statuses()["n5"] == "failed" for d in others), what="everybody declares n5 failed")
        wait_until(lambda: [d.passing("web") for d in others] == [{"web-1"}] * 4, what="answers leave it out")
        gone = [daemon.instances("web")[1] for daemon in others]
        assert [(row["status"], row["node_status"]) for row in gone] == [("unreachable", "failed")] * 4
        kept = [daemon.instances("lonely")[0] for daemon in others]  # a last instance is not taken away by silence
        assert [(row["ready"], row["degraded"], row["node_status"]) for row in kept] == [(True, True, "failed")] * 4
        for daemon in others:
            assert daemon.call("why", subject="n5")["evidence"]["history"][-1]["what"]
            assert alive(daemon.statuses()) == {"n1", "n2", "n3", "n4"}


@pytest.mark.parametrize("noticed", [True, False], ids=["declared-failed", "not-yet-missed"])
def test_a_daemon_restarted_under_its_name_is_alive_at_once_with_a_higher_incarnation(noticed: bool) -> None:
    with Cluster() as cluster:
        first, _, victim = cluster.start_together(3)
        before = first.members()["n3"]["epoch"]
        victim.kill()
        if noticed:
            wait_until(lambda: first.statuses()["n3"] == "failed", what="n3 is declared failed")
        begun = time.monotonic()
        cluster.start("n3", join=[first])
        wait_returned(cluster, "n3", above=before)
        assert time.monotonic() - begun < 10
        assert cluster["n3"].info()["conflict"] is None


def test_a_daemon_that_lost_its_data_directory_returns_with_a_higher_incarnation() -> None:
    with Cluster() as cluster:
        first, _, victim = cluster.start_together(3)
        before = first.members()["n3"]["epoch"]
        victim.kill()
        shutil.rmtree(victim.directory / "data")
        cluster.start("n3", join=[first])
        wait_returned(cluster, "n3", above=before)


def test_a_daemon_that_lost_its_disk_and_whose_clock_was_set_back_outranks_its_former_self() -> None:
    """Its first run takes an epoch a day ahead, as a clock that was wrong would have given it."""
    with Cluster() as cluster:
        first = cluster.start("n1")
        data = cluster.directory / "n2" / "data"
        data.mkdir(parents=True, mode=0o700)
        ahead = int(time.time() * 1000) + DAY_MS
        (data / "identity.json").write_text(json.dumps({"format": 1, "name": "n2", "epoch": ahead}))
        victim = cluster.start("n2", join=[first])
        cluster.wait_agreed()
        assert first.members()["n2"]["epoch"] == ahead + 1
        victim.kill()
        shutil.rmtree(data)
        back = cluster.start("n2", join=[first])
        wait_returned(cluster, "n2", above=ahead + 1)
        assert back.log("our former self outranked us, epoch raised")
        epoch = back.info()["epoch"]
        wait_until(lambda: json.loads((data / "identity.json").read_text())["epoch"] == epoch, what="it is on disk")


def test_two_processes_with_one_name_are_reported_on_both_and_neither_is_stopped() -> None:
    with Cluster() as cluster:
        first = cluster.start("n1")
        one = cluster.start("n2", join=[first])
        cluster.wait_agreed(first, one)
        other = cluster.start("n2", key="twin", join=[first])
        wait_until(lambda: one.info()["conflict"] == other.address, what="the first n2 reports the second")
        wait_until(lambda: other.info()["conflict"] == one.address, what="the second n2 reports the first")
        for daemon in (one, other):
            assert daemon.log("another live node has our name, rename one of them", level="error")
            assert daemon.running
        assert first.info()["conflict"] is None


def test_the_name_belongs_to_who_is_left_when_its_twin_goes() -> None:
    with Cluster() as cluster:
        first = cluster.start("n1")
        one = cluster.start("n2", join=[first])
        other = cluster.start("n2", key="twin", join=[first])
        wait_until(lambda: one.info()["conflict"] == other.address, what="the first n2 reports the second")
        assert other.terminate() == 0

        def remains() -> bool:
            row = first.members()["n2"]
            return (row["status"], row["address"]) == ("alive", one.address)

        wait_until(remains, what="n2 is the one that is left")


def test_a_daemon_ended_with_sigterm_has_left_and_exits_with_0() -> None:
    with Cluster() as cluster:
        *others, leaver = cluster.start_together(4)
        leaver.call("register", name="web", id="web-4", port=80, kept=True)
        wait_until(lambda: all(d.passing("web") == {"web-4"} for d in others), what="everybody finds web")
        assert leaver.terminate() == 0
        wait_until(lambda: all(d.statuses()["n4"] == "left" for d in others), what="everybody knows that n4 left")
        assert [daemon.instances("web") for daemon in others] == [[]] * 3
        for daemon in others:
            assert not daemon.log("member suspected", member="n4")
            assert not daemon.log("member failed", member="n4")


def test_a_daemon_stalled_for_3_seconds_accuses_nobody_and_is_back_with_everybody() -> None:
    with Cluster() as cluster:
        daemons = cluster.start_together(4)
        stalled = daemons[-1]
        accusations = stalled.statistics()["suspicions_raised"]
        stalled.stop()
        until = time.monotonic() + 3
        wait_until(lambda: time.monotonic() >= until, what="3 seconds have passed")
        stalled.cont()
        cluster.wait_agreed()
        wait_until(lambda: stalled.log("timers fired late, accusing nobody for it"), what="it knows that it overslept")
        assert stalled.statistics()["suspicions_raised"] == accusations
        for daemon in daemons:
            for verdict in ("member suspected", "member failed"):
                assert not [line for line in daemon.log(verdict) if line["member"] != stalled.name]


def test_a_cluster_on_ipv6_loopback_works() -> None:
    if not _has_ipv6():
        pytest.skip("this machine has no ::1")
    with Cluster() as cluster:
        daemons = cluster.start_together(3, host="::1")
        daemons[0].call("register", name="web", id="web-1", port=80, kept=True)
        wait_until(lambda: all(d.passing("web") == {"web-1"} for d in daemons), what="everybody finds web")
        assert daemons[2].instances("web")[0]["address"] == "::1"
        assert daemons[2].members()["n1"]["address"] == daemons[0].address


def test_a_seed_may_be_a_dns_name() -> None:
    with Cluster() as cluster:
        first = cluster.start("n1")
        cluster.start("n2", join=[f"localhost:{first.port}"])
        cluster.wait_agreed()


def test_a_daemon_whose_seed_does_not_resolve_says_so_and_runs() -> None:
    with Cluster() as cluster:
        daemon = cluster.start("n1", join=["no-such-host.invalid:7950"])
        (line,) = wait_until(lambda: daemon.log("seed not resolved, trying again"), what="the seed is complained about")
        assert line["seed"] == "no-such-host.invalid:7950"
        assert daemon.statuses() == {"n1": "alive"}


def test_joining_with_a_wrong_key_gives_a_clear_error_on_the_joiner() -> None:
    with Cluster() as cluster:
        first = cluster.start("n1")
        wrong = cluster.write_key("wrong.key")
        joiner = cluster.start("n2", options={"keyring": wrong})
        outcome = joiner.call("join", targets=[first.address])["joined"]
        assert "are key and cluster name the same on both sides?" in outcome[first.address]
        assert joiner.statuses() == {"n2": "alive"}
        assert first.statuses() == {"n1": "alive"}
        assert first.statistics()["dropped"]["unknown_key"] >= 1


def test_a_seed_that_refuses_our_key_is_told_to_the_operator_in_the_log() -> None:
    with Cluster() as cluster:
        first = cluster.start("n1")
        joiner = cluster.start(
            "n2", join=[first], options={"keyring": cluster.write_key("wrong.key"), "log-level": "warning"}
        )

        def told() -> bool:
            return any("key" in str(line.get("error", "")) for line in joiner.log(address=first.address))

        wait_until(told, what="the joiner's log, at level warning, says that the key may differ", within_s=15)


def test_daemons_of_another_cluster_with_the_same_key_stay_apart() -> None:
    with Cluster() as cluster:
        first = cluster.start("n1")
        joiner = cluster.start("n2", join=[first], options={"cluster": "other"})
        wait_until(lambda: joiner.statistics()["syncs_failed"] >= 1, what="the joiner has been refused")
        assert joiner.statuses() == {"n2": "alive"}
        assert first.statuses() == {"n1": "alive"}


def wait_returned(cluster: Cluster, name: str, *, above: int) -> None:
    """Return once every running daemon has *name* alive with an epoch above *above*."""

    def returned() -> bool:
        rows = [daemon.members()[name] for daemon in cluster.daemons.values() if daemon.running]
        wrong = [row for row in rows if row["status"] != "alive" or row["epoch"] <= above]
        assert not wrong, wrong
        return True

    wait_until(returned, what=f"{name} is back with an epoch above {above}")
    cluster.wait_agreed()


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
