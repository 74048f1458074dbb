"""Evidence is kept while it is recent, and within bounds."""

from dataclasses import replace

import pytest

from gossipd.config import LOCAL
from gossipd.core.events import RecordChanged
from gossipd.errors import RequestError
from gossipd.ids import NodeId, Version
from gossipd.limits import JOURNAL_PER_SUBJECT_MAX
from gossipd.node.journal import Journal
from gossipd.node.view import KEPT
from gossipd.records import Health, State
from gossipd.wire.records import make_record
from tests.network import Network, a_service


def changed(id: str, seq: int = 1) -> RecordChanged:
    key = f"service/{id}"
    return RecordChanged(
        owner=NodeId("n1"), key=key, before=None, after=None, version=Version(1, seq), source=NodeId("n1"), how="gossip"
    )


def test_each_subject_keeps_its_last_changes() -> None:
    journal = Journal()
    for seq in range(1, JOURNAL_PER_SUBJECT_MAX + 3):
        journal.record_changed(changed("web", seq), now=float(seq))
    assert [note.at for note in journal.about("n1/web")] == [
        float(3 + number) for number in range(JOURNAL_PER_SUBJECT_MAX)
    ]


def test_instances_that_come_and_go_for_ever_cost_no_more_than_the_limit_and_the_oldest_give_way() -> None:
    journal = Journal(instance_notes_max=5)
    for number in range(4):
        journal.record_changed(changed(f"i{number}"), now=1.0)
        journal.record_changed(changed("steady"), now=1.0)
    assert len(journal) == 5
    assert [len(journal.about(f"n1/{id}")) for id in ("steady", "i3", "i2")] == [4, 1, 0]


def test_a_note_tells_what_its_owner_says_now_and_said_before_and_the_version() -> None:
    well, ill = (
        make_record(NodeId("n1"), Version(7, seq), 0, "service/web", replace(a_service(), state=State(health=health)))
        for seq, health in ((1, Health.PASSING), (2, Health.CRITICAL))
    )
    journal = Journal()
    for before, after, version in (
        (None, well, Version(7, 1)),
        (well, ill, Version(7, 2)),
        (ill, ill, Version(7, 3)),
        (ill, None, Version(7, 4)),
    ):
        journal.record_changed(replace(changed("web"), before=before, after=after, version=version), now=1.0)
    assert [note.what for note in journal.about("n1/web")] == [
        "published by its owner: passing, version 7.1",
        "changed by its owner: passing -> critical, version 7.2",
        "changed by its owner: critical, version 7.3",
        "withdrawn by its owner, version 7.4",
    ]


def test_notes_that_say_the_same_of_many_instances_have_it_in_memory_once() -> None:
    journal = Journal()
    for number in range(2):
        journal.record_changed(changed(f"i{number}", number + 1), now=1.0)
    first, second = (journal.about(f"n1/i{number}")[0] for number in range(2))
    assert first.what != second.what
    assert first.said is second.said


def test_a_forgotten_member_leaves_no_evidence_about_itself() -> None:
    net = Network(config=replace(LOCAL, sync=replace(LOCAL.sync, forget_after_s=30.0)))
    one, other = net.cluster(2)
    net.do(other, other.register(a_service(), holder=KEPT, now=net.now)[1])
    net.run(1)
    net.crash(other)
    net.run(90.0)
    assert one._m.journal.about("n1") == []
    assert [note.what.split()[0] for note in one._m.journal.about("n1/web")] == ["published", "withdrawn"]


def test_why_tells_what_became_of_an_instance_that_is_gone() -> None:
    net = Network(config=LOCAL)
    one, other = net.cluster(2)
    net.do(other, other.register(a_service(), holder=KEPT, now=net.now)[1])
    net.run(1)
    net.do(other, other.deregister("web", now=net.now))
    net.run(1)
    for subject in ("web", "n1/web"):
        evidence = one.view.why(subject, now=net.now)
        assert evidence.belief == "n1/web is in the catalog no more"
        assert any(row.what.startswith("withdrawn by its owner") for row in evidence.history)
    with pytest.raises(RequestError, match="subject='n2/web'"):
        one.view.why("n2/web", now=net.now)
