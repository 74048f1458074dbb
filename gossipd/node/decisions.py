"""What people decided about instances and the node: draining or maintenance, why, since when, and until when.

Kept over restarts by the instance's id, whoever registers it; the decision about one that is not registered is forgotten after a
day. The last decision holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gossipd.core.deadlines import Deadlines
from gossipd.errors import RequestError
from gossipd.limits import DECISIONS_MAX, UNREGISTERED_DECISION_S
from gossipd.records import Mode

Subject = str | None
"""An instance's id; None: the node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """*mode*, never NORMAL, holds since *since*; *deadline*: when a drain may end whatever remains, None for never."""

    mode: Mode
    reason: str
    since: float
    deadline: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDecision:
    """A decision as the disk keeps it: in ages, because a clock of unknown origin does not survive a restart."""

    subject: Subject
    mode: Mode
    reason: str = ""
    age_s: float = 0.0
    deadline_s: float | None = None
    """Seconds from its beginning to its deadline."""


class Decisions:
    """By subject, DECISIONS_MAX at most; for one too many that about the instance that is gone for longest gives way."""

    def __init__(self, stored: Sequence[StoredDecision], *, now: float) -> None:
        self._held: dict[Subject, Decision] = {}
        self._ends: Deadlines[str] = Deadlines()
        """When the decision about an instance that is not registered is forgotten."""
        for entry in stored[:DECISIONS_MAX]:
            since = now - entry.age_s
            deadline = None if entry.deadline_s is None else since + entry.deadline_s
            self._held[entry.subject] = Decision(mode=entry.mode, reason=entry.reason, since=since, deadline=deadline)
            if entry.subject is not None:
                self._ends.set(entry.subject, now + UNREGISTERED_DECISION_S)

    def __len__(self) -> int:
        return len(self._held)

    def get(self, subject: Subject) -> Decision | None:
        return self._held.get(subject)

    def set(self, subject: Subject, decision: Decision) -> bool:
        """Let *decision* hold; return whether that is new. The same mode again keeps its beginning.

        Raises: RequestError("quota").
        """
        before = self._held.get(subject)
        if before is None and len(self._held) >= DECISIONS_MAX:
            if not len(self._ends):
                raise RequestError("quota", f"{DECISIONS_MAX} instances drain or are under maintenance, expected fewer")
            del self._held[self._ends.pop_first()]
        if before is not None and before.mode is decision.mode:
            decision = replace(decision, since=before.since)
        self._held[subject] = decision
        return decision != before

    def end(self, subject: Subject, mode: Mode) -> bool:
        """End the decision about *subject* if it is *mode*; return whether it was."""
        decision = self._held.get(subject)
        if decision is None or decision.mode is not mode:
            return False
        del self._held[subject]
        if subject is not None:
            self._ends.cancel(subject)
        return True

    def registered(self, id: str) -> None:
        """*id* is registered: what was decided of it holds for as long as it is."""
        self._ends.cancel(id)

    def unregistered(self, id: str, *, now: float) -> None:
        if id in self._held:
            self._ends.set(id, now + UNREGISTERED_DECISION_S)

    def stored(self, *, now: float) -> list[StoredDecision]:
        """Return what must survive a restart."""
        return [
            StoredDecision(
                subject=subject,
                mode=decision.mode,
                reason=decision.reason,
                age_s=max(0.0, now - decision.since),
                deadline_s=None if decision.deadline is None else decision.deadline - decision.since,
            )
            for subject, decision in self._held.items()
        ]

    def next_deadline(self) -> float:
        return self._ends.next()

    def forget_due(self, *, now: float) -> bool:
        """Forget what was decided of instances that nobody has registered for a day; return whether there were any."""
        due = self._ends.pop_due(now)
        for id in due:
            del self._held[id]
        return bool(due)
