"""Frozen counters and gauges of one node; counters only grow until the process ends."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    datagrams_sent: int
    datagram_bytes_sent: int
    datagrams_received: int
    datagram_bytes_received: int
    streams_opened: int
    streams_accepted: int
    streams_failed: int
    """Ended by an error, a time-out or a refusal."""
    dropped: dict[str, int]
    """Packets, frames and messages dropped, by reason; every reason is a constant of ours."""
    probes_sent: int
    probes_failed: int
    acks_received: int
    nacks_received: int
    suspicions_raised: int
    """Our own accusations."""
    refutations: int
    """Times we refuted a claim about ourselves."""
    oversleeps: int
    eager_packets: int
    gossip_queue: int
    """Messages waiting to be gossiped."""
    gossip_queue_dropped: int
    syncs_completed: int
    syncs_failed: int
    awareness: int
    isolated: bool
    cuts_shown: int
    """Times that the failure of members, together or alone, was shown in their instances."""
    verdicts_held: int
    """Members that are dead and not yet shown to be, because others are suspect or we are isolated."""
    services_guarded: int
    """Services whose last good instances the collapse guard keeps now."""
    instances_kept: int
    """These instances."""
    guards_triggered: int
    """Times that a service began to be guarded."""
    guard_refused: int
    """Instances shown unreachable without a look: GUARDED_INSTANCES_MAX were remembered."""
    members_alive: int
    members_suspect: int
    members_failed: int
    members_left: int
    records: int
    records_refused: dict[str, int]
    """Records not stored, by reason: quota, malformed, stale."""
    registrations: int
    instances_damped: int
    """Own instances that are held out because they changed too often."""
    checks: int
    checks_running: int
    checks_run: int
    checks_failed: int
    """Tries that brought a failure."""
    checks_late_worst_s: float
    """Most seconds by which a try began after it was due."""
    peers_known: int
