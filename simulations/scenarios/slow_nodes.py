"""A few hosts that are short of processor; their disks are slow, too, which nobody notices while they run."""

from simulations.conditions import AllAgree, NobodyAccuses
from simulations.faults import Register, SlowDisk, SlowDown
from simulations.sides import split
from simulations.steps import Expect, Run, Story


def story(nodes: int) -> Story:
    quick, slow = split(nodes, 9, 1)
    return Story(
        about="A tenth takes a tenth of a second for each datagram: late, and at times held for dead, but it accuses nobody.",
        steps=(
            Run(seconds=5),
            SlowDown(hosts=slow, cpu_s=0.1),
            SlowDisk(hosts=slow, disk_s=5),
            Register(hosts=slow, id="late"),
            Run(seconds=60),
            Expect(condition=NobodyAccuses(subjects=quick)),
            SlowDown(hosts=slow, cpu_s=None),
            Expect(condition=AllAgree(), within_s=20),
            Run(seconds=25),
        ),
    )
