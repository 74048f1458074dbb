"""The probe cycle: who is pinged, who is asked for help, and when silence becomes an accusation."""

import math
from collections import Counter
from dataclasses import replace

import pytest

from gossipd.config import LAN, PRESETS, ProtocolConfig
from gossipd.core.effects import Accuse, Effect, Report, StreamPing, Tell
from gossipd.core.events import DatagramsBlocked
from gossipd.core.membership.awareness import Awareness
from gossipd.core.membership.probe import Prober
from gossipd.core.membership.relay import Relays
from gossipd.ids import NodeId
from gossipd.wire.messages import Ack, Nack, Ping, PingRequest
from tests.builders import (
    ANN,
    BOB,
    CAT,
    DAN,
    DEAD,
    EVE,
    FAY,
    LEFT,
    SUSPECT,
    a_claim,
    a_prober,
    a_table,
    home,
    sequence_of,
    the_ping,
)

CREW = (BOB, CAT, DAN, EVE)


def begin(prober: Prober, *, after: float = 0.0) -> tuple[float, Tell]:
    """Let the next probe begin; return when, and the ping. Probes before it must be over."""
    at = max(after, prober.next_deadline())
    return at, the_ping(prober.handle_timer(now=at))


def ask(prober: Prober) -> tuple[float, Tell, list[Effect]]:
    """Begin a probe that is not answered in time; return when help is asked, the ping, and what is asked."""
    _, ping = begin(prober)
    late_at = prober.next_deadline()
    return late_at, ping, prober.handle_timer(now=late_at)


def probe_each(prober: Prober, probes: int) -> list[NodeId]:
    """Return the targets of the next *probes*, each answered after a millisecond."""
    targets = []
    for _ in range(probes):
        at, ping = begin(prober)
        targets.append(ping.target)
        assert prober.receive_ack(Ack(sequence=sequence_of(ping)), source=ping.target, now=at + 0.001)
    return targets


# ----------------------------------------------------------------------------------------------------------- the cycle


def test_an_answered_probe_accuses_nobody_and_the_next_one_has_the_next_number() -> None:
    """Scenario 27."""
    prober = a_prober(BOB)
    at, ping = begin(prober)
    assert ping == Tell(target=BOB, message=Ping(sequence=sequence_of(ping), target=BOB))
    assert prober.receive_ack(Ack(sequence=sequence_of(ping)), source=BOB, now=at + 0.01)
    assert prober.next_deadline() == at + 1.0
    following = prober.handle_timer(now=at + 1.0)
    assert following == [Tell(target=BOB, message=Ping(sequence=sequence_of(ping) + 1, target=BOB))]


def test_a_silent_member_is_asked_for_through_helpers_and_a_stream_and_then_accused() -> None:
    """Scenario 28."""
    prober = a_prober(*CREW)
    at, ping = begin(prober)
    number, target = sequence_of(ping), ping.target
    helpers = [member for member in CREW if member != target]
    assert prober.next_deadline() == at + 0.5
    asked = prober.handle_timer(now=at + 0.5)
    request = PingRequest(sequence=number, target=target, window_ms=500)
    told = [effect for effect in asked if isinstance(effect, Tell)]
    assert sorted(tell.target for tell in told) == helpers
    assert {tell.message for tell in told} == {request}
    assert asked[-1] == StreamPing(target=target, sequence=number, timeout_s=0.5)
    assert prober.next_deadline() == at + 1.0
    assert prober.handle_timer(now=at + 0.999) == []
    assert prober.handle_timer(now=at + 1.0)[0] == Accuse(member=target, alone=True)


def test_an_early_timer_does_nothing() -> None:
    prober = a_prober(BOB)
    assert prober.handle_timer(now=prober.next_deadline() - 0.001) == []


def test_nobody_is_accused_before_helpers_had_their_time_however_late_our_timer_is() -> None:
    prober = a_prober(*CREW)
    at, ping = begin(prober)
    asked = prober.handle_timer(now=at + 7.0)
    assert Accuse(member=ping.target) not in asked
    assert len([effect for effect in asked if isinstance(effect, Tell)]) == 3
    assert prober.next_deadline() == at + 7.5
    assert prober.handle_timer(now=at + 7.5)[0] == Accuse(member=ping.target, alone=True)


def test_an_answer_through_a_helper_ends_the_probe_well() -> None:
    """Scenario 35."""
    prober = a_prober(*CREW)
    late_at, ping, asked = ask(prober)
    assert isinstance(asked[0], Tell)
    assert prober.receive_ack(Ack(sequence=sequence_of(ping)), source=asked[0].target, now=late_at + 0.1)
    ended = prober.handle_timer(now=late_at + 0.5)
    assert [effect for effect in ended if isinstance(effect, Accuse)] == []
    assert prober.round_trips == {}


