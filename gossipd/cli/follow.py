"""`gossipd watch`: what is there, then every change, one line each, until Ctrl-C."""

import select
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import UnsupportedOperation
from types import FrameType
from typing import Any

import click

from gossipd.cli import doors, render
from gossipd.errors import RequestError


def follow(socket: str | None, *, service: str | None, members: bool, as_json: bool) -> None:
    """Print the events of one watch as they come. Returns on Ctrl-C.

    Raises: RequestError if the daemon goes away; BrokenPipeError if the reader of our output does.
    """
    colour = doors.colourful()
    try:
        with _reader_watched(), doors.connected(socket) as client:
            for event in client.watch(service, members=members):
                text = (
                    render.to_json(event) if as_json else event_text(event, at=time.strftime("%H:%M:%S"), colour=colour)
                )
                click.echo(text)  # flushes: a reader of the pipe hears of a change when it happens
        raise RequestError("disconnected", "the daemon ended the watch: is it stopping?")
    except KeyboardInterrupt:
        return


@contextmanager
def _reader_watched() -> Iterator[None]:
    """Turn the end of whoever reads stdout into BrokenPipeError at once: the next event, which would tell, may be far."""
    gone = threading.Event()

    def wait_for_end(descriptor: int, main_thread: int) -> None:
        poll = select.poll()
        poll.register(descriptor, 0)  # for errors only; a file has none
        poll.poll()
        gone.set()
        signal.pthread_kill(main_thread, signal.SIGPIPE)

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGPIPE, interrupt)
    try:
        arguments = (sys.stdout.fileno(), threading.get_ident())
        threading.Thread(target=wait_for_end, args=arguments, daemon=True).start()
    except UnsupportedOperation:  # stdout is no descriptor: a test reads it
        pass
    try:
        yield
    except KeyboardInterrupt:
        if gone.is_set():
            raise BrokenPipeError from None
        raise
    finally:
        signal.signal(signal.SIGPIPE, former)


def event_text(event: Mapping[str, Any], *, at: str, colour: bool) -> str:
    """Return the line that tells *event* to people; a snapshot takes one a row, and ends with its footer."""
    match event["type"]:
        case "up" | "changed" | "down":
            return f"{at}  {event['type']:<8}{_instance(event['instance'], colour=colour)}"
        case "member":
            before, after = event["before"] or "unknown", event["after"] or "forgotten"
            change = "labels or software changed" if before == after else f"{before} -> {after}"
            return f"{at}  member  {render.clean(event['member']['name'])} {change}"
        case "view":
            return f"{at}  view    {render.footer(event['view']) or 'this node hears the cluster'}"
        case "resync":
            return f"{at}  resync  this reader fell behind; what is there now follows"
        case "snapshot":
            return _snapshot(event, at=at, colour=colour)
        case _:
            return f"{at}  {render.clean(event['type'])}"  # of a newer daemon


def _instance(row: Mapping[str, Any], *, colour: bool) -> str:
    return f"{render.clean(row['service'])}  {render.instances([row], colour=colour)}"


def _snapshot(event: Mapping[str, Any], *, at: str, colour: bool) -> str:
    lines = []
    for row in event.get("instances", ()):
        lines.append(f"{at}  {'is':<8}{_instance(row, colour=colour)}")
    for row in event.get("members", ()):
        lines.append(f"{at}  member  {render.clean(row['name'])} is {row['status']}")
    if not lines:
        lines.append(f"{at}  nothing yet")
    footer = render.footer(event.get("view"))
    return "\n".join([*lines, footer] if footer else lines)
