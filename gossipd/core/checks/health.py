"""How the instances of this node are: owns their checks, and says what follows from results, silence and each other.

An instance is as ill as its worst check, and passing without any. Who registers, who drains and what is published is not decided
here. Runs are asked for by number (`StartCheck`) and end with `finished`, or are stopped (`StopCheck`).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from gossipd.checks import Alias, Check, CheckResult, Runnable, Ttl
from gossipd.config import ChecksConfig
from gossipd.core.checks.damping import Damping
from gossipd.core.checks.schedule import Schedule
from gossipd.core.checks.verdict import Verdict, judge, pause_s
from gossipd.core.deadlines import Deadlines
from gossipd.core.events import CheckChanged
from gossipd.errors import RequestError
from gossipd.limits import CHECK_OUTPUTS_BYTES_MAX, CHECKS_MAX, CHECKS_PER_INSTANCE_MAX
from gossipd.records import Health, Service

Key = tuple[str, str]
"""Instance id and check id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartCheck:
    """Try *check* of *service*; `finished(run, ...)` follows."""

    run: int
    check: Check
    service: Service


@dataclass(frozen=True, slots=True, kw_only=True)
class StopCheck:
    """Nobody waits for *run* any more."""

    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthChanged:
    """Instance *id* is not as it was, or is held out, or let in: see `health` and `damped`."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Tell the users."""

    event: CheckChanged


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """Check *check* of instance *id* has been critical for as long as its instance may be registered with that."""

    id: str
    check: Check


Effect = StartCheck | StopCheck | HealthChanged | Report | Overdue


@dataclass(slots=True, eq=False)
class Row:
    """One check and what is known of it."""

    check: Check
    verdict: Verdict
    since: float
    """When its health last changed."""
    output: str = ""
    heard_at: float | None = None
    """When the last result came; None before the first."""
    took_s: float | None = None
    has_passed: bool = False


@dataclass(slots=True, eq=False)
class _Instance:
    service: Service
    rows: dict[str, Row]
    health: Health = Health.PASSING


