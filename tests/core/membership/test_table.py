"""The member table: what a claim changes, what users hear of it, and what becomes news."""

import math
from dataclasses import replace

import pytest

from gossipd.config import LAN
from gossipd.core.effects import Effect, Report, Send, Spread
from gossipd.core.events import EpochRaised, MemberChanged, NameConflict
from gossipd.core.items import ItemIndex, claim_check
from gossipd.core.membership.awareness import Awareness
from gossipd.core.membership.suspicion import suspicion_timeout_s
from gossipd.core.membership.table import SETTLED_S, TWIN_NOTICE_S, UNAWAITED, Table
from gossipd.ids import Incarnation, NodeId
from gossipd.limits import AGE_S_MAX, INTEGER_MAX, MEMBERS_MAX
from gossipd.records import Claim, Status
from gossipd.wire.messages import Ping, Refutation, Twin
from tests.builders import (
    ALIVE,
    ANN,
    BOB,
    CAT,
    DAN,
    DEAD,
    ELSEWHERE,
    EVE,
    FAY,
    LEFT,
    SUSPECT,
    a_claim,
    a_table,
    changes,
    home,
    news,
)

DAY_S = LAN.sync.forget_after_s


def told(table: Table, claim: Claim, *, source: NodeId = CAT, how: str = "gossip", now: float = 1.0) -> list[Effect]:
    return table.merge(claim, source=source, how=how, now=now)


def status(table: Table, member: NodeId = BOB) -> Status:
    return table.rows[member].claim.status


# ------------------------------------------------------------------------------------------------------------- alive


def test_a_first_claim_to_be_alive_adds_the_member_tells_users_once_and_is_news() -> None:
    """Scenario 1."""
    table = a_table()
    claim = a_claim(BOB)
    event = MemberChanged(
        member=BOB,
        before=None,
        after=ALIVE,
        incarnation=claim.incarnation,
        address=home(BOB),
        accuser=BOB,
        source=CAT,
        how="gossip",
    )
    assert told(table, claim) == [Spread(item=claim), Report(event=event)]
    assert table.live == [BOB]
    assert told(table, claim) == []


def test_only_a_later_incarnation_clears_a_suspicion() -> None:
    """Scenario 2."""
    table = a_table(a_claim(BOB), a_claim(BOB, SUSPECT))
    assert told(table, a_claim(BOB)) == []
    assert (status(table), BOB in table.suspicions) == (SUSPECT, True)
    refuted = told(table, a_claim(BOB, counter=1))
    assert changes(refuted) == [(BOB, SUSPECT, ALIVE)]
    assert (status(table), BOB in table.suspicions) == (ALIVE, False)
    assert table.next_deadline() == math.inf


def test_a_later_incarnation_of_the_living_is_news_but_no_change_of_status() -> None:
    """Scenario 3."""
    table = a_table(a_claim(BOB), now=0.0)
    later = a_claim(BOB, counter=1)
    effects = told(table, later, now=5.0)
    assert news(effects) == [later]
    assert changes(effects) == [(BOB, ALIVE, ALIVE)]
    assert table.rows[BOB].changed_at == 0.0


def test_a_new_address_comes_with_a_later_incarnation_and_users_hear_it() -> None:
    """Scenarios 4 and 7: a living member may move; who shares its name is told instead (see the twins)."""
    table = a_table(a_claim(BOB))
    effects = told(table, a_claim(BOB, epoch=2, address=ELSEWHERE))
    (event,) = [effect.event for effect in effects if isinstance(effect, Report)]
    assert isinstance(event, MemberChanged)
    assert (event.before, event.after, event.address) == (ALIVE, ALIVE, ELSEWHERE)
    assert table.rows[BOB].claim.address == ELSEWHERE


def test_who_has_long_been_known_is_told_to_be_alive_in_short_and_who_has_not_in_full() -> None:
    table = a_table(a_claim(BOB, DEAD))
    claim = a_claim(BOB, ALIVE, counter=1)
    told(table, claim, now=5.0)
    assert table.shortened(claim, now=SETTLED_S - 0.1) == claim
    short = Refutation(member=BOB, counter=1, check=claim_check(claim))
    assert table.shortened(claim, now=SETTLED_S) == short
    assert table.claim_of(short) == claim


