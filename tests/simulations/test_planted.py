"""Each checker finds the bug that is planted for it, and the same story passes without the bug."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from gossipd.core.catalog.store import Store
from gossipd.core.effects import Accuse, Effect, Report, Send
from gossipd.core.events import MemberChanged
from gossipd.core.membership.isolation import Isolation
from gossipd.core.membership.probe import Prober
from gossipd.core.membership.rejoin import Rejoin
from gossipd.core.membership.table import Table
from gossipd.ids import Address, NodeId
from gossipd.node.actions import Action, SendDatagram
from gossipd.node.node import Node
from gossipd.records import Claim, Record, Status
from gossipd.wire.messages import Ack, Ping
from simulations import inside
from simulations.checkers import Bounds, NoFalseIsolation
from simulations.faults import Crash, Cut, Deregister, Heal, Lose, Register, Restart, SetLink
from simulations.network import LAN_LINK
from simulations.steps import Outcome, Run, Step, Story, play, world_of

NODES = 12
LEFT, RIGHT = tuple(range(6)), tuple(range(6, NODES))
HALVES = Cut(groups=(LEFT, RIGHT))


class CarelessTable(Table):
    """Bug: takes any claim that differs, whatever its incarnation."""

    def merge(self, claim: Claim, *, source: NodeId, how: str, now: float) -> list[Effect]:
        row = self.rows.get(claim.member)
        if row is None or claim.member == self.me or claim.incarnation >= row.claim.incarnation:
            return super().merge(claim, source=source, how=how, now=now)
        before = row.claim.status
        self._put(claim, now=now, changed=True)
        return [self._changed(claim, before, source=source, how=how)]


class SilentTable(Table):
    """Bug: changes a belief to SUSPECT without telling anybody."""

    def merge(self, claim: Claim, *, source: NodeId, how: str, now: float) -> list[Effect]:
        effects = super().merge(claim, source=source, how=how, now=now)
        return [effect for effect in effects if not _is_report(effect, Status.SUSPECT)]


class StubbornTable(Table):
    """Bug: never refutes what is said of itself."""

    def _about_us(self, claim: Claim, *, now: float) -> list[Effect]:
        return []


class AccusingProber(Prober):
    """Bug: takes the answer of one member for none."""

    def handle_timer(self, *, now: float) -> list[Effect]:
        effects = super().handle_timer(now=now)
        told = any(getattr(effect, "target", None) == "n5" for effect in effects)
        return [*effects, Accuse(member=NodeId("n5"))] if told else effects


class LazyRejoin(Rejoin):
    """Bug: never tries a dead peer again."""

    def handle_timer(self, *, now: float) -> list[Effect]:
        return [effect for effect in super().handle_timer(now=now) if not isinstance(effect, Send)]


class HoardingRejoin(Rejoin):
    """Bug: remembers every knock."""

    def _knock(self, name: NodeId, address: Address, *, now: float) -> Effect:
        sequence = self._next_sequence()
        self._knocks[sequence] = (name, address)
        return Send(target=address, message=Ping(sequence=sequence, target=name))


class DeafIsolation(Isolation):
    """Bug: takes no answer to its roll call."""

    def receive_ack(self, ack: Ack, *, source: NodeId) -> list[Effect] | None:
        return None


class ForgetfulStore(Store):
    """Bug: drops a tombstone as soon as it has been handed on."""

    def merge(self, record: Record, *, source: NodeId, how: str, now: float) -> list[Effect]:
        effects = super().merge(record, source=source, how=how, now=now)
        row = None if record.owner == self._me else self._owners.get(record.owner)
        if record.content is None and row is not None and row.records.get(record.key) == record:
            del row.records[record.key]
            self._account(row, record, -1)
            self._index.drop((record.owner, record.key))
        return effects


class PickyStore(Store):
    """Bug: does not take what is on port 9090."""

    def merge(self, record: Record, *, source: NodeId, how: str, now: float) -> list[Effect]:
        if getattr(record.content, "port", 0) == 9090 and source != self._me:
            return []
        return super().merge(record, source=source, how=how, now=now)


def _is_report(effect: Effect, after: Status) -> bool:
    return isinstance(effect, Report) and isinstance(effect.event, MemberChanged) and effect.event.after is after


class Buggy(Node):
    """A node of which the machines named here are of another class."""

    table: type[Table] = Table
    prober: type[Prober] = Prober
    rejoin: type[Rejoin] = Rejoin
    store: type[Store] = Store
    isolation: type[Isolation] = Isolation

    def start(self, *, now: float) -> list[Action]:
        m = self._m
        m.table.__class__, m.prober.__class__ = self.table, self.prober
        m.rejoin.__class__, m.catalog.__class__ = self.rejoin, self.store
        m.isolation.__class__ = self.isolation
        return super().start(now=now)


class Careless(Buggy):
    table = CarelessTable


class Silent(Buggy):
    table = SilentTable


class Unfair(Buggy):
    table = StubbornTable
    prober = AccusingProber


class Lazy(Buggy):
    rejoin = LazyRejoin


class Hoarding(Buggy):
    rejoin = HoardingRejoin


class Deaf(Buggy):
    isolation = DeafIsolation


class Forgetful(Buggy):
    store = ForgetfulStore


class Picky(Buggy):
    store = PickyStore


class Chatty(Node):
    """Bug: says everything eight hundred times."""

    def handle_timer(self, *, now: float) -> list[Action]:
        return [
            replace(action, targets=action.targets * 800) if isinstance(action, SendDatagram) else action
            for action in super().handle_timer(now=now)
        ]


class Raising(Node):
    """Bug: an assertion that does not hold."""

    def handle_timer(self, *, now: float) -> list[Action]:
        assert now < 0, "planted"
        return []


PLANTED: list[tuple[str, type[Node], Sequence[Step]]] = [
    ("only grows", Careless, [SetLink(link=replace(LAN_LINK, loss=0.4)), Run(seconds=40)]),
    ("no false death", Unfair, [Run(seconds=60)]),
    ("no false isolation", Deaf, [Run(seconds=3), Crash(hosts=(8, 9, 10, 11)), Run(seconds=30)]),
    ("nobody alive stays dead", Lazy, [Run(seconds=3), HALVES, Run(seconds=90), Heal(), Run(seconds=45)]),
    (
        "no resurrection",
        Forgetful,
        [
            Register(hosts=(0,), id="gone"),
            Run(seconds=5),
            HALVES,
            Run(seconds=5),
            Deregister(hosts=(0,), id="gone"),
            Run(seconds=1),
            Crash(hosts=(0,)),  # or it would see to it itself that what it has withdrawn stays so
            Run(seconds=30),
            Heal(),
            Run(seconds=35),
        ],
    ),
    ("all agree", Picky, [Register(hosts=(2,), id="new", port=9090), Run(seconds=5)]),
    ("events tell all", Silent, [Run(seconds=3), Crash(hosts=(4,)), Run(seconds=6)]),
    ("queues bounded", Hoarding, [Run(seconds=3), Cut(groups=((0,), tuple(range(1, NODES)))), Run(seconds=60)]),
    ("bytes bounded", Chatty, [Run(seconds=13)]),
    ("node", Raising, [Run(seconds=3)]),
]


def tell(steps: Sequence[Step], node_type: type[Node]) -> Outcome:
    story = Story(about="A bug is planted.", steps=tuple(steps))
    return play(story, world_of(story, nodes=NODES, seed=1, node_type=node_type))


@pytest.mark.parametrize(("checker", "node_type", "steps"), PLANTED, ids=[planted[0] for planted in PLANTED])
def test_a_planted_bug_is_found_by_its_checker(checker: str, node_type: type[Node], steps: Sequence[Step]) -> None:
    assert checker in {violation.checker for violation in tell(steps, node_type).violations}


@pytest.mark.parametrize(("checker", "node_type", "steps"), PLANTED, ids=[planted[0] for planted in PLANTED])
def test_the_same_story_passes_without_the_bug(checker: str, node_type: type[Node], steps: Sequence[Step]) -> None:
    assert node_type is not Node
    assert checker
    assert tell(steps, Node).violations == []


def test_who_hears_only_members_that_lose_nearly_all_may_take_itself_for_cut_off() -> None:
    deaf = tuple(range(1, NODES))
    story = Story(about="All but one.", steps=(Lose(hosts=deaf, incoming=0.95, outgoing=0.95), Run(seconds=15)))
    world = world_of(story, nodes=NODES, seed=1)
    outcome = play(story, world, checkers=[NoFalseIsolation()])
    assert world.hosts[0].node is not None
    assert inside.isolated(world.hosts[0].node)
    assert outcome.violations == []


@pytest.mark.parametrize("deaths", [False, True])
def test_where_nobody_may_die_a_crash_that_is_found_is_a_violation(deaths: bool) -> None:
    steps = (Run(seconds=3), Crash(hosts=(4,)), Run(seconds=30))
    story = Story(about="Somebody dies.", steps=steps, bounds=Bounds(deaths=deaths))
    found = {violation.checker for violation in play(story, world_of(story, nodes=NODES, seed=1)).violations}
    assert found == (set() if deaths else {"nobody dies"})


def test_what_a_node_raises_is_told_with_its_place() -> None:
    (violation,) = tell([Run(seconds=3)], Raising).violations
    assert "AssertionError: planted" in violation.what
    assert "(test_planted.py, line " in violation.what
    assert violation.what.endswith(", in handle_timer)")


def test_two_stories_told_in_one_process_do_not_meet() -> None:
    steps: list[Step] = [Run(seconds=3), Restart(hosts=(3,)), Run(seconds=5)]
    assert tell(steps, Node) == tell(steps, Node)
