"""Each command against a fake daemon: what it asks, what it prints, how it ends."""

import base64
import json
from pathlib import Path
from typing import Any

import click
import click.testing
import pytest
from click.testing import CliRunner

from gossipd import __version__
from gossipd.api import choosing
from gossipd.api.methods import METHODS
from gossipd.cli import commands, exits
from gossipd.cli.main import cli
from gossipd.errors import RequestError
from tests.cli.builders import ISOLATED, NODE, WELL, a_member, a_registration, a_service, an_instance
from tests.cli.fakes.server import Answer, FakeDaemon


def run(*args: str, env: dict[str, str] | None = None) -> click.testing.Result:
    unset = {"GOSSIPD_SOCKET": None, "GOSSIPD_CONFIG": None, "NO_COLOR": None}
    return CliRunner().invoke(cli, args, env={**unset, **(env or {})}, prog_name="gossipd")


def ask(
    directory: Path, answers: dict[str, Answer], *args: str, watch: list[dict[str, Any]] | None = None
) -> tuple[click.testing.Result, list[tuple[str, dict[str, object]]]]:
    """Return how the command ended, asked of a daemon with *answers*, and the calls that this daemon got."""
    path = directory / f"s{len(list(directory.iterdir()))}"  # a test may ask twice
    with FakeDaemon(path, answers, watch=watch) as daemon:
        result = run(*args, env={"GOSSIPD_SOCKET": str(path)})
    return result, daemon.calls


MEMBERS: dict[str, Answer] = {"members": {"members": [a_member(), a_member("n2", status="failed")], "view": WELL}}


def test_members_prints_a_table(tmp_path: Path) -> None:
    result, calls = ask(tmp_path, MEMBERS, "members")
    assert result.exit_code == exits.OK
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["NAME", "n1", "n2"]
    assert "\x1b" not in result.stdout
    assert calls == [("members", {})]


def test_members_can_be_filtered_by_status(tmp_path: Path) -> None:
    result, _ = ask(tmp_path, MEMBERS, "members", "--status", "failed", "--json")
    assert [row["name"] for row in json.loads(result.stdout)["members"]] == ["n2"]


@pytest.mark.parametrize(
    ("args", "method", "answer"),
    [
        (("members",), "members", {"members": [a_member()], "view": ISOLATED}),
        (("services",), "services", {"services": [a_service()], "view": WELL}),
        (("resolve", "web"), "resolve", {"instances": [an_instance()], "view": WELL}),
        (("info",), "info", {"info": {"name": "n1"}, "view": WELL}),
        (("why", "n3"), "why", {"evidence": {"subject": "n3", "history": []}, "view": WELL}),
        (("statistics",), "statistics", {"statistics": {"probes_sent": 4}, "view": WELL}),
        (("join", "n2"), "join", {"joined": {"10.0.0.2:7950": None}}),
    ],
)
def test_json_is_the_daemons_answer_on_one_line(
    tmp_path: Path, args: tuple[str, ...], method: str, answer: Answer
) -> None:
    result, _ = ask(tmp_path, {method: answer}, *args, "--json")
    assert result.exit_code == exits.OK, result.output
    assert json.loads(result.stdout) == answer
    assert len(result.stdout.splitlines()) == 1


def test_an_isolated_nodes_answer_says_so(tmp_path: Path) -> None:
    result, _ = ask(tmp_path, {"services": {"services": [a_service()], "view": ISOLATED}}, "services")
    assert result.stdout.splitlines()[-1].startswith("! isolated")


def test_info_ends_with_whether_the_node_has_met_its_peers(tmp_path: Path) -> None:
    result, _ = ask(tmp_path, {"info": {"info": {"name": "n1"}, "view": {**WELL, "met": False}}}, "info")
    assert result.stdout.splitlines()[:2] == ["name  n1", "met   no"]


