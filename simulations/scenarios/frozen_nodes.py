"""Hosts that stop for a while, as under SIGSTOP, a long garbage collection, or a laptop's lid."""

from simulations.beliefs import ALIVE
from simulations.conditions import AllAgree, AllBelieve, NobodyAccuses
from simulations.faults import Block, Freeze
from simulations.sides import split
from simulations.steps import Expect, Run, Story


def story(nodes: int, for_s: float = 30.0) -> Story:
    awake, asleep = split(nodes, 9, 1)
    everybody = (*awake, *asleep)
    return Story(
        about="A tenth is frozen, wakes, accuses nobody and is back everywhere within 2 s; with blocked sockets, within 10 s.",
        steps=(
            Run(seconds=10),
            Freeze(hosts=asleep, for_s=for_s),
            Run(seconds=for_s),
            Expect(condition=NobodyAccuses(subjects=awake), within_s=1, throughout=True),
            Expect(condition=AllBelieve(subjects=everybody, status=ALIVE), within_s=1),
            Expect(condition=AllAgree(), within_s=10),
            Run(seconds=30),
            Block(hosts=asleep, for_s=for_s),
            Run(seconds=for_s),
            Expect(condition=AllBelieve(subjects=everybody, status=ALIVE), within_s=10),
            Expect(condition=AllAgree(), within_s=10),
            Run(seconds=25),
        ),
    )
