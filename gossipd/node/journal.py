"""Evidence: the last changes of belief about each member and each instance, for `why` (principle 3)."""

from dataclasses import dataclass

from gossipd.core.events import MemberChanged, RecordChanged
from gossipd.limits import JOURNAL_PER_SUBJECT_MAX
from gossipd.records import Status

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
    """At most JOURNAL_PER_SUBJECT_MAX notes a subject; subjects are bounded by members and records, and forgotten with them."""

    def __init__(self) -> None:
        self._notes: dict[str, list[Note]] = {}

    def about(self, subject: str) -> list[Note]:
        """Return the notes on *subject* (a member's name, or node/id), oldest first."""
        return list(self._notes.get(subject, ()))

    def member_changed(self, event: MemberChanged, *, now: float) -> None:
        if event.after is None:
            self._notes.pop(event.member, None)
            return
        was = "unknown" if event.before is None else STATUS_WORDS[event.before]
        epoch, counter = event.incarnation
        what = f"{was} -> {STATUS_WORDS[event.after]} at {event.address}, incarnation {epoch}.{counter}"
        self._add(event.member, Note(now, what, event.accuser, event.source, event.how))

    def record_changed(self, event: RecordChanged, *, now: float) -> None:
        subject = f"{event.owner}/{event.key.partition('/')[2]}"
        done = "withdrawn" if event.after is None else "published" if event.before is None else "changed"
        what = f"{done} by its owner, version {event.version.epoch}.{event.version.seq}"
        self._add(subject, Note(now, what, event.owner, event.source, event.how))

    def forget_owner(self, owner: str) -> None:
        """Forget the instances of *owner*."""
        prefix = f"{owner}/"
        for subject in [subject for subject in self._notes if subject.startswith(prefix)]:
            del self._notes[subject]

    def _add(self, subject: str, note: Note) -> None:
        notes = self._notes.setdefault(subject, [])
        notes.append(note)
        if len(notes) > JOURNAL_PER_SUBJECT_MAX:
            del notes[0]
