"""Whether it is us who are cut off."""

import math
from itertools import count
from random import Random

import pytest

from gossipd.config import LAN
from gossipd.core.effects import Accuse, Effect, Reconnect, Send
from gossipd.core.membership.isolation import CALLS_ENOUGH, WAVES, Isolation
from gossipd.core.membership.table import Table
from gossipd.ids import NodeId
from gossipd.wire.messages import Ack, Ping
from tests.builders import BOB, CAT, DAN, SUSPECT, a_claim, a_table, home

PATIENCE_S = (LAN.probe.isolation_periods - 2) * LAN.probe.interval_s
WAVE_S = LAN.probe.interval_s / len(WAVES)


def others(number: int) -> list[NodeId]:
    return [NodeId(f"m{at:03}") for at in range(number)]


def a_judge(live: int = 8, *, table: Table | None = None, seed: int = 1) -> Isolation:
    """Return the judge of ANN, who believes so many others alive and heard one of them at 0."""
    numbers = count(1)
    table = table or a_table(*(a_claim(name) for name in others(live)))
    return Isolation(LAN.probe, table=table, rng=Random(seed), next_sequence=lambda: next(numbers), now=0.0)


def asked(effects: list[Effect]) -> list[NodeId]:
    """Return whom *effects* ping, in order."""
    pings = [effect.message for effect in effects if isinstance(effect, Send)]
    return [ping.target for ping in pings if isinstance(ping, Ping)]


def answers(judge: Isolation, effects: list[Effect], by: list[NodeId]) -> list[Effect]:
    """Let those of *by* whom *effects* ping answer; return what comes of it."""
    result: list[Effect] = []
    for effect in effects:
        if isinstance(effect, Send) and isinstance(effect.message, Ping) and effect.message.target in by:
            answer = Ack(sequence=effect.message.sequence)
            result += judge.receive_ack(answer, source=effect.message.target) or []
    return result


def roll_call(judge: Isolation, by: list[NodeId], effects: list[Effect] | None = None) -> list[Effect]:
    """Let a roll call, begun by *effects* or due, pass on time, answered by those of *by*; return all but the pings."""
    rest = answers(judge, effects or [], by)
    end = judge.next_deadline() + LAN.probe.interval_s - (WAVE_S if effects else 0)
    while judge.next_deadline() <= end + 1e-9:
        isolated = judge.isolated
        came = judge.handle_timer(now=judge.next_deadline())
        rest += [effect for effect in came if not isinstance(effect, Send)]
        rest += answers(judge, came, by)
        if judge.isolated != isolated:
            break
    return rest


def cut_off(live: int = 8) -> Isolation:
    judge = a_judge(live)
    assert roll_call(judge, by=[]) == []
    assert judge.isolated
    return judge


def test_who_hears_nobody_knows_within_five_periods_of_the_last_word() -> None:
    judge = a_judge()
    while not judge.isolated:
        now = judge.next_deadline()
        judge.handle_timer(now=now)
    assert now <= LAN.probe.isolation_periods * LAN.probe.interval_s - 0.5
    assert now >= PATIENCE_S


def test_while_anybody_is_heard_and_no_probe_fails_nobody_is_asked() -> None:
    judge = a_judge()
    for at in range(1, 100):
        judge.heard(now=float(at))
        assert judge.next_deadline() == at + PATIENCE_S
        assert judge.handle_timer(now=float(at)) == []


def test_a_doubtful_accusation_waits_for_the_roll_call_and_goes_out_when_half_have_answered() -> None:
    judge = a_judge()
    effects = judge.doubt(BOB, now=1.0)
    assert sorted(asked(effects)) == others(8)
    assert all(isinstance(effect, Send) and effect.member is None for effect in effects), "no gossip is spent on it"
    assert answers(judge, effects, by=others(3)) == []
    assert answers(judge, effects, by=others(4)) == [Accuse(member=BOB)]
    assert judge.next_deadline() == PATIENCE_S
    assert not judge.isolated


def test_doubts_during_a_roll_call_are_part_of_it() -> None:
    judge = a_judge()
    effects = judge.doubt(BOB, now=1.0)
    assert judge.doubt(CAT, now=1.1) == []
    assert answers(judge, effects, by=others(8)) == [Accuse(member=BOB), Accuse(member=CAT)]


def test_who_finds_itself_isolated_accuses_nobody_not_even_in_doubt() -> None:
    judge = a_judge()
    assert roll_call(judge, by=[], effects=judge.doubt(BOB, now=1.0)) == []
    assert judge.isolated
    assert judge.doubt(CAT, now=3.0) == []


def test_a_quarter_that_answers_is_enough_and_less_is_not() -> None:
    for answering, isolated in ((1, True), (2, False)):
        judge = a_judge(8)
        accused = roll_call(judge, by=others(answering), effects=judge.doubt(BOB, now=1.0))
        assert judge.isolated == isolated
        assert accused == ([] if isolated else [Accuse(member=BOB)])


