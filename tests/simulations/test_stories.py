"""Every story passes its checkers in a small world; what cannot be told is refused."""

from dataclasses import replace

import pytest
from click.testing import CliRunner

from simulations.__main__ import main
from simulations.faults import Restart, SetClockBack, SlowDisk
from simulations.replay import Replay, parse
from simulations.scenarios import STORIES
from simulations.steps import play, world_of


@pytest.mark.parametrize("name", list(STORIES))
@pytest.mark.parametrize(("nodes", "seed"), [(10, 1), (16, 2)])
def test_a_story_passes_all_checkers(name: str, nodes: int, seed: int) -> None:
    story = STORIES[name](nodes)
    outcome = play(story, world_of(story, nodes=nodes, seed=seed))
    line = Replay(name=name, nodes=nodes, seed=seed, history_hash=outcome.history_hash)
    assert outcome.violations == [], f"replay: python -m simulations replay {line}"
    assert outcome.settled_s is not None


@pytest.mark.parametrize("nodes", [10, 16, 100])
def test_a_mass_restart_sets_back_clocks_of_hosts_that_lose_their_disks(nodes: int) -> None:
    steps = STORIES["mass_restart"](nodes).steps
    (set_back,) = (step.hosts for step in steps if isinstance(step, SetClockBack))
    (wiped,) = (step.hosts for step in steps if isinstance(step, Restart) and not step.disk)
    started = [host for step in steps if isinstance(step, Restart) for host in step.hosts]
    assert 2 <= len(set_back) < len(wiped)
    assert set(set_back) <= set(wiped)
    assert sorted(started) == list(range(nodes))


def test_slow_nodes_fails_if_what_was_not_on_disk_comes_back() -> None:
    story = STORIES["slow_nodes"](10)
    quick_disk = tuple(replace(step, disk_s=0.0) if isinstance(step, SlowDisk) else step for step in story.steps)
    story = replace(story, steps=quick_disk)
    (violation,) = play(story, world_of(story, nodes=10, seed=1)).violations
    assert "every catalog without unsaved of n9" in violation.what


@pytest.mark.parametrize("name", list(STORIES))
def test_a_story_prints_as_sentences_and_refuses_a_single_node(name: str) -> None:
    story = STORIES[name](20)
    assert "object at" not in story.script()
    with pytest.raises(ValueError, match="nodes=1, expected at least"):
        STORIES[name](1)


def test_a_replay_line_is_read_as_it_was_written() -> None:
    replay = Replay(name="halves", nodes=10, seed=7, history_hash="ab")
    assert parse(str(replay)) == replay


@pytest.mark.parametrize(
    "line",
    ["", "halves", "halves nodes=x seed=1", "halves nodes=3 seed=1 colour=red", "halves nodes=3 seed=1 history="],
)
def test_a_line_that_says_no_run_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse(line)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "nonsense"], "expected one of: halves"),
        (["run", "halves", "--nodes", "3"], "nodes=3, expected at least 4"),
        (["run", "halves", "--nodes", "0"], "0 is not in the range"),
        (["replay", "halves", "nodes=0", "seed=1"], "nodes=0, expected 1 to"),
        (["replay", "random@Ground:loss=-1", "nodes=4", "seed=1"], "loss=-1.0, expected a probability from 0 to 1"),
        (["replay", "random@Ground:loss=much", "nodes=4", "seed=1"], "'loss=much' in 'Ground:loss=much'"),
        (
            ["replay", "random@Ground+Lose:hosts=1:incoming=-0.5:outgoing=0", "nodes=4", "seed=1"],
            "incoming=-0.5, expected a probability from 0 to 1",
        ),
        (["replay", "random@Ground+Run:seconds=inf", "nodes=4", "seed=1"], "seconds=inf, expected 0 or more"),
        (["replay", "random@Ground:services=-1", "nodes=4", "seed=1"], "services=-1, expected 0 to"),
        (["replay", "random@Ground+Freeze:hosts=1:for_s=-1", "nodes=4", "seed=1"], "for_s=-1.0, expected 0 or more"),
        (["replay", "random@Ground+Block:hosts=1:for_s=nan", "nodes=4", "seed=1"], "for_s=nan, expected 0 or more"),
        (["replay", "random@Ground+CutRing:reach=-1", "nodes=4", "seed=1"], "reach=-1, expected 0 or more"),
        (["replay", "random@Ground+SlowDown:hosts=1:cpu_s=inf", "nodes=4", "seed=1"], "cpu_s=inf, expected 0 or more"),
        (["replay", "random@Ground+SlowDisk:hosts=1:disk_s=-1", "nodes=4", "seed=1"], "disk_s=-1.0, expected 0 or"),
        (["replay", "random@Ground+SetClockBack:hosts=1:by_s=-1", "nodes=4", "seed=1"], "by_s=-1.0, expected 0 or"),
        (["replay", "random@Ground+Register:hosts=1:port=-1", "nodes=4", "seed=1"], "port=-1, expected 1 to 65535"),
        (
            ["replay", "random@Ground+Register:hosts=1:checked_every_s=0", "nodes=4", "seed=1"],
            "checked_every_s=0, expected more than 0",
        ),
        (["replay", "random@Ground+UseKeys:hosts=1:keys=", "nodes=4", "seed=1"], "keys=(), expected 1 to 8 different"),
        (["replay", "random@Ground+UseKeys:hosts=1:keys=0,256", "nodes=4", "seed=1"], "numbers from 0 to 255"),
        (
            ["replay", "random@Ground+Flap:groups=0/1:cut_s=1:healed_s=1:times=-2", "nodes=4", "seed=1"],
            "times=-2, expected 0 or more",
        ),
        (["heal", "bridge", "--nodes", "3"], "nodes=3, expected at least 6"),
        (["heal", "halves", "--cut-s", "nan"], "--cut-s nan, expected a finite number"),
        (["experiment", "load", "--jobs", "0"], "0, expected 1 or more, or -1"),
        (["experiment", "load", "--out", "/dev/null/lab"], "--out /dev/null/lab: Not a directory"),
        (["report", "--budget", "short", "--out", "/dev/null/lab"], "--out /dev/null/lab: Not a directory"),
        (["report", "--jobs", "0"], "0, expected 1 or more, or -1"),
    ],
)
def test_bad_input_gets_a_clear_error(arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert told in result.output


def test_a_run_draws_its_members_and_a_wrong_history_is_told() -> None:
    result = CliRunner().invoke(main, ["replay", "mass_crash", "nodes=10", "seed=1", "history=00"])
    assert "D dead to most" in result.output
    assert "DIFFERENT history" in result.output
    assert result.exit_code == 1
