"""Real daemons as child processes, for tests and measurements: start, ask, kill, stall, stop, and nothing left behind.

Nothing here sleeps for a fixed time: whoever waits says for what, and how long at most. A daemon's log is JSON, one file a name,
kept over its restarts.
"""

import base64
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from gossipd.client import Client
from gossipd.errors import RequestError

PATIENCE_S = 40.0
"""How long a condition may take to come true. Generous: it only decides when a broken daemon is given up."""

POLL_S = 0.03
"""Pause between two looks at a condition."""

CALL_TIMEOUT_S = 20.0
"""How long one answer of a daemon may take."""

PORTS = (20_000, 32_000)
"""Where free ports are looked for: below what systems hand out for outgoing connections, so that a restart finds its own again."""

TEMP_PATH_MAX = 60
"""Longest temporary directory: the path of a Unix socket below it must fit 107 bytes."""

_given_ports: set[int] = set()
"""Ports returned by `free_port`: whoever got one may not listen there yet."""

T = TypeVar("T")


def wait_until(look: Callable[[], T], *, what: str, within_s: float = PATIENCE_S) -> T:
    """Return the first true value of *look*, called again and again. Raises: AssertionError after *within_s* seconds.

    *look* may raise AssertionError or RequestError, which count as not yet.
    """
    until = time.monotonic() + within_s
    while True:
        try:
            found = look()
            seen: object = found
            if found:
                return found
        except (AssertionError, RequestError) as error:
            seen = error
        if time.monotonic() >= until:
            raise AssertionError(f"not within {within_s:g} s: {what}; last seen: {seen!r}")
        time.sleep(POLL_S)


