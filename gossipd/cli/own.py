"""The commands about this node's own instances: their registration, checks, drain and maintenance."""

import time
from typing import Any

import click

from gossipd.cli import doors, render
from gossipd.cli.instance import described, params_of
from gossipd.errors import RequestError

DRAIN_POLL_S = 0.2
"""Between two looks at how far a drain has come."""

_HEALTHS = {"pass": "passing", "warn": "warning", "fail": "critical"}

_id = click.argument("id_", metavar="ID", shell_complete=doors.own_instances)
_id_or_node = click.argument("id_", metavar="[ID]", required=False, shell_complete=doors.own_instances)
_node = click.option("--node", is_flag=True, help="The whole node, with all its instances.")
_reason = click.option("--reason", metavar="TEXT", help="Why, for people; everybody sees it.")


def _subject(id: str | None, *, node: bool) -> str | None:
    """Return the instance that is meant, None for the node. Raises: UsageError; nobody means the node by chance."""
    if (id is None) != node:
        raise click.UsageError("expected either ID, an instance of this node, or --node", click.get_current_context())
    return id


@click.command(short_help="Publish a service instance on this node.")
@click.argument("service")
@doors.with_socket
@click.option("--json", "as_json", is_flag=True, help="Print the registration as JSON, on one line.")
@described
@click.option("--lease", metavar="DURATION", help="Keep it while `gossipd heartbeat` comes this often: 30s.")
@click.option("--pid", type=click.IntRange(1), help="Keep it while this process lives.")
@click.option("--hold", is_flag=True, help="Keep it only while this command runs (end it with Ctrl-C).")
def register(
    socket: str | None,
    as_json: bool,
    service: str,
    lease: str | None,
    pid: int | None,
    hold: bool,
    **described: Any,
) -> None:
    """Publish an instance of SERVICE on this node, or change the one of the same id.

    The daemon keeps it, also over its restarts, until `gossipd deregister`; with one of --lease, --pid and --hold it
    goes with what that names.
    """
    given = [
        name for name, value in (("--lease", lease), ("--pid", pid), ("--hold", hold or None)) if value is not None
    ]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} given, expected at most one", click.get_current_context())
    params = params_of(service, **described)
    if hold:
        from gossipd.cli.hold import hold_registration

        hold_registration(socket, params, as_json=as_json)
        return
    answer = doors.ask(socket, "register", kept=None if given else True, lease=lease, pid=pid, **params)
    row = answer["registration"]
    click.echo(render.to_json(answer) if as_json else render.registration(row, port=params["port"]))


