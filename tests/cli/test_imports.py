"""What a command costs before it does anything: reading commands load no event loop, no cryptography, no daemon."""

import subprocess
import sys

import pytest

HEAVY = ("trio", "cryptography", "rich", "msgpack", "gossipd.daemon", "gossipd.node.node", "gossipd.demo")

SCRIPT = """
import sys
from gossipd.cli.main import cli
try:
    cli.main(sys.argv[1:])
except SystemExit:
    pass
print(",".join(name for name in {heavy!r} if name in sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("args", "loaded"),
    [
        (["--help"], ""),
        (["members", "--help"], ""),
        (["members", "--socket", "/nonexistent/s"], ""),
        (["completion", "bash"], ""),
        (["config", "check"], "cryptography"),
        (["exec", "--name", "web", "--port", "1", "--socket", "/nonexistent/s", "--", "/bin/true"], ""),
    ],
)
def test_a_command_loads_only_what_it_needs(args: list[str], loaded: str) -> None:
    script = SCRIPT.format(heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", script, *args], capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr.splitlines()[-1] == loaded
