"""The protocol's settings: frozen, units in their names, checked on construction, with presets as differences from LAN.

Opens no file; where a setting comes from (TOML, flag, environment) is the shell's business.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from gossipd.errors import ConfigError
from gossipd.ranges import check_ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeConfig:
    """The failure detector (SWIM section 3.1, Lifeguard section 3)."""

    interval_s: float = 1.0
    """Seconds between two probes; each probes one member. Shorter finds crashes sooner and costs packets in proportion."""
    timeout_s: float = 0.5
    """Ceiling of seconds to wait for a direct ack; take the network's 99th-percentile round trip. Below interval_s."""
    timeout_floor_s: float = 0.2
    """Floor of the same wait: a peer's measured round trip moves it between floor and ceiling. Cover a scheduler's hiccup."""
    indirect: int = 3
    """Helpers asked when the direct ack is late. More of them survive more packet loss."""
    nack_after: float = 0.7
    """Part of the prober's remaining window after which a helper says that it lives but the target is silent; 1 for never."""
    buddy: bool = True
    """Whether a suspect is told of it by whoever talks to it (Lifeguard's buddy system); off only to compare in simulation."""
    stream_ping: bool = True
    """Whether a late ack also tries TCP: averts suspicion when only UDP is blocked, and says so."""
    awareness_max: int = 8
    """One above the worst own-health score; interval and time-out stretch by up to this factor (Lifeguard's S + 1)."""
    isolation_periods: int = 5
    """Probe periods within which a node that is cut off knows it: after this many less two of silence it holds a roll call."""
    oversleep_s: float = 0.25
    """How late our own timers may fire before the delay is ours, and held against nobody else."""

    def __post_init__(self) -> None:
        check_ranges("probe", self, interval_s=(0.01, 600), timeout_s=(0.001, 600), timeout_floor_s=(0.0005, 600))
        check_ranges("probe", self, indirect=(0, 16), nack_after=(0.1, 1), awareness_max=(1, 64))
        check_ranges("probe", self, isolation_periods=(3, 1_000), oversleep_s=(0.001, 600))
        if not self.timeout_s < self.interval_s:
            raise ConfigError(
                f"probe.timeout_s={self.timeout_s!r}, expected below probe.interval_s={self.interval_s!r}"
            )
        if not self.timeout_floor_s <= self.timeout_s:
            raise ConfigError(
                f"probe.timeout_floor_s={self.timeout_floor_s!r}, expected at most probe.timeout_s={self.timeout_s!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspicionConfig:
    """How long a suspect may stay silent (SWIM section 4.2, Lifeguard section 4)."""

    factor: float = 4.0
    """Least wait = factor x max(1, log10 members) x probe.interval_s. Higher: fewer false alarms, slower detection."""
    max_factor: float = 6.0
    """Longest wait = max_factor x least wait, when nobody else confirms the suspicion."""

    def __post_init__(self) -> None:
        check_ranges("suspicion", self, factor=(1, 100), max_factor=(1, 100))


@dataclass(frozen=True, slots=True, kw_only=True)
class GossipConfig:
    """How news spreads: at once to a few, then on ticks and probe traffic until its echo is complete or its budget spent."""

    interval_s: float = 0.2
    """Seconds between gossip ticks while there is news left to send."""
    fanout: int = 3
    """Members told at each tick: the two ring neighbours, and this many less two at random."""
    retransmit_factor: float = 6.0
    """Most sends per message and member = factor x ceil(log10(members + 1)). Spent only where much is lost."""
    eager_window_s: float = 0.004
    """Seconds that fresh news waits for company before it is pushed."""
    eager_fanout: int = 4
    """Members told at once: the two ring neighbours, and this many less two at random."""
    bytes_per_s: float = 22_000.0
    """Bytes of news a second on average, in pushes, ticks and probes; past it only ticks go on."""
    bytes_burst: int = 8_000
    """Bytes of it at once after a quiet time; 0: nothing is pushed. No debt is above it, so below 1,400 x eager_fanout more is sent
    than bytes_per_s."""
    to_dead_s: float = 30.0
    """Seconds that the dead remain gossip targets, so that a wrong verdict reaches its victim."""

    def __post_init__(self) -> None:
        check_ranges("gossip", self, interval_s=(0.01, 60), fanout=(3, 32), retransmit_factor=(1, 32))
        check_ranges("gossip", self, eager_window_s=(0, 1), eager_fanout=(2, 32), bytes_per_s=(1, 1e9))
        check_ranges("gossip", self, bytes_burst=(0, 1_000_000_000), to_dead_s=(0, 86_400))


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncConfig:
    """Anti-entropy, and the search for lost peers."""

    interval_s: float = 30.0
    """Most seconds between two syncs with a random member, when all is quiet; a sync that had to repair something is followed by
    another within reconnect_interval_s, and each that had not doubles the pause."""
    timeout_s: float = 10.0
    """Seconds that a stream may take to connect, and then may stay without progress."""
    bytes_per_s: float = 12_000.0
    """Bytes a second on average that syncs may cost us; past it our answers list less of what differs, and our next sync waits
    for the rest of it, at most reconnect_interval_s. Whoever holds nothing gets everything at once."""
    bytes_burst: int = 6_000
    """Bytes of it at once after a quiet time."""
    reconnect_interval_s: float = 1.0
    """Seconds between tries to reach a dead peer or a seed; all members together try each dead peer about once in it."""
    seed_interval_s: float = 30.0
    """Seconds between tries of a seed that is no member while the cluster is otherwise well; one second when alone."""
    forget_after_s: float = 86_400.0
    """Seconds that a dead or departed member, and a dead one's records, are remembered."""
    peer_book_age_s: float = 30 * 86_400.0
    """Seconds since last contact after which a peer's address is dropped from the peer book."""

    def __post_init__(self) -> None:
        check_ranges("sync", self, interval_s=(0.05, 86_400), timeout_s=(0.05, 600), reconnect_interval_s=(0.05, 3_600))
        check_ranges("sync", self, bytes_per_s=(1, 1e9), bytes_burst=(1, 1_000_000_000))
        check_ranges("sync", self, seed_interval_s=(0.05, 86_400), forget_after_s=(1, 30 * 86_400))
        check_ranges("sync", self, peer_book_age_s=(1, 10 * 365 * 86_400))


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogConfig:
    """Local registrations and the records of others."""

    connection_grace_s: float = 3.0
    """Seconds that an instance outlives its client's connection, so that the same client may come back without a blip."""
    epoch_grace_s: float = 10.0
    """Seconds that a restarted owner's former records are still answered until it has published the new ones."""

    def __post_init__(self) -> None:
        check_ranges("catalog", self, connection_grace_s=(0, 3_600), epoch_grace_s=(0, 3_600))


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveConfig:
    """A graceful exit."""

    timeout_s: float = 5.0
    """Most seconds that leaving may take; what was not heard by then is left to the failure detector."""
    linger_s: float = 1.0
    """Seconds to go on answering probes after the news has been sent, or leaving would look like a crash."""
    drain_s: float = 1.0
    """Least seconds that a node with instances is draining before it leaves, so that clients have gone elsewhere; take what
    they may keep an answer for. Within timeout_s."""

    def __post_init__(self) -> None:
        check_ranges("leave", self, timeout_s=(0.05, 600), linger_s=(0, 60), drain_s=(0, 600))
        if self.linger_s > self.timeout_s:
            raise ConfigError(f"leave.linger_s={self.linger_s!r}, expected at most leave.timeout_s={self.timeout_s!r}")
        room_s = self.timeout_s - self.linger_s
        if self.drain_s > room_s:
            raise ConfigError(
                f"leave.drain_s={self.drain_s!r}, expected at most {room_s:g}: leave.timeout_s without leave.linger_s"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecksConfig:
    """How this node runs health checks, and how long what flaps is held out (RFC 2439, route flap damping)."""

    concurrent: int = 64
    """Checks that may run at once; further ones wait, and their lateness is counted."""
    jitter: float = 0.1
    """Part of its interval by which each start is moved at random, so that checks of many nodes do not meet."""
    backoff_most: float = 4.0
    """Most by which the interval of a check that goes on failing is stretched; 1 for never."""
    damping_half_life_s: float = 60.0
    """Seconds in which the penalty of an instance halves."""
    damping_penalty: int = 1_000
    """What each change from ready to not ready adds to it; 0 switches damping off."""
    damping_suppress: int = 3_000
    """Penalty from which on an instance is held out, whatever its checks say."""
    damping_reuse: int = 1_000
    """Penalty below which it is let in again; below damping_suppress."""
    damping_hold_most_s: float = 600.0
    """Most seconds that an instance which has become quiet is still held out."""

    def __post_init__(self) -> None:
        check_ranges("checks", self, concurrent=(1, 4_096), jitter=(0, 1), backoff_most=(1, 64))
        check_ranges("checks", self, damping_half_life_s=(1, 86_400), damping_penalty=(0, 1_000_000))
        check_ranges("checks", self, damping_suppress=(1, 1_000_000_000), damping_reuse=(1, 1_000_000_000))
        check_ranges("checks", self, damping_hold_most_s=(1, 86_400))
        if self.damping_reuse >= self.damping_suppress:
            raise ConfigError(
                f"checks.damping_reuse={self.damping_reuse!r}, expected below"
                f" checks.damping_suppress={self.damping_suppress!r}"
            )
        least_s = self.damping_half_life_s * math.log2(self.damping_suppress / self.damping_reuse)
        if self.damping_hold_most_s < least_s:  # its penalty could never reach damping_suppress
            raise ConfigError(
                f"checks.damping_hold_most_s={self.damping_hold_most_s!r}, expected at least {least_s:.1f}: the time in"
                " which the penalty decays from checks.damping_suppress to checks.damping_reuse"
            )


GuardPolicy = Literal["keep", "drop", "refuse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardConfig:
    """What readers are told when nodes fall silent: cuts shown as one change, and the collapse guard."""

    policy: GuardPolicy = "keep"
    """What a service's answer is when silence alone would make it collapse, and while this node is isolated: `keep` the last good
    instances, marked degraded; `refuse` to resolve; or `drop` them, and answer what is left."""
    share: float = 0.5
    """Part of a service's ready instances that may fall silent within window_s; more, or the last one, is a collapse."""
    window_s: float = 60.0
    """Seconds over which losses are added up. Cover the time in which a failing switch or zone takes its nodes along."""
    hold_s: float = 120.0
    """Seconds that a collapsed service's last good instances are kept. Longer than a partition that people repair; what is really
    gone is answered as long."""
    batch_s: float = 10.0
    """Most seconds that the failure of a node is not yet shown in its instances while other nodes are suspect, so that a rack is
    one change. About the time in which the verdicts on a rack follow each other; 0 shows each at once."""

    def __post_init__(self) -> None:
        if self.policy not in get_args(GuardPolicy):
            raise ConfigError(f"guard.policy={self.policy!r}, expected one of {', '.join(get_args(GuardPolicy))}")
        check_ranges("guard", self, share=(0, 1), window_s=(1, 86_400), hold_s=(1, 86_400), batch_s=(0, 600))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolConfig:
    """All that the protocol core can be told. Every member of a cluster should run the same preset."""

    probe: ProbeConfig = field(default_factory=ProbeConfig)
    suspicion: SuspicionConfig = field(default_factory=SuspicionConfig)
    gossip: GossipConfig = field(default_factory=GossipConfig)
    sync: SyncConfig = field(default_factory=SyncConfig)
    catalog: CatalogConfig = field(default_factory=CatalogConfig)
    leave: LeaveConfig = field(default_factory=LeaveConfig)
    checks: ChecksConfig = field(default_factory=ChecksConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)


LAN = ProtocolConfig()
"""One data centre: round trips of a few milliseconds. The figures are memberlist's where ours do the same."""

WAN = replace(
    LAN,
    probe=replace(LAN.probe, interval_s=5.0, timeout_s=3.0, timeout_floor_s=0.5),
    suspicion=replace(LAN.suspicion, factor=6.0),
    gossip=replace(LAN.gossip, interval_s=0.5, fanout=4, eager_window_s=0.02, to_dead_s=60.0),
    sync=replace(LAN.sync, interval_s=60.0, timeout_s=30.0, reconnect_interval_s=5.0),
    leave=replace(LAN.leave, timeout_s=10.0, linger_s=3.0, drain_s=3.0),
    guard=replace(LAN.guard, window_s=180.0, hold_s=300.0, batch_s=30.0),
)
"""Members far apart: round trips up to a second."""

LOCAL = replace(
    LAN,
    probe=replace(LAN.probe, timeout_s=0.3, timeout_floor_s=0.15, indirect=1, interval_s=0.5),
    suspicion=replace(LAN.suspicion, factor=3.0),
    gossip=replace(LAN.gossip, interval_s=0.1, to_dead_s=15.0),
    sync=replace(LAN.sync, interval_s=10.0, timeout_s=2.0, seed_interval_s=5.0),
    leave=replace(LAN.leave, timeout_s=3.0, linger_s=0.3, drain_s=0.2),
    guard=replace(LAN.guard, window_s=20.0, hold_s=30.0, batch_s=3.0),
)
"""Everything on one machine: demos and tests."""

PRESETS = {"lan": LAN, "wan": WAN, "local": LOCAL}