@pytest.mark.parametrize("anew", [a_claim(BOB, epoch=2), a_claim(BOB, counter=1, address=ELSEWHERE)])
def test_who_has_a_new_epoch_or_address_is_told_in_full_again_until_all_know_it(anew: Claim) -> None:
    table = a_table(a_claim(BOB))
    told(table, anew, now=50.0)
    assert table.shortened(anew, now=50.0 + SETTLED_S - 0.1) == anew
    assert isinstance(table.shortened(anew, now=50.0 + SETTLED_S), Refutation)


@pytest.mark.parametrize("status", [SUSPECT, DEAD, LEFT])
def test_nothing_but_being_alive_is_told_in_short(status: Status) -> None:
    claim = a_claim(BOB, status)
    assert a_table(claim).shortened(claim, now=DAY_S) == claim


@pytest.mark.parametrize("status", [ALIVE, SUSPECT, DEAD, LEFT])
def test_a_refutation_is_understood_whatever_was_believed_of_its_member(status: Status) -> None:
    meant = a_claim(BOB, ALIVE, counter=1)
    short = Refutation(member=BOB, counter=1, check=claim_check(meant))
    table = a_table(a_claim(BOB, status, age_s=7 if status is DEAD else 0))
    claim = table.claim_of(short)
    assert claim == meant
    assert (claim.age_s, claim.accuser) == (0, BOB)


@pytest.mark.parametrize(
    "known",
    [
        a_claim(CAT),
        a_claim(BOB, epoch=2),
        a_claim(BOB, address=ELSEWHERE),
        a_claim(BOB, protocol=(1, 2)),
    ],
)
def test_a_refutation_of_whom_we_know_otherwise_or_not_at_all_stands_for_nothing(known: Claim) -> None:
    short = Refutation(member=BOB, counter=1, check=claim_check(a_claim(BOB, counter=1)))
    assert a_table(known).claim_of(short) is None


def test_a_foreign_claim_about_ourselves_changes_nothing_of_ours_and_is_outbid() -> None:
    """Scenario 5."""
    table = a_table()
    effects = told(table, a_claim(ANN, counter=2, protocol=(1, 9)))
    assert news(effects) == [a_claim(ANN, counter=3)]
    assert table.own == table.rows[ANN].claim == a_claim(ANN, counter=3)


@pytest.mark.parametrize("forged", [a_claim(ANN, DEAD, address=ELSEWHERE), a_claim(ANN, DEAD, protocol=(1, 9))])
def test_who_is_dead_with_an_address_or_protocols_not_its_own_refutes_so_that_others_understand(forged: Claim) -> None:
    table = a_table()
    (refuted,) = news(told(table, forged, now=DAY_S))
    assert isinstance(refuted, Claim)
    told_as = table.shortened(refuted, now=DAY_S)
    other = a_table(forged, me=BOB)
    heard = other.claim_of(told_as) if isinstance(told_as, Refutation) else told_as
    assert heard is not None
    told(other, heard)
    assert other.rows[ANN].claim == refuted


def test_two_addresses_at_one_incarnation_end_at_the_same_one_everywhere() -> None:
    """Scenario 6."""
    here, there = a_claim(BOB), a_claim(BOB, address=ELSEWHERE)
    one, other = a_table(here, there), a_table(there, here)
    assert one.rows[BOB].claim == other.rows[BOB].claim


def test_who_left_may_come_back_from_anywhere_at_once() -> None:
    """Scenario 8."""
    table = a_table(a_claim(BOB), a_claim(BOB, LEFT, counter=1))
    assert changes(told(table, a_claim(BOB, epoch=2, address=ELSEWHERE))) == [(BOB, LEFT, ALIVE)]
    assert table.live == [BOB]


