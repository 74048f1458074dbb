"""Every event has a sentence of its own; frequent ones are for debugging only."""

from dataclasses import replace

import pytest

from gossipd.core.events import (
    TO_OURSELVES,
    DatagramsBlocked,
    EpochRaised,
    Event,
    IsolationChanged,
    LeaveFinished,
    MemberChanged,
    NameConflict,
    Overslept,
    RecordChanged,
    RegistrationsChanged,
    SyncFinished,
)
from gossipd.ids import Address, Incarnation, NodeId, Version
from gossipd.records import Status
from gossipd.shell.eventlog import EventLog, describe
from tests.shell.fakes import ReadableLog

ANN, BOB, CAT = NodeId("ann"), NodeId("bob"), NodeId("cat")
HOME = Address("127.0.0.1", 7950)
FIRST = Incarnation(5, 0)

JOINED = MemberChanged(
    member=BOB,
    before=None,
    after=Status.ALIVE,
    incarnation=FIRST,
    address=HOME,
    accuser=BOB,
    source=CAT,
    how="gossip",
)
RECORD = RecordChanged(
    owner=BOB,
    key="service/web-1",
    before=None,
    after=None,
    version=Version(5, 1),
    source=BOB,
    how="gossip",
)


@pytest.mark.parametrize(
    ("event", "level", "sentence"),
    [
        (JOINED, "info", "member joined"),
        (replace(JOINED, before=Status.ALIVE), "debug", "member updated"),
        (replace(JOINED, before=Status.SUSPECT), "info", "member refuted suspicion"),
        (replace(JOINED, before=Status.DEAD), "info", "member returned"),
        (replace(JOINED, before=Status.LEFT), "info", "member joined again"),
        (replace(JOINED, after=Status.SUSPECT), "info", "member suspected"),
        (replace(JOINED, after=Status.DEAD), "warning", "member failed"),
        (replace(JOINED, after=Status.LEFT), "info", "member left"),
        (replace(JOINED, after=None), "info", "member forgotten"),
        (RECORD, "debug", "record added"),
        (IsolationChanged(isolated=True, silent_s=5.0), "warning", "isolated: nobody answers"),
        (IsolationChanged(isolated=False, silent_s=0.0), "info", "no longer isolated"),
        (NameConflict(address=HOME, incarnation=FIRST), "error", "another live node has our name"),
        (DatagramsBlocked(member=BOB, address=HOME), "warning", "member answers over TCP but not over UDP"),
        (Overslept(by_s=2.0), "warning", "timers fired late"),
        (EpochRaised(epoch=7), "warning", "our former self outranked us"),
        (SyncFinished(stream=1, address=HOME, peer=BOB, opened_by_us=True), "debug", "sync finished"),
        (SyncFinished(stream=1, address=HOME, peer=None, opened_by_us=True, error="x"), "debug", "sync failed"),
        (RegistrationsChanged(), "debug", "kept registrations changed"),
        (LeaveFinished(), "info", "left the cluster"),
        (LeaveFinished(heard=False), "info", "left, nobody or not everybody heard"),
    ],
)
def test_an_event_has_its_level_and_sentence(event: Event, level: str, sentence: str, readable: ReadableLog) -> None:
    found = describe(event)
    assert found[0] == level
    assert found[1].startswith(sentence)
    EventLog(readable.log).hear([event])
    assert sentence in readable.lines()[0]


def test_a_failure_names_the_accuser_and_the_path() -> None:
    failed = replace(JOINED, before=Status.SUSPECT, after=Status.DEAD, accuser=CAT, source=ANN)
    assert describe(failed)[2] == {
        "member": BOB,
        "address": HOME,
        "accuser": CAT,
        "source": ANN,
        "how": "gossip",
        "epoch": 5,
        "counter": 0,
    }


def test_the_catalog_is_logged_for_debugging_only(readable: ReadableLog) -> None:
    readable.log.set_level("info")
    EventLog(readable.log).hear([RECORD, JOINED])
    assert ["member joined" in line for line in readable.lines()] == [True]


@pytest.mark.parametrize(("error", "lines"), [(TO_OURSELVES, 0), ("closed by the peer", 1)])
def test_a_sync_with_ourselves_is_no_warning(error: str, lines: int, readable: ReadableLog) -> None:
    readable.log.set_level("warning")
    failed = SyncFinished(stream=1, address=HOME, peer=None, opened_by_us=True, error=error)
    EventLog(readable.log).hear([failed, failed])
    assert len(readable.lines()) == lines
