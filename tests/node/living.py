"""One node alone and what becomes of its instances, and everything that may be done to them at random: for tests of their life."""

from collections.abc import Callable, Sequence
from random import Random

from gossipd.checks import Alias, Check, CheckResult, Tcp, Ttl
from gossipd.config import LOCAL
from gossipd.core.events import RegistrationLost
from gossipd.node.actions import Action, CancelCheck, RunCheck, UnwatchPid, WatchPid
from gossipd.node.node import Node
from gossipd.node.view import KEPT, CheckRow, Holder, RegistrationRow
from gossipd.records import Health, NodeInfo, Service, State
from tests.network import Network, a_service

PASSING, WARNING, CRITICAL = Health
UP = Check(id="up", target=Tcp())
ALIVE = Check(id="alive", target=Ttl(ttl_s=10.0))
LEASE = Holder(kind="lease", lease_s=30.0)
OVER_FIRST = Holder(kind="connection", connection=1)


class Alone:
    """One node, alone, on a clock of its own; *done* are the actions since the last look."""

    def __init__(self) -> None:
        self.net = Network(config=LOCAL)
        self.node = self.net.add(0)

    @property
    def now(self) -> float:
        return self.net.now

    def take(self) -> Sequence[Action]:
        """What it asked for since the last call, but packets and news."""
        kinds = RunCheck | CancelCheck | WatchPid | UnwatchPid
        taken = [action for _, _, action in self.net.history if isinstance(action, kinds)]
        self.net.history.clear()
        return taken

    def register(
        self, id: str = "web", *checks: Check, holder: Holder = KEPT, port: int = 80, address: str | None = None
    ) -> RegistrationRow:
        service = Service(name="web", id=id, port=port, address=address)
        row, actions = self.node.register(service, holder=holder, checks=checks, now=self.now)
        self.net.do(self.node, actions)
        return row

    def do(self, actions: list[Action]) -> None:
        self.net.do(self.node, actions)

    def run(self, seconds: float) -> None:
        self.net.run(seconds)

    def finish(self, health: Health = PASSING, output: str = "") -> None:
        """Let every check that runs bring *health*."""
        for action in self.take():
            if isinstance(action, RunCheck):
                result = CheckResult(health=health, output=output)
                self.do(self.node.check_finished(action.run, result, now=self.now))

    def lost(self) -> list[str]:
        return [event.why for event in self.net.heard(RegistrationLost) if isinstance(event, RegistrationLost)]

    def row(self, id: str = "web") -> RegistrationRow:
        [found] = [row for row in self.node.view.registrations(now=self.now) if row.id == id]
        return found

    def checks(self, id: str = "web") -> list[CheckRow]:
        return self.node.view.checks(id, now=self.now)


def state_of(node: Node, id: str = "web", *, owner: Node | None = None) -> State | None:
    """How *node* believes instance *id* of *owner* to be; None if it knows of none."""
    record = node._m.catalog.get((owner or node).me, f"service/{id}")
    return record.content.state if record is not None and isinstance(record.content, Service) else None


def info_of(node: Node, owner: Node) -> NodeInfo:
    record = node._m.catalog.get(owner.me, "node")
    assert record is not None
    assert isinstance(record.content, NodeInfo)
    return record.content


def finish_all(net: Network, node: Node) -> None:
    """Let what is due be tried, and pass."""
    net.run(0.2)
    runs = [action for _, source, action in net.history if source == net.where(node) and isinstance(action, RunCheck)]
    for action in runs:
        net.do(node, node.check_finished(action.run, CheckResult(health=PASSING), now=net.now))
    net.history.clear()


def any_command(rng: Random, node: Node, runs: Sequence[int], *, now: float) -> Sequence[Action]:
    """Do something to the instances of *node*, one of whose *runs* may be over. Raises: RequestError."""
    id = rng.choice(["a", "b", None])
    result = CheckResult(health=rng.choice(list(Health)))
    some = id or "c"
    commands: list[Callable[[], Sequence[Action]]] = [
        lambda: node.register(
            a_service(id=some),
            holder=rng.choice([KEPT, LEASE, OVER_FIRST, Holder(kind="pid", pid=7)]),
            checks=rng.choice(
                [(), (UP,), (UP, ALIVE), (ALIVE, Check(id="node", target=Alias(id="b" if id == "a" else None)))]
            ),
            now=now,
        )[1],
        lambda: node.drain(id, deadline_s=rng.choice([None, 5.0]), now=now)[1],
        lambda: node.undrain(id, now=now),
        lambda: node.maintain(id, reason=rng.choice(["disk", None]), now=now),
        lambda: node.progress(some, rng.randrange(3), now=now)[1],
        lambda: node.report(some, rng.choice(["alive", None]), result, now=now),
        lambda: node.renew(some, now=now),
        lambda: node.undamp(some, now=now),
        lambda: node.pid_exited(7, now=now),
        lambda: node.check_finished(rng.choice([*runs, 10**6]), result, now=now),
    ]
    return rng.choices(commands, weights=[4, 1, 1, 1, 1, 2, 1, 1, 1, 4])[0]()
