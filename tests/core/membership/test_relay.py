"""Pings on behalf of others."""

import math

from gossipd.core.effects import Send, Tell
from gossipd.core.membership.relay import RELAYS_PER_ASKER_MAX, Relays
from gossipd.ids import NodeId
from gossipd.limits import OPEN_PROBES_MAX
from gossipd.wire.messages import Ack, Nack, Ping, PingRequest
from tests.builders import ANN, BOB, CAT, DAN, ELSEWHERE

REQUEST = PingRequest(sequence=7, target=CAT, window_ms=500)


def asked(*, known: bool = True) -> Relays:
    """Return a helper whom ANN has asked at 10.0 to ping CAT, which it did with number 99."""
    relays = Relays(nack_after=0.7)
    effects = relays.receive_request(REQUEST, asker=ANN, asked_from=ELSEWHERE, sequence=99, known=known, now=10.0)
    assert effects == [Tell(target=CAT, message=Ping(sequence=99, target=CAT))]
    return relays


def test_a_helper_pings_the_target_and_passes_its_ack_on_with_the_number_of_the_asker() -> None:
    """Scenario 35."""
    relays = asked()
    expected = [Send(target=ELSEWHERE, message=Ack(sequence=7), member=ANN)]
    assert relays.receive_ack(Ack(sequence=99), source=CAT) == expected
    assert relays.receive_ack(Ack(sequence=99), source=CAT) == []
    assert relays.next_deadline() == math.inf


def test_a_helper_says_in_time_that_the_target_is_silent() -> None:
    """Scenario 35; rule 44."""
    relays = asked()
    assert relays.next_deadline() == 10.35
    assert relays.handle_timer(now=10.349) == []
    assert relays.handle_timer(now=10.35) == [Send(target=ELSEWHERE, message=Nack(sequence=7), member=ANN)]


def test_an_ack_after_the_nack_is_still_passed_on_until_nobody_waits_for_it() -> None:
    relays = asked()
    relays.handle_timer(now=10.35)
    assert relays.next_deadline() == 10.5
    assert len(relays.receive_ack(Ack(sequence=99), source=CAT)) == 1
    relays = asked()
    relays.handle_timer(now=10.5)
    assert relays.receive_ack(Ack(sequence=99), source=CAT) == []
    assert relays.next_deadline() == math.inf


def test_the_ack_of_anybody_else_or_with_another_number_is_not_passed_on() -> None:
    """Scenario 36."""
    relays = asked()
    assert relays.receive_ack(Ack(sequence=99), source=DAN) == []
    assert relays.receive_ack(Ack(sequence=98), source=CAT) == []


def test_a_helper_pings_nobody_that_it_does_not_know_but_says_that_it_lives() -> None:
    relays = Relays(nack_after=0.7)
    effects = relays.receive_request(REQUEST, asker=ANN, asked_from=ELSEWHERE, sequence=99, known=False, now=10.0)
    assert effects == [Send(target=ELSEWHERE, message=Nack(sequence=7), member=ANN)]
    assert relays.next_deadline() == math.inf


def test_one_relay_too_many_is_answered_by_a_nack_at_once() -> None:
    relays = Relays(nack_after=0.7)
    for sequence in range(OPEN_PROBES_MAX):
        asker = NodeId(f"n{sequence}")
        relays.receive_request(REQUEST, asker=asker, asked_from=ELSEWHERE, sequence=sequence, known=True, now=10.0)
    effects = relays.receive_request(REQUEST, asker=ANN, asked_from=ELSEWHERE, sequence=999, known=True, now=10.0)
    assert effects == [Send(target=ELSEWHERE, message=Nack(sequence=7), member=ANN)]
    assert len(relays.handle_timer(now=99.0)) == OPEN_PROBES_MAX
    assert relays.next_deadline() == math.inf


def test_one_member_cannot_hold_all_relays() -> None:
    relays = Relays(nack_after=0.7)
    for sequence in range(RELAYS_PER_ASKER_MAX):
        relays.receive_request(REQUEST, asker=ANN, asked_from=ELSEWHERE, sequence=sequence, known=True, now=10.0)
    refused = relays.receive_request(REQUEST, asker=ANN, asked_from=ELSEWHERE, sequence=99, known=True, now=10.0)
    assert refused == [Send(target=ELSEWHERE, message=Nack(sequence=7), member=ANN)]
    served = relays.receive_request(REQUEST, asker=BOB, asked_from=ELSEWHERE, sequence=100, known=True, now=10.0)
    assert isinstance(served[0], Tell)
