"""A check that fails and passes in turn: its instance is held out, for everybody alike, until it has been quiet."""

from dataclasses import replace

from gossipd.config import LAN
from gossipd.records import Health
from simulations.conditions import AllSee
from simulations.faults import Register, SetHealth
from simulations.sides import at_least
from simulations.steps import Expect, Run, Step, Story

OWNER = (1,)
FLAP_S = 3.0
"""Longer than the pause after the second failure in a row, so that each turn is seen."""


def story(nodes: int, turns: int = 5) -> Story:
    at_least(nodes, 3)
    flap: list[Step] = []
    for _ in range(turns):
        for health in (Health.CRITICAL, Health.PASSING):
            flap += [SetHealth(hosts=OWNER, id="job", health=health), Run(seconds=FLAP_S)]
    well = AllSee(owner=1, id="job", health=Health.PASSING, damped=False)
    held_out = AllSee(owner=1, id="job", health=Health.CRITICAL, damped=True)
    return Story(
        about="An instance whose check flaps is held out on every node alike, while it flaps and until it has been quiet.",
        config=replace(LAN, checks=replace(LAN.checks, damping_half_life_s=20.0, damping_hold_most_s=120.0)),
        steps=(
            Run(seconds=5),
            Register(hosts=OWNER, id="job", checked_every_s=1.0),
            Expect(condition=well, within_s=2),
            *flap,
            Expect(condition=held_out, within_s=1),
            *flap,
            Expect(condition=held_out, within_s=20, every_s=1.0, throughout=True),
            Expect(condition=well, within_s=90, every_s=1.0),
            Expect(condition=well, within_s=30, every_s=1.0, throughout=True),
        ),
    )
