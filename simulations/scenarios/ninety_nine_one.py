"""A hundredth of the members, cut off from all the rest."""

from simulations.beliefs import DEAD
from simulations.conditions import AllAgree, AllBelieve, Isolated, NobodyAccuses
from simulations.faults import Cut, Heal
from simulations.sides import split
from simulations.steps import Expect, Run, Story


def story(nodes: int, cut_s: float = 60.0) -> Story:
    most, few = split(nodes, 99, 1)
    return Story(
        about="1 % is cut off: the rest gives it up; it knows that it is cut off and accuses nobody for it.",
        steps=(
            Run(seconds=5),
            Cut(groups=(most, few)),
            Expect(condition=Isolated(hosts=few), within_s=5),
            Run(seconds=cut_s),
            Expect(condition=AllBelieve(subjects=few, status=DEAD, observers=most)),
            Expect(condition=NobodyAccuses(subjects=most)),
            Heal(),
            Expect(condition=AllAgree(), within_s=5),
            Expect(condition=Isolated(hosts=few, isolated=False), within_s=10),
            Run(seconds=25),
        ),
    )
