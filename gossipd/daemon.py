"""The daemon: sockets, disk, node, local door and signals, joined and owned by one nursery.

Order of birth: lock the data directory, take an epoch, bind, open the local door, start the node. Of death: leave, stop
every task, save the peer book. An error of our own in any task ends the daemon, is logged and raised: a half-dead daemon
would be believed by its host.
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random

import trio

from gossipd import __version__
from gossipd.api.server import ApiServer
from gossipd.daemon_config import PORT, DaemonConfig, needing_restart
from gossipd.errors import ConfigError, GossipdError, StorageError
from gossipd.ids import Address, NodeId
from gossipd.node.node import Node
from gossipd.node.peers import PeerEntry
from gossipd.node.registrations import NOTHING_KEPT, Kept
from gossipd.node.view import Commands, View
from gossipd.shell import addresses
from gossipd.shell.bind import Bound, bind_all
from gossipd.shell.checkers.runner import Checkers
from gossipd.shell.commands import Leaving, LocalCommands
from gossipd.shell.disk import DataDirectory
from gossipd.shell.driver import Driver
from gossipd.shell.eventlog import EventLog
from gossipd.shell.leftovers import drop_leftovers
from gossipd.shell.log import Log
from gossipd.shell.notify import Notifier
from gossipd.shell.pids import Pids
from gossipd.shell.resolve import Seeds
from gossipd.shell.saver import Saver
from gossipd.shell.services_dir import ConfiguredServices, Reading, read_directory
from gossipd.shell.streams import Streams
from gossipd.shell.udp import Udp
from gossipd.shell.watchdog import Watchdog

SERVICES_S = 5.0
"""Seconds that reading the services directory may hold up the start: a dead network disk must not."""

REPLY_S = 0.2
"""Seconds that the local door stays open after leaving, so that whoever asked for it gets the answer."""


class ForcedExit(GossipdError):
    """A second signal asked to end at once: the others were not told, nothing was saved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A daemon that is ready, for whoever started it."""

    name: NodeId
    epoch: int
    address: Address
    """What others reach it under."""
    socket: str
    view: View
    commands: Commands


async def run_daemon(
    config: DaemonConfig,
    *,
    entropy: Callable[[int], bytes] = os.urandom,
    reload: Callable[[], DaemonConfig] | None = None,
    signals: bool = True,
    log: Log | None = None,
    task_status: trio.TaskStatus[Running] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run until SIGTERM, SIGINT or a client's `leave`; return when the cluster has been told.

    *reload* reads the settings again, in a thread, on SIGHUP. *signals* False leaves signals alone: several daemons in
    one process, or not in the main thread.

    Raises: ConfigError or StorageError if it cannot start; ForcedExit at a second signal; all else is our own fault.
    """
    drop_leftovers()
    log = log or Log(format=config.log_format, level=config.log_level)
    try:
        with ExitStack() as held:
            daemon = _Daemon(config, entropy=entropy, reload=reload, log=log, held=held)
            await daemon.run(signals=signals, task_status=task_status)
        log.info("daemon stopped")
    except Exception as error:
        innermost: BaseException = error
        while isinstance(innermost, BaseExceptionGroup) and len(innermost.exceptions) == 1:
            innermost = innermost.exceptions[0]
        if isinstance(innermost, ConfigError | StorageError | ForcedExit):
            raise innermost from None
        log.error("internal error, the daemon stops", error=repr(innermost))
        raise
    finally:
        log.tell_repeats(all=True)


