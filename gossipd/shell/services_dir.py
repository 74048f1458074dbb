"""Configured instances: TOML files in a directory say what this host serves; read at the start and again on SIGHUP.

Reading opens files and may block, so it is done in a thread; applying is done at once, on the loop. A file is taken whole or
not at all: one with a mistake leaves what it had configured before.
"""

import os
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from gossipd import limits
from gossipd.check_reading import read_checks
from gossipd.checks import Check, Script
from gossipd.errors import RequestError
from gossipd.node.view import Commands, Holder, View
from gossipd.records import Service
from gossipd.shell.log import Log
from gossipd.validation import check_service, shown

SUFFIX = ".toml"
"""Files of other names, and hidden ones, are left alone: editors and package managers put theirs beside ours."""

CONFIGURED = Holder(kind="configured")

_KEYS = ("name", "id", "port", "address", "protocol", "tags", "metadata", "weight", "checks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """One instance that stands in a file."""

    service: Service
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicesFile:
    """What *path* says, by instance id; nothing, and *problems*, if any of it is wrong."""

    path: str
    instances: Mapping[str, Configured]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a directory says, sorted by path. *problem*: why it could not be read at all."""

    files: tuple[ServicesFile, ...] = ()
    problem: str | None = None


def read_directory(directory: str, *, scripts: bool) -> Reading:
    """Return what the files in *directory* say, each with all that is wrong with it. Blocks on the disk.

    *scripts*: whether script checks are on. An id that two files have is the first one's, by name.
    """
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(SUFFIX) and not name.startswith("."))
    except OSError as error:
        return Reading(problem=f"{directory} cannot be read: {error.strerror or error}")
    most = limits.SERVICES_FILES_MAX
    if len(names) > most:
        return Reading(problem=f"{directory} has {len(names)} files, expected at most {most}")
    left = limits.SERVICES_BYTES_MAX
    files: list[ServicesFile] = []
    owners: dict[str, str] = {}
    for name in names:
        path = os.path.join(directory, name)
        try:
            data = _read_bytes(path, left)
        except (OSError, ValueError) as error:
            problem = getattr(error, "strerror", None) or str(error)
            files.append(ServicesFile(path=path, instances={}, problems=(f"cannot be read: {problem}",)))
            continue
        left -= len(data)
        file = parse_file(path, data, scripts=scripts)
        taken = [id for id in file.instances if id in owners]
        if taken:
            problems = tuple(f"id={shown(id)}, expected another: {owners[id]} has it" for id in taken)
            file = ServicesFile(path=path, instances={}, problems=problems)
        owners |= dict.fromkeys(file.instances, path)
        files.append(file)
    return Reading(files=tuple(files))


def parse_file(path: str, data: bytes, *, scripts: bool) -> ServicesFile:
    """Return what *data*, the content of *path*, says."""
    try:
        values = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # also what UnicodeDecodeError and TOMLDecodeError are
        why = "nested too deeply" if isinstance(error, RecursionError) else error
        return ServicesFile(path=path, instances={}, problems=(f"not a TOML file: {why}",))
    problems = [f"unknown key {shown(key)}, expected [[service]]" for key in values if key != "service"]
    entries = values.get("service", [])
    if not isinstance(entries, list):
        problems.append(f"service={shown(entries)}, expected a list: [[service]]")
        entries = []
    instances: dict[str, Configured] = {}
    for at, entry in enumerate(entries):
        field = f"service[{at}]"
        try:
            read = _instance(field, entry, scripts=scripts)
        except ValueError as error:
            problems.append(str(error))
            continue
        if read.service.id in instances:
            problems.append(f"{field}.id={shown(read.service.id)}, expected each id once: give one of them an id")
        instances[read.service.id] = read
    return ServicesFile(path=path, instances={} if problems else instances, problems=tuple(problems))