def test_resolve_prints_address_and_port_first(tmp_path: Path) -> None:
    answer: Answer = {"instances": [an_instance("n1"), an_instance("n2")], "view": WELL}
    result, calls = ask(
        tmp_path, {"resolve": answer}, "resolve", "web", "--tag", "v2", "--all", "--near", "--limit", "5"
    )
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [
        ["10.0.0.1:8080", "n1"],
        ["10.0.0.1:8080", "n2"],
    ]
    assert calls == [("resolve", {"service": "web", "tags": ["v2"], "near": True, "status": "any", "limit": 5})]


def test_resolve_without_an_instance_is_a_negative_answer(tmp_path: Path) -> None:
    result, _ = ask(tmp_path, {"resolve": {"instances": [], "view": WELL}}, "resolve", "web")
    assert (result.exit_code, result.stdout) == (exits.FAILED, "")
    assert result.stderr == "gossipd: no ready instance of web\n"


def test_every_filter_is_passed_on(tmp_path: Path) -> None:
    answer: Answer = {"instances": [an_instance("n1")], "view": WELL}
    given = ("--tag=a", "--tag=b", "--meta=k=v", "--zone=z", "--node=n1", "--max-age=5s", "--min-members=3")
    asked = {"tags": ["a", "b"], "metadata": {"k": "v"}, "zone": "z", "node": "n1", "max_age": "5s", "min_members": 3}
    _, calls = ask(tmp_path, {"resolve": answer}, "resolve", "web", *given, "--status=warning", "--status=critical")
    assert calls == [("resolve", {"service": "web", **asked, "status": ["warning", "critical"]})]
    result, calls = ask(tmp_path, {"wait": answer}, "wait", "web", *given, "--ready=2", "--timeout=5m")
    assert calls == [("wait", {"service": "web", **asked, "ready": 2, "timeout": "5m"})]
    assert result.stdout == "10.0.0.1:8080  n1  web-n1  passing  tcp  v2\n"


@pytest.mark.parametrize("given", [("--all",), ("--status=any",), ("--status=any", "--status=passing")])
def test_any_status_is_every_instance(tmp_path: Path, given: tuple[str, ...]) -> None:
    answers: dict[str, Answer] = {"resolve": {"instances": [], "view": WELL}}
    result, calls = ask(tmp_path, answers, "resolve", "web", *given)
    assert calls == [("resolve", {"service": "web", "status": "any"})]
    assert result.stderr == "gossipd: no instance of web\n"


@pytest.mark.parametrize("command", [commands.resolve, commands.wait])
def test_a_query_has_an_option_for_every_parameter_of_the_socket(command: click.Command) -> None:
    called = {"meta": "metadata", "statuses": "status"}
    options = {called.get(str(param.name), str(param.name)) for param in command.params}
    assert options - {"socket", "as_json", "everything"} == set(METHODS[str(command.name)][0])


def test_the_statuses_are_those_of_the_socket() -> None:
    assert list(commands.STATUSES) == list(choosing.STATUSES)


def test_waiting_in_vain_says_why_and_is_no_lost_daemon(tmp_path: Path) -> None:
    message = "0 of 1 instances of web are ready after 1 s: no instance of web is known"
    refusal = RequestError("timeout", message, details={"ready": 0, "missing": ["no instance of web is known"]})
    result, _ = ask(tmp_path, {"wait": refusal}, "wait", "web", "--timeout", "1s")
    assert (result.exit_code, result.stderr) == (exits.FAILED, f"gossipd: error: {message}\n")


def test_waiting_in_vain_names_every_instance_that_is_not_ready(tmp_path: Path) -> None:
    missing = ["a on n1 is draining: new", "b on n2 is held out: it changed too often"]
    refusal = RequestError("timeout", f"0 of 1: {missing[0]}", details={"ready": 0, "missing": missing})
    result, _ = ask(tmp_path, {"wait": refusal}, "wait", "web", "--timeout", "1s")
    assert result.stderr == f"gossipd: error: 0 of 1: {missing[0]}\ngossipd: error: {missing[1]}\n"


