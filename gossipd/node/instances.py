"""The life of this node's instances: registered, checked, held out, drained, withdrawn; and what of it is published.

Joins registrations (who holds them), decisions (drain, maintenance) and the monitor (checks, damping). What everybody is to see is
the state in an instance's record; it is written anew whenever that changes, and at no other time.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from gossipd.checks import Alias, Check, CheckResult, Ttl
from gossipd.config import ProtocolConfig
from gossipd.core.checks.health import Effect, HealthChanged, Monitor, Overdue, Report, StartCheck, StopCheck
from gossipd.core.events import RegistrationLost, RegistrationsChanged
from gossipd.errors import RequestError
from gossipd.ids import NodeId
from gossipd.node.actions import CancelCheck, RunCheck, UnwatchPid, WatchPid
from gossipd.node.decisions import Decision, Decisions, Subject
from gossipd.node.machines import Machines
from gossipd.node.registrations import LEASE, Kept, Registration, Registrations
from gossipd.node.view import KEPT, Holder
from gossipd.records import NORMAL_STATE, Health, Mode, NodeInfo, Service, State
from gossipd.validation import check_reason, check_service
from gossipd.wire.records import NODE_KEY, SERVICE_KEY_PREFIX

SETTLE_MOST_S = 5.0
"""After a restart an instance whose checks have not said anything yet is published after so many seconds, or half of
`catalog.epoch_grace_s`: for so long others answer what the former run published, so that no restart is a blip."""

HEARING_S = 0.25
"""Seconds that leases, reports and lost connections get after a pause of the machine, for what waits in the sockets since."""

WORST_STATE = State(health=Health.CRITICAL, mode=Mode.MAINTENANCE, damped=True)
"""As long as a state without a reason can be encoded; what registers must leave room for it."""


class Instances:
    """All that this node publishes but itself; *info* makes what it says of itself, by mode and reason."""

    def __init__(
        self,
        config: ProtocolConfig,
        machines: Machines,
        *,
        kept: Kept,
        info: Callable[[Mode, str], NodeInfo],
        restarted: bool,
        now: float,
    ) -> None:
        """*restarted*: others may hold what a former run of ours has published."""
        self._m = machines
        self._info = info
        self._start_with = kept.registrations
        self.registrations = Registrations(grace_s=config.catalog.connection_grace_s)
        self.decisions = Decisions(kept.decisions, now=now)
        self.monitor = Monitor(config.checks, rng=machines.rng, look_up=self._look_up)
        self.remaining: dict[str, int] = {}
        """Pieces of work that draining applications have left, by instance, as they said."""
        settle_s = min(SETTLE_MOST_S, config.catalog.epoch_grace_s / 2)
        self._settled_at = now + settle_s if restarted else -math.inf
        self._unsettled: set[str] = set()
        self.leaving = False

    # ------------------------------------------------------------------------------------------------------ what is so

    def __contains__(self, id: str) -> bool:
        return id in self.registrations

    def node_mode(self) -> tuple[Mode, str]:
        """Return the node's mode, and why."""
        decision = self.decisions.get(None)
        if decision is not None:
            return decision.mode, decision.reason
        return (Mode.DRAINING, "the node is leaving") if self.leaving else (Mode.NORMAL, "")

    def state(self, id: str) -> State:
        """Return how instance *id* is published. While it is held out, no change of its health is news."""
        decision = self.decisions.get(id)
        damped = self.monitor.damping.damped(id)
        state = State(
            health=Health.CRITICAL if damped else self.monitor.health(id),
            mode=Mode.NORMAL if decision is None else decision.mode,
            damped=damped,
            reason="" if decision is None else decision.reason,
        )
        return NORMAL_STATE if state == NORMAL_STATE else state

    def damped(self) -> int:
        """Return how many instances are held out."""
        return sum(self.monitor.damping.damped(id) for id in self.registrations.ids())

    def kept(self, *, now: float) -> Kept:
        """Return what must be on disk to survive a restart."""
        stored = tuple(self.decisions.stored(now=now))
        yet_to_start = [kept for kept in self._start_with if kept.service.id not in self.registrations]
        return Kept(registrations=(*self.registrations.kept(), *yet_to_start), decisions=stored)

    def drains(self, subject: Subject) -> bool:
        """Return whether it was decided that *subject* itself drains."""
        decision = self.decisions.get(subject)
        return decision is not None and decision.mode is Mode.DRAINING

    def told(self, subject: Subject) -> bool:
        """Return whether the news of what was decided about *subject* has gone out as often as intended."""
        if subject is None:
            return self._m.told(NODE_KEY)
        return subject not in self._unsettled and self._m.told(SERVICE_KEY_PREFIX + subject)

    # ---------------------------------------------------------------------------------------------------------- inputs

    def start(self, *, now: float) -> None:
        """Publish what was kept; what cannot be any more is lost. Who registered meanwhile holds what it registered."""
        for kept in self._start_with:
            if kept.service.id in self.registrations:
                continue
            try:
                self.register(kept.service, KEPT, kept.checks, now=now)
            except RequestError as error:
                self._m.report(RegistrationLost(id=kept.service.id, why=str(error)), now=now)
        self._start_with = ()

    def register(self, service: Service, holder: Holder, checks: Sequence[Check], *, now: float) -> None:
        """See `Node.register`."""
        id = service.id
        try:
            service = check_service(replace(service, state=NORMAL_STATE))
            new = Registration(service, holder, tuple(self._own_aliases(check) for check in checks))
            before = self.registrations.get(id)
            if before is None or before.service != service:
                decision = self.decisions.get(id)
                state = replace(WORST_STATE, reason="" if decision is None else decision.reason)
                self._m.author.require_room(SERVICE_KEY_PREFIX + id, replace(service, state=state))
        except ValueError as error:
            raise RequestError("bad_request", str(error)) from None
        self.registrations.refuse(id, holder)
        effects = self.monitor.set(service, new.all_checks(), now=now)  # the last that may refuse
        if holder.pid is not None and not self.registrations.watched(holder.pid):
            self._m.actions.append(WatchPid(pid=holder.pid))
        kept_changed = self.registrations.set(new)
        if before is not None:
            self._unwatch(before.holder)
        self.decisions.registered(id)
        if holder.lease_s is not None:
            effects += self.monitor.report(id, LEASE, CheckResult(health=Health.PASSING), now=now)
        if before is None and now < self._settled_at and not self.monitor.is_known(id):
            self._unsettled.add(id)
        self._perform(effects, now=now)
        self._publish(id, now=now)
        if kept_changed:
            self._m.report(RegistrationsChanged(), now=now)

    def withdraw(self, id: str, *, lost: str | None = None, now: float) -> None:
        """Withdraw instance *id*; *lost* says why its holder did not ask for it. A drain ends with what is deregistered."""
        if id in self._unsettled:  # others answer what our former run published, until we have said otherwise
            self._unsettled.discard(id)
            self._publish(id, now=now)
        held = self.registrations.remove(id)
        self.remaining.pop(id, None)
        self._perform(self.monitor.remove(id, lost=lost is not None, now=now), now=now)
        self._unwatch(held.holder)
        self._m.publish(self._m.author.delete(SERVICE_KEY_PREFIX + id), now=now)
        undecided = lost is None and self.decisions.end(id, Mode.DRAINING)
        self.decisions.unregistered(id, now=now)
        if lost is not None:
            self._m.report(RegistrationLost(id=id, why=lost), now=now)
        if undecided or held.holder.kind == "kept":
            self._m.report(RegistrationsChanged(), now=now)

    def pid_exited(self, pid: int, *, now: float) -> None:
        for id in self.registrations.of_pid(pid):
            self.withdraw(id, lost=f"process {pid} has ended", now=now)

    def check_finished(self, run: int, result: CheckResult, *, now: float) -> None:
        self._perform(self.monitor.finished(run, result, now=now), now=now)

    def renew(self, id: str, *, now: float) -> None:
        """See `Commands.renew`."""
        if self.expect(id).holder.kind != "lease":
            raise RequestError("bad_request", f"id={id!r} has no lease, expected one that was registered with a lease")
        self._perform(self.monitor.report(id, LEASE, CheckResult(health=Health.PASSING), now=now), now=now)

    def report(self, id: str, check_id: str | None, result: CheckResult, *, now: float) -> None:
        """See `Commands.report`."""
        own = [check.id for check in self.expect(id).checks if isinstance(check.target, Ttl)]
        if check_id is None and len(own) != 1:
            raise RequestError("bad_request", f"check: {id!r} has {len(own)} ttl checks, expected the id of one")
        if check_id is not None and check_id not in own:
            known = ", ".join(own) or "none"
            raise RequestError("not_found", f"check={check_id!r}, expected a ttl check of {id!r}: {known}")
        self._perform(self.monitor.report(id, check_id or own[0], result, now=now), now=now)

    def decide(self, subject: Subject, mode: Mode, reason: str, *, deadline: float | None, now: float) -> None:
        """Let *subject* drain, or be under maintenance. Raises: RequestError, and nothing has changed."""
        self._expect_subject(subject)
        try:
            check_reason(reason)
            if subject is None:
                self._m.author.require_room(NODE_KEY, self._info(mode, reason))
            else:
                content = replace(self.registrations[subject].service, state=replace(WORST_STATE, reason=reason))
                self._m.author.require_room(SERVICE_KEY_PREFIX + subject, content)
        except ValueError as error:
            raise RequestError("bad_request", str(error)) from None
        former = self.decisions.get(subject)
        if self.decisions.set(subject, Decision(mode=mode, reason=reason, since=now, deadline=deadline)):
            if former is None or former.mode is not mode:
                self._forget_progress(subject)
            self._decided(subject, now=now)

    def end(self, subject: Subject, mode: Mode, *, now: float) -> None:
        """End the drain or the maintenance of *subject*, if there is one."""
        self._expect_subject(subject)
        if self.decisions.end(subject, mode):
            self._forget_progress(subject)
            self._decided(subject, now=now)

    def progress(self, id: str, remaining: int) -> None:
        """See `Commands.progress`."""
        self.expect(id)
        if not (self.drains(id) or self.drains(None)):
            raise RequestError("bad_request", f"id={id!r} does not drain, expected one that does")
        self.remaining[id] = remaining

    def undamp(self, id: str, *, now: float) -> None:
        self.expect(id)
        self._perform(self.monitor.undamp(id), now=now)

    def leave(self, *, now: float) -> None:
        """Drain the node for as long as it takes to leave."""
        self.leaving = True
        self.publish_info(now=now)

    def publish_info(self, *, now: float) -> None:
        """Publish what the node says of itself."""
        self._m.publish(self._m.author.put(NODE_KEY, self._info(*self.node_mode())), how="self", now=now)

    def settle(self, *, now: float) -> None:
        """After every input: look at aliases of what has changed."""
        while self._m.touched:
            touched, self._m.touched = self._m.touched, set()
            for node in sorted(touched):
                if self.monitor.has_aliases_of(node):
                    self._perform(self.monitor.stirred(node, now=now), now=now)
            if self._m.table.me in touched and self.monitor.has_aliases_of(None):
                self._perform(self.monitor.stirred(None, now=now), now=now)

    def overslept(self, by_s: float) -> None:
        """The machine paused for *by_s*: nobody could renew, report or come back, and who tried is still to be read."""
        self.monitor.overslept(by_s + HEARING_S)
        self.registrations.shift(by_s + HEARING_S)

    def next_deadline(self) -> float:
        return min(
            self.registrations.next_deadline(),
            self.monitor.next_deadline(),
            self.decisions.next_deadline(),
            self._settled_at if self._unsettled else math.inf,
        )

    def handle_timer(self, *, now: float) -> None:
        for id in self.registrations.pop_due(now=now):
            self.withdraw(id, lost="its connection was lost", now=now)
        self._perform(self.monitor.handle_timer(now=now), now=now)
        if self.decisions.forget_due(now=now):
            self._m.report(RegistrationsChanged(), now=now)
        if self._unsettled and self._settled_at <= now:
            for id in sorted(self._unsettled):
                self._publish(id, now=now)

    def expect(self, id: str) -> Registration:
        """Return what is registered as *id*. Raises: RequestError("not_found")."""
        held = self.registrations.get(id)
        if held is None:
            raise RequestError("not_found", f"id={id!r}, expected an instance that is registered on this node")
        return held

    # --------------------------------------------------------------------------------------------------------- private

    def _expect_subject(self, subject: Subject) -> None:
        if subject is not None:
            self.expect(subject)

    def _forget_progress(self, subject: Subject) -> None:
        """A decision about *subject* began or ended: so did the count of what is left, unless another drain goes on."""
        if subject is None:
            self.remaining = {id: left for id, left in self.remaining.items() if self.drains(id)}
        elif not self.drains(None):
            self.remaining.pop(subject, None)

    def _decided(self, subject: Subject, *, now: float) -> None:
        if subject is None:
            self.publish_info(now=now)
        else:
            self._publish(subject, now=now)
        self._m.report(RegistrationsChanged(), now=now)

    def _publish(self, id: str, *, now: float) -> None:
        """Write the record of *id* if it is not written like this."""
        if id in self._unsettled:
            if now < self._settled_at and not self.monitor.is_known(id):
                return
            self._unsettled.discard(id)
        service, state = self.registrations[id].service, self.state(id)
        content = service if state is NORMAL_STATE else replace(service, state=state)
        self._m.publish(self._m.author.put(SERVICE_KEY_PREFIX + id, content, within_quota=False), now=now)

    def _perform(self, effects: Sequence[Effect], *, now: float) -> None:
        overdue = [effect for effect in effects if isinstance(effect, Overdue)]
        for effect in effects:
            match effect:
                case StartCheck():
                    host = effect.service.address or self._m.table.own.address.host
                    run = RunCheck(run=effect.run, check=effect.check, service=effect.service, host=host)
                    self._m.actions.append(run)
                case StopCheck():
                    self._m.actions.append(CancelCheck(run=effect.run))
                case HealthChanged():
                    self._publish(effect.id, now=now)
                case Report():
                    self._m.report(effect.event, now=now)
                case Overdue():
                    pass
        for last in overdue:  # when all that was begun for it can be stopped
            if last.id in self.registrations:
                what = "lease" if last.check.id == LEASE else f"check {last.check.id!r}"
                patience_s = last.check.deregister_critical_after_s
                self.withdraw(last.id, lost=f"its {what} has been critical for {patience_s:g} s", now=now)

    def _unwatch(self, former: Holder) -> None:
        """Wait no more for the process of *former*, if it holds nothing else."""
        if former.pid is not None and not self.registrations.watched(former.pid):
            self._m.actions.append(UnwatchPid(pid=former.pid))

    def _own_aliases(self, check: Check) -> Check:
        """Return *check* with our own name left out."""
        target = check.target
        if isinstance(target, Alias) and target.node == self._m.table.me:
            return replace(check, target=replace(target, node=None))
        return check

    def _look_up(self, alias: Alias) -> CheckResult:
        """Return how the target of *alias* is, as everybody sees it."""
        name = self._m.table.me if alias.node is None else NodeId(alias.node)
        row = self._m.table.row(name)
        if row is None or not (row.live or name == self._m.table.me):
            return CheckResult(
                health=Health.CRITICAL, output=f"{name} is {'not known' if row is None else 'not alive'}"
            )
        told = self._m.catalog.get(name, NODE_KEY)
        mode = told.content.mode if told is not None and isinstance(told.content, NodeInfo) else Mode.NORMAL
        if mode is not Mode.NORMAL:
            return CheckResult(health=Health.CRITICAL, output=f"{name} is {mode.name.lower()}")
        if alias.id is None:
            return CheckResult(health=Health.PASSING, output=f"{name} is alive")
        record = self._m.catalog.get(name, SERVICE_KEY_PREFIX + alias.id)
        if record is None or not isinstance(record.content, Service):
            return CheckResult(health=Health.CRITICAL, output=f"{alias.id} is not registered on {name}")
        return _as_result(f"{alias.id} on {name}", record.content.state)


def _as_result(what: str, state: State) -> CheckResult:
    """Return what *state* means to those who depend on it: whoever is to get no work is no help."""
    if state.damped or state.mode is not Mode.NORMAL:
        why = "damped" if state.damped else state.mode.name.lower()
        return CheckResult(health=Health.CRITICAL, output=f"{what} is {why}")
    return CheckResult(health=state.health, output=f"{what} is {state.health.name.lower()}")
