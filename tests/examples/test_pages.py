"""The how-tos show what the examples are: every Python block stands in a file that the page names, and the tests run the files."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from simulations.reality.cluster import PATIENCE_S, Cluster, free_port

HOWTO = Path(__file__).parents[2] / "docs" / "howto"
PAGES = ("serve-and-call.md", "share-work.md", "call-over-grpc.md", "use-host-lists.md")
"""The pages that are about examples. Pages about the client run their blocks themselves."""


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_in_an_example_that_the_page_names(page: str) -> None:
    text = (HOWTO / page).read_text(encoding="utf-8")
    files = [(HOWTO / name).read_text(encoding="utf-8") for name in re.findall(r"\]\((examples/\w+\.py)\)", text)]
    blocks = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    assert blocks
    assert [block for block in blocks if not any(block in file for file in files)] == []


@pytest.mark.slow
@pytest.mark.parametrize("page", ["serve-and-call.md", "call-over-grpc.md"])
def test_the_commands_of_a_page_greet_everybody(cluster: Cluster, page: str) -> None:
    text = (HOWTO / page).read_text(encoding="utf-8")
    [commands] = re.findall(r"^```\npip install [^\n]*\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    commands = re.sub(r"\b808\d\b", lambda _: str(free_port("127.0.0.1")), commands)
    environment = {
        "GOSSIPD_SOCKET": cluster["n2"].socket,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    shell = subprocess.Popen(
        ["bash", "-ec", f"{commands}\nkill $(jobs -p)\nwait"],
        cwd=HOWTO / "examples",
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
