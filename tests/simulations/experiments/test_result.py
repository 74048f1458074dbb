"""Verdicts are computed; tables and CSVs say the same; settings refuse what cannot be."""

import csv
import math
from pathlib import Path

import pytest

from simulations.experiments.result import Settings, Table, at_most, between, holds, within
from simulations.experiments.tables import as_text, write_csv


def test_within_a_tolerance() -> None:
    assert str(within("x", 1.6, wanted=1.58, tolerance=0.02)) == "x: reproduced (ours 1.6, wanted 1.58 ± 2%)"
    assert str(within("x", 1.7, wanted=1.58, tolerance=0.02)) == "x: NOT reproduced: ours 1.7, wanted 1.58 ± 2%"


def test_a_figure_whose_interval_is_wider_than_the_tolerance_proves_nothing() -> None:
    tight = within("x", 1.0, wanted=1.0, tolerance=0.02, unit=" T", interval=(0.99, 1.01))
    assert str(tight) == "x: reproduced (ours 1 T (0.99 to 1.01), wanted 1 T ± 2%)"
    assert not within("x", 1.0, wanted=1.0, tolerance=0.02, interval=(0.97, 1.03)).good
    assert not within("x", 1.03, wanted=1.0, tolerance=0.02, interval=(1.02, 1.04)).good


@pytest.mark.parametrize(("ours", "outcome"), [(0.8, "reproduced"), (3.0, "reproduced"), (3.1, "NOT reproduced")])
def test_between(ours: float, outcome: str) -> None:
    assert between("x", ours, low=0.8, high=3).outcome == outcome


@pytest.mark.parametrize(("ours", "outcome"), [(1.0, "beaten"), (2.0, "reproduced"), (2.5, "NOT reproduced")])
def test_at_most_and_better(ours: float, outcome: str) -> None:
    assert at_most("x", ours, wanted=2, beat=1).outcome == outcome


def test_what_could_not_be_measured_is_never_reproduced() -> None:
    judged = [
        within("x", math.nan, wanted=1, tolerance=1),
        between("x", math.nan, low=0, high=1),
        at_most("x", math.nan, wanted=1, beat=1),
    ]
    assert not any(verdict.good for verdict in judged)


def test_better_than_published_is_beaten_only_if_it_holds() -> None:
    assert holds("x", True, ours="17", wanted="17", better=True).outcome == "beaten"
    assert holds("x", False, ours="16", wanted="17", better=True).outcome == "NOT reproduced"


def test_a_table_as_text_and_as_csv(tmp_path: Path) -> None:
    table = Table(
        name="t", title="Title", columns=("mode", "ours", "[L]"), rows=(("SWIM", 1.23456, None),), notes=("n",)
    )
    text = as_text(table)
    assert all(part in text for part in ("Title", "[L]", "SWIM", "1.235", "  n\n"))
    with write_csv(table, tmp_path).open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["mode", "ours", "[L]"], ["SWIM", "1.23456", ""]]


def test_settings_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        Settings(short=True, full=True)
    with pytest.raises(ValueError, match="seeds=0, expected 1 or more"):
        Settings(seeds=0)


def test_seeds_follow_the_size_of_the_run_unless_told() -> None:
    assert Settings(quick=True).seed_list(quick=1, usual=2, full=3) == [1]
    assert Settings(full=True, first_seed=5).seed_list(quick=1, usual=2, full=3) == [5, 6, 7]
    assert Settings(seeds=4).seed_list(quick=1, usual=2, full=3) == [1, 2, 3, 4]


def test_settings_say_how_to_ask_for_them_again() -> None:
    assert Settings().flags() == ""
    assert Settings(short=True, seeds=3, first_seed=7, jobs=1).flags() == " --short --seeds 3 --first-seed 7"
