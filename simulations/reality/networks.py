"""Where real daemons run: each in a network namespace of its own, on bridges of ours that a cut parts; or all on loopback.

Whatever is made lies in namespaces of this process alone: when it ends, however it ends, the kernel takes all of it away.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence

from simulations.faults import Hosts

INSIDE = "GOSSIPD_LAB_INSIDE"
"""Set in the environment of a process that runs in namespaces of its own."""

TOOLS = ("unshare", "nsenter", "ip", "mount")

HIDDEN = "/run"
"""Empty in our namespaces, and gone with them: what is there outside is not seen, and holds what is temporary."""

COMMAND_S = 30.0
"""Longest that a command here may take."""

PORT = 7950

BRIDGES = 8
"""Most groups that a cut can make."""


class Loopback:
    """All daemons on 127.0.0.1, each on a port of its own. Nothing can be cut."""

    def __init__(self, why: str) -> None:
        self.why = why
        """Why there are no namespaces."""

    def host(self, number: int) -> str:
        return "127.0.0.1"

    def port(self, number: int) -> int | None:
        """None: whatever is free, and the same again after a restart."""
        return None

    def through(self, number: int) -> Sequence[str]:
        return ()

    def cut(self, groups: Sequence[Hosts]) -> None:
        raise ValueError(f"loopback cannot be cut: {self.why}")

    def heal(self) -> None:
        raise ValueError(f"loopback cannot be cut: {self.why}")


class Bridged(Loopback):
    """*hosts* namespaces, each with one interface to a bridge in ours. A cut is a bridge for each group: silence, no errors.

    Addresses are of 192.0.2.0/24, which no network has (RFC 5737).
    """

    def __init__(self, hosts: int) -> None:
        super().__init__("")
        self._all = range(hosts)
        lines = [f"link add b{bridge} type bridge" for bridge in range(BRIDGES)]
        lines += [f"link set b{bridge} up" for bridge in range(BRIDGES)]
        for number in self._all:
            lines += [f"netns add n{number}", f"link add v{number} type veth peer name eth0 netns n{number}"]
            lines += [f"link set v{number} master b0 up"]
        _ip(lines)
        for number in self._all:
            inside = ["link set lo up", f"address add {self.host(number)}/24 dev eth0", "link set eth0 up"]
            _ip(inside, f"n{number}")

    def host(self, number: int) -> str:
        return f"192.0.2.{number + 1}"

    def port(self, number: int) -> int | None:
        return PORT

    def through(self, number: int) -> Sequence[str]:
        return ("nsenter", f"--net={HIDDEN}/netns/n{number}")

    def cut(self, groups: Sequence[Hosts]) -> None:
        """Let only those who share a group hear each other. Raises: ValueError unless each host is in exactly one."""
        if len(groups) > BRIDGES or sorted(host for group in groups for host in group) != sorted(
            {host for group in groups for host in group}
        ):
            raise ValueError(f"groups={groups!r}, expected at most {BRIDGES} groups, and each host in at most one")
        _ip([f"link set v{host} master b{bridge}" for bridge, group in enumerate(groups) for host in group])

    def heal(self) -> None:
        _ip([f"link set v{number} master b0" for number in self._all])


def why_not(environ: Mapping[str, str]) -> str | None:
    """Return why this machine lets us have no namespaces of our own; None: it does."""
    if INSIDE in environ:
        return None
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"there is no {' and no '.join(missing)} on this machine"
    tried = _run([*_unshare(), "ip", "link", "add", "b0", "type", "bridge"])
    if tried.returncode == 0:
        return None
    said = tried.stderr.strip().splitlines() or [f"exit status {tried.returncode}"]
    return f"namespaces are refused to {'root' if os.geteuid() == 0 else 'who is not root'}: {said[-1]}"


def enter(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Become ``python -m simulations *arguments*`` in namespaces of our own: network, mounts, processes. Returns if we are there.

    There /run is an empty file system of ours, and holds all temporary files. Raises: OSError.
    """
    if INSIDE in environ:
        for line in (f"mount -t tmpfs -o mode=0755 tmpfs {HIDDEN}", f"mkdir {HIDDEN}/netns", "ip link set lo up"):
            _done(_run(line.split()))
        return
    command = [*_unshare(), sys.executable, "-m", "simulations", *arguments]
    sys.stdout.flush()
    os.execvpe(command[0], command, {**environ, INSIDE: "1", "TMPDIR": HIDDEN})


def _unshare() -> list[str]:
    """Return the command that runs another in new namespaces; when it dies, so does all that runs there."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


def _ip(lines: Sequence[str], namespace: str | None = None) -> None:
    """Run *lines* of `ip -batch`. Raises: OSError."""
    within = [] if namespace is None else ["-n", namespace]
    _done(_run(["ip", *within, "-batch", "-"], given="\n".join(lines) + "\n"))


def _run(command: Sequence[str], *, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=COMMAND_S, check=False)


def _done(process: subprocess.CompletedProcess[str]) -> None:
    """Raises: OSError with what *process* complained of, if it failed."""
    if process.returncode != 0:
        raise OSError(f"{' '.join(process.args)}: {process.stderr.strip()}")
