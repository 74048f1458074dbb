"""Every mistake in a request, method by method and parameter by parameter: refused by its name, and nothing has changed."""

import json

import pytest

from gossipd.api.methods import METHODS
from gossipd.limits import LABEL_VALUE_BYTES_MAX
from tests.fakes_api import FakeCommands, FakeView, a_conversation, said

GOOD: dict[str, dict[str, object]] = {
    "resolve": {"service": "web"},
    "wait": {"service": "web"},
    "register": {"name": "api", "port": 80},
    "deregister": {"id": "web"},
    "heartbeat": {"id": "web"},
    "check_update": {"id": "web", "status": "passing"},
    "maintenance": {"enable": True},
    "progress": {"id": "web", "remaining": 1},
    "undamp": {"id": "web"},
    "unwatch": {"id": 1},
    "join": {"targets": ["h"]},
    "why": {"subject": "ann"},
}
"""What each method needs; the rest need nothing."""

NO_TEXT: list[object] = [5, None, True, ["a"], {}]
TOO_LONG = "x" * 2_000
NO_LABEL: list[object] = [*NO_TEXT, "", "No.Label", "-a", "a" * 64]
NO_ID: list[object] = [*NO_TEXT, "", TOO_LONG]
NO_INTEGER: list[object] = ["1", 1.0, True, None, -1, 10**9]
NO_FLAG: list[object] = [0, 1, "true", None]
NO_SECONDS: list[object] = [-1, "soon", True, None, 1e12, "-1s"]
NO_TAGS: list[object] = ["a", [""], [1], ["a", "a"], ["a"] * 65, None, {}]
NO_METADATA: list[object] = ["a", [], {"a": 1}, {"": "x"}, {"a": "x" * (LABEL_VALUE_BYTES_MAX + 1)}]
NO_METADATA.append({f"k{number}": "" for number in range(65)})
NO_REASON: list[object] = [*NO_TEXT, "x" * 257, "two\nlines"]
NO_CHECKS: list[object] = [
    "tcp",
    None,
    [5],
    [{}],
    ["pop3:110"],
    [{"tcp": 0}],
    [{"tcp": True, "http": "/"}],
    [{"http": "/", "interval": -1}],
    [{"http": "/", "interval": "5s", "timeout": "6s"}],
    [{"http": "/", "intervall": 5}],
    [{"ttl": 0}],
    [{"tcp": True, "gate": "nothing"}],
    [{"tcp": True, "id": "a"}, {"tcp": True, "id": "a"}],
    ["tcp"] * 17,
]

FILTERS: dict[str, list[object]] = {
    "service": NO_LABEL,
    "tags": NO_TAGS,
    "metadata": NO_METADATA,
    "zone": NO_ID,
    "node": NO_LABEL,
    "max_age": NO_SECONDS,
    "min_members": [*NO_INTEGER, 0],
}

WRONG: dict[str, dict[str, list[object]]] = {
    "resolve": {
        **FILTERS,
        "status": ["ready", [], ["up"], ["passing", "passing"], None, {}],
        "near": NO_FLAG,
        "limit": [*NO_INTEGER, 0],
    },
    "wait": {**FILTERS, "ready": [*NO_INTEGER, 0], "timeout": [*NO_SECONDS, 3_601]},
    "register": {
        "name": NO_LABEL,
        "id": [*NO_ID, "a\0b"],
        "port": [*NO_INTEGER, 0, 65_536],
        "address": [*NO_TEXT, "", "no host", "1.2.3.4:80"],
        "protocol": [*NO_TEXT, "", "T P"],
        "tags": NO_TAGS,
        "metadata": NO_METADATA,
        "weight": [*NO_INTEGER, 65_536],
        "checks": NO_CHECKS,
        "lease": [0, -1, False, None, "soon", 86_401],
        "pid": [0, -1, False, None, "1", 2**23],
        "kept": NO_FLAG,
    },
    "deregister": {"id": NO_ID},
    "heartbeat": {"id": NO_ID},
    "check_update": {
        "id": NO_ID,
        "check": NO_ID,
        "status": [*NO_TEXT, "", "pass", "ok"],
        "output": [*NO_TEXT, "x" * 65_537],
    },
    "drain": {"id": NO_ID, "reason": NO_REASON, "deadline": [*NO_SECONDS, 31 * 86_400]},
    "undrain": {"id": NO_ID},
    "maintenance": {"id": NO_ID, "enable": NO_FLAG, "reason": NO_REASON},
    "progress": {"id": NO_ID, "remaining": ["1", 1.0, True, None, -1, 2**53]},
    "undamp": {"id": NO_ID},
    "checks": {"id": NO_ID},
    "watch": {
        "service": NO_LABEL,
        "services": [*NO_FLAG, False],
        "members": NO_FLAG,
        "since": ["1", 1.0, True, None, -1, 2**53],
    },
    "unwatch": {"id": [None, True, 1.5, [], {}]},
    "join": {"targets": ["h", [], [""], [1], ["h", "h"], ["h"] * 257, None]},
    "why": {"subject": NO_ID},
}
"""By method and parameter, values that are all wrong."""

