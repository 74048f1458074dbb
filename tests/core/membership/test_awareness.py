"""Own health, a score between bounds."""

from hypothesis import given
from hypothesis import strategies as st

from gossipd.core.membership.awareness import Awareness


def test_the_score_goes_from_nothing_to_one_below_the_most() -> None:
    """Scenario 31."""
    awareness = Awareness(8)
    awareness.apply(-1)
    assert awareness.score == 0
    awareness.apply(100)
    assert awareness.score == 7
    awareness.apply(-1)
    assert awareness.score == 6


def test_times_are_stretched_by_one_more_than_the_score() -> None:
    """Scenario 30."""
    awareness = Awareness(8)
    assert awareness.stretch(0.5) == 0.5
    awareness.apply(1)
    assert awareness.stretch(0.5) == 1.0


@given(st.integers(1, 64), st.lists(st.integers(-70, 70)))
def test_the_score_never_leaves_its_range(most: int, deltas: list[int]) -> None:
    awareness = Awareness(most)
    for delta in deltas:
        awareness.apply(delta)
        assert 0 <= awareness.score < most