def test_an_answer_from_a_stranger_or_with_another_number_answers_nothing() -> None:
    """Scenarios 34 and 36."""
    prober = a_prober(*CREW)
    at, ping = begin(prober)
    assert not prober.receive_ack(Ack(sequence=sequence_of(ping)), source=FAY, now=at + 0.1)
    assert not prober.receive_ack(Ack(sequence=sequence_of(ping) - 1), source=ping.target, now=at + 0.1)
    assert prober.next_deadline() == at + 0.5


def test_a_late_answer_does_not_satisfy_the_next_probe() -> None:
    """Scenario 35 (rule 35)."""
    prober = a_prober(BOB)
    at, ping = begin(prober)
    prober.handle_timer(now=at + 0.5)
    prober.handle_timer(now=at + 1.0)
    assert not prober.receive_ack(Ack(sequence=sequence_of(ping)), source=BOB, now=at + 1.1)


def test_a_member_that_answers_by_stream_alone_is_not_accused_but_reported() -> None:
    """Scenario 29."""
    prober = a_prober(BOB)
    late_at, ping, _ = ask(prober)
    assert prober.receive_ack(Ack(sequence=sequence_of(ping)), source=BOB, now=late_at + 0.1, by_stream=True)
    blocked = Report(event=DatagramsBlocked(member=BOB, address=home(BOB)))
    assert prober.handle_timer(now=late_at + 0.5)[0] == blocked
    assert prober.failed == 0


def test_without_stream_pings_blocked_datagrams_are_an_accusation() -> None:
    """Scenario 29."""
    prober = a_prober(BOB, config=replace(LAN.probe, stream_ping=False))
    late_at, _, asked = ask(prober)
    assert asked == []
    assert prober.handle_timer(now=late_at + 0.5)[0] == Accuse(member=BOB, alone=True)


def test_probing_a_suspect_tells_it_so_to_its_face() -> None:
    """Scenario 33."""
    table = a_table(a_claim(BOB), a_claim(BOB, SUSPECT))
    _, ping = begin(a_prober(table=table))
    assert ping.first == a_claim(BOB, SUSPECT)


def test_who_leaves_probes_nobody_any_more() -> None:
    """Scenario 20."""
    prober = a_prober(BOB)
    begin(prober)
    prober.stop()
    assert prober.next_deadline() == math.inf
    assert prober.handle_timer(now=99.0) == []


def test_who_is_alone_probes_nobody() -> None:
    assert a_prober().next_deadline() == math.inf


# ------------------------------------------------------------------------------------------------------------ the round


def test_each_member_is_probed_once_a_round() -> None:
    prober = a_prober(*CREW)
    for _ in range(5):
        assert sorted(probe_each(prober, 4)) == sorted(CREW)


def test_each_round_has_an_order_of_its_own() -> None:
    prober = a_prober(*CREW)
    assert len({tuple(probe_each(prober, 4)) for _ in range(20)}) > 10


def test_a_newcomer_is_probed_within_the_round_that_it_came_in() -> None:
    table = a_table(*(a_claim(member) for member in CREW))
    places = set()
    for seed in range(20):
        prober = a_prober(table=table, seed=seed)
        probe_each(prober, 2)
        table.merge(a_claim(FAY), source=BOB, how="gossip", now=0.0)
        prober.member_added(FAY, now=0.0)
        places.add(probe_each(prober, 3).index(FAY))
        table = a_table(*(a_claim(member) for member in CREW))
    assert places == {0, 1, 2}


def test_names_that_come_and_are_forgotten_before_their_turn_leave_nothing_in_the_round() -> None:
    prober = a_prober()
    for number in range(1_000):
        prober.member_added(NodeId(f"n{number}"), now=0.0)
        prober.member_forgotten(NodeId(f"n{number}"))
    assert len(prober._round) <= 65


def test_a_member_that_comes_and_goes_is_still_probed_once_a_round() -> None:
    prober = a_prober(*CREW)
    for _ in range(1_000):
        prober.member_added(BOB, now=0.0)
    assert Counter(probe_each(prober, 8)) == dict.fromkeys(CREW, 2)


def test_the_dead_and_the_departed_are_not_probed() -> None:
    """Scenario 54."""
    table = a_table(*(a_claim(member) for member in CREW))
    prober = a_prober(table=table)
    table.merge(a_claim(BOB, DEAD), source=CAT, how="gossip", now=0.0)
    table.merge(a_claim(CAT, LEFT), source=CAT, how="gossip", now=0.0)
    assert set(probe_each(prober, 8)) == {DAN, EVE}


