"""A rack of a fifth of the hosts vanishes: one coherent change of every answer, and one more when it returns."""

from simulations.conditions import Answers, CutsShown
from simulations.faults import Crash, Restart
from simulations.sides import split
from simulations.steps import Expect, Run, Story


def story(nodes: int) -> Story:
    rest, rack = split(nodes, 4, 1)
    return Story(
        about="A rack vanishes: nobody answers with a part of it gone; all of it goes in one change, for everybody.",
        steps=(
            Run(seconds=5),
            Crash(hosts=rack),
            Expect(condition=Answers(ready=len(rest), observers=rest), within_s=90),
            Expect(condition=CutsShown(observers=rest, times=1)),
            Run(seconds=10),
            Restart(hosts=rack),
            Expect(condition=Answers(ready=nodes), within_s=10),
            Expect(condition=CutsShown(observers=rest, times=1)),
            Run(seconds=25),
        ),
    )
