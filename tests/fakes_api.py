"""A View and Commands that answer from plain lists, and builders of their rows; no node behind them."""

import json
from collections.abc import Sequence
from dataclasses import fields, replace

import trio

from gossipd.api.conversation import Conversation
from gossipd.api.dispatch import Answers, Caller, Counters
from gossipd.api.watches import Watches
from gossipd.checks import Check, CheckResult
from gossipd.config import GuardPolicy
from gossipd.core.events import MemberChanged, RecordChanged
from gossipd.errors import RequestError
from gossipd.ids import Address, Incarnation, NodeId, Version
from gossipd.node.statistics import Statistics
from gossipd.node.view import (
    CheckRow,
    DrainRow,
    Evidence,
    EvidenceRow,
    Holder,
    Info,
    InstanceRow,
    MemberRow,
    NodeStateRow,
    RegistrationRow,
    ServiceRow,
    Trust,
)
from gossipd.records import Record, Service, Status

STATUSES = {"alive": Status.ALIVE, "suspect": Status.SUSPECT, "failed": Status.DEAD, "left": Status.LEFT}


def an_instance(service: str = "web", node: str = "ann", *, id: str | None = None, port: int = 80) -> InstanceRow:
    return InstanceRow(
        service=service,
        id=id if id is not None else service,
        node=node,
        address="10.0.0.1",
        port=port,
        protocol="tcp",
        tags=["v1"],
        metadata={"owner": "kim"},
        weight=1,
        status="passing",
        ready=True,
        serving=True,
        terminating=False,
        degraded=False,
        damped=False,
        reason=None,
        zone="a",
        region=None,
        node_status="alive",
        age_s=0.25,
    )


def a_member(name: str = "ann", *, status: str = "alive") -> MemberRow:
    return MemberRow(
        name=name,
        status=status,
        address="10.0.0.1:7700",
        epoch=1_700_000_000_000,
        counter=0,
        since_s=12.0,
        vouched_s=0.25,
        rtt_ms=0.4,
        me=name == "ann",
        labels={"zone": "a"},
        software="0.1.0",
        services=1,
    )


def a_check(instance: str = "web") -> CheckRow:
    return CheckRow(
        instance=instance,
        id="http",
        kind="http",
        health="passing",
        output="200 OK",
        since_s=60.0,
        last_run_s=2.5,
        next_run_s=7.5,
        took_s=0.002,
        failures=0,
        successes=6,
        notes="",
    )


def a_record_change(row: InstanceRow, *, gone: bool = False) -> RecordChanged:
    """What the node publishes when *row* is stored, or gone."""
    version = Version(1, 1)
    content = Service(name=row.service, id=row.id, port=row.port)
    record = Record(owner=NodeId(row.node), version=version, floor=0, key=f"service/{row.id}", content=content)
    return RecordChanged(
        owner=record.owner,
        key=record.key,
        before=record if gone else None,
        after=None if gone else record,
        version=version,
        source=record.owner,
        how="gossip",
    )


def a_member_change(name: str, *, before: str | None, after: str | None) -> MemberChanged:
    return MemberChanged(
        member=NodeId(name),
        before=None if before is None else STATUSES[before],
        after=None if after is None else STATUSES[after],
        incarnation=Incarnation(1, 1),
        address=Address("10.0.0.1", 7700),
        accuser=NodeId("ann"),
        source=NodeId("ann"),
        how="probe",
    )


