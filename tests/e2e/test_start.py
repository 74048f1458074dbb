"""docs/start.md as a newcomer follows it: its commands run in their order and print what the page shows."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gossipd.client import Client
from gossipd.errors import RequestError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "start.md"


def commands(section: str, *, room: Path) -> str:
    """Return the shell commands of *section*, with this program, below *room* and on free ports."""
    text = PAGE.read_text(encoding="utf-8").partition(f"\n## {section}")[2].partition("\n## ")[0]
    script = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    assert script
    script = script.replace(".venv/bin/gossipd", f"{sys.executable} -m gossipd").replace("/tmp/try", str(room))
    return script.replace(":7950", f":{ports(room)[0]}").replace(":7951", f":{ports(room)[1]}")


def ports(room: Path) -> tuple[int, int]:
    """Return two ports that depend on *room*, outside the range that the system draws from."""
    base = 20_000 + sum(map(ord, str(room))) % 5_000 * 2
    return base, base + 1


def sh(script: str) -> str:
    env = {key: value for key, value in os.environ.items() if not key.startswith("GOSSIPD_")}
    done = subprocess.run(
        ["sh", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=env,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout


def wait_for_members(socket: Path, count: int) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            with Client(socket) as client:
                members = client.call("members")["members"]
            if isinstance(members, list) and len(members) == count:
                return
        except RequestError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"{socket} did not come to know {count} members")


def test_the_first_page_does_what_it_says(tmp_path: Path) -> None:
    room = tmp_path / "try"
    started = commands("2.", room=room).replace(" &", f" >{tmp_path}/log 2>&1 &")
    try:
        sh(started)
        wait_for_members(room / "bob.sock", 2)
        wait_for_members(room / "ann.sock", 2)
        # A person takes a second between two commands, in which the news of the first has long arrived.
        lookup = sh(commands("3.", room=room).replace("\n", "\nsleep 1\n"))
        page = PAGE.read_text(encoding="utf-8")
        shown = re.findall(r"```text\n(.*?)```", page.partition("\n## 3.")[2], re.DOTALL)[0]
        assert lookup.startswith(shown)
        assert re.search(r"^bob \(me\) +alive", lookup, re.MULTILINE)
        assert "member ann: alive" in lookup
    finally:
        left = sh(commands("4.", room=room).replace("rm -r", "true"))
    assert re.search(r"^ann +left", left, re.MULTILINE)
    assert left.endswith("nobody serves web\n")
