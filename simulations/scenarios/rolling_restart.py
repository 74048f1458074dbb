"""Everybody is restarted, a few at a time."""

from simulations.checkers import Bounds
from simulations.conditions import AllAgree, NobodyAccuses
from simulations.faults import Crash, Restart
from simulations.sides import at_least
from simulations.steps import Expect, Run, Step, Story


def story(nodes: int) -> Story:
    at_least(nodes, 5)
    batch = max(1, nodes // 10)
    steps: list[Step] = [Run(seconds=5)]
    for first in range(0, nodes, batch):
        hosts = tuple(range(first, min(first + batch, nodes)))
        steps += [Crash(hosts=hosts, silent=False), Run(seconds=1), Restart(hosts=hosts), Run(seconds=3)]
    everybody = tuple(range(nodes))
    return Story(
        about="An upgrade: a tenth at a time is down for a second. Nobody is declared dead, and no instance is lost.",
        bounds=Bounds(deaths=False),
        steps=(
            *steps,
            Expect(condition=AllAgree(), within_s=15),
            Expect(condition=NobodyAccuses(subjects=everybody)),
            Run(seconds=25),
        ),
    )
