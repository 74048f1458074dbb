"""A few hosts, cut off together from all the rest."""

from simulations.conditions import AllAgree, CatalogShows, Isolated, NobodyAccuses
from simulations.faults import Cut, Heal
from simulations.sides import split
from simulations.steps import Expect, Run, Story


def story(nodes: int, cut_s: float = 30.0) -> Story:
    most, few = split(nodes, 19, 1)
    return Story(
        about="One in twenty is cut off: each knows within five periods, keeps its catalog and accuses nobody; no other errs.",
        steps=(
            Run(seconds=10),
            Cut(groups=(most, few)),
            Expect(condition=Isolated(hosts=few), within_s=5),
            Expect(condition=NobodyAccuses(subjects=most)),
            Expect(condition=Isolated(hosts=most, isolated=False), within_s=cut_s, throughout=True),
            Expect(condition=Isolated(hosts=few)),
            Expect(condition=NobodyAccuses(subjects=most)),
            Expect(condition=CatalogShows(owners=most, id="web-0", port=8000, observers=few)),
            Heal(),
            Expect(condition=AllAgree(), within_s=5),
            Expect(condition=Isolated(hosts=(*most, *few), isolated=False), within_s=2),
            Expect(condition=Isolated(hosts=(*most, *few), isolated=False), within_s=25, throughout=True),
        ),
    )
