"""The client for sync code, safe to share between threads. One thread of its own reads, and connects again.

Everything about requests, watches and registrations is in `session`; here are the socket, the locks and the clock.
"""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Self, Unpack

from gossipd.client.answers import Answer, Filters, Offer, answer_of, question, registration
from gossipd.client.base import QUIET_S, READ_BYTES, BaseDiscovery
from gossipd.client.connecting import connect
from gossipd.client.holding import DRAIN_LOOK_S, DRAIN_REASON, Registered, drain_of, drained_before
from gossipd.client.mirror import Mirror
from gossipd.client.patience import seconds, seconds_or_none
from gossipd.client.session import Asked, Feed
from gossipd.client.wording import AWAY, closed, hung_up, late, watch_params
from gossipd.errors import RequestError

RECONNECT_S = 1.0
"""Longest wait for a busy daemon at one try to connect again."""


class Discovery(BaseDiscovery):
    """The daemon beside us, at *path* or at the first of `socket_places` where one answers, over as many connections as it takes.

    The first use connects, and raises RequestError `no_daemon` if nobody answers; if *patient*, it waits for the daemon as every
    later one does, for an application that may start before it. From then on a connection that ends is made
    again, after pauses as *backoff* says: what was registered is registered again, watches go on, requests are asked again within
    their *timeout_s*, and `resolve` gives the last good answer, marked stale, while the daemon is away.

    Every failure is a RequestError. Its code is the daemon's, or: no_daemon, no_permission, timeout, disconnected (the daemon
    went and did not come back in time), bad_answer, bad_request, closed (this client was), forked (use one client per process).
    """

    def _set_up(self) -> None:
        self._lock = threading.Lock()
        """Holds the session, the socket and the last answers; nothing waits under it."""
        self._starting = threading.Lock()
        self._writing = threading.Lock()
        """Held while something is sent; taken before `_lock` where both are."""
        self._closing = threading.Event()
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection and every watch; once more does nothing. What was registered goes, after the daemon's grace period."""
        if self._is_parents():
            return
        self._closing.set()
        with self._starting:
            with self._lock:
                self._session.end(closed())
                _hang_up(self._socket)
            if self._thread is not None and self._thread is not threading.current_thread():
                self._thread.join()

    def call(self, method: str, /, *, timeout_s: float | None = None, **params: object) -> dict[str, Any]:
        """Return the result of any *method* of docs/reference/local-api.md. Parameters that are None are left out.

        Asked again if the connection ends meanwhile, but for `leave`. Raises: RequestError.
        """
        return self._call(method, params, timeout_s=timeout_s)

    def resolve(self, service: str, *, timeout_s: float | None = None, **filters: Unpack[Filters]) -> Answer:
        """Return the instances of *service*, the ready ones unless *status* asks for others.

        While the daemon is away: the last good answer to the same question, marked stale; without one, waits *timeout_s* for
        the daemon. When it has restarted, and until it has met its peers: the same, with what it knows already. Raises:
        RequestError.
        """
        params = question(service, filters)
        self._start()
        with self._lock:
            kept = self._last_good.find(params, now=time.monotonic())
            if kept is not None and not self._session.connected:
                return kept
        try:
            result = self._call("resolve", params, again=kept is None, timeout_s=timeout_s)
        except RequestError as error:
            if kept is None or error.code not in AWAY:
                raise
            return kept
        with self._lock:
            return self._judged(service, params, result)

    def wait(self, service: str, *, ready: int = 1, wait_s: float = 30.0, **filters: Unpack[Filters]) -> Answer:
        """Return as `resolve` does, as soon as so many instances are *ready*.

        On a connection of its own, so that nobody else waits. Raises: RequestError `timeout` after *wait_s* seconds, with why
        each known instance is not ready.
        """
        params = question(service, filters) | {"ready": ready, "timeout": seconds("wait_s", wait_s, zero=True)}
        self._start()
        with Discovery(self.path, timeout_s=self._timeout_s, patient=True) as aside:
            return answer_of(service, aside._call("wait", params, timeout_s=wait_s + self._timeout_s))

    def services(self) -> list[dict[str, Any]]:
        """Return every service, sorted by name, with its counts."""
        return list(self.call("services")["services"])

    def members(self) -> list[dict[str, Any]]:
        """Return every member, sorted by name."""
        return list(self.call("members")["members"])

    def register(self, name: str, *, port: int, **offer: Unpack[Offer]) -> dict[str, Any]:
        """Publish an instance, or change the one with this id, until `deregister` or `close`; return its row.

        Made again on each new connection. Raises: RequestError.
        """
        return dict(self._call("register", registration(name, port, offer))["registration"])

    def deregister(self, id: str) -> None:
        """Withdraw an instance of this node. Raises: RequestError `not_found` if there is none."""
        self._call("deregister", {"id": id})

    @contextmanager
    def registered(self, name: str, *, port: int, drain_s: float = 1.0, **offer: Unpack[Offer]) -> Iterator[Registered]:
        """Publish an instance while the block runs, over all connections; at its end drain it, then withdraw it.

        *drain_s* bounds the drain: as long it still answers while everybody learns to send work elsewhere; 0: none. If the
        daemon is away at the end, the instance goes with the connection. Raises: RequestError.
        """
        seconds("drain_s", drain_s, zero=True)
        row = self.register(name, port=port, **offer)
        id = str(row["id"])
        try:
            if drained_before(row):
                self.call("undrain", id=id)
            yield Registered(self, id, lease_s=offer.get("lease_s"))
        finally:
            if self.connected:
                with suppress(RequestError):  # whatever ended the block matters more
                    self._drain(id, drain_s)
            with self._lock:
                connected = self._session.withdrawn(id)
            if connected:
                with suppress(RequestError):
                    self.deregister(id)

    def mirror(self, *services: str, timeout_s: float | None = None) -> Mirror:
        """Return a copy of *services* that is kept up to date, as soon as it is complete. Close it, or use it in `with`.

        Raises: RequestError, `timeout` if it is not complete in time.
        """
        return Mirror(self, services, timeout_s=self._patience(timeout_s))

    def _drain(self, id: str, drain_s: float) -> None:
        """Return when the drain of *id* is done, or *drain_s* has passed."""
        if drain_s <= 0:
            return
        ends_at = time.monotonic() + drain_s
        drain: dict[str, Any] | None = self.call("drain", id=id, reason=DRAIN_REASON, deadline=drain_s)["drain"]
        while drain is not None and not drain["done"] and time.monotonic() < ends_at and self.connected:
            self._closing.wait(DRAIN_LOOK_S)
            drain = drain_of(self.call("registrations"), id)

    def watch(
        self,
        service: str | None = None,
        *,
        members: bool = False,
        services: bool | None = None,
        since: int | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield the snapshot, then every change, over all connections, until the loop is left or the client closed.

        What to watch is as for `Client.watch`. After a connection ended, what changed meanwhile follows and then `resumed`; or
        `resync` and a fresh snapshot. A few events may come twice. *timeout_s* bounds the wait for one. Raises: RequestError.
        """
        seconds_or_none("timeout_s", timeout_s)
        ready = threading.Event()
        feed = self._open(watch_params(service, members, services, since), ready.set)
        try:
            while True:
                ready.clear()
                event = self._take(feed)
                if event is not None:
                    yield event
                elif not ready.wait(timeout_s):
                    raise late(self.path, timeout_s, self._session)
        finally:
            self._shut(feed)

    def _open(self, params: dict[str, object], on_event: Callable[[], None]) -> Feed:
        self._start()
        with self._lock:
            feed, said = self._session.watch(params, on_event=on_event)
            current = self._socket
        self._send(current, said)
        return feed

    def _take(self, feed: Feed) -> dict[str, object] | None:
        with self._lock:
            event, said = self._session.take(feed)
            current = self._socket
        self._send(current, said)
        return event

    def _shut(self, feed: Feed) -> None:
        """End *feed*: now if both locks are free, else when next something is said, within QUIET_S.

        The garbage collector may come here in any thread, by way of a watch that was dropped, and while it holds the locks.
        """
        if self._is_parents():
            return  # the watch is the parent's, and goes on
        self._session.leave(feed)
        if not self._writing.acquire(blocking=False):
            return
        try:
            if self._lock.acquire(blocking=False):
                try:
                    said, current = self._session.end_left(), self._socket
                finally:
                    self._lock.release()
                _write(current, said)
        finally:
            self._writing.release()

    def _call(
        self, method: str, params: Mapping[str, object], *, again: bool = True, timeout_s: float | None = None
    ) -> dict[str, Any]:
        self._start()
        patience_s = self._patience(timeout_s)
        asked: Asked | None = None
        done = threading.Event()
        try:
            with self._lock:
                asked, said = self._session.ask(method, params, again=again, on_done=done.set)
                current = self._socket
            self._send(current, said)
            if not done.wait(patience_s):
                raise late(self.path, patience_s, self._session)
        finally:
            if asked is not None:
                with self._lock:
                    self._session.forget(asked)
        if asked.error is not None:
            raise asked.error
        assert asked.result is not None
        return asked.result

    def _send(self, current: socket.socket | None, said: bytes) -> None:
        """Send *said* on the connection that it was meant for; if that has ended, it is said again on the next."""
        if said:
            with self._writing:
                _write(current, said)

    def _start(self) -> None:
        """Connect if this is the first use. Raises: RequestError."""
        self._check_process()
        if self._thread is None:
            self._start_thread()
        if self._closing.is_set():
            raise closed()

    def _start_thread(self) -> None:
        with self._starting:
            if self._thread is not None or self._closing.is_set():
                return
            first: socket.socket | None = None
            if not self._patient:
                first, self.path = connect(self._places, timeout_s=self._timeout_s)
                self._begin(first)
            self._thread = threading.Thread(target=self._run, args=(first,), name="gossipd client", daemon=True)
            self._thread.start()

    def _begin(self, opened: socket.socket) -> None:
        """Make *opened* the connection."""
        opened.settimeout(None)
        for option, most_s in ((socket.SO_RCVTIMEO, QUIET_S), (socket.SO_SNDTIMEO, self._timeout_s)):
            microseconds = max(1, round(most_s * 1e6))  # 0 is for ever
            opened.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", *divmod(microseconds, 1_000_000)))
        with self._writing:  # or what others ask now would overtake what is registered again
            with self._lock:
                said = self._session.opened(now=time.monotonic())
                self._socket = opened
            _write(opened, said)

    def _run(self, first: socket.socket | None) -> None:
        current = first or self._connect_again()
        while current is not None:
            error = self._converse(current)
            with self._lock:
                self._socket = None
                if self._closing.is_set():
                    self._session.end(closed())
                else:
                    self._session.lost(error, now=time.monotonic())
            _hang_up(current)
            with self._writing:
                current.close()
            current = self._connect_again()

    def _converse(self, current: socket.socket) -> RequestError:
        """Hear what the daemon says until the connection ends; return why it did."""
        while not self._closing.is_set():
            try:
                data = current.recv(READ_BYTES)
                if not data:
                    return hung_up(self.path)
                with self._lock:
                    said = self._session.receive(data, now=time.monotonic())
            except BlockingIOError:
                with self._lock:
                    said = self._session.ping()
            except OSError as error:
                return hung_up(self.path, error)
            except RequestError as error:
                return error
            self._send(current, said)
        return closed()

    def _connect_again(self) -> socket.socket | None:
        """Return the next connection; None if the client is closed."""
        while not self._closing.wait(max(0.0, self._session.plan.due_at - time.monotonic())):
            try:
                opened, self.path = connect(self._places, timeout_s=min(self._timeout_s, RECONNECT_S))
            except RequestError as error:
                with self._lock:
                    self._session.lost(error, now=time.monotonic())
            else:
                self._begin(opened)
                return opened
        return None


def _write(current: socket.socket | None, said: bytes) -> None:
    if current is not None:
        try:
            current.sendall(said)
        except OSError:
            _hang_up(current)


def _hang_up(current: socket.socket | None) -> None:
    """End the connection, so that whoever reads or writes there wakes."""
    if current is not None:
        with suppress(OSError):  # it has ended already
            current.shutdown(socket.SHUT_RDWR)
