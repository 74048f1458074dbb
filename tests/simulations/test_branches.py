"""Branches of a world: each goes its own way, which follows from the world and its number, and leaves no trace."""

import os

import pytest

from simulations.branches import BranchFailed, follow, reseed
from simulations.experiments.healing import Cutting, measure_branches
from simulations.world import World


def a_world() -> World:
    world = World(8, seed=3)
    world.start_warm(services=1)
    world.run(3)
    return world


def gone_on(world: World, branch: int) -> tuple[float, str]:
    drawn = reseed(world, branch).random()
    world.run(3)
    return drawn, world.history_hash()


def test_a_branch_told_again_from_its_number_is_the_same() -> None:
    world = a_world()
    told = follow((1, 2, 1), lambda branch: gone_on(world, branch))
    assert told[0] == told[2] == gone_on(a_world(), 1)
    assert told[1] == gone_on(a_world(), 2)
    assert told[0] != told[1]


def test_what_happens_in_branches_the_world_does_not_see() -> None:
    world = a_world()
    follow((1, 2), lambda branch: gone_on(world, branch))
    world.run(3)
    undisturbed = a_world()
    undisturbed.run(3)
    assert world.history_hash() == undisturbed.history_hash()


def test_a_branch_that_ends_without_a_result_is_told() -> None:
    with pytest.raises(BranchFailed, match="branch 7 ended without a result"):
        follow((7,), os._exit)


def test_the_line_of_a_heal_tells_it_again() -> None:
    healed = measure_branches("halves", 8, 20.0, seed=2, branches=2)
    assert [Cutting("halves", 8, 20.0, 2).heal(branch) for branch in (1, 2)] == healed
    assert healed[0].line == "'halves' --nodes 8 --cut-s 20 --seed 2 --branch 1"
    assert healed[0].history_hash != healed[1].history_hash
