"""A third of the hosts is gone at once, and comes back."""

from simulations.beliefs import ALIVE, DEAD
from simulations.conditions import AllAgree, AllBelieve, NobodyAccuses
from simulations.faults import Crash, Restart
from simulations.sides import split
from simulations.steps import Expect, Run, Story


def story(nodes: int) -> Story:
    rest, gone = split(nodes, 2, 1)
    return Story(
        about="A rack row loses power: all of it is found dead, none of the rest; when it returns it is back at once.",
        steps=(
            Run(seconds=5),
            Crash(hosts=gone),
            Expect(condition=AllBelieve(subjects=gone, status=DEAD), within_s=90),
            Expect(condition=NobodyAccuses(subjects=rest)),
            Run(seconds=10),
            Restart(hosts=gone),
            Expect(condition=AllBelieve(subjects=gone, status=ALIVE), within_s=10),
            Expect(condition=AllAgree(), within_s=10),
            Run(seconds=25),
        ),
    )
