"""A fifth of the hosts is cut off: it keeps its answers, marked; the heal takes the marks away and nothing else."""

from simulations.conditions import Answers, Isolated
from simulations.faults import Cut, Heal
from simulations.sides import split
from simulations.steps import Expect, Run, Story


def story(nodes: int, cut_s: float = 60.0) -> Story:
    most, few = split(nodes, 4, 1)
    marked = Answers(ready=nodes, degraded=nodes - 1, observers=few)
    return Story(
        about="A minority is cut off: it answers with all that it knew, degraded but for its own, and no blip at the heal.",
        steps=(
            Run(seconds=5),
            Expect(condition=Answers(ready=nodes)),
            Cut(groups=(most, few)),
            Expect(condition=Isolated(hosts=few), within_s=30),
            Expect(condition=marked),
            Expect(condition=marked, within_s=cut_s, throughout=True),
            Expect(condition=Answers(ready=len(most), observers=most)),
            Heal(),
            Expect(
                condition=Answers(ready=nodes, degraded=None, observers=few), within_s=20, every_s=0.02, throughout=True
            ),
            Expect(condition=Answers(ready=nodes)),
            Run(seconds=25),
        ),
    )
