"""Nodes among each other, over a network in memory: real sealed bytes, a clock of our own."""

from dataclasses import replace
from itertools import pairwise
from random import Random

from gossipd.config import LAN, LOCAL
from gossipd.core.effects import Send
from gossipd.core.events import (
    EpochRaised,
    IsolationChanged,
    LeaveFinished,
    MemberChanged,
    NameConflict,
    Overslept,
    SyncFinished,
)
from gossipd.crypto.keyring import Keyring
from gossipd.ids import Address, NodeId
from gossipd.node.node import Node
from gossipd.node.peers import PeerEntry
from gossipd.node.view import KEPT
from gossipd.records import Status
from gossipd.wire.messages import Ping
from tests.network import KEY, Network, a_service, address_of, instances, members, no_cut


def views_equal(net: Network) -> bool:
    return len({str((members(node, net.now), instances(node, net.now))) for node in net.nodes.values()}) == 1


def accusations(net: Network, by: Node) -> list[MemberChanged]:
    """What *by* itself accused others of."""
    found = net.heard(MemberChanged, by)
    return [
        event
        for event in found
        if isinstance(event, MemberChanged) and event.accuser == by.me and event.after is not Status.ALIVE
    ]


def test_two_nodes_that_join_list_each_other() -> None:
    """Scenario 49."""
    net = Network()
    one, other = net.cluster(2)
    assert members(one, net.now) == members(other, net.now) == {"n0": "alive", "n1": "alive"}


def test_nodes_that_join_through_one_seed_all_know_all_within_two_seconds() -> None:
    net = Network()
    for number in range(20):
        net.add(number, seeds=(address_of(0),))
    took = net.run_until(lambda: all(len(members(node, net.now)) == 20 for node in net.nodes.values()), within_s=10)
    assert took < 2


def test_a_node_that_starts_again_has_met_its_peers_when_it_knows_what_they_know() -> None:
    net = Network()
    nodes = net.cluster(3)
    net.do(nodes[1], nodes[1].register(a_service(), holder=KEPT, now=net.now)[1])
    net.run(5)
    net.crash(nodes[0])
    again = net.add(0, epoch=2_000, seeds=(address_of(1),))
    assert not again.view.trust(now=net.now).met
    took = net.run_until(lambda: again.view.trust(now=net.now).met, within_s=10)
    assert 0 < took < 5
    assert [row.service for row in again.view.instances(now=net.now)] == ["web"]


def test_a_join_of_nobody_ends_in_an_error() -> None:
    """Scenario 49."""
    net = Network()
    node = net.add(0)
    stream, actions = node.sync_with(address_of(9), now=net.now)
    net.do(node, actions)
    net.run(1)
    finished = net.heard(SyncFinished)
    assert [(event.stream, event.error) for event in finished if isinstance(event, SyncFinished)] == [
        (stream, "connection refused")
    ]


def test_a_wrong_key_ends_the_join_with_an_error_and_shows_nobody() -> None:
    """Scenario 59."""
    net = Network()
    net.add(0)
    stranger = net.add(1, keyring=Keyring((bytes(32),)), seeds=(address_of(0),))
    net.run(3)
    assert members(stranger, net.now) == {"n1": "alive"}
    errors = {event.error for event in net.heard(SyncFinished, stranger) if isinstance(event, SyncFinished)}
    assert errors == {"closed by the peer before the end: are key and cluster name the same on both sides?"}


def test_a_service_is_known_everywhere_within_tens_of_milliseconds() -> None:
    net = Network()
    nodes = net.cluster(30)
    net.do(nodes[7], nodes[7].register(a_service(), holder=KEPT, now=net.now)[1])
    took = net.run_until(lambda: all(instances(node, net.now) for node in nodes), within_s=1)
    assert took < 0.05


def test_a_crashed_node_is_declared_failed_by_all_and_its_instances_unreachable() -> None:
    """Scenario 54."""
    net = Network()
    nodes = net.cluster(8)
    for node in nodes[2:4]:
        net.do(node, node.register(a_service(), holder=KEPT, now=net.now)[1])
    net.run(1)
    net.crash(nodes[3])
    rest = list(net.nodes.values())
    took = net.run_until(lambda: all(members(node, net.now)["n3"] == "failed" for node in rest), within_s=30)
    assert 4.0 < took < 12.0  # the least suspicion is 4 s
    assert {instances(node, net.now)["n3/web"] for node in rest} == {(80, "unreachable")}


