"""Who tries checks: one task for each try, which ends in time, whatever the target does.

How many there are at once is bounded by whoever asks (`ChecksConfig.concurrent`). The libraries for http and grpc are imported
by the first check that needs them: they take a megabyte, and most daemons need none.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import assert_never

import trio

from gossipd.checks import Alias, Check, CheckResult, Grpc, Http, Script, Tcp, Ttl, Unix
from gossipd.records import Health, Service
from gossipd.shell.checkers.attempt import Attempt, Failed, reason_of
from gossipd.shell.checkers.connect import Network, try_tcp, try_unix
from gossipd.shell.checkers.script import Scripts

Finished = Callable[[int, CheckResult], None]


class Checkers:
    """Tries what it is told to, and calls *finished* once for each run that is not cancelled, never before `run` returns.

    *scripts*: whether script checks may run (`DaemonConfig.script_checks`).
    """

    def __init__(self, finished: Finished, *, scripts: bool) -> None:
        self._finished = finished
        self._scripts = Scripts(allowed=scripts)
        self._network = Network()
        self._runs: dict[int, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None
        self.errors = 0
        """Tries that ended in an error of our own, or of a library."""

    def __len__(self) -> int:
        """Return how many tries are under way."""
        return len(self._runs)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the tries, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    def run(self, run: int, check: Check, service: Service, host: str) -> None:
        """Try *check* of *service*, which is reached at *host*, an address or a name, and report the result as *run*'s."""
        assert self._nursery is not None, "it does not serve"
        assert run not in self._runs, run
        scope = self._runs[run] = trio.CancelScope()
        self._nursery.start_soon(self._run, run, scope, Attempt(check=check, service=service, host=host))

    def cancel(self, run: int) -> None:
        """Nobody waits for *run* any more; ignored when it is over."""
        scope = self._runs.pop(run, None)
        if scope is not None:
            scope.cancel()

    async def _run(self, run: int, scope: trio.CancelScope, attempt: Attempt) -> None:
        with scope:
            result = await self._result(attempt)
        if self._runs.get(run) is scope:  # else it was cancelled, and there may be no result
            del self._runs[run]
            self._finished(run, result)

    async def _result(self, attempt: Attempt) -> CheckResult:
        """Return what the try brings within its time."""
        with trio.move_on_after(attempt.check.timeout_s):
            try:
                return await self._performer(attempt)()
            except Failed as failure:
                return attempt.result(Health.CRITICAL, str(failure))
            except Exception as error:  # parsers of what strangers send: whatever they trip over, the daemon goes on
                self.errors += 1
                words = f"{type(error).__name__} while {attempt.doing}: {reason_of(error)}"
                return attempt.result(Health.CRITICAL, f"the check itself went wrong: {words}")
        return attempt.late()

    def _performer(self, attempt: Attempt) -> Callable[[], Awaitable[CheckResult]]:
        target = attempt.check.target
        match target:
            case Tcp():
                return partial(try_tcp, target, attempt, self._network)
            case Http():
                from gossipd.shell.checkers.http_check import try_http  # 14 ms, the first time

                return partial(try_http, target, attempt, self._network)
            case Grpc():
                from gossipd.shell.checkers.grpc_check import try_grpc  # 11 ms

                return partial(try_grpc, target, attempt, self._network)
            case Script():
                return partial(self._scripts.run, target, attempt)
            case Unix():
                return partial(try_unix, target, attempt)
            case Ttl() | Alias():
                raise Failed("nothing to try: its health is known from what the node is told")
            case _:
                assert_never(target)