@click.command(
    "exec", short_help="Run a program as an instance of a service.", context_settings={"allow_interspersed_args": False}
)
@click.option("--name", metavar="SERVICE", required=True, help="The service that the program is an instance of.")
@doors.with_socket
@described
@click.option(
    "--drain-s",
    type=click.FloatRange(0, 86_400),
    default=5.0,
    show_default=True,
    help="Seconds between SIGTERM to us and SIGTERM to the program.",
)
@click.argument("args", metavar="[--] PROGRAM [ARGS]...", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(socket: str | None, name: str, drain_s: float, args: tuple[str, ...], **described: Any) -> int:
    """Run PROGRAM as an instance of SERVICE, and end with its exit code: 128 + n if signal n ended it, 127 if it is not found,
    126 if it cannot be run.

    It is registered for as long as it runs, and gets the environment variable PORT. A daemon that is away is waited for
    meanwhile. SIGTERM drains the instance first; a second one, and every other signal, is passed on at once.
    """
    from gossipd.check_reading import read_checks
    from gossipd.cli.execute import execute as run_program
    from gossipd.records import Service
    from gossipd.validation import check_service

    params = params_of(name, **described)
    params.setdefault("id", name)
    try:  # before the program is started: a daemon would refuse it after that
        fields = {key: value for key, value in params.items() if key not in ("checks", "metadata")}
        check_service(Service(**fields, metadata=tuple(params.get("metadata", {}).items())))
        read_checks(params.get("checks", []))
    except ValueError as error:
        raise click.UsageError(str(error), click.get_current_context()) from None
    return run_program(socket, params, args, drain_s=drain_s)


@click.command(short_help="Withdraw an instance of this node.")
@_id
@doors.with_socket
def deregister(socket: str | None, id_: str) -> None:
    """Withdraw the instance ID that was registered on this node."""
    doors.ask(socket, "deregister", id=id_)


@click.command(short_help="List the instances of this node, and who holds each.")
@doors.reading
def registrations(socket: str | None, as_json: bool) -> None:
    """List the instances of this node: who holds each, how it is, and what was decided about it."""
    answer = doors.ask(socket, "registrations")
    doors.show(answer, lambda: render.registrations(answer, colour=doors.colourful()), as_json=as_json)


@click.command(short_help="Renew the lease of an instance.")
@_id
@doors.with_socket
def heartbeat(socket: str | None, id_: str) -> None:
    """Renew the lease of the instance ID of this node."""
    doors.ask(socket, "heartbeat", id=id_)


@click.command(short_help="Say how a ttl check is.")
@_id
@click.argument("health", metavar="pass|warn|fail", type=click.Choice(list(_HEALTHS)))
@doors.with_socket
@click.option("--check", "check_id", metavar="CHECK", help="Which ttl check, where there are several.")
@click.option("--output", metavar="TEXT", help="For people; shown by `gossipd checks`.")
def check(socket: str | None, id_: str, health: str, check_id: str | None, output: str | None) -> None:
    """Say how a ttl check of the instance ID of this node is: pass, warn or fail."""
    doors.ask(socket, "check_update", id=id_, check=check_id, status=_HEALTHS[health], output=output)


@click.command(short_help="List the health checks of this node's instances.")
@_id_or_node
@doors.reading
def checks(socket: str | None, as_json: bool, id_: str | None) -> None:
    """List the health checks of the instance ID of this node, or of all: what each said last, and when it is tried again."""
    answer = doors.ask(socket, "checks", id=id_)
    doors.show(answer, lambda: render.checks(answer["checks"], colour=doors.colourful()), as_json=as_json)


@click.command(short_help="Let an instance finish its work and get no more.")
@_id_or_node
@_node
@_reason
@click.option("--deadline", metavar="DURATION", help="It is over after so long, whatever remains: 30s, 5m.")
@click.option("--wait", "waits", is_flag=True, help="Return when it is over: all have heard, and time or work is up.")
@doors.reading
def drain(
    socket: str | None,
    as_json: bool,
    id_: str | None,
    node: bool,
    reason: str | None,
    deadline: str | None,
    waits: bool,
) -> None:
    """Let the instance ID, or with --node all of this node, finish its work and get no more. Holds until `gossipd undrain`."""
    id = _subject(id_, node=node)
    if waits and deadline is None:
        raise click.UsageError("--wait, expected --deadline beside it", click.get_current_context())
    with doors.connected(socket) as client:
        answer: dict[str, Any] = client.call("drain", id=id, reason=reason, deadline=deadline)
        while waits and not answer["drain"]["done"]:
            time.sleep(DRAIN_POLL_S)
            told: dict[str, Any] = client.call("registrations")
            rows = [told["node"]] if id is None else [row for row in told["registrations"] if row["id"] == id]
            if not rows or rows[0]["drain"] is None:
                raise RequestError("not_found", f"{id or 'the node'} does not drain any more: somebody ended it")
            answer["drain"] = rows[0]["drain"]
    click.echo(render.to_json(answer) if as_json else render.drain(answer["drain"], of=id or "the node"))


@click.command(short_help="End a drain.")
@_id_or_node
@_node
@doors.with_socket
def undrain(socket: str | None, id_: str | None, node: bool) -> None:
    """End the drain of the instance ID, or with --node of this node."""
    doors.ask(socket, "undrain", id=_subject(id_, node=node))


@click.command(short_help="Begin or end the maintenance of an instance or of this node.")
@click.argument("switch", metavar="on|off", type=click.Choice(["on", "off"]))
@_id_or_node
@_node
@_reason
@doors.with_socket
def maintenance(socket: str | None, switch: str, id_: str | None, node: bool, reason: str | None) -> None:
    """Begin or end the maintenance of the instance ID, or with --node of this node: meanwhile it gets no work at all."""
    doors.ask(socket, "maintenance", id=_subject(id_, node=node), enable=switch == "on", reason=reason)


@click.command(short_help="Let in an instance that is held out because it flapped.")
@_id
@doors.with_socket
def undamp(socket: str | None, id_: str) -> None:
    """Let in the instance ID, which is held out because it changed too often, and forget its penalty."""
    doors.ask(socket, "undamp", id=id_)


COMMANDS = (
    register,
    deregister,
    execute,
    registrations,
    heartbeat,
    check,
    checks,
    drain,
    undrain,
    maintenance,
    undamp,
)
"""In the order of the reference page."""
