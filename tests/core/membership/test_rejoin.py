"""The search for lost peers."""

import math
from itertools import count
from random import Random

from gossipd.config import LAN
from gossipd.core.effects import Effect, Reconnect, Send
from gossipd.core.membership.rejoin import KNOCKS_MAX, QUICK_S, Rejoin
from gossipd.core.membership.table import Table
from gossipd.ids import Address, NodeId
from gossipd.wire.messages import Ack, Ping
from tests.builders import ANN, BOB, CAT, DAN, DEAD, ELSEWHERE, EVE, LEFT, a_claim, a_table, home, sequence_of

SEED = Address("10.0.0.99", 7_946)
OTHER_SEED = Address("10.0.0.98", 7_946)


def searching(
    table: Table, *, book: list[tuple[NodeId, Address]] | None = None, seeds: tuple[Address, ...] = (), seed: int = 1
) -> Rejoin:
    numbers = count(1)
    rejoin = Rejoin(
        LAN.sync,
        table=table,
        rng=Random(seed),
        next_sequence=lambda: next(numbers),
        book=lambda: book or [],
        now=0.0,
    )
    rejoin.seeds = seeds
    return rejoin


def rounds(rejoin: Rejoin, *, until: float) -> list[Effect]:
    """Return what a node asks for until then, its timers on time."""
    effects: list[Effect] = []
    while (at := rejoin.next_deadline()) <= until:
        effects += rejoin.handle_timer(now=at)
        assert rejoin.next_deadline() > at
    return effects


def knocks(effects: list[Effect]) -> list[Address]:
    return [effect.target for effect in effects if isinstance(effect, Send)]


def test_a_knock_is_a_ping_that_says_what_we_believe() -> None:
    rejoin = searching(a_table(a_claim(BOB, DEAD, age_s=9)))
    (knock,) = rejoin.handle_timer(now=0.0)
    assert knock == Send(
        target=home(BOB), message=Ping(sequence=sequence_of(knock), target=BOB), first=a_claim(BOB, DEAD, age_s=9)
    )


def test_seeds_that_are_told_late_are_tried_at_once_and_only_the_new_ones() -> None:
    rejoin = searching(a_table())
    rejoin.handle_timer(now=0.0)
    rejoin.set_seeds([SEED], now=0.003)
    assert rejoin.next_deadline() == 0.003
    assert rejoin.handle_timer(now=0.003) == [Reconnect(target=SEED)]
    rejoin = searching(a_table(a_claim(BOB)), seeds=(SEED,))
    rejoin.handle_timer(now=0.0)
    rejoin.set_seeds([SEED], now=1.0)
    assert rejoin.next_deadline() == LAN.sync.seed_interval_s
    rejoin.set_seeds([SEED, OTHER_SEED], now=2.0)
    assert rejoin.next_deadline() == 2.0


def test_who_is_alone_syncs_once_with_whoever_answers_a_knock() -> None:
    rejoin = searching(a_table(a_claim(BOB, DEAD)))
    (knock,) = rejoin.handle_timer(now=0.0)
    ack = Ack(sequence=sequence_of(knock))
    assert rejoin.receive_ack(ack, now=0.001) == [Reconnect(target=home(BOB))]
    assert rejoin.receive_ack(ack, now=0.001) == []


def test_who_is_in_company_leaves_the_rest_to_the_claim_and_knocks_again_soon() -> None:
    table = a_table(a_claim(EVE), a_claim(BOB, DEAD), a_claim(CAT, DEAD), a_claim(DAN, DEAD))
    rejoin = searching(table)
    (knock,) = rejoin.handle_timer(now=0.0)
    assert rejoin.next_deadline() >= 0.5
    assert rejoin.receive_ack(Ack(sequence=sequence_of(knock)), now=0.001) == []
    assert rejoin.next_deadline() == 0.001 + QUICK_S


def test_a_forgotten_peer_that_answers_is_synced_with_since_no_claim_of_it_is_coming() -> None:
    rejoin = searching(a_table(a_claim(CAT)), book=[(BOB, home(BOB)), (DAN, home(DAN))])
    (knock,) = rejoin.handle_timer(now=0.0)
    assert isinstance(knock, Send)
    assert rejoin.receive_ack(Ack(sequence=sequence_of(knock)), now=0.001) == [Reconnect(target=knock.target)]


def test_rounds_of_those_who_lost_the_same_members_do_not_fall_together() -> None:
    tables = [a_table(a_claim(CAT), a_claim(BOB, DEAD)) for _ in range(50)]
    deadlines = set()
    for seed, table in enumerate(tables):
        rejoin = searching(table, seed=seed)
        rejoin.handle_timer(now=0.0)
        deadlines.add(rejoin.next_deadline())
    assert len(deadlines) == 50
    assert all(0.5 <= at <= 1.5 for at in deadlines)


def test_all_members_together_try_each_of_the_dead_about_once_a_round_however_many_they_are() -> None:
    for living in (2, 10, 50):
        tries = 0
        others = [NodeId(f"m{number}") for number in range(living - 1)]
        for seed in range(living):
            table = a_table(*(a_claim(other) for other in others), a_claim(BOB, DEAD), a_claim(CAT, DEAD))
            tries += len(knocks(rounds(searching(table, seed=seed), until=199.5)))
        assert 0.8 < tries / (200 * 2) < 1.2


def test_the_dead_are_tried_as_long_as_they_are_remembered_at_all() -> None:
    table = a_table(a_claim(CAT), a_claim(BOB, DEAD))
    rejoin = searching(table)
    rounds(rejoin, until=80_000.0)
    assert knocks(rounds(rejoin, until=80_100.0)).count(home(BOB)) > 20