@pytest.mark.parametrize("how", ["gossip", "sync"])
def test_a_claim_in_a_format_that_we_do_not_speak_is_refused_and_counted_and_only_that_one(how: str) -> None:
    """Scenarios 9, 10 and 51."""
    table = a_table(a_claim(BOB))
    assert told(table, a_claim(CAT, protocol=(2, 3)), how=how) == []
    assert told(table, a_claim(BOB, counter=1, protocol=(2, 3)), how=how) == []
    assert table.refused == {"incompatible": 2}
    assert (table.live, table.rows[BOB].claim) == ([BOB], a_claim(BOB))
    assert changes(told(table, a_claim(DAN, protocol=(1, 9)), how=how)) == [(DAN, None, ALIVE)]


def test_an_equal_incarnation_never_wakes_the_dead() -> None:
    """Scenario 12."""
    table = a_table(a_claim(BOB, counter=10), a_claim(BOB, DEAD, counter=10))
    assert told(table, a_claim(BOB, counter=10)) == []
    assert (status(table), table.live) == (DEAD, [])
    assert changes(told(table, a_claim(BOB, counter=11))) == [(BOB, DEAD, ALIVE)]


# ---------------------------------------------------------------------------------------------------- suspect and dead


def test_an_accusation_of_an_unknown_name_is_kept_with_the_age_of_its_verdict() -> None:
    """Scenario 13."""
    table = a_table()
    assert changes(told(table, a_claim(BOB, SUSPECT))) == [(BOB, None, SUSPECT)]
    assert changes(told(table, a_claim(DAN, DEAD, age_s=60), now=100.0)) == [(DAN, None, DEAD)]
    assert BOB in table.suspicions
    assert table.rows[DAN].verdict_at == 40.0


def test_a_verdict_as_old_as_what_is_forgotten_does_not_bring_a_name_back() -> None:
    """Scenario 13."""
    table = a_table()
    assert told(table, a_claim(BOB, DEAD, age_s=int(DAY_S))) == []
    assert told(table, a_claim(BOB, LEFT, age_s=int(DAY_S))) == []
    assert table.refused == {"forgotten": 2}
    assert BOB not in table.rows


@pytest.mark.parametrize("accusation", [SUSPECT, DEAD])
def test_an_accusation_of_an_earlier_incarnation_changes_nothing(accusation: Status) -> None:
    """Scenario 14."""
    table = a_table(a_claim(BOB, counter=10))
    assert told(table, a_claim(BOB, accusation, counter=9)) == []
    assert status(table) is ALIVE


def test_a_suspect_that_stays_silent_is_declared_dead_by_us_when_its_time_is_up() -> None:
    """Scenario 15."""
    table = a_table(a_claim(BOB))
    accused = told(table, a_claim(BOB, SUSPECT), now=1.0)
    assert changes(accused) == [(BOB, ALIVE, SUSPECT)]
    due = table.next_deadline()
    assert due == 5.0  # two members: the least wait, 4 x 1 s
    assert table.handle_timer(now=due - 0.01) == []
    died = table.handle_timer(now=due)
    assert news(died) == [a_claim(BOB, DEAD, accuser=ANN)]
    assert changes(died) == [(BOB, SUSPECT, DEAD)]
    assert (table.live, list(table.dead)) == ([], [BOB])


def test_the_same_accusation_again_is_no_news_and_starts_no_new_wait() -> None:
    """Scenario 16."""
    table = a_table(a_claim(BOB), a_claim(BOB, SUSPECT), now=0.0)
    due = table.next_deadline()
    assert told(table, a_claim(BOB, SUSPECT), now=3.0) == []
    assert (table.rows[BOB].changed_at, table.next_deadline()) == (0.0, due)


def test_a_second_accuser_is_news_under_its_own_name_and_shortens_the_wait() -> None:
    """Scenarios 16 and 21."""
    table = a_table(*(a_claim(member) for member in (BOB, CAT, DAN, EVE)), a_claim(BOB, SUSPECT, accuser=CAT))
    before = table.next_deadline()
    confirmation = a_claim(BOB, SUSPECT, accuser=DAN)
    assert told(table, confirmation) == [Spread(item=confirmation, urgent=False)]
    assert told(table, confirmation) == []
    assert table.next_deadline() < before


