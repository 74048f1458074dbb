"""How a command reaches the daemon: the options that all share, the connection, and names for shell completion."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from gossipd.cli import render

if TYPE_CHECKING:
    from gossipd.client import Client

TIMEOUT_S = 5.0
"""How long an answer from the daemon beside us may take; its own reads take microseconds."""

JOIN_TIMEOUT_S = 60.0
"""How long joining may take: names are resolved, and each address is tried until it answers or times out."""

WAIT_TIMEOUT_S = 3_610.0
"""How long waiting for instances may take: a little more than the longest that may be asked for."""

LEAVE_TIMEOUT_S = 660.0
"""How long leaving may take: a little more than the longest leave.timeout_s."""

COMPLETION_TIMEOUT_S = 0.3
"""How long the shell may be held up for names."""

F = TypeVar("F", bound=Callable[..., Any])


def with_socket(command: F) -> F:
    """Give *command* the option --socket (or GOSSIPD_SOCKET)."""
    return click.option(
        "--socket",
        metavar="PATH",
        envvar="GOSSIPD_SOCKET",
        type=click.Path(),
        help="Unix socket of the daemon.  [env: GOSSIPD_SOCKET]",
    )(command)


def reading(command: F) -> F:
    """Give *command* the options of those that read: --socket and --json."""
    as_json = click.option("--json", "as_json", is_flag=True, help="Print the daemon's answer as JSON, on one line.")
    return with_socket(as_json(command))


@contextmanager
def connected(socket: str | None, *, timeout_s: float = TIMEOUT_S) -> "Iterator[Client]":
    """Yield a client of the daemon. Raises: RequestError, of a code in NO_DAEMON_CODES if none answers."""
    from gossipd.client import Client

    with Client(socket or None, timeout_s=timeout_s) as client:
        yield client


def ask(socket: str | None, method: str, /, *, timeout_s: float = TIMEOUT_S, **params: object) -> dict[str, Any]:
    """Return the daemon's result of one call; parameters that are None are left out."""
    with connected(socket, timeout_s=timeout_s) as client:
        result: dict[str, Any] = client.call(method, **params)
        return result


def show(answer: dict[str, Any], text: Callable[[], str], *, as_json: bool) -> None:
    """Print *answer* as JSON, or as *text* with the footer of its view."""
    if as_json:
        click.echo(render.to_json(answer))
        return
    click.echo(text())
    footer = render.footer(answer.get("view"))
    if footer is not None:
        click.echo(footer)


def colourful() -> bool:
    """Return whether stdout is a terminal that wants colour (https://no-color.org)."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
Names = Callable[[Mapping[str, Any]], Sequence[tuple[str, str]]]
"""Each name with a word about it, which some shells show."""


def names_of(method: str, names: Names) -> Completer:
    """Return a completer: what *names* makes of the daemon's answer to *method*; without a daemon nothing."""

    @wraps(names)
    def complete(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            answer = ask(context.params.get("socket"), method, timeout_s=COMPLETION_TIMEOUT_S)
            found = [(word, text) for word, text in names(answer) if word.startswith(incomplete)]
        except Exception:  # a shell that completes wants silence, whatever is wrong
            return []
        return [CompletionItem(word, help=text) for word, text in dict(found).items()]

    return complete


def member_names(answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(row["name"], row["status"]) for row in answer["members"]]


def service_names(answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(row["name"], f"{row['ready']} ready") for row in answer["services"]]


def own_names(answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(row["id"], f"{row['service']}, {row['health']}") for row in answer["registrations"]]


own_instances = names_of("registrations", own_names)
"""Completes the ids of the instances registered on this node."""
