"""Two halves that hear nothing of each other, and one member that hears both."""

from simulations.conditions import AllAgree, CatalogShows, NobodyAccuses
from simulations.faults import Cut, Heal, Register
from simulations.sides import split
from simulations.steps import Expect, Run, Story


def story(nodes: int, cut_s: float = 60.0) -> Story:
    bridge, left, right = split(nodes, 0, 1, 1)
    return Story(
        about="One member sees both halves: nobody may accuse it, and news crosses over it.",
        steps=(
            Run(seconds=5),
            Cut(groups=((*bridge, *left), (*bridge, *right))),
            Run(seconds=10),
            Register(hosts=left[:1], id="new-1"),
            Expect(condition=CatalogShows(owners=left[:1], id="new-1"), within_s=40),
            Run(seconds=cut_s),
            Expect(condition=NobodyAccuses(subjects=bridge)),
            Heal(),
            Expect(condition=AllAgree(), within_s=10),
            Run(seconds=25),
        ),
    )
