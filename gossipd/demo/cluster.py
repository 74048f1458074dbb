"""Real daemons of this machine as child processes: start, ask, kill, stop, and nothing left behind."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from gossipd.client import Client
from gossipd.crypto.keyring import encode_key, generate_key
from gossipd.errors import RequestError

HOST = "127.0.0.1"

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends the demo early, in order: whatever was started is ended first."""

CALL_TIMEOUT_S = 2.0
"""How long a daemon may take to answer; one that is starting or was killed is asked again."""

POLL_S = 0.03
"""Pause between two looks at all daemons: the precision of the times that are told."""

TEMP_PATH_MAX = 70
"""Longest temporary directory: the path of a Unix socket below it must fit 107 bytes."""

LOG_TAIL_LINES = 6


class BrokenPromise(Exception):
    """Something that the demo promised did not happen; *about* names the daemons whose logs may tell why."""

    def __init__(self, message: str, *, about: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.about = tuple(about)


@dataclass(slots=True, kw_only=True)
class Daemon:
    """One node of the demo; *process* is None before its start and after its end."""

    name: str
    port: int
    directory: Path
    process: "subprocess.Popen[bytes] | None" = None
    client: Client | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def socket(self) -> Path:
        return self.directory / "api.sock"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    def ask(self, method: str, **params: object) -> dict[str, Any] | None:
        """Return the daemon's answer; None if it does not answer (yet, or any more)."""
        try:
            return self.call(method, **params)
        except (RequestError, OSError):
            self.hang_up()
            return None

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """Return the daemon's answer. Raises: RequestError, OSError."""
        if self.client is None:
            self.client = Client(str(self.socket), timeout_s=CALL_TIMEOUT_S)
        return self.client.call(method, **params)

    def hang_up(self) -> None:
        client, self.client = self.client, None
        if client is not None:
            client.close()


class Cluster:
    """The daemons n1 to n*nodes* on loopback ports, in a temporary directory. A context manager that leaves nothing."""

    def __init__(self, *, nodes: int) -> None:
        parent = None if len(tempfile.gettempdir()) <= TEMP_PATH_MAX else "/tmp"
        self.directory = Path(tempfile.mkdtemp(prefix="gossipd-demo-", dir=parent))
        self.daemons: dict[str, Daemon] = {}
        try:
            self._key().touch(mode=0o600)
            self._key().write_text(f"{encode_key(generate_key(os.urandom))}\n")
            for number, port in enumerate(_free_ports(nodes), start=1):
                name = f"n{number}"
                (self.directory / name).mkdir(mode=0o700)
                self.daemons[name] = Daemon(name=name, port=port, directory=self.directory / name)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End whatever still runs, at once, and remove the directory; an interrupt waits until that is done."""
        with interrupts_deferred():
            self._close()

    def _close(self) -> None:
        running = [daemon for daemon in self.daemons.values() if daemon.process is not None]
        for daemon in self.daemons.values():
            daemon.hang_up()
        for daemon in running:
            assert daemon.process is not None
            daemon.process.kill()
        for daemon in running:
            assert daemon.process is not None
            daemon.process.wait()
            daemon.process = None
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, name: str, *, join: str | None) -> None:
        """Start the daemon *name*, which knows of nobody but *join*."""
        daemon = self.daemons[name]
        command = [sys.executable, "-m", "gossipd", "run", "--name", name, "--bind", daemon.address]
        command += ["--socket", str(daemon.socket), "--data-dir", str(daemon.directory / "data")]
        command += ["--keyring", str(self._key()), "--profile", "local", "--cluster", "demo"]
        command += ["--label", f"rack=r{1 + int(name[1:]) % 2}"]
        if join is not None:
            command += ["--join", self.daemons[join].address]
        with daemon.log.open("ab") as log, interrupts_deferred():  # or a child could be born that we do not know of
            daemon.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(os.environ),
                start_new_session=True,  # Ctrl-C is ours: we end them in order
            )

    def kill(self, name: str) -> None:
        """End *name* with SIGKILL: it can tell nobody."""
        daemon = self.daemons[name]
        assert daemon.process is not None
        daemon.process.kill()
        daemon.process.wait()
        daemon.process = None
        daemon.hang_up()

    def terminate(self, names: Iterable[str], *, within_s: float) -> None:
        """Send SIGTERM to *names*. Raises: BrokenPromise unless each ends with 0 within *within_s* seconds."""
        until = time.monotonic() + within_s
        stopping = [self.daemons[name] for name in names]
        for daemon in stopping:
            assert daemon.process is not None
            daemon.process.send_signal(signal.SIGTERM)
        for daemon in stopping:
            assert daemon.process is not None
            try:
                code = daemon.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise BrokenPromise(
                    f"{daemon.name} did not end within {within_s:.0f} s of SIGTERM", about=[daemon.name]
                ) from None
            daemon.process = None
            daemon.hang_up()
            if code != 0:
                raise BrokenPromise(f"{daemon.name} ended with {code} after SIGTERM, not with 0", about=[daemon.name])

    def running(self) -> list[Daemon]:
        """Return the daemons that should be running. Raises: BrokenPromise if one of them ended by itself."""
        found = [daemon for daemon in self.daemons.values() if daemon.process is not None]
        for daemon in found:
            assert daemon.process is not None
            code = daemon.process.poll()
            if code is not None:
                raise BrokenPromise(f"{daemon.name} ended by itself with {code}", about=[daemon.name])
        return found

    def views(self) -> dict[str, dict[str, Mapping[str, Any]]]:
        """Return by observer what it says of each member (rows by name); of one that does not answer: nothing."""
        views = {}
        for daemon in self.running():
            answer = daemon.ask("members")
            views[daemon.name] = {} if answer is None else {row["name"]: row for row in answer["members"]}
        return views

    def log_tail(self, name: str) -> list[str]:
        """Return the last lines that the daemon *name* logged."""
        try:
            return self.daemons[name].log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        except (OSError, KeyError):
            return []

    def copy_logs(self, target: Path) -> None:
        """Copy each daemon's log to *target*/NAME.log."""
        target.mkdir(parents=True, exist_ok=True)
        for daemon in self.daemons.values():
            if daemon.log.exists():
                shutil.copyfile(daemon.log, target / f"{daemon.name}.log")

    def _key(self) -> Path:
        return self.directory / "cluster.key"


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Hold back SIGINT, SIGTERM and SIGHUP; if one came, raise KeyboardInterrupt at the end."""
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    former = {number: signal.signal(number, note) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return *environ* without what would steer the daemons: our own variables, and systemd's."""
    return {
        key: value
        for key, value in environ.items()
        if not key.startswith("GOSSIPD_") and key not in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
    }


def _free_ports(count: int) -> list[int]:
    """Return ports of loopback that are free for TCP and UDP now, all held until the last is found."""
    ports: list[int] = []
    held: list[socket.socket] = []
    try:
        while len(ports) < count:
            tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            held += [tcp, udp]
            tcp.bind((HOST, 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind((HOST, port))
            except OSError:
                continue
            ports.append(port)
    finally:
        for each in held:
            each.close()
    return ports
