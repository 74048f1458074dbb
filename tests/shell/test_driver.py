"""The driver performs in order, wakes at deadlines only, and lets the late be heard before anyone is accused."""

import math

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from gossipd.checks import Check, CheckResult, Tcp
from gossipd.config import LAN
from gossipd.core.events import Event, LeaveFinished, Overslept, SyncFinished
from gossipd.errors import RequestError
from gossipd.ids import Address
from gossipd.node.actions import (
    CancelCheck,
    CloseStream,
    OpenStream,
    Publish,
    RunCheck,
    SendDatagram,
    SendStream,
    UnwatchPid,
    WatchPid,
)
from gossipd.node.view import KEPT
from gossipd.records import Health, Service
from gossipd.shell.driver import Driver
from gossipd.shell.watchdog import Watchdog
from tests.shell.fakes import FakeNode, FakePorts, ReadableLog

pytestmark = pytest.mark.trio

BOB = Address("127.0.0.1", 7950)
CAT = Address("127.0.0.2", 7950)
WEB = Service(name="web", id="web-1", port=80)
CHECK = Check(id="up", target=Tcp())


def a_driver(node: FakeNode, ports: FakePorts) -> Driver:
    return Driver(node, datagrams=ports, streams=ports, checks=ports, pids=ports)


async def test_actions_are_performed_in_order() -> None:
    node, ports = FakeNode(), FakePorts()
    node.replies["receive_datagram"] = [
        SendDatagram(data=b"a", targets=(BOB, CAT)),
        OpenStream(stream=3, target=CAT, timeout_s=2.0),
        SendStream(stream=3, data=b"b"),
        CloseStream(stream=3),
        RunCheck(run=1, check=CHECK, service=WEB, host="127.0.0.1"),
        CancelCheck(run=1),
        WatchPid(pid=7),
        UnwatchPid(pid=7),
    ]
    a_driver(node, ports).receive_datagram(b"x", BOB)
    assert node.calls == [("receive_datagram", b"x", BOB)]
    assert ports.calls == [
        ("send", b"a", BOB),
        ("send", b"a", CAT),
        ("open", 3, CAT, 2.0),
        ("send", 3, b"b"),
        ("close", 3),
        ("run", 1, CHECK, WEB, "127.0.0.1"),
        ("cancel", 1),
        ("watch", 7),
        ("unwatch", 7),
    ]


async def test_what_a_check_brings_and_the_end_of_a_process_reach_the_node() -> None:
    node = FakeNode()
    driver = a_driver(node, FakePorts())
    driver.check_finished(1, CheckResult(health=Health.PASSING))
    driver.pid_exited(7)
    assert node.calls == [("check_finished", 1, CheckResult(health=Health.PASSING)), ("pid_exited", 7)]


async def test_events_that_follow_each_other_are_published_together_and_after_what_came_before() -> None:
    node, ports = FakeNode(), FakePorts()
    events: list[tuple[int, list[Event]]] = []
    first, second = Overslept(by_s=1.0), LeaveFinished()
    node.replies["leave"] = [SendDatagram(data=b"a", targets=(BOB,)), Publish(event=first), Publish(event=second)]
    driver = a_driver(node, ports)
    driver.subscribe(lambda heard: events.append((len(ports.calls), list(heard))))
    driver.leave()
    assert events == [(1, [first, second])]


async def test_a_subscriber_may_call_the_driver_and_its_actions_come_after_those_under_way() -> None:
    node, ports = FakeNode(), FakePorts()
    node.replies["leave"] = [Publish(event=Overslept(by_s=1.0)), SendDatagram(data=b"first", targets=(BOB,))]
    node.replies["set_labels"] = [SendDatagram(data=b"second", targets=(BOB,))]
    driver = a_driver(node, ports)
    driver.subscribe(lambda _: driver.set_labels([]))
    driver.leave()
    assert ports.calls == [("send", b"first", BOB), ("send", b"second", BOB)]


async def test_a_sync_that_ends_at_once_is_still_reported_and_only_once() -> None:
    node, ports = FakeNode(), FakePorts()
    ended = SyncFinished(stream=9, address=BOB, peer=None, opened_by_us=True, error="refused")
    node.replies["sync_with"] = [Publish(event=ended), Publish(event=ended)]
    heard: list[SyncFinished] = []
    assert a_driver(node, ports).sync_with(BOB, heard.append) == 9
    assert heard == [ended]


async def test_a_forgotten_sync_is_reported_to_nobody() -> None:
    node, ports = FakeNode(), FakePorts()
    heard: list[SyncFinished] = []
    driver = a_driver(node, ports)
    driver.forget_sync(driver.sync_with(BOB, heard.append))
    node.replies["leave"] = [Publish(event=SyncFinished(stream=9, address=BOB, peer=None, opened_by_us=True))]
    driver.leave()
    assert heard == []


async def test_a_refused_command_reaches_the_caller() -> None:
    driver = a_driver(FakeNode(), FakePorts())
    assert driver.ask(lambda node, now: node.register(WEB, holder=KEPT, now=now)).holder == "kept"
    with pytest.raises(RequestError):
        driver.tell(lambda node, now: node.deregister("web-2", now=now))


async def test_the_timer_wakes_at_each_deadline_and_at_no_other_time(autojump_clock: MockClock) -> None:
    started_at = autojump_clock.current_time()
    node = FakeNode(deadline=started_at + 1, moves_by=1.0)
    driver = a_driver(node, FakePorts())
    with trio.move_on_after(1000.5):
        await driver.run()
    assert len(node.named("handle_timer")) == 1000
    assert driver.wakes == 1000
    assert node.calls[0] == ("handle_timer", pytest.approx(started_at + 1))


