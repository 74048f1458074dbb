"""The cluster's key is changed on both sides of a cut, at different times."""

from simulations.conditions import AllAgree
from simulations.faults import Cut, Heal, UseKeys
from simulations.sides import split
from simulations.steps import Expect, Run, Story


def story(nodes: int, cut_s: float = 60.0) -> Story:
    left, right = split(nodes, 1, 1)
    return Story(
        about="Left has changed its key during the cut, right only knows the new one: they understand each other after the heal.",
        steps=(
            Run(seconds=5),
            UseKeys(hosts=(*left, *right), keys=(0, 1)),
            Cut(groups=(left, right)),
            Run(seconds=cut_s / 2),
            UseKeys(hosts=left, keys=(1, 0)),
            Run(seconds=cut_s / 2),
            Heal(),
            Expect(condition=AllAgree(), within_s=5),
            UseKeys(hosts=right, keys=(1, 0)),
            Run(seconds=5),
            UseKeys(hosts=(*left, *right), keys=(1,)),
            Run(seconds=25),
        ),
    )
