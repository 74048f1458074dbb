"""What the clients of both kinds are: where the daemon is, what outlives its connections, and how old that is."""

import os  # noqa: TID251  (where the socket is, and whose process this is)
import time  # noqa: TID251  (ages)
from collections.abc import Mapping
from random import Random

from gossipd.client.answers import Answer, LastGood, answer_of
from gossipd.client.patience import seconds
from gossipd.client.places import socket_places
from gossipd.client.protocol import Backoff
from gossipd.client.session import Session
from gossipd.client.wording import forked
from gossipd.errors import RequestError

READ_BYTES = 64 * 1024

QUIET_S = 5.0
"""After so long without a word the daemon is asked something, so that it is known how old what we know is."""

PINGS_MISSED = 3
"""Signs of life missed until what is known is stale."""


class BaseDiscovery:
    """The settings of a client, its session, and the last good answers; how it is connected is up to its kind."""

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        timeout_s: float = 10.0,
        patient: bool = False,
        backoff: Backoff | None = None,
        rng: Random | None = None,
    ) -> None:
        self._timeout_s = seconds("timeout_s", timeout_s)
        if not isinstance(path, str | os.PathLike | None):
            raise RequestError("bad_request", f"path={path!r}, expected the path of the daemon's socket, or None")
        self._places = socket_places(os.environ) if path is None else (os.fspath(path),)
        self.path = self._places[0]
        self._patient = patient
        self._session = Session(rng=rng or Random(), backoff=backoff)
        self._last_good = LastGood()
        self._pid = os.getpid()
        self._set_up()

    def _set_up(self) -> None:
        """Make what its kind needs besides."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection at this moment."""
        return self._session.connected

    @property
    def age_s(self) -> float | None:
        """Seconds since the daemon was last heard, which it is every few seconds; None before the first time."""
        heard_at = self._session.heard_at
        return None if heard_at is None else max(0.0, time.monotonic() - heard_at)

    @property
    def stale(self) -> bool:
        """Whether what is known may be out of date: the daemon is away, or has not said a word for long."""
        age_s = self.age_s
        known = self.connected and not self._is_parents()
        return not known or age_s is None or age_s > PINGS_MISSED * QUIET_S

    def _check_process(self) -> None:
        if self._is_parents():
            raise forked()

    def _is_parents(self) -> bool:
        """Whether this process is a fork of the one that made the client: the connection is the parent's."""
        return self._pid != os.getpid()

    def _patience(self, timeout_s: float | None) -> float:
        return self._timeout_s if timeout_s is None else seconds("timeout_s", timeout_s)

    def _judged(self, service: str, params: Mapping[str, object], result: Mapping[str, object]) -> Answer:
        """Return the answer that the daemon has given to *params*. Raises: RequestError `bad_answer`."""
        now = time.monotonic()
        connected_s = now - self._session.opened_at
        return self._last_good.judge(params, answer_of(service, result), connected_s=connected_s, now=now)
