"""Serf agents to measure beside ours: started, asked over their own RPC, killed. Debian's package is `serf`.

Its RPC is msgpack over TCP, one request at a time here; an event stream is a connection of its own.
"""

import base64
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import msgpack

from simulations.reality.cluster import free_port, wait_until

HOST = "127.0.0.1"

ROLE = {"role": "bench"}
"""The tag that every agent has from its start."""

Body = dict[Any, Any]
"""What a request carries, its keys text; and what an answer does, its keys and strings bytes, as serf's old msgpack has them."""


class Rpc:
    """One connection to an agent's RPC."""

    def __init__(self, port: int, *, timeout_s: float = 20.0) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unpacker = msgpack.Unpacker(raw=True, strict_map_key=False)
        self._sequence = 0
        self.call("handshake", {"Version": 1}, answers=False)

    def close(self) -> None:
        self._socket.close()

    def send(self, command: str, body: Body | None = None) -> None:
        """Send a request without waiting for its answer."""
        self._sequence += 1
        packed = msgpack.packb({"Command": command, "Seq": self._sequence}, use_bin_type=False)
        if body is not None:
            packed += msgpack.packb(body, use_bin_type=False)
        self._socket.sendall(packed)

    def call(self, command: str, body: Body | None = None, *, answers: bool = True) -> Body:
        """Return the answer's body; *answers*: whether there is one behind the header."""
        self.send(command, body)
        header = self.receive()
        if header[b"Error"]:
            raise OSError(f"serf {command}: {header[b'Error'].decode(errors='replace')}")
        return self.receive() if answers else {}

    def receive(self) -> Body:
        """Return the next object that the agent sends."""
        while True:
            for found in self._unpacker:
                return dict(found)
            data = self._socket.recv(1 << 20)
            if not data:
                raise ConnectionError("the serf agent closed the connection")
            self._unpacker.feed(data)


class Agent:
    """One process, and a connection to it."""

    def __init__(self, name: str, *, key: str | None, directory: Path) -> None:
        self.name = name
        self.port, self.rpc_port = free_port(HOST), free_port(HOST)
        command = ["serf", "agent", f"-node={name}", f"-bind={HOST}:{self.port}", f"-rpc-addr={HOST}:{self.rpc_port}"]
        command += ["-profile=lan", "-log-level=warn", *([] if key is None else [f"-encrypt={key}"])]
        command += [f"-tag={tag}={value}" for tag, value in ROLE.items()]
        with (directory / f"{name}.log").open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory)
        self._rpc: Rpc | None = None

    @property
    def rpc(self) -> Rpc:
        if self._rpc is None:
            self._rpc = Rpc(self.rpc_port)
        return self._rpc

    def answers(self) -> bool:
        try:
            return bool(self.rpc.call("stats"))
        except OSError:
            return False

    def alive(self) -> int:
        """Return how many members it believes alive."""
        stats = self.rpc.call("stats")[b"serf"]
        return int(stats[b"members"]) - int(stats[b"failed"]) - int(stats[b"left"])

    def member(self, name: str) -> Body:
        """Return its row of *name*, empty if it has none."""
        rows = self.rpc.call("members-filtered", {"Name": name, "Status": "", "Tags": {}})[b"Members"]
        return dict(rows[0]) if rows else {}

    def tag(self, tags: Mapping[str, str]) -> None:
        self.rpc.call("tags", {"Tags": dict(tags), "DeleteTags": []}, answers=False)


class Agents:
    """*count* agents that know nobody yet; on exit all have ended."""

    def __init__(self, count: int, *, sealed: bool) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="gossipd-bench-serf-"))
        key = base64.b64encode(secrets.token_bytes(32)).decode() if sealed else None
        self.agents: list[Agent] = []
        try:
            for number in range(1, count + 1):
                self.agents.append(Agent(f"n{number}", key=key, directory=self._directory))
            for agent in self.agents:
                wait_until(agent.answers, what=f"serf agent {agent.name} answers", within_s=60)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        for agent in self.agents:
            agent.process.kill()
        for agent in self.agents:
            agent.process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def pids(self) -> list[int]:
        return [agent.process.pid for agent in self.agents if agent.process.poll() is None]


def version() -> str:
    """Return the first line that `serf version` prints."""
    found = subprocess.run(["serf", "version"], capture_output=True, text=True, timeout=20, check=False)
    return (found.stdout.splitlines() or ["unknown"])[0]


def installed() -> bool:
    return shutil.which("serf") is not None


def wait_seen(agents: list[Agent], wanted: Callable[[Agent], bool], *, pause_s: float, within_s: float) -> float:
    """Return when the last of *agents* was *wanted*; those that were not are asked again after *pause_s* seconds."""
    until = time.monotonic() + within_s
    waiting = list(agents)
    while waiting:
        time.sleep(pause_s)
        waiting = [agent for agent in waiting if not wanted(agent)]
        if waiting and time.monotonic() >= until:
            raise TimeoutError(f"{len(waiting)} serf agents do not see it within {within_s:g} s")
    return time.monotonic()
