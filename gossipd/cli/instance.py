"""What a command line says of an instance, for `register` and `exec`: the options, and the parameters that they become."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--port", type=click.IntRange(1, 65_535), required=True, help="Port that the instance listens on."),
    click.option("--id", "id_", help="Name of the instance, unique on this node.  [default: the service's name]"),
    click.option("--address", help="IP address or host name of the instance, where it is not this node's."),
    click.option("--protocol", help="What is spoken: tcp, udp, http, ...  [default: tcp]"),
    click.option("--tag", "tags", multiple=True, help="A tag; repeatable."),
    click.option("--meta", multiple=True, metavar="KEY=VALUE", help="An entry of metadata; repeatable."),
    click.option(
        "--weight", type=click.IntRange(0, 65_535), help="Share of the load, relative to others.  [default: 1]"
    ),
    click.option(
        "--check",
        "checks",
        multiple=True,
        metavar="KIND:TARGET@INTERVAL",
        help="A health check, such as http:/health@5s, tcp, grpc, ttl:30s; repeatable.",
    ),
)


def described(command: F) -> F:
    """Give *command* the options that describe an instance, under the names of `params_of`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def params_of(
    name: str,
    *,
    port: int,
    id_: str | None,
    address: str | None,
    protocol: str | None,
    tags: Sequence[str],
    meta: Sequence[str],
    weight: int | None,
    checks: Sequence[str],
) -> dict[str, Any]:
    """Return the parameters of `register` on the local socket; what was not given is left out. Raises: BadParameter."""
    given = {
        "name": name,
        "id": id_,
        "port": port,
        "address": address,
        "protocol": protocol,
        "tags": list(dict.fromkeys(tags)) or None,
        "metadata": metadata_of(meta) or None,
        "weight": weight,
        "checks": list(checks) or None,
    }
    return {name: value for name, value in given.items() if value is not None}


def metadata_of(entries: Sequence[str]) -> dict[str, str]:
    """Return what KEY=VALUE *entries* say. Raises: BadParameter."""
    metadata = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{entry!r}, expected KEY=VALUE", param_hint="'--meta'")
        metadata[key] = value
    return metadata
