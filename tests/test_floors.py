"""The layout holds: imports go down, the world stays in the shell, nothing grows too long; and each check can fail."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.floors import (
    FUNCTION_LINES_MAX,
    MODULE_LINES_MAX,
    Module,
    Offence,
    import_offences,
    read_modules,
    simulation_offences,
    size_offences,
)

ROOT = Path(__file__).parent.parent


def test_every_import_of_gossipd_keeps_to_its_floor() -> None:
    modules = read_modules(ROOT, "gossipd")
    assert modules, "no module found: the check would pass on an empty tree"
    assert _lines([offence for module in modules for offence in import_offences(module)]) == ""


def test_simulations_import_only_the_floors_below_the_shell() -> None:
    modules = read_modules(ROOT, "simulations")
    assert _lines([offence for module in modules for offence in simulation_offences(module)]) == ""


def test_no_module_and_no_function_is_too_long() -> None:
    modules = read_modules(ROOT, "gossipd")
    assert _lines([offence for module in modules for offence in size_offences(module)]) == ""


def test_the_node_imports_where_there_is_no_trio() -> None:
    outcome = _import_without_trio("gossipd.node.node", folder=ROOT)
    assert outcome.returncode == 0, outcome.stderr


def test_the_import_without_trio_fails_on_a_planted_trio(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text("import trio\n", encoding="utf-8")
    outcome = _import_without_trio("planted", folder=tmp_path)
    assert outcome.returncode == 1
    assert "import of trio halted" in outcome.stderr


@pytest.mark.parametrize(
    ("path", "source", "rule"),
    [
        ("errors.py", "from gossipd.limits import DATAGRAM_BYTES_MAX", "sibling"),
        ("limits.py", "from gossipd.errors import GossipdError", "sibling"),
        ("ids.py", "import gossipd.records", "sibling"),
        ("records.py", "from gossipd import config", "sibling"),
        ("config.py", "from gossipd.records import Claim", "sibling"),
        ("records.py", "from gossipd.wire.messages import Ping", "upward"),
        ("wire/codec.py", "from gossipd.crypto import seal", "sibling"),
        ("wire/codec.py", "from gossipd.core.effects import Tell", "upward"),
        ("core/effects.py", "from gossipd.node.actions import SendDatagram", "upward"),
        ("core/effects.py", "from gossipd.core.membership.table import Table", "sibling"),
        ("core/membership/table.py", "from gossipd.core.catalog.store import Store", "sibling"),
        ("core/membership/table.py", "from ..broadcast.queue import Queue", "sibling"),
        ("core/membership/__init__.py", "from ..sync import digest", "sibling"),
        ("core/broadcast/queue.py", "from gossipd.core.membership import table", "sibling"),
        ("core/catalog/store.py", "from gossipd.core.checks.verdict import Verdict", "sibling"),
        ("core/checks/verdict.py", "from gossipd.core.sync.digest import Digest", "sibling"),
        ("core/sync/delta.py", "from gossipd.core.broadcast.budget import Budget", "sibling"),
        ("core/sync/delta.py", "from gossipd.wire.codec import encode", "bytes in core"),
        ("core/sync/delta.py", "from gossipd.wire import frames", "bytes in core"),
        ("core/catalog/store.py", "import gossipd.crypto.seal", "bytes in core"),
        ("node/node.py", "from gossipd.shell.driver import Driver", "upward"),
        ("node/node.py", "def late() -> None:\n    from gossipd.api import requests", "upward"),
        ("shell/driver.py", "from gossipd.api.server import serve", "sibling"),
        ("api/server.py", "from gossipd.shell.streams import Stream", "sibling"),
        ("client.py", "from gossipd.api.server import serve", "sibling"),
        ("metrics.py", "from gossipd.client import Client", "sibling"),
        ("balancing/calls.py", "from gossipd.node.view import InstanceRow", "reach"),
        ("balancing/base.py", "from gossipd.wire.codec import encode", "reach"),
        ("balancing/base.py", "from gossipd.client import Client", "reach"),
        ("balancing/base.py", "import trio", "trio"),
        ("client/blocking.py", "from anyio.abc import SocketStream", "anyio"),
        ("shell/driver.py", "import anyio", "anyio"),
        ("api/session.py", "from gossipd.node.node import Node", "node in a door"),
        ("gateway/routes.py", "from gossipd.node import node", "node in a door"),
        ("client.py", "from gossipd.daemon import run", "upward"),
        ("demo.py", "from gossipd.cli.render import table", "upward"),
        ("systemd.py", "from gossipd.daemon import run", "sibling"),
        ("node/node.py", "from tests.builders import a_node", "outside"),
        ("daemon.py", "import simulations.world", "outside"),
        ("node/view.py", "import gossipd", "unplaced"),
        ("plugins.py", "", "unplaced"),
        ("node/node.py", "import trio", "trio"),
        ("api/session.py", "from trio.abc import Stream", "trio"),
        ("metrics.py", "import trio", "trio"),
        ("core/server.py", "import trio", "trio"),
        ("node/node.py", "import time", "world"),
        ("core/deadlines.py", "from datetime import UTC", "world"),
        ("node/outbound.py", "import socket", "world"),
        ("node/outbound.py", "import select", "world"),
        ("core/deadlines.py", "import threading", "world"),
        ("core/deadlines.py", "import asyncio", "world"),
        ("core/events.py", "import logging.handlers", "world"),
        ("config.py", "import os.path", "world"),
        ("crypto/seal.py", "from os import urandom", "world"),
        ("crypto/seal.py", "import secrets", "world"),
        ("ids.py", "import uuid", "world"),
        ("core/broadcast/queue.py", "from random import choice", "random"),
        ("core/broadcast/queue.py", "from random import SystemRandom", "random"),
        ("core/broadcast/queue.py", "from random import *", "random"),
        ("core/broadcast/queue.py", "import random\nrandom.shuffle([])", "random"),
        ("core/broadcast/queue.py", "import random as dice\nroll = dice.random", "random"),
    ],
)
def test_a_planted_import_is_reported(tmp_path: Path, path: str, source: str, rule: str) -> None:
    [module] = _planted(tmp_path, "gossipd", path, source)
    assert [offence.rule for offence in import_offences(module)] == [rule]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("__init__.py", "from gossipd.client import Client"),
        ("__main__.py", "from gossipd.cli.main import main"),
        ("ids.py", "from gossipd import errors, limits"),
        ("records.py", "from gossipd.ids import NodeId\nfrom gossipd.limits import NAME_BYTES_MAX"),
        ("config.py", "from gossipd.errors import ConfigError\nfrom gossipd.ids import NodeId"),
        ("wire/codec.py", "from gossipd.wire.messages import Ping\nfrom . import frames\nimport msgpack"),
        ("core/membership/probe.py", "from gossipd.wire.messages import Ping\nfrom ..effects import Tell"),
        ("core/checks/verdict.py", "from gossipd.core.catalog.store import Store"),
        ("core/sync/delta.py", "from gossipd.core import catalog, membership\nfrom gossipd.core.events import Event"),
        ("core/broadcast/queue.py", "from random import Random\nimport math, heapq"),
        ("core/broadcast/queue.py", "import random\nrng = random.Random(1)\nrng.shuffle([])"),
        ("node/inbound.py", "from gossipd.crypto import seal\nfrom gossipd.wire.codec import decode_untrusted"),
        ("shell/driver.py", "import logging, os, random, socket, time, trio\nfrom gossipd.node.node import Node"),
        ("api/server.py", "import trio\nfrom gossipd.node.view import View"),
        ("client.py", "import trio\nfrom gossipd.api.requests import Resolve\nfrom gossipd.api import session"),
        ("daemon.py", "import trio\nfrom gossipd import __version__, systemd\nfrom gossipd.node.node import Node"),
        ("demo.py", "from gossipd.client import Client\nfrom gossipd.daemon import run"),
        ("balancing/calls.py", "from gossipd.balancing.base import Balancer\nfrom gossipd.errors import CallError"),
        ("client.py", "from gossipd.balancing import Balancer"),
        ("client/aio.py", "import anyio"),
        ("cli/main.py", "import trio\nfrom gossipd import daemon, demo"),
    ],
)
def test_a_permitted_import_is_not_reported(tmp_path: Path, path: str, source: str) -> None:
    [module] = _planted(tmp_path, "gossipd", path, source)
    assert import_offences(module) == []


@pytest.mark.parametrize(
    "source",
    ["import trio", "from tests.builders import a_node", "from gossipd.shell.driver import Driver", "import gossipd"],
)
def test_a_planted_import_of_a_simulation_is_reported(tmp_path: Path, source: str) -> None:
    [module] = _planted(tmp_path, "simulations", "world.py", source)
    assert [offence.rule for offence in simulation_offences(module)] == ["simulation"]


def test_a_simulation_may_import_the_node_and_its_own() -> None:
    source = "from gossipd.node.node import Node\nfrom gossipd.config import LAN\nfrom simulations.faults import Crash"
    assert simulation_offences(Module(name="simulations.world", is_package=False, text=source)) == []


def test_only_the_check_against_reality_may_import_the_client() -> None:
    for name, offences in (("simulations.reality.real", 0), ("simulations.realityish", 1), ("simulations.world", 1)):
        module = Module(name=name, is_package=False, text="from gossipd.client import Client")
        assert len(simulation_offences(module)) == offences, name
    daemon = Module(name="simulations.reality.real", is_package=False, text="from gossipd.daemon import run_daemon")
    assert [offence.rule for offence in simulation_offences(daemon)] == ["simulation"]


def test_a_module_is_reported_from_the_first_line_too_many() -> None:
    longest = Module(name="gossipd.ids", is_package=False, text="x = 1\n" * MODULE_LINES_MAX)
    longer = Module(name="gossipd.ids", is_package=False, text=longest.text + "x = 1\n")
    assert size_offences(longest) == []
    assert [offence.rule for offence in size_offences(longer)] == ["long module"]
    assert size_offences(longer, {"gossipd.ids": MODULE_LINES_MAX + 1}) == []


def test_a_function_is_reported_from_the_first_line_too_many_without_its_docstring() -> None:
    head = 'async def f() -> None:\n    """One.\n\n    Four lines that do not count.\n    """\n'
    longest = Module(name="gossipd.ids", is_package=False, text=head + "    x = 1\n" * (FUNCTION_LINES_MAX - 1))
    longer = Module(name="gossipd.ids", is_package=False, text=longest.text + "    x = 1\n")
    assert size_offences(longest) == []
    assert [offence.rule for offence in size_offences(longer)] == ["long function"]
    assert size_offences(longer, {"gossipd.ids:f": FUNCTION_LINES_MAX + 1}) == []


@pytest.mark.parametrize("source", ["import trio", "import os", "from time import time", "from random import choice"])
def test_ruff_reports_the_world_in_the_core_and_leaves_the_shell_alone(source: str) -> None:
    assert "TID251" in _ruff("gossipd/core/planted.py", source)
    assert "TID251" not in _ruff("gossipd/shell/planted.py", source)


def test_ruff_lets_the_core_hold_a_generator_of_its_own() -> None:
    assert "TID251" not in _ruff("gossipd/core/planted.py", "from random import Random")


def _lines(offences: list[Offence]) -> str:
    return "\n".join(map(str, offences))


def _planted(root: Path, package: str, path: str, source: str) -> list[Module]:
    """Write *source* as the one file of a tree and read the tree as the checker does."""
    file = root / package / path
    file.parent.mkdir(parents=True)
    file.write_text(source + "\n", encoding="utf-8")
    return read_modules(root, package)


def _import_without_trio(module: str, *, folder: Path) -> subprocess.CompletedProcess[str]:
    program = f"import sys; sys.modules['trio'] = None; import {module}"
    return subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)


def _ruff(path: str, source: str) -> str:
    """Return what ruff says of *source* under the project's own settings, as if it stood at *path*."""
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise", "--stdin-filename", path]
    run = subprocess.run([*command, "-"], cwd=ROOT, input=source + "\n", capture_output=True, text=True, check=False)
    assert run.returncode in (0, 1), run.stderr
    return run.stdout
