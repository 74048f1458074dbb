"""The commands that ask the running daemon beside us, over its Unix socket."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from gossipd.cli import doors, exits, render
from gossipd.cli.instance import metadata_of
from gossipd.errors import RequestError

F = TypeVar("F", bound=Callable[..., Any])

STATUSES = ("passing", "warning", "critical", "draining", "maintenance", "unreachable")
"""Of an instance, the least grave first."""

_MEMBERS = doors.names_of("members", doors.member_names)
_SERVICES = doors.names_of("services", doors.service_names)


@click.command(short_help="List the members and what is believed of each.")
@doors.reading
@click.option("--status", type=click.Choice(["alive", "suspect", "failed", "left"]), help="Only those of this status.")
def members(socket: str | None, as_json: bool, status: str | None) -> None:
    """List the members: what is believed of each, since when, and how fresh that is."""
    answer = doors.ask(socket, "members")
    if status is not None:
        answer["members"] = [row for row in answer["members"] if row["status"] == status]
    doors.show(answer, lambda: render.members(answer["members"], colour=doors.colourful()), as_json=as_json)


@click.command(short_help="List the services.")
@doors.reading
def services(socket: str | None, as_json: bool) -> None:
    """List the services, with how many instances of each are ready."""
    answer = doors.ask(socket, "services")
    doors.show(answer, lambda: render.services(answer["services"], colour=doors.colourful()), as_json=as_json)


def _filters(command: F) -> F:
    """Give *command* the options that say which instances count, under the names of `_asked`."""
    options = (
        click.option(
            "--tag", "tags", multiple=True, help="Only instances with this tag; repeatable: with all of them."
        ),
        click.option(
            "--meta", multiple=True, metavar="KEY=VALUE", help="Only instances with this metadata; repeatable."
        ),
        click.option("--zone", help="Only instances on nodes with this label zone."),
        click.option("--node", help="Only instances of this node.", shell_complete=_MEMBERS),
        click.option("--max-age", metavar="DURATION", help="Fail rather than answer from what is older than this."),
        click.option("--min-members", type=click.IntRange(1), help="Fail if fewer members are believed alive."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _asked(
    tags: Sequence[str],
    meta: Sequence[str],
    zone: str | None,
    node: str | None,
    max_age: str | None,
    min_members: int | None,
) -> dict[str, Any]:
    """Return the parameters of the local socket."""
    return {
        "tags": list(dict.fromkeys(tags)) or None,
        "metadata": metadata_of(meta) or None,
        "zone": zone,
        "node": node,
        "max_age": max_age,
        "min_members": min_members,
    }


@click.command(short_help="Print who serves something: address:port, a line each.")
@click.argument("service", shell_complete=_SERVICES)
@doors.reading
@_filters
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice((*STATUSES, "any")),
    help="Instead of the ready ones; repeatable.",
)
@click.option("--all", "everything", is_flag=True, help="The same as --status any.")
@click.option("--near", is_flag=True, help="Those of this node's zone first, and no others if these suffice.")
@click.option("--limit", type=click.IntRange(1), help="At most so many instances.")
def resolve(
    socket: str | None,
    as_json: bool,
    service: str,
    statuses: tuple[str, ...],
    everything: bool,
    near: bool,
    limit: int | None,
    **filters: Any,
) -> int:
    """Print the ready instances of SERVICE, one a line: address:port, node, id, status, protocol, tags.

    Passing instances come first. Exits with 1 if there is no instance to print, or the answer could not be trusted as
    far as --max-age and --min-members ask.
    """
    if statuses and everything:
        raise click.UsageError("--status and --all given, expected at most one", click.get_current_context())
    everything = everything or "any" in statuses
    asked = _asked(**filters) | {
        "status": "any" if everything else list(dict.fromkeys(statuses)) or None,
        "near": near or None,
        "limit": limit,
    }
    answer = doors.ask(socket, "resolve", service=service, **asked)
    found = answer["instances"]
    if as_json or found:
        doors.show(answer, lambda: render.instances(found, colour=doors.colourful()), as_json=as_json)
    else:
        kind = "instance" if everything else f"{' or '.join(statuses) or 'ready'} instance"
        tagged = f" with {', '.join(asked['tags'])}" if asked["tags"] else ""
        click.echo(f"gossipd: no {kind} of {service}{tagged}", err=True)
        footer = render.footer(answer.get("view"))
        if footer is not None:
            click.echo(footer, err=True)
    return exits.OK if found else exits.FAILED


@click.command(short_help="Wait until instances of a service are ready.")
@click.argument("service", shell_complete=_SERVICES)
@doors.reading
@_filters
@click.option("--ready", type=click.IntRange(1), default=1, show_default=True, help="So many must be ready.")
@click.option(
    "--timeout", metavar="DURATION", default="30s", show_default=True, help="Give up after so long, at most 1h."
)
def wait(socket: str | None, as_json: bool, service: str, ready: int, timeout: str, **filters: Any) -> int:
    """Wait until instances of SERVICE are ready, and print them as `gossipd resolve` does.

    Exits with 1 when the time is over, and says of each known instance why it is not ready.
    """
    asked = _asked(**filters) | {"ready": ready, "timeout": timeout}
    try:
        answer = doors.ask(socket, "wait", timeout_s=doors.WAIT_TIMEOUT_S, service=service, **asked)
    except RequestError as error:
        missing = error.details.get("missing")
        if not isinstance(missing, list):
            raise
        exits.complain([str(error), *map(str, missing[1:])])  # the message itself ends with the first
        return exits.FAILED  # the daemon's own time-out: it is there, and has answered
    doors.show(answer, lambda: render.instances(answer["instances"], colour=doors.colourful()), as_json=as_json)
    return exits.OK


@click.command(short_help="Print every change as it happens.")
@click.argument("service", required=False, shell_complete=_SERVICES)
@doors.with_socket
@click.option("--json", "as_json", is_flag=True, help="Print each event of the daemon as JSON, one a line.")
@click.option("--members", "with_members", is_flag=True, help="Watch the members; with SERVICE, both.")
def watch(socket: str | None, as_json: bool, service: str | None, with_members: bool) -> None:
    """Print what is there, then every change, until Ctrl-C: of SERVICE, of the members, or of all services."""
    from gossipd.cli.follow import follow

    follow(socket, service=service, members=with_members, as_json=as_json)


@click.command(short_help="Join the cluster of other daemons.")
@click.argument("targets", metavar="HOST[:PORT]...", nargs=-1, required=True)
@doors.reading
def join(socket: str | None, as_json: bool, targets: tuple[str, ...]) -> int:
    """Join the cluster of other daemons. Exits with 1 if not one of them could be reached."""
    answer = doors.ask(socket, "join", timeout_s=doors.JOIN_TIMEOUT_S, targets=list(dict.fromkeys(targets)))
    results: dict[str, str | None] = answer["joined"]
    click.echo(render.to_json(answer) if as_json else render.joined(results))
    return exits.OK if any(error is None for error in results.values()) else exits.FAILED


@click.command(short_help="Leave the cluster and stop the daemon.")
@doors.with_socket
def leave(socket: str | None) -> None:
    """Leave the cluster and stop the daemon; returns when the others have been told."""
    doors.ask(socket, "leave", timeout_s=doors.LEAVE_TIMEOUT_S)


@click.command(short_help="Print who this node is, and how it is doing.")
@doors.reading
def info(socket: str | None, as_json: bool) -> None:
    """Print who this node is, and how it is doing."""
    answer = doors.ask(socket, "info")
    doors.show(answer, lambda: render.facts(answer["info"] | {"met": answer["view"]["met"]}), as_json=as_json)


@click.command(short_help="Print the evidence behind a belief.")
@click.argument("subject", shell_complete=_MEMBERS)
@doors.reading
def why(socket: str | None, as_json: bool, subject: str) -> None:
    """Print the evidence behind what is believed of SUBJECT, a member, or an instance as ID or NODE/ID.

    Every change that is remembered: who saw what, by which path. Of an instance of this node also its checks, and what
    holds it out; of another node's, ask there.
    """
    answer = doors.ask(socket, "why", subject=subject)
    doors.show(answer, lambda: render.evidence(answer["evidence"], colour=doors.colourful()), as_json=as_json)


@click.command(short_help="Print the daemon's counters.")
@doors.reading
def statistics(socket: str | None, as_json: bool) -> None:
    """Print the daemon's counters."""
    answer = doors.ask(socket, "statistics")
    doors.show(answer, lambda: render.facts(answer["statistics"]), as_json=as_json)


@click.command(short_help="Show members, services and changes, live.")
@doors.with_socket
@click.option("--once", is_flag=True, help="Print what is there now and end; also where there is no terminal.")
def top(socket: str | None, once: bool) -> None:
    """Show members, services and the last changes on the whole terminal, what is amiss first, until q or Ctrl-C.

    Keys: q quits, p pauses, / filters by a text in names and changes. A daemon that is restarted is waited for.
    """
    from gossipd.cli import top as live

    if once:
        live.once(socket)
    elif live.is_terminal():
        live.top(socket)
    else:
        raise click.UsageError("no terminal, expected --once, or `gossipd watch`", click.get_current_context())


READING = (members, services, resolve, wait, watch, top)

NODE = (join, leave, info, why, statistics)
"""Both in the order of the reference page."""
