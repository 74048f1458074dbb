"""The how-tos show what the examples are: every Python block stands in a file that the page names, and the tests run the files."""

import re
from pathlib import Path

import pytest

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
