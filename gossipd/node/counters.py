"""The mutable side of `statistics`: what composition itself counts. Machines keep their own."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Counters:
    datagrams_sent: int = 0
    datagram_bytes_sent: int = 0
    datagrams_received: int = 0
    datagram_bytes_received: int = 0
    streams_opened: int = 0
    streams_accepted: int = 0
    streams_failed: int = 0
    suspicions_raised: int = 0
    oversleeps: int = 0
    syncs_completed: int = 0
    syncs_in_step: int = 0
    """Of these, such as brought nothing that we lacked."""
    syncs_failed: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    """By reason; every reason is a constant of ours, so this cannot grow without end."""

    def drop(self, reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
