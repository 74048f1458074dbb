"""Which of two claims about one member wins: an order, so that any arrival order and any duplicate end in the same state.

SWIM section 4.2 orders by incarnation, then by gravity of the status. We add what else a claim states as the last resort, so
that the order is total. Departs: an address is no part of the decision (memberlist refuses a new address for a live name, rule 7);
a refusal that depends on what came first cannot be merged in any order. A later epoch wins wherever it lives, and the two
processes that share a name are told (D2).
"""

from gossipd.ids import Address, Incarnation
from gossipd.records import Claim, Status

Rank = tuple[Incarnation, Status, Address, int, int]


def rank(claim: Claim) -> Rank:
    """Return what decides: equal ranks are the same state; accuser and age are evidence only."""
    return (claim.incarnation, claim.status, claim.address, claim.protocol_min, claim.protocol_max)


def supersedes(new: Claim, old: Claim) -> bool:
    """Return whether *new* replaces *old*: later incarnation first, then graver status."""
    if new.incarnation != old.incarnation:  # nearly always decides, and costs a fraction of the ranks
        return new.incarnation > old.incarnation
    return new is not old and rank(new) > rank(old)


def merge(one: Claim, other: Claim) -> Claim:
    """Return the claim that remains of two about the same member; commutative, associative and idempotent in `rank`."""
    return other if supersedes(other, one) else one
