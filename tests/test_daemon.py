"""The daemon as a whole: real sockets on loopback, the local door, signals, the data directory, two of them together."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from gossipd.checks import Check, Script, Tcp
from gossipd.client import Client
from gossipd.config import LOCAL
from gossipd.crypto.keyring import Keyring
from gossipd.daemon import ForcedExit, Running, run_daemon
from gossipd.daemon_config import DaemonConfig
from gossipd.errors import ConfigError, RequestError, StorageError
from gossipd.node.view import KEPT, Holder
from gossipd.records import Service
from tests.shell.fakes import ReadableLog

pytestmark = pytest.mark.trio

FAST = replace(LOCAL, leave=replace(LOCAL.leave, timeout_s=3.0, linger_s=0.05))
A_KEYRING = Keyring.parse("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
WEB = Service(name="web", id="web-1", port=80)


def a_config(folder: Path, name: str = "ann", **changes: object) -> DaemonConfig:
    settings: dict[str, Any] = {
        "name": name,
        "socket": folder / f"{name}.sock",
        "bind": ("127.0.0.1:0",),
        "data_dir": folder / name,
        "protocol": FAST,
    }
    return DaemonConfig(**(settings | changes))


@pytest.fixture
def log() -> Iterator[ReadableLog]:
    made = ReadableLog(level="info")
    yield made
    made.close()


@asynccontextmanager
async def running(config: DaemonConfig, log: ReadableLog) -> AsyncIterator[Running]:
    """A daemon, which leaves at the end."""
    async with trio.open_nursery() as nursery:
        yield (daemon := await nursery.start(partial(run_daemon, config, signals=False, log=log.log)))
        with trio.fail_after(10):
            await daemon.commands.leave()


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(15):
        while not condition():
            await trio.sleep(0.01)


async def test_a_daemon_is_ready_leaves_and_cleans_up(tmp_path: Path, log: ReadableLog) -> None:
    async with running(a_config(tmp_path), log) as daemon:
        assert daemon.address.host == "127.0.0.1"
        assert daemon.address.port > 0
        assert (tmp_path / "ann.sock").is_socket()
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as other, pytest.raises(OSError, match=r"in use"):
                other.bind(daemon.address)
    assert not (tmp_path / "ann.sock").exists()
    lines = log.lines()
    ready = f"daemon ready name=ann address={daemon.address} socket={tmp_path}/ann.sock epoch={daemon.epoch}"
    assert ready in lines[0]
    assert lines[-1].endswith("daemon stopped")


async def test_what_the_operating_system_refused_is_in_the_statistics_as_documented(
    tmp_path: Path, log: ReadableLog
) -> None:
    page = (Path(__file__).parents[1] / "docs" / "reference" / "local-api.md").read_text(encoding="utf-8")
    documented = json.loads(page.partition("```result statistics\n")[2].partition("\n```")[0])["statistics"]["shell"]
    async with running(a_config(tmp_path), log) as daemon:
        with Client(daemon.socket) as client:

            def statistics() -> Any:
                return client.call("statistics")["statistics"]

            found = (await trio.to_thread.run_sync(statistics))["shell"]
    assert found.keys() == documented.keys()
    assert found["wakes"] >= 0
    assert found["save_failures"] == found["stream_overflows"] == 0


async def test_two_daemons_find_each_other_and_the_services_of_each_other(tmp_path: Path, log: ReadableLog) -> None:
    async with running(a_config(tmp_path), log) as ann:
        async with running(a_config(tmp_path, "bob", join=(str(ann.address),)), log) as bob:
            now = trio.current_time
            await until(lambda: ann.view.trust(now=now()).members_alive == 2)
            await until(lambda: bob.view.trust(now=now()).members_alive == 2)
            bob.commands.register(WEB, holder=KEPT, now=now())
            await until(lambda: [row.node for row in ann.view.instances(service="web", now=now())] == ["bob"])
        await until(lambda: [row.status for row in ann.view.members(now=trio.current_time())] == ["alive", "left"])


async def test_a_join_says_of_each_address_how_it_went(tmp_path: Path, log: ReadableLog) -> None:
    async with running(a_config(tmp_path), log) as ann, running(a_config(tmp_path, "bob"), log) as bob:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            nobody = f"127.0.0.1:{unused.getsockname()[1]}"
            outcome = await bob.commands.join([str(ann.address), nobody, "bad:port:here:"])
        assert outcome[str(ann.address)] is None
        assert outcome[nobody] == "connection refused"
        assert len(outcome) == 3
        await until(lambda: ann.view.trust(now=trio.current_time()).members_alive == 2)


async def test_a_restart_has_a_later_epoch_its_kept_services_and_its_peers(tmp_path: Path, log: ReadableLog) -> None:
    async with running(a_config(tmp_path, "bob"), log) as bob:
        async with running(a_config(tmp_path, join=(str(bob.address),)), log) as ann:
            ann.commands.register(WEB, holder=KEPT, now=trio.current_time())
            await until(lambda: ann.view.trust(now=trio.current_time()).members_alive == 2)
        async with running(a_config(tmp_path), log) as again:  # told of nobody
            assert again.epoch > ann.epoch
            assert [row.id for row in again.view.instances(now=trio.current_time()) if row.node == "ann"] == ["web-1"]
            await until(lambda: again.view.trust(now=trio.current_time()).members_alive == 2)


async def test_without_a_data_directory_nothing_is_written(tmp_path: Path, log: ReadableLog) -> None:
    async with running(a_config(tmp_path, data_dir=None), log) as daemon:
        daemon.commands.register(WEB, holder=KEPT, now=trio.current_time())
    assert [path for path in tmp_path.iterdir() if not path.name.startswith("ann.sock")] == []


async def test_a_second_daemon_on_the_same_data_directory_is_refused(tmp_path: Path, log: ReadableLog) -> None:
    async with running(a_config(tmp_path), log):
        with pytest.raises(StorageError, match=f"ann is used by process {os.getpid()}$"):
            await run_daemon(a_config(tmp_path), signals=False, log=log.log)


async def test_a_taken_port_and_a_taken_socket_are_told_plainly(tmp_path: Path, log: ReadableLog) -> None:
    async with running(a_config(tmp_path), log) as ann:
        with pytest.raises(ConfigError, match=f"^bind={ann.address}, expected an address that can be bound"):
            await run_daemon(a_config(tmp_path, "bob", bind=(str(ann.address),)), signals=False, log=log.log)
        with pytest.raises(StorageError, match=r"ann\.sock"):
            await run_daemon(a_config(tmp_path, "bob", socket=ann.socket), signals=False, log=log.log)
    assert not [line for line in log.lines() if "internal error" in line]


async def test_sigterm_leaves_and_returns(tmp_path: Path, log: ReadableLog) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(run_daemon, a_config(tmp_path), log=log.log))
        os.kill(os.getpid(), signal.SIGTERM)
    assert "leaving signal=SIGTERM" in "\n".join(log.lines())
    assert (tmp_path / "ann" / "peers.json").exists()


async def test_a_second_signal_ends_at_once(tmp_path: Path, log: ReadableLog) -> None:
    slow = replace(FAST, leave=replace(FAST.leave, timeout_s=600.0, linger_s=60.0))
    async with running(a_config(tmp_path, "bob"), log) as bob:
        with pytest.RaisesGroup(ForcedExit), trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                config = a_config(tmp_path, protocol=slow, join=(str(bob.address),))
                ann = await nursery.start(partial(run_daemon, config, log=log.log))
                await until(lambda: ann.view.trust(now=trio.current_time()).members_alive == 2)
                os.kill(os.getpid(), signal.SIGTERM)
                await until(lambda: ann.view.info(now=trio.current_time()).leaving)
                os.kill(os.getpid(), signal.SIGINT)


async def test_sighup_takes_over_what_it_can_names_what_needs_a_restart_and_survives_nonsense(
    tmp_path: Path, log: ReadableLog
) -> None:
    before = a_config(tmp_path)
    slower = replace(FAST, probe=replace(FAST.probe, interval_s=2 * FAST.probe.interval_s))
    answers: list[DaemonConfig | Exception] = [
        replace(before, labels=(("zone", "b"),), log_level="debug", cluster="other", protocol=slower),
        ConfigError("labels.zone=5, expected text"),
    ]

    def reload() -> DaemonConfig:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with trio.open_nursery() as nursery:
        daemon = await nursery.start(partial(run_daemon, before, reload=reload, log=log.log))
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: log.log.level == "debug")
        assert daemon.view.info(now=trio.current_time()).labels == {"zone": "b"}
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: not answers)
        text = ""

        def told() -> bool:
            nonlocal text
            text += "\n".join(log.lines())
            return "keeping the old ones" in text

        await until(told)
        os.kill(os.getpid(), signal.SIGTERM)
    assert "setting needs a restart setting=cluster" in text
    assert 'error="labels.zone=5, expected text"' in text
    assert "setting=bind" not in text
    assert "setting=protocol" not in text
    assert "setting needs a restart setting=[probe]" in text


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (None, A_KEYRING, "setting needs a restart setting=keyring"),
        (A_KEYRING, None, "a keyring cannot be taken away from a running daemon"),
    ],
)
async def test_sighup_neither_gives_nor_takes_the_seal(
    before: Keyring | None, after: Keyring | None, said: str, tmp_path: Path, log: ReadableLog
) -> None:
    config = a_config(tmp_path, keyring=before)
    async with trio.open_nursery() as nursery:
        reload = partial(replace, config, keyring=after, log_level="debug")
        daemon = await nursery.start(partial(run_daemon, config, reload=reload, log=log.log))
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: log.log.level == "debug")
        assert daemon.view.info(now=trio.current_time()).sealed is (before is not None)
        os.kill(os.getpid(), signal.SIGTERM)
    assert said in "\n".join(log.lines())


async def test_the_services_directory_is_read_before_we_are_ready_and_again_on_sighup(
    tmp_path: Path, log: ReadableLog
) -> None:
    files = [tmp_path / "services" / name for name in ("a.toml", "b.toml")]
    files[0].parent.mkdir()
    for file, name in zip(files, ("web", "db"), strict=True):
        file.write_text(f'[[service]]\nname = "{name}"\nport = 80\nchecks = ["ttl:60s"]\n')
    config = a_config(tmp_path, services_dir=files[0].parent)
    async with trio.open_nursery() as nursery:
        daemon = await nursery.start(partial(run_daemon, config, reload=lambda: config, log=log.log))

        def found() -> dict[str, tuple[str, int]]:
            now = trio.current_time()
            ports = {row.id: row.port for row in daemon.view.instances(now=now)}
            return {row.id: (row.holder, ports[row.id]) for row in daemon.view.registrations(now=now)}

        assert found() == {"db": ("configured", 80), "web": ("configured", 80)}
        files[0].write_text('[[service]]\nname = "web"\nport = 81\n[[service]]\nname = "new"\nport = 82\n')
        files[1].write_text("nonsense")
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: "new" in found())
        assert found() == {"db": ("configured", 80), "new": ("configured", 82), "web": ("configured", 81)}
        files[0].unlink()
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: list(found()) == ["db"])
        os.kill(os.getpid(), signal.SIGTERM)
    text = "\n".join(log.lines())
    assert f'services file is wrong, keeping what it had file={files[1]} error="not a TOML file' in text


async def test_an_internal_error_is_logged_and_ends_the_daemon(tmp_path: Path, log: ReadableLog) -> None:
    def broken(_: int) -> bytes:
        raise RuntimeError("no entropy")

    with pytest.raises(RuntimeError):
        await run_daemon(a_config(tmp_path), entropy=broken, signals=False, log=log.log)
    assert "internal error, the daemon stops error=\"RuntimeError('no entropy')\"" in log.lines()[-1]
    async with running(a_config(tmp_path), log):  # nothing stayed locked or bound
        pass


async def test_systemd_is_told_when_we_are_ready_and_when_we_stop(
    tmp_path: Path, log: ReadableLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "60000000")
        async with running(a_config(tmp_path), log) as daemon:
            await trio.testing.wait_all_tasks_blocked(0.01)
        systemd.setblocking(False)
        messages = [systemd.recv(1_000).decode() for _ in range(3)]
    assert messages[0] == f"READY=1\nSTATUS=ann at {daemon.address}"
    assert messages[1] == "WATCHDOG=1"
    assert messages[2].startswith("STOPPING=1\n")


async def test_a_check_follows_its_target_and_everybody_hears_of_it(tmp_path: Path, log: ReadableLog) -> None:
    def listener(port: int = 0) -> socket.socket:
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        made.listen()
        return made

    def status(daemon: Running) -> list[str]:
        return [row.status for row in daemon.view.instances(service="web", now=trio.current_time())]

    with listener() as first:
        port = first.getsockname()[1]
        async with running(a_config(tmp_path), log) as ann:
            async with running(a_config(tmp_path, "bob", join=(str(ann.address),)), log) as bob:
                check = Check(id="up", target=Tcp(), interval_s=0.1, timeout_s=0.1)
                web = replace(WEB, port=port)
                bob.commands.register(web, holder=KEPT, checks=(check,), now=trio.current_time())
                await until(lambda: status(ann) == ["passing"])
                first.close()
                await until(lambda: status(ann) == status(bob) == ["critical"])
                [row] = bob.view.checks("web-1", now=trio.current_time())
                assert "refused" in row.output
                with listener(port):
                    await until(lambda: status(ann) == ["passing"])
                    bob.commands.drain("web-1", reason="over", now=trio.current_time())
                    await until(lambda: status(ann) == ["draining"])
                    assert bob.view.registrations(now=trio.current_time())[0].reason == "over"
            async with running(a_config(tmp_path, "bob", join=(str(ann.address),)), log) as again:
                [registered] = again.view.registrations(now=trio.current_time())
                assert (registered.mode, registered.reason, registered.checks) == ("draining", "over", 1)
                await until(lambda: status(ann) == ["draining"] and registered.id == "web-1")


async def test_script_checks_are_refused_unless_they_are_on(tmp_path: Path, log: ReadableLog) -> None:
    check = Check(id="works", target=Script(args=("/bin/true",)))
    async with running(a_config(tmp_path), log) as daemon:
        with pytest.raises(RequestError, match="expected script_checks = true"):
            daemon.commands.register(WEB, holder=KEPT, checks=(check,), now=trio.current_time())
    async with running(a_config(tmp_path, script_checks=True), log) as daemon:
        daemon.commands.register(WEB, holder=KEPT, checks=(check,), now=trio.current_time())
        await until(lambda: daemon.view.checks("web-1", now=trio.current_time())[0].health == "passing")


async def test_the_end_of_a_process_takes_its_instance_along(tmp_path: Path, log: ReadableLog) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        async with running(a_config(tmp_path), log) as daemon:
            daemon.commands.register(WEB, holder=Holder(kind="pid", pid=process.pid), now=trio.current_time())
            assert len(daemon.view.instances(now=trio.current_time())) == 1
            process.kill()
            await until(lambda: daemon.view.instances(now=trio.current_time()) == [])
    assert any(f'instance lost id=web-1 why="process {process.pid} has ended"' in line for line in log.lines())


async def test_a_process_that_does_not_exist_holds_nothing_and_takes_nothing_over(
    tmp_path: Path, log: ReadableLog
) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    async with running(a_config(tmp_path), log) as daemon:
        daemon.commands.register(WEB, holder=KEPT, now=trio.current_time())
        with pytest.raises(RequestError, match=f"pid={process.pid}, expected a process that lives on this host"):
            daemon.commands.register(WEB, holder=Holder(kind="pid", pid=process.pid), now=trio.current_time())
        assert [row.holder for row in daemon.view.registrations(now=trio.current_time())] == ["kept"]
