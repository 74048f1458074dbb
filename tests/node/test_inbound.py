"""What a node answers to datagrams: real sealed bytes in, real sealed bytes out."""

from dataclasses import replace

from gossipd.config import LAN
from gossipd.core.items import claim_check
from gossipd.crypto.seal import Opener, Sealer
from gossipd.ids import Address, Incarnation, NodeId
from gossipd.node.actions import Action, SendDatagram
from gossipd.node.node import Node
from gossipd.records import Claim, Status
from gossipd.wire.codec import decode_envelope_untrusted, encode_message, join_envelope
from gossipd.wire.messages import Ack, Message, Nack, Ping, PingRequest, Refutation
from tests.builders import ALIVE, BOB, CAT, DAN, DEAD, SUSPECT, a_claim, home
from tests.network import KEY, Network

ME = NodeId("n0")
BEHIND_NAT = Address("127.0.0.1", 4_242)


class Peer:
    """The rest of the cluster: seals what anybody says, and reads what a node sends."""

    def __init__(self) -> None:
        self._sealer = Sealer(KEY, "gossipd", b"twelve bytes")
        self._opener = Opener(KEY, "gossipd", self._sealer.session)

    def say(
        self, node: Node, *messages: Message, sender: NodeId = BOB, source: Address | None = None, now: float = 0.01
    ) -> list[tuple[Address, tuple[Message, ...]]]:
        """Let *sender* say *messages* to *node*; return to whom it sends what."""
        data = self._sealer.seal(join_envelope(sender, [encode_message(message) for message in messages]))
        return self.read(node.receive_datagram(data, source or home(sender), now=now))

    def read(self, actions: list[Action]) -> list[tuple[Address, tuple[Message, ...]]]:
        return [
            (target, decode_envelope_untrusted(self._opener.open_untrusted(action.data).payload).messages)
            for action in actions
            if isinstance(action, SendDatagram)
            for target in action.targets
        ]


def a_node(peer: Peer, *members: NodeId) -> Node:
    """Return n0, who knows *members*, and has told all its news."""
    node = Network().add(0)
    for member in members:
        peer.say(node, a_claim(member), sender=member)
    while len(node._m.spreader):
        node._m.spreader.fill(10_000, members=1, now=0.0)
    return node


def test_a_ping_for_another_name_is_not_answered_but_counted() -> None:
    """Scenario 34: a former name of this process must be let die."""
    peer = Peer()
    node = a_node(peer, BOB)
    assert peer.say(node, Ping(sequence=7, target=CAT)) == []
    assert node.view.statistics(now=0.01).dropped["misaddressed"] == 1


def test_an_answer_goes_to_where_the_question_came_from() -> None:
    """Scenario 34."""
    peer = Peer()
    ((target, messages),) = peer.say(a_node(peer), Ping(sequence=7, target=ME), source=BEHIND_NAT)
    assert (target, messages) == (BEHIND_NAT, (Ack(sequence=7),))


def test_three_pings_in_one_datagram_are_answered_by_three_acks() -> None:
    """Scenario 37."""
    peer = Peer()
    answers = peer.say(a_node(peer, BOB), *(Ping(sequence=number, target=ME) for number in (7, 8, 9)))
    assert answers == [(home(BOB), (Ack(sequence=number),)) for number in (7, 8, 9)]


def test_many_pings_in_one_datagram_draw_news_out_once() -> None:
    peer = Peer()
    node = a_node(peer, BOB)
    peer.say(node, a_claim(CAT))
    asks: list[Ping | PingRequest] = [Ping(sequence=7, target=ME), PingRequest(sequence=8, target=ME, window_ms=500)]
    answers = peer.say(node, *asks, *asks)
    assert [len(messages) for _, messages in answers] == [2, 1, 1, 1]


def test_an_ack_to_a_member_carries_news_and_one_to_a_stranger_or_from_elsewhere_none() -> None:
    """Scenario 43."""
    peer = Peer()
    node = a_node(peer, BOB)
    peer.say(node, a_claim(CAT))
    ping = Ping(sequence=7, target=ME)
    assert peer.say(node, ping, sender=DAN) == [(home(DAN), (Ack(sequence=7),))]
    assert a_claim(CAT) not in peer.say(node, ping, source=BEHIND_NAT)[0][1]
    assert peer.say(node, ping) == [(home(BOB), (Ack(sequence=7), a_claim(CAT)))]


def test_a_suspect_that_asks_is_told_what_is_believed_of_it() -> None:
    """Scenario 33."""
    peer = Peer()
    node = a_node(peer, BOB, CAT)
    peer.say(node, a_claim(BOB, SUSPECT, accuser=CAT), sender=CAT)
    ((_, messages),) = peer.say(node, Ping(sequence=7, target=ME))
    assert messages[:2] == (a_claim(BOB, SUSPECT, accuser=CAT), Ack(sequence=7))


