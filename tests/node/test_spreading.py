"""How news goes from node to node: who is told at once, what waits, and when a node has said enough."""

from dataclasses import replace

from gossipd.config import LAN
from gossipd.core.events import SyncFinished
from gossipd.core.items import claim_check
from gossipd.ids import NodeId
from gossipd.node.actions import SendDatagram
from gossipd.node.node import Node
from gossipd.node.view import KEPT
from gossipd.records import Status
from gossipd.wire.messages import Refutation
from tests.builders import ALIVE, BOB, CAT, DAN, DEAD, EVE, LEFT, SUSPECT, a_claim
from tests.network import Network, a_service, address_of, instances
from tests.node.test_inbound import Peer, a_node

UNPROBED = replace(LAN, probe=replace(LAN.probe, interval_s=600.0))
"""So that all datagrams carry news."""


def datagrams(net: Network, since: float) -> list[int]:
    """Return how many datagrams each node has sent since then."""
    sent = dict.fromkeys(net.nodes, 0)
    for at, source, action in net.history:
        if at >= since and isinstance(action, SendDatagram):
            sent[source] += len(action.targets)
    return list(sent.values())


def test_where_nothing_is_lost_each_node_tells_four_and_is_done() -> None:
    net = Network(config=UNPROBED)
    nodes = net.cluster(12)
    net.run(60)
    began = net.now
    net.do(nodes[5], nodes[5].register(a_service(), holder=KEPT, now=net.now)[1])
    net.run(2)
    assert all("n5/web" in instances(node, net.now) for node in nodes)
    assert datagrams(net, began) == [4] * 12


def test_where_much_is_lost_more_is_sent_and_never_more_than_the_budget() -> None:
    net = Network(config=UNPROBED)
    nodes = net.cluster(12)
    net.run(60)
    net.loss, began = 0.6, net.now
    net.do(nodes[5], nodes[5].register(a_service(), holder=KEPT, now=net.now)[1])
    net.run(5)
    sent = datagrams(net, began)
    assert sum(sent) > 4 * 12
    assert max(sent) <= 6 * 2  # 6 x ceil(log10 13)


def next_news(node: Node, now: float) -> float:
    """Return in how many seconds *node* sends its news."""
    return round(node._m.spreader.next_deadline() - now, 6)


def test_doubts_and_what_nobody_doubted_wait_for_the_tick_and_all_else_is_pushed() -> None:
    peer = Peer()
    node = a_node(peer, BOB, CAT)
    node.handle_timer(now=59.0)
    for claim, wait_s in (
        (a_claim(CAT, counter=1), LAN.gossip.interval_s),
        (a_claim(BOB, SUSPECT, accuser=CAT), LAN.gossip.interval_s),
        (a_claim(BOB, ALIVE, counter=1), LAN.gossip.eager_window_s),
        (a_claim(BOB, LEFT, counter=1), LAN.gossip.eager_window_s),
    ):
        while len(node._m.spreader):
            node._m.spreader.fill(10_000, members=1, now=60.0)
        node.handle_timer(now=60.0)
        peer.say(node, claim, sender=CAT, now=60.0)
        assert next_news(node, 60.0) == wait_s
    assert node._m.table.rows[BOB].claim.status is Status.LEFT


def test_a_refutation_goes_out_in_short_and_its_echo_counts() -> None:
    peer = Peer()
    node = a_node(peer, BOB, CAT)
    peer.say(node, a_claim(CAT, DEAD), now=50.0)
    while len(node._m.spreader):
        node._m.spreader.fill(10_000, members=1, now=60.0)
    claim = a_claim(CAT, ALIVE, counter=1)
    short = Refutation(member=CAT, counter=1, check=claim_check(claim))
    peer.say(node, claim, now=60.0)
    sent = [action for action in node.handle_timer(now=61.0) if isinstance(action, SendDatagram)]
    said = [message for each in sent for message in peer.read([replace(each, targets=each.targets[:1])])[0][1]]
    assert short in said
    assert claim not in said
    assert len(node._m.spreader)
    peer.say(node, short, now=61.0)
    peer.say(node, short, sender=CAT, now=61.0)
    assert not len(node._m.spreader)


def test_news_is_no_longer_told_once_both_neighbours_have_told_it() -> None:
    peer = Peer()
    node = a_node(peer, BOB, CAT, DAN, EVE)
    news = a_claim(CAT, counter=1)
    peer.say(node, news, sender=BOB)
    node.handle_timer(now=0.3)
    peer.say(node, news, sender=DAN, now=0.35)
    assert len(node._m.spreader) == 1
    peer.say(node, news, sender=EVE, now=0.35)  # the ring: bob, cat, dan, eve, n0
    assert len(node._m.spreader) == 0


def test_the_same_verdict_of_another_is_an_echo_and_another_accuser_is_not() -> None:
    peer = Peer()
    node = a_node(peer, BOB, CAT, DAN, EVE)
    for status, left in ((SUSPECT, 1), (Status.DEAD, 0)):
        peer.say(node, a_claim(CAT, status, accuser=DAN), sender=DAN, now=60.0)
        node.handle_timer(now=60.3)
        for neighbour in (EVE, BOB):
            peer.say(node, a_claim(CAT, status, accuser=neighbour), sender=neighbour, now=60.3)
        assert (len(node._m.spreader) > 0) == left


def test_a_suspect_neighbour_is_not_waited_for() -> None:
    peer = Peer()
    node = a_node(peer, BOB, CAT, DAN, EVE)
    peer.say(node, a_claim(EVE, SUSPECT, accuser=DAN), sender=DAN)
    news = a_claim(CAT, counter=1)
    peer.say(node, news, sender=DAN)
    node.handle_timer(now=0.3)
    peer.say(node, news, sender=BOB, now=0.35)
    assert CAT not in node._m.spreader.membership


def test_who_gets_a_new_neighbour_syncs_soon() -> None:
    net = Network()
    nodes = net.cluster(6)
    net.run(120)
    began = len(net.events)
    newcomer = net.add(6, name="n2a", seeds=(address_of(0),))
    net.run(2)
    syncs = [(me, event.opened_by_us) for _, me, event in net.events[began:] if isinstance(event, SyncFinished)]
    assert {nodes[2].me, nodes[3].me, newcomer.me} <= {me for me, _ in syncs}
    assert (NodeId("n5"), True) not in syncs
