"""Where settings come from, which wins, and what is said about each kind of wrong one."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
from click.testing import CliRunner

from gossipd.cli import keys
from gossipd.cli.effective import as_toml
from gossipd.cli.main import cli
from gossipd.cli.operate import run as run_command
from gossipd.cli.settings import Settings, SettingsError, Sources, default_data_dir, load, node_name
from gossipd.config import LAN, LOCAL, PRESETS
from gossipd.crypto.keyring import encode_key, generate_key
from gossipd.ids import Address

EXAMPLES: Mapping[str, tuple[object, str, object]] = {
    "name": ("ann", "ann", "ann"),
    "bind": (["127.0.0.1", "[::1]:99"], "127.0.0.1,[::1]:99", (Address("127.0.0.1", 7950), Address("::1", 99))),
    "advertise": ("10.0.0.9:80", "10.0.0.9:80", "10.0.0.9:80"),
    "join": (["a.example", "b:99"], "a.example, b:99", ("a.example", "b:99")),
    "socket": ("/tmp/s", "/tmp/s", Path("/tmp/s")),
    "socket_mode": ("0600", "0600", 0o600),
    "data_dir": ("/tmp/d", "/tmp/d", Path("/tmp/d")),
    "profile": ("local", "local", "local"),
    "keyring": ("KEY", "KEY", "KEY"),
    "cluster": ("blue", "blue", "blue"),
    "insecure": (True, "true", True),
    "script_checks": (True, "true", True),
    "services_dir": ("/tmp/s.d", "/tmp/s.d", Path("/tmp/s.d")),
    "log_format": ("json", "json", "json"),
    "log_level": ("debug", "debug", "debug"),
}
"""By key: the TOML value, the same as text, and what becomes of it."""


def a_keyring(directory: Path, *, mode: int = 0o600, text: str | None = None) -> Path:
    path = directory / "ring"
    path.write_text(encode_key(generate_key(os.urandom)) + "\n" if text is None else text)
    path.chmod(mode)
    return path


def settings(
    text: str | None = None,
    *,
    directory: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    hostname: str = "ann.example.org",
) -> Settings:
    file = None
    if text is not None:
        assert directory is not None
        file = directory / "c.toml"
        file.write_text(text)
    return load(Sources(file=file, flags=flags or {}, environ=environ or {}, hostname=lambda: hostname))


def problems(*args: Any, **kwargs: Any) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        settings(*args, **kwargs)
    return raised.value.problems


def toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')


def test_without_any_source_a_single_node_on_loopback_comes_out() -> None:
    config = settings(environ={"HOME": "/home/kim", "XDG_RUNTIME_DIR": "/run/user/7"}).config
    assert (config.name, config.bind_addresses) == ("ann", (Address("127.0.0.1", 7950),))
    assert (config.join, config.keyring, config.protocol) == ((), None, LAN)


def test_every_key_of_the_file_reaches_the_daemon(tmp_path: Path) -> None:
    assert set(EXAMPLES) == {setting.key for setting in keys.TOP}
    ring = a_keyring(tmp_path)
    lines = [f"{key} = {toml(value)}" for key, (value, _, _) in EXAMPLES.items()]
    found = settings("\n".join(lines).replace("KEY", str(ring)), directory=tmp_path)
    for key, (_, _, expected) in EXAMPLES.items():
        assert found.effective[key].value == (ring if expected == "KEY" else expected), key
    config = found.config
    assert (config.protocol, config.cluster, config.socket_mode) == (LOCAL, "blue", 0o600)
    assert (config.join, config.advertise) == (("a.example", "b:99"), "10.0.0.9:80")
    assert config.keyring is not None


@pytest.mark.parametrize("key", EXAMPLES)
def test_every_key_is_a_flag_and_a_variable(key: str, tmp_path: Path) -> None:
    _, text, expected = EXAMPLES[key]
    if key == "keyring":
        text = str(a_keyring(tmp_path))
        expected = Path(text)
    by_environ = settings(environ={keys.SETTINGS[key].variable: text}).effective[key]
    assert (by_environ.value, by_environ.source) == (expected, f"environment {keys.SETTINGS[key].variable}")
    flag = keys.SETTINGS[key].flag
    assert any(flag in option.opts for option in run_command.params)
    value: object = tuple(part.strip() for part in text.split(",")) if keys.SETTINGS[key].kind is list else text
    assert settings(flags={key: value}).effective[key].value == expected


@pytest.mark.parametrize("section", keys.SECTIONS)
def test_every_protocol_field_is_a_key_that_overrides_the_profile(section: str, tmp_path: Path) -> None:
    for field in fields(getattr(LAN, section)):
        value = getattr(getattr(LAN, section), field.name)
        if get_args(field.type):
            value = next(choice for choice in get_args(field.type) if choice != value)
        else:
            value = not value if field.type is bool else value + 1 if field.type is int else value * 1.01
        found = settings(f"[{section}]\n{field.name} = {toml(value)}\n", directory=tmp_path)
        effective = found.effective[f"{section}.{field.name}"]
        assert (effective.value, effective.source) == (value, str(tmp_path / "c.toml"))
        assert getattr(getattr(found.config.protocol, section), field.name) == value
        variable = f"GOSSIPD_{section}_{field.name}".upper()
        text = value if isinstance(value, str) else toml(value)
        assert settings(environ={variable: text}).effective[f"{section}.{field.name}"].value == value


@pytest.mark.parametrize("profile", PRESETS)
def test_a_profile_is_taken_whole(profile: str) -> None:
    assert settings(flags={"profile": profile}).config.protocol == PRESETS[profile]


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    text = 'cluster = "file"\nlog_level = "error"\nname = "file"\n'
    environ = {"GOSSIPD_CLUSTER": "env", "GOSSIPD_NAME": "env", "GOSSIPD_LOG_LEVEL": ""}
    config = settings(text, directory=tmp_path, environ=environ, flags={"name": "flag"}).config
    assert (config.name, config.cluster, config.log_level, config.log_format) == ("flag", "env", "error", "text")


def test_labels_merge_key_by_key(tmp_path: Path) -> None:
    text = '[labels]\nzone = "file"\nrack = "r1"\n"odd key" = "x"\n'
    environ = {"GOSSIPD_LABELS": "zone=env,row=2"}
    config = settings(text, directory=tmp_path, environ=environ, flags={"labels": ("zone=flag=1",)}).config
    assert config.labels == (("odd key", "x"), ("rack", "r1"), ("row", "2"), ("zone", "flag=1"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "intervall_s = 1",
            ["FILE: intervall_s: unknown key, did you mean probe.interval_s or gossip.interval_s or sync.interval_s?"],
        ),
        ("quux = 1", ["FILE: quux: unknown key, see docs/reference/config.md"]),
        ("nmae = 'a'", ["FILE: nmae: unknown key, did you mean name?"]),
        ("data-dir = '/x'", ["FILE: data-dir: unknown key, did you mean data_dir?"]),
        ("[probe]\nintervall_s = 1", ["FILE: probe.intervall_s: unknown key, did you mean probe.interval_s?"]),
        ("[prob]\nnack_after = 0.5", ["FILE: prob.nack_after: unknown key, did you mean probe.nack_after?"]),
        ("nack_after = 0.5", ["FILE: nack_after: unknown key, did you mean probe.nack_after?"]),
        ("[[probes]]\nx = 1", ["FILE: probes: unknown key, did you mean [probe]?"]),
        ("probe = 3", ["FILE: probe=3, expected a table: [probe]"]),
        ("[probe]\ninterval_s = '1s'", ["FILE: probe.interval_s='1s', expected a number from 0.01 to 600"]),
        ("[probe]\ninterval_s = true", ["FILE: probe.interval_s=True, expected a number from 0.01 to 600"]),
        ("[probe]\ninterval_s = nan", ["FILE: probe.interval_s=nan, expected a number from 0.01 to 600"]),
        ("[probe]\ninterval_s = inf", ["FILE: probe.interval_s=inf, expected a number from 0.01 to 600"]),
        ("[probe]\nindirect = 2.5", ["FILE: probe.indirect=2.5, expected a whole number from 0 to 16"]),
        ("[probe]\nindirect = 17", ["FILE: probe.indirect=17, expected a whole number from 0 to 16"]),
        ("[probe]\nstream_ping = 1", ["FILE: probe.stream_ping=1, expected true or false"]),
        ("[probe]\ntimeout_s = 2", ["FILE: probe.timeout_s=2.0, expected below probe.interval_s=1.0"]),
        ("[leave]\nlinger_s = 9", ["FILE: leave.linger_s=9.0, expected at most leave.timeout_s=5.0"]),
        (
            "[leave]\ndrain_s = 9",
            ["FILE: leave.drain_s=9.0, expected at most 4: leave.timeout_s without leave.linger_s"],
        ),
        ("[checks]\nconcurrent = 0", ["FILE: checks.concurrent=0, expected a whole number from 1 to 4096"]),
        ("[checks]\njitter = -0.1", ["FILE: checks.jitter=-0.1, expected a number from 0 to 1"]),
        (
            "[checks]\ndamping_reuse = 3000",
            ["FILE: checks.damping_reuse=3000, expected below checks.damping_suppress=3000"],
        ),
        (
            "[checks]\ndamping_hold_most_s = 90",
            [
                "FILE: checks.damping_hold_most_s=90.0, expected at least 95.1: the time in which the penalty decays from"
                " checks.damping_suppress to checks.damping_reuse"
            ],
        ),
        ("name = 3", [f"FILE: name=3, expected {keys.SETTINGS['name'].expected}"]),
        ("name = 'Ann'", [f"FILE: name='Ann', expected {keys.SETTINGS['name'].expected}"]),
        ("bind = []", [f"FILE: bind=[], expected {keys.SETTINGS['bind'].expected}"]),
        ("bind = 'localhost'", [f"FILE: bind=['localhost'], expected {keys.SETTINGS['bind'].expected}"]),
        ("join = ['a:']", [f"FILE: join=['a:'], expected {keys.SETTINGS['join'].expected}"]),
        ("join = [1]", [f"FILE: join=[1], expected {keys.SETTINGS['join'].expected}"]),
        ("socket = ''", ["FILE: socket='', expected a path of at most 107 bytes"]),
        ("socket_mode = '999'", ['FILE: socket_mode=\'999\', expected octal permissions as text, "0000" to "0777"']),
        ("profile = 'moon'", ["FILE: profile='moon', expected one of lan, wan, local"]),
        ("insecure = 'yes'", ["FILE: insecure='yes', expected true or false"]),
        ("log_level = 'loud'", ["FILE: log_level='loud', expected one of debug, info, warning, error"]),
        ("[labels]\nzone = 1", ["FILE: labels['zone']=1, expected text"]),
        (
            '[labels]\nzone = "a\\u0002"\n"b\\u0001" = "x"\n"" = "x"',
            [
                "FILE: labels['zone']='a\\x02', expected no control characters but tabs and line ends",
                "FILE: labels key='b\\x01', expected no control characters",
                "FILE: labels key='', expected 1 to 128 bytes of UTF-8",
            ],
        ),
        ("labels = 'zone'", ["FILE: labels='zone', expected a table: [labels]"]),
    ],
)
def test_a_wrong_file_is_told_with_key_value_and_expectation(text: str, expected: list[str], tmp_path: Path) -> None:
    found = problems(text, directory=tmp_path)
    assert [problem.replace(str(tmp_path / "c.toml"), "FILE") for problem in found] == expected


def test_all_errors_are_told_at_once(tmp_path: Path) -> None:
    text = "nmae = 'a'\nlog_level = 7\n[probe]\nindirect = -1\n"
    found = problems(text, directory=tmp_path, environ={"GOSSIPD_CLUSTER": "A B"}, flags={"advertise": "0.0.0.0"})
    assert [problem.partition("=")[0].partition(": unknown")[0].rpartition(" ")[2] for problem in found] == [
        "nmae",
        "log_level",
        "probe.indirect",
        "GOSSIPD_CLUSTER",
        "--advertise",
    ]


@pytest.mark.parametrize(
    ("environ", "start"),
    [
        ({"GOSSIPD_PROBE_INDIRECT": "two"}, "environment GOSSIPD_PROBE_INDIRECT='two', expected a whole number from 0"),
        ({"GOSSIPD_INSECURE": "maybe"}, "environment GOSSIPD_INSECURE='maybe', expected true or false"),
        ({"GOSSIPD_LABELS": "zone"}, "environment GOSSIPD_LABELS: 'zone', expected KEY=VALUE"),
    ],
)
def test_a_wrong_variable_is_named(environ: dict[str, str], start: str) -> None:
    assert problems(environ=environ)[0].startswith(start)


def test_variables_that_are_not_ours_are_left_alone() -> None:
    # Kubernetes sets such variables for a service that is called gossipd.
    environ = {"GOSSIPD_PORT": "tcp://10.0.0.1:7950", "GOSSIPD_SERVICE_HOST": "10.0.0.1"}
    assert settings(environ=environ).config.bind_addresses == (Address("127.0.0.1", 7950),)


def test_more_than_loopback_needs_a_key_or_insecure(tmp_path: Path) -> None:
    found = problems(flags={"bind": ("10.0.0.1", "127.0.0.1")})
    assert found == [
        "flag --bind: bind=10.0.0.1:7950, expected a loopback address without a keyring;"
        " set keyring (gossipd keygen makes a key), or insecure = true"
    ]
    everywhere = (Address("0.0.0.0", 7950),)
    assert settings(flags={"insecure": True}).config.bind_addresses == everywhere
    assert settings(flags={"keyring": str(a_keyring(tmp_path))}).config.bind_addresses == everywhere


def test_a_keyring_that_others_can_read_is_warned_of(tmp_path: Path) -> None:
    assert settings(flags={"keyring": str(a_keyring(tmp_path, mode=0o640))}).warnings == ()
    (warning,) = settings(flags={"keyring": str(a_keyring(tmp_path, mode=0o644))}).warnings
    assert "mode 0644" in warning


@pytest.mark.parametrize("text", ["", "not base64!\n", "AAAA\n", "\xff" * 10, "#" * 70_000])
def test_a_wrong_keyring_is_an_error_that_shows_no_key(text: str, tmp_path: Path) -> None:
    path = a_keyring(tmp_path, text=text)
    (problem,) = problems(flags={"keyring": str(path)})
    assert problem.startswith(f"flag --keyring: keyring='{path}'")
    assert text[:9] == "" or text[:9] not in problem


def test_a_missing_keyring_is_one_error_and_never_an_unsealed_daemon(tmp_path: Path) -> None:
    found = problems(flags={"keyring": str(tmp_path / "none"), "bind": ("10.0.0.1",)})
    assert len(found) == 1
    assert "expected a readable file: No such file" in found[0]


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"a = ", b"a = 1\na = 2", b"#" * 2_000_000])
def test_a_file_that_is_no_toml_is_one_error(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError) as raised:
        load(Sources(file=path))
    (problem,) = raised.value.problems
    assert problem.startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("hostname", "name"),
    [
        ("ann.example.org", "ann"),
        ("Ann_2", "ann-2"),
        ("-x-", "x"),
        ("", "node"),
        ("東京", "node"),
        ("a" * 80, "a" * 63),
        (f"{'a' * 62}_b", "a" * 62),
    ],
)
def test_a_host_name_becomes_a_node_name(hostname: str, name: str) -> None:
    assert node_name(hostname) == name
    assert settings(hostname=hostname).config.name == name


def test_state_is_kept_where_the_system_expects_it() -> None:
    assert default_data_dir({}, uid=0) == Path("/var/lib/gossipd")
    assert default_data_dir({"XDG_STATE_HOME": "/s", "HOME": "/h"}, uid=7) == Path("/s/gossipd")
    assert default_data_dir({"XDG_STATE_HOME": "rel", "HOME": "/h"}, uid=7) == Path("/h/.local/state/gossipd")


def test_the_effective_settings_can_be_read_back_and_show_no_key(tmp_path: Path) -> None:
    ring = a_keyring(tmp_path)
    text = (
        'name = "ann"\nprofile = "wan"\njoin = ["a", "b:9"]\n[probe]\nindirect = 5\n[labels]\n"q\\" x" = "東\\\\\\t"\n'
    )
    environ = {"GOSSIPD_KEYRING": str(ring), "GOSSIPD_SOCKET_MODE": "0600"}
    first = settings(text, directory=tmp_path, environ=environ)
    printed = as_toml(first)
    assert ring.read_text().strip() not in printed
    assert "key ids, sealing key first" in printed
    assert "# advertise is not set" in printed
    assert settings(printed, directory=tmp_path).config == first.config
    assert tomllib.loads(printed)["labels"] == {'q" x': "東\\\t"}


def test_config_check_prints_settings_or_all_errors(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    env = {"GOSSIPD_CONFIG": None, "GOSSIPD_SOCKET": None}
    path.write_text("[probe]\nindirect = 1\n")
    result = CliRunner().invoke(cli, ["config", "check", str(path)], env=env)
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"# {path}" in result.stdout
    path.write_text("nmae = 1\n[probe]\nindirect = -1\n")
    result = CliRunner().invoke(cli, ["config", "check", str(path)], env=env)
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 2
    assert all(line.startswith(f"gossipd: error: {path}: ") for line in result.stderr.splitlines())


def test_config_check_tells_what_is_wrong_in_the_services_directory(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[[service]]\nname = 'web'\nport = 0\n[[service]]\nname = 'db'\n")
    result = CliRunner().invoke(cli, ["config", "check"], env={"GOSSIPD_SERVICES_DIR": str(tmp_path)})
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        f"gossipd: error: {tmp_path}/a.toml: service[0].port=0, expected 1 to 65535",
        f"gossipd: error: {tmp_path}/a.toml: service[1].port is missing",
    ]
    (tmp_path / "a.toml").unlink()
    result = CliRunner().invoke(cli, ["config", "check"], env={"GOSSIPD_SERVICES_DIR": str(tmp_path)})
    assert (result.exit_code, f'services_dir = "{tmp_path}"' in result.stdout) == (0, True)


def test_run_with_a_wrong_setting_starts_nothing(tmp_path: Path) -> None:
    args = ["run", "--name", "A B", "--data-dir", str(tmp_path / "d"), "--socket", str(tmp_path / "s")]
    result = CliRunner().invoke(cli, args, env={"GOSSIPD_CONFIG": None})
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("gossipd: error: flag --name='A B', expected a DNS label")
    assert list(tmp_path.iterdir()) == []
