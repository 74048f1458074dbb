"""Everybody hears a majority, and no two the same one."""

from simulations.conditions import AllAgree
from simulations.faults import CutRing, Heal
from simulations.sides import at_least
from simulations.steps import Expect, Run, Story


def story(nodes: int, cut_s: float = 60.0) -> Story:
    at_least(nodes, 8)
    return Story(
        about="Each host hears the three quarters of a ring that are next to it: no side is right, and the heal must end it all.",
        steps=(
            Run(seconds=5),
            CutRing(reach=nodes * 3 // 8),
            Run(seconds=cut_s),
            Heal(),
            Expect(condition=AllAgree(), within_s=15),
            Run(seconds=25),
        ),
    )
