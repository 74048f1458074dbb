"""Worlds that are cut and healed give their figures; a node that breaks a promise is counted."""

from dataclasses import replace

import pytest

from simulations.experiments import healing, partition
from simulations.experiments.healing import SHAPES, Burst, Healed, measure
from simulations.world import World


def a_healed(**differences: object) -> Healed:
    healed = Healed(
        line="99/1 --nodes 100",
        history_hash="",
        cut_s=600.0,
        isolated_s=4.0,
        lonely_accusations=1,
        lonely_standing=0,
        lonely_verdicts=0,
        removals=0,
        reachable_dead=0,
        resurrected=0,
        other_violations=(),
        views_s=0.5,
        catalogs_s=0.5,
        same_s=0.5,
        burst_mean=1.0,
        burst_most=2.0,
        burst_10_s=1.0,
        deaths_after=0,
        peak_bytes=0,
    )
    return replace(healed, **differences)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_of_ten_members_can_be_told(name: str) -> None:
    shape = SHAPES[name](10)
    heard = {number for side in shape.sides for number in side}
    assert heard == set(range(10)) - ({0} if name == "bridge" else set())
    assert str(shape.fault)


def test_a_single_member_that_is_cut_off_knows_it_and_all_is_one_after_the_heal() -> None:
    healed = measure("single", 8, 20.0, 1)
    assert healed.isolated_s is not None
    assert healed.isolated_s < 6
    assert (healed.removals, healed.resurrected, healed.other_violations) == (0, 0, ())
    assert healed.same_s is not None
    assert healed.views_s is not None
    assert healed.views_s <= healed.same_s


@pytest.mark.parametrize("cut_s", [1.0, 25.0, 39.0, 40.0, 79.0, 600.0])
@pytest.mark.parametrize("later_s", [0.0, healing.BRANCH_S])
def test_the_heal_of_a_flapping_cut_comes_while_the_sides_are_cut(cut_s: float, later_s: float) -> None:
    cutting = healing.Cutting("flapping", 4, cut_s, 1)
    cutting.world.run(later_s)
    assert not cutting.world.network.reaches(0, 3)
    assert cutting.world.network.reaches(0, 1)


def test_a_flapping_cut_flaps_no_more_once_it_is_healed() -> None:
    cutting = healing.Cutting("flapping", 4, 50.0, 1)
    cuts = cutting.world.network.cut_off
    assert cuts > 0
    assert cutting.heal().other_violations == ()
    at = cutting.world.network.changed_at
    cutting.world.run(100.0)
    assert cutting.world.network.changed_at == at


def test_a_burst_is_the_worst_window_of_the_busiest_host() -> None:
    world = World(2, seed=1)
    burst = Burst(world)
    for sent in (0, 500, 100, 0):
        world.hosts[0].traffic.bytes_out += sent
        burst.look()
    assert burst.worst(healing.LOOK_S) == pytest.approx((2_500, 5_000))
    assert burst.worst(2 * healing.LOOK_S) == pytest.approx((1_500, 3_000))


@pytest.mark.parametrize(
    ("broken", "claim"),
    [
        ({"removals": 1}, "no same-side removal"),
        ({"resurrected": 1}, "no resurrected delete"),
        ({"isolated_s": None}, "all who are cut off know"),
        ({"isolated_s": 5.5}, "all who are cut off know"),
        ({"lonely_verdicts": 1}, "declares nobody dead"),
        ({"same_s": None}, "heal to identical"),
        ({"burst_most": 70_000.0}, "bytes of the busiest member"),
    ],
)
def test_a_goal_that_is_missed_is_told(broken: dict[str, object], claim: str) -> None:
    verdicts = partition._verdicts(("99/1", 100), [a_healed(), a_healed(**broken)])
    assert [claim in verdict.claim for verdict in verdicts if not verdict.good] == [True]
    assert all(verdict.good for verdict in partition._verdicts(("99/1", 100), [a_healed()]))
