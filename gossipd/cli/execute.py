"""`gossipd exec`: a program, its registration, and the signals between them and us."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

from gossipd.cli import exits
from gossipd.cli.program import WATCHED, NotStarted, Program
from gossipd.cli.registrar import Registrar

HEARD_S = 5.0
"""How much longer than its time a drain may take, for the news to leave this node."""

AWAY_S = 1.0
"""How long a drain waits for a daemon that is away: without one nobody hears of it."""

GOODBYE_S = 2.0
"""How long our end may be held up to withdraw the instance; without that, it goes after the daemon's grace."""

PATIENCE_S = 0.05
"""Between two looks at whether a drain is over."""


def execute(socket: str | None, params: Mapping[str, Any], args: Sequence[str], *, drain_s: float) -> int:
    """Run *args* until it ends, registered with *params*; return its exit code.

    The first SIGTERM drains the instance for *drain_s* seconds, then the program gets it; a second one at once.
    """
    environ = {**os.environ, "PORT": str(params["port"])}
    registrar = Registrar(socket, params)
    try:
        program = Program(args, environ=environ)
    except NotStarted as error:
        exits.complain([str(error)])
        return error.code
    registrar.start()
    code = _attend(program, registrar, drain_s=drain_s)
    registrar.finish(within_s=GOODBYE_S)
    return code


def _attend(program: Program, registrar: Registrar, *, drain_s: float) -> int:
    """Pass signals on until *program* has ended; return its exit code."""
    asked_at: float | None = None
    passed_on = False
    while True:
        waits = asked_at is not None and not passed_on
        came = signal.sigtimedwait(WATCHED, PATIENCE_S) if waits else signal.sigwaitinfo(WATCHED)
        match None if came is None else came.si_signo:
            case signal.SIGCHLD:
                code = program.look()
                if code is not None:
                    return code
            case signal.SIGCONT:
                program.resume()
            case signal.SIGTERM if asked_at is None:
                asked_at = time.monotonic()
                registrar.drain(drain_s)
            case signal.SIGTERM:
                passed_on = True
                program.send(signal.SIGTERM)
            case int(number):
                program.send(number)
        if asked_at is not None and not passed_on and _is_over(registrar, asked_at, drain_s=drain_s):
            passed_on = True
            program.send(signal.SIGTERM)


def _is_over(registrar: Registrar, asked_at: float, *, drain_s: float) -> bool:
    """Return whether the program may be told to stop."""
    if registrar.drained.is_set():
        return True
    patience_s = drain_s + HEARD_S if registrar.registered.is_set() else min(drain_s, AWAY_S)
    return time.monotonic() - asked_at >= patience_s
