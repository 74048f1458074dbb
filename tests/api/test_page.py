"""The reference page is true: its transcript is accepted and answered as printed, its results have the real fields."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gossipd.api.conversation import Conversation
from gossipd.api.dispatch import Answers, Counters
from gossipd.api.methods import METHODS, parse_request
from gossipd.api.requests import Wait
from gossipd.api.waiting import timed_out
from gossipd.api.watches import Watches
from gossipd.checks import Check
from gossipd.node.view import Holder, RegistrationRow
from gossipd.records import Service
from tests.fakes_api import FakeCommands, FakeView, a_caller, a_check, an_instance, asked, said

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "local-api.md").read_text(encoding="utf-8")
EXAMPLES: dict[str, dict[str, object]] = {
    "resolve": {"service": "web"},
    "register": {"name": "web", "port": 8080},
    "deregister": {"id": "web"},
    "heartbeat": {"id": "web"},
    "check_update": {"id": "web", "status": "passing"},
    "drain": {"id": "web", "reason": "new version", "deadline": 60},
    "undrain": {"id": "web"},
    "maintenance": {"id": "web", "enable": True},
    "progress": {"id": "web", "remaining": 3},
    "undamp": {"id": "web"},
    "checks": {"id": "web"},
    "why": {"subject": "ann"},
}


def blocks(kind: str) -> list[tuple[str, str]]:
    """The fenced blocks whose info string begins with *kind*: what follows it, and the text."""
    found = re.findall(rf"^```{kind} ?(\w*)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert found, f"the page has no {kind} block"
    return found


def shape(value: object) -> object:
    """*value* without its values: what must not differ between the page and the daemon."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value).__name__ if value is not None else "null"


class Commands(FakeCommands):
    """A node that publishes exactly what is registered, and says so to the watches."""

    publish: Callable[..., None]

    def register(
        self, service: Service, *, holder: Holder, checks: Sequence[Check] = (), now: float
    ) -> RegistrationRow:
        row = super().register(service, holder=holder, checks=checks, now=now)
        assert self.view is not None
        instance = an_instance(service.name, id=service.id, port=service.port)
        tags, metadata = list(service.tags), dict(service.metadata)
        self.publish([self.view.put(replace(instance, tags=tags, metadata=metadata, age_s=0.0))])
        return row


def a_conversation() -> Conversation:
    view = FakeView()
    view.checked = [a_check()]
    commands = Commands(view)
    counters = Counters()
    answers = Answers(view=view, commands=commands, statistics=dict)
    watches = Watches(view=view, answers=answers, counters=counters)

    def publish(events: object) -> None:
        watches.note(events)  # type: ignore[arg-type]
        watches.flush(now=1.0)

    commands.publish = publish
    return Conversation(a_caller(), answers=answers, watches=watches, counters=counters, on_output=lambda: None)


def test_the_transcript_is_answered_as_printed() -> None:
    conversation = a_conversation()
    [(_, transcript)] = blocks("transcript")
    expected: list[dict[str, object]] = []
    answered: list[dict[str, object]] = []
    for line in transcript.splitlines():
        mark, _, message = line.partition(" ")
        if mark == ">":
            assert [shape(answer) for answer in answered] == [shape(answer) for answer in expected]
            answered, expected = said(conversation, message), []
        else:
            assert mark == "<"
            expected.append(json.loads(message))
            if "error" in expected[-1]:
                assert answered[len(expected) - 1] == expected[-1]
    assert [shape(answer) for answer in answered] == [shape(answer) for answer in expected]


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"watch", "unwatch", "wait", "join", "leave", "statistics"}))
def test_a_result_has_the_fields_of_its_example(method: str) -> None:
    conversation = a_conversation()
    registered = {"name": "web", "port": 1, "tags": ["v1"], "metadata": {"owner": "kim"}}
    said(conversation, json.dumps({"method": "register", "params": registered}))
    [answer] = said(conversation, json.dumps({"id": 1, "method": method, "params": EXAMPLES.get(method, {})}))
    assert shape(answer["result"]) == shape(json.loads(dict(blocks("result"))[method]))


def test_the_statistics_have_the_fields_of_their_example() -> None:
    [answer] = said(a_conversation(), '{"id":1,"method":"statistics"}')
    example = json.loads(dict(blocks("result"))["statistics"])
    assert example["statistics"].pop("api").keys() == set(Counters.__dataclass_fields__)
    assert example["statistics"].pop("shell")  # its fields are compared in tests/test_daemon.py
    result = answer["result"]
    assert isinstance(result, dict)
    result["statistics"].pop("api")
    assert result["statistics"].pop("shell") == {}
    assert shape(result) == shape(example)


def test_errors_are_answered_as_printed() -> None:
    examples = dict(blocks("error"))
    conversation = a_conversation()
    wait = parse_request("wait", {"service": "web", "timeout": 0})
    assert isinstance(wait, Wait)
    timeout = timed_out(FakeView(), wait, None, now=1.0)
    assert {"code": "timeout", "message": str(timeout), **timeout.details} == json.loads(examples["timeout"])
    asked(conversation, "register", name="web", port=1)
    stale = asked(conversation, "resolve", service="web", max_age=0.1)
    assert stale["code"] == "stale"
    assert shape(stale) == shape(json.loads(examples["stale"]))


def test_every_method_and_every_parameter_is_on_the_page_and_no_other() -> None:
    sections = dict(
        re.findall(r"^### (\w+)\n(.*?)(?=^### |\Z)", PAGE.partition("## Methods")[2], re.MULTILINE | re.DOTALL)
    )
    assert sections.keys() == METHODS.keys()
    for method, (names, _) in METHODS.items():
        table = re.findall(r"^\| `(\w+)` \|[^|]+\|[^|]*\|[^|]*\|$", sections[method], re.MULTILINE)
        assert sorted(table) == sorted(names), method


def test_the_example_requests_are_accepted() -> None:
    for method, params in EXAMPLES.items():
        parse_request(method, params)