class Monitor:
    """The checks of all instances, at most CHECKS_MAX. *look_up* says how the target of an alias is, as far as we know."""

    def __init__(self, config: ChecksConfig, *, rng: Random, look_up: Callable[[Alias], CheckResult]) -> None:
        self._config = config
        self._look_up = look_up
        self._instances: dict[str, _Instance] = {}
        self._schedule: Schedule[Key] = Schedule(concurrent=config.concurrent, jitter=config.jitter, rng=rng)
        self._silent: Deadlines[Key] = Deadlines()
        """When the report of a ttl check is overdue."""
        self._doomed: Deadlines[Key] = Deadlines()
        """When a critical check has its instance deregistered."""
        self._aliases: dict[str | None, set[Key]] = {}
        """By the node that they are about, None for this one."""
        self.damping = Damping(config)
        self.checks = 0
        self._output_bytes = 0
        """What their outputs may take."""
        self.failed = 0
        """Tries that brought CRITICAL."""

    @property
    def schedule(self) -> Schedule[Key]:
        """To be read: what runs, how much was run, and how late."""
        return self._schedule

    def __contains__(self, id: str) -> bool:
        return id in self._instances

    def health(self, id: str) -> Health:
        return self._instances[id].health

    def is_known(self, id: str) -> bool:
        """Return whether what is said of *id* rests on results, and not on how its checks begin."""
        instance = self._instances[id]
        worst = [row for row in instance.rows.values() if row.verdict.health is Health.CRITICAL]
        return not worst or any(row.heard_at is not None for row in worst)

    def rows(self, id: str) -> Iterator[tuple[Row, float | None, float]]:
        """Yield the checks of *id*, when each was last begun or reported, and when it is next due (`math.inf`: not)."""
        for row in self._instances[id].rows.values():
            key = (id, row.check.id)
            if isinstance(row.check.target, Runnable):
                began_at = self._schedule.began_at(key)
                yield row, began_at if began_at > -math.inf else None, self._schedule.due_at(key)
            else:
                yield row, row.heard_at, self._silent.at(key)

    def report_by(self, id: str, check_id: str) -> float:
        """Return when a ttl check is to be reported, at the latest; `math.inf` when that has passed."""
        return self._silent.at((id, check_id))

    # ---------------------------------------------------------------------------------------------------------- inputs

    def set(self, service: Service, checks: Sequence[Check], *, now: float) -> list[Effect]:
        """Watch *service* by *checks* from now on. Those that it had already keep all that is known of them, and one that has
        changed begins with the health that it had.

        Raises: RequestError("quota") if there would be more than CHECKS_MAX, or CHECK_OUTPUTS_BYTES_MAX; ("bad_request") if
        aliases go in a circle.
        """
        id = service.id
        held = self._instances.get(id)
        self._refuse(id, checks, held)
        effects: list[Effect] = []
        instance = held or _Instance(service, {})
        self._instances[id] = instance
        moved = (instance.service.address, instance.service.port) != (service.address, service.port)
        instance.service = service
        former = instance.rows
        instance.rows = {}
        for row in former.values():
            if row.check not in checks:
                effects += self._drop(id, row.check)
        for check in checks:
            known = former.get(check.id)
            if known is None or known.check != check:
                instance.rows[check.id] = self._begin(id, check, known, now=now)
            else:
                instance.rows[check.id] = known
                if moved and isinstance(check.target, Runnable):
                    effects += self._stop(self._schedule.restart((id, check.id), now=now))
        self.checks += len(checks) - len(former)
        self._output_bytes += _output_bytes(checks) - _output_bytes(row.check for row in former.values())
        instance.health = self._worst(instance)
        for check in checks:
            if isinstance(check.target, Alias) and instance.rows[check.id] is not former.get(check.id):
                effects += self._take((id, check.id), self._look_up(check.target), now=now)
        return effects

    def remove(self, id: str, *, lost: bool, now: float) -> list[Effect]:
        """Forget instance *id*. *lost*: its holder vanished, which counts as a change to not ready if it was ready."""
        instance = self._instances.pop(id)
        effects: list[Effect] = []
        for row in instance.rows.values():
            effects += self._drop(id, row.check)
        self.checks -= len(instance.rows)
        self._output_bytes -= _output_bytes(row.check for row in instance.rows.values())
        if lost and instance.health is not Health.CRITICAL:
            self.damping.fell(id, now=now)
        return effects

    def report(self, id: str, check_id: str, result: CheckResult, *, now: float) -> list[Effect]:
        """Take what the application says of its ttl check *check_id*."""
        key = (id, check_id)
        row = self._instances[id].rows[check_id]
        assert isinstance(row.check.target, Ttl)
        self._silent.set(key, now + row.check.target.ttl_s)
        return self._take(key, result, now=now)

    def finished(self, run: int, result: CheckResult, *, now: float) -> list[Effect]:
        """Take what a run brought; nothing if nobody waits for it. A failure across a pause of the machine is tried again."""
        over = self._schedule.finish(run, now=now)
        if over is None:
            return []
        row = self._instances[over.key[0]].rows[over.key[1]]
        row.took_s = over.took_s
        if result.health is Health.CRITICAL:
            if over.doubtful:
                self._schedule.restart(over.key, now=now)
                return self._start_due(now=now)
            self.failed += 1
        effects = self._take(over.key, result, now=now)
        pause = pause_s(row.check, row.verdict, has_passed=row.has_passed, backoff_most=self._config.backoff_most)
        self._schedule.again(over.key, pause, now=now)
        return effects + self._start_due(now=now)

    def stirred(self, node: str | None, *, now: float) -> list[Effect]:
        """Something is new about *node*, None for this one: look again at what aliases say of it."""
        effects: list[Effect] = []
        for id, check_id in sorted(self._aliases.get(node, ())):
            row = self._instances[id].rows[check_id]
            assert isinstance(row.check.target, Alias)
            result = self._look_up(row.check.target)
            if (result.health, result.output) != (row.verdict.health, row.output):
                effects += self._take((id, check_id), result, now=now)
        return effects

    def has_aliases_of(self, node: str | None) -> bool:
        return node in self._aliases

    def undamp(self, id: str) -> list[Effect]:
        """Let *id* in."""
        damped = self.damping.damped(id)
        self.damping.forget(id)
        return [HealthChanged(id=id)] if damped else []

    def overslept(self, by_s: float) -> None:
        """The machine paused for *by_s*: nobody could report, and what ran may fail for it."""
        self._silent.shift(by_s)
        self._doomed.shift(by_s)
        self._schedule.overslept()

    def next_deadline(self) -> float:
        return min(
            self._schedule.next_deadline(),
            self._silent.next(),
            self._doomed.next(),
            self.damping.next_deadline(),
        )

    def handle_timer(self, *, now: float) -> list[Effect]:
        """Do all that is due."""
        effects: list[Effect] = []
        for key in self._silent.pop_due(now):
            effects += self._expire(key, now=now)
        for id, check_id in self._doomed.pop_due(now):
            effects.append(Overdue(id=id, check=self._instances[id].rows[check_id].check))
        effects += [HealthChanged(id=id) for id in self.damping.pop_due(now=now) if id in self._instances]
        return effects + self._start_due(now=now)

    # --------------------------------------------------------------------------------------------------------- private

    def _refuse(self, id: str, checks: Sequence[Check], held: _Instance | None) -> None:
        """Raise RequestError if *checks* cannot be those of instance *id*."""
        count = self.checks + len(checks) - (0 if held is None else len(held.rows))
        if len(checks) > CHECKS_PER_INSTANCE_MAX + 1:  # the lease comes on top
            raise RequestError("quota", f"checks: {len(checks)}, expected at most {CHECKS_PER_INSTANCE_MAX}")
        if len({check.id for check in checks}) < len(checks):
            raise RequestError("bad_request", "checks: an id comes twice, expected each id once")
        if count > CHECKS_MAX:
            raise RequestError("quota", f"{id!r} would make {count} checks of one node, expected at most {CHECKS_MAX}")
        former = () if held is None else [row.check for row in held.rows.values()]
        outputs = self._output_bytes + _output_bytes(checks) - _output_bytes(former)
        if outputs > CHECK_OUTPUTS_BYTES_MAX:
            expected = f"expected at most {CHECK_OUTPUTS_BYTES_MAX}: lower output_bytes_max"
            raise RequestError("quota", f"{id!r} would make {outputs} bytes of output of one node's checks, {expected}")
        seen: set[str] = set()
        ahead = _local_aliases(checks)
        while ahead:
            other = ahead.pop()
            if other == id:
                raise RequestError("bad_request", f"checks: alias of {id!r} through itself, expected no circle")
            if other not in seen and other in self._instances:
                seen.add(other)
                ahead += _local_aliases([row.check for row in self._instances[other].rows.values()])

    def _begin(self, id: str, check: Check, former: Row | None, *, now: float) -> Row:
        key, target = (id, check.id), check.target
        if isinstance(target, Alias):
            self._aliases.setdefault(target.node, set()).add(key)
        elif isinstance(target, Ttl):
            self._silent.set(key, now + target.ttl_s)
        else:
            self._schedule.add(key, check.interval_s, now=now)
        health = check.initial if former is None else former.verdict.health
        row = Row(check, Verdict(health=health), now if former is None else former.since)
        if former is not None:
            row.output, row.heard_at, row.has_passed = former.output, former.heard_at, former.has_passed
        self._doom(key, row, now=now)
        return row

    def _drop(self, id: str, check: Check) -> list[Effect]:
        key, target = (id, check.id), check.target
        self._doomed.cancel(key)
        if isinstance(target, Alias):
            keys = self._aliases[target.node]
            keys.discard(key)
            if not keys:
                del self._aliases[target.node]
        elif isinstance(target, Ttl):
            self._silent.cancel(key)
        else:
            return self._stop(self._schedule.remove(key))
        return []

    def _stop(self, run: int | None) -> list[Effect]:
        return [] if run is None else [StopCheck(run=run)]

    def _expire(self, key: Key, *, now: float) -> list[Effect]:
        """Nobody has reported in time: critical at once, whatever the thresholds."""
        row = self._instances[key[0]].rows[key[1]]
        assert isinstance(row.check.target, Ttl)
        output = f"no report for {row.check.target.ttl_s:g} s"
        failures = row.verdict.failures + 1
        return self._put(key, Verdict(health=Health.CRITICAL, failures=failures), output, now=now)

    def _take(self, key: Key, result: CheckResult, *, now: float) -> list[Effect]:
        row = self._instances[key[0]].rows[key[1]]
        output = result.output.encode("utf-8", "replace")[: row.check.output_bytes_max].decode("utf-8", "ignore")
        if isinstance(row.check.target, Alias):  # a belief, not a try: thresholds have been applied to it
            return self._put(key, Verdict(health=result.health), output, now=now)
        return self._put(key, judge(row.check, row.verdict, result.health), output, now=now)

    def _put(self, key: Key, verdict: Verdict, output: str, *, now: float) -> list[Effect]:
        """Let *verdict* hold. The first of an instance is news even if it only confirms how it began."""
        id, instance = key[0], self._instances[key[0]]
        first = instance.rows[key[1]].heard_at is None
        instance.rows[key[1]].heard_at = now
        row = instance.rows[key[1]]
        before, row.verdict, row.output = row.verdict, verdict, output
        effects: list[Effect] = []
        if verdict.health is not before.health:
            row.since = now
            self._doom(key, row, now=now)
            event = CheckChanged(id=id, check=key[1], before=before.health, after=verdict.health, output=output)
            effects.append(Report(event=event))
        if verdict.health is not Health.CRITICAL:
            row.has_passed = True
            self._open_gate(instance, row.check.id, now=now)
        was, instance.health = instance.health, self._worst(instance)
        if was is instance.health and not first:
            return effects
        if instance.health is Health.CRITICAL and was is not Health.CRITICAL:
            self.damping.fell(id, now=now)
        return [*effects, HealthChanged(id=id)]

    def _doom(self, key: Key, row: Row, *, now: float) -> None:
        """Keep the time until a critical check has its instance deregistered."""
        patience_s = row.check.deregister_critical_after_s
        if patience_s is None or row.verdict.health is not Health.CRITICAL:
            self._doomed.cancel(key)
        elif key not in self._doomed:
            self._doomed.set(key, now + patience_s)

    def _open_gate(self, instance: _Instance, gate: str, *, now: float) -> None:
        """Try those checks that waited for *gate*."""
        for row in instance.rows.values():
            key = (instance.service.id, row.check.id)
            if row.check.gate == gate and isinstance(row.check.target, Runnable) and self._schedule.is_held(key):
                self._schedule.restart(key, now=now)

    def _start_due(self, *, now: float) -> list[Effect]:
        effects: list[Effect] = []
        while (found := self._schedule.pop_due(now=now)) is not None:
            key, due_at = found
            instance = self._instances[key[0]]
            check = instance.rows[key[1]].check
            gate = None if check.gate is None else instance.rows.get(check.gate)
            if gate is not None and gate.verdict.health is Health.CRITICAL:
                continue  # held, until the gate opens
            run = self._schedule.start(key, due_at=due_at, now=now)
            effects.append(StartCheck(run=run, check=check, service=instance.service))
        return effects

    def _worst(self, instance: _Instance) -> Health:
        return max((row.verdict.health for row in instance.rows.values()), default=Health.PASSING)


def _output_bytes(checks: Iterable[Check]) -> int:
    return sum(check.output_bytes_max for check in checks)


def _local_aliases(checks: Sequence[Check]) -> list[str]:
    """Return the instances of this node that *checks* are aliases of."""
    targets = (check.target for check in checks if isinstance(check.target, Alias))
    return [target.id for target in targets if target.node is None and target.id is not None]