def test_the_silent_are_asked_again_in_each_wave_and_more_beside_them() -> None:
    judge = a_judge(200)
    first = asked(judge.doubt(BOB, now=1.0))
    second = asked(judge.handle_timer(now=judge.next_deadline()))
    third = asked(judge.handle_timer(now=judge.next_deadline()))
    assert [len(first), len(second), len(third)] == [16, 32, 64]
    assert set(first) < set(second) < set(third)
    assert judge.handle_timer(now=judge.next_deadline()) == []
    assert judge.isolated


def test_loss_of_a_fifth_of_the_packets_is_no_isolation() -> None:
    rng = Random(7)
    names = others(127)
    for _ in range(2_000):
        judge = a_judge(table=a_table(*(a_claim(name) for name in names)), seed=rng.randrange(2**32))
        effects, at = judge.doubt(BOB, now=1.0), 1.0
        while at < 2.5 and asked(effects):
            answers(judge, effects, by=[name for name in names if rng.random() < 0.8 * 0.8])
            at = judge.next_deadline()
            effects = judge.handle_timer(now=at) if at < 2.5 else []
        assert not judge.isolated


def test_neither_half_of_a_cut_cluster_is_isolated_and_a_tenth_is() -> None:
    for part, isolated in ((500, False), (100, True), (10, True)):
        verdicts = []
        for seed in range(40):
            judge = a_judge(999, seed=seed)
            roll_call(judge, by=others(part), effects=judge.doubt(BOB, now=1.0))
            verdicts.append(judge.isolated)
        assert verdicts == [isolated] * 40


def test_isolation_ends_when_half_answer_and_then_we_sync_with_one_of_them() -> None:
    judge = cut_off(8)
    assert roll_call(judge, by=others(3)) == []
    [sync] = roll_call(judge, by=others(4))
    assert sync in [Reconnect(target=home(name)) for name in others(4)]


@pytest.mark.parametrize(("too_few_in", "calls"), [(None, CALLS_ENOUGH), (3, 3 + CALLS_ENOUGH)])
def test_a_quarter_in_each_of_five_calls_in_a_row_ends_it_for_the_others_may_have_crashed_meanwhile(
    too_few_in: int | None, calls: int
) -> None:
    """Found by a random world: of five whom it knew three had crashed while it was cut off, and it stayed isolated for ever."""
    judge = cut_off(8)
    before, came = judge.roll_calls, list[Effect]()
    while judge.isolated:
        came = judge.handle_timer(now=judge.next_deadline())
        answers(judge, came, by=others(1 if judge.roll_calls - before == too_few_in else 2))
    assert judge.roll_calls - before == calls
    [sync] = came
    assert sync in [Reconnect(target=home(name)) for name in others(2)]


def test_while_isolated_there_is_a_roll_call_each_period() -> None:
    judge = cut_off()
    before, since = judge.roll_calls, judge.next_deadline()
    while judge.next_deadline() < since + 10 * LAN.probe.interval_s - 0.01:
        judge.handle_timer(now=judge.next_deadline())
    assert judge.roll_calls - before == 10
    assert judge.isolated


def test_what_others_claim_counts_for_nothing() -> None:
    """After a heal a sync brings many suspects; they answer us."""
    table = a_table(*(a_claim(name, SUSPECT) for name in others(8)))
    judge = a_judge(table=table)
    assert answers(judge, judge.doubt(BOB, now=1.0), by=others(8)) == [Accuse(member=BOB)]
    assert not judge.isolated


def test_of_a_pair_the_other_is_held_to_have_failed() -> None:
    judge = a_judge(1)
    assert judge.next_deadline() == math.inf
    assert judge.doubt(BOB, now=1.0) == [Accuse(member=BOB)]


def test_who_has_nobody_left_to_miss_is_isolated_no_more() -> None:
    table = a_table(a_claim(BOB), a_claim(CAT))
    judge = a_judge(table=table)
    roll_call(judge, by=[])
    assert judge.isolated
    del table.live[0]
    judge.handle_timer(now=judge.next_deadline())
    assert not judge.isolated


def test_an_ack_of_another_number_or_from_another_member_answers_no_roll_call() -> None:
    judge = a_judge(2)
    effects = judge.doubt(BOB, now=1.0)
    [one, other] = asked(effects)
    assert judge.receive_ack(Ack(sequence=1), source=other) is None
    assert judge.receive_ack(Ack(sequence=99), source=one) is None
    assert judge.receive_ack(Ack(sequence=1), source=one) == [Accuse(member=BOB)]
    assert judge.receive_ack(Ack(sequence=2), source=other) is None


def test_time_that_we_overslept_is_no_silence() -> None:
    judge = a_judge()
    judge.shift(60.0)
    assert judge.next_deadline() == 60.0 + PATIENCE_S
    effects = judge.doubt(BOB, now=61.0)
    judge.shift(30.0)
    assert judge.next_deadline() == pytest.approx(91.0 + WAVE_S)
    assert answers(judge, effects, by=others(8)) == [Accuse(member=BOB)]


def test_who_is_leaving_doubts_itself_no_more() -> None:
    table = a_table(a_claim(CAT), a_claim(DAN))
    judge = a_judge(table=table)
    table.leave(now=0.5)
    assert judge.next_deadline() == math.inf
    assert judge.doubt(BOB, now=1.0) == [Accuse(member=BOB)]
