"""What a local client may ask, as frozen values: their parameters are checked (`methods`), and say nothing of who asks."""

from dataclasses import dataclass

from gossipd.checks import Check, CheckResult
from gossipd.node.view import HolderKind
from gossipd.records import Service

CALLER = 0
"""As a pid: that of whoever asks."""


@dataclass(frozen=True, slots=True)
class Members:
    """Every member, the failed and departed ones included."""


@dataclass(frozen=True, slots=True)
class Services:
    """Every service name, with counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """What an instance must be like: *tags* and *metadata* to have, a *zone*, a *node*, and its *status*; None: any.

    *status* None: ready.
    """

    tags: tuple[str, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    status: tuple[str, ...] | None = None
    zone: str | None = None
    node: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """How good an answer must be: no owner in it unheard of for more than *max_age_s*, so many members believed alive."""

    max_age_s: float | None = None
    min_members: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolve:
    """The instances of *service*, at most *limit*; with *near* those of the own zone first, and no others if these suffice.

    *where* None: the ready ones. *demand* None: whatever is known.
    """

    service: str
    where: Where | None = None
    near: bool = False
    limit: int | None = None
    demand: Demand | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Answer *resolve* as soon as *ready* instances of it are ready and its demand is met, or say why not after *timeout_s*."""

    resolve: Resolve
    ready: int
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """Publish *service*, with its *checks*, for as long as its holder lives: what asked, a lease of *lease_s* seconds, process
    *pid* (or CALLER), or until it is deregistered (kept)."""

    service: Service
    checks: tuple[Check, ...] = ()
    holder: HolderKind = "connection"
    lease_s: float | None = None
    pid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deregister:
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """Renew the lease of instance *id*."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckUpdate:
    """What the application says of ttl check *check* of instance *id*; None: of its only one."""

    id: str
    check: str | None = None
    result: CheckResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Give instance *id* no new work; None: the node. *deadline_s*: it is done at the latest after so many seconds."""

    id: str | None = None
    reason: str = ""
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Undrain:
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """Begin the maintenance of instance *id*, None for the node, or end it (*reason* None)."""

    id: str | None = None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The draining instance *id* has *remaining* pieces of work left."""

    id: str
    remaining: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Undamp:
    """Let instance *id*, which is held out because it flapped, in again."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """The checks of instance *id* of this node, or of all."""

    id: str | None = None


@dataclass(frozen=True, slots=True)
class Registrations:
    """The instances of this node and who holds each; what was decided about the node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A snapshot, then every change: of the instances of *service*, or of all *services*, and of the *members*.

    *since*: an index up to which all is known; then what changed after it takes the place of the snapshot.
    """

    service: str | None = None
    services: bool = False
    members: bool = False
    since: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwatch:
    """End the watch that was opened with request id *id*."""

    id: int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leave:
    """Leave the cluster; the daemon stops."""


@dataclass(frozen=True, slots=True)
class Info:
    """The daemon itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """The evidence behind what is believed of *subject*: a member, or an instance as `id` or `node/id`."""

    subject: str


@dataclass(frozen=True, slots=True)
class Statistics:
    """The counters of the node and of this socket."""


ReadRequest = Members | Services | Resolve | Info | Why | Statistics | Checks | Registrations
"""What is answered at once, and changes nothing."""

WriteRequest = Register | Deregister | Heartbeat | CheckUpdate | Drain | Undrain | Maintenance | Progress | Undamp
"""What is done at once."""

SlowRequest = Join | Leave | Wait
"""What takes time."""

Request = ReadRequest | WriteRequest | SlowRequest | Watch | Unwatch
