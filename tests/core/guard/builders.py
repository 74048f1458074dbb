"""A guard over a small world that the test changes: who lives, who publishes what."""

from collections.abc import Iterator, Sequence

from gossipd.config import GuardConfig
from gossipd.core.events import CutShown, GuardChanged, MemberChanged, RecordChanged
from gossipd.core.guard.guard import Guard
from gossipd.ids import Address, Incarnation, NodeId, Version
from gossipd.limits import GUARDED_INSTANCES_MAX
from gossipd.records import Health, Mode, NodeInfo, Record, Service, State, Status

ALIVE, SUSPECT, DEAD, LEFT = Status
LIVE = (ALIVE, SUSPECT)
SETTINGS = GuardConfig(share=0.5, window_s=60.0, hold_s=120.0, batch_s=10.0)
READY = State()
CRITICAL = State(health=Health.CRITICAL)
DRAINING = State(mode=Mode.DRAINING)


def names(count: int) -> list[str]:
    return [f"n{number}" for number in range(count)]


class Scene:
    """What a node would do around its guard: tables first, then the guard hears, then it settles."""

    def __init__(self, config: GuardConfig = SETTINGS, *, remembered_max: int = GUARDED_INSTANCES_MAX) -> None:
        self.now = 0.0
        self.status: dict[NodeId, Status] = {}
        self.modes: dict[NodeId, Mode] = {}
        self.records: dict[NodeId, dict[str, Record]] = {}
        self.scanned = 0
        self.heard: list[CutShown | GuardChanged] = []
        self.guard = Guard(
            config,
            catalog=self,
            live=lambda owner: self.status.get(owner) in LIVE,
            mode_of=lambda owner: self.modes.get(owner, Mode.NORMAL),
            remembered_max=remembered_max,
        )

    # ------------------------------------------------------------------------------------------------ the catalog's face

    def instances(self, name: str) -> Iterator[Record]:
        for records in self.records.values():
            for record in records.values():
                self.scanned += 1
                if isinstance(record.content, Service) and record.content.name == name:
                    yield record

    def records_of(self, owner: NodeId) -> Iterator[Record]:
        yield from self.records.get(owner, {}).values()

    # --------------------------------------------------------------------------------------------------- what may happen

    def member(self, name: str, status: Status | None) -> None:
        """*status* None: forgotten. Who leaves or is forgotten takes its records along, after the guard has heard of it."""
        owner = NodeId(name)
        before = self.status.get(owner)
        if status is None:
            self.status.pop(owner, None)
        else:
            self.status[owner] = status
        event = MemberChanged(
            member=owner,
            before=before,
            after=status,
            incarnation=Incarnation(1, 0),
            address=Address("192.0.2.1", 7946),
            accuser=owner,
            source=owner,
            how="gossip",
        )
        self.heard += self.guard.member_changed(event, now=self.now)
        if status is LEFT or status is None:
            for key in list(self.records.get(owner, ())):
                self.publish(name, None, id=key, settle=False)
        self.settle()

    def publish(
        self, name: str, state: State | None = READY, *, service: str = "web", id: str = "web", settle: bool = True
    ) -> None:
        """*name* says how its instance *id* is; *state* None: that it is no more."""
        owner = NodeId(name)
        held = self.records.setdefault(owner, {})
        before, after = held.get(id), None
        if state is not None:
            content = Service(name=service, id=id, port=80, state=state)
            after = held[id] = Record(owner=owner, version=Version(1, 1), floor=0, key=id, content=content)
        else:
            held.pop(id, None)
        self._changed(owner, id, before, after)
        if settle:
            self.settle()

    def mode(self, name: str, mode: Mode) -> None:
        owner = NodeId(name)
        former = self.modes.get(owner, Mode.NORMAL)
        self.modes[owner] = mode
        before, after = (
            Record(owner=owner, version=Version(1, 1), floor=0, key="node", content=NodeInfo(mode=each))
            for each in (former, mode)
        )
        self._changed(owner, "node", before, after)
        self.settle()

    def isolate(self, isolated: bool) -> None:
        self.guard.isolation_changed(isolated, now=self.now)
        self.settle()

    def start(self, count: int, *, service: str = "web") -> list[str]:
        """Let *count* nodes live, each with a ready instance; return their names."""
        for name in names(count):
            self.member(name, ALIVE)
            self.publish(name, service=service)
        return names(count)

    def die(self, *members: str) -> None:
        """Each falls silent, is suspected, and is found dead in its turn."""
        for name in members:
            self.member(name, SUSPECT)
        for name in members:
            self.member(name, DEAD)

    def pass_time(self, seconds: float) -> None:
        """Let the timers of *seconds* fire, each at its time."""
        end = self.now + seconds
        while self.guard.next_deadline() <= end:
            assert self.guard.next_deadline() >= self.now, "a deadline in the past"
            self.now = max(self.now, self.guard.next_deadline())
            before = self.guard.next_deadline()
            self.settle()
            assert self.guard.next_deadline() > before, "a timer that does nothing"
        self.now = end

    def settle(self) -> None:
        suspects = sum(status is SUSPECT for status in self.status.values())
        self.heard += self.guard.settle(suspects=suspects, now=self.now)

    # -------------------------------------------------------------------------------------------------- what readers see

    def shown(self, service: str = "web") -> dict[str, str]:
        """Return for each node how its instance is answered: "ready", "degraded" (and ready) or "gone"; others are left out."""
        found = {}
        for owner, records in sorted(self.records.items()):
            for key, record in records.items():
                content = record.content
                if not isinstance(content, Service) or content.name != service or not self._wanted(owner, content):
                    continue
                if self.guard.reachable(owner):
                    found[str(owner)] = "degraded" if self.guard.isolated else "ready"
                else:
                    found[str(owner)] = "degraded" if self.guard.keeps(service, (owner, key)) else "gone"
        return found

    def plain(self, service: str = "web") -> dict[str, str]:
        """Return the same as it would be without a guard."""
        return {name: "ready" if self.status.get(NodeId(name)) in LIVE else "gone" for name in self.shown(service)}

    def ready(self, service: str = "web") -> int:
        return sum(how != "gone" for how in self.shown(service).values())

    def causes(self) -> list[tuple[str, int]]:
        """Return cause and number kept of every change of the guard since the last call."""
        heard, self.heard = self.heard, []
        return [(event.cause, event.kept) for event in heard if isinstance(event, GuardChanged)]

    def cuts(self) -> list[Sequence[str]]:
        return [event.members for event in self.heard if isinstance(event, CutShown)]

    def _wanted(self, owner: NodeId, service: Service) -> bool:
        return service.state == READY and self.modes.get(owner, Mode.NORMAL) is Mode.NORMAL

    def _changed(self, owner: NodeId, key: str, before: Record | None, after: Record | None) -> None:
        if (None if before is None else before.content) == (None if after is None else after.content):
            return
        event = RecordChanged(
            owner=owner, key=key, before=before, after=after, version=Version(1, 1), source=owner, how="gossip"
        )
        self.heard += self.guard.record_changed(event, now=self.now)
