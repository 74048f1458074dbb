"""When a daemon that starts again says that it has met its peers: `met` in its view."""

from collections.abc import Sequence

from gossipd.core.events import SyncFinished
from gossipd.ids import Address
from gossipd.node.actions import SendStream
from gossipd.node.meeting import MEET_S, Meeting
from gossipd.node.node import Node
from gossipd.node.peers import PeerEntry
from gossipd.node.view import KEPT
from tests.network import Network, a_service, address_of, members, no_cut

DAY_S = 86_400.0


def a_cluster_that_served(net: Network, size: int) -> list[Node]:
    """Return *size* nodes with an instance each."""
    nodes = net.cluster(size)
    for node in nodes:
        net.do(node, node.register(a_service(), holder=KEPT, now=net.now)[1])
    net.run(5)
    return nodes


def restarted(net: Network, numbers: Sequence[int], *, older_by_s: float = 0.0) -> list[Node]:
    """Kill these at once and start them again, each with its peer book, *older_by_s*, and what it serves."""
    killed = [net.nodes[address_of(number)] for number in numbers]
    for node in killed:
        net.crash(node)
    started = []
    for number, node in zip(numbers, killed, strict=True):
        book = [
            PeerEntry(name=peer.name, address=peer.address, age_s=peer.age_s + older_by_s)
            for peer in node.peer_book(now=net.now)
        ]
        again = net.add(number, epoch=2_000, peers=book, kept=node.kept(now=net.now))
        started.append(again)
    return started


def met(net: Network, *nodes: Node) -> bool:
    return all(node.view.trust(now=net.now).met for node in nodes)


def last_in_step_at(net: Network, node: Node) -> float:
    """Return when a sync of *node*, which may have been a former run, last found nothing that it lacked."""
    return max(
        at
        for at, me, event in net.events
        if me == node.me and isinstance(event, SyncFinished) and event.error is None and not event.changed
    )


def says_on_a_stream(net: Network, address: Address, *, since: float) -> bool:
    return any(
        at >= since and source == address and isinstance(action, SendStream) for at, source, action in net.history
    )


def between(one: Sequence[int], other: Sequence[int]) -> set[tuple[Address, Address]]:
    pairs = {(address_of(a), address_of(b)) for a in one for b in other}
    return pairs | {(b, a) for a, b in pairs}


def test_those_that_restarted_together_and_met_only_each_other_have_not_met_their_peers() -> None:
    net = Network()
    a_cluster_that_served(net, 5)
    away = between((0, 1), (2, 3, 4))
    net.cut = lambda source, target: (source, target) in away
    pair = restarted(net, (0, 1))
    net.run(5)
    assert members(pair[0], net.now) == {"n0": "alive", "n1": "alive"}
    assert not any(met(net, node) for node in pair)
    net.cut = no_cut
    net.run_until(lambda: met(net, pair[0]), within_s=4)
    assert last_in_step_at(net, pair[0]) == net.now  # what brought the others may not have brought all that they know
    net.run_until(lambda: met(net, pair[1]), within_s=4)
    assert [len(node.view.instances(now=net.now)) for node in pair] == [5, 5]


def test_peers_that_are_gone_for_good_and_forgotten_by_all_are_waited_for_so_long_and_no_longer() -> None:
    net = Network()
    a_cluster_that_served(net, 3)
    net.crash(net.nodes[address_of(2)])
    pair = restarted(net, (0, 1))
    net.run_until(lambda: len(members(pair[0], net.now)) == 2, within_s=2)
    net.run(MEET_S - 2)
    assert not met(net, pair[0])
    net.run(4)
    assert met(net, *pair)
    assert members(pair[0], net.now) == {"n0": "alive", "n1": "alive"}


def test_where_every_sync_brings_something_there_is_an_end_to_waiting_too() -> None:
    net = Network()
    machines = a_cluster_that_served(net, 2)[0]._m
    meeting = Meeting([], remembered_s=DAY_S)
    machines.counters.syncs_completed, machines.counters.syncs_in_step = 1, 0
    meeting.look(machines, now=100.0)
    assert not meeting.met(now=100.0 + MEET_S - 0.1)
    assert meeting.met(now=100.0 + MEET_S)


def test_a_peer_that_others_remember_as_failed_is_not_waited_for() -> None:
    net = Network()
    nodes = a_cluster_that_served(net, 4)
    net.crash(nodes[3])
    net.run_until(lambda: members(nodes[1], net.now)["n3"] == "failed", within_s=30)
    [again] = restarted(net, (0,))
    assert net.run_until(lambda: met(net, again), within_s=30) < 2


def test_peers_that_were_seen_longer_ago_than_the_cluster_remembers_are_not_waited_for() -> None:
    net = Network()
    a_cluster_that_served(net, 3)
    net.crash(net.nodes[address_of(2)])
    pair = restarted(net, (0, 1), older_by_s=DAY_S)
    assert net.run_until(lambda: met(net, *pair), within_s=30) < 2


def test_while_another_sync_is_under_way_nobody_has_met_its_peers() -> None:
    net = Network()
    a_cluster_that_served(net, 3)
    [again] = restarted(net, (0,))
    began_at = net.now
    net.do(again, again.sync_with(address_of(2), now=net.now)[1])
    net.run_until(lambda: says_on_a_stream(net, address_of(2), since=began_at), within_s=1)
    net.run(0.0015)  # the answer comes, and another would take until later
    away = between((0,), (2,))
    net.cut = lambda source, target: (source, target) in away
    net.run(1)
    asked_at = net.now
    net.do(again, again.sync_with(address_of(1), now=net.now)[1])
    net.run(1)
    assert last_in_step_at(net, again) > asked_at
    assert set(members(again, net.now)) == {"n0", "n1", "n2"}
    assert not met(net, again)
    net.cut = no_cut
    net.run_until(lambda: met(net, again), within_s=MEET_S - 5)
    assert len(again.view.instances(now=net.now)) == 3


def test_a_peer_that_takes_connections_and_says_nothing_holds_up_nobody() -> None:
    net = Network()
    a_cluster_that_served(net, 3)
    net.frozen.add(address_of(2))
    [again] = restarted(net, (0,))
    net.do(again, again.sync_with(address_of(2), now=net.now)[1])
    net.run(1)
    net.do(again, again.sync_with(address_of(1), now=net.now)[1])
    net.run(1)
    assert met(net, again)


def test_a_node_that_remembers_nobody_has_met_its_peers_with_the_first_sync_that_brings_nothing() -> None:
    net = Network()
    a_cluster_that_served(net, 2)
    new = net.add(5, seeds=(address_of(0),))
    assert not met(net, new)
    assert net.run_until(lambda: met(net, new), within_s=30) < 5
