"""What the doors see: rows to read (`View`) and things to ask for (`Commands`). Frozen values; no door holds the node.

Field names are those of the JSON that users see (docs/reference/local-api.md): a change here is a change of the public interface.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Literal, Protocol

from gossipd.checks import Check, CheckResult
from gossipd.config import GuardPolicy
from gossipd.node.statistics import Statistics
from gossipd.records import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How far an answer can be trusted (D9); goes with every read as `view`."""

    isolated: bool
    met: bool
    """Whether, since it started, it has met whom it knew before (`node.meeting`); until then instances may be missing."""
    members_alive: int
    """Members believed alive or suspect, ourselves included."""
    members_known: int
    """Rows in the member table, the dead and departed included."""
    stalest_owner_age_s: float
    """Seconds since the owner in this answer that was vouched for longest ago was last vouched for; 0.0 if all is local.

    A member believed alive is vouched for by whatever last proved that we hear the cluster; a suspect, dead or unreachable
    one by what last proved it alive."""
    index: int
    """Grows with every visible change on this node, also over restarts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRow:
    name: str
    status: str
    """alive, suspect, failed or left."""
    address: str
    """host:port, IPv6 in brackets."""
    epoch: int
    counter: int
    since_s: float
    """Seconds since the status last changed."""
    vouched_s: float
    """Seconds since the member was last vouched for, as `stalest_owner_age_s`."""
    rtt_ms: float | None
    """Smoothed round trip of our own probes; None before the first."""
    me: bool
    labels: dict[str, str]
    software: str
    services: int
    """Instances that it publishes."""


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """One instance. Some fields come by position: CPython 3.11 keeps the names of 2,000 calls with exactly 20 keywords, 400 kB, and
    never uses them again (python/cpython#121439)."""

    service: str
    id: str
    node: str
    _: KW_ONLY
    address: str
    """The instance's own address, else its node's host."""
    port: int
    protocol: str
    tags: list[str]
    metadata: dict[str, str]
    weight: int
    status: str
    """The gravest of unreachable (its node is believed failed), maintenance, draining, critical, warning, passing."""
    ready: bool
    """It is to get new work: passing or warning, reachable, neither draining nor under maintenance, not damped."""
    serving: bool
    """It still answers: ready, or draining while its checks do not say critical."""
    terminating: bool
    """It, or its node, is draining: it finishes the work that it has, and goes."""
    degraded: bool
    """Its node may be gone, and the row is the last good one: the collapse guard or isolation keeps it."""
    damped: bool
    """It changed so often that its owner holds it out until it has been quiet; its status is critical."""
    reason: str | None
    """Why it is draining or under maintenance, in its owner's words."""
    zone: str | None
    """Its node's label "zone"."""
    region: str | None
    """Its node's label "region"."""
    node_status: str
    """The member's status; failed beside another *status* than unreachable: the verdict is held, or the row kept."""
    age_s: float
    """Seconds since its node was last vouched for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRow:
    name: str
    instances: int
    """All that are known."""
    ready: int
    passing: int
    degraded: int
    nodes: int
    tags: list[str]
    """Union over the instances, sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    name: str
    address: str
    epoch: int
    counter: int
    software: str
    protocol_version: int
    cluster: str
    sealed: bool
    """Whether packets are encrypted and authenticated."""
    key_ids: list[str]
    """Hex ids of the keyring, the sealing key first; never the keys."""
    labels: dict[str, str]
    uptime_s: float
    awareness: int
    """Own health score: 0 is well."""
    conflict: str | None
    """Address of a live process that bears our name, while it is heard of."""
    leaving: bool
    seeds: list[str]
    peers_known: int
    """Entries in the peer book."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRow:
    ago_s: float
    what: str
    """One sentence: the change of belief."""
    accuser: str | None
    source: str | None
    how: str
    """probe, gossip, sync, timer, self or command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    subject: str
    kind: str
    """member or instance."""
    belief: str
    """What is believed now."""
    history: list[EvidenceRow] = field(default_factory=list)
    """Newest last."""
    checks: list["CheckRow"] = field(default_factory=list)
    """Of an instance of this node; of others', their own daemons know."""
    registration: "RegistrationRow | None" = None
    """Of an instance of this node: who holds it, and its damping penalty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainRow:
    """How far a drain has come."""

    since_s: float
    deadline_left_s: float | None
    """None: it has no deadline; 0.0: it has passed."""
    heard: bool
    """Whether the news has left this node as often as intended."""
    remaining: int | None
    """Pieces of work left, as the application last said; None: it has not."""
    done: bool
    """Heard, and either the deadline has passed or nothing remains: the process may stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationRow:
    id: str
    service: str
    holder: str
    """connection, lease, pid, kept or configured."""
    health: str = "passing"
    """What its checks say: passing, warning or critical; also while it is held out."""
    mode: str = "normal"
    """normal, draining or maintenance."""
    damped: bool = False
    """Whether it is held out because it changed too often."""
    penalty: float = 0.0
    """What its changes weigh now (RFC 2439)."""
    reason: str | None = None
    """Why its mode is not normal."""
    checks: int = 0
    drain: DrainRow | None = None
    lease_left_s: float | None = None
    """Seconds until the lease has to be renewed, 0.0 when it has lapsed; None: it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRow:
    instance: str
    id: str
    kind: str
    """One of `gossipd.checks.CHECK_KINDS`."""
    health: str
    """passing, warning or critical."""
    output: str
    """Of the last result; "" before the first."""
    since_s: float
    """Seconds since the health last changed."""
    last_run_s: float | None
    """Seconds since the last try began, or the last report came; None before the first."""
    next_run_s: float | None
    """Seconds until the next try is due; None if none is: it waits to be told, for its gate, or is running."""
    took_s: float | None
    """Seconds that the last try took."""
    failures: int
    """Failures in a row."""
    successes: int
    """Successes in a row."""
    notes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStateRow:
    """What was decided about the node as a whole."""

    mode: str
    """normal, draining or maintenance."""
    reason: str | None
    drain: DrainRow | None


HolderKind = Literal["connection", "lease", "pid", "kept", "configured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a registration (D8): it goes with *connection*, when the lease is not renewed for 3 x *lease_s*, when process
    *pid* ends; or it stays until deregistered, kept on disk, or for as long as it stands in the daemon's configuration.

    *uid*: of the user who asked, for the quota; None or 0: bounded by the node's quota alone.
    """

    kind: HolderKind
    connection: int | None = None
    lease_s: float | None = None
    pid: int | None = None
    uid: int | None = None

    def __post_init__(self) -> None:
        given = {"connection": self.connection, "lease": self.lease_s, "pid": self.pid}
        for kind, value in given.items():
            assert (value is not None) == (kind == self.kind), f"a holder of kind {self.kind} with {kind}={value}"


KEPT = Holder(kind="kept")


class View(Protocol):
    """A read-only window on the node; every method is cheap, synchronous and answers from memory."""

    @property
    def index(self) -> int: ...

    @property
    def guard_policy(self) -> GuardPolicy:
        """Whether `resolve` may answer with degraded instances: not with "refuse"."""

    def trust(self, *, owners: Sequence[str] | None = None, now: float) -> Trust:
        """*owners* None: all owners."""

    def members(self, *, now: float) -> list[MemberRow]:
        """All rows, sorted by name."""

    def services(self, *, now: float) -> list[ServiceRow]:
        """Sorted by name."""

    def instances(self, *, service: str | None = None, node: str | None = None, now: float) -> list[InstanceRow]:
        """All instances, unreachable ones included, of *service*, or of *node*, or of all; sorted by service, node, id."""

    def instance(self, node: str, id: str, *, now: float) -> InstanceRow | None: ...

    def member(self, name: str, *, now: float) -> MemberRow | None: ...

    def info(self, *, now: float) -> Info: ...

    def why(self, subject: str, *, now: float) -> Evidence:
        """*subject* is a member's name, or an instance as `id` or `node/id`. Raises: RequestError("not_found")."""

    def registrations(self, *, now: float) -> list[RegistrationRow]:
        """The instances of this node, sorted by id."""

    def checks(self, id: str | None = None, *, now: float) -> list[CheckRow]:
        """The checks of instance *id* of this node, or of all; sorted by instance, then as they were given.

        Raises: RequestError("not_found").
        """

    def node_state(self, *, now: float) -> NodeStateRow: ...

    def statistics(self, *, now: float) -> Statistics: ...


class Commands(Protocol):
    """What a local client may ask for. All but the async two take effect at once. Raises: RequestError."""

    def register(
        self, service: Service, *, holder: Holder, checks: Sequence[Check] = (), now: float
    ) -> RegistrationRow:
        """Publish *service* under its id, or change it and its *checks*; the same again changes nothing and keeps all that is
        known. *holder* takes it over. With checks it begins as these say, critical as a rule.

        Raises: RequestError "bad_request", "quota" or "leaving".
        """

    def deregister(self, id: str, *, now: float) -> None:
        """Raises: RequestError("not_found")."""

    def connection_lost(self, connection: int, *, now: float) -> None: ...

    def renew(self, id: str, *, now: float) -> None:
        """The holder of a lease lives. Raises: RequestError "not_found", "bad_request" if it is not held by a lease."""

    def report(self, id: str, check: str | None, result: CheckResult, *, now: float) -> None:
        """What the application says of its ttl check *check*, None if it has only one.

        Raises: RequestError "not_found", "bad_request" if it is no ttl check, or there are several.
        """

    def drain(self, id: str | None, *, reason: str = "", deadline_s: float | None = None, now: float) -> DrainRow:
        """Let instance *id*, None for the node, finish its work and get no more; kept over restarts. Raises: RequestError."""

    def undrain(self, id: str | None, *, now: float) -> None:
        """End the drain; nothing if there is none. Raises: RequestError("not_found")."""

    def maintain(self, id: str | None, *, reason: str | None, now: float) -> None:
        """Begin maintenance of instance *id*, None for the node; *reason* None ends it. Raises: RequestError."""

    def progress(self, id: str, remaining: int, *, now: float) -> DrainRow:
        """The draining application has *remaining* pieces of work left. Raises: RequestError."""

    def undamp(self, id: str, *, now: float) -> None:
        """Forget the penalty of instance *id* and let it in again. Raises: RequestError("not_found")."""

    async def join(self, targets: Sequence[str]) -> dict[str, str | None]:
        """Sync with each target (host[:port], names resolved to all addresses); return by address None or the error text."""

    async def leave(self) -> None:
        """Leave the cluster and stop the daemon; returns when the news is out."""
