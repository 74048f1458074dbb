"""The daemon's settings: frozen, checked on construction.

Opens no file: the command line reads files and makes one of these.
"""

from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from gossipd.config import LAN, ProtocolConfig
from gossipd.errors import ConfigError
from gossipd.ids import LABEL_RULE, Address, is_label, parse_address, split_host_port
from gossipd.limits import NODE_LABELS_BYTES_MAX, SEEDS_MAX
from gossipd.validation import check_labels

if TYPE_CHECKING:
    from gossipd.crypto.keyring import Keyring

PORT = 7950
"""Where daemons listen, TCP and UDP, unless told otherwise."""

BIND_MAX = 16
"""Addresses to listen on."""

SOCKET_PATH_BYTES_MAX = 107
"""Longest path of a Unix socket on Linux: sun_path has 108 bytes, one of them ends it."""

LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")

RELOADABLE = ("labels", "keyring", "log_level", "join", "services_dir")
"""Fields that a running daemon can take over; every other one needs a restart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonConfig:
    """All that a daemon can be told. Raises: ConfigError, naming field, value and expectation."""

    name: str
    """The node's name, unique in the cluster: a DNS label, as a rule the host's short name."""
    socket: Path | str
    """Where local applications talk to the daemon: a Unix socket."""
    socket_mode: int = 0o660
    """Permission bits of that socket: whoever may write to it may register services and stop the daemon."""
    bind: tuple[Address | str, ...] = ()
    """IP addresses, with or without port, to listen on; port 0 lets the system choose.

    Empty: loopback; every IPv4 interface if there is a keyring or *insecure*."""
    advertise: str | None = None
    """IP address, with or without port, under which others reach us; None: chosen from what we listen on."""
    join: tuple[str, ...] = ()
    """Hosts, with or without port, to find the cluster through: one will do. Names mean all their addresses."""
    data_dir: Path | str | None = None
    """Directory for identity, peer book and kept registrations; None: nothing survives a restart."""
    cluster: str = "default"
    """The cluster's name: nodes of another one are not talked to."""
    keyring: "Keyring | None" = None
    """Keys that seal and open packets; None: they go in the clear."""
    insecure: bool = False
    """Whether to listen on more than loopback without a key: then anybody on the network can change the catalog."""
    labels: tuple[tuple[str, str], ...] = ()
    """Facts about this node (zone, region ...), shown to everybody; sorted by key."""
    protocol: ProtocolConfig = LAN
    """Timing; the same preset in the whole cluster."""
    script_checks: bool = False
    """Whether clients may register checks that run programs, as the user that the daemon runs as."""
    services_dir: Path | str | None = None
    """Directory of TOML files with the instances of this host; None: there are none."""
    log_format: str = "text"
    """text or json."""
    log_level: str = "info"
    """debug, info, warning or error."""
    bind_addresses: tuple[Address, ...] = field(init=False)
    """*bind*, parsed, with its default."""
    advertise_address: Address | None = field(init=False)
    """*advertise*, parsed; port 0: the one we listen on."""

    def __post_init__(self) -> None:
        _expect(is_label(self.name), "name", self.name, LABEL_RULE)
        _expect(is_label(self.cluster), "cluster", self.cluster, LABEL_RULE)
        path = str(self.socket).encode("utf-8", "surrogateescape")
        expected = f"a path of 1 to {SOCKET_PATH_BYTES_MAX} bytes"
        _expect(0 < len(path) <= SOCKET_PATH_BYTES_MAX and b"\0" not in path, "socket", str(self.socket), expected)
        _expect(0 <= self.socket_mode <= 0o777, "socket_mode", oct(self.socket_mode), "0 to 0o777")
        data_dir = "." if self.data_dir is None else str(self.data_dir)
        _expect(data_dir != "" and "\0" not in data_dir, "data_dir", data_dir, "a path")
        services_dir = "." if self.services_dir is None else str(self.services_dir)
        _expect(services_dir != "" and "\0" not in services_dir, "services_dir", services_dir, "a path")
        _expect(self.log_format in LOG_FORMATS, "log_format", self.log_format, " or ".join(LOG_FORMATS))
        _expect(self.log_level in LOG_LEVELS, "log_level", self.log_level, " or ".join(LOG_LEVELS))
        default = "127.0.0.1" if self.keyring is None and not self.insecure else "0.0.0.0"
        _expect(len(self.bind) <= BIND_MAX, "bind", len(self.bind), f"at most {BIND_MAX} addresses")
        bound = tuple(_listening("bind", str(text), default_port=PORT) for text in self.bind or (default,))
        object.__setattr__(self, "bind_addresses", bound)
        advertised = None if self.advertise is None else _listening("advertise", self.advertise, default_port=0)
        object.__setattr__(self, "advertise_address", advertised)
        self._check_reach()
        self._check_join()
        self._check_labels()

    def _check_reach(self) -> None:
        _expect(len(set(self.bind_addresses)) == len(self.bind_addresses), "bind", self.bind, "each address once")
        for address in self.bind_addresses:
            if self.keyring is None and not self.insecure and not ip_address(address.host).is_loopback:
                raise ConfigError(
                    f"bind={str(address)!r}, expected a loopback address, because there is no keyring: "
                    "make a key, or set insecure to let anybody on the network change the catalog"
                )
        if self.advertise_address is not None:
            host = ip_address(self.advertise_address.host)
            single = not (host.is_unspecified or host.is_multicast)
            _expect(single, "advertise", self.advertise, "the address of one host")

    def _check_join(self) -> None:
        _expect(len(self.join) <= SEEDS_MAX, "join", len(self.join), f"at most {SEEDS_MAX} hosts")
        for target in self.join:
            try:
                port = split_host_port(target, default_port=PORT)[1]
            except ValueError as error:
                raise ConfigError(f"join={error}") from None
            _expect(port > 0 and target.isprintable(), "join", target, "a host and a port from 1 to 65535")

    def _check_labels(self) -> None:
        try:
            checked = check_labels(self.labels)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        _expect(checked == self.labels, "labels", [key for key, _ in self.labels], "keys in their order")
        size = sum(len(text.encode()) for pair in self.labels for text in pair)
        if size > NODE_LABELS_BYTES_MAX:
            raise ConfigError(f"labels: {size} bytes in all, expected at most {NODE_LABELS_BYTES_MAX}")


def needing_restart(old: DaemonConfig, new: DaemonConfig) -> list[str]:
    """Return the settings that differ and that a running daemon cannot take over; protocol settings by their table."""
    kept = [setting.name for setting in fields(DaemonConfig) if setting.init and setting.name not in RELOADABLE]
    names = [name for name in kept if name != "protocol" and getattr(new, name) != getattr(old, name)]
    tables = [table.name for table in fields(ProtocolConfig)]
    return names + [f"[{name}]" for name in tables if getattr(new.protocol, name) != getattr(old.protocol, name)]


def _expect(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise ConfigError(f"{name}={value!r}, expected {expected}")


def _listening(name: str, text: str, *, default_port: int) -> Address:
    """Return the address in *text*. Raises: ConfigError."""
    try:
        return parse_address(text, default_port=default_port)
    except ValueError:
        raise ConfigError(f"{name}={text!r}, expected an IP address, with or without a port") from None