@pytest.mark.parametrize("accusation", [SUSPECT, DEAD])
def test_an_accusation_of_ourselves_is_refuted_and_held_against_our_own_health(accusation: Status) -> None:
    """Scenario 17."""
    awareness = Awareness(8)
    table = a_table(awareness=awareness)
    effects = told(table, a_claim(ANN, accusation))
    assert news(effects) == [a_claim(ANN, counter=1)]
    assert changes(effects) == [(ANN, ALIVE, ALIVE)]
    assert (awareness.score, table.refutations) == (1, 1)


def test_a_verdict_is_one_event_and_a_later_one_about_the_dead_is_none() -> None:
    """Scenario 18."""
    table = a_table(a_claim(BOB))
    assert changes(told(table, a_claim(BOB, DEAD))) == [(BOB, ALIVE, DEAD)]
    assert told(table, a_claim(BOB, DEAD, counter=2)) == []
    assert table.rows[BOB].claim.incarnation == Incarnation(1, 2)


def test_the_dead_who_had_left_before_were_back_in_between_and_users_hear_it() -> None:
    """Departs from rule 26: a status that users see never changes in silence."""
    table = a_table(a_claim(BOB, LEFT))
    assert changes(told(table, a_claim(BOB, DEAD, epoch=2))) == [(BOB, LEFT, DEAD)]


def test_a_goodbye_is_no_failure() -> None:
    """Scenario 19."""
    table = a_table(a_claim(BOB))
    goodbye = a_claim(BOB, LEFT, counter=1)
    effects = told(table, goodbye)
    assert (news(effects), changes(effects)) == ([goodbye], [(BOB, ALIVE, LEFT)])
    assert (table.live, list(table.dead)) == ([], [])


def test_who_is_leaving_lets_itself_be_declared_dead() -> None:
    """Scenario 20."""
    table = a_table()
    assert news(table.leave(now=1.0)) == [a_claim(ANN, LEFT, counter=1)]
    assert table.leave(now=2.0) == []
    assert told(table, a_claim(ANN, DEAD, counter=1)) == []


def test_our_own_failed_probe_is_a_claim_and_later_a_confirmation() -> None:
    table = a_table(*(a_claim(member) for member in (BOB, CAT, DAN, EVE)), a_claim(CAT, SUSPECT, accuser=DAN))
    assert news(table.accuse(BOB, now=1.0)) == [a_claim(BOB, SUSPECT, accuser=ANN)]
    assert news(table.accuse(CAT, now=1.0)) == [a_claim(CAT, SUSPECT, accuser=ANN)]
    assert table.suspicions.accusers(CAT) == (DAN, ANN)
    assert table.accuse(BOB, now=2.0) == []
    assert table.accuse(FAY, now=2.0) == []


# ------------------------------------------------------------------------------------------------- syncs and forgetting


def test_what_a_sync_brings_is_believed_but_for_the_dead_who_live_here() -> None:
    """Scenario 52."""
    table = a_table(*(a_claim(member) for member in (BOB, CAT, DAN)))
    assert changes(told(table, a_claim(BOB, counter=1), how="sync")) == [(BOB, ALIVE, ALIVE)]
    assert changes(told(table, a_claim(CAT, SUSPECT), how="sync")) == [(CAT, ALIVE, SUSPECT)]
    assert changes(told(table, a_claim(DAN, DEAD, age_s=9), how="sync")) == [(DAN, ALIVE, SUSPECT)]
    assert changes(told(table, a_claim(EVE), how="sync")) == [(EVE, None, ALIVE)]
    assert (DAN in table.suspicions, table.rows[DAN].claim.age_s) == (True, 0)


def test_whom_a_sync_calls_dead_is_asked_at_once_for_doubts_shall_not_overtake_refutations() -> None:
    table = a_table(a_claim(BOB))
    effects = told(table, a_claim(BOB, DEAD, accuser=CAT, age_s=9), how="sync")
    suspect = a_claim(BOB, SUSPECT, accuser=CAT)
    ping = Ping(sequence=UNAWAITED, target=BOB)
    assert effects[:2] == [
        Send(target=a_claim(BOB).address, message=ping, first=suspect),
        Spread(item=suspect, urgent=False),
    ]
    assert not any(isinstance(effect, Send) for effect in told(table, a_claim(BOB, DEAD, accuser=CAT), how="sync"))