def test_a_helper_pings_the_target_and_passes_the_ack_back_to_the_asker() -> None:
    """Scenario 35."""
    peer = Peer()
    node = a_node(peer, BOB, CAT)
    ((target, (ping,)),) = peer.say(node, PingRequest(sequence=7, target=CAT, window_ms=500))
    assert isinstance(ping, Ping)
    assert (target, ping) == (home(CAT), replace(ping, target=CAT))
    assert peer.say(node, Ack(sequence=ping.sequence), sender=CAT) == [(home(BOB), (Ack(sequence=7),))]


def test_a_stranger_cannot_make_us_ping_anybody_and_nobody_an_unknown_target() -> None:
    """Scenario 35."""
    peer = Peer()
    node = a_node(peer, BOB)
    request = PingRequest(sequence=7, target=CAT, window_ms=500)
    assert peer.say(node, request, sender=DAN) == []
    assert node.view.statistics(now=0.01).dropped["stranger"] == 1
    assert peer.say(node, request) == [(home(BOB), (Nack(sequence=7),))]


def test_what_is_said_under_our_own_name_is_not_heard() -> None:
    peer = Peer()
    node = a_node(peer, BOB)
    assert peer.say(node, Ping(sequence=7, target=ME), a_claim(CAT, ALIVE), sender=ME) == []
    assert node.view.member("cat", now=0.01) is None
    assert node.view.statistics(now=0.01).dropped["own_name"] == 2


def test_a_refutation_is_heard_as_the_claim_that_it_stands_for() -> None:
    peer = Peer()
    node = a_node(peer, BOB, CAT)
    meant = a_claim(CAT, ALIVE, counter=1)
    peer.say(node, a_claim(CAT, DEAD), Refutation(member=CAT, counter=1, check=claim_check(meant)))
    assert node._m.table.rows[CAT].claim == meant
    assert node.view.statistics(now=0.01).dropped == {}


def test_a_refutation_that_we_cannot_make_out_changes_nothing_and_is_counted() -> None:
    peer = Peer()
    node = a_node(peer, BOB, CAT)
    before = dict(node._m.table.rows)
    check = claim_check(a_claim(CAT, ALIVE, counter=1, epoch=2))
    peer.say(node, Refutation(member=CAT, counter=1, check=check), Refutation(member=DAN, counter=1, check=check))
    assert node._m.table.rows == before
    assert node.view.statistics(now=0.01).dropped["unknown_refutation"] == 2


def test_a_forged_refutation_of_ourselves_is_outbid_as_a_claim_would_be() -> None:
    peer = Peer()
    node = a_node(peer, BOB)
    own = node._m.table.own
    forged = replace(own, incarnation=Incarnation(own.incarnation.epoch, 9))
    peer.say(node, Refutation(member=ME, counter=9, check=claim_check(forged)))
    assert node._m.table.own.incarnation > forged.incarnation


def test_who_accuses_us_to_our_face_hears_our_refutation_beside_the_ack() -> None:
    """Neither may believe the other alive after a cut, and then no gossip passes between them."""
    peer = Peer()
    node = a_node(peer, BOB, CAT)
    peer.say(node, a_claim(BOB, DEAD), sender=CAT)
    (_, answer), (_, refutation) = peer.say(node, our_claim(node, DEAD), Ping(sequence=7, target=ME))
    assert answer == (a_claim(BOB, DEAD), Ack(sequence=7))
    [claim] = refutation
    assert isinstance(claim, Claim)
    assert (claim.member, claim.status, claim.incarnation.counter) == (ME, ALIVE, 1)


def test_who_pings_us_and_believes_us_alive_gets_the_ack_alone() -> None:
    peer = Peer()
    node = a_node(peer, BOB)
    assert peer.say(node, our_claim(node, ALIVE), Ping(sequence=7, target=ME)) == [(home(BOB), (Ack(sequence=7),))]


def test_who_was_accused_syncs_within_a_second_since_it_may_have_missed_news() -> None:
    peer = Peer()
    node = a_node(peer, BOB)
    for accused in (False, True):
        node._m.pace.due = 29.0
        peer.say(node, our_claim(node, SUSPECT if accused else ALIVE))
        assert node._m.pace.due == 29.0 if not accused else node._m.pace.due <= 0.01 + LAN.sync.reconnect_interval_s


def our_claim(node: Node, status: Status) -> Claim:
    """Return what another may believe of *node*."""
    return replace(node._m.table.own, status=status, accuser=ME if status is ALIVE else BOB)
