"""One call with its retries: the loop that `Attempts` plans, and its pauses."""

import time  # noqa: TID251  (waits between two attempts)
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from gossipd.balancing.base import WorkKey
from gossipd.balancing.calls import Attempts, Calls, Lease
from gossipd.errors import CallError, RequestError

T = TypeVar("T")


def retrying(
    calls: Calls, call: Callable[[Lease], T], *, idempotent: bool, key: WorkKey = None, deadline_s: float | None = None
) -> T:
    """Return what *call* returns, which is given a lease of *calls* and makes one attempt at `lease.endpoint`.

    An Exception is a failure of the instance, and so is `lease.failed()`; after it *call* is made again, if it is *idempotent* or
    was certainly not sent, as the policy, the budget and *deadline_s* allow. Else its error is raised, or what it returned given.
    What is the caller's own fault: call `lease.succeeded()` before you raise it. A sync *call* has to keep the deadline
    itself: take `lease.left_s` as its time-out. The other arguments are those of `Calls.attempts`.

    Raises: what *call* raises; CallError if no attempt could be made; RequestError `bad_request`, ValueError, TypeError.
    """
    course = Course(call, calls.attempts(key, idempotent=idempotent, deadline_s=deadline_s))
    while True:
        with course as lease:
            result = call(lease)
        if course.pause_s is None:
            return result
        time.sleep(course.pause_s)
        if not course.goes_on():
            return result


class Course:
    """The attempts of one call, each in a `with` block, which raises what it raised unless there is to be another."""

    def __init__(self, call: object, attempts: Attempts) -> None:
        if not callable(call):
            raise RequestError("bad_request", f"call={call!r}, expected a function of a lease")
        self._attempts = attempts
        self._lease = attempts.pick()
        self._error: Exception | None = None
        self.pause_s: float | None = None
        """Seconds to wait before the next attempt; None: the last was the last."""

    def goes_on(self) -> bool:
        """Return whether another attempt can begin now. If not, what the last one raised is raised, and what it returned stands."""
        try:
            self._lease = self._attempts.pick()
        except CallError as error:
            if self._error is not None:
                raise self._error from error
            return False
        return True

    def __enter__(self) -> Lease:
        return self._lease

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._lease.__exit__(kind, error, traceback)
        if error is not None and not isinstance(error, Exception):
            return False
        self.pause_s, self._error = self._attempts.pause_s(), error
        return error is not None and self.pause_s is not None
