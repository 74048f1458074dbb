"""Experiments: each measures what a paper published or a formula derives, in worlds of the lab, and prints ours beside it."""

from simulations.experiments import (
    asymmetric,
    cuts,
    first_detection,
    lifeguard,
    load,
    other_side,
    partition,
    rumours,
    true_crash,
    uniform_loss,
)
from simulations.experiments.result import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    "lifeguard": lifeguard.EXPERIMENT,
    "other-side": other_side.EXPERIMENT,
    "partition": partition.EXPERIMENT,
    "healing": partition.GOALS,
    "first-detection": first_detection.EXPERIMENT,
    "true-crash": true_crash.EXPERIMENT,
    "rumours": rumours.EXPERIMENT,
    "asymmetric": asymmetric.EXPERIMENT,
    "load": load.EXPERIMENT,
    "uniform-loss": uniform_loss.EXPERIMENT,
    "cuts": cuts.EXPERIMENT,
}
"""By name; cuts is ours."""
