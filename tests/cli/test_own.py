"""The commands about this node's own instances, against a fake daemon: what each asks, what it prints, how it ends."""

import json
from pathlib import Path
from typing import Any

import pytest

from gossipd.cli import exits
from gossipd.errors import RequestError
from tests.cli.builders import NODE, WELL, a_check, a_drain, a_registration
from tests.cli.fakes.server import Answer
from tests.cli.test_commands import ask, run

NOTHING: dict[str, Answer] = {
    method: {} for method in ("heartbeat", "check_update", "undrain", "maintenance", "undamp", "deregister")
}


@pytest.mark.parametrize(
    ("args", "call"),
    [
        (["heartbeat", "web"], ("heartbeat", {"id": "web"})),
        (["check", "web", "pass"], ("check_update", {"id": "web", "status": "passing"})),
        (
            ["check", "web", "fail", "--check", "queue", "--output", "too long"],
            ("check_update", {"id": "web", "check": "queue", "status": "critical", "output": "too long"}),
        ),
        (["check", "web", "warn"], ("check_update", {"id": "web", "status": "warning"})),
        (["undrain", "web"], ("undrain", {"id": "web"})),
        (["undrain", "--node"], ("undrain", {})),
        (
            ["maintenance", "on", "web", "--reason", "new disk"],
            ("maintenance", {"id": "web", "enable": True, "reason": "new disk"}),
        ),
        (["maintenance", "off", "--node"], ("maintenance", {"enable": False})),
        (["undamp", "web"], ("undamp", {"id": "web"})),
        (["deregister", "web"], ("deregister", {"id": "web"})),
    ],
)
def test_a_decision_is_passed_on_and_silent(args: list[str], call: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    result, calls = ask(tmp_path, NOTHING, *args)
    assert (result.exit_code, result.output) == (exits.OK, "")
    assert calls == [call]


@pytest.mark.parametrize("command", [["drain"], ["undrain"], ["maintenance", "on"]])
@pytest.mark.parametrize("subject", [[], ["web", "--node"]])
def test_nobody_means_the_whole_node_by_chance(command: list[str], subject: list[str], tmp_path: Path) -> None:
    result, calls = ask(tmp_path, NOTHING, *command, *subject)
    assert (result.exit_code, calls) == (exits.USAGE, [])
    assert "expected either ID, an instance of this node, or --node" in result.stderr


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ([], {"kept": True}),
        (["--lease", "10s"], {"lease": "10s"}),
        (["--pid", "77"], {"pid": 77}),
        (
            ["--check", "http:/health@5s", "--check", "ttl:30s"],
            {"checks": ["http:/health@5s", "ttl:30s"], "kept": True},
        ),
    ],
)
def test_register_says_who_holds_it_and_how_it_is_checked(
    given: list[str], asked: dict[str, Any], tmp_path: Path
) -> None:
    result, calls = ask(
        tmp_path, {"register": {"registration": a_registration()}}, "register", "web", "--port=80", *given
    )
    assert result.exit_code == exits.OK, result.output
    assert calls == [("register", {"name": "web", "port": 80} | asked)]


def test_an_instance_has_one_holder(tmp_path: Path) -> None:
    result, calls = ask(tmp_path, {}, "register", "web", "--port", "80", "--lease", "5s", "--hold")
    assert (result.exit_code, calls) == (exits.USAGE, [])
    assert "--lease and --hold given, expected at most one" in result.stderr


def test_a_refusal_names_the_field(tmp_path: Path) -> None:
    refusal = RequestError("bad_request", "params.checks[0].interval=-1, expected 0.1 to 86400 seconds")
    result, _ = ask(tmp_path, {"register": refusal}, "register", "web", "--port", "80", "--check", "tcp@0s")
    assert (result.exit_code, result.stderr) == (exits.FAILED, f"gossipd: error: {refusal}\n")


def test_registrations_are_a_table_with_what_was_decided(tmp_path: Path) -> None:
    rows = [
        a_registration("db", service="db", holder="lease", lease_left_s=12.0, checks=1, penalty=1999.6),
        a_registration("web", health="critical", damped=True, mode="normal"),
        a_registration("web-2", mode="maintenance", reason="new disk"),
        a_registration("web-3", mode="draining", drain=a_drain(remaining=3)),
    ]
    node = {"mode": "draining", "reason": "reboot", "drain": a_drain(heard=False)}
    answer: Answer = {"registrations": rows, "node": node, "view": WELL}
    result, _ = ask(tmp_path, {"registrations": answer}, "registrations")
    assert result.stdout.splitlines() == [
        "ID     SERVICE  HELD BY  HEALTH    CHECKS  MODE         PENALTY  LEASE  NOTE",
        "db     db       lease    passing        1  normal          2000    12s  -",
        "web    web      kept     critical       0  damped             0      -  -",
        "web-2  web      kept     passing        0  maintenance        0      -  new disk",
        "web-3  web      kept     passing        0  draining           0      -  draining for 1.0s, 4.0s left, 3 remaining",
        "the node itself: draining: reboot (draining for 1.0s, 4.0s left, not heard by all yet)",
    ]


