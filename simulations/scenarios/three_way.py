"""Three parts that hear nothing of each other."""

from simulations.beliefs import ALIVE
from simulations.conditions import AllAgree, AllBelieve
from simulations.faults import Cut, Heal, Register
from simulations.sides import split
from simulations.steps import Expect, Run, Story


def story(nodes: int, cut_s: float = 60.0) -> Story:
    one, two, three = split(nodes, 1, 1, 1)
    return Story(
        about="Three parts of equal size; the heal comes in two steps, so that two parts are one again before the third.",
        steps=(
            Run(seconds=5),
            Cut(groups=(one, two, three)),
            Run(seconds=cut_s),
            Register(hosts=two[:1], id="new-1"),
            Cut(groups=((*one, *two), three)),
            Expect(condition=AllBelieve(subjects=(*one, *two), status=ALIVE, observers=(*one, *two)), within_s=5),
            Heal(),
            Expect(condition=AllAgree(), within_s=5),
            Run(seconds=25),
        ),
    )
