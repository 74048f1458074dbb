"""Evidence: the last changes of belief about each member and each instance, for `why` (principle 3).

What was said of an instance outlives it, so that one that comes and goes can be explained; the least recently changed give way.
"""

from dataclasses import dataclass
from functools import lru_cache

from gossipd.core.events import CutShown, GuardChanged, MemberChanged, RecordChanged
from gossipd.ids import Version
from gossipd.limits import JOURNAL_INSTANCE_NOTES_MAX, JOURNAL_PER_SUBJECT_MAX, SHARED_VALUES_MAX
from gossipd.records import Mode, Record, Service, State, Status
from gossipd.wire.records import SERVICE_KEY_PREFIX

STATUS_WORDS = {Status.ALIVE: "alive", Status.SUSPECT: "suspect", Status.DEAD: "failed", Status.LEFT: "left"}
"""How users read a status; a member that was found dead is "failed" to them, since its host may well live."""


@dataclass(frozen=True, slots=True)
class Note:
    """One change: what in a sentence, when, on whose word, from whom, by which path.

    *said* is the sentence without *version*, which differs in every note, while *said* is the same text in most.
    """

    at: float
    said: str
    accuser: str | None
    source: str | None
    how: str
    version: Version | None = None

    @property
    def what(self) -> str:
        return self.said if self.version is None else f"{self.said}, version {self.version.epoch}.{self.version.seq}"


class Journal:
    """At most JOURNAL_PER_SUBJECT_MAX notes a subject. Members are bounded by their table, and forgotten with it; of instances
    there are JOURNAL_INSTANCE_NOTES_MAX notes in all."""

    def __init__(self, *, instance_notes_max: int = JOURNAL_INSTANCE_NOTES_MAX) -> None:
        self._instance_notes_max = instance_notes_max
        self._members: dict[str, list[Note]] = {}
        self._instances: dict[str, tuple[Note, ...]] = {}
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

    def cut_shown(self, event: CutShown, *, now: float) -> None:
        others = len(event.members) - 1
        what = "its failure shows in its instances"
        if others:
            what += f", together with that of {others} other{'s' if others > 1 else ''}"
        if event.held_s:
            what += f", held for {event.held_s:.1f} s until nobody was suspect or time was up"
        for member in event.members:
            notes = self._members.setdefault(member, [])
            notes.append(Note(now, what, None, None, "timer"))
            del notes[:-JOURNAL_PER_SUBJECT_MAX]

    def guard_changed(self, event: GuardChanged, *, now: float) -> None:
        nodes = f"{len(event.nodes)} node{'s' if len(event.nodes) != 1 else ''}"
        what = {
            "last": f"guard: the last ready instances fell silent with {nodes}, so {event.kept} are kept, degraded",
            "share": f"guard: too many ready instances fell silent, with {nodes}, so {event.kept} are kept, degraded",
            "time": f"guard: those on {nodes} were kept for long enough, {event.kept} are still kept",
            "replaced": f"guard: the service is as large without those on {nodes}, so they are kept no longer",
            "heard": "guard: all nodes are heard again, nothing is kept",
            "owner": "guard: the last one kept was withdrawn by its owner, nothing is kept",
        }[event.cause]
        self._note(_service_subject(event.service), Note(now, what, None, None, "timer"))

    def instances_called(self, subject: str) -> list[str]:
        """Return, as node/id, the instances that *subject* (an id, or node/id) names and that are remembered, sorted."""
        names = (name.partition("/") for name in self._instances)
        return sorted(f"{node}/{id}" for node, _, id in names if node and subject in (id, f"{node}/{id}"))

    def about_service(self, name: str) -> list[Note]:
        """Return the notes on the service *name* as a whole: what the guard did, oldest first."""
        return list(self._instances.get(_service_subject(name), ()))

    def record_changed(self, event: RecordChanged, *, now: float) -> None:
        if not event.key.startswith(SERVICE_KEY_PREFIX):
            return
        subject = f"{event.owner}/{event.key.removeprefix(SERVICE_KEY_PREFIX)}"
        done = "withdrawn" if event.after is None else "published" if event.before is None else "changed"
        said = _said_by_owner(done, _state_in(event.before), _state_in(event.after))
        self._note(subject, Note(now, said, event.owner, event.source, event.how, event.version))

    def _note(self, subject: str, note: Note) -> None:
        before = self._instances.pop(subject, ())
        notes = (*before, note)[-JOURNAL_PER_SUBJECT_MAX:]
        self._instances[subject] = notes
        self._instance_notes += len(notes) - len(before)
        while self._instance_notes > self._instance_notes_max:
            self._instance_notes -= len(self._instances.pop(next(iter(self._instances))))


def _service_subject(name: str) -> str:
    """Return the subject of the service *name* as a whole: no node has an empty name."""
    return f"/{name}"


def _state_in(record: Record | None) -> State | None:
    return record.content.state if record is not None and isinstance(record.content, Service) else None


@lru_cache(maxsize=SHARED_VALUES_MAX)
def _said_by_owner(done: str, before: State | None, after: State | None) -> str:
    """Return that the instance was *done*, how its owner sees it now, and how before if that differs; one text for all alike."""
    said = f"{done} by its owner"
    if after is None:
        return said
    return f"{said}: {_state(after)}" if before in (None, after) else f"{said}: {_state(before)} -> {_state(after)}"


def _state(state: State) -> str:
    words = [state.health.name.lower()]
    words += [] if state.mode is Mode.NORMAL else [state.mode.name.lower()]
    words += ["damped"] if state.damped else []
    return ", ".join(words) + (f" ({state.reason})" if state.reason else "")
