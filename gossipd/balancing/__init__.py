"""Floor 4: which instance gets the next call, and what its outcome teaches. Pure: no I/O, no clock, floor 0 and the stdlib only.

endpoint                  an instance as all of these see it
base                      what every balancer is
rotation chance loads     round robin, random, least outstanding, two choices by latency
hashes consistent         equal work to the same instance: ring, rendezvous, Maglev
zones                     near first, over any of the others
ejection                  outliers, circuit breakers, panic
retries                   pauses and the retry budget
calls                     joins them: leases that report, attempts that end

docs/explain/balancing.md says which to take, and what was measured.
"""

from gossipd.balancing.base import Balancer, WorkKey
from gossipd.balancing.calls import Attempts, Calls, CallStatistics, Lease
from gossipd.balancing.chance import UniformRandom, WeightedRandom
from gossipd.balancing.consistent import Maglev, Rendezvous, RingHash
from gossipd.balancing.ejection import BreakerState, EjectionPolicy
from gossipd.balancing.endpoint import Endpoint
from gossipd.balancing.loads import LeastOutstanding, PeakEwma
from gossipd.balancing.retries import RetryPolicy
from gossipd.balancing.rotation import RoundRobin, SmoothWeighted
from gossipd.balancing.zones import ZoneAware
from gossipd.tokens import TokenBucket

__all__ = [
    "Attempts",
    "Balancer",
    "BreakerState",
    "CallStatistics",
    "Calls",
    "EjectionPolicy",
    "Endpoint",
    "Lease",
    "LeastOutstanding",
    "Maglev",
    "PeakEwma",
    "Rendezvous",
    "RetryPolicy",
    "RingHash",
    "RoundRobin",
    "SmoothWeighted",
    "TokenBucket",
    "UniformRandom",
    "WeightedRandom",
    "WorkKey",
    "ZoneAware",
]
