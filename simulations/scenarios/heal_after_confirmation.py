"""The cut ends when the larger side has declared all of the smaller dead; which may know by then that it is the one cut off."""

from simulations.beliefs import ALIVE, DEAD
from simulations.conditions import AllAgree, AllBelieve
from simulations.faults import Cut, Heal
from simulations.sides import split
from simulations.steps import Expect, Run, Story


def story(nodes: int, cut_s: float = 90.0) -> Story:
    left, right = split(nodes, 7, 3)
    return Story(
        about="Seven against three tenths, the verdicts of the larger side all passed: the knocking finds the other side.",
        steps=(
            Run(seconds=5),
            Cut(groups=(left, right)),
            Run(seconds=cut_s),
            Expect(condition=AllBelieve(subjects=right, status=DEAD, observers=left)),
            Heal(),
            Expect(condition=AllAgree(), within_s=5),
            Expect(condition=AllBelieve(subjects=(*left, *right), status=ALIVE)),
            Run(seconds=25),
        ),
    )
