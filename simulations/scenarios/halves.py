"""Two equal halves, each of which goes on alone; then they find each other again."""

from simulations.beliefs import DEAD
from simulations.conditions import AllAgree, AllBelieve, CatalogShows, Isolated
from simulations.faults import Cut, Heal, Register
from simulations.sides import split
from simulations.steps import Expect, Run, Story


def story(nodes: int, cut_s: float = 60.0) -> Story:
    left, right = split(nodes, 1, 1)
    return Story(
        about="A cut through the middle: each half loses the other and keeps its own; after the heal all is one.",
        steps=(
            Run(seconds=5),
            Cut(groups=(left, right)),
            Expect(condition=Isolated(hosts=(*left, *right), isolated=False), within_s=cut_s, throughout=True),
            Expect(condition=AllBelieve(subjects=right, status=DEAD, observers=left)),
            Expect(condition=AllBelieve(subjects=left, status=DEAD, observers=right)),
            Register(hosts=left[:1], id="new-1"),
            Register(hosts=right[:1], id="new-1", port=9090),
            Run(seconds=1),
            Heal(),
            Expect(condition=AllAgree(), within_s=5),
            Expect(condition=Isolated(hosts=(*left, *right), isolated=False)),
            Expect(condition=CatalogShows(owners=left[:1], id="new-1")),
            Expect(condition=CatalogShows(owners=right[:1], id="new-1", port=9090)),
            Expect(condition=Isolated(hosts=(*left, *right), isolated=False), within_s=25, throughout=True),
        ),
    )