class Daemon:
    """One daemon: a name, where it listens, and its process, which may have ended."""

    def __init__(self, name: str, *, host: str, port: int, directory: Path, command: Sequence[str]) -> None:
        self.name = name
        self.host = host
        self.port = port
        self.directory = directory
        self.command = list(command)
        self.started_at = time.monotonic()
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=_environment(os.environ),
                start_new_session=True,
            )

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def socket(self) -> str:
        return self.command[self.command.index("--socket") + 1]

    @property
    def log_path(self) -> Path:
        return self.directory / "log"

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    # ------------------------------------------------------------------------------------------------------------ asking

    def client(self) -> Client:
        """Return a new connection; what is registered through it goes with it."""
        return Client(self.socket, timeout_s=CALL_TIMEOUT_S)

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """Return the answer on a connection of its own. Raises: RequestError."""
        with self.client() as client:
            return client.call(method, **params)

    def info(self) -> dict[str, Any]:
        info: dict[str, Any] = self.call("info")["info"]
        return info

    def statistics(self) -> dict[str, Any]:
        statistics: dict[str, Any] = self.call("statistics")["statistics"]
        return statistics

    def members(self) -> dict[str, dict[str, Any]]:
        """Return its rows by name."""
        return {row["name"]: row for row in self.call("members")["members"]}

    def statuses(self) -> dict[str, str]:
        """Return what it believes of each member, by name."""
        return {name: row["status"] for name, row in self.members().items()}

    def instances(self, service: str) -> list[dict[str, Any]]:
        """Return the rows of *service*, the unreachable ones too."""
        rows: list[dict[str, Any]] = self.call("resolve", service=service, status="any")["instances"]
        return rows

    def passing(self, service: str) -> set[str]:
        """Return the ids of *service* that may be used."""
        return {row["id"] for row in self.call("resolve", service=service)["instances"]}

    def log(self, message: str | None = None, **fields: object) -> list[dict[str, Any]]:
        """Return the lines it logged so far; only those with this *message*, and with these *fields*, if given."""
        lines = []
        for text in self.log_path.read_text(errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            wanted = message is None or line.get("message") == message
            if wanted and all(line.get(name) == value for name, value in fields.items()):
                lines.append(line)
        return lines

    def complaint(self) -> str:
        """Return what it wrote that is no log line: why it refused to start."""
        lines = self.log_path.read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if not line.startswith("{"))

    def rss_bytes(self) -> int:
        """Return its resident memory."""
        return memory_bytes(self.process.pid)

    # ------------------------------------------------------------------------------------------------------------ acting

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it with SIGKILL: it can tell nobody."""
        self.process.kill()
        self.process.wait()

    def terminate(self, *, within_s: float = PATIENCE_S) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.terminate()
        return self.wait(within_s=within_s)

    def wait(self, *, within_s: float = PATIENCE_S) -> int:
        """Return the exit code once it has ended. Raises: subprocess.TimeoutExpired."""
        return self.process.wait(within_s)

    def stop(self) -> None:
        """Stall it: it neither runs nor dies."""
        self.signal(signal.SIGSTOP)

    def cont(self) -> None:
        self.signal(signal.SIGCONT)

    def wait_ready(self, *, within_s: float = PATIENCE_S) -> Self:
        """Return once it answers on its socket."""

        def answers() -> bool:
            if not self.running:
                raise BrokenStart(f"{self.name} ended with {self.process.returncode}: {self.complaint()}")
            return bool(self.info())

        wait_until(answers, what=f"{self.name} answers", within_s=within_s)
        return self


class BrokenStart(Exception):
    """A daemon ended before it was ready."""


class Cluster:
    """Daemons with one fresh key in a temporary directory; on exit all processes have ended and the directory is gone."""

    def __init__(self, *, profile: str = "local", cluster: str = "test", sealed: bool = True) -> None:
        parent = None if len(tempfile.gettempdir()) <= TEMP_PATH_MAX else "/tmp"
        self.directory = Path(tempfile.mkdtemp(prefix="gossipd-e2e-", dir=parent))
        self.profile = profile
        self.name = cluster
        self.daemons: dict[str, Daemon] = {}
        self._all: list[Daemon] = []
        self.keyring = self.write_key("cluster.key") if sealed else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.print_logs()
        self.close()

    def __getitem__(self, name: str) -> Daemon:
        return self.daemons[name]

    def close(self) -> None:
        """End whatever still runs, at once, and remove the directory."""
        for daemon in self._all:
            if daemon.running:
                daemon.process.kill()  # a stalled process dies of it as well
        for daemon in self._all:
            daemon.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def write_key(self, name: str) -> Path:
        """Return the path of a new keyring file with one random key."""
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(base64.b64encode(secrets.token_bytes(32)).decode() + "\n")
        return path

    def launch(
        self,
        name: str,
        *,
        join: Sequence[str | Daemon] = (),
        host: str = "127.0.0.1",
        port: int | None = None,
        key: str | None = None,
        options: Mapping[str, str | Path | None] | None = None,
        labels: Mapping[str, str] | None = None,
        through: Sequence[str] = (),
    ) -> Daemon:
        """Start *name* and return at once. *key* is what it is called here, if two have one name; *options* replace flags.

        Without *port* a restart listens where it did before. *through* is a command that becomes the one it is given, such as
        nsenter's.
        """
        key = key or name
        directory = self.directory / key
        directory.mkdir(mode=0o700, exist_ok=True)
        before = self.daemons.get(key)
        if port is None:
            port = before.port if before is not None else free_port(host)
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        flags: dict[str, str | Path | None] = {
            "name": name,
            "bind": address,
            "cluster": self.name,
            "profile": self.profile,
        }
        flags |= {"socket": directory / "api.sock", "data-dir": directory / "data", "keyring": self.keyring}
        flags |= {"log-format": "json", "log-level": "debug" if self.profile == "local" else "info"}
        flags |= options or {}
        command = [*through, sys.executable, "-m", "gossipd", "run"]
        for flag, value in flags.items():
            command += [] if value is None else [f"--{flag}", str(value)]
        for target in join:
            command += ["--join", target.address if isinstance(target, Daemon) else target]
        for label, text in (labels or {}).items():
            command += ["--label", f"{label}={text}"]
        daemon = Daemon(name, host=host, port=port, directory=directory, command=command)
        self._all.append(daemon)
        self.daemons[key] = daemon
        return daemon

    def start(self, name: str, **how: Any) -> Daemon:
        """Start *name*, as `launch`, and return once it answers."""
        return self.launch(name, **how).wait_ready()

    def start_together(self, count: int, **how: Any) -> list[Daemon]:
        """Start n1 to n*count*, all joining n1 and nothing else; return once every view is complete."""
        first = self.launch("n1", **how)
        daemons = [first, *(self.launch(f"n{number}", join=[first], **how) for number in range(2, count + 1))]
        for daemon in daemons:
            daemon.wait_ready()
        self.wait_agreed(*daemons)
        return daemons

    def wait_agreed(self, *daemons: Daemon, within_s: float = PATIENCE_S) -> None:
        """Return once each of *daemons*, or of all that run, believes exactly all of them alive."""
        among = daemons or tuple(daemon for daemon in self.daemons.values() if daemon.running)
        names = {daemon.name for daemon in among}

        def agreed() -> bool:
            views = {daemon.name: daemon.statuses() for daemon in among}
            wrong = {name: view for name, view in views.items() if alive(view) != names}
            assert not wrong, wrong
            return True

        wait_until(agreed, what=f"{sorted(names)} see each other alive", within_s=within_s)

    def state(self) -> dict[str, Any]:
        """Return what every running daemon believes, without what merely grows older."""
        return {key: _beliefs(daemon) for key, daemon in self.daemons.items() if daemon.running}

    def print_logs(self, *, lines: int = 40) -> None:
        """Print the last lines of every log; pytest shows them beside a failure."""
        for key, daemon in self.daemons.items():
            print(
                f"---- {key} ({'running' if daemon.running else daemon.process.returncode}) {' '.join(daemon.command)}"
            )
            print("\n".join(daemon.log_path.read_text(errors="replace").splitlines()[-lines:]))


def alive(view: Mapping[str, str]) -> set[str]:
    """Return the names that *view*, statuses by name, has alive."""
    return {name for name, status in view.items() if status == "alive"}


def memory_bytes(pid: int) -> int:
    """Return the resident memory of process *pid*, from /proc."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no memory: it has ended")


def free_port(host: str) -> int:
    """Return a port that is free on *host* for TCP and for UDP now, and was not returned before; see PORTS."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        port = random.randrange(*PORTS)
        if port in _given_ports and len(_given_ports) < (PORTS[1] - PORTS[0]) // 2:
            continue
        with socket.socket(family, socket.SOCK_STREAM) as tcp, socket.socket(family, socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind((host, port))
                udp.bind((host, port))
            except OSError:
                continue
            _given_ports.add(port)
            return port


def _beliefs(daemon: Daemon) -> dict[str, Any]:
    with daemon.client() as client:
        watch = client.watch(members=True, services=True)
        snapshot: dict[str, Any] = next(watch)
        info: dict[str, Any] = client.call("info")["info"]  # type: ignore[assignment]
    ageless = ("since_s", "vouched_s", "rtt_ms", "age_s")
    rows = [
        {key: value for key, value in row.items() if key not in ageless}
        for row in [*snapshot["members"], *snapshot["instances"]]
    ]
    kept = ("name", "epoch", "counter", "labels", "conflict", "key_ids", "leaving")
    return {"rows": rows, "info": {key: info[key] for key in kept}}


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return *environ* without what would steer the daemons."""
    steering = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
    return {key: value for key, value in environ.items() if not key.startswith("GOSSIPD_") and key not in steering}
