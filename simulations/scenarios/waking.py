"""Hosts that are frozen for a second, for three, ten and thirty, as under SIGSTOP, and wake."""

from simulations.beliefs import ALIVE
from simulations.conditions import AllAgree, AllBelieve, Isolated, NobodyAccuses
from simulations.faults import Freeze
from simulations.sides import split
from simulations.steps import Expect, Run, Step, Story


def story(nodes: int, lengths_s: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0)) -> Story:
    awake, asleep = split(nodes, 19, 1)
    everybody = (*awake, *asleep)
    steps: list[Step] = [Run(seconds=10)]
    for for_s in lengths_s:
        steps += [
            Freeze(hosts=asleep, for_s=for_s),
            Expect(condition=NobodyAccuses(subjects=awake), within_s=for_s + 2, throughout=True),
            Expect(condition=AllBelieve(subjects=everybody, status=ALIVE)),
            Expect(condition=Isolated(hosts=everybody, isolated=False)),
            Expect(condition=AllAgree(), within_s=5),
            Run(seconds=25),
        ]
    return Story(
        about="One in twenty is frozen for 1, 3, 10 and 30 s; 2 s after waking it has accused nobody and is alive to all.",
        steps=tuple(steps),
    )
