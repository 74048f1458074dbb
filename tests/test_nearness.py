"""Who is near, and when those further away must help."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipd.nearness import Place, shares, spill, tier

counts = st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda pair: (min(pair), max(pair)))


@pytest.mark.parametrize(
    ("tiers", "used"),
    [
        ([(7, 7), (9, 9), (9, 9)], 1),  # all is well at home
        ([(5, 7), (9, 9), (9, 9)], 1),  # 1.4 x 5/7 = 1
        ([(4, 7), (9, 9), (9, 9)], 2),  # 1.4 x 4/7 = 0.8: the region helps
        ([(4, 7), (0, 1), (9, 9)], 3),  # together 1.4 x 4/8 = 0.7
        ([(1, 1), (0, 9), (9, 9)], 1),  # what is further away is not looked at
        ([(0, 0), (3, 3), (9, 9)], 2),  # nobody at home
        ([(0, 0), (0, 0), (9, 9)], 3),
        ([(0, 5), (0, 5), (0, 5)], 3),  # nobody anywhere: nothing is left out
        ([(0, 0), (0, 0), (0, 0)], 3),
        ([(0, 5)], 1),
        ([], 0),
    ],
)
def test_the_next_tier_is_taken_while_fewer_than_five_in_seven_are_ready(
    tiers: list[tuple[int, int]], used: int
) -> None:
    assert spill(tiers) == used


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)).map(sorted).map(tuple), max_size=4))
def test_no_ready_instance_is_left_out_while_none_was_found(tiers: list[tuple[int, int]]) -> None:
    used = spill(tiers)
    assert any(ready for ready, _ in tiers[:used]) or not any(ready for ready, _ in tiers)


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (("a", "r"), 0),
        (("b", "r"), 1),
        ((None, "r"), 1),
        (("a", "s"), 2),
        (("a", None), 2),
        ((None, None), 2),
    ],
)
def test_a_zone_is_near_only_in_its_own_region(there: Place, expected: int) -> None:
    assert tier(there, here=("a", "r")) == expected


def test_who_does_not_say_where_it_is_is_far_from_everybody() -> None:
    assert tier((None, None), here=(None, None)) == 2
    assert tier(("a", None), here=("a", None)) == 0


@pytest.mark.parametrize(
    ("tiers", "expected"),
    [
        ([(7, 7), (9, 9), (9, 9)], [1.0, 0.0, 0.0]),
        ([(5, 7), (9, 9), (9, 9)], [1.0, 0.0, 0.0]),
        ([(1, 2), (9, 9), (9, 9)], [0.7, 0.3, 0.0]),
        ([(1, 4), (1, 4), (9, 9)], [0.35, 0.35, 0.3]),
        ([(1, 4), (1, 4), (0, 9)], [0.5, 0.5, 0.0]),  # both together cannot carry it: they carry it all the same
        ([(0, 0), (0, 9), (1, 9)], [0.0, 0.0, 1.0]),
        ([(0, 3), (0, 0), (0, 0)], [0.0, 0.0, 0.0]),
        ([], []),
    ],
)
def test_each_tier_takes_what_its_ready_part_can_carry(tiers: list[tuple[int, int]], expected: list[float]) -> None:
    assert shares(tiers) == pytest.approx(expected)


@given(st.lists(counts, max_size=5))
def test_all_of_the_load_goes_to_tiers_that_resolve_would_answer_with(tiers: list[tuple[int, int]]) -> None:
    given_out = shares(tiers)
    assert sum(given_out) == pytest.approx(1.0 if any(ready for ready, _ in tiers) else 0.0)
    assert all(share == 0.0 for share in given_out[spill(tiers) :])
    assert all(share == 0.0 for share, (ready, _) in zip(given_out, tiers, strict=True) if not ready)
