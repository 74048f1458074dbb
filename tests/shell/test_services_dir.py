"""The services directory: what its files say, what is wrong with them, and what a running node makes of a change."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gossipd import limits
from gossipd.checks import Http, Script
from gossipd.errors import RequestError
from gossipd.node.view import KEPT, RegistrationRow
from gossipd.records import Service
from gossipd.shell.services_dir import CONFIGURED, Configured, ConfiguredServices, read_directory
from tests.shell.fakes import ReadableLog

WEB = """
[[service]]
name = "web"
id = "web-1"
port = 8080
address = "10.0.0.9"
protocol = "http"
tags = ["v2", "a"]
metadata = { owner = "kim" }
weight = 5
checks = ["http:/health@5s", { script = ["/bin/true"], interval = "30s" }]
"""

DB = '[[service]]\nname = "db"\nport = 5432\n'


def read(directory: Path, *, scripts: bool = True) -> tuple[dict[str, Configured], list[str]]:
    """Return what is configured by id, and all problems."""
    reading = read_directory(str(directory), scripts=scripts)
    instances = {id: each for file in reading.files for id, each in file.instances.items()}
    return instances, [problem for file in reading.files for problem in file.problems]


def test_a_file_says_all_that_a_registration_can(tmp_path: Path) -> None:
    (tmp_path / "web.toml").write_text(WEB + DB)
    instances, problems = read(tmp_path)
    assert problems == []
    assert instances["db"].service == Service(name="db", id="db", port=5432)
    assert instances["web-1"].service == Service(
        name="web",
        id="web-1",
        port=8080,
        address="10.0.0.9",
        protocol="http",
        tags=("a", "v2"),
        metadata=(("owner", "kim"),),
        weight=5,
    )
    assert [type(check.target) for check in instances["web-1"].checks] == [Http, Script]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[[service]]\nname = "web"\nport = 0\n', "service[0].port=0, expected 1 to 65535"),
        (f'{DB}[[service]]\nname = "Web"\nport = 1\n', "service[1].name='Web', expected a DNS label"),
        ("[[service]]\nport = 1\n", "service[0].name is missing"),
        ('[[service]]\nname = "web"\n', "service[0].port is missing"),
        ('[[service]]\nname = "web"\nport = 1\nprot = "udp"\n', "service[0]: unknown key 'prot', expected port"),
        ('[[service]]\nname = "web"\nport = "1"\n', "service[0].port='1', expected 1 to 65535"),
        ('[[service]]\nname = "web"\nport = 1\nid = 5\n', "service[0].id=5, expected text"),
        ('[[service]]\nname = "web"\nport = 1\ntags = "a"\n', "service[0].tags='a', expected a list of text"),
        ('[[service]]\nname = "web"\nport = 1\nmetadata = 5\n', "service[0].metadata=5, expected a table of text"),
        ('[[service]]\nname = "web"\nport = 1\nmetadata = { a = 5 }\n', "service[0].metadata['a']=5, expected text"),
        (
            '[[service]]\nname = "web"\nport = 1\nchecks = [{ tcp = true, interval = -1 }]\n',
            "service[0].checks[0].interval=-1, expected 0.1 to 86400 seconds",
        ),
        (f"{DB}{DB}", "service[1].id='db', expected each id once: give one of them an id"),
        ('[service]\nname = "web"\n', "service=a dict, expected a list: [[service]]"),
        ("service = [5]\n", "service[0]=5, expected a table: [[service]]"),
        ("[[services]]\n", "unknown key 'services', expected [[service]]"),
        ("name = ", "not a TOML file: Invalid value"),
        ("a = " + "[" * 10_000, "not a TOML file: nested too deeply"),
    ],
)
def test_a_mistake_is_told_with_field_value_and_expectation_and_takes_the_whole_file(
    text: str, problem: str, tmp_path: Path
) -> None:
    (tmp_path / "a.toml").write_text(text)
    instances, problems = read(tmp_path)
    assert instances == {}
    assert [each[: len(problem)] for each in problems] == [problem]


def test_script_checks_are_a_mistake_unless_they_are_on(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(WEB)
    expected = "service[0].checks[1]: script checks are off, expected script_checks = true in the settings"
    assert read(tmp_path, scripts=False) == ({}, [expected])


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("web.toml~", ".web.toml", "README", "web.toml.rpmsave"):
        (tmp_path / name).write_text("no TOML = at all =")
    assert read_directory(str(tmp_path), scripts=True).files == ()


def test_an_id_in_two_files_is_the_first_ones(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(DB)
    (tmp_path / "b.toml").write_text(WEB + DB)
    instances, problems = read(tmp_path)
    assert list(instances) == ["db"]
    assert problems == [f"id='db', expected another: {tmp_path / 'a.toml'} has it"]


def test_what_is_no_file_is_told_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "gone.toml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "web.toml").write_text(DB)
    instances, problems = read(tmp_path)
    assert list(instances) == ["db"]
    assert sorted(problems) == sorted(
        [
            "cannot be read: Is a directory",
            "cannot be read: No such file or directory",
            "cannot be read: not a file",
        ]
    )


def test_a_directory_is_bounded(tmp_path: Path) -> None:
    for number in range(limits.SERVICES_FILES_MAX + 1):
        (tmp_path / f"{number}.toml").touch()
    most = limits.SERVICES_FILES_MAX
    expected = f"{tmp_path} has {most + 1} files, expected at most {most}"
    assert read_directory(str(tmp_path), scripts=True).problem == expected


def test_its_bytes_are_bounded(tmp_path: Path) -> None:
    half = limits.SERVICES_BYTES_MAX // 2
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.toml").write_text("#" * half)
    assert read(tmp_path) == ({}, [f"cannot be read: all files together have more than {2 * half} bytes"])


def test_a_missing_directory_is_told(tmp_path: Path) -> None:
    reading = read_directory(str(tmp_path / "none"), scripts=True)
    assert reading.problem == f"{tmp_path / 'none'} cannot be read: No such file or directory"


def test_the_example_on_the_page_is_right(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "howto" / "configured-services.md"
    example = page.read_text(encoding="utf-8").partition("```toml services\n")[2].partition("```")[0]
    (tmp_path / "web.toml").write_text(example)
    instances, problems = read(tmp_path)
    assert (sorted(instances), problems) == (["db", "web"], [])


# ------------------------------------------------------------------------------------------------------------- applied


class FakeNode:
    """Commands and View as far as they are used: what is registered, and each change that was made."""

    def __init__(self) -> None:
        self.held: dict[str, RegistrationRow] = {}
        self.said: dict[str, tuple[object, ...]] = {}
        self.changes: list[tuple[str, str]] = []
        self.refuse: str | None = None

    def register(self, service: Service, *, holder: object = CONFIGURED, checks: object = (), now: float) -> None:
        if service.id == self.refuse:
            raise RequestError("quota", "no room")
        if self.said.get(service.id) != (service, holder, checks):
            self.changes.append(("register", service.id))
        kind = getattr(holder, "kind", "")
        self.held[service.id] = RegistrationRow(id=service.id, service=service.name, holder=kind)
        self.said[service.id] = (service, holder, checks)

    def deregister(self, id: str, *, now: float) -> None:
        del self.held[id], self.said[id]
        self.changes.append(("deregister", id))

    def registrations(self, *, now: float) -> list[RegistrationRow]:
        return list(self.held.values())


class Host:
    """A directory, a node, and what joins them."""

    def __init__(self, directory: Path, log: ReadableLog) -> None:
        self.directory = directory
        self.node = FakeNode()
        self.services = ConfiguredServices(self.node, self.node, clock=lambda: 0.0, log=log.log)  # type: ignore[arg-type]

    def reload(self, **files: str | None) -> list[tuple[str, str]]:
        """Write *files*, remove those that are None, apply; return what changed."""
        for name, text in files.items():
            path = self.directory / f"{name}.toml"
            path.unlink(missing_ok=True) if text is None else path.write_text(text)
        self.node.changes.clear()
        self.services.apply(read_directory(str(self.directory), scripts=True))
        return sorted(self.node.changes)


@pytest.fixture
def log() -> Iterator[ReadableLog]:
    made = ReadableLog(level="info")
    yield made
    made.close()


@pytest.fixture
def host(tmp_path: Path, log: ReadableLog) -> Host:
    return Host(tmp_path, log)


def test_what_is_added_changed_and_removed_is_done_and_the_rest_untouched(host: Host) -> None:
    assert host.reload(a=DB, b=WEB) == [("register", "db"), ("register", "web-1")]
    assert host.reload() == []
    assert host.reload(b=WEB.replace("8080", "8081")) == [("register", "web-1")]
    assert host.reload(c=DB.replace("db", "cache")) == [("register", "cache")]
    assert host.reload(a=None) == [("deregister", "db")]
    assert sorted(host.node.held) == ["cache", "web-1"]


def test_an_instance_that_moves_to_another_file_is_untouched(host: Host) -> None:
    host.reload(a=DB)
    assert host.reload(a=None, z=DB) == []


def test_a_wrong_file_changes_nothing_of_what_it_had_configured_and_is_told(host: Host, log: ReadableLog) -> None:
    host.reload(a=DB, b=WEB)
    assert host.reload(a="[[service]]\nname = 5\nport = 1\n", b=WEB.replace("8080", "8081")) == [("register", "web-1")]
    assert sorted(host.node.held) == ["db", "web-1"]
    path = host.directory / "a.toml"
    assert any(
        f'services file is wrong, keeping what it had file={path} error="service[0].name=5, expected text"' in line
        for line in log.lines()
    )
    assert host.reload(a=None) == [("deregister", "db")]


def test_a_directory_that_cannot_be_read_changes_nothing(host: Host, log: ReadableLog) -> None:
    host.reload(a=DB)
    host.services.apply(read_directory(str(host.directory / "none"), scripts=True))
    assert list(host.node.held) == ["db"]
    assert "services directory is wrong, keeping what it had" in log.lines()[-1]


def test_what_somebody_else_has_taken_over_is_not_withdrawn(host: Host) -> None:
    host.reload(a=DB)
    host.node.register(Service(name="db", id="db", port=1), holder=KEPT, now=0.0)
    assert host.reload(a=None) == []
    assert list(host.node.held) == ["db"]


def test_what_the_node_refuses_is_told_and_keeps_its_former_shape(host: Host, log: ReadableLog) -> None:
    host.reload(a=DB)
    host.node.refuse = "db"
    assert host.reload(a=DB.replace("5432", "1"), b=WEB) == [("register", "web-1")]
    assert sorted(host.node.held) == ["db", "web-1"]
    path = host.directory / "a.toml"
    assert any(f'configured instance refused file={path} id=db error="no room"' in line for line in log.lines())
    assert host.reload(a=None) == [("deregister", "db")]
