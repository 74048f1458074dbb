"""Events as log lines: for each a constant sentence, a level, and the facts as fields."""

from collections.abc import Sequence
from typing import Any, assert_never

from gossipd.core.events import (
    TO_OURSELVES,
    CheckChanged,
    CutShown,
    DatagramsBlocked,
    EpochRaised,
    Event,
    GuardChanged,
    IsolationChanged,
    LeaveFinished,
    MemberChanged,
    NameConflict,
    Overslept,
    RecordChanged,
    RegistrationLost,
    RegistrationsChanged,
    SyncFinished,
)
from gossipd.ids import Address
from gossipd.records import Service, Status
from gossipd.shell.log import Log

FAILURES_MAX = 1_024
"""Addresses whose last failure is remembered: all seeds and then some; past it they are told again."""

OUTPUT_SHOWN = 256
"""Characters of a check's output in a line of the log."""

Line = tuple[str, str, dict[str, Any]]
"""Level, sentence, fields."""

_MEMBER = {
    Status.SUSPECT: ("info", "member suspected"),
    Status.DEAD: ("warning", "member failed"),
    Status.LEFT: ("info", "member left"),
}

_MEMBER_ALIVE_AFTER = {
    None: "member joined",
    Status.ALIVE: "member updated",
    Status.SUSPECT: "member refuted suspicion",
    Status.DEAD: "member returned",
    Status.LEFT: "member joined again",
}


class EventLog:
    """Writes every event to *log*; a subscriber of the driver."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._failures: dict[Address, str] = {}
        """Why the last sync that we opened with an address failed."""

    def hear(self, events: Sequence[Event]) -> None:
        for event in events:
            if self._log.level != "debug" and isinstance(event, RecordChanged | RegistrationsChanged):
                continue  # frequent, and not shown
            level, sentence, fields = describe(event)
            if isinstance(event, SyncFinished) and event.opened_by_us and self._is_new_failure(event):
                level = "warning"  # a seed with another key would else be tried for ever in silence
            write = {
                "debug": self._log.debug,
                "info": self._log.info,
                "warning": self._log.warning,
                "error": self._log.error,
            }[level]
            write(sentence, **fields)

    def _is_new_failure(self, event: SyncFinished) -> bool:
        """Return whether *event* is an error other than the last one with that address."""
        before = self._failures.pop(event.address, None)
        if event.error is None or event.error == TO_OURSELVES:
            return False
        if len(self._failures) >= FAILURES_MAX:
            self._failures.clear()
        self._failures[event.address] = event.error
        return event.error != before


def describe(event: Event) -> Line:
    """Return the line for *event*."""
    match event:
        case MemberChanged():
            return _describe_member(event)
        case RecordChanged():
            return _describe_record(event)
        case IsolationChanged(isolated=True):
            return "warning", "isolated: nobody answers, keeping the catalog as it is", {"silent_s": event.silent_s}
        case IsolationChanged():
            return "info", "no longer isolated", {}
        case CutShown():
            fields = {"members": len(event.members), "first": event.members[0], "held_s": event.held_s}
            return "info", "failures shown in answers", fields
        case GuardChanged():
            return _describe_guard(event)
        case NameConflict():
            fields = {"address": event.address, "epoch": event.incarnation.epoch}
            return "error", "another live node has our name, rename one of them", fields
        case DatagramsBlocked():
            fields = {"member": event.member, "address": event.address}
            return "warning", "member answers over TCP but not over UDP", fields
        case Overslept():
            return "warning", "timers fired late, accusing nobody for it", {"by_s": event.by_s}
        case EpochRaised():
            return "warning", "our former self outranked us, epoch raised", {"epoch": event.epoch}
        case SyncFinished():
            return _describe_sync(event)
        case RegistrationsChanged():
            return "debug", "kept registrations changed", {}
        case RegistrationLost():
            return "info", "instance lost", {"id": event.id, "why": event.why}
        case CheckChanged():
            level = "warning" if event.after > event.before else "info"
            fields = {"id": event.id, "check": event.check, "before": event.before.name.lower()}
            return level, f"check is {event.after.name.lower()}", fields | {"output": event.output[:OUTPUT_SHOWN]}
        case LeaveFinished(heard=True):
            return "info", "left the cluster", {}
        case LeaveFinished():
            return "info", "left, nobody or not everybody heard", {}
        case _:
            assert_never(event)


def _describe_member(event: MemberChanged) -> Line:
    fields: dict[str, Any] = {"member": event.member, "address": event.address}
    if event.after is None:
        return "info", "member forgotten", fields
    if event.after is Status.ALIVE:
        level, sentence = "info", _MEMBER_ALIVE_AFTER[event.before]
        if event.before is Status.ALIVE:
            level = "debug"
    else:
        level, sentence = _MEMBER[event.after]
        if event.before is event.after:
            level = "debug"
    if event.accuser != event.member:
        fields["accuser"] = event.accuser
    fields |= {"source": event.source, "how": event.how}
    fields |= {"epoch": event.incarnation.epoch, "counter": event.incarnation.counter}
    return level, sentence, fields


def _describe_record(event: RecordChanged) -> Line:
    fields: dict[str, Any] = {"owner": event.owner, "key": event.key, "seq": event.version.seq}
    fields |= {"source": event.source, "how": event.how}
    shown = event.after or event.before
    if shown is not None and isinstance(shown.content, Service):
        fields["service"] = shown.content.name
    sentence = "record changed"
    if event.before is None:
        sentence = "record added"
    elif event.after is None:
        sentence = "record removed"
    return "debug", sentence, fields


def _describe_guard(event: GuardChanged) -> Line:
    fields: dict[str, Any] = {"service": event.service, "cause": event.cause, "kept": event.kept}
    fields |= {"ready": event.ready, "nodes": len(event.nodes)}
    if event.cause in ("last", "share"):
        return "warning", "service degraded: silence alone would make it collapse, keeping what was known", fields
    if event.kept:
        return "info", "some instances are kept no longer", fields
    return "info", "service no longer degraded", fields


def _describe_sync(event: SyncFinished) -> Line:
    fields: dict[str, Any] = {"address": event.address, "peer": event.peer, "opened_by_us": event.opened_by_us}
    if event.error is not None:
        return "debug", "sync failed", fields | {"error": event.error}
    fields |= {"items_received": event.items_received, "items_sent": event.items_sent}
    fields |= {"bytes_received": event.bytes_received, "bytes_sent": event.bytes_sent}
    return "debug", "sync finished", fields