class FakeView:
    """Rows in plain dicts; whoever changes them through `put`, `remove` and `put_member` also moves the index."""

    def __init__(self) -> None:
        self.index = 1
        self.isolated = False
        self.met = True
        self.guard_policy: GuardPolicy = "keep"
        self.rows: dict[tuple[str, str], InstanceRow] = {}
        self.people: dict[str, MemberRow] = {"ann": a_member("ann")}
        self.reads = 0
        """Calls of `instances`."""
        self.rows_read = 0
        """Rows that these looked at, but for those that are asked for by node."""
        self.registered: list[RegistrationRow] = []
        self.checked: list[CheckRow] = []

    def put(self, row: InstanceRow) -> RecordChanged:
        self.rows[row.node, row.id] = row
        self.index += 1
        return a_record_change(row)

    def remove(self, node: str, id: str) -> RecordChanged:
        self.index += 1
        return a_record_change(self.rows.pop((node, id)), gone=True)

    def put_member(self, row: MemberRow) -> MemberChanged:
        """Store *row*; the instances of a failed member become unreachable, those of a live one passing."""
        before = self.people.get(row.name)
        self.people[row.name] = row
        self.index += 1
        up = row.status not in ("failed", "left")
        status = "passing" if up else "unreachable"
        for key, found in self.rows.items():
            if found.node == row.name:
                self.rows[key] = replace(found, status=status, ready=up, serving=up, node_status=row.status)
        return a_member_change(row.name, before=before.status if before else None, after=row.status)

    def trust(self, *, owners: Sequence[str] | None = None, now: float) -> Trust:
        return Trust(
            isolated=self.isolated,
            met=self.met,
            members_alive=sum(row.status in ("alive", "suspect") for row in self.people.values()),
            members_known=len(self.people),
            stalest_owner_age_s=0.0 if owners == [] else 0.25,
            index=self.index,
        )

    def members(self, *, now: float) -> list[MemberRow]:
        return [self.people[name] for name in sorted(self.people)]

    def services(self, *, now: float) -> list[ServiceRow]:
        names = sorted({row.service for row in self.rows.values()})
        return [self._service(name, now) for name in names]

    def instances(self, *, service: str | None = None, node: str | None = None, now: float) -> list[InstanceRow]:
        self.reads += 1
        self.rows_read += len(self.rows) if node is None else 0
        found = [row for row in self.rows.values() if service in (None, row.service) and node in (None, row.node)]
        return sorted(found, key=lambda row: (row.service, row.node, row.id))

    def instance(self, node: str, id: str, *, now: float) -> InstanceRow | None:
        return self.rows.get((node, id))

    def member(self, name: str, *, now: float) -> MemberRow | None:
        return self.people.get(name)

    def info(self, *, now: float) -> Info:
        return Info(
            name="ann",
            address="10.0.0.1:7700",
            epoch=1_700_000_000_000,
            counter=0,
            software="0.1.0",
            protocol_version=1,
            cluster="test",
            sealed=True,
            key_ids=["00aabbcc"],
            labels={"zone": "a"},
            uptime_s=60.0,
            awareness=0,
            conflict=None,
            leaving=False,
            seeds=["10.0.0.2:7700"],
            peers_known=3,
        )

    def why(self, subject: str, *, now: float) -> Evidence:
        if subject not in self.people and not any(row.id == subject for row in self.rows.values()):
            raise RequestError("not_found", f"nothing is known of {subject!a}")
        row = EvidenceRow(ago_s=1.5, what="it answered", accuser=None, source="bob", how="probe")
        return Evidence(subject=subject, kind="member", belief="alive", history=[row])

    def registrations(self, *, now: float) -> list[RegistrationRow]:
        return self.registered

    def checks(self, id: str | None = None, *, now: float) -> list[CheckRow]:
        if id is not None and id not in {row.id for row in self.registered}:
            raise RequestError("not_found", f"id={id!a}, expected the id of a registration of this node")
        return [row for row in self.checked if id in (None, row.instance)]

    def node_state(self, *, now: float) -> NodeStateRow:
        return NodeStateRow(mode="normal", reason=None, drain=None)

    def statistics(self, *, now: float) -> Statistics:
        values: dict[str, object] = {field.name: 0 for field in fields(Statistics)}
        values.update(dropped={"replayed": 2}, records_refused={}, isolated=self.isolated, checks_late_worst_s=0.0)
        return Statistics(**values)  # type: ignore[arg-type]

    def _service(self, name: str, now: float) -> ServiceRow:
        rows = self.instances(service=name, now=now)
        return ServiceRow(
            name=name,
            instances=len(rows),
            ready=sum(row.ready for row in rows),
            passing=sum(row.status == "passing" for row in rows),
            degraded=sum(row.degraded for row in rows),
            nodes=len({row.node for row in rows}),
            tags=sorted({tag for row in rows for tag in row.tags}),
        )