def test_first_probes_are_spread_over_an_interval() -> None:
    """Rule 45: no cluster-wide beat after a mass start."""
    starts = [a_prober(BOB, seed=seed).next_deadline() for seed in range(100)]
    assert 0.0 <= min(starts) < 0.1
    assert 0.9 < max(starts) <= 1.0


def test_a_first_member_after_a_lonely_time_is_probed_within_an_interval() -> None:
    prober = a_prober()
    table = a_table()
    lonely = a_prober(table=table)
    table.merge(a_claim(BOB), source=BOB, how="gossip", now=500.0)
    lonely.member_added(BOB, now=500.0)
    assert prober.next_deadline() == math.inf
    assert 500.0 <= lonely.next_deadline() <= 501.0


# ---------------------------------------------------------------------------------------------------------- the helpers


def test_helpers_are_neither_us_nor_the_target_nor_in_doubt() -> None:
    """Scenario 48: where only two qualify, exactly those two."""
    doubtful = [a_claim(DAN, SUSPECT), a_claim(EVE, DEAD), a_claim(FAY, LEFT)]
    for seed in range(20):
        table = a_table(*(a_claim(member) for member in CREW), *doubtful)
        prober = a_prober(table=table, seed=seed)
        _, ping, asked = ask(prober)
        expected = {BOB, CAT} - {ping.target}
        assert {effect.target for effect in asked if isinstance(effect, Tell)} == expected


def test_no_more_helpers_are_asked_than_configured() -> None:
    prober = a_prober(*CREW, FAY, config=replace(LAN.probe, indirect=2))
    _, _, asked = ask(prober)
    assert len([effect for effect in asked if isinstance(effect, Tell)]) == 2


# ------------------------------------------------------------------------------------------------------------ own health


def test_a_good_probe_mends_our_health_once_however_often_it_is_answered() -> None:
    """Scenario 31."""
    awareness = Awareness(8)
    awareness.apply(3)
    prober = a_prober(BOB, awareness=awareness)
    at, ping = begin(prober)
    for _ in range(3):
        prober.receive_ack(Ack(sequence=sequence_of(ping)), source=BOB, now=at + 0.01)
    assert awareness.score == 2


def test_ill_health_widens_the_window_and_helpers_that_nack_leave_it_as_it_was() -> None:
    """Scenario 30."""
    awareness = Awareness(8)
    awareness.apply(1)
    prober = a_prober(*CREW, awareness=awareness)
    at, ping = begin(prober)
    assert prober.next_deadline() == at + 1.0
    asked = prober.handle_timer(now=at + 1.0)
    assert prober.next_deadline() == at + 2.0
    for effect in asked:
        if isinstance(effect, Tell):
            assert effect.message == PingRequest(sequence=sequence_of(ping), target=ping.target, window_ms=1_000)
            prober.receive_nack(Nack(sequence=sequence_of(ping)), source=effect.target)
    assert prober.handle_timer(now=at + 2.0)[0] == Accuse(member=ping.target)
    assert awareness.score == 1


@pytest.mark.parametrize(("nacks", "score"), [(3, 0), (2, 1), (1, 2), (0, 3)])
def test_each_helper_that_does_not_even_nack_is_held_against_us(nacks: int, score: int) -> None:
    """Scenario 32. Most of them silent: it may be us."""
    awareness = Awareness(8)
    prober = a_prober(*CREW, awareness=awareness)
    late_at, ping, asked = ask(prober)
    helpers = [effect.target for effect in asked if isinstance(effect, Tell)]
    for helper in helpers[:nacks]:
        prober.receive_nack(Nack(sequence=sequence_of(ping)), source=helper)
    assert prober.handle_timer(now=late_at + 0.5)[0] == Accuse(member=ping.target, alone=nacks < 2)
    assert awareness.score == score


def test_a_failure_that_nobody_could_help_with_counts_one() -> None:
    """Scenario 32."""
    awareness = Awareness(8)
    prober = a_prober(BOB, awareness=awareness)
    late_at, _, _ = ask(prober)
    prober.handle_timer(now=late_at + 0.5)
    assert awareness.score == 1


def test_a_nack_of_somebody_we_did_not_ask_counts_for_nothing() -> None:
    """Scenario 32."""
    awareness = Awareness(8)
    prober = a_prober(*CREW, awareness=awareness)
    late_at, ping, _ = ask(prober)
    prober.receive_nack(Nack(sequence=sequence_of(ping)), source=FAY)
    prober.receive_nack(Nack(sequence=sequence_of(ping)), source=ping.target)
    assert not prober.receive_ack(Ack(sequence=sequence_of(ping)), source=FAY, now=late_at)
    prober.handle_timer(now=late_at + 0.5)
    assert awareness.score == 3