def test_who_missed_a_verdict_need_not_suspect_alone_to_the_end_when_two_peers_call_the_suspect_dead() -> None:
    """All who heard a verdict name the same accuser; a sync that adds no accuser counts whom it came from."""
    table = a_table(*(a_claim(member) for member in (BOB, CAT, DAN, EVE)), now=0.0)
    told(table, a_claim(BOB, SUSPECT, accuser=CAT), now=1.0)
    verdict = a_claim(BOB, DEAD, accuser=CAT)
    for source in (CAT, DAN, DAN, NodeId("nobody")):
        assert told(table, verdict, source=source, how="sync", now=2.0) == []
    assert table.suspicions.accusers(BOB) == (CAT, DAN)
    told(table, verdict, source=EVE, how="sync", now=2.0)
    assert (status(table), table.next_deadline()) == (SUSPECT, 1.0 + suspicion_timeout_s(5, interval_s=1.0))
    assert changes(table.handle_timer(now=table.next_deadline())) == [(BOB, SUSPECT, DEAD)]


@pytest.mark.parametrize("how", ["sync", "gossip"])
def test_who_only_passes_on_a_doubt_is_no_accuser(how: str) -> None:
    table = a_table(*(a_claim(member) for member in (BOB, CAT, DAN, EVE)), now=0.0)
    told(table, a_claim(BOB, SUSPECT, accuser=CAT), now=1.0)
    told(table, a_claim(BOB, SUSPECT, accuser=CAT), source=DAN, how=how, now=2.0)
    assert table.suspicions.accusers(BOB) == (CAT,)


def test_of_the_unknown_dead_a_sync_is_no_news_but_gossip_is() -> None:
    """The cluster knows of them, or a sync will tell it; news of them would circle for as long as they are remembered."""
    table = a_table()
    assert news(told(table, a_claim(BOB, DEAD, age_s=99), how="sync")) == []
    assert news(told(table, a_claim(CAT), how="sync")) == [a_claim(CAT)]
    assert news(told(table, a_claim(DAN, DEAD), how="gossip")) == [a_claim(DAN, DEAD)]


def test_a_goodbye_that_comes_after_the_verdict_is_as_old_as_the_verdict() -> None:
    table = a_table()
    told(table, a_claim(BOB, DEAD, age_s=50), now=100.0)
    told(table, a_claim(BOB, LEFT), now=110.0)
    assert table.rows[BOB].verdict_at == 50.0


def test_a_sync_of_the_departed_is_believed_at_once() -> None:
    """Scenarios 19 and 52 (rule 28)."""
    table = a_table(a_claim(BOB))
    assert changes(told(table, a_claim(BOB, LEFT), how="sync")) == [(BOB, ALIVE, LEFT)]


def test_the_dead_and_the_departed_are_forgotten_at_the_age_of_their_verdict_and_no_sooner() -> None:
    """Scenario 47."""
    index = ItemIndex()
    table = a_table(index=index)
    told(table, a_claim(BOB, DEAD, age_s=100), now=100.0)
    told(table, a_claim(CAT, LEFT), now=100.0)
    assert table.next_deadline() == DAY_S
    assert changes(table.handle_timer(now=DAY_S)) == [(BOB, DEAD, None)]
    assert set(table.rows) == {ANN, CAT}
    assert changes(table.handle_timer(now=DAY_S + 100)) == [(CAT, LEFT, None)]
    assert (set(table.rows), len(index), table.next_deadline()) == ({ANN}, 1, math.inf)


def test_who_comes_back_is_not_forgotten() -> None:
    """Scenario 47."""
    table = a_table(a_claim(BOB, DEAD))
    told(table, a_claim(BOB, counter=1))
    assert table.next_deadline() == math.inf


