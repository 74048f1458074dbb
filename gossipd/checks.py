"""Health checks as values: what to try, how often, and what a try brought.

Definitions stay on the daemon that runs them and are never gossiped; of a result only the status travels, within the instance's
record. The kinds, and the words for their settings, are Consul's (agent check API), so that people find what they know.
"""

from dataclasses import dataclass, field

from gossipd.records import Health

CHECK_KINDS = ("ttl", "tcp", "http", "grpc", "script", "unix", "alias")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ttl:
    """Passing while the application says so at least every *ttl_s* seconds; critical once it has not."""

    ttl_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tcp:
    """Passing if *host*:*port* accepts a connection. *host* None: the instance's address."""

    host: str | None = None
    port: int | None = None
    """None: the instance's port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """Passing on an expected status, warning on 429 (Too Many Requests), else critical; redirects are not followed."""

    url: str
    """http://host[:port]/path or https://...; without a host, /path (over http) or https:/path: the instance's own address."""
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    """Sorted by name; a name may come more than once."""
    body: str = ""
    expect: tuple[int, ...] = ()
    """Statuses that pass, sorted; empty: every 2xx."""
    body_bytes_max: int = 65_536
    """Bytes of the answer's body that are read; what is longer fails the check."""
    tls_skip_verify: bool = False
    tls_server_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grpc:
    """The standard health protocol, grpc.health.v1.Health/Check: SERVING passes, all else is critical."""

    host: str | None = None
    port: int | None = None
    service: str = ""
    """Whose health is asked for; empty: the whole server's."""
    tls: bool = False
    tls_skip_verify: bool = False
    tls_server_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Run *args*: exit status 0 passes, 1 is a warning, any other critical. Off unless the daemon's settings allow scripts."""

    args: tuple[str, ...]
    """Program and arguments, run directly; with *shell*, one command line for /bin/sh -c."""
    shell: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unix:
    """Passing if the Unix stream socket at *path* accepts a connection."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """The health of another instance of this node, or of *node* if given; of the node itself if *id* is None."""

    id: str | None = None
    node: str | None = None


Target = Ttl | Tcp | Http | Grpc | Script | Unix | Alias

Runnable = Tcp | Http | Grpc | Script | Unix
"""Targets that somebody has to go and try; the others are known from what the node is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of one instance, by its *id* within that instance."""

    id: str
    target: Target
    interval_s: float = 10.0
    """Seconds between the beginnings of two tries; stretched while it fails (`ChecksConfig`)."""
    timeout_s: float = 5.0
    """Seconds that one try may take; at most *interval_s*, and 5 or that when it is not given."""
    success_before_passing: int = 1
    """Successes in a row that it takes to become passing."""
    failures_before_warning: int = 1
    """Failures in a row that it takes to be at least a warning; at most *failures_before_critical*."""
    failures_before_critical: int = 1
    """Failures in a row that it takes to become critical."""
    deregister_critical_after_s: float | None = None
    """Deregister the instance when this check has been critical for so long; None: never."""
    initial: Health = Health.CRITICAL
    """What holds before the first result."""
    gate: str | None = None
    """Id of a check of the same instance: this one is only tried while that one does not fail."""
    output_bytes_max: int = 4_096
    """Bytes of output kept."""
    notes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What one try brought. *output* is for people, stays on this node, and is cut to the check's *output_bytes_max*."""

    health: Health
    output: str = field(default="", repr=False)
