"""Services come, change and go all the time, while hosts crash and return."""

from simulations.conditions import AllAgree, CatalogShows
from simulations.faults import Crash, Deregister, Register, Restart
from simulations.sides import at_least
from simulations.steps import Expect, Run, Step, Story


def story(nodes: int, rounds: int = 20) -> Story:
    at_least(nodes, 5)
    steps: list[Step] = [Run(seconds=5)]
    for round in range(rounds):
        first = round * 3 % nodes
        hosts = tuple(sorted({(first + step) % nodes for step in range(0, nodes, 5)}))
        steps += [Register(hosts=hosts, id="job", port=1_024 + round), Run(seconds=0.7)]
        if round % 3 == 2:
            steps += [Deregister(hosts=hosts, id="job"), Run(seconds=0.7)]
        if round % 7 == 3:
            steps += [Crash(hosts=hosts[:1], silent=False), Run(seconds=0.2), Restart(hosts=hosts[:1])]
    last = (0, nodes - 1)
    return Story(
        about="A fifth of the hosts writes every second; what was written last is what everybody answers, within a second.",
        steps=(
            *steps,
            Register(hosts=last, id="last"),
            Expect(condition=CatalogShows(owners=last, id="last"), within_s=1),
            Expect(condition=AllAgree(), within_s=15),
            Run(seconds=25),
        ),
    )
