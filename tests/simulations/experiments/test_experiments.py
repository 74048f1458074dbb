"""Every experiment runs, small, and says what it measured; the formulas beside it are those of the papers."""

import math
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from simulations import modes
from simulations.experiments import (
    EXPERIMENTS,
    first_detection,
    lifeguard,
    other_side,
    rumours,
    true_crash,
    uniform_loss,
)
from simulations.experiments.command import register


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_prints_its_table_and_writes_csv_and_plots(name: str, tmp_path: Path) -> None:
    group = click.Group()
    register(group)
    outcome = CliRunner().invoke(group, ["experiment", name, "--quick", "--out", str(tmp_path)])
    assert outcome.exit_code == 0, outcome.output
    assert "reproduced" in outcome.output
    assert "p99.9" in outcome.output
    suffixes = {path.suffix for path in tmp_path.iterdir()}
    assert suffixes == {".csv", ".png", ".svg", ".txt"}


def test_an_unknown_experiment_and_sizes_that_exclude_each_other_are_refused() -> None:
    group = click.Group()
    register(group)
    assert "'nonsense' is not one of" in CliRunner().invoke(group, ["experiment", "nonsense"]).output
    both = CliRunner().invoke(group, ["experiment", "rumours", "--quick", "--short"])
    assert both.exit_code == 2
    assert "exclude each other" in both.output


@pytest.mark.parametrize(("phases", "few", "many"), [("synchronous", 1.4669, 1.582), ("free-running", 1.8858, 2.0)])
def test_expected_detection_tends_to_the_limit(phases: str, few: float, many: float) -> None:
    assert first_detection.expected_periods(8, phases) == pytest.approx(few, abs=1e-3)
    assert first_detection.expected_periods(2_000, phases) == pytest.approx(many, abs=3e-3)


def test_expected_detection_of_three_members_by_hand() -> None:
    by_hand = ((1 + 0.25) + (1 + 0.25 + 0.0625)) / 2  # a round of two slots: at its beginning, and in its middle
    assert first_detection.expected_periods(3, "synchronous") == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("probers", "probed", "periods"), [(500, 500, 14.48), (990, 10, 3.95), (999, 1, 2.0), (10, 990, 523)]
)
def test_the_last_of_the_other_side_is_expected_as_integrated(probers: int, probed: int, periods: float) -> None:
    assert other_side.expected_periods(probers, probed) == pytest.approx(periods, rel=3e-3)


def test_the_last_of_two_by_one_prober_is_at_the_end_of_its_list() -> None:
    assert other_side.expected_periods(1, 2) == pytest.approx(2 * 2 / 3 + 1, rel=1e-3)  # the greater of two of (0, 2)


def test_both_sides_of_a_cut_are_measured_where_both_have_probers_enough() -> None:
    measured = other_side.measure(20, (7, 3), seed=1)
    assert [sizes for sizes, _ in measured] == [(14, 6), (6, 14)]
    assert [sizes for sizes, _ in other_side.measure(20, (1, 0), seed=1)] == [(19, 1)]
    assert all(periods > 1 for _, periods in measured)


def test_equal_seeds_measure_the_same() -> None:
    once, again = (first_detection.measure("SWIM", "free-running", 8, 10, seed=3) for _ in range(2))
    assert once == again
    assert once != first_detection.measure("SWIM", "free-running", 8, 10, seed=4)


def test_all_crashes_are_waited_for_and_synchronous_verdicts_come_with_a_round() -> None:
    took = first_detection.measure("SWIM", "synchronous", 30, 17, seed=1)
    assert len(took) == 17
    assert all(0 < seconds % 1 < 0.001 for seconds in took)  # the link, and what each packet costs


def test_members_that_draw_targets_afresh_detect_as_simulated_in_the_notes() -> None:
    assert first_detection.random_choice_periods(16) == pytest.approx(1.55, abs=0.005)
    assert first_detection.random_choice_periods(2_000) == pytest.approx(1.582, abs=1e-3)


def test_the_model_of_a_true_crash_is_the_published_one() -> None:
    for alpha, wanted in true_crash.PUBLISHED.items():
        model = true_crash.modelled(alpha, 128)
        assert (model.p50, model.p99) == pytest.approx(wanted[:2], abs=0.12)