CASES = [
    (method, name, value)
    for method, parameters in WRONG.items()
    for name, values in parameters.items()
    for value in values
]


class Scene:
    """A node that publishes web and is watched, and a way to see that nothing has changed."""

    def __init__(self) -> None:
        self.commands = FakeCommands(FakeView())
        self.conversation = a_conversation(self.commands)
        for method, params in [("register", {"name": "web", "port": 80}), ("watch", {"service": "web"})]:
            said(self.conversation, json.dumps({"id": 1, "method": method, "params": params}))
        self.before = self.state()

    def state(self) -> list[object]:
        commands, view = self.commands, self.commands.view
        assert view is not None
        held = [dict(commands.registered), dict(commands.checks), list(commands.asked), list(commands.joined)]
        return [*held, commands.left, view.index, dict(view.rows), self.conversation.watches]

    def refusal(self, method: str, params: dict[str, object]) -> str:
        """Ask; return the message of the refusal, after which everything is as it was."""
        [answer] = said(self.conversation, json.dumps({"id": 2, "method": method, "params": params}))
        assert answer.keys() == {"id", "error"}, answer
        error = answer["error"]
        assert isinstance(error, dict)
        assert error["code"] == "bad_request"
        assert self.state() == self.before
        return str(error["message"])


def as_shown(value: object) -> str:
    """How an error repeats *value*, or begins to; what is inside a list or map is repeated as a part of its own."""
    if isinstance(value, str):
        return ascii(value[:20])[:-1]
    return (
        {None: "=null", True: "=true", False: "=false"}[value]
        if value is None or value is True or value is False
        else (f"={value}" if isinstance(value, int | float) else "")
    )


@pytest.mark.parametrize(("method", "name", "value"), CASES, ids=lambda value: ascii(value)[:30])
def test_a_wrong_value_is_refused_with_its_name_itself_and_what_was_expected(
    method: str, name: str, value: object
) -> None:
    message = Scene().refusal(method, {**GOOD.get(method, {}), name: value})
    assert f"params.{name}" in message
    assert as_shown(value) in message.replace("=None", "=null").replace("=True", "=true").replace("=False", "=false")
    assert "expected" in message
    assert len(message) < 600


@pytest.mark.parametrize("method", sorted(METHODS))
def test_an_unknown_parameter_is_refused_and_so_is_one_that_is_missing(method: str) -> None:
    scene, good = Scene(), GOOD.get(method, {})
    assert f"params has 'bogus', which {method} does not take: expected" in scene.refusal(method, {**good, "bogus": 1})
    for name in good:
        without = {key: value for key, value in good.items() if key != name}
        assert scene.refusal(method, without) == f"params.{name} is missing"


def test_two_holders_and_other_contradictions_are_refused() -> None:
    scene, web = Scene(), GOOD["register"]
    assert "params has lease and pid, expected one" in scene.refusal("register", {**web, "lease": True, "pid": True})
    assert "params has pid and kept, expected one" in scene.refusal("register", {**web, "kept": True, "pid": 1})
    assert "params.services=true, expected" in scene.refusal("watch", {"service": "web", "services": True})
    assert "params.reason='x', expected nothing" in scene.refusal("maintenance", {"enable": False, "reason": "x"})


def test_every_parameter_of_every_method_is_in_the_table() -> None:
    assert {method: sorted(names) for method, (names, _) in METHODS.items() if names} == {
        method: sorted(parameters) for method, parameters in WRONG.items()
    }
