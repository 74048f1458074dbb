"""All hosts but one start at the same moment and know only that one."""

from simulations.beliefs import ALIVE
from simulations.checkers import Bounds
from simulations.conditions import AllAgree, AllBelieve
from simulations.sides import at_least
from simulations.steps import Expect, Run, StartCold, Story


def story(nodes: int) -> Story:
    at_least(nodes, 3)
    everybody = tuple(range(nodes))
    return Story(
        about="A cold start through one seed: every view complete, and the seed survives it.",
        warm=False,
        bounds=Bounds(bytes_per_s=8e6),
        steps=(
            StartCold(hosts=(0,), seeds=()),
            Run(seconds=10),
            StartCold(hosts=everybody[1:]),
            Expect(condition=AllBelieve(subjects=everybody, status=ALIVE), within_s=30),
            Expect(condition=AllAgree(), within_s=30),
            Run(seconds=25),
        ),
    )
