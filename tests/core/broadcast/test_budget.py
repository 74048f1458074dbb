"""How often news is sent."""

import pytest

from gossipd.core.broadcast.budget import transmit_limit


@pytest.mark.parametrize(
    ("factor", "members", "limit"),
    [
        (3.0, 0, 0),
        (3.0, 1, 3),
        (3.0, 99, 6),
        (1.0, 10, 2),
        (4.0, 9, 4),
        (4.0, 10, 8),
        (4.0, 99, 8),
        (4.0, 999, 12),
        (4.0, 9_999, 16),
        (1.5, 10, 3),
    ],
)
def test_sends_grow_with_the_logarithm_of_the_members(factor: float, members: int, limit: int) -> None:
    """Scenario 41."""
    assert transmit_limit(members, factor=factor) == limit
