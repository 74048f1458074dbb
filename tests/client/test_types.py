"""User code with each public name is there for mypy: what it leaves out would be promised and never checked."""

import ast
from pathlib import Path
from types import ModuleType

import pytest

import gossipd.balancing
import gossipd.client
from gossipd.balancing import Attempts, Calls, Lease
from gossipd.client import Client, Discovery, Mirror, Registered, aio

USER_CODE = ast.walk(ast.parse(Path(__file__).with_name("user_code.py").read_text(encoding="utf-8")))
NODES = list(USER_CODE)
NAMES = {alias.name for node in NODES if isinstance(node, ast.ImportFrom) for alias in node.names}
ATTRIBUTES = {node.attr for node in NODES if isinstance(node, ast.Attribute)}
MODULES = [gossipd.client, gossipd.balancing, aio]
CLASSES = [Client, Discovery, Mirror, Registered, Calls, Attempts, Lease, aio.Discovery, aio.Mirror, aio.Registered]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.__name__))
def test_user_code_uses_each_public_name(module: ModuleType) -> None:
    used = ATTRIBUTES if module is aio else NAMES
    assert set(module.__all__) - used == set()


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_user_code_uses_each_public_attribute(kind: type) -> None:
    public = {name for name in dir(kind) if not name.startswith("_")} - {"fileno"}
    assert public - ATTRIBUTES == set()
