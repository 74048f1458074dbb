"""A cut that comes and goes."""

from simulations.conditions import AllAgree
from simulations.faults import Flap
from simulations.sides import split
from simulations.steps import Expect, Run, Story


def story(nodes: int, cut_s: float = 20.0) -> Story:
    left, right = split(nodes, 1, 1)
    return Story(
        about="Halves, cut for 20 s and whole for 20 s, four times: no side tears itself apart, and the last heal ends it.",
        steps=(
            Run(seconds=5),
            Flap(groups=(left, right), cut_s=cut_s, healed_s=20, times=4),
            Run(seconds=4 * (cut_s + 20) - 20),
            Expect(condition=AllAgree(), within_s=10),
            Run(seconds=25),
        ),
    )
