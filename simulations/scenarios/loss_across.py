"""A bad line between two halves, rather than none."""

from simulations.checkers import Bounds
from simulations.conditions import AllAgree, NobodyAccuses
from simulations.faults import SetLink
from simulations.network import Burst, Link
from simulations.sides import split
from simulations.steps import Expect, Run, Story


def story(nodes: int) -> Story:
    left, right = split(nodes, 1, 1)
    bad = Link(loss=0.3)
    bursts = Link(loss=0.01, burst=Burst(begins=0.02, ends=0.1))
    return Story(
        about="30 % of what crosses the middle is lost, then bursts of ten packets: nobody is declared dead for it.",
        bounds=Bounds(deaths=False),
        steps=(
            Run(seconds=5),
            SetLink(link=bad, sources=left, targets=right),
            SetLink(link=bad, sources=right, targets=left),
            Run(seconds=60),
            SetLink(link=bursts, sources=left, targets=right),
            SetLink(link=bursts, sources=right, targets=left),
            Run(seconds=60),
            SetLink(link=Link()),
            Expect(condition=AllAgree(), within_s=15),
            Expect(condition=NobodyAccuses(subjects=left)),
            Run(seconds=25),
        ),
    )
