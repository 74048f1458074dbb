"""`gossipd register --hold`: an instance that lives as long as this command, by being bound to its connection."""

import signal
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from gossipd.cli import doors, exits, render
from gossipd.errors import GossipdError, RequestError

if TYPE_CHECKING:
    from gossipd.client import Client


def hold_registration(socket: str | None, params: Mapping[str, Any], *, as_json: bool) -> None:
    """Register and keep the connection open. On Ctrl-C and SIGTERM the instance is withdrawn at once.

    If this process dies in another way, the daemon withdraws it after its grace period. Raises: RequestError if the
    request is refused, or the daemon goes away.
    """
    former = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with doors.connected(socket) as client:
            answer: dict[str, Any] = client.call("register", kept=False, **params)
            row = answer["registration"]
            click.echo(render.to_json(answer) if as_json else render.registration(row, port=params["port"]))
            try:
                for _ in client.watch(service=params["name"]):
                    pass  # what it tells is not for us; that it ends means that the daemon is gone
                raise RequestError("disconnected", "the daemon ended the watch: is it stopping?")
            except KeyboardInterrupt:
                _withdraw(client, row["id"])
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, former)


def _withdraw(client: "Client", id: str) -> None:
    try:
        client.call("deregister", id=id)
    except GossipdError:
        exits.warn("the daemon did not answer; it will withdraw the instance itself")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