def test_register_asks_the_daemon_to_keep_it(tmp_path: Path) -> None:
    answer: Answer = {"registration": {"id": "web-1", "service": "web", "holder": "kept"}}
    args = ("--port", "80", "--id", "web-1", "--address", "10.0.0.9", "--tag", "b", "--tag", "a", "--meta", "k=v=w")
    result, calls = ask(tmp_path, {"register": answer}, "register", "web", *args, "--weight", "0", "--protocol", "http")
    assert result.stdout == "registered web as web-1 on port 80, kept by the daemon\n"
    asked = {
        "name": "web",
        "id": "web-1",
        "port": 80,
        "address": "10.0.0.9",
        "protocol": "http",
        "tags": ["b", "a"],
        "metadata": {"k": "v=w"},
        "weight": 0,
        "kept": True,
    }
    assert calls == [("register", asked)]


def test_register_says_nothing_that_was_not_given(tmp_path: Path) -> None:
    answer: Answer = {"registration": {"id": "web", "service": "web", "holder": "kept"}}
    _, calls = ask(tmp_path, {"register": answer}, "register", "web", "--port", "80")
    assert calls == [("register", {"name": "web", "port": 80, "kept": True})]


def test_a_held_registration_ends_with_the_daemon(tmp_path: Path) -> None:
    answer: Answer = {"registration": {"id": "web", "service": "web", "holder": "connection"}}
    result, calls = ask(tmp_path, {"register": answer}, "register", "web", "--port", "80", "--hold", watch=[])
    assert calls[0] == ("register", {"name": "web", "port": 80, "kept": False})
    assert result.exit_code == exits.NO_DAEMON
    assert result.stdout == "registered web as web on port 80, held while this command runs\n"


def test_deregister_and_leave_are_silent(tmp_path: Path) -> None:
    for args, call in ((("deregister", "web-1"), ("deregister", {"id": "web-1"})), (("leave",), ("leave", {}))):
        (tmp_path / args[0]).mkdir()
        result, calls = ask(tmp_path / args[0], {"deregister": {}, "leave": {}}, *args)
        assert (result.exit_code, result.output, calls) == (exits.OK, "", [call])


def test_join_fails_only_if_nobody_could_be_reached(tmp_path: Path) -> None:
    joined = {"10.0.0.2:7950": None, "10.0.0.3:7950": "connection refused"}
    result, calls = ask(tmp_path, {"join": {"joined": joined}}, "join", "a", "b:7951", "a")
    assert result.exit_code == exits.OK
    assert result.stdout == "10.0.0.2:7950  joined\n10.0.0.3:7950  failed  connection refused\n"
    assert calls == [("join", {"targets": ["a", "b:7951"]})]
    (tmp_path / "none").mkdir()
    result, _ = ask(tmp_path / "none", {"join": {"joined": {"10.0.0.3:7950": "connection refused"}}}, "join", "b")
    assert result.exit_code == exits.FAILED