def _instance(field: str, entry: object, *, scripts: bool) -> Configured:
    """Return what one [[service]] says. Raises: ValueError for its first mistake, "service[0].port=0, expected ..."."""
    if not isinstance(entry, dict):
        raise ValueError(f"{field}={shown(entry)}, expected a table: [[service]]")
    for key in entry:
        if key not in _KEYS:
            near = get_close_matches(key, _KEYS, n=1)
            raise ValueError(f"{field}: unknown key {shown(key)}, expected {near[0] if near else ', '.join(_KEYS)}")
    for key in ("name", "port"):
        if key not in entry:
            raise ValueError(f"{field}.{key} is missing")
    metadata = entry.get("metadata", {})
    if not isinstance(metadata, dict):
        raise ValueError(f"{field}.metadata={shown(metadata)}, expected a table of text")
    given = {key: entry[key] for key in _KEYS if key in entry and key not in ("checks", "metadata")}
    given.setdefault("id", given["name"])
    try:
        service = check_service(Service(**given, metadata=tuple(metadata.items())))
    except ValueError as error:
        raise ValueError(f"{field}.{error}") from None
    checks = read_checks(entry.get("checks", []), field=f"{field}.checks")
    for at, check in enumerate(checks):
        if isinstance(check.target, Script) and not scripts:
            raise ValueError(
                f"{field}.checks[{at}]: script checks are off, expected script_checks = true in the settings"
            )
    return Configured(service=service, checks=checks)


def _read_bytes(path: str, most: int) -> bytes:
    """Return what is in the file *path*, waiting for nobody. Raises: OSError; ValueError if it is no file, or too long."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe without writer would block for ever
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a file")
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"all files together have more than {limits.SERVICES_BYTES_MAX} bytes")
    return data


class ConfiguredServices:
    """Lets the node hold what the files say, and no more: `apply` each reading. Whoever is not changed notices nothing."""

    def __init__(self, commands: Commands, view: View, *, clock: Callable[[], float], log: Log) -> None:
        self._commands = commands
        self._view = view
        self._clock = clock
        self._log = log
        self._said: dict[str, Mapping[str, Configured]] = {}
        """What each file said when it was last right, by path."""
        self._held: set[str] = set()
        """Ids that we registered; others may have taken them over since."""

    def apply(self, reading: Reading) -> None:
        """Register what is new or changed, withdraw what stands nowhere any more; log what is wrong and keep what it was."""
        if reading.problem is not None:
            self._log.error("services directory is wrong, keeping what it had", error=reading.problem)
            return
        if not reading.files and not self._said:
            return
        for file in reading.files:
            for problem in file.problems:
                self._log.error("services file is wrong, keeping what it had", file=file.path, error=problem)
        said = {file.path: self._said.get(file.path, {}) if file.problems else file.instances for file in reading.files}
        wanted: dict[str, tuple[str, Configured]] = {}
        for path, instances in said.items():
            for id, instance in instances.items():
                wanted.setdefault(id, (path, instance))
        self._said = said
        self._withdraw(self._held - wanted.keys())
        for id, (path, instance) in wanted.items():
            self._register(id, path, instance)
        self._held &= wanted.keys()
        right = sum(not file.problems for file in reading.files)
        self._log.info("services files read", files=len(reading.files), right=right, instances=len(self._held))

    def _withdraw(self, ids: set[str]) -> None:
        """Withdraw those of *ids* that are still ours: the last to register an id holds it."""
        now = self._clock()
        holders = {row.id: row.holder for row in self._view.registrations(now=now)} if ids else {}
        for id in sorted(ids):
            if holders.get(id) == CONFIGURED.kind:
                self._commands.deregister(id, now=now)

    def _register(self, id: str, path: str, instance: Configured) -> None:
        try:
            self._commands.register(instance.service, holder=CONFIGURED, checks=instance.checks, now=self._clock())
        except RequestError as error:  # no room, or the node is leaving; what was registered before stays
            self._log.error("configured instance refused", file=path, id=id, error=error)
        else:
            self._held.add(id)
