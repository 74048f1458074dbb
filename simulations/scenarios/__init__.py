"""The stories: one file each, a function from the number of hosts to a `Story`. Impossible numbers raise ValueError."""

from collections.abc import Callable

from simulations.scenarios import (
    bridge,
    flapping_cut,
    frozen_nodes,
    halves,
    heal_after_confirmation,
    heal_during_suspicion,
    join_storm,
    key_rotation_during_cut,
    loss_across,
    mass_crash,
    mass_restart,
    ninety_nine_one,
    one_way,
    ring_majority,
    rolling_restart,
    service_churn,
    single,
    slow_nodes,
    three_way,
    writes_both_sides,
)
from simulations.steps import Story

STORIES: dict[str, Callable[[int], Story]] = {
    "halves": halves.story,
    "ninety_nine_one": ninety_nine_one.story,
    "single": single.story,
    "three_way": three_way.story,
    "bridge": bridge.story,
    "ring_majority": ring_majority.story,
    "one_way": one_way.story,
    "flapping_cut": flapping_cut.story,
    "loss_across": loss_across.story,
    "heal_during_suspicion": heal_during_suspicion.story,
    "heal_after_confirmation": heal_after_confirmation.story,
    "writes_both_sides": writes_both_sides.story,
    "rolling_restart": rolling_restart.story,
    "mass_restart": mass_restart.story,
    "mass_crash": mass_crash.story,
    "join_storm": join_storm.story,
    "slow_nodes": slow_nodes.story,
    "frozen_nodes": frozen_nodes.story,
    "key_rotation_during_cut": key_rotation_during_cut.story,
    "service_churn": service_churn.story,
}
"""By name, in the order in which they are best read."""
