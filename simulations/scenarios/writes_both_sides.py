"""Registrations, changes and withdrawals on both sides of a cut."""

from simulations.conditions import AllAgree, CatalogShows
from simulations.faults import Cut, Deregister, Heal, Register
from simulations.sides import split
from simulations.steps import Expect, Run, Story


def story(nodes: int, cut_s: float = 60.0) -> Story:
    left, right = split(nodes, 1, 1)
    writers = (*left[:5], *right[:5])
    return Story(
        about="What was written, changed and withdrawn on either side holds everywhere after the heal; nothing comes back.",
        steps=(
            Register(hosts=writers, id="kept"),
            Register(hosts=writers, id="changed"),
            Register(hosts=writers, id="gone"),
            Run(seconds=10),
            Cut(groups=(left, right)),
            Run(seconds=cut_s / 2),
            Deregister(hosts=writers, id="gone"),
            Register(hosts=writers, id="changed", port=9090),
            Register(hosts=writers, id="born"),
            Run(seconds=cut_s / 2),
            Heal(),
            Expect(condition=AllAgree(), within_s=5),
            Expect(condition=CatalogShows(owners=writers, id="kept")),
            Expect(condition=CatalogShows(owners=writers, id="changed", port=9090)),
            Expect(condition=CatalogShows(owners=writers, id="gone", port=None)),
            Expect(condition=CatalogShows(owners=writers, id="born")),
            Run(seconds=40),
            Expect(condition=CatalogShows(owners=writers, id="gone", port=None)),
        ),
    )
