"""Evidence: the last changes of belief about each member and each instance, for `why` (principle 3).

What was said of an instance outlives it, so that one that comes and goes can be explained; the least recently changed give way.
"""

from dataclasses import dataclass

from gossipd.core.events import MemberChanged, RecordChanged
from gossipd.limits import JOURNAL_INSTANCE_NOTES_MAX, JOURNAL_PER_SUBJECT_MAX
from gossipd.records import Status
from gossipd.wire.records import SERVICE_KEY_PREFIX

STATUS_WORDS = {Status.ALIVE: "alive", Status.SUSPECT: "suspect", Status.DEAD: "failed", Status.LEFT: "left"}
"""How users read a status; a member that was found dead is "failed" to them, since its host may well live."""


@dataclass(frozen=True, slots=True)
class Note:
    """One change: *what* in a sentence, when, on whose word, from whom, by which path."""

    at: float
    what: str
    accuser: str | None
    source: str | None
    how: str


class Journal:
    """At most JOURNAL_PER_SUBJECT_MAX notes a subject. Members are bounded by their table, and forgotten with it; of instances
    there are JOURNAL_INSTANCE_NOTES_MAX notes in all."""

    def __init__(self, *, instance_notes_max: int = JOURNAL_INSTANCE_NOTES_MAX) -> None:
        self._instance_notes_max = instance_notes_max
        self._members: dict[str, list[Note]] = {}
        self._instances: dict[str, list[Note]] = {}
        """The one that has not changed for longest first."""
        self._instance_notes = 0

    def __len__(self) -> int:
        """Return how many notes are kept."""
        return sum(map(len, self._members.values())) + self._instance_notes

    def about(self, subject: str) -> list[Note]:
        """Return the notes on *subject* (a member's name, or node/id), oldest first."""
        return list(self._members.get(subject, ()) or self._instances.get(subject, ()))

    def member_changed(self, event: MemberChanged, *, now: float) -> None:
        if event.after is None:
            self._members.pop(event.member, None)
            return
        was = "unknown" if event.before is None else STATUS_WORDS[event.before]
        epoch, counter = event.incarnation
        what = f"{was} -> {STATUS_WORDS[event.after]} at {event.address}, incarnation {epoch}.{counter}"
        notes = self._members.setdefault(event.member, [])
        notes.append(Note(now, what, event.accuser, event.source, event.how))
        del notes[:-JOURNAL_PER_SUBJECT_MAX]

    def record_changed(self, event: RecordChanged, *, now: float) -> None:
        if not event.key.startswith(SERVICE_KEY_PREFIX):
            return
        subject = f"{event.owner}/{event.key.removeprefix(SERVICE_KEY_PREFIX)}"
        done = "withdrawn" if event.after is None else "published" if event.before is None else "changed"
        what = f"{done} by its owner, version {event.version.epoch}.{event.version.seq}"
        before = self._instances.pop(subject, [])
        notes = [*before, Note(now, what, event.owner, event.source, event.how)][-JOURNAL_PER_SUBJECT_MAX:]
        self._instances[subject] = notes
        self._instance_notes += len(notes) - len(before)
        while self._instance_notes > self._instance_notes_max:
            self._instance_notes -= len(self._instances.pop(next(iter(self._instances))))