def test_peers_that_the_table_has_forgotten_are_tried_for_ever_at_the_pace_of_seeds() -> None:
    """A cut that outlasts the memory of the dead heals all the same, with no seed configured."""
    table = a_table(a_claim(BOB), a_claim(CAT, DEAD))
    rejoin = searching(table, book=[(BOB, home(BOB)), (CAT, home(CAT)), (DAN, home(DAN))])
    table.handle_timer(now=LAN.sync.forget_after_s)
    rejoin.handle_timer(now=LAN.sync.forget_after_s)
    later = LAN.sync.forget_after_s + 100 * LAN.sync.seed_interval_s
    tried = knocks(rounds(rejoin, until=later))
    assert set(tried) == {home(CAT), home(DAN)}
    assert 80 <= len(tried) <= 101
    assert [effect for effect in rounds(rejoin, until=later + 3_000) if isinstance(effect, Reconnect)] == []


def test_who_has_just_started_tries_whom_its_peer_book_names_in_every_round_until_they_are_met() -> None:
    """Those who restarted together, and met each other, are not alone; the rest must be found all the same."""
    book = [(BOB, home(BOB)), (CAT, home(CAT)), (DAN, home(DAN))]
    table = a_table(a_claim(CAT))
    rejoin = searching(table, book=book)
    tried = knocks(rounds(rejoin, until=10.0))
    assert set(tried) == {home(BOB), home(DAN)}
    assert 7 <= len(tried) <= 20
    for member in (BOB, DAN):
        table.merge(a_claim(member), source=CAT, how="sync", now=10.0)
    assert rounds(rejoin, until=1_000.0) == []
    rejoin = searching(table, book=book)
    rejoin.handle_timer(now=0.0)
    assert rejoin.next_deadline() == LAN.sync.seed_interval_s


def test_a_healthy_cluster_knocks_at_nobody() -> None:
    table = a_table(a_claim(BOB), a_claim(CAT), a_claim(DAN, LEFT))
    rejoin = searching(table, book=[(member, home(member)) for member in (BOB, CAT, DAN)], seeds=(home(BOB), home(ANN)))
    assert rounds(rejoin, until=1_000.0) == []


def test_who_is_alone_tries_everything_it_ever_knew() -> None:
    table = a_table(a_claim(BOB, DEAD))
    book = [(CAT, home(CAT)), (DAN, home(DAN)), (EVE, home(EVE))]
    effects = rounds(searching(table, book=book, seeds=(SEED, OTHER_SEED)), until=20.0)
    assert set(knocks(effects)) == {home(member) for member in (BOB, CAT, DAN, EVE)}
    assert {effect.target for effect in effects if isinstance(effect, Reconnect)} == {SEED, OTHER_SEED}
    assert len(knocks(effects)) == 3 * 23  # at 0, 0.1, 0.3, 0.7, 1.5 s, and then every second


def test_who_is_isolated_tries_the_peer_book_and_the_seeds_as_hard() -> None:
    table = a_table(a_claim(BOB), a_claim(CAT))
    rejoin = searching(table, book=[(BOB, home(BOB)), (DAN, home(DAN))], seeds=(SEED,))
    rejoin.isolated = True
    effects = rounds(rejoin, until=10.0)
    assert set(knocks(effects)) == {home(BOB), home(DAN)}
    assert effects.count(Reconnect(target=SEED)) == 11


def test_a_seed_that_is_no_member_is_tried_for_ever_but_seldom_while_all_is_well() -> None:
    rejoin = searching(a_table(a_claim(BOB)), seeds=(SEED, home(BOB)))
    rejoin.handle_timer(now=0.0)
    assert rejoin.next_deadline() == LAN.sync.seed_interval_s
    assert rounds(rejoin, until=30.0 * 50) == [Reconnect(target=SEED)] * 50


def test_the_departed_are_left_alone() -> None:
    """Scenario 44."""
    assert rounds(searching(a_table(a_claim(CAT), a_claim(BOB, LEFT, address=ELSEWHERE))), until=100.0) == []


def test_who_leaves_looks_for_nobody() -> None:
    rejoin = searching(a_table(a_claim(BOB, DEAD)), seeds=(SEED,))
    rejoin.stop()
    assert rejoin.next_deadline() == math.inf
    assert rejoin.handle_timer(now=99.0) == []


def test_the_oldest_unanswered_knock_is_given_up_for_the_newest() -> None:
    rejoin = searching(a_table(a_claim(BOB, DEAD)))
    sent = [sequence_of(effect) for effect in rounds(rejoin, until=float(KNOCKS_MAX))]
    oldest_kept = len(sent) - KNOCKS_MAX
    assert rejoin.receive_ack(Ack(sequence=sent[oldest_kept - 1]), now=99.0) == []
    assert rejoin.receive_ack(Ack(sequence=sent[oldest_kept]), now=99.0) == [Reconnect(target=home(BOB))]


def test_the_deadline_which_every_packet_asks_for_costs_no_look_into_the_peer_book() -> None:
    looks = []

    def book() -> list[tuple[NodeId, Address]]:
        looks.append(1)
        return [(BOB, home(BOB))] * 10_000

    rejoin = Rejoin(LAN.sync, table=a_table(), rng=Random(1), next_sequence=lambda: 1, book=book, now=0.0)
    assert [rejoin.next_deadline() for _ in range(3)] == [0.0] * 3
    assert looks == []
