"""One member alone on its side."""

from simulations.beliefs import DEAD
from simulations.conditions import AllAgree, AllBelieve, CatalogShows, Isolated, NobodyAccuses
from simulations.faults import Cut, Heal
from simulations.sides import at_least
from simulations.steps import Expect, Run, Story


def story(nodes: int, cut_s: float = 60.0) -> Story:
    at_least(nodes, 4)
    one, others = (nodes - 1,), tuple(range(nodes - 1))
    return Story(
        about="One host loses its network: within five periods of silence it says so, keeps its catalog and accuses nobody.",
        steps=(
            Run(seconds=10),
            Cut(groups=(others, one)),
            Expect(condition=Isolated(hosts=one), within_s=5),
            Run(seconds=cut_s),
            Expect(condition=NobodyAccuses(subjects=others, observers=one)),
            Expect(condition=CatalogShows(owners=others, id="web-0", port=8000, observers=one)),
            Expect(condition=AllBelieve(subjects=one, status=DEAD, observers=others)),
            Heal(),
            Expect(condition=AllAgree(), within_s=5),
            Expect(condition=Isolated(hosts=one, isolated=False), within_s=10),
            Run(seconds=25),
        ),
    )
