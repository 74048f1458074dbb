"""Flags, environment and TOML file become one `DaemonConfig`: flag over environment over file over default.

Everything wrong is found in one pass and reported together; nothing is started from a setting that was not understood.
"""

import difflib
import os
import re
import socket
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from gossipd import limits
from gossipd.cli.keys import LABELS, SECTIONS, SETTINGS, Setting
from gossipd.client import socket_places
from gossipd.config import PRESETS, ProtocolConfig
from gossipd.crypto.keyring import Keyring
from gossipd.daemon_config import PORT, DaemonConfig
from gossipd.errors import ConfigError, GossipdError
from gossipd.ids import Address
from gossipd.validation import check_labels

KEYRING_BYTES_MAX = 64 * 1024
"""Largest keyring file read: KEYS_MAX keys of 44 characters, with a thousand lines of comment."""

CONFIG_BYTES_MAX = 1024 * 1024
"""Largest TOML file read: every setting and LABELS_MAX labels of the longest value take about 80 kB."""


class SettingsError(ConfigError):
    """One or more settings are wrong; *problems* has a line for each. Nothing was started."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where settings come from; the same sources are read again for a reload."""

    file: Path | None = None
    flags: Mapping[str, Any] = field(default_factory=dict)
    """By key: text, a tuple of texts, or a bool; absent keys were not given."""
    environ: Mapping[str, str] = field(default_factory=dict)
    hostname: Callable[[], str] = socket.gethostname


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective:
    """A setting as it will hold, and the *source* that decided it: a flag, a variable, the file or the default."""

    value: Any
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    config: DaemonConfig
    effective: Mapping[str, Effective]
    """By key, in the order of the reference page; labels as "labels.zone"."""
    warnings: tuple[str, ...]


def load(sources: Sources) -> Settings:
    """Return the settings that *sources* give. Raises: SettingsError with all that is wrong."""
    return _Reader(sources).settings()


def default_data_dir(environ: Mapping[str, str], *, uid: int) -> Path:
    """Return where a daemon of *uid* keeps its state when nobody says."""
    if uid == 0:
        return Path("/var/lib/gossipd")
    state = environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(state):  # the XDG specification: a relative path is to be ignored
        return Path(state) / "gossipd"
    return Path(environ.get("HOME") or os.path.expanduser("~")) / ".local" / "state" / "gossipd"


def node_name(hostname: str) -> str:
    """Return the first label of *hostname* as a node's name; "node" if nothing of it can be used."""
    label = re.sub(r"[^a-z0-9-]+", "-", hostname.partition(".")[0].lower())[:63].strip("-")
    return label or "node"


def nearest_keys(key: str) -> list[str]:
    """Return the keys that an unknown *key* was probably meant to be: of its table first, else of any; maybe none."""
    table, _, leaf = key.rpartition(".")
    tables = {LABELS: f"[{LABELS}]", **{section: f"[{section}]" for section in SECTIONS}}
    siblings = {name.rpartition(".")[2]: name for name in SETTINGS if name.rpartition(".")[0] == table}
    if not table:
        siblings |= tables
    leaves = [name.rpartition(".")[2] for name in SETTINGS]
    same = [name for name in SETTINGS if name.rpartition(".")[2] == leaf]
    if same:  # the right word in the wrong place
        return same
    beside = difflib.get_close_matches(leaf, siblings, n=1, cutoff=0.7)
    if beside:
        return [siblings[beside[0]]]
    elsewhere = difflib.get_close_matches(leaf, leaves, n=1, cutoff=0.7)
    return [name for name in SETTINGS if name.rpartition(".")[2] in elsewhere]


