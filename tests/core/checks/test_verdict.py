"""What results mean, as tables: thresholds, and the pause to the next try."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipd.checks import Check, Tcp
from gossipd.core.checks.verdict import Verdict, judge, pause_s
from gossipd.records import Health

PASSING, WARNING, CRITICAL = Health
WORDS = {"p": PASSING, "w": WARNING, "c": CRITICAL}


def a_check(passing: int = 1, warning: int = 1, critical: int = 1, *, interval_s: float = 10.0) -> Check:
    return Check(
        id="up",
        target=Tcp(),
        interval_s=interval_s,
        success_before_passing=passing,
        failures_before_warning=warning,
        failures_before_critical=critical,
    )


@pytest.mark.parametrize(
    ("thresholds", "results", "healths"),
    [
        ((1, 1, 1), "pcpwcp", "pcpwcp"),
        ((3, 1, 1), "pppcppp", "ccpcccp"),
        ((2, 1, 1), "wpc", "cpc"),
        ((1, 1, 3), "pcccc", "pwwcc"),
        ((1, 2, 3), "pcccpcpc", "ppwcpppp"),
        ((1, 3, 3), "pcccp", "pppcp"),
        ((3, 1, 2), "pppcp" "c" "cpc", "ccpwwwccc"),
        ((1, 1, 2), "wcwcc", "wwwwc"),
    ],
)  # fmt: skip
def test_a_check_changes_when_so_many_results_in_a_row_say_so(
    thresholds: tuple[int, int, int], results: str, healths: str
) -> None:
    check, verdict, said = a_check(*thresholds), Verdict(health=CRITICAL), ""
    for result in results:
        verdict = judge(check, verdict, WORDS[result])
        said += verdict.health.name[0].lower()
    assert said == healths


def test_results_in_a_row_are_counted() -> None:
    verdict = judge(a_check(), judge(a_check(), Verdict(health=PASSING), CRITICAL), CRITICAL)
    assert verdict == Verdict(health=CRITICAL, failures=2)
    assert judge(a_check(), verdict, WARNING) == Verdict(health=WARNING, successes=1)


@given(
    thresholds=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(0, 3)),
    before=st.sampled_from(Health),
    results=st.lists(st.sampled_from(Health), max_size=20),
)
def test_a_failure_never_makes_anything_better_nor_a_success_worse(
    thresholds: tuple[int, int, int], before: Health, results: list[Health]
) -> None:
    passing, warning, more = thresholds
    check, verdict = a_check(passing, warning, warning + more), Verdict(health=before)
    for result in results:
        after = judge(check, verdict, result)
        if result is CRITICAL:
            assert after.health >= verdict.health
        else:
            assert after.health in (result, verdict.health)
        verdict = after


@pytest.mark.parametrize(
    ("failures", "has_passed", "expected_s"),
    [
        (0, True, 10.0),
        (0, False, 10.0),
        (1, True, 10.0),
        (3, True, 10.0),  # the one that made it critical
        (4, True, 20.0),
        (5, True, 40.0),
        (6, True, 40.0),
        (10_000, True, 40.0),
        (1, False, 1.0),
        (2, False, 2.0),
        (4, False, 8.0),
        (5, False, 40.0),
    ],
)
def test_what_goes_on_failing_is_tried_more_rarely_and_what_never_passed_soon(
    failures: int, has_passed: bool, expected_s: float
) -> None:
    verdict = Verdict(health=CRITICAL, failures=failures)
    assert pause_s(a_check(critical=3), verdict, has_passed=has_passed, backoff_most=4.0) == expected_s


def test_a_quick_check_has_no_quicker_beginning() -> None:
    verdict = Verdict(health=CRITICAL, failures=1)
    assert pause_s(a_check(interval_s=0.5), verdict, has_passed=False, backoff_most=4.0) == 0.5


def test_the_pauses_of_a_check_that_never_passes_only_grow() -> None:
    verdicts = [Verdict(health=CRITICAL, failures=failures) for failures in range(1, 40)]
    pauses = [pause_s(a_check(), verdict, has_passed=False, backoff_most=4.0) for verdict in verdicts]
    assert all(before <= after for before, after in pairwise(pauses))
    assert pauses[-1] == 40.0
