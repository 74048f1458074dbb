"""Everybody is restarted at once; some have lost their disk, some their clock too."""

from simulations.beliefs import ALIVE
from simulations.conditions import AllAgree, AllBelieve
from simulations.faults import Crash, Restart, SetClockBack
from simulations.sides import at_least
from simulations.steps import Expect, Run, Story


def story(nodes: int) -> Story:
    at_least(nodes, 10)
    everybody = tuple(range(nodes))
    forgetful = everybody[1 : max(4, nodes // 5)]
    confused = forgetful[: max(2, nodes // 10 - 1)]
    rest = (*everybody[:1], *everybody[1 + len(forgetful) :])
    return Story(
        about="A power cut: all come back at once from their peer books; no former self outranks anybody for long.",
        steps=(
            Run(seconds=5),
            Crash(hosts=everybody),
            SetClockBack(hosts=confused, by_s=3_600),
            Run(seconds=5),
            Restart(hosts=rest),
            Restart(hosts=forgetful, disk=False),
            Expect(condition=AllAgree(), within_s=15),
            Expect(condition=AllBelieve(subjects=everybody, status=ALIVE), within_s=5),
            Run(seconds=25),
        ),
    )
