"""A quarter of the members loses its power at once."""

from simulations.beliefs import DEAD
from simulations.conditions import AllAgree, AllBelieve, Isolated, NobodyAccuses
from simulations.faults import Crash
from simulations.sides import split
from simulations.steps import Expect, Run, Story


def story(nodes: int, part: int = 1, of: int = 4, for_s: float = 60.0) -> Story:
    left, rack = split(nodes, of - part, part)
    return Story(
        about="A rack of a quarter crashes at once: it is declared dead, and nobody who is left takes itself for the one cut off.",
        steps=(
            Run(seconds=10),
            Crash(hosts=rack),
            Expect(condition=Isolated(hosts=left, isolated=False), within_s=for_s, throughout=True),
            Expect(condition=AllBelieve(subjects=rack, status=DEAD, observers=left), within_s=60),
            Expect(condition=NobodyAccuses(subjects=left), within_s=5),
            Expect(condition=AllAgree(), within_s=10),
        ),
    )
