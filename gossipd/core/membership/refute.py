"""What a node answers to a claim about itself: one table of cases, no state.

Only the member raises its own incarnation (SWIM section 4.2). A later epoch under our name is our former self, whose disk or
clock was lost, or a live process that shares our name; where it lives and whether it lives tells which (D2).
"""

from dataclasses import replace
from enum import Enum, auto

from gossipd.core.membership.precedence import rank
from gossipd.ids import Incarnation
from gossipd.limits import INTEGER_MAX
from gossipd.records import Claim, Status


class Verdict(Enum):
    """What to do about a claim that bears our name."""

    IGNORE = auto()
    """It is ours, or older than ours, or we are leaving anyway (rules 1, 11, 20, 23)."""
    REFUTE = auto()
    """It is about this run of ours and wrong: outbid its counter (rule 24)."""
    OUTBID = auto()
    """It is about a former run that outranks us, or says that this run has left, which is for good, or leaves us no counter to
    outbid it: take a later epoch."""
    CONFLICT = auto()
    """Another live process bears our name: tell both, outbid nobody, or they would flap for ever (rules 7, 15)."""


def judge(own: Claim, claim: Claim) -> Verdict:
    """Return what to do about *claim*, which bears the name of *own*."""
    if claim.incarnation < own.incarnation or rank(claim) == rank(own) or own.status is Status.LEFT:
        return Verdict.IGNORE
    if claim.address != own.address and claim.status in (Status.ALIVE, Status.SUSPECT):
        return Verdict.CONFLICT
    this_run = claim.incarnation.epoch == own.incarnation.epoch
    room = claim.incarnation.counter < INTEGER_MAX - 1  # to refute, and to leave
    return Verdict.REFUTE if this_run and room and claim.status is not Status.LEFT else Verdict.OUTBID


def refutation(own: Claim, claim: Claim) -> Claim:
    """Return our own claim raised above *claim* within this epoch; address and protocol stay ours."""
    counter = max(own.incarnation.counter, claim.incarnation.counter) + 1
    return replace(own, incarnation=Incarnation(own.incarnation.epoch, counter))
