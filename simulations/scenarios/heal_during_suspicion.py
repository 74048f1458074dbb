"""The cut ends while both sides still only suspect each other."""

from simulations.checkers import Bounds
from simulations.conditions import AllAgree, NobodyAccuses
from simulations.faults import Cut, Heal
from simulations.sides import split
from simulations.steps import Expect, Run, Story


def story(nodes: int, cut_s: float = 4.0) -> Story:
    left, right = split(nodes, 1, 1)
    return Story(
        about="A short cut: accusations are refuted after the heal, and nobody is declared dead.",
        bounds=Bounds(deaths=False),
        steps=(
            Run(seconds=5),
            Cut(groups=(left, right)),
            Run(seconds=cut_s),
            Heal(),
            Expect(condition=NobodyAccuses(subjects=(*left, *right)), within_s=10),
            Expect(condition=AllAgree(), within_s=5),
            Run(seconds=25),
        ),
    )
