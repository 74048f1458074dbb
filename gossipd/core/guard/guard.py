"""The guard: whether readers are told that the instances of a silent node are gone, and when.

Joins `cuts`, which lets verdicts that belong together be seen together, and `collapse`, which keeps what silence alone would take
away. While we are isolated (D3) nothing remote is taken away at all. Docs: docs/explain/answers.md.
"""

from collections.abc import Callable, Sequence

from gossipd.config import GuardConfig
from gossipd.core.events import CutShown, GuardChanged, MemberChanged, RecordChanged
from gossipd.core.guard.collapse import Catalog, Collapse
from gossipd.core.guard.cuts import Cuts
from gossipd.core.items import ItemKey
from gossipd.ids import NodeId
from gossipd.limits import GUARDED_INSTANCES_MAX
from gossipd.records import Mode, Status

_LIVE = (Status.ALIVE, Status.SUSPECT)


class Guard:
    """Told of every change of members, records and isolation; asked by whoever makes an answer."""

    def __init__(
        self,
        config: GuardConfig,
        *,
        catalog: Catalog,
        live: Callable[[NodeId], bool],
        mode_of: Callable[[NodeId], Mode],
        remembered_max: int = GUARDED_INSTANCES_MAX,
    ) -> None:
        """*live*: whether a member is believed alive or suspect; *mode_of*: what a node says of all its instances."""
        self._config = config
        self._live = live
        self._cuts = Cuts(batch_s=config.batch_s)
        self._collapse = Collapse(
            config, catalog=catalog, mode_of=mode_of, reachable=self.reachable, remembered_max=remembered_max
        )
        self.isolated = False
        """Whether we keep all that is remote, because we are the one cut off; never by the policy "drop"."""
        self.cuts_shown = 0

    @property
    def verdicts_held(self) -> int:
        """How many members are dead and not yet shown to be."""
        return len(self._cuts)

    @property
    def collapse(self) -> Collapse:
        return self._collapse

    def reachable(self, owner: NodeId) -> bool:
        """Return whether readers believe that *owner* can be reached: it lives, or the verdict is held."""
        return owner in self._cuts or self._live(owner)

    def keeps(self, service: str, instance: ItemKey) -> bool:
        """Return whether *instance* of *service*, whose node is not `reachable`, is to be answered as it last was."""
        return self._collapse.keeps(service, instance)

    # ---------------------------------------------------------------------------------------------------------- changes

    def member_changed(self, event: MemberChanged, *, now: float) -> Sequence[GuardChanged]:
        """Take note, before the catalog draws its own conclusions."""
        member = event.member
        if event.before in _LIVE and event.after is Status.DEAD:
            self._cuts.died(member, now=now)
            return ()
        held = self._cuts.drop(member)
        was = held or event.before in _LIVE
        if was and event.after not in _LIVE:
            self._collapse.leave(member)
        elif not was and event.after in _LIVE:
            return self._collapse.back(member, now=now)
        return ()

    def record_changed(self, event: RecordChanged, *, now: float) -> Sequence[GuardChanged]:
        """What an owner says counts at once."""
        return self._collapse.record_changed(event, now=now)

    def isolation_changed(self, isolated: bool, *, now: float) -> None:
        """Keep everything remote for as long as we are the one cut off, and a little longer: news of the others is on its way."""
        if self._config.policy == "drop":
            return
        self.isolated = isolated
        if isolated:
            self._cuts.pause()
            self._collapse.pause()
        else:
            self._cuts.resume(now=now)
            self._collapse.resume(grace_s=self._config.batch_s, now=now)

    def shift(self, by_s: float) -> None:
        """We slept for *by_s* seconds: the others had no time to be heard in."""
        self._cuts.shift(by_s)
        self._collapse.shift(by_s)

    def next_deadline(self) -> float:
        return min(self._cuts.next_deadline(), self._collapse.next_deadline())

    def settle(self, *, suspects: int, now: float) -> list[CutShown | GuardChanged]:
        """After every input, show what is to be shown by now: one change. *suspects* members are suspected at the moment."""
        if not self._cuts and self._collapse.next_deadline() > now:
            return []
        changes: list[CutShown | GuardChanged] = []
        members, held_s = self._cuts.pop(suspects=suspects, now=now)
        if members:
            self.cuts_shown += 1
            changes.append(CutShown(members=tuple(members), held_s=round(held_s, 3)))
            if self._config.policy != "drop":
                changes += self._collapse.lose(members, now=now)
        changes += self._collapse.handle_timer(now=now)
        return changes
