"""Hosts that hear everybody and are heard by nobody; and the other way round."""

from simulations.beliefs import ALIVE, DEAD
from simulations.conditions import AllAgree, AllBelieve
from simulations.faults import CutOneWay, Heal
from simulations.sides import split
from simulations.steps import Expect, Run, Story


def story(nodes: int, cut_s: float = 60.0) -> Story:
    most, few = split(nodes, 9, 1)
    return Story(
        about="A tenth can hear but not speak, then speak but not hear: it is given up, and comes back each time.",
        steps=(
            Run(seconds=5),
            CutOneWay(sources=few, targets=most),
            Run(seconds=cut_s),
            Expect(condition=AllBelieve(subjects=few, status=DEAD, observers=most)),
            Heal(),
            Expect(condition=AllBelieve(subjects=few, status=ALIVE), within_s=20),
            Run(seconds=20),
            CutOneWay(sources=most, targets=few),
            Run(seconds=cut_s),
            Expect(condition=AllBelieve(subjects=few, status=DEAD, observers=most)),
            Heal(),
            Expect(condition=AllAgree(), within_s=20),
            Run(seconds=25),
        ),
    )
