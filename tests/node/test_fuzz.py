"""Whatever peers with the key say, in whatever order and at whatever time, the node keeps its books and its temper."""

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from tests.node.hostile import Attack

ROOT = Path(__file__).parent.parent.parent
STEPS = 1_000


def run(seed: int, steps: int) -> Attack:
    attack = Attack(seed)
    for number in range(steps):
        attack.step()
        if number % 5 == 0:
            attack.check()
    return attack


@pytest.mark.parametrize("seed", range(40))
def test_no_input_in_any_order_breaks_a_node(seed: int) -> None:
    run(seed, STEPS)


def test_nothing_that_a_node_does_depends_on_the_hash_of_a_string() -> None:
    code = "from tests.node.test_fuzz import digest; print(digest(7))"
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert told[0] == told[1]


def digest(seed: int) -> str:
    """Return a hash of all that a node did, bytes included."""
    told = sha256()
    for action in run(seed, STEPS).history:
        told.update(repr(action).encode() + getattr(action, "data", b""))
    return told.hexdigest()