class _Reader:
    """One pass over all sources; problems are collected, values by key."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._problems: list[str] = []
        self._warnings: list[str] = []
        self._found: dict[str, Effective] = {}

    def settings(self) -> Settings:
        # From the weakest source to the strongest: a wrong value is reported even where a stronger source replaces it.
        if self._sources.file is not None:
            self._read_file(self._sources.file)
        self._read_environ()
        self._read_flags()
        protocol = self._protocol()
        keyring = self._keyring()
        effective = self._effective(protocol)
        self._check_bind(effective, keyring)
        config = None
        if not self._problems:
            try:
                config = _daemon_config(effective, protocol, keyring)
            except GossipdError as error:
                self._problems.append(str(error))
        if config is None:
            raise SettingsError(self._problems)
        return Settings(config=config, effective=effective, warnings=tuple(self._warnings))

    # -------------------------------------------------------------------------------------------------------- the file

    def _read_file(self, path: Path) -> None:
        try:
            data = _read_bytes(path, CONFIG_BYTES_MAX)
            values = tomllib.loads(data.decode())
        except OSError as error:
            self._problems.append(f"{path}: cannot be read: {error.strerror or error}")
        except ValueError as error:  # also what UnicodeDecodeError and TOMLDecodeError are
            self._problems.append(f"{path}: not a TOML file: {error}")
        else:
            self._read_tables(str(path), values)

    def _read_tables(self, source: str, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            if key == LABELS or key in SECTIONS:
                if not isinstance(value, dict):
                    self._problems.append(f"{source}: {key}={_shown(value)}, expected a table: [{key}]")
                    continue
                for name, part in value.items():
                    if key == LABELS:
                        self._take_label(source, name, part)
                    else:
                        self._take_file(source, f"{key}.{name}", part)
            elif isinstance(value, dict):
                inner = [f"{key}.{name}" for name in value] or [key]
                for name in inner:
                    self._unknown(source, name)
            else:
                self._take_file(source, key, value)

    def _take_file(self, source: str, key: str, value: object) -> None:
        setting = SETTINGS.get(key)
        if setting is None:
            self._unknown(source, key)
            return
        if setting.kind is list and isinstance(value, str):  # join = "host" is what a person writes for one
            value = [value]
        self._take(f"{source}: {key}", source, setting, setting.read, value)

    def _unknown(self, source: str, key: str) -> None:
        near = nearest_keys(key)
        hint = f"did you mean {' or '.join(near)}?" if near else "see docs/reference/config.md"
        self._problems.append(f"{source}: {key}: unknown key, {hint}")

    # ------------------------------------------------------------------------------------------- environment and flags

    def _read_environ(self) -> None:
        for setting in SETTINGS.values():
            text = self._sources.environ.get(setting.variable)
            if text:  # an empty variable is an unset one
                where = f"environment {setting.variable}"
                self._take(where, where, setting, setting.read_text, text)
        for text in filter(None, self._sources.environ.get("GOSSIPD_LABELS", "").split(",")):
            self._take_label_text("environment GOSSIPD_LABELS", text)

    def _read_flags(self) -> None:
        for key, value in self._sources.flags.items():
            if key == LABELS:
                for text in value:
                    self._take_label_text("flag --label", text)
                continue
            setting = SETTINGS[key]
            read = setting.read_text if isinstance(value, str) else setting.read
            self._take(f"flag {setting.flag}", f"flag {setting.flag}", setting, read, value)

    def _take_label_text(self, source: str, text: str) -> None:
        key, equals, value = text.strip().partition("=")
        if not equals:
            self._problems.append(f"{source}: {_shown(text)}, expected KEY=VALUE")
        else:
            self._take_label(source, key.strip(), value)

    def _take_label(self, source: str, key: str, value: Any) -> None:
        try:
            ((key, value),) = check_labels([(key, value)], field=LABELS)
        except ValueError as error:
            self._problems.append(f"{source}: {error}")
        else:
            self._found[f"{LABELS}.{key}"] = Effective(value=value, source=source)

    def _take(self, where: str, source: str, setting: Setting, read: Callable[[Any], Any], value: object) -> None:
        try:
            self._found[setting.key] = Effective(value=read(value), source=source)
        except ValueError:
            self._problems.append(f"{where}={_shown(value)}, expected {setting.expected}")

    # ---------------------------------------------------------------------------------------------------- all together

    def _protocol(self) -> ProtocolConfig:
        protocol = PRESETS[self._value("profile", "lan")]
        for section in SECTIONS:
            prefix = f"{section}."
            values = {key.removeprefix(prefix): e.value for key, e in self._found.items() if key.startswith(prefix)}
            try:
                protocol = replace(protocol, **{section: replace(getattr(protocol, section), **values)})
            except ConfigError as error:  # each value is in its range, but not beside the others
                sources = dict.fromkeys(self._found[prefix + name].source for name in values)
                self._problems.append(f"{', '.join(sources)}: {error}")
        return protocol

    def _keyring(self) -> Keyring | None:
        path = self._value("keyring", None)
        if path is None:
            return None
        where = f"{self._found['keyring'].source}: keyring={_shown(str(path))}"
        try:
            text = _read_bytes(path, KEYRING_BYTES_MAX).decode()
            mode = stat.S_IMODE(path.stat().st_mode)
            keyring = Keyring.parse(text)
        except OSError as error:
            self._problems.append(f"{where}, expected a readable file: {error.strerror or error}")
        except (GossipdError, ValueError) as error:
            self._problems.append(f"{where}: {error}")
        else:
            if mode & (stat.S_IRWXO | stat.S_IWGRP):
                self._warnings.append(f"{path} has mode {mode:04o}: others can use the key; chmod 0600 {path}")
            return keyring
        return None

    def _effective(self, protocol: ProtocolConfig) -> dict[str, Effective]:
        reachable = "keyring" in self._found or self._value("insecure", False)
        environ = self._sources.environ
        defaults: dict[str, Any] = {
            "name": node_name(self._sources.hostname()),
            "bind": (Address("0.0.0.0" if reachable else "127.0.0.1", PORT),),
            "advertise": None,
            "join": (),
            "socket": Path(socket_places(environ)[0]),
            "socket_mode": 0o660,
            "data_dir": default_data_dir(environ, uid=os.geteuid()),
            "profile": "lan",
            "keyring": None,
            "cluster": "default",
            "insecure": False,
            "script_checks": False,
            "services_dir": None,
            "log_format": "text",
            "log_level": "info",
        }
        effective = {}
        for key in SETTINGS:
            if key in self._found:
                effective[key] = self._found[key]
            elif key in defaults:
                effective[key] = Effective(value=defaults[key], source="default")
            else:
                section, _, name = key.partition(".")
                source = f"profile {self._value('profile', 'lan')}"
                effective[key] = Effective(value=getattr(getattr(protocol, section), name), source=source)
        labels = {key: found for key, found in sorted(self._found.items()) if key.startswith(f"{LABELS}.")}
        if len(labels) > limits.LABELS_MAX:
            self._problems.append(f"{LABELS}: {len(labels)} of them, expected at most {limits.LABELS_MAX}")
        return {**effective, **labels}

    def _check_bind(self, effective: Mapping[str, Effective], keyring: Keyring | None) -> None:
        bind = effective["bind"]
        if keyring is not None or "keyring" in self._found or effective["insecure"].value:
            return
        for address in bind.value:
            if not ip_address(address.host).is_loopback:
                self._problems.append(
                    f"{bind.source}: bind={address}, expected a loopback address without a keyring;"
                    " set keyring (gossipd keygen makes a key), or insecure = true"
                )

    def _value(self, key: str, default: Any) -> Any:
        found = self._found.get(key)
        return default if found is None else found.value


def _daemon_config(
    effective: Mapping[str, Effective], protocol: ProtocolConfig, keyring: Keyring | None
) -> DaemonConfig:
    labels = {key.partition(".")[2]: e.value for key, e in effective.items() if key.startswith(f"{LABELS}.")}
    return DaemonConfig(
        name=effective["name"].value,
        bind=effective["bind"].value,
        advertise=effective["advertise"].value,
        join=effective["join"].value,
        socket=effective["socket"].value,
        socket_mode=effective["socket_mode"].value,
        data_dir=effective["data_dir"].value,
        protocol=protocol,
        keyring=keyring,
        cluster=effective["cluster"].value,
        labels=tuple(sorted(labels.items())),
        insecure=effective["insecure"].value,
        script_checks=effective["script_checks"].value,
        services_dir=effective["services_dir"].value,
        log_format=effective["log_format"].value,
        log_level=effective["log_level"].value,
    )


def _read_bytes(path: Path, most: int) -> bytes:
    """Return what is in *path*. Raises: OSError; ValueError if it is longer than *most* bytes."""
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"more than {most} bytes")
    return data


def _shown(value: object) -> str:
    """Return *value* for a message, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
