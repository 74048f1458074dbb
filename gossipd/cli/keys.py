"""Every setting of `gossipd run`: its TOML key, flag and environment variable, how its value is read, what is expected.

One table for the parser, the file, the environment and docs/reference/config.md. Opens no file.
"""

import ipaddress
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any, get_args

from gossipd import limits
from gossipd.config import LAN, PRESETS, ProtocolConfig
from gossipd.daemon_config import BIND_MAX, LOG_FORMATS, LOG_LEVELS, PORT, SOCKET_PATH_BYTES_MAX
from gossipd.errors import ConfigError
from gossipd.ids import LABEL_RULE, Address, is_label, parse_address, split_host_port

PROFILES = tuple(PRESETS)

SECTIONS = tuple(field.name for field in fields(ProtocolConfig))
"""The TOML tables that override the profile: probe, suspicion, gossip, sync, catalog, leave."""

LABELS = "labels"
"""The TOML table of the node's own labels; its keys are the operator's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One key. *read* turns a TOML value into ours, or raises ValueError; *expected* then completes the message."""

    key: str
    """Path in the TOML file: "name", or "probe.interval_s"."""
    read: Callable[[object], Any]
    expected: str
    default: str
    """For people: what holds when nobody sets it."""
    help: str
    kind: type = str
    """TOML type: str, bool, int, float, list (of strings)."""
    metavar: str = "TEXT"
    choices: tuple[str, ...] = ()

    @property
    def flag(self) -> str | None:
        """The flag of `gossipd run`; None for the keys of tables."""
        return None if "." in self.key else f"--{self.key.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"GOSSIPD_{self.key.replace('.', '_').upper()}"

    def read_text(self, text: str) -> Any:
        """Return the value of *text*, from a flag or the environment. Raises: ValueError."""
        if self.kind is bool:
            return self.read(_BOOLEANS.get(text.strip().lower(), text))
        if self.kind is int:
            return self.read(int(text))
        if self.kind is float:
            return self.read(float(text))
        if self.kind is list:
            return self.read([part.strip() for part in text.split(",") if part.strip()])
        return self.read(text)


_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError
    return value


def _label(value: object) -> str:
    if not isinstance(value, str) or not is_label(value):
        raise ValueError
    return value


def _address(value: object) -> Address:
    return parse_address(_text(value), default_port=PORT)


def _bind(value: object) -> tuple[Address, ...]:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= BIND_MAX:
        raise ValueError
    return tuple(dict.fromkeys(_address(text) for text in value))


def _advertise(value: object) -> str:
    """Return the text: without a port it means the one that we listen on, which is not known yet."""
    host = ipaddress.ip_address(parse_address(_text(value), default_port=PORT).host)
    if host.is_unspecified or host.is_multicast:
        raise ValueError
    return _text(value)


def _socket(value: object) -> Path:
    path = _path(value)
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        raise ValueError
    return path


