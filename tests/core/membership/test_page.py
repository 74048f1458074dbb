"""docs/explain/membership.md names every scenario once, and only tests that there are."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[2]
PAGE = (TESTS.parent / "docs" / "explain" / "membership.md").read_text(encoding="utf-8")
SCENARIOS = PAGE[PAGE.index("## Scenarios") :]  # other tables begin with numbers, too
ROWS = re.findall(r"^\| (\d+) \| .* \| (.*) \|$", SCENARIOS, re.MULTILINE)


def test_every_scenario_is_shown_or_departed_from_with_a_reason() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, 66))
    assert [number for number, cell in ROWS if "::" not in cell and "*Departs*: " not in cell] == []


def test_every_test_that_the_page_names_is_there() -> None:
    named = re.findall(r"`([a-z_0-9/]+\.py)::(\w+)`", PAGE)
    assert named
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (TESTS / path).is_file() or f"def {name}(" not in (TESTS / path).read_text(encoding="utf-8")
    ]
    assert missing == []
