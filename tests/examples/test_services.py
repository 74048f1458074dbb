"""Three services of an example and its caller: the commands of the how-to, a death in the midst of calls, a stop."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from simulations.reality.cluster import PATIENCE_S, Cluster, Daemon, free_port, wait_until
from tests.examples.programs import EXAMPLES, Program

pytestmark = pytest.mark.slow

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Kind:
    """What serves, who calls it, and under which name it is found."""

    server: str
    caller: str
    service: str


KINDS = [Kind("service.py", "caller.py", "web"), Kind("grpc_server.py", "grpc_caller.py", "greeter")]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.service)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture(scope="module")
def servers(cluster: Cluster, kind: Kind) -> Iterator[dict[int, Program]]:
    """One on each daemon, by port, for all tests of this kind: each ends one of them. They are ready; afterwards none is."""
    with ExitStack() as stack:
        programs = {name: stack.enter_context(_start(kind, cluster[name])) for name in ("n1", "n2", "n3")}
        wait_until(lambda: len(cluster["n1"].passing(kind.service)) == 3, what="all are ready")
        yield {row["port"]: programs[row["node"]] for row in cluster["n1"].instances(kind.service)}
    wait_until(lambda: not cluster["n1"].passing(kind.service), what="none is ready any more")


def running(servers: dict[int, Program]) -> set[int]:
    """Return the ports of those that nobody has ended."""
    return {port for port, server in servers.items() if server.process.poll() is None}


class Asker:
    """Has a caller greet names, and knows who answered."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.asked = 0

    def ask(self, count: int) -> None:
        self.program.say(*(f"n{number}" for number in range(self.asked, self.asked + count)))
        self.asked += count

    def answerers(self) -> Counter[int]:
        """Wait for all answers and return how many each port gave. Raises: AssertionError if one is missing."""
        lines = self.program.wait_lines(lambda lines: len(lines) >= self.asked, what="all answers")
        greeted = [line.partition(" from ") for line in lines]
        assert [text for text, _, _ in greeted] == [f"hello n{number}" for number in range(self.asked)]
        return Counter(int(port) for _, _, port in greeted)


def test_no_call_fails_when_one_of_three_is_killed_and_soon_nobody_calls_it(
    cluster: Cluster, kind: Kind, servers: dict[int, Program]
) -> None:
    with Program(kind.caller, cluster["n1"]) as program:
        asker = Asker(program)
        asker.ask(100)
        assert asker.answerers().keys() == running(servers)
        victim = max(running(servers))
        asker.ask(400)
        program.wait_lines(lambda lines: len(lines) > 150, what="it is busy")
        servers[victim].process.kill()
        before = asker.answerers()[victim]
        assert before > 0
        wait_until(
            lambda: victim not in {row["port"] for row in cluster["n1"].instances(kind.service) if row["ready"]},
            what="the killed one is not ready",
        )
        servers[victim].process.wait()
        with socket.create_server((HOST, victim)) as instead:
            instead.setblocking(False)

            def calls_in_vain() -> int:
                asker.ask(50)
                asker.answerers()
                return _accepted(instead)

            wait_until(lambda: calls_in_vain() == 0, what="nobody calls it")
            assert calls_in_vain() == 0
        assert asker.answerers()[victim] == before
        assert program.end() == 0


def test_a_server_that_is_told_to_stop_still_answers_while_it_drains(
    cluster: Cluster, kind: Kind, servers: dict[int, Program]
) -> None:
    port = max(running(servers))

    def row() -> dict[str, Any]:
        """The row of the instance, empty if there is none."""
        return next((row for row in cluster["n1"].instances(kind.service) if row["port"] == port), {})

    assert row()["ready"]
    servers[port].process.terminate()
    wait_until(lambda: row()["terminating"], what="its work is sent elsewhere")
    socket.create_connection((HOST, port), PATIENCE_S).close()
    servers[port].process.wait(PATIENCE_S)
    wait_until(lambda: not row(), what="it has withdrawn itself")


@pytest.mark.parametrize("page", ["serve-and-call.md", "call-over-grpc.md"])
def test_the_commands_of_a_page_greet_everybody(cluster: Cluster, page: str) -> None:
    text = (EXAMPLES.parent / page).read_text(encoding="utf-8")
    [commands] = re.findall(r"^```\npip install [^\n]*\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    commands = re.sub(r"\b808\d\b", lambda _: str(free_port(HOST)), commands)
    environment = {
        "GOSSIPD_SOCKET": cluster["n2"].socket,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    shell = subprocess.Popen(
        ["bash", "-ec", f"{commands}\nkill -KILL $(jobs -p)"],
        cwd=EXAMPLES,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = shell.communicate(timeout=PATIENCE_S)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
    assert re.findall(r"^hello (\w+) from \d+$", output, flags=re.MULTILINE) == ["ann", "bob", "cy"]


def _start(kind: Kind, daemon: Daemon) -> Program:
    return Program(kind.server, daemon, PORT=str(free_port(HOST)))


def _accepted(listener: socket.socket) -> int:
    """Accept and close whoever is waiting; return how many there were."""
    count = 0
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return count
        connection.close()
        count += 1
