"""A real server over fakes, in a thread of its own: what a client meets, without a daemon."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from gossipd.api.server import ApiServer
from tests.fakes_api import FakeCommands, FakeView, a_record_change, an_instance

DEADLINE_S = 20.0


@contextmanager
def a_daemon(path: Path) -> Iterator[tuple[FakeView, FakeCommands]]:
    """Serve fakes at *path* in a thread of its own; registering and withdrawing change the view and are published."""
    view = FakeView()
    commands = FakeCommands(view)
    tokens: list[tuple[trio.lowlevel.TrioToken, trio.CancelScope]] = []
    ready = threading.Event()

    async def serve() -> None:
        server = ApiServer(path, view=view, commands=commands)
        register, deregister = commands.register, commands.deregister

        def publishing(service, **given):  # type: ignore[no-untyped-def]
            row = register(service, **given)
            server.publish([view.put(an_instance(service.name, id=service.id, port=service.port))])
            return row

        def withdrawing(id, *, now):  # type: ignore[no-untyped-def]
            row = view.rows["ann", id]
            deregister(id, now=now)
            server.publish([a_record_change(row, gone=True)])

        commands.register = publishing  # type: ignore[method-assign]
        commands.deregister = withdrawing  # type: ignore[method-assign]
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            tokens.append((trio.lowlevel.current_trio_token(), nursery.cancel_scope))
            ready.set()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    try:
        assert ready.wait(DEADLINE_S)
        yield view, commands
    finally:
        [(token, scope)] = tokens
        token.run_sync_soon(scope.cancel)
        thread.join(DEADLINE_S)
