"""Keeps one instance registered for as long as this process lives: a thread with a connection of its own to the daemon.

A daemon that is away, or that refuses, is told once and tried again; whoever waits for us is never held up by it.
"""

import os
import select
import threading
import time
from collections.abc import Mapping
from typing import Any

from gossipd.cli import exits
from gossipd.client import Client
from gossipd.errors import RequestError

RETRY_MIN_S = 0.05
"""First pause before a lost daemon is looked for again; it doubles."""

RETRY_MOST_S = 1.0
"""Longest such pause: well within the grace in which an instance waits for its client (catalog.connection_grace_s)."""

REFUSALS = ("bad_request", "quota")
"""Codes that need an operator, or another instance to go."""

REFUSED_RETRY_S = 30.0
"""Pause after one of these."""

ANSWER_S = 5.0
"""How long an answer may take."""

PROGRESS_S = 0.1
"""Between two looks at how far a drain has come."""

REASON = "its program is being stopped"
"""Why we drain; a drain with this reason that we find when we begin was left by a former run that was killed."""


class Registrar:
    """*params*: of `register`; its "id" must be there."""

    def __init__(self, socket: str | None, params: Mapping[str, Any]) -> None:
        self._socket = socket
        self._params = params
        self._id: str = params["id"]
        self._told: str | None = None
        """What keeps it from being registered, as we told people."""
        self._drain_until: float | None = None
        self._ending = threading.Event()
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        self._thread = threading.Thread(target=self._run, name="registrar", daemon=True)
        self.registered = threading.Event()
        """Set while the daemon holds the instance for us."""
        self.drained = threading.Event()
        """Set when everybody has heard that it drains and its time has passed, or nothing remains to be done."""

    def start(self) -> None:
        self._thread.start()

    def drain(self, drain_s: float) -> None:
        """Let the instance finish its work, for *drain_s* seconds; `drained` says when that is over."""
        self._drain_until = time.monotonic() + drain_s
        self._wake()

    def finish(self, *, within_s: float) -> None:
        """Withdraw the instance, and return when that is done or *within_s* has passed."""
        self._ending.set()
        self._wake()
        self._thread.join(within_s)

    def _wake(self) -> None:
        os.write(self._waker, b"\0")

    def _run(self) -> None:
        pause_s = RETRY_MIN_S
        while not self._ending.is_set():
            try:
                with Client(self._socket, timeout_s=ANSWER_S) as client:
                    self._register(client)
                    pause_s = RETRY_MIN_S
                    self._hold(client)
            except RequestError as error:
                self.registered.clear()
                if self._ending.is_set():
                    return
                self._warn(error)
                self._wait(REFUSED_RETRY_S if error.code in REFUSALS else pause_s)
                pause_s = min(2 * pause_s, RETRY_MOST_S)

    def _warn(self, error: RequestError) -> None:
        """Tell people of *error*, but neither the same again, nor in how many ways a daemon is away."""
        told = "away" if error.code in exits.NO_DAEMON_CODES else str(error)
        if told != self._told:
            exits.warn(f"{error}; {self._id} is not registered, trying again")
        self._told = told

    def _register(self, client: Client) -> None:
        answer: dict[str, Any] = client.call("register", **self._params)
        row = answer["registration"]
        if row["mode"] == "draining" and row["reason"] == REASON and self._drain_until is None:
            client.call("undrain", id=self._id)
        if self._told is not None:
            exits.say(f"{self._id} is registered")
            self._told = None
        self.registered.set()

    def _hold(self, client: Client) -> None:
        """Do what is asked until the instance is withdrawn. Raises: RequestError if the daemon goes away."""
        draining = False
        while True:
            if self._ending.is_set():
                client.call("deregister", id=self._id)
                return
            if self._drain_until is not None and not self.drained.is_set():
                draining = draining or self._begin_drain(client, self._drain_until)
                if self._is_drained(client):
                    self.drained.set()
            waits = self._drain_until is not None and not self.drained.is_set()
            if client in self._wait(PROGRESS_S if waits else None, client):
                raise RequestError("disconnected", f"gossipd at {client.path} closed the connection: has it stopped?")

    def _begin_drain(self, client: Client, until: float) -> bool:
        """Drain the instance, unless it is under maintenance: then nobody sends it work, and it stays so."""
        row = self._row(client)
        if row is not None and row["mode"] != "maintenance":
            client.call("drain", id=self._id, reason=REASON, deadline=max(0.0, until - time.monotonic()))
        return True

    def _is_drained(self, client: Client) -> bool:
        row = self._row(client)
        drain = None if row is None else row["drain"]
        return drain is None or bool(drain["done"])

    def _row(self, client: Client) -> dict[str, Any] | None:
        answer: dict[str, Any] = client.call("registrations")
        return next((row for row in answer["registrations"] if row["id"] == self._id), None)

    def _wait(self, timeout_s: float | None, client: Client | None = None) -> list[object]:
        """Wait until we are woken, something comes from *client*, or time is up; return what is ready."""
        poll = select.poll()
        sources: dict[int, object] = {self._woken: self}
        if client is not None:
            sources[client.fileno()] = client
        for descriptor in sources:
            poll.register(descriptor, select.POLLIN)
        ready = [descriptor for descriptor, _ in poll.poll(None if timeout_s is None else 1_000 * timeout_s)]
        if self._woken in ready:
            os.read(self._woken, 4_096)
        return [sources[descriptor] for descriptor in ready]
