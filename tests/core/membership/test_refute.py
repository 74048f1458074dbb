"""What a node answers to a claim about itself: every verdict, case by case."""

import pytest

from gossipd.core.membership.refute import Verdict, judge, refutation
from gossipd.ids import Incarnation
from gossipd.limits import INTEGER_MAX
from gossipd.records import Claim, Status
from tests.builders import ALIVE, ANN, BOB, DEAD, ELSEWHERE, LEFT, SUSPECT, a_claim

OWN = a_claim(ANN, epoch=5, counter=3)


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        (a_claim(ANN, epoch=5, counter=3), Verdict.IGNORE),
        (a_claim(ANN, ALIVE, epoch=5, counter=2), Verdict.IGNORE),
        (a_claim(ANN, SUSPECT, epoch=5, counter=2, accuser=BOB), Verdict.IGNORE),
        (a_claim(ANN, DEAD, epoch=4, counter=9, accuser=BOB), Verdict.IGNORE),
        (a_claim(ANN, ALIVE, epoch=4, counter=9, address=ELSEWHERE), Verdict.IGNORE),
        (a_claim(ANN, SUSPECT, epoch=5, counter=3, accuser=BOB), Verdict.REFUTE),
        (a_claim(ANN, DEAD, epoch=5, counter=3, accuser=BOB), Verdict.REFUTE),
        (a_claim(ANN, DEAD, epoch=5, counter=9, accuser=BOB), Verdict.REFUTE),
        (a_claim(ANN, ALIVE, epoch=5, counter=3, protocol=(1, 2)), Verdict.REFUTE),
        (a_claim(ANN, ALIVE, epoch=5, counter=4), Verdict.REFUTE),
        (a_claim(ANN, DEAD, epoch=5, counter=3, accuser=BOB, address=ELSEWHERE), Verdict.REFUTE),
        (a_claim(ANN, LEFT, epoch=5, counter=3), Verdict.OUTBID),
        (a_claim(ANN, ALIVE, epoch=6), Verdict.OUTBID),
        (a_claim(ANN, SUSPECT, epoch=6, accuser=BOB), Verdict.OUTBID),
        (a_claim(ANN, DEAD, epoch=6, accuser=BOB, address=ELSEWHERE), Verdict.OUTBID),
        (a_claim(ANN, LEFT, epoch=6, address=ELSEWHERE), Verdict.OUTBID),
        (a_claim(ANN, SUSPECT, epoch=5, counter=INTEGER_MAX, accuser=BOB), Verdict.OUTBID),
        (a_claim(ANN, ALIVE, epoch=5, counter=3, address=ELSEWHERE), Verdict.CONFLICT),
        (a_claim(ANN, ALIVE, epoch=6, address=ELSEWHERE), Verdict.CONFLICT),
        (a_claim(ANN, SUSPECT, epoch=6, accuser=BOB, address=ELSEWHERE), Verdict.CONFLICT),
    ],
)
def test_each_claim_about_ourselves_has_its_verdict(claim: Claim, verdict: Verdict) -> None:
    """Scenarios 5, 6 and 17."""
    assert judge(OWN, claim) is verdict


@pytest.mark.parametrize("status", [ALIVE, SUSPECT, DEAD, LEFT])
@pytest.mark.parametrize("epoch", [5, 6])
def test_who_is_leaving_argues_with_nobody(status: Status, epoch: int) -> None:
    """Scenario 20."""
    leaving = a_claim(ANN, LEFT, epoch=5, counter=3)
    claim = a_claim(ANN, status, epoch=epoch, counter=9, accuser=BOB)
    assert judge(leaving, claim) is Verdict.IGNORE


def test_a_refutation_outbids_the_accuser_and_keeps_our_own_address_and_protocols() -> None:
    """Scenarios 5 and 17: an accuser may hold a higher incarnation than ours (rule 24)."""
    accusation = a_claim(ANN, SUSPECT, epoch=5, counter=9, accuser=BOB, address=ELSEWHERE, protocol=(1, 9))
    assert refutation(OWN, accusation) == a_claim(ANN, epoch=5, counter=10)
    assert refutation(OWN, a_claim(ANN, SUSPECT, epoch=5, counter=1)).incarnation == Incarnation(5, 4)
