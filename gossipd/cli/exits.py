"""Exit codes, and how an error reaches the terminal: one line on stderr, never a traceback for what was foreseen."""

import sys
from collections.abc import Iterable

OK = 0
FAILED = 1
USAGE = 2
NO_DAEMON = 3
INTERRUPTED = 130
BROKEN_PIPE = 141

NO_DAEMON_CODES = ("no_daemon", "no_permission", "timeout", "disconnected", "bad_answer")
"""Codes of the client's own RequestErrors: nobody answers, nobody any more, or somebody who is no gossipd."""

MEANINGS = {
    OK: "done; a lookup found something",
    FAILED: "the daemon refused or could not do it, or the answer is negative (`resolve` found no passing instance)",
    USAGE: "wrong usage, or a wrong setting; nothing was started or changed",
    NO_DAEMON: "no daemon answers on the socket, or it went away",
    INTERRUPTED: "interrupted (Ctrl-C) before the end; `run`, `watch` and `register --hold` end that way with 0",
    BROKEN_PIPE: "the reader of our output went away",
}
"""What each code says, for --help and docs/reference/cli.md."""


def complain(messages: Iterable[str]) -> None:
    """Write each of *messages* to stderr as one line."""
    for message in messages:
        print(f"gossipd: error: {' '.join(message.split())}", file=sys.stderr)


def warn(message: str) -> None:
    """Write *message* to stderr as one line."""
    print(f"gossipd: warning: {' '.join(message.split())}", file=sys.stderr)


def say(message: str) -> None:
    """Write *message*, which is good news, to stderr as one line."""
    print(f"gossipd: {' '.join(message.split())}", file=sys.stderr)