class _Daemon:
    """The parts, made in order; what has to be given back is pushed to *held*."""

    def __init__(
        self,
        config: DaemonConfig,
        *,
        entropy: Callable[[int], bytes],
        reload: Callable[[], DaemonConfig] | None,
        log: Log,
        held: ExitStack,
    ) -> None:
        self._config = config
        self._read_settings = reload
        self._log = log
        self._notifier = Notifier.from_environment(os.environ, pid=os.getpid())
        self._reloading = self._reload_wanted = False
        me = NodeId(config.name)
        directory = None
        if config.data_dir is not None:
            directory = DataDirectory(str(config.data_dir), log=log)
            held.callback(directory.close)
        past = _recall(directory, me)
        bound = bind_all(config.bind_addresses)
        for each in bound:
            held.callback(each.close)
        self._address = _advertised(config, bound)
        self._node = Node(
            config.protocol,
            me=me,
            epoch=past.epoch,
            address=self._address,
            cluster=config.cluster,
            keyring=config.keyring,
            rng=Random(int.from_bytes(entropy(32), "big")),
            entropy=entropy,
            now=trio.current_time(),
            labels=config.labels,
            peers=past.peers,
            kept=past.kept,
            restarted=past.restarted,
        )
        self._join_shell(bound)
        self._saver = self._saver_for(directory)

    def _join_shell(self, bound: list[Bound]) -> None:
        """Make everything between the node and the world."""
        config, log = self._config, self._log
        families = {each.udp.family for each in bound}
        timeout_s = config.protocol.sync.timeout_s
        self._udp = Udp([each.udp for each in bound], log=log)
        self._streams = Streams([each.tcp for each in bound], write_timeout_s=timeout_s, log=log)
        self._checkers = Checkers(
            lambda run, result: self._driver.check_finished(run, result), scripts=config.script_checks
        )
        self._pids = Pids(lambda pid: self._driver.pid_exited(pid))
        self._driver = Driver(
            self._node, datagrams=self._udp, streams=self._streams, checks=self._checkers, pids=self._pids
        )
        self._watchdog = Watchdog(self._node, config.protocol.probe, log=log)
        self._watchdog.attach(self._driver)
        self._driver.subscribe(EventLog(log).hear)
        self._leaving = Leaving(self._driver)
        self._commands = LocalCommands(
            self._driver,
            self._leaving,
            default_port=PORT,
            families=families,
            timeout_s=timeout_s,
            scripts=config.script_checks,
        )
        self._services = ConfiguredServices(self._commands, self._node.view, clock=trio.current_time, log=log)
        self._seeds = Seeds(config.join, default_port=PORT, families=families, apply=self._driver.set_seeds, log=log)
        self._api = ApiServer(
            str(config.socket),
            view=self._node.view,
            commands=self._commands,
            mode=config.socket_mode,
            shell=self._shell_statistics,
        )
        self._driver.subscribe(self._api.publish)

    def _shell_statistics(self) -> dict[str, object]:
        """Return what the node cannot count: what the operating system refused, and how late it let us run."""
        return {
            "send_errors": dict(self._udp.send_errors),
            "receive_errors": dict(self._udp.receive_errors),
            "accept_errors": dict(self._streams.accept_errors),
            "stream_overflows": self._streams.overflows,
            "check_errors": self._checkers.errors,
            "save_failures": 0 if self._saver is None else self._saver.failures,
            "wakes": self._driver.wakes,
            "worst_lag_s": self._watchdog.worst_s,
        }

    def _saver_for(self, directory: DataDirectory | None) -> Saver | None:
        if directory is None:
            return None
        saver = Saver(
            directory,
            me=self._node.me,
            epoch=lambda: self._node.epoch,
            peers=lambda: self._node.peer_book(now=trio.current_time()),
            kept=lambda: self._node.kept(now=trio.current_time()),
            log=self._log,
        )
        self._driver.subscribe(saver.hear)
        return saver

    async def run(self, *, signals: bool, task_status: trio.TaskStatus[Running]) -> None:
        """Live until leaving is finished or overdue."""
        save = True
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._streams.run, self._driver)
                await nursery.start(self._pids.run)
                await nursery.start(self._checkers.serve)
                nursery.start_soon(self._udp.run, self._driver.receive_datagram)
                await nursery.start(self._api.run)
                if signals:
                    await nursery.start(self._listen, nursery)
                services = await self._read_services()
                self._driver.start()
                self._services.apply(services)
                nursery.start_soon(self._driver.run)
                nursery.start_soon(self._seeds.run)
                nursery.start_soon(self._notifier.run_watchdog)
                if self._saver is not None:
                    nursery.start_soon(self._saver.run)
                task_status.started(self._tell_ready())
                await self._leave()
                nursery.cancel_scope.cancel()
        except* ForcedExit:
            save = False
            raise
        finally:
            if save and self._saver is not None:
                await self._saver.save_last()

    def _tell_ready(self) -> Running:
        info = self._node.view.info(now=trio.current_time())
        running = Running(
            name=self._node.me,
            epoch=self._node.epoch,
            address=self._address,
            socket=str(self._config.socket),
            view=self._node.view,
            commands=self._commands,
        )
        if not info.sealed and not addresses.is_loopback(running.address.host):
            self._log.warning("packets are neither encrypted nor authenticated, anybody can change the catalog")
        self._log.info(
            "daemon ready",
            name=running.name,
            address=running.address,
            socket=running.socket,
            epoch=running.epoch,
            cluster=self._config.cluster,
            sealed=info.sealed,
            version=__version__,
        )
        self._notifier.ready(f"{running.name} at {running.address}")
        return running

    async def _leave(self) -> None:
        """Wait until leaving has begun, then until it is finished, but no longer than configured."""
        await self._leaving.begun.wait()
        self._notifier.stopping("leaving the cluster")
        with trio.move_on_after(self._config.protocol.leave.timeout_s) as patience:
            await self._leaving.finished.wait()
        if patience.cancelled_caught:
            self._log.warning("leaving took too long, stopping all the same")
            self._leaving.finished.set()
        if self._leaving.asked:
            await trio.sleep(REPLY_S)

    async def _listen(
        self, nursery: trio.Nursery, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Heed signals, until cancelled."""
        asked_to_stop = False
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as heard:
            task_status.started()
            async for number in heard:
                name = signal.Signals(number).name
                if number == signal.SIGHUP:
                    nursery.start_soon(self._reload)
                elif asked_to_stop:
                    raise ForcedExit(f"a second signal, {name}, before the cluster was told")
                else:
                    asked_to_stop = True
                    self._log.info("leaving", signal=name)
                    self._leaving.begin()

    async def _reload(self) -> None:
        """Read settings and services again and take over what a running daemon can; what is wrong changes nothing."""
        self._reload_wanted = True
        if self._reloading:
            return  # read once more: what is being read may be older than this signal
        self._reloading = True
        self._notifier.reloading()
        try:
            while self._reload_wanted:
                self._reload_wanted = False
                await self._read_settings_again()
                self._services.apply(await self._read_services())
        finally:
            self._reloading = False
            self._notifier.ready(f"{self._node.me} at {self._address}")

    async def _read_settings_again(self) -> None:
        if self._read_settings is None:
            self._log.warning("there are no settings to read again")
            return
        try:
            new = await trio.to_thread.run_sync(self._read_settings)
        except Exception as error:  # whatever is wrong with new settings, the old ones work
            self._log.error("settings are wrong, keeping the old ones", error=error)
        else:
            self._take_over(new)

    async def _read_services(self) -> Reading:
        """Return what the services directory says, which is nothing if there is none."""
        directory, scripts = self._config.services_dir, self._config.script_checks
        if directory is None:
            return Reading()
        with trio.move_on_after(SERVICES_S):
            read = partial(read_directory, str(directory), scripts=scripts)
            return await trio.to_thread.run_sync(read, abandon_on_cancel=True)
        return Reading(problem=f"{directory} was not read within {SERVICES_S:g} s")

    def _take_over(self, new: DaemonConfig) -> None:
        old = self._config
        for setting in needing_restart(old, new):
            self._log.warning("setting needs a restart", setting=setting)
        keyring = new.keyring
        if keyring is None and old.keyring is not None:
            self._log.error("a keyring cannot be taken away from a running daemon, keeping it")
            keyring = old.keyring
        elif keyring is not None and old.keyring is None:  # whoever is not sealed yet could not be told
            self._log.warning("setting needs a restart", setting="keyring")
            keyring = None
        if keyring is not None and keyring != old.keyring:
            self._node.set_keyring(keyring, now=trio.current_time())
        if new.labels != old.labels:
            self._driver.set_labels(new.labels)
        if new.join != old.join:
            self._seeds.set_targets(new.join)
        self._log.set_level(new.log_level)
        self._config = replace(
            old,
            labels=new.labels,
            keyring=keyring,
            join=new.join,
            log_level=new.log_level,
            services_dir=new.services_dir,
        )
        self._log.info("settings read again")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Past:
    """What the data directory knows of us; of nothing, when there is none."""

    epoch: int
    peers: list[PeerEntry] = field(default_factory=list)
    kept: Kept = NOTHING_KEPT
    restarted: bool = False


def _recall(directory: DataDirectory | None, me: NodeId) -> _Past:
    now_ms = int(time.time() * 1000)
    if directory is None:
        return _Past(epoch=max(1, now_ms))
    former = directory.load_identity()
    return _Past(
        epoch=directory.claim_epoch(me, now_ms=now_ms),
        peers=directory.load_peers(now_ms=now_ms),
        kept=directory.load_registrations(now_ms=now_ms),
        restarted=former is not None and former.name == me,
    )


def _advertised(config: DaemonConfig, bound: list[Bound]) -> Address:
    """Return the address that others are told: the configured one, or the best we have; our port if it has none."""
    if config.advertise_address is not None:
        host, port = config.advertise_address
        return Address(addresses.canonical(host), port or bound[0].address.port)
    return addresses.advertised([each.address for each in bound])
