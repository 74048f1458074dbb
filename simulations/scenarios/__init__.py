"""The stories: one file each, a function from the number of hosts to a `Story`. Impossible numbers raise ValueError."""

from collections.abc import Callable

from simulations.scenarios import (
    bridge,
    few_cut_off,
    flapping_cut,
    frozen_nodes,
    halves,
    heal_after_confirmation,
    heal_during_suspicion,
    join_storm,
    key_rotation_during_cut,
    loss_across,
    lossy_network,
    mass_crash,
    mass_restart,
    ninety_nine_one,
    one_way,
    rack_crash,
    ring_majority,
    rolling_restart,
    service_churn,
    single,
    slow_nodes,
    three_way,
    waking,
    writes_both_sides,
)
from simulations.steps import Story

STORIES: dict[str, Callable[[int], Story]] = {
    "halves": halves.story,
    "ninety_nine_one": ninety_nine_one.story,
    "single": single.story,
    "few_cut_off": few_cut_off.story,
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
    "rack_crash": rack_crash.story,
    "join_storm": join_storm.story,
    "slow_nodes": slow_nodes.story,
    "frozen_nodes": frozen_nodes.story,
    "waking": waking.story,
    "lossy_network": lossy_network.story,
    "key_rotation_during_cut": key_rotation_during_cut.story,
    "service_churn": service_churn.story,
}
"""By name, in the order in which they are best read."""