def test_a_verdict_is_passed_on_with_its_age() -> None:
    table = a_table(a_claim(BOB, DEAD, age_s=10), a_claim(CAT), now=50.0)
    assert table.claim_to_send(BOB, now=55.9).age_s == 15
    assert table.claim_to_send(CAT, now=55.9) == a_claim(CAT)


def test_only_a_verdict_has_an_age() -> None:
    table = a_table(a_claim(BOB, SUSPECT, age_s=90_000))
    assert table.rows[BOB].claim.age_s == 0
    table.handle_timer(now=10.0)
    assert table.claim_to_send(BOB, now=10.0).age_s == 0


def test_the_dead_are_told_of_it_only_while_the_verdict_is_fresh() -> None:
    """Scenario 44."""
    table = a_table(a_claim(BOB), a_claim(CAT, LEFT), a_claim(DAN, DEAD), now=0.0)
    told(table, a_claim(EVE, DEAD), now=20.0)
    assert table.recently_dead(within_s=30.0, now=30.0) == [EVE, DAN]
    assert table.recently_dead(within_s=30.0, now=30.1) == [EVE]
    assert table.recently_dead(within_s=30.0, now=50.1) == []


def test_one_member_too_many_is_refused_and_counted() -> None:
    table = a_table()
    for number in range(MEMBERS_MAX - 1):
        told(table, a_claim(NodeId(f"m{number}"), address=ELSEWHERE))
    assert told(table, a_claim(NodeId("straw"), address=ELSEWHERE)) == []
    assert (len(table.rows), table.refused) == (MEMBERS_MAX, {"members": 1})


# ------------------------------------------------------------------------------------------------ withdrawing our word


def test_what_only_we_accused_is_unsaid_without_a_claim_to_have_heard_anything() -> None:
    table = a_table(*(a_claim(member) for member in (BOB, CAT, DAN, EVE)), now=0.0)
    table.accuse(BOB, now=10.0)
    table.accuse(CAT, now=10.0)
    told(table, a_claim(CAT, SUSPECT, accuser=DAN), now=11.0)
    told(table, a_claim(DAN, SUSPECT, accuser=EVE), now=11.0)
    assert [(event.member, event.before, event.after) for event in table.withdraw(now=12.0)] == [(BOB, SUSPECT, ALIVE)]
    assert [status(table, member) for member in (BOB, CAT, DAN)] == [ALIVE, SUSPECT, SUSPECT]
    assert (BOB in table.suspicions, table.rows[BOB].vouched_at) == (False, 10.0)


def test_a_word_taken_back_can_be_given_again() -> None:
    table = a_table(a_claim(BOB))
    table.accuse(BOB, now=1.0)
    table.withdraw(now=2.0)
    assert changes(table.accuse(BOB, now=3.0)) == [(BOB, ALIVE, SUSPECT)]


# ----------------------------------------------------------------------------------------------------- epochs and twins


def test_a_former_self_that_outranks_us_makes_us_take_a_later_epoch_and_say_so() -> None:
    """Scenario 17, after a restart: a live process never stays dead because its disk was lost."""
    table = a_table()
    effects = told(table, a_claim(ANN, DEAD, epoch=7))
    assert news(effects) == [a_claim(ANN, epoch=8)]
    assert Report(event=EpochRaised(epoch=8)) in effects
    assert table.own == a_claim(ANN, epoch=8)


def test_an_epoch_that_cannot_be_outbid_is_counted_and_not_answered_with_one_that_nobody_can_read() -> None:
    table = a_table()
    assert told(table, a_claim(ANN, DEAD, epoch=INTEGER_MAX)) == []
    assert (table.own, table.refused) == (a_claim(ANN), {"epoch": 1})


def test_a_counter_that_cannot_be_outbid_costs_an_epoch() -> None:
    table = a_table()
    assert news(told(table, a_claim(ANN, SUSPECT, counter=INTEGER_MAX))) == [a_claim(ANN, epoch=2)]