def test_a_true_crash_is_suspected_then_declared_then_known() -> None:
    for suspected, first, last in true_crash.measure("SWIM", modes.swim(), 12, 3, seed=1):
        assert suspected + 4.9 < first < last


def test_false_suspicions_are_as_published() -> None:
    worked = {0.01: 1.2e-6, 0.05: 6.2e-4, 0.10: 7.7e-3, 0.20: 7.4e-2, 0.30: 0.22}
    for loss, wanted in worked.items():
        assert uniform_loss.false_suspicion(loss) == pytest.approx(wanted, rel=0.03)
    assert uniform_loss.false_suspicion(0.10, helpers=1) == pytest.approx(6.5e-2, rel=0.01)


def test_serf_s_times_are_as_published() -> None:
    for members, wanted in {30: 1.69, 128: 1.88, 1_000: 2.15, 10_000: 2.46}.items():
        assert rumours.serf_s(members, 0.0) == pytest.approx(wanted, abs=0.01)
    assert rumours.serf_s(1_000, 0.5) == pytest.approx(4.30, abs=0.01)


def test_the_model_tells_different_others() -> None:
    told = rumours._others(np.random.default_rng(1), np.array([0, 2, 3]), 4).reshape(3, -1)
    assert [set(row) for row in told.tolist()] == [{1, 2, 3}, {0, 1, 3}, {0, 1, 2}]


def test_a_rumour_counts_what_each_tick_costs() -> None:
    ticks = rumours.measure("ticks", 20, 0.0, 2, seed=1)
    assert [rumour.missed for rumour in ticks] == [0, 0]
    assert all(len(rumour.heard_s) == 20 and rumour.heard_s[0] == 0 for rumour in ticks)
    assert all(8 <= rumour.copies <= 10 for rumour in ticks)  # 4 x 2 by the cap, in threes
    assert rumours.measure("gossipd", 20, 0.0, 1, seed=1)[0].heard_s[-1] < 0.1 < ticks[0].heard_s[-1]


def test_a_rumour_that_somebody_missed_never_reached_all() -> None:
    heard = rumours.Rumour(heard_s=(0.0, 0.2), copies=1.0, missed=0)
    missed = rumours.Rumour(heard_s=(0.0,), copies=1.0, missed=1)
    assert rumours._p99_to_all([heard] * 200) == 0.2
    assert rumours._p99_to_all([heard] * 100 + [missed]) == 0.2
    assert rumours._p99_to_all([heard] * 50 + [missed]) == math.inf


def stalled(name: str, kind: str, seconds: float) -> lifeguard.Count:
    anomaly = lifeguard.Anomaly(kind=kind, count=2, stall_s=16.0, run_s=0.004)
    return lifeguard.measure(name, lifeguard.configurations()[name], anomaly, 24, seconds, seed=1)


def test_verdicts_about_healthy_members_are_told_from_those_about_the_stalling() -> None:
    swim, ours = (stalled(name, "block", 20.0) for name in ("SWIM", "gossipd"))
    assert swim.any > swim.false > swim.healthy > 0
    assert (ours.false, ours.healthy) == (0, 0)
    assert 2 * 22 <= ours.any <= 2 * 23  # who is silent for 16 s is found out by all that run


def test_who_waits_for_its_send_accuses_one_member_a_stall_and_tells_nobody() -> None:
    swim = stalled("SWIM", "stuck", 31.0)
    assert 1 <= swim.false <= 2
    assert swim.healthy == 0


def test_the_five_differ_where_the_paper_says_so() -> None:
    made = lifeguard.configurations()
    parts = {
        name: (of.probe.awareness_max > 1, of.suspicion.max_factor > 1, of.probe.buddy) for name, of in made.items()
    }
    assert parts["SWIM"] == (False, False, False)
    assert parts["Buddy"] == (False, False, True)
    assert parts["LHA-Probe"] == (True, False, False)
    assert parts["LHA-Suspicion"] == (False, True, False)
    assert parts["Lifeguard"] == parts["Lifeguard alpha=2"] == parts["gossipd"] == (True, True, True)
