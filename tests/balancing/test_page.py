"""The examples of docs/explain/balancing.md do what the page says."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explain" / "balancing.md"


def test_the_examples_run_and_a_refused_call_is_made_at_the_other_instance() -> None:
    asked: list[str] = []

    def get(authority: str, path: str, *, timeout: float) -> str:
        asked.append(authority)
        assert 0 < timeout <= 2.0
        if len(asked) == 1:
            raise ConnectionRefusedError
        return f"{path} of {authority}"

    names: dict[str, object] = {"get": get}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(block, names)
    fetch = names["fetch"]
    assert callable(fetch)
    assert fetch("/x") == f"/x of {asked[1]}"
    assert set(asked) == {"10.0.0.7:8080", "10.0.0.8:8080"}