async def test_an_idle_node_is_never_woken(autojump_clock: MockClock) -> None:
    node = FakeNode()
    driver = a_driver(node, FakePorts())
    with trio.move_on_at(autojump_clock.current_time() + 10_000):
        await driver.run()
    assert (driver.wakes, node.calls) == (0, [])


async def test_an_earlier_deadline_is_met(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    node = FakeNode()
    driver = a_driver(node, FakePorts())
    nursery.start_soon(driver.run)
    await wait_all_tasks_blocked()
    node.deadline = wanted = autojump_clock.current_time() + 5
    driver.receive_datagram(b"", BOB)
    await trio.sleep(6)
    assert node.named("handle_timer") == [("handle_timer", pytest.approx(wanted))]
    assert driver.wakes == 2


async def test_a_later_deadline_costs_no_wake_up_until_the_former_one(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    node = FakeNode(deadline=autojump_clock.current_time() + 5)
    driver = a_driver(node, FakePorts())
    nursery.start_soon(driver.run)
    await wait_all_tasks_blocked()
    node.deadline += 2
    for _ in range(100):
        driver.receive_datagram(b"", BOB)
        await wait_all_tasks_blocked()
    assert driver.wakes == 0
    await trio.sleep(6)
    assert (driver.wakes, node.named("handle_timer")) == (1, [])
    await trio.sleep(2)
    assert (driver.wakes, len(node.named("handle_timer"))) == (2, 1)


async def test_many_earlier_deadlines_wake_the_timer_once(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    node = FakeNode()
    driver = a_driver(node, FakePorts())
    nursery.start_soon(driver.run)
    await wait_all_tasks_blocked()
    for sooner in range(100):
        node.deadline = autojump_clock.current_time() + 200 - sooner
        driver.receive_datagram(b"", BOB)
    await wait_all_tasks_blocked()
    assert driver.wakes == 1


async def test_when_late_the_sockets_are_read_and_the_node_is_told_before_its_timer_fires(
    mock_clock: MockClock, nursery: trio.Nursery, readable: ReadableLog
) -> None:
    node, ports = FakeNode(deadline=trio.current_time() + 1), FakePorts()
    driver = a_driver(node, ports)
    watchdog = Watchdog(node, LAN.probe, log=readable.log)
    watchdog.attach(driver)
    nursery.start_soon(driver.run)
    await wait_all_tasks_blocked()
    mock_clock.jump(1.225)
    await wait_all_tasks_blocked()
    assert [call[0] for call in node.calls] == ["note_lag", "handle_timer"]
    assert ports.drains == 1
    assert watchdog.worst_s == pytest.approx(0.225)
    assert "this process runs late late_s=0.225" in readable.lines()[0]
    assert node.deadline == math.inf


async def test_the_watchdog_leaves_to_the_node_what_it_sees_itself(
    mock_clock: MockClock, nursery: trio.Nursery, readable: ReadableLog
) -> None:
    node, ports = FakeNode(deadline=trio.current_time() + 1), FakePorts()
    driver = a_driver(node, ports)
    watchdog = Watchdog(node, LAN.probe, log=readable.log)
    watchdog.attach(driver)
    nursery.start_soon(driver.run)
    await wait_all_tasks_blocked()
    mock_clock.jump(3)
    await wait_all_tasks_blocked()
    assert [call[0] for call in node.calls] == ["handle_timer"]
    assert ports.drains == 1
    assert watchdog.worst_s == pytest.approx(2)


async def test_what_an_input_makes_due_at_once_is_not_late(
    mock_clock: MockClock, nursery: trio.Nursery, readable: ReadableLog
) -> None:
    """Once somebody has died, the search for the dead is due, and has been for as long as nobody was dead."""
    node, ports = FakeNode(deadline=trio.current_time() + 100), FakePorts()
    driver = a_driver(node, ports)
    watchdog = Watchdog(node, LAN.probe, log=readable.log)
    watchdog.attach(driver)
    nursery.start_soon(driver.run)
    await wait_all_tasks_blocked()
    mock_clock.jump(10)
    node.deadline = trio.current_time() - 0.225
    driver.receive_datagram(b"", BOB)
    await wait_all_tasks_blocked()
    assert [call[0] for call in node.calls] == ["receive_datagram", "handle_timer"]
    assert (ports.drains, watchdog.worst_s, readable.lines()) == (0, 0.0, [])


async def test_who_overslept_is_late_whatever_came_first(mock_clock: MockClock, nursery: trio.Nursery) -> None:
    node, ports = FakeNode(deadline=trio.current_time() + 1), FakePorts()
    driver = a_driver(node, ports)
    lateness: list[float] = []
    driver.listen_for_lateness(lambda late_s, **_: lateness.append(late_s))
    nursery.start_soon(driver.run)
    await wait_all_tasks_blocked()
    mock_clock.jump(3)
    node.deadline -= 0.5
    driver.receive_datagram(b"", BOB)
    await wait_all_tasks_blocked()
    assert lateness == [pytest.approx(2)]
    assert ports.drains == 1


async def test_a_little_late_is_nobodys_business(
    mock_clock: MockClock, nursery: trio.Nursery, readable: ReadableLog
) -> None:
    node, ports = FakeNode(deadline=trio.current_time() + 1), FakePorts()
    driver = a_driver(node, ports)
    Watchdog(node, LAN.probe, log=readable.log).attach(driver)
    nursery.start_soon(driver.run)
    await wait_all_tasks_blocked()
    mock_clock.jump(1.01)
    await wait_all_tasks_blocked()
    assert ([call[0] for call in node.calls], ports.drains, readable.lines()) == (["handle_timer"], 0, [])