def test_while_isolated_the_interval_is_plain_however_bad_our_health() -> None:
    awareness = Awareness(8)
    awareness.apply(7)
    prober = a_prober(BOB, awareness=awareness)
    prober.impatient = True
    at, _ = begin(prober)
    assert prober.next_deadline() == at + 0.5
    prober.handle_timer(now=at + 0.5)
    assert prober.next_deadline() == at + 1.0


# ---------------------------------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize(
    ("round_trip_s", "timeout_s"),
    [(0.001, 0.2), (0.1, 0.3), (0.4, 0.5)],
    ids=["floor", "mean and four deviations", "ceiling"],
)
def test_the_time_out_follows_the_measured_round_trip_between_floor_and_ceiling(
    round_trip_s: float, timeout_s: float
) -> None:
    prober = a_prober(BOB)
    assert prober.timeout_s(BOB) == 0.5
    at, ping = begin(prober)
    prober.receive_ack(Ack(sequence=sequence_of(ping)), source=BOB, now=at + round_trip_s)
    assert prober.timeout_s(BOB) == pytest.approx(timeout_s)
    at, _ = begin(prober)
    assert prober.next_deadline() == pytest.approx(at + timeout_s)


def test_a_steady_round_trip_narrows_the_time_out() -> None:
    prober = a_prober(BOB, config=replace(LAN.probe, timeout_floor_s=0.001))
    waits = []
    for _ in range(50):
        at, ping = begin(prober)
        prober.receive_ack(Ack(sequence=sequence_of(ping)), source=BOB, now=at + 0.05)
        waits.append(prober.timeout_s(BOB))
    assert waits == sorted(waits, reverse=True)
    assert 0.05 <= waits[-1] < 0.051


def test_the_round_trip_of_the_forgotten_is_forgotten() -> None:
    prober = a_prober(BOB)
    probe_each(prober, 1)
    prober.member_forgotten(BOB)
    assert prober.round_trips == {}


# ------------------------------------------------------------------------------------------------------------- oversleep


def test_time_that_we_overslept_is_given_to_the_one_being_probed() -> None:
    prober = a_prober(*CREW)
    at, ping = begin(prober)
    prober.shift(10.0)
    assert prober.next_deadline() == at + 10.5
    assert prober.receive_ack(Ack(sequence=sequence_of(ping)), source=ping.target, now=at + 10.01)
    assert prober.next_deadline() == at + 11.0
    assert prober.round_trips[ping.target].mean_s == pytest.approx(0.01)


def test_a_probe_that_is_yet_to_begin_waits_for_what_we_overslept() -> None:
    prober = a_prober(BOB)
    at = prober.next_deadline()
    prober.shift(10.0)
    assert prober.next_deadline() == at + 10.0


# ------------------------------------------------------------------------------------------------------------ nack timing


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
@pytest.mark.parametrize("score", [0, 1, 7])
@pytest.mark.parametrize("measured", [False, True])
def test_a_nack_leaves_early_enough_to_arrive(config: ProtocolConfig, score: int, measured: bool) -> None:
    """Scenario 35; rule 44: a fifth of the window is left for the way back, at any health and in every preset."""
    awareness = Awareness(8)
    prober = a_prober(*CREW, awareness=awareness, config=config.probe)
    if measured:
        probe_each(prober, 8)
    awareness.apply(score)
    late_at, _, asked = ask(prober)
    request = next(effect.message for effect in asked if isinstance(effect, Tell))
    assert isinstance(request, PingRequest)
    helper = Relays(nack_after=config.probe.nack_after)
    helper.receive_request(request, asker=ANN, asked_from=home(ANN), sequence=1, known=True, now=late_at)
    ends_at = prober.next_deadline()
    window_s = ends_at - late_at
    assert late_at + 0.5 * window_s < helper.next_deadline() < ends_at - 0.2 * window_s


def test_starting_over_forgets_the_probe_under_way_and_begins_the_next_at_once() -> None:
    prober = a_prober(*CREW)
    at = prober.next_deadline()
    first = the_ping(prober.handle_timer(now=at))
    prober.start_over(now=at + 0.1)
    assert prober.next_deadline() == at + 0.1
    second = the_ping(prober.handle_timer(now=at + 0.1))
    assert second.target != first.target
    assert not prober.receive_ack(Ack(sequence=sequence_of(first)), source=first.target, now=at + 0.1)
