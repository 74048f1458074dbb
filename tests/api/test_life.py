"""What is asked about the life of an instance reaches the node as it was meant, under the name of who asked."""

import json

import pytest

from gossipd.api.methods import LEASE_S
from gossipd.check_reading import parse_check
from gossipd.checks import CheckResult
from gossipd.node.view import Holder
from gossipd.records import Health
from tests.fakes_api import FakeCommands, FakeView, a_caller, a_check, a_conversation, asked

ME = a_caller(7, pid=4_711, uid=1_000)


@pytest.mark.parametrize(
    ("params", "holder"),
    [
        ({}, Holder(kind="connection", connection=7, uid=1_000)),
        ({"kept": True}, Holder(kind="kept", uid=1_000)),
        ({"lease": True}, Holder(kind="lease", lease_s=LEASE_S, uid=1_000)),
        ({"lease": 5}, Holder(kind="lease", lease_s=5.0, uid=1_000)),
        ({"pid": True}, Holder(kind="pid", pid=4_711, uid=1_000)),
        ({"pid": 1}, Holder(kind="pid", pid=1, uid=1_000)),
    ],
)
def test_a_registration_is_held_as_asked_by_the_user_whom_the_kernel_names(
    params: dict[str, object], holder: Holder
) -> None:
    commands = FakeCommands(FakeView())
    result = asked(a_conversation(commands, caller=ME), "register", name="web", port=80, **params)
    assert result["registration"]["holder"] == holder.kind  # type: ignore[index]
    assert commands.registered["web"][1] == holder


def test_a_process_that_the_daemon_cannot_see_cannot_hold_by_its_pid() -> None:
    commands = FakeCommands(FakeView())
    stranger = a_conversation(commands, caller=a_caller(pid=0))
    error = asked(stranger, "register", name="web", port=80, pid=True)
    assert error["code"] == "bad_request"
    assert "params.pid=true" in str(error["message"])
    assert commands.registered == {}


def test_checks_are_registered_with_the_instance() -> None:
    commands = FakeCommands(FakeView())
    asked(a_conversation(commands), "register", name="web", port=80, checks=["http:/health@5s", {"ttl": "30s"}])
    assert commands.checks["web"] == (parse_check("http:/health@5s"), parse_check("ttl:30s"))


@pytest.mark.parametrize(
    ("method", "params", "command"),
    [
        ("heartbeat", {"id": "web"}, ("renew", "web")),
        (
            "check_update",
            {"id": "web", "check": "ttl", "status": "warning", "output": "slow"},
            ("report", "web", "ttl", CheckResult(health=Health.WARNING, output="slow")),
        ),
        ("drain", {"id": "web", "reason": "new", "deadline": 60}, ("drain", "web", "new", 60.0)),
        ("drain", {}, ("drain", None, "", None)),
        ("undrain", {}, ("undrain", None)),
        ("maintenance", {"enable": True, "reason": "disk"}, ("maintain", None, "disk")),
        ("maintenance", {"id": "web", "enable": False}, ("maintain", "web", None)),
        ("progress", {"id": "web", "remaining": 3}, ("progress", "web", 3)),
        ("undamp", {"id": "web"}, ("undamp", "web")),
    ],
)
def test_a_command_reaches_the_node(method: str, params: dict[str, object], command: tuple[object, ...]) -> None:
    commands = FakeCommands(FakeView())
    conversation = a_conversation(commands)
    asked(conversation, "register", name="web", port=80)
    assert "code" not in asked(conversation, method, **params)
    assert commands.asked == [command]


@pytest.mark.parametrize("method", ["heartbeat", "drain", "undrain", "undamp", "checks"])
def test_an_instance_that_is_not_of_this_node_is_not_found(method: str) -> None:
    assert asked(a_conversation(FakeCommands(FakeView())), method, id="absent")["code"] == "not_found"


def test_a_drain_answers_how_far_it_has_come() -> None:
    conversation = a_conversation(FakeCommands(FakeView()))
    asked(conversation, "register", name="web", port=80)
    drain = {"since_s": 0.0, "deadline_left_s": 60.0, "heard": False, "remaining": None, "done": False}
    assert asked(conversation, "drain", id="web", deadline=60) == {"drain": drain}
    assert asked(conversation, "progress", id="web", remaining=0)["drain"]["done"] is True  # type: ignore[index]


def test_registrations_and_checks_are_listed_with_the_state_of_the_node() -> None:
    commands = FakeCommands(FakeView())
    assert commands.view is not None
    commands.view.checked = [a_check("web"), a_check("db")]
    conversation = a_conversation(commands)
    for name in ("web", "db"):
        asked(conversation, "register", name=name, port=80)
    result = asked(conversation, "registrations")
    assert [row["id"] for row in result["registrations"]] == ["web", "db"]  # type: ignore[attr-defined]
    assert result["node"] == {"mode": "normal", "reason": None, "drain": None}
    assert "view" in result
    assert [row["instance"] for row in asked(conversation, "checks")["checks"]] == ["web", "db"]  # type: ignore[attr-defined]
    assert json.dumps(asked(conversation, "checks", id="db")["checks"]).count('"db"') == 1