def _join(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or len(value) > limits.SEEDS_MAX:
        raise ValueError
    for target in value:
        host, port = split_host_port(_text(target), default_port=PORT)
        if port == 0 or not host.isprintable() or " " in host:
            raise ValueError
    return tuple(dict.fromkeys(value))


def _path(value: object) -> Path:
    return Path(os.path.expanduser(_text(value)))


def _mode(value: object) -> int:
    mode = int(value, 8) if isinstance(value, str) else value
    if not isinstance(mode, int) or isinstance(mode, bool) or not 0 <= mode <= 0o777:
        raise ValueError
    return mode


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _one_of(choices: tuple[str, ...]) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in choices:
            raise ValueError
        return str(value)

    return read


def _number(kind: type, least: float, most: float) -> Callable[[object], float]:
    def read(value: object) -> float:
        accepted = (int, float) if kind is float else (int,)
        if isinstance(value, bool) or not isinstance(value, accepted) or not least <= value <= most:
            raise ValueError
        return float(value) if kind is float else value

    return read


TOP = (
    Setting(
        key="name",
        read=_label,
        expected=LABEL_RULE,
        default="the host name's first label",
        help="Name of this node, unique in its cluster.",
    ),
    Setting(
        key="bind",
        read=_bind,
        expected=f"1 to {BIND_MAX} IP addresses, each with or without a port (0 to 65535, default {PORT});"
        " IPv6 with a port in brackets",
        default=f"0.0.0.0:{PORT} with a keyring or --insecure, else 127.0.0.1:{PORT}",
        help="Address to listen on, UDP and TCP; port 0 is any free one. Without a keyring only loopback, unless"
        " insecure.",
        kind=list,
        metavar="ADDRESS[:PORT]",
    ),
    Setting(
        key="advertise",
        read=_advertise,
        expected="the IP address of one host, with or without a port; without: the port that it listens on",
        default="the bound address; the host's outward one if bound to all",
        help="Address told to others, where it differs from bind (NAT, containers).",
        metavar="ADDRESS[:PORT]",
    ),
    Setting(
        key="join",
        read=_join,
        expected=f"at most {limits.SEEDS_MAX} of HOST or HOST:PORT (port 1 to 65535, default {PORT})",
        default="nobody",
        help="Member to join through, tried for ever; DNS names stand for all their addresses.",
        kind=list,
        metavar="HOST[:PORT]",
    ),
    Setting(
        key="socket",
        read=_socket,
        expected=f"a path of at most {SOCKET_PATH_BYTES_MAX} bytes",
        default="/run/gossipd/gossipd.sock for root; else $XDG_RUNTIME_DIR/gossipd.sock, else gossipd.sock in /tmp/gossipd-UID",
        help="Unix socket of the local API.",
        metavar="PATH",
    ),
    Setting(
        key="socket_mode",
        read=_mode,
        expected='octal permissions as text, "0000" to "0777"',
        default='"0660"',
        help="Permissions of the Unix socket.",
        metavar="MODE",
    ),
    Setting(
        key="data_dir",
        read=_path,
        expected="a path",
        default="/var/lib/gossipd for root, else $XDG_STATE_HOME/gossipd or ~/.local/state/gossipd",
        help="Directory (made with mode 0700) of identity, peer book and kept registrations.",
        metavar="PATH",
    ),
    Setting(
        key="profile",
        read=_one_of(PROFILES),
        expected="one of lan, wan, local",
        default='"lan"',
        help="Set of protocol settings to start from; the same in the whole cluster.",
        choices=PROFILES,
    ),
    Setting(
        key="keyring",
        read=_path,
        expected="a path",
        default="none: packets are neither encrypted nor authenticated",
        help="File of base64 keys, one a line, the sealing key first (see gossipd keygen).",
        metavar="PATH",
    ),
    Setting(
        key="cluster",
        read=_label,
        expected=LABEL_RULE,
        default='"default"',
        help="Name of the cluster; daemons of different clusters do not mix.",
    ),
    Setting(
        key="insecure",
        read=_boolean,
        expected="true or false",
        default="false",
        help="Permit other addresses than loopback without a keyring: whoever reaches the port can then lie to all.",
        kind=bool,
    ),
    Setting(
        key="script_checks",
        read=_boolean,
        expected="true or false",
        default="false",
        help="Permit checks that run programs, as the daemon's user: whoever may register can then run what that user may.",
        kind=bool,
    ),
    Setting(
        key="services_dir",
        read=_path,
        expected="a path",
        default="none",
        help="Directory of TOML files with the instances of this host and their checks.",
        metavar="PATH",
    ),
    Setting(
        key="log_format",
        read=_one_of(LOG_FORMATS),
        expected="one of text, json",
        default='"text"',
        help="How log lines are written to stderr.",
        choices=LOG_FORMATS,
    ),
    Setting(
        key="log_level",
        read=_one_of(LOG_LEVELS),
        expected="one of debug, info, warning, error",
        default='"info"',
        help="Least level that is logged.",
        choices=LOG_LEVELS,
    ),
)
"""The keys outside any table; each is also a flag."""


def _range(cls: Callable[..., object], name: str) -> tuple[float, float]:
    """Return the inclusive range of a number of the protocol, as its own check states it."""
    try:
        cls(**{name: math.nan})
    except ConfigError as error:
        least, _, most = str(error).partition(", expected ")[2].partition(" to ")
        return float(least), float(most)
    raise AssertionError(f"{name} is not checked")


def figure(value: float) -> str:
    """Return *value* without an exponent: 2592000, 0.004."""
    return str(int(value)) if value == int(value) else str(value)


def _protocol_setting(section: str, field: Field[Any], default: object) -> Setting:
    key = f"{section}.{field.name}"
    if field.type is bool:
        return Setting(
            key=key, read=_boolean, expected="true or false", default=str(default).lower(), help="", kind=bool
        )
    choices = get_args(field.type)
    if choices:
        return Setting(
            key=key,
            read=_one_of(choices),
            expected=f"one of {', '.join(choices)}",
            default=str(default),
            help="",
            choices=choices,
        )
    kind = int if field.type is int else float
    least, most = _range(type(getattr(LAN, section)), field.name)
    return Setting(
        key=key,
        read=_number(kind, least, most),
        expected=f"{'a whole number' if kind is int else 'a number'} from {figure(least)} to {figure(most)}",
        default=figure(float(str(default))),
        help="",
        kind=kind,
    )


def _protocol_settings() -> tuple[Setting, ...]:
    return tuple(
        _protocol_setting(section, field, getattr(getattr(LAN, section), field.name))
        for section in SECTIONS
        for field in fields(getattr(LAN, section))
    )


PROTOCOL = _protocol_settings()
"""The keys of the tables that override the profile; the default shown is the lan profile's."""

SETTINGS: Mapping[str, Setting] = {setting.key: setting for setting in (*TOP, *PROTOCOL)}
"""All of them by key; labels apart, whose keys are free."""
