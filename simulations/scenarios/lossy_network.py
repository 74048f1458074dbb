"""A network that loses one packet in five, everywhere alike."""

from dataclasses import replace

from simulations.checkers import Bounds
from simulations.conditions import AllAgree, Isolated
from simulations.faults import SetLink
from simulations.network import LAN_LINK
from simulations.sides import at_least
from simulations.steps import Expect, Run, Story


def story(nodes: int, loss: float = 0.2, for_s: float = 600.0) -> Story:
    at_least(nodes, 4)
    everybody = tuple(range(nodes))
    return Story(
        about="A fifth of all packets is lost for ten minutes: nobody is declared dead, and nobody takes itself for cut off.",
        bounds=Bounds(deaths=False),
        steps=(
            Run(seconds=10),
            SetLink(link=replace(LAN_LINK, loss=loss)),
            Expect(condition=Isolated(hosts=everybody, isolated=False), within_s=for_s, throughout=True),
            SetLink(link=LAN_LINK),
            Expect(condition=AllAgree(), within_s=10),
            Run(seconds=25),
        ),
    )