def test_a_restarted_node_outranks_its_former_self_at_once_also_while_it_is_still_believed_alive() -> None:
    net = Network()
    nodes = net.cluster(8)
    net.crash(nodes[3])
    net.add(3, epoch=2_000, seeds=(address_of(0),))
    took = net.run_until(
        lambda: all(
            row.epoch == 2_000
            for node in net.nodes.values()
            for row in node.view.members(now=net.now)
            if row.name == "n3"
        ),
        within_s=5,
    )
    assert took < 0.5
    net.run(20)
    assert all(set(members(node, net.now).values()) == {"alive"} for node in net.nodes.values())


def test_a_node_that_lost_its_disk_and_its_clock_takes_an_epoch_above_its_former_one() -> None:
    net = Network()
    nodes = net.cluster(5)
    net.do(nodes[3], nodes[3].register(a_service(), holder=KEPT, now=net.now)[1])
    net.run(1)
    net.crash(nodes[3])
    back = net.add(3, epoch=5, seeds=(address_of(0),))
    net.do(back, back.register(a_service(port=81), holder=KEPT, now=net.now)[1])
    net.run_until(lambda: views_equal(net) and instances(nodes[0], net.now) == {"n3/web": (81, "passing")}, within_s=5)
    assert back.epoch == 1_001
    assert net.heard(EpochRaised) == [EpochRaised(epoch=1_001)]


def test_a_leaving_node_is_listed_as_left_its_instances_go_and_it_says_when_it_may_exit() -> None:
    """Scenario 53."""
    net = Network()
    nodes = net.cluster(8)
    net.do(nodes[3], nodes[3].register(a_service(), holder=KEPT, now=net.now)[1])
    net.run(1)
    net.do(nodes[3], nodes[3].leave(now=net.now))
    took = net.run_until(lambda: bool(net.heard(LeaveFinished)), within_s=5)
    assert took < 2.5
    assert {members(node, net.now)["n3"] for node in nodes} == {"left"}
    net.crash(nodes[3])
    assert {str(instances(node, net.now)) for node in net.nodes.values()} == {"{}"}
    net.run(20)
    assert not [
        event for event in net.heard(MemberChanged) if isinstance(event, MemberChanged) and event.after is Status.DEAD
    ]


def test_a_node_that_left_comes_back_with_its_next_epoch_at_another_address() -> None:
    """Scenario 8."""
    net = Network()
    nodes = net.cluster(5)
    net.do(nodes[3], nodes[3].leave(now=net.now))
    net.run(3)
    net.crash(nodes[3])
    net.add(13, name="n3", epoch=2_000, seeds=(address_of(0),))
    net.run_until(lambda: all(members(node, net.now)["n3"] == "alive" for node in net.nodes.values()), within_s=3)


def test_two_live_processes_with_one_name_are_both_told_and_both_go_on() -> None:
    net = Network()
    nodes = net.cluster(5)
    twin = net.add(13, name="n3", epoch=2_000, seeds=(address_of(0),))
    net.run(5)
    told = {(me, event.address) for _, me, event in net.events if isinstance(event, NameConflict)}
    assert told == {("n3", address_of(13)), ("n3", address_of(3))}
    assert nodes[3].view.info(now=net.now).conflict == str(address_of(13))
    assert twin.view.info(now=net.now).conflict == str(address_of(3))
    assert {row.address for row in nodes[0].view.members(now=net.now) if row.name == "n3"} == {str(address_of(13))}
    changes = [event for event in net.heard(MemberChanged) if isinstance(event, MemberChanged) and event.member == "n3"]
    net.run(30)  # and they do not flap
    more = [event for event in net.heard(MemberChanged) if isinstance(event, MemberChanged) and event.member == "n3"]
    assert len(more) == len(changes)


def test_a_frozen_node_that_wakes_accuses_nobody_and_is_alive_everywhere_within_two_seconds() -> None:
    net = Network()
    nodes = net.cluster(8)
    net.run(5)
    net.frozen.add(address_of(3))
    net.run(15)
    assert members(nodes[0], net.now)["n3"] == "failed"
    net.frozen.clear()
    took = net.run_until(lambda: all(set(members(node, net.now).values()) == {"alive"} for node in nodes), within_s=10)
    assert took < 2
    assert net.heard(Overslept, nodes[3])
    assert accusations(net, nodes[3]) == []


