"""The table as a merge: any order and any duplicate of the same claims ends in the same rows; its parts never disagree."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gossipd.core.items import ItemIndex, claim_digest
from gossipd.core.membership.precedence import merge, rank
from gossipd.core.membership.table import LIVE, Table
from gossipd.ids import Address, NodeId
from gossipd.records import Claim, Status
from tests.builders import ALIVE, ANN, BOB, CAT, DAN, DEAD, ELSEWHERE, EVE, LEFT, SUSPECT, a_claim, a_table, home

OTHERS = (BOB, CAT, DAN)


@st.composite
def claims(draw: st.DrawFn) -> Claim:
    """Claims about three others, close enough to each other to collide; verdicts of up to 100 s."""
    member = draw(st.sampled_from(OTHERS))
    return a_claim(
        member,
        draw(st.sampled_from((ALIVE, SUSPECT, DEAD, LEFT))),
        draw(st.integers(0, 2)),
        epoch=draw(st.integers(1, 2)),
        accuser=draw(st.sampled_from((CAT, DAN, EVE))),
        address=draw(st.sampled_from((home(member), ELSEWHERE))),
        age_s=draw(st.integers(0, 100)),
        protocol=draw(st.sampled_from(((1, 1), (1, 2), (2, 3)))),
    )


def told_in_order(told: list[Claim]) -> tuple[Table, ItemIndex]:
    index = ItemIndex()
    return a_table(*told, index=index), index


def check(table: Table, index: ItemIndex) -> None:
    """What must hold of a table at any time."""
    others = {name: row for name, row in table.rows.items() if name != table.me}
    assert table.live == sorted(name for name, row in others.items() if row.claim.status in LIVE)
    assert set(table.dead) == {name for name, row in others.items() if row.claim.status is DEAD}
    suspects = {name for name, row in others.items() if row.claim.status is SUSPECT}
    assert {name for name in table.rows if name in table.suspicions} == suspects
    assert len(table.suspicions) == len(suspects)
    anew = ItemIndex()
    for name, row in table.rows.items():
        anew.put(("", name), claim_digest(row.claim))
    assert (index.root(), len(index)) == (anew.root(), len(anew))
    assert index.xor_buckets(64) == anew.xor_buckets(64)
    assert table.rows[table.me].claim == table.own


@given(st.lists(claims(), max_size=30), st.randoms(use_true_random=False))
def test_any_order_and_any_duplicate_of_the_same_gossip_ends_in_equal_rows(told: list[Claim], rng: Random) -> None:
    again = told + rng.choices(told, k=len(told)) if told else []
    rng.shuffle(again)
    (one, its_index), (other, other_index) = told_in_order(told), told_in_order(again)
    assert {name: rank(row.claim) for name, row in one.rows.items()} == {
        name: rank(row.claim) for name, row in other.rows.items()
    }
    assert its_index.root() == other_index.root()
    assert one.live == other.live


@given(st.lists(claims(), max_size=30))
def test_the_row_is_the_merge_of_all_that_was_told(told: list[Claim]) -> None:
    table, index = told_in_order(told)
    for member in OTHERS:
        readable = [claim for claim in told if claim.member == member and claim.protocol_min == 1]
        if readable:
            best = readable[0]
            for claim in readable:
                best = merge(best, claim)
            assert rank(table.rows[member].claim) == rank(best)
        else:
            assert member not in table.rows
    check(table, index)


class AnyHistory(RuleBasedStateMachine):
    """Whatever happens to a table, its rows, lists, suspicions and hashes agree."""

    def __init__(self) -> None:
        super().__init__()
        self.index = ItemIndex()
        self.table = a_table(index=self.index)
        self.now = 0.0

    @rule(claim=claims(), how=st.sampled_from(("gossip", "sync")))
    def tell(self, claim: Claim, how: str) -> None:
        self.table.merge(claim, source=EVE, how=how, now=self.now)

    @rule(
        status=st.sampled_from((ALIVE, SUSPECT, DEAD, LEFT)),
        counter=st.integers(0, 4),
        epoch=st.integers(1, 3),
        address=st.sampled_from((home(ANN), ELSEWHERE)),
    )
    def tell_of_ourselves(self, status: Status, counter: int, epoch: int, address: Address) -> None:
        claim = a_claim(ANN, status, counter, epoch=epoch, address=address)
        before = self.table.own
        self.table.merge(claim, source=EVE, how="gossip", now=self.now)
        assert self.table.own.incarnation >= before.incarnation
        assert (self.table.own.status, self.table.own.address) == (before.status, before.address)

    @rule(member=st.sampled_from(OTHERS))
    def accuse(self, member: NodeId) -> None:
        self.table.accuse(member, now=self.now)

    @rule()
    def be_isolated(self) -> None:
        self.table.suspicions.hold()
        self.table.withdraw(now=self.now)

    @rule()
    def be_back(self) -> None:
        self.table.suspicions.release(now=self.now)

    @rule(seconds=st.sampled_from((0.5, 5.0, 60.0, 86_400.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.table.handle_timer(now=self.now)
        assert self.table.next_deadline() > self.now

    @invariant()
    def parts_agree(self) -> None:
        check(self.table, self.index)


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
