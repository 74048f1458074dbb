"""Which claim wins is an order: merging is commutative, associative and idempotent in what decides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipd.core.items import claim_digest
from gossipd.core.membership.precedence import merge, rank, supersedes
from gossipd.records import Claim
from tests.builders import ALIVE, BOB, CAT, DAN, DEAD, ELSEWHERE, LEFT, SUSPECT, a_claim, home

about_bob = st.builds(
    a_claim,
    st.just(BOB),
    st.sampled_from((ALIVE, SUSPECT, DEAD, LEFT)),
    st.integers(0, 2),
    epoch=st.integers(1, 2),
    accuser=st.sampled_from((CAT, DAN)),
    address=st.sampled_from((home(BOB), ELSEWHERE)),
    age_s=st.integers(0, 2),
    protocol=st.sampled_from(((1, 1), (1, 2), (2, 2))),
)


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (a_claim(counter=1), a_claim(status=DEAD)),
        (a_claim(epoch=2), a_claim(status=LEFT, counter=9)),
        (a_claim(status=SUSPECT), a_claim()),
        (a_claim(status=DEAD), a_claim(status=SUSPECT)),
        (a_claim(status=LEFT), a_claim(status=DEAD)),
    ],
)
def test_a_later_incarnation_wins_and_at_equal_ones_the_graver_status(new: Claim, old: Claim) -> None:
    assert supersedes(new, old)
    assert not supersedes(old, new)


def test_who_accuses_and_how_long_ago_decides_nothing() -> None:
    one, other = a_claim(status=DEAD, accuser=CAT, age_s=3), a_claim(status=DEAD, accuser=DAN, age_s=9)
    assert not supersedes(one, other)
    assert not supersedes(other, one)


@given(about_bob, about_bob)
def test_merge_is_commutative_in_rank(one: Claim, other: Claim) -> None:
    assert rank(merge(one, other)) == rank(merge(other, one))


@given(about_bob, about_bob, about_bob)
def test_merge_is_associative_in_rank(one: Claim, two: Claim, three: Claim) -> None:
    assert rank(merge(merge(one, two), three)) == rank(merge(one, merge(two, three)))


@given(about_bob)
def test_merge_is_idempotent_in_rank(claim: Claim) -> None:
    assert rank(merge(claim, claim)) == rank(claim)


@given(about_bob, about_bob)
def test_equal_ranks_and_equal_digests_are_the_same(one: Claim, other: Claim) -> None:
    assert (rank(one) == rank(other)) == (claim_digest(one) == claim_digest(other))