def test_a_cut_off_node_knows_it_within_five_periods_keeps_its_catalog_and_accuses_nobody() -> None:
    net = Network()
    nodes = net.cluster(8)
    net.do(nodes[0], nodes[0].register(a_service(), holder=KEPT, now=net.now)[1])
    net.run(2)
    alone = address_of(3)
    net.cut = lambda source, target: alone in (source, target)
    took = net.run_until(lambda: nodes[3].view.trust(now=net.now).isolated, within_s=20)
    assert took <= 5 * LAN.probe.interval_s
    net.run(60)
    assert set(members(nodes[3], net.now).values()) == {"alive"}
    assert instances(nodes[3], net.now) == {"n0/web": (80, "passing")}
    assert nodes[3].view.trust(now=net.now).stalest_owner_age_s > 60
    assert members(nodes[0], net.now)["n3"] == "failed"
    net.cut = no_cut
    healed = net.run_until(lambda: views_equal(net) and not nodes[3].view.trust(now=net.now).isolated, within_s=30)
    assert healed < 6
    assert [
        event.isolated for event in net.heard(IsolationChanged, nodes[3]) if isinstance(event, IsolationChanged)
    ] == [
        True,
        False,
    ]


def test_a_pair_notices_the_crash_of_the_other_and_does_not_call_itself_isolated() -> None:
    net = Network()
    one, other = net.cluster(2)
    net.crash(other)
    net.run_until(lambda: members(one, net.now)["n1"] == "failed", within_s=30)
    assert not one.view.trust(now=net.now).isolated


def test_halves_that_were_cut_for_longer_than_any_memory_of_the_dead_heal_by_themselves() -> None:
    net = Network(config=replace(LAN, gossip=replace(LAN.gossip, to_dead_s=1.0)))
    nodes = net.cluster(10)
    left = {address_of(number) for number in range(4)}
    net.cut = lambda source, target: (source in left) != (target in left)
    net.run(600)
    net.do(nodes[0], nodes[0].register(a_service("left"), holder=KEPT, now=net.now)[1])
    net.do(nodes[9], nodes[9].register(a_service("right"), holder=KEPT, now=net.now)[1])
    net.run(60)
    net.cut = no_cut
    took = net.run_until(
        lambda: (
            views_equal(net)
            and set(members(nodes[0], net.now).values()) == {"alive"}
            and len(instances(nodes[0], net.now)) == 2
        ),
        within_s=60,
    )
    assert took < 10


def test_a_deleted_service_does_not_come_back_with_a_node_that_was_cut_off() -> None:
    net = Network()
    nodes = net.cluster(6)
    net.do(nodes[0], nodes[0].register(a_service(), holder=KEPT, now=net.now)[1])
    net.run(1)
    away = address_of(5)
    net.cut = lambda source, target: away in (source, target)
    net.run(1)
    net.do(nodes[0], nodes[0].deregister("web", now=net.now))
    for number in range(300):  # so many that the tombstone itself has long been collected
        net.do(nodes[0], nodes[0].register(a_service("other", f"o{number}"), holder=KEPT, now=net.now)[1])
        net.do(nodes[0], nodes[0].deregister(f"o{number}", now=net.now))
    net.run(120)
    net.cut = no_cut
    net.run_until(lambda: set(members(nodes[5], net.now).values()) == {"alive"} and views_equal(net), within_s=60)
    net.run(60)
    assert {str(instances(node, net.now)) for node in nodes} == {"{}"}


def test_without_any_gossip_syncs_alone_make_all_views_equal() -> None:
    net = Network(config=replace(LOCAL, sync=replace(LOCAL.sync, interval_s=1.0)), loss=1.0)
    nodes = [net.add(number, seeds=(address_of((number + 1) % 6),)) for number in range(6)]
    for number, node in enumerate(nodes):
        net.do(node, node.register(a_service("web", f"w{number}"), holder=KEPT, now=net.now)[1])
    net.run_until(lambda: all(len(instances(node, net.now)) == 6 for node in nodes), within_s=60)
    assert all(len(members(node, net.now)) == 6 for node in nodes)


def test_a_restarted_node_finds_the_cluster_through_its_peer_book_without_a_seed() -> None:
    net = Network()
    nodes = net.cluster(4)
    book = nodes[3].peer_book(now=net.now)
    assert {entry.name for entry in book} == {"n0", "n1", "n2"}
    net.crash(nodes[3])
    net.run(30)
    back = net.add(
        3, epoch=2_000, peers=[PeerEntry(name=entry.name, address=entry.address, age_s=30) for entry in book]
    )
    net.run_until(lambda: len(members(back, net.now)) == 4, within_s=5)


def test_kept_registrations_are_published_by_the_next_run_without_a_gap() -> None:
    net = Network()
    nodes = net.cluster(4)
    net.do(nodes[3], nodes[3].register(a_service(), holder=KEPT, now=net.now)[1])
    net.run(1)
    kept = nodes[3].kept(now=net.now)
    net.crash(nodes[3])
    net.add(3, epoch=2_000, seeds=(address_of(0),), kept=kept)
    seen: set[str] = set()

    def watch() -> bool:
        seen.add(str(instances(nodes[0], net.now)))
        return False

    net.run_until(watch, within_s=30, must=False)
    assert seen == {str({"n3/web": (80, "passing")})}


