"""Calls to a service: who is picked, what became of it, who is held out, and whether to try again. Makes no call itself.

`Calls` joins a balancer, the breakers, a retry budget and a limiter under one lock; every method is short and waits for nothing. It
is safe from many threads and tasks. A lease may be reported from anywhere, by the garbage collector too, and then perhaps by the
very thread that has the lock: so a report is put down first, and taken in by whoever has the lock next. The clock comes in as a
function, `time.monotonic` in applications.
"""

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from threading import Lock  # noqa: TID251  (called from many threads)
from types import TracebackType
from typing import Literal, Self

from gossipd.balancing.base import Balancer, WorkKey, in_order, usable_of
from gossipd.balancing.ejection import BreakerState, EjectionPolicy, Ejections
from gossipd.balancing.endpoint import Endpoint, Key
from gossipd.balancing.retries import RetryBudget, RetryPolicy
from gossipd.errors import DeadlineExceeded, TooManyCalls
from gossipd.limits import LEASES_MAX
from gossipd.ranges import check_seconds
from gossipd.tokens import TokenBucket

Outcome = Literal["succeeded", "failed", "cancelled", "lost"]

LEASE_S = 600.0
"""Seconds after which a lease that nobody reported is given up: longer than any call takes."""

GivenUp = Literal["not failed", "not idempotent", "attempts", "deadline", "budget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStatistics:
    """What has happened since the start, but for *under_way* and *held_out*, which are now."""

    picked: int
    under_way: int
    succeeded: int
    failed: int
    cancelled: int
    lost: int
    """Leases that nobody reported in time, or that were one too many: given up."""
    ignored_reports: int
    """Reports of a lease that had been reported, or given up."""
    held_out: int
    ejected: int
    """Times that an instance was held out."""
    spared: int
    """Times that one was not, because as many as may be were."""
    panics: int
    """Times that too many were held out, and so nobody was."""
    limited: int
    """Picks that the limiter refused."""
    retries: int
    retries_refused: int
    """Retries that the budget refused."""


class Lease:
    """The right and the duty of one call: made to `endpoint`, its outcome reported once.

    As a context manager it reports by itself what has not been reported: an Exception is a failure, any other way out by an
    exception (a cancellation, KeyboardInterrupt) a cancellation, the end of the block a success.
    """

    __slots__ = ("_calls", "_ends_at", "began_at", "endpoint", "number", "outcome", "sent", "trial")

    def __init__(self, calls: "Calls", number: int, endpoint: Endpoint, *, began_at: float, trial: bool) -> None:
        self._calls = calls
        self._ends_at = math.inf
        self.number = number
        self.endpoint = endpoint
        self.began_at = began_at
        self.trial = trial
        """Whether it decides if the instance, held out until now, gets work again."""
        self.outcome: Outcome | None = None
        """None until it is reported."""
        self.sent = True
        """Whether the request may have reached the instance."""

    @property
    def left_s(self) -> float:
        """Seconds until the deadline of the call, 0.0 when it has passed; infinity if it has none."""
        return max(0.0, self._ends_at - self._calls._clock())

    def succeeded(self, latency_s: float | None = None) -> None:
        """The instance answered, after *latency_s* seconds; None: since the pick."""
        self._calls._report(self, "succeeded", latency_s)

    def failed(self, latency_s: float | None = None, *, sent: bool = True) -> None:
        """The instance failed: an error, no answer in time, no connection.

        *sent* False: the request certainly never reached it (a refused connection), so even one that is not idempotent may be
        made again. An answer that is the caller's fault (a 404, a wrong argument) is a success of the instance.
        """
        self._calls._report(self, "failed", latency_s, sent=sent)

    def cancelled(self) -> None:
        """Nobody waits for the answer any more; nothing is learnt of the instance."""
        self._calls._report(self, "cancelled", None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.outcome is not None:
            return
        if error is None:
            self.succeeded()
        elif isinstance(error, Exception):
            self.failed(sent=not isinstance(error, ConnectionRefusedError))
        else:
            self.cancelled()


class Calls:
    """The calls of one client to one service.

    *lease_s*: a lease that is not reported for so long is given up, and a call of it no longer counts as under way; longer than
    any call takes. At most LEASES_MAX are under way; past it the oldest is given up. *limiter* bounds attempts, retries included.
    """

    def __init__(
        self,
        balancer: Balancer,
        *,
        clock: Callable[[], float],
        rng: Random,
        ejection: EjectionPolicy | None = None,
        retry: RetryPolicy | None = None,
        limiter: TokenBucket | None = None,
        lease_s: float = LEASE_S,
    ) -> None:
        self._balancer = balancer
        self._clock = clock
        self._rng = rng
        self.retry = retry or RetryPolicy()
        self._limiter = limiter
        self._lease_s = check_seconds("lease_s", lease_s)
        self._lock = Lock()
        self._updates = Lock()
        self._reports: deque[tuple[Lease, Outcome, float, float]] = deque()
        """Not taken in yet: lease, outcome, latency and when it was."""
        self._ejections = Ejections(ejection or EjectionPolicy(), now=clock())
        self._budget = RetryBudget(self.retry)
        self._leases: OrderedDict[int, Lease] = OrderedDict()
        self._picked = 0
        self._outcomes: dict[Outcome, int] = {"succeeded": 0, "failed": 0, "cancelled": 0, "lost": 0}
        self._ignored = self._limited = self._retries = self._refused = 0

    def update(self, endpoints: Iterable[Endpoint]) -> None:
        """Call these from now on: all that are known, as `Balancer.update`. Raises: ValueError."""
        known = in_order(endpoints)
        with self._updates:
            put = self._balancer.staged(known)
            with self._lock:
                self._settle()
                put()
                self._ejections.update((endpoint.key for endpoint in usable_of(known)), now=self._clock())

    def pick(self, key: WorkKey = None) -> Lease:
        """Return a lease for one call. Raises: NoInstance, TooManyCalls, TypeError for a key that cannot be hashed."""
        return self._lease(key, ())

    def attempts(self, key: WorkKey = None, *, idempotent: bool, deadline_s: float | None = None) -> "Attempts":
        """Return the attempts of one call, which may be retried if *idempotent*: made twice it does the same as once.

        *deadline_s*: seconds from now for all attempts and pauses; None: no end. Raises: ValueError if it is not above 0.
        """
        left_s = math.inf if deadline_s is None else check_seconds("deadline_s", deadline_s, most=math.inf)
        now = self._clock()
        with self._lock:
            self._budget.deposit(now=now)
        ends_at = now + left_s
        return Attempts(self, key, idempotent=idempotent, ends_at=ends_at)

    def breaker(self, endpoint: Endpoint) -> BreakerState:
        """Return how *endpoint* stands: closed (gets work), open (held out), half-open (one trial at a time)."""
        with self._lock:
            self._settle()
            return self._ejections.state(endpoint.key, now=self._clock())

    def statistics(self) -> CallStatistics:
        """Return the counters."""
        with self._lock:
            self._settle()
            now = self._clock()
            self._give_up(now)
            return CallStatistics(
                picked=self._picked,
                under_way=len(self._leases),
                **self._outcomes,
                ignored_reports=self._ignored,
                held_out=len(self._ejections.held(now=now)),
                ejected=self._ejections.ejected,
                spared=self._ejections.spared,
                panics=self._ejections.panics,
                limited=self._limited,
                retries=self._retries,
                retries_refused=self._refused,
            )

    def _lease(self, key: WorkKey, tried: tuple[Key, ...]) -> Lease:
        """Return a lease for an instance that this call has not *tried*, else for another than the last tried, else for any."""
        with self._lock:
            self._settle()
            now = self._clock()
            self._give_up(now, room=1)
            if self._limiter is not None and not self._limiter.take(1, now=now):
                self._limited += 1
                raise TooManyCalls(self._limiter.wait_s(1, now=now))
            held = self._ejections.held(now=now)
            for avoid in (held.union(tried), held.union(tried[-1:]), held) if tried else (held,):
                endpoint = self._balancer.pick(key, now=now, avoid=avoid)
                if endpoint.key not in avoid:
                    break
            self._balancer.begin(endpoint, now=now)
            trial = self._ejections.begin(endpoint.key, now=now)
            self._picked += 1
            lease = Lease(self, self._picked, endpoint, began_at=now, trial=trial)
            self._leases[lease.number] = lease
            return lease

    def _report(self, lease: Lease, outcome: Outcome, latency_s: float | None, *, sent: bool = True) -> None:
        if latency_s is not None:
            check_seconds("latency_s", latency_s, zero=True)
        if lease.outcome is None:
            lease.outcome, lease.sent = outcome, sent
        now = self._clock()
        self._reports.append((lease, outcome, now - lease.began_at if latency_s is None else latency_s, now))
        if not self._lock.locked():
            with self._lock:
                self._settle()

    def _settle(self) -> None:
        """Take in what was reported. Called under the lock."""
        while self._reports:
            lease, outcome, latency_s, now = self._reports.popleft()
            if lease.number in self._leases:
                self._end(lease, outcome, latency_s, now)
            else:
                self._ignored += 1

    def _end(self, lease: Lease, outcome: Outcome, latency_s: float, now: float) -> None:
        lease.outcome = outcome
        self._outcomes[outcome] += 1
        del self._leases[lease.number]
        endpoint, known = lease.endpoint, outcome in ("succeeded", "failed")
        self._balancer.end(endpoint, now=now, latency_s=latency_s if known else None, failed=outcome == "failed")
        if outcome == "succeeded":
            self._ejections.succeeded(endpoint.key, trial=lease.trial, now=now)
        elif outcome == "failed":
            self._ejections.failed(endpoint.key, trial=lease.trial, now=now)
        else:
            self._ejections.cancelled(endpoint.key, trial=lease.trial, now=now)

    def _give_up(self, now: float, *, room: int = 0) -> None:
        """Give up what is overdue, and make *room*."""
        while self._leases:
            oldest = next(iter(self._leases.values()))
            if now - oldest.began_at < self._lease_s and len(self._leases) + room <= LEASES_MAX:
                return
            self._end(oldest, "lost", 0.0, now)

    def _may_retry(self) -> bool:
        """Take one retry from the budget, if it has one."""
        with self._lock:
            allowed = self._budget.withdraw(now=self._clock())
            self._retries += allowed
            self._refused += not allowed
            return allowed


class Attempts:
    """The attempts of one call, one after another. Not shared between threads or tasks; its leases may be reported by any."""

    def __init__(self, calls: Calls, key: WorkKey, *, idempotent: bool, ends_at: float) -> None:
        self._calls = calls
        self._key = key
        self._idempotent = idempotent
        self._ends_at = ends_at
        self._leases: list[Lease] = []
        self.given_up: GivenUp | None = None
        """Why `pause_s` last said None."""

    @property
    def left_s(self) -> float:
        """Seconds until the deadline, 0.0 when it has passed: the time-out of an attempt. Infinity if there is none."""
        return max(0.0, self._ends_at - self._calls._clock())

    def pick(self) -> Lease:
        """Return a lease for the next attempt, at another instance than the last if one is ready and not held out.

        Raises: DeadlineExceeded, and what `Calls.pick` raises.
        """
        if self.left_s == 0.0:
            raise DeadlineExceeded(
                "the deadline has passed before an attempt could begin: allow more time, or try later"
            )
        lease = self._calls._lease(self._key, tuple(lease.endpoint.key for lease in self._leases))
        lease._ends_at = self._ends_at
        self._leases.append(lease)
        return lease

    def pause_s(self) -> float | None:
        """Return the seconds to wait before the next `pick`; None: the call is over, and its last error is the answer.

        To be asked once after an attempt that failed. Raises: ValueError if the last lease was not reported.
        """
        if not self._leases or self._leases[-1].outcome is None:
            raise ValueError(
                "the last attempt is not reported: end its `with` block, or call failed() of its lease, first"
            )
        policy = self._calls.retry
        pause_s = policy.pause_s(len(self._leases), self._calls._rng)
        self.given_up = self._verdict(self._leases[-1], pause_s)
        if self.given_up is None and not self._calls._may_retry():
            self.given_up = "budget"
        return pause_s if self.given_up is None else None

    def _verdict(self, last: Lease, pause_s: float) -> GivenUp | None:
        if last.outcome not in ("failed", "lost"):
            return "not failed"
        if last.sent and not self._idempotent:
            return "not idempotent"
        if len(self._leases) >= self._calls.retry.attempts_max:
            return "attempts"
        return "deadline" if pause_s >= self.left_s else None