def test_watch_prints_one_json_object_a_line(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = [
        {"type": "snapshot", "instances": [], "index": 1, "view": WELL},
        {"type": "up", "instance": an_instance(), "index": 2},
    ]
    result, calls = ask(tmp_path, {}, "watch", "web", "--members", "--json", watch=events)
    assert [json.loads(line) for line in result.stdout.splitlines()] == events
    assert calls[0] == ("watch", {"service": "web", "members": True})
    assert result.exit_code == exits.NO_DAEMON  # the fake ends the watch, as a daemon that stops


def test_a_refusal_is_one_line_and_1(tmp_path: Path) -> None:
    result, _ = ask(tmp_path, {"why": RequestError("not_found", "no member\nor instance n9")}, "why", "n9")
    assert (result.exit_code, result.stdout) == (exits.FAILED, "")
    assert result.stderr == "gossipd: error: no member or instance n9\n"


@pytest.mark.parametrize(
    "args", [["members"], ["resolve", "web"], ["watch"], ["register", "a", "--port", "1", "--hold"]]
)
def test_no_daemon_is_3(tmp_path: Path, args: list[str]) -> None:
    result = run(*args, "--socket", str(tmp_path / "none"))
    assert (result.exit_code, result.stdout) == (exits.NO_DAEMON, "")
    assert result.stderr.startswith("gossipd: error: ")
    assert str(tmp_path / "none") in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["membrs"], "Did you mean 'members'"),
        (["members", "--jsn"], "--json"),
        (["resolve"], "SERVICE"),
        (["register", "web"], "--port"),
        (["register", "web", "--port", "70000"], "70000"),
        (["register", "web", "--port", "80", "--meta", "novalue"], "KEY=VALUE"),
        (["demo", "--nodes", "2"], "3<=x<=20"),
        (["demo", "--nodes", "21"], "3<=x<=20"),
        (["completion", "tcsh"], "bash"),
        (["run", "--profile", "moon"], "lan"),
    ],
)
def test_wrong_usage_is_one_line_and_2(args: list[str], message: str) -> None:
    result = run(*args)
    assert (result.exit_code, result.stdout) == (exits.USAGE, "")
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("gossipd: error: ")
    assert message in result.stderr
    assert "--help" in result.stderr


def test_no_argument_shows_the_help() -> None:
    result = run()
    assert result.exit_code == exits.USAGE
    assert "Commands:" in result.stderr


def test_the_help_documents_every_exit_code() -> None:
    result = run("--help")
    assert result.exit_code == exits.OK
    for code in exits.MEANINGS:
        assert f"\n    {code} " in result.stdout
    assert run("--version").stdout == f"gossipd {__version__}\n"


def test_keygen_prints_256_bits() -> None:
    first, second = run("keygen").stdout, run("keygen").stdout
    assert len(base64.b64decode(first, validate=False)) == 32
    assert first != second


def test_keygen_makes_a_private_file_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert run("keygen", "--output", str(path)).output == ""
    written = path.read_text()
    assert (path.stat().st_mode & 0o777, len(base64.b64decode(written))) == (0o600, 32)
    result = run("keygen", "--output", str(path))
    assert result.exit_code == exits.USAGE
    assert "never overwritten" in result.stderr
    assert path.read_text() == written


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_each_shell(shell: str) -> None:
    result = run("completion", shell)
    assert result.exit_code == exits.OK
    assert "_GOSSIPD_COMPLETE" in result.stdout


def complete(words: str, *, socket: str) -> list[str]:
    line = f"gossipd {words}"
    env = {
        "_GOSSIPD_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
        "GOSSIPD_SOCKET": socket,
    }
    result = CliRunner().invoke(cli, [], env=env, prog_name="gossipd")
    assert result.stderr == ""
    return [item.partition(",")[2] for item in result.stdout.split()]


def test_names_are_completed_from_the_running_daemon(tmp_path: Path) -> None:
    path = tmp_path / "s"
    answers: dict[str, Answer] = {
        **MEMBERS,
        "services": {"services": [a_service("web"), a_service("db")], "view": WELL},
        "registrations": {"registrations": [a_registration("web-n2")], "node": NODE, "view": WELL},
    }
    with FakeDaemon(path, answers):
        assert complete("why ", socket=str(path)) == ["n1", "n2"]
        assert complete("resolve w", socket=str(path)) == ["web"]
        assert complete("deregister ", socket=str(path))[0] == "web-n2"


def test_completion_without_a_daemon_is_silent(tmp_path: Path) -> None:
    assert complete("why ", socket=str(tmp_path / "none")) == []
    assert complete("deregister ", socket=str(tmp_path / "none")) == []
    assert "members" in complete("mem", socket=str(tmp_path / "none"))