def test_a_record_too_large_for_a_datagram_is_fetched_by_everybody() -> None:
    net = Network()
    nodes = net.cluster(12)
    service = replace(a_service(), metadata=tuple((f"key{number:02}", "x" * 1_000) for number in range(12)))
    net.do(nodes[0], nodes[0].register(service, holder=KEPT, now=net.now)[1])
    took = net.run_until(lambda: all(instances(node, net.now) for node in nodes), within_s=5)
    assert took < 1
    fetches = [me for _, me, event in net.events if isinstance(event, SyncFinished) and event.fetch and event.changed]
    assert sorted(fetches) == sorted(node.me for node in nodes[1:])


def test_equal_seeds_and_equal_input_give_byte_equal_histories() -> None:
    def history() -> str:
        net = Network(seed=7, loss=0.1, doubled=0.1)
        nodes = net.cluster(6)
        net.do(nodes[1], nodes[1].register(a_service(), holder=KEPT, now=net.now)[1])
        net.crash(nodes[4])
        net.run(20)
        return "\n".join(
            f"{at} {who} {action!r} {getattr(action, 'data', b'').hex()}" for at, who, action in net.history
        )

    assert history() == history()


def test_ten_percent_loss_keeps_seventeen_members_stable() -> None:
    net = Network(loss=0.1)
    nodes = net.cluster(17)
    net.run(120)
    assert all(set(members(node, net.now).values()) == {"alive"} for node in nodes)
    assert not [
        event for event in net.heard(MemberChanged) if isinstance(event, MemberChanged) and event.after is Status.DEAD
    ]


def test_random_bytes_and_replays_change_nothing_and_are_counted() -> None:
    net = Network()
    nodes = net.cluster(3)
    net.run(1)
    before = (members(nodes[0], net.now), instances(nodes[0], net.now))
    rng = Random(3)
    recorded = next(action for _, _, action in reversed(net.history) if hasattr(action, "targets"))
    source = Address("127.0.0.1", 9)
    for _ in range(500):
        assert nodes[0].receive_datagram(rng.randbytes(rng.randrange(1_500)), source, now=net.now) == []
    for node in nodes:
        assert node.receive_datagram(recorded.data, source, now=net.now) == []  # type: ignore[union-attr]
    assert (members(nodes[0], net.now), instances(nodes[0], net.now)) == before
    dropped = nodes[0].view.statistics(now=net.now).dropped
    assert sum(dropped.values()) >= 500
    assert "replayed" in str([node.view.statistics(now=net.now).dropped for node in nodes])


def test_a_stranger_gets_an_ack_at_its_source_and_no_gossip() -> None:
    net = Network()
    nodes = net.cluster(3)
    net.do(nodes[0], nodes[0].register(a_service(), holder=KEPT, now=net.now)[1])  # there is news to give away
    stranger = Network(keyring=KEY).add(9)
    ping = stranger_ping(stranger)
    answers = nodes[0].receive_datagram(ping, Address("127.0.0.1", 4_242), now=net.now)
    assert [action.targets for action in answers if hasattr(action, "targets")] == [(Address("127.0.0.1", 4_242),)]
    assert len(answers[0].data) < 70  # type: ignore[union-attr]


def stranger_ping(node: Node) -> bytes:
    """A sealed ping for n0 from a node that nobody knows."""
    effect = Send(target=address_of(0), message=Ping(sequence=1, target=NodeId("n0")))
    return node._m.outbound.send(effect, now=0.0).data


def test_sixty_nodes_that_all_join_one_at_once_know_each_other_within_four_seconds() -> None:
    net = Network()
    nodes = [net.add(number) for number in range(60)]
    net.run(1)
    for node in nodes[1:]:
        net.do(node, node.sync_with(address_of(0), now=net.now)[1])
    took = net.run_until(lambda: all(len(members(node, net.now)) == 60 for node in nodes), within_s=60)
    assert took < 4


def test_syncs_follow_each_other_closely_while_they_repair_and_ever_more_rarely_when_all_is_quiet() -> None:
    net = Network()
    nodes = net.cluster(4)
    began = net.now
    net.run(300)
    at = [
        round(when - began)
        for when, me, event in net.events
        if me == "n1" and isinstance(event, SyncFinished) and event.opened_by_us and when > began
    ]
    pauses = [later - earlier for earlier, later in pairwise(at)]
    assert at[0] <= 2
    assert max(pauses[:3]) < 10
    assert max(pauses[-5:]) <= 30
    assert len(at) < 300 / 10
    assert nodes[1].view.statistics(now=net.now).syncs_failed == 0
