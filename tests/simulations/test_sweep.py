"""A sweep runs worlds anywhere, counts what failed, and hands back the line that replays it."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from simulations import sweep
from simulations.replay import parse
from simulations.sweep import Run


def a_run(story: str = "halves", seed: int = 1, failed: str | None = None) -> Run:
    line = f"{story} nodes=4 seed={seed}"
    return Run(story=story, seed=seed, line=line, failed=failed, events=10, virtual_s=2.0, settled_s=float(seed))


def test_a_sweep_plays_stories_and_random_worlds_and_tells_their_lines() -> None:
    runs = sweep.sweep([("mass_crash", 10, 1), ("random", 10, 3)], jobs=1)
    assert [(run.story, run.failed) for run in runs] == [("mass_crash", None), ("random", None)]
    assert [parse(run.line).seed for run in runs] == [1, 3]


def test_the_summary_names_the_first_failing_seed_of_each_story() -> None:
    runs = [a_run(seed=1), a_run(seed=2, failed="too bad"), a_run(seed=3, failed="worse"), a_run("single", seed=4)]
    assert sweep.summary(runs).rows == (
        ("halves", 3, 2, 2, 2.0, 3.0, 30, 6.0),
        ("single", 1, 0, None, 4.0, 4.0, 10, 2.0),
    )
    assert sweep.failures(runs) == [
        "FAILED halves seed 2: too bad",
        "replay: python -m simulations replay halves nodes=4 seed=2",
    ]


@pytest.mark.parametrize(("failed", "status"), [(None, 0), ("too bad", 1)])
def test_the_exit_status_says_whether_all_held(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failed: str | None, status: int
) -> None:
    monkeypatch.setattr(sweep, "sweep", lambda cells, **_: [a_run(cell[0], cell[2], failed) for cell in cells])
    result = CliRunner().invoke(sweep.command, ["--stories", "halves,random", "--seeds", "2", "--out", str(tmp_path)])
    assert result.exit_code == status, result.output
    assert result.output.startswith("4 worlds on loky")
    assert (tmp_path / "sweep.csv").exists()
    made_by = "made by python -m simulations sweep --stories halves,random --seeds 2 --first-seed 1 --nodes 16\n"
    assert (tmp_path / "sweep.txt").read_text(encoding="utf-8").startswith(made_by)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--stories", "nonsense"], "story 'nonsense', expected some of: halves"),
        (["--nodes", "3"], "nodes=3, expected at least 4"),
        (["--seeds", "0"], "0 is not in the range"),
        (["--scheduler", "tcp://10.0.0.1:8786"], "--scheduler goes with --backend dask"),
        (["--jobs", "0"], "0, expected 1 or more, or -1"),
        (["--out", "/dev/null/lab"], "--out /dev/null/lab: Not a directory"),
        (["--out", "/proc"], "--out /proc: "),
    ],
)
def test_bad_input_gets_a_clear_error(arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(sweep.command, arguments)
    assert result.exit_code == 2
    assert told in result.output


@pytest.mark.parametrize(("backend", "needed"), [("dask", r"dask\.distributed"), ("ray", "ray")])
def test_a_missing_library_is_said_in_one_sentence(backend: str, needed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_it(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(sweep, "import_module", without_it)
    with pytest.raises(click.UsageError, match=f"needs {needed}: pip install"):
        sweep.connected(backend, None)
