"""The collapse guard: a service that silence alone would empty, or halve, is answered as it last was, and marked.

An empty or collapsing answer is more often a fault of discovery than a real outage (Eureka's self-preservation, Envoy's panic
threshold, Nacos's protection), and where it is real the client loses nothing by trying. What an owner itself says of its instances
always counts at once. Kept instances go when `hold_s` has passed, or on evidence: their owner is heard again, says otherwise, or
leaves, or the service is as large as before without them. Departs from what one may expect: that other members accuse the owner
too is no evidence, since all on our side of a cut see the same silence.

What was lost before the guard began is not brought back: that would be one more flap.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Protocol

from gossipd.config import GuardConfig
from gossipd.core.deadlines import Deadlines
from gossipd.core.events import GuardChanged, RecordChanged
from gossipd.core.items import ItemKey
from gossipd.ids import NodeId
from gossipd.limits import GUARDED_INSTANCES_MAX
from gossipd.records import Health, Mode, NodeInfo, Record, Service


class Catalog(Protocol):
    """What the guard reads of the catalog."""

    def instances(self, name: str) -> Iterable[Record]: ...

    def records_of(self, owner: NodeId) -> Iterable[Record]: ...


def is_ready(service: Service, node_mode: Mode) -> bool:
    """Return whether its owner wants *service* to get new work: all that is needed besides being reachable."""
    state = service.state
    if state.mode is not Mode.NORMAL or node_mode is not Mode.NORMAL:
        return False
    return state.health is not Health.CRITICAL and not state.damped


@dataclass(slots=True)
class _Losses:
    """A service that lost ready instances to silence within the window, or is guarded."""

    ready: int | None = None
    """Ready instances on reachable nodes; None: to be counted when it is asked for."""
    whole: int = 0
    """Ready instances when the guard began: the last good set."""
    lost: dict[ItemKey, float] = field(default_factory=dict)
    """When, the first first."""
    kept: dict[ItemKey, float] = field(default_factory=dict)
    """Until when, the first first."""


class Collapse:
    """The services that are watched over, by name: those with losses. All of them together remember GUARDED_INSTANCES_MAX."""

    def __init__(
        self,
        config: GuardConfig,
        *,
        catalog: Catalog,
        mode_of: Callable[[NodeId], Mode],
        reachable: Callable[[NodeId], bool],
        remembered_max: int = GUARDED_INSTANCES_MAX,
    ) -> None:
        """*mode_of* tells the mode of a whole node, *reachable* whether readers believe that a node can be reached."""
        self._config = config
        self._catalog = catalog
        self._mode_of = mode_of
        self._reachable = reachable
        self._remembered_max = remembered_max
        self._services: dict[str, _Losses] = {}
        self._due: Deadlines[str] = Deadlines()
        self._paused = False
        self.triggered = 0
        """Times that a service began to be guarded."""
        self.refused = 0
        """Instances that were shown unreachable without a look, because too many are remembered."""

    def __len__(self) -> int:
        """Return how many losses and kept instances are remembered."""
        return sum(len(losses.lost) + len(losses.kept) for losses in self._services.values())

    @property
    def kept(self) -> int:
        """How many instances are kept."""
        return sum(len(losses.kept) for losses in self._services.values())

    @property
    def guarded(self) -> int:
        """How many services are guarded."""
        return sum(bool(losses.kept) for losses in self._services.values())

    def keeps(self, name: str, instance: ItemKey) -> bool:
        """Return whether *instance* of service *name* is answered although its node is believed gone."""
        losses = self._services.get(name)
        return losses is not None and instance in losses.kept

    # ---------------------------------------------------------------------------------------------------------- changes

    def lose(self, owners: Sequence[NodeId], *, now: float) -> list[GuardChanged]:
        """Readers cease to believe that *owners* can be reached, for nothing but silence; return which services are kept for it."""
        lost: dict[str, list[ItemKey]] = {}
        for owner in owners:
            for key, name in self._ready_of(owner):
                lost.setdefault(name, []).append((owner, key))
        changes: list[GuardChanged] = []
        room = self._remembered_max - len(self)
        for name, instances in sorted(lost.items()):
            room -= 2 * len(instances)
            changes += self._lose(name, instances, now=now) if room >= 0 else self._refuse(name, instances)
        return changes

    def leave(self, owner: NodeId) -> None:
        """*owner*, reachable so far, says goodbye or is forgotten; its records are still there. Nothing is lost to silence."""
        for _, losses in self._tracked_of(owner):
            _add(losses, -1)

    def back(self, owner: NodeId, *, now: float) -> list[GuardChanged]:
        """*owner*, unreachable so far, is heard again: its instances are as good as any."""
        changes: list[GuardChanged] = []
        for instance, losses in self._tracked_of(owner):
            _add(losses, +1)
            name = instance[1]
            changes += self._pardon(name, losses, (owner, instance[0]), cause="heard", now=now)
        return changes

    def record_changed(self, event: RecordChanged, *, now: float) -> list[GuardChanged]:
        """The owner says something else of an instance, or of its node."""
        if not self._services:
            return []
        before = None if event.before is None else event.before.content
        after = None if event.after is None else event.after.content
        if isinstance(before, NodeInfo) or isinstance(after, NodeInfo):
            return self._node_changed(event.owner, before, after, now=now)
        changes: list[GuardChanged] = []
        mode, reachable = self._mode_of(event.owner), self._reachable(event.owner)
        instance = (event.owner, event.key)
        for content, sign in ((before, -1), (after, +1)):
            if not isinstance(content, Service):
                continue
            losses = self._services.get(content.name)
            if losses is None:
                continue
            if reachable and is_ready(content, mode):
                _add(losses, sign)
            stays = isinstance(after, Service) and after.name == content.name and is_ready(after, mode)
            cause = "replaced" if stays else "owner"
            changes += self._pardon(content.name, losses, None if stays else instance, cause=cause, now=now)
        return changes

    def pause(self) -> None:
        """Let nothing go but by its owner's word, for as long as it takes: we are the one cut off."""
        self._paused = True

    def resume(self, *, grace_s: float, now: float) -> None:
        """We hear the others again; what is kept stays for *grace_s* at least, for news that is on its way."""
        self._paused = False
        for name, losses in list(self._services.items()):
            for instance, until in losses.kept.items():
                losses.kept[instance] = max(until, now + grace_s)
            self._arm(name, losses)

    def shift(self, by_s: float) -> None:
        """Move every deadline by *by_s* seconds that we slept through."""
        for losses in self._services.values():
            losses.lost = {instance: at + by_s for instance, at in losses.lost.items()}
            losses.kept = {instance: until + by_s for instance, until in losses.kept.items()}
        self._due.shift(by_s)

    def next_deadline(self) -> float:
        """Return when a kept instance goes, or a loss is forgotten; `math.inf` when neither is ahead."""
        return math.inf if self._paused else self._due.next()

    def handle_timer(self, *, now: float) -> list[GuardChanged]:
        """Let go what was kept for long enough, forget losses that are long past."""
        changes: list[GuardChanged] = []
        for name in [] if self._paused else self._due.pop_due(now):
            losses = self._services[name]
            self._prune(losses, now=now)
            over = [instance for instance, until in losses.kept.items() if until <= now]
            for instance in over:
                del losses.kept[instance]
            if over:
                changes.append(self._changed(name, losses, over, cause="time"))
            self._arm(name, losses)
        return changes

    # ---------------------------------------------------------------------------------------------------------- private

    def _lose(self, name: str, instances: list[ItemKey], *, now: float) -> list[GuardChanged]:
        losses = self._services.setdefault(name, _Losses())
        if losses.ready is None:
            losses.ready = self._count(name)
        else:
            losses.ready -= len(instances)
        self._prune(losses, now=now)
        losses.lost |= dict.fromkeys(instances, now)
        cause = self._cause(losses)
        if cause is not None:
            begins = not losses.kept
            losses.kept |= dict.fromkeys(instances, now + self._config.hold_s)
            losses.whole = max(0 if begins else losses.whole, losses.ready + len(losses.kept))
            self.triggered += begins
        self._arm(name, losses)
        return [] if cause is None else [self._changed(name, losses, instances, cause=cause)]

    def _refuse(self, name: str, instances: list[ItemKey]) -> list[GuardChanged]:
        """Too much is remembered: let *instances* be lost without a look."""
        self.refused += len(instances)
        if name in self._services:
            _add(self._services[name], -len(instances))
        return []

    def _cause(self, losses: _Losses) -> str | None:
        """Return why what is now lost has to be kept; None: it has not."""
        assert losses.ready is not None
        if losses.ready == 0:
            return "last"
        share = len(losses.lost) > self._config.share * (losses.ready + len(losses.lost))
        return "share" if share or losses.kept else None

    def _pardon(
        self, name: str, losses: _Losses, instance: ItemKey | None, *, cause: str, now: float
    ) -> list[GuardChanged]:
        """Forget that *instance* was lost; end the guard if nothing is kept any more, or the service is whole without it."""
        guarded = bool(losses.kept)
        let_go: list[ItemKey] = []
        if instance is not None:
            losses.lost.pop(instance, None)
            losses.kept.pop(instance, None)
        if losses.kept and losses.ready is None:
            losses.ready = self._count(name)
        if losses.kept and not self._paused and losses.ready is not None and losses.ready >= losses.whole:
            let_go, cause = list(losses.kept), "replaced"
            losses.kept.clear()
        self._arm(name, losses)
        return [self._changed(name, losses, let_go, cause=cause)] if guarded and not losses.kept else []

    def _node_changed(self, owner: NodeId, before: object, after: object, *, now: float) -> list[GuardChanged]:
        modes = [content.mode if isinstance(content, NodeInfo) else Mode.NORMAL for content in (before, after)]
        if modes[0] is modes[1]:
            return []
        for losses in self._services.values():
            losses.ready = None  # seldom enough to count anew
        changes: list[GuardChanged] = []
        if modes[1] is not Mode.NORMAL:
            for name, losses in list(self._services.items()):
                for instance in [each for each in (losses.kept.keys() | losses.lost.keys()) if each[0] == owner]:
                    changes += self._pardon(name, losses, instance, cause="owner", now=now)
        return changes

    def _ready_of(self, owner: NodeId) -> list[tuple[str, str]]:
        """Return the key and the service of each instance that *owner* wants to get work."""
        mode = self._mode_of(owner)
        found = []
        for record in self._catalog.records_of(owner):
            if isinstance(record.content, Service) and is_ready(record.content, mode):
                found.append((record.key, record.content.name))
        return found

    def _tracked_of(self, owner: NodeId) -> list[tuple[tuple[str, str], _Losses]]:
        if not self._services:
            return []
        return [(each, self._services[each[1]]) for each in self._ready_of(owner) if each[1] in self._services]

    def _count(self, name: str) -> int:
        """Count the ready instances on reachable nodes: a pass over the service, once in the window of a loss."""
        ready = 0
        for record in self._catalog.instances(name):
            if isinstance(record.content, Service) and self._reachable(record.owner):
                ready += is_ready(record.content, self._mode_of(record.owner))
        return ready

    def _prune(self, losses: _Losses, *, now: float) -> None:
        over = takewhile(lambda loss: loss[1] + self._config.window_s <= now, losses.lost.items())
        for instance, _ in list(over):  # added up as in `_window_ends`: what is due must be over
            del losses.lost[instance]

    def _arm(self, name: str, losses: _Losses) -> None:
        """Set when the service is next to be looked at; one without losses is watched over no longer."""
        next_at = min(next(iter(losses.kept.values()), math.inf), self._window_ends(losses))
        if next_at < math.inf:
            self._due.set(name, next_at)
        else:
            self._due.cancel(name)
            self._services.pop(name, None)

    def _window_ends(self, losses: _Losses) -> float:
        return next((at + self._config.window_s for at in losses.lost.values()), math.inf)

    def _changed(self, name: str, losses: _Losses, instances: Iterable[ItemKey], *, cause: str) -> GuardChanged:
        nodes = tuple(sorted({NodeId(owner) for owner, _ in instances}))
        return GuardChanged(service=name, nodes=nodes, kept=len(losses.kept), ready=losses.ready, cause=cause)


def _add(losses: _Losses, change: int) -> None:
    if losses.ready is not None:
        losses.ready += change
