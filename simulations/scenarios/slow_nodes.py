"""A few hosts that are short of processor, and whose disks are slow; one of them crashes before its disk has caught up."""

from gossipd.config import LAN
from simulations.conditions import AllAgree, CatalogShows, NobodyAccuses
from simulations.faults import Crash, Register, Restart, SlowDisk, SlowDown
from simulations.sides import split
from simulations.steps import Expect, Run, Story

GRACE_S = LAN.catalog.epoch_grace_s
"""So long what a former process had registered is still answered with."""


def story(nodes: int) -> Story:
    quick, slow = split(nodes, 9, 1)
    one = slow[-1:]
    return Story(
        about="A tenth is slow: at times held for dead, but it accuses nobody; a crash loses what was not on disk, and only that.",
        steps=(
            Run(seconds=5),
            SlowDown(hosts=slow, cpu_s=0.1),
            SlowDisk(hosts=slow, disk_s=5),
            Register(hosts=slow, id="late"),
            Run(seconds=60),
            Expect(condition=NobodyAccuses(subjects=quick)),
            SlowDown(hosts=slow, cpu_s=None),
            Expect(condition=AllAgree(), within_s=20),
            Register(hosts=one, id="unsaved"),
            Expect(condition=CatalogShows(owners=one, id="unsaved"), within_s=2),
            Crash(hosts=one, silent=False),
            Run(seconds=1),
            Restart(hosts=one),
            Expect(condition=CatalogShows(owners=one, id="late"), within_s=GRACE_S, throughout=True),
            Expect(condition=CatalogShows(owners=one, id="unsaved", port=None), within_s=5),
            Expect(condition=AllAgree(), within_s=20),
            Run(seconds=25),
        ),
    )