class FakeCommands:
    """Remembers what it was asked; a registration appears in the *view* as an instance of ann."""

    def __init__(self, view: FakeView | None = None) -> None:
        self.view = view
        self.registered: dict[str, tuple[Service, Holder]] = {}
        self.checks: dict[str, tuple[Check, ...]] = {}
        self.asked: list[tuple[object, ...]] = []
        """All other commands with what they were given."""
        self.lost: list[int] = []
        self.joined: list[tuple[str, ...]] = []
        self.left = False
        self.join_may_end: trio.Event | None = None

    def register(
        self, service: Service, *, holder: Holder, checks: Sequence[Check] = (), now: float
    ) -> RegistrationRow:
        self.registered[service.id] = (service, holder)
        self.checks[service.id] = tuple(checks)
        if self.view is not None:
            self.view.put(an_instance(service.name, id=service.id, port=service.port))
        row = RegistrationRow(
            id=service.id, service=service.name, holder=holder.kind, checks=len(checks), lease_left_s=holder.lease_s
        )
        if self.view is not None:
            self.view.registered = [other for other in self.view.registered if other.id != row.id] + [row]
        return row

    def deregister(self, id: str, *, now: float) -> None:
        if self.registered.pop(id, None) is None:
            raise RequestError("not_found", f"id={id!a}, expected the id of a registration of this node")
        if self.view is not None:
            self.view.remove("ann", id)

    def connection_lost(self, connection: int, *, now: float) -> None:
        self.lost.append(connection)

    def renew(self, id: str, *, now: float) -> None:
        self._ask("renew", id)

    def report(self, id: str, check: str | None, result: CheckResult, *, now: float) -> None:
        self._ask("report", id, check, result)

    def drain(self, id: str | None, *, reason: str = "", deadline_s: float | None = None, now: float) -> DrainRow:
        self._ask("drain", id, reason, deadline_s)
        return DrainRow(since_s=0.0, deadline_left_s=deadline_s, heard=False, remaining=None, done=False)

    def undrain(self, id: str | None, *, now: float) -> None:
        self._ask("undrain", id)

    def maintain(self, id: str | None, *, reason: str | None, now: float) -> None:
        self._ask("maintain", id, reason)

    def progress(self, id: str, remaining: int, *, now: float) -> DrainRow:
        self._ask("progress", id, remaining)
        return DrainRow(since_s=1.0, deadline_left_s=None, heard=True, remaining=remaining, done=remaining == 0)

    def undamp(self, id: str, *, now: float) -> None:
        self._ask("undamp", id)

    def _ask(self, what: str, id: str | None, *given: object) -> None:
        """Note the command; only registered instances and the node can be asked about."""
        if id is not None and id not in self.registered:
            raise RequestError("not_found", f"id={id!a}, expected the id of a registration of this node")
        self.asked.append((what, id, *given))

    async def join(self, targets: Sequence[str]) -> dict[str, str | None]:
        self.joined.append(tuple(targets))
        if self.join_may_end is not None:
            await self.join_may_end.wait()
        return {target: "refused" if target == "nobody" else None for target in targets}

    async def leave(self) -> None:
        self.left = True


def a_caller(connection: int = 1, *, pid: int = 4_711, uid: int = 1_000) -> Caller:
    return Caller(connection=connection, pid=pid, uid=uid)


def a_conversation(commands: FakeCommands, *, caller: Caller | None = None) -> Conversation:
    """A client of *commands* and their view, on no socket."""
    view, counters = commands.view or FakeView(), Counters()
    answers = Answers(view=view, commands=commands, statistics=dict)
    watches = Watches(view=view, answers=answers, counters=counters)
    caller = caller or a_caller()
    return Conversation(caller, answers=answers, watches=watches, counters=counters, on_output=lambda: None)


def said(conversation: Conversation, line: str) -> list[dict[str, object]]:
    """Say *line* and return what is answered."""
    conversation.receive(line.encode() + b"\n")
    conversation.work(now=1.0)
    data, _ = conversation.output(now=1.0)
    return [json.loads(answer) for answer in data.splitlines()]


def asked(conversation: Conversation, method: str, **params: object) -> dict[str, object]:
    """Ask for *method* and return its result, or its error."""
    [answer] = said(conversation, json.dumps({"id": 1, "method": method, "params": params}))
    answer.pop("id")
    [(kind, value)] = answer.items()
    assert isinstance(value, dict)
    assert kind in ("result", "error")
    return value