def test_no_registration_is_said(tmp_path: Path) -> None:
    result, _ = ask(tmp_path, {"registrations": {"registrations": [], "node": NODE, "view": WELL}}, "registrations")
    assert result.stdout == "no instances\n"


def test_checks_are_a_table_with_the_first_line_of_their_output(tmp_path: Path) -> None:
    rows = [
        a_check(),
        a_check(
            "load", kind="script", health="critical", output="too\nmuch", last_run_s=None, next_run_s=None, took_s=None
        ),
    ]
    result, calls = ask(tmp_path, {"checks": {"checks": rows, "view": WELL}}, "checks", "web")
    assert result.stdout.splitlines() == [
        "INSTANCE  CHECK  KIND    HEALTH    SINCE  LAST  NEXT   TOOK  FAILURES  OUTPUT",
        "web       http   http    passing   1m00s  2.5s  7.5s  2.0ms         0  200 OK",
        "web       load   script  critical  1m00s     -     -      -         0  too ...",
    ]
    assert calls == [("checks", {"id": "web"})]
    result, calls = ask(tmp_path, {"checks": {"checks": [], "view": WELL}}, "checks")
    assert (result.stdout, calls) == ("no checks\n", [("checks", {})])


def test_a_drain_says_how_far_it_has_come(tmp_path: Path) -> None:
    answer: Answer = {"drain": a_drain(heard=False)}
    args = ("drain", "web", "--reason", "upgrade", "--deadline", "5s")
    result, calls = ask(tmp_path, {"drain": answer}, *args)
    assert result.stdout == "web: draining for 1.0s, 4.0s left, not heard by all yet\n"
    assert calls == [("drain", {"id": "web", "reason": "upgrade", "deadline": "5s"})]
    result, calls = ask(tmp_path, {"drain": answer}, "drain", "--node", "--json")
    assert (json.loads(result.stdout), calls) == (answer, [("drain", {})])


def test_a_drain_can_be_waited_for(tmp_path: Path) -> None:
    told = {"registrations": [a_registration(mode="draining", drain=a_drain(done=True))], "node": NODE, "view": WELL}
    answers: dict[str, Answer] = {"drain": {"drain": a_drain()}, "registrations": told}
    result, calls = ask(tmp_path, answers, "drain", "web", "--wait", "--deadline", "5s")
    assert (result.exit_code, result.stdout) == (exits.OK, "web: drained\n")
    assert [method for method, _ in calls] == ["drain", "registrations"]


def test_a_drain_that_somebody_ended_is_no_success(tmp_path: Path) -> None:
    answers: dict[str, Answer] = {
        "drain": {"drain": a_drain()},
        "registrations": {"registrations": [], "node": NODE, "view": WELL},
    }
    result, _ = ask(tmp_path, answers, "drain", "web", "--wait", "--deadline", "5s")
    assert result.exit_code == exits.FAILED
    assert result.stderr == "gossipd: error: web does not drain any more: somebody ended it\n"


def test_waiting_without_an_end_is_wrong_usage() -> None:
    result = run("drain", "web", "--wait")
    assert (result.exit_code, "expected --deadline beside it" in result.stderr) == (exits.USAGE, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--name", "Web", "--port", "80"], "name='Web', expected a DNS label"),
        (["--name", "web", "--port", "80", "--check", "tpc"], "checks[0]='tpc', expected one of ttl, tcp"),
        (["--name", "web", "--port", "80", "--check", "http:/@0s"], "checks[0].interval='0s', expected 0.1 to 86400"),
        (["--name", "web", "--port", "0"], "0 is not in the range 1<=x<=65535"),
        (["--name", "web", "--port", "80", "--meta", "x"], "'x', expected KEY=VALUE"),
    ],
)
def test_exec_refuses_a_wrong_instance_before_it_starts_anything(
    options: list[str], message: str, tmp_path: Path
) -> None:
    result = run("exec", *options, "--", "/usr/bin/touch", str(tmp_path / "started"))
    assert result.exit_code == exits.USAGE
    assert message in result.stderr
    assert not (tmp_path / "started").exists()