def test_a_twin_is_told_and_so_are_our_users_but_not_for_every_packet() -> None:
    """Scenario 6."""
    table = a_table()
    twin = a_claim(ANN, epoch=2, address=ELSEWHERE)
    expected = [
        Report(event=NameConflict(address=ELSEWHERE, incarnation=twin.incarnation)),
        Send(target=ELSEWHERE, message=Twin(incarnation=table.own.incarnation, address=home(ANN))),
    ]
    assert told(table, twin, now=1.0) == expected
    assert told(table, twin, now=1.0 + TWIN_NOTICE_S - 0.1) == []
    assert told(table, twin, now=1.0 + TWIN_NOTICE_S) == expected
    assert table.own == a_claim(ANN)
    assert table.conflict_address == ELSEWHERE


# -------------------------------------------------------------------------------------------------------- who is there


@pytest.mark.parametrize(
    ("me", "others", "neighbours"),
    [
        (ANN, (), []),
        (ANN, (BOB,), [BOB]),
        (ANN, (BOB, CAT), [BOB, CAT]),
        (ANN, (BOB, CAT, DAN), [BOB, DAN]),
        (CAT, (ANN, BOB, DAN, EVE), [DAN, BOB]),
        (FAY, (ANN, BOB, CAT), [ANN, CAT]),
    ],
)
def test_our_neighbours_are_next_to_us_on_the_ring_of_names(
    me: NodeId, others: tuple[NodeId, ...], neighbours: list[NodeId]
) -> None:
    assert a_table(*(a_claim(other) for other in others), me=me).neighbours() == neighbours


def test_hearing_a_member_vouches_for_it_and_a_stranger_leaves_no_trace() -> None:
    table = a_table(a_claim(BOB), now=0.0)
    table.heard(BOB, now=7.0)
    table.heard(CAT, now=7.0)
    assert (table.rows[BOB].vouched_at, table.row(CAT)) == (7.0, None)


def test_a_suspicion_of_an_earlier_incarnation_kills_nobody() -> None:
    """Scenario 24: a timer that ran for what has been refuted since."""
    table = a_table(a_claim(BOB), a_claim(BOB, SUSPECT))
    due = table.next_deadline()
    told(table, a_claim(BOB, counter=1), now=due - 0.1)
    assert table.handle_timer(now=due + 99) == []
    assert status(table) is ALIVE


def test_the_wait_of_a_suspect_follows_the_configured_interval() -> None:
    slow = replace(LAN, probe=replace(LAN.probe, interval_s=5.0))
    table = a_table(a_claim(BOB), a_claim(BOB, SUSPECT), config=slow)
    assert table.next_deadline() == 20.0


def test_a_live_newcomer_to_a_full_table_takes_the_place_of_whoever_has_been_gone_for_longest() -> None:
    table = a_table(a_claim(BOB, DEAD), a_claim(CAT, LEFT), now=0.0)
    told(table, a_claim(BOB, counter=1), now=1.0)
    for number in range(MEMBERS_MAX - len(table.rows)):
        told(table, a_claim(NodeId(f"m{number}")), now=2.0)
    assert told(table, a_claim(DAN), now=3.0)
    assert (len(table.rows), table.row(CAT), table.refused) == (MEMBERS_MAX, None, {})
    assert table.row(BOB) is not None


def test_an_accuser_that_nobody_knows_does_not_hurry_the_verdict() -> None:
    """Weakness 7 of memberlist: invented names confirm each other."""
    table = a_table(*(a_claim(member) for member in (BOB, CAT, DAN, EVE)), now=0.0)
    told(table, a_claim(BOB, SUSPECT, accuser=CAT), now=1.0)
    assert told(table, a_claim(BOB, SUSPECT, accuser=NodeId("nobody")), now=1.0) == []
    assert told(table, a_claim(BOB, SUSPECT, accuser=DAN), now=1.0) != []


def test_a_verdict_older_than_the_wire_can_say_is_passed_on_as_one_that_it_can() -> None:
    table = a_table(a_claim(BOB))
    table.merge(a_claim(BOB, DEAD, age_s=AGE_S_MAX), source=CAT, how="gossip", now=1.0)
    assert table.claim_to_send(BOB, now=2.0).age_s == AGE_S_MAX
