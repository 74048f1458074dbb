"""What lies between hosts: a directed matrix of links, who is cut off from whom, and what becomes of one packet.

Everything is drawn from one `Random`, in the order in which packets are sent. A cut takes effect on what is sent from then on;
what is under way arrives. Knows no nodes and no bytes but their number. Distances follow Corrosion's model (fly.io).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

IP_UDP_BYTES = 28
"""An IPv4 and a UDP header, added to every datagram in all counts of bytes."""

REMEMBERED_S = 120.0
"""Seconds that former cuts are remembered, for those who ask since when two hosts reach each other."""

SKB_BYTES = 256
SKB_TAIL_BYTES = 364
"""Link, IP and UDP headers with padding, 44, and the kernel's `skb_shared_info`, 320."""


def kernel_bytes(data_bytes: int) -> int:
    """Return what Linux charges a receive buffer for a datagram: the buffer it lies in, not its length.

    768 for the shortest and 2,304 for 1,400 bytes, so that the default of 212,992 holds 277 or 92 of them.
    """
    room: int = 1 << (data_bytes + SKB_TAIL_BYTES - 1).bit_length()
    return SKB_BYTES + room


def check_probabilities(**values: float) -> None:
    """Raise ValueError for one that is not from 0 to 1."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name}={value!r}, expected a probability from 0 to 1")


def check_amounts(**values: float | None) -> None:
    """Raise ValueError for one that is negative or without end; None is "not given"."""
    for name, value in values.items():
        if value is not None and not 0 <= value < math.inf:
            raise ValueError(f"{name}={value!r}, expected 0 or more, and finite")


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Gilbert and Elliott's two states: loss comes in runs. Moves are drawn once a packet."""

    begins: float
    """Probability that a good packet is followed by a bad state."""
    ends: float
    """Probability that a bad state ends with the next packet; runs are 1 / ends packets long."""
    loss: float = 1.0
    """Loss while in the bad state; in the good one the link's own holds."""

    def __post_init__(self) -> None:
        check_probabilities(begins=self.begins, ends=self.ends, loss=self.loss)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One direction between two hosts."""

    delay_s: float = 0.000_25
    """Least one-way delay."""
    jitter_s: float = 0.000_25
    """Most that is added to it, uniform."""
    loss: float = 0.0
    """Probability that a packet is lost, independent of others."""
    burst: Burst | None = None
    duplicate: float = 0.0
    """Probability that a datagram arrives twice, each time with its own delay."""
    reorder: float = 0.0
    """Probability that a datagram is held back for up to *reorder_s*, so that later ones overtake it."""
    reorder_s: float = 0.02
    bytes_per_s: float = math.inf
    """Bandwidth of this direction alone."""
    backlog_s: float = 0.2
    """How much may wait for that bandwidth, in seconds of it; the rest is lost."""

    def __post_init__(self) -> None:
        check_probabilities(loss=self.loss, duplicate=self.duplicate, reorder=self.reorder)
        for name in ("delay_s", "jitter_s", "reorder_s", "bytes_per_s", "backlog_s"):
            value = getattr(self, name)
            if not value >= 0 or (name == "bytes_per_s" and not value > 0):
                raise ValueError(f"link.{name}={value!r}, expected 0 or more")


LAN_LINK = Link()
"""One data centre: round trips of 0.5 to 1 ms."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place with hosts; *weight* is its part of them."""

    name: str
    latitude: float
    longitude: float
    weight: float = 1.0


WORLD_SITES = (
    Site("iad", 38.9, -77.5, 3),
    Site("ord", 42.0, -87.9, 2),
    Site("sjc", 37.4, -121.9, 2),
    Site("gru", -23.4, -46.5, 1),
    Site("lhr", 51.5, -0.5, 2),
    Site("ams", 52.3, 4.8, 2),
    Site("fra", 50.0, 8.6, 2),
    Site("jnb", -26.1, 28.2, 1),
    Site("bom", 19.1, 72.9, 1),
    Site("sin", 1.4, 104.0, 2),
    Site("nrt", 35.8, 140.4, 2),
    Site("syd", -33.9, 151.2, 1),
)
"""Twelve cities; the weights are ours."""


def distance_km(one: Site, other: Site) -> float:
    """Return the great-circle distance (haversine, Earth as a sphere of 6,371 km)."""
    a, b = math.radians(one.latitude), math.radians(other.latitude)
    across = math.radians(other.longitude - one.longitude) / 2
    part = math.sin((b - a) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(across) ** 2
    return 2 * 6_371 * math.asin(math.sqrt(part))


def round_trip_s(km: float) -> float:
    """Return the round trip over *km*: 4 ms + km / 75 in ms. Source: Corrosion, crates/plum-foca/tests/sim.rs."""
    return (4 + km / 75) / 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """The links of a world at birth: one link within each site, one between each pair of sites."""

    link: Link = LAN_LINK
    sites: tuple[Site, ...] = ()
    """Empty: everybody is in one place, on *link*. Else *link* holds within a site, and between sites with the delay added."""

    def place(self, hosts: int) -> list[int]:
        """Return the site of each host, in proportion to the weights, spread evenly over the numbers."""
        if not self.sites:
            return [0] * hosts
        due = [0.0] * len(self.sites)
        total = sum(site.weight for site in self.sites)
        placed = []
        for _ in range(hosts):
            due = [have + site.weight / total for have, site in zip(due, self.sites, strict=True)]
            best = max(range(len(due)), key=lambda at: (due[at], -at))
            due[best] -= 1
            placed.append(best)
        return placed

    def between(self, source: int, target: int) -> Link:
        """Return the link from site *source* to site *target*."""
        if source == target or not self.sites:
            return self.link
        one_way_s = round_trip_s(distance_km(self.sites[source], self.sites[target])) / 2
        return replace(self.link, delay_s=one_way_s, jitter_s=self.link.jitter_s + one_way_s * 0.05)


class Path:
    """A link with what it remembers: the state of its bursts, and until when its bandwidth is spoken for."""

    __slots__ = ("bad", "burst_at", "free_at", "link")

    def __init__(self, link: Link) -> None:
        self.link = link
        self.bad = False
        self.burst_at = -math.inf
        """When a packet last fell into a burst."""
        self.free_at = 0.0


class Cut:
    """Something that keeps packets from *source* to *target*; hosts are numbers."""

    def blocks(self, source: int, target: int) -> bool:
        raise NotImplementedError


class GroupCut(Cut):
    """Only hosts that share a group hear each other; one in several groups is a bridge. *groups* need not name everybody:
    who is in none hears all."""

    def __init__(self, hosts: int, groups: Sequence[Sequence[int]]) -> None:
        self._masks = [0] * hosts
        for bit, group in enumerate(groups):
            for host in group:
                self._masks[host] |= 1 << bit

    def blocks(self, source: int, target: int) -> bool:
        one, other = self._masks[source], self._masks[target]
        return not one & other and one != 0 and other != 0


class OneWayCut(Cut):
    """Nothing gets from *sources* to *targets*; the other way is open. Hosts within both still hear themselves."""

    def __init__(self, hosts: int, sources: Sequence[int], targets: Sequence[int]) -> None:
        self._from, self._to = bytearray(hosts), bytearray(hosts)
        for host in sources:
            self._from[host] = 1
        for host in targets:
            self._to[host] = 1

    def blocks(self, source: int, target: int) -> bool:
        return bool(self._from[source] and self._to[target])


class RingCut(Cut):
    """Everybody hears only the *reach* next hosts on either side of a ring: each sees another majority."""

    def __init__(self, hosts: int, reach: int) -> None:
        self._hosts, self._reach = hosts, reach

    def blocks(self, source: int, target: int) -> bool:
        apart = abs(source - target)
        return min(apart, self._hosts - apart) > self._reach


class Network:
    """The links as they are now. Loss of one host's own interface adds to that of its links."""

    def __init__(self, topology: Topology, hosts: int, rng: Random) -> None:
        self.topology = topology
        self.site = topology.place(hosts)
        self.hosts = hosts
        self.loss_in = [0.0] * hosts
        self.loss_out = [0.0] * hosts
        self.lossy_hosts = False
        self._rng = rng
        self._random = rng.random
        sites = max(1, len(topology.sites))
        self._by_site = [[Path(topology.between(a, b)) for b in range(sites)] for a in range(sites)]
        self._plain = all(_is_plain(path.link) for row in self._by_site for path in row)
        self._own: dict[int, Path] = {}
        self._cuts: dict[str, Cut] = {}
        self._cutting: list[Cut] = []
        self.flaps: dict[str, object] = {}
        """By the name of its cut, the flap that goes on."""
        self._former: list[tuple[float, list[Cut]]] = []
        """The cuts that held before, and until when."""
        self.changed_at = -math.inf
        """When the cuts last changed."""
        self.lost = 0
        """Datagrams lost by chance or for want of bandwidth."""
        self.cut_off = 0
        """Datagrams that a cut kept from their target."""

    def reseed(self, seed: str) -> None:
        """Draw everything from now on from *seed*."""
        self._rng.seed(seed)

    def set_link(self, source: int, target: int, link: Link) -> None:
        """Let *link* hold from *source* to *target* from now on."""
        self._own[source * self.hosts + target] = Path(link)

    def set_all(self, link: Link) -> None:
        """Let *link* hold everywhere; between sites with the distance's delay added. Links set one by one are dropped."""
        self._own.clear()
        self.topology = replace(self.topology, link=link)
        sites = range(len(self._by_site))
        self._by_site = [[Path(self.topology.between(a, b)) for b in sites] for a in sites]
        self._plain = all(_is_plain(path.link) for row in self._by_site for path in row)

    def set_loss(self, host: int, *, incoming: float, outgoing: float) -> None:
        """Let *host* lose that part of what it receives and of what it sends, on top of its links' losses."""
        check_probabilities(incoming=incoming, outgoing=outgoing)
        self.loss_in[host], self.loss_out[host] = incoming, outgoing
        self.lossy_hosts = any(self.loss_in) or any(self.loss_out)

    def cut(self, name: str, cut: Cut, *, now: float) -> None:
        """Put *cut* in place under *name*; several hold at once."""
        self._cuts[name] = cut
        self._changed(now)

    def heal(self, name: str | None = None, *, now: float) -> None:
        """Take away the cut called *name*, or all of them, and end the flaps of that name, or all."""
        if name is None:
            self.flaps.clear()
            self._cuts.clear()
        else:
            self.flaps.pop(name, None)
            self._cuts.pop(name, None)
        self._changed(now)

    def lift(self, name: str, *, now: float) -> None:
        """Take away the cut called *name*; its flap, if it is one's, goes on."""
        self._cuts.pop(name, None)
        self._changed(now)

    def _changed(self, now: float) -> None:
        self._former = [(until, cuts) for until, cuts in self._former if until > now - REMEMBERED_S]
        self._former.append((now, self._cutting))
        self._cutting = list(self._cuts.values())
        self.changed_at = now

    @property
    def whole(self) -> bool:
        """Whether there is no cut."""
        return not self._cutting

    def reaches(self, source: int, target: int) -> bool:
        """Return whether no cut lies on the way from *source* to *target*."""
        return all(not cut.blocks(source, target) for cut in self._cutting)

    def linked(self, one: int, other: int, *, since: float = math.inf) -> bool:
        """Return whether *one* and *other* reach each other, and did so ever since *since* (at most REMEMBERED_S ago)."""
        cuts = [cut for until, former in self._former if until > since for cut in former] + self._cutting
        return not any(cut.blocks(one, other) or cut.blocks(other, one) for cut in cuts)

    def in_burst(self, one: int, other: int, *, since: float) -> bool:
        """Return whether a packet between *one* and *other*, either way, fell into a burst of loss since *since*."""
        return any(path.burst_at >= since for path in (self._path(one, other), self._path(other, one)))

    def link(self, source: int, target: int) -> Link:
        return self._path(source, target).link

    def transit(self, source: int, target: int, size: int, now: float) -> float:
        """Return when a packet of *size* bytes sent now arrives; `math.inf` if it does not."""
        for cut in self._cutting:
            if cut.blocks(source, target):
                self.cut_off += 1
                return math.inf
        random = self._random
        if self.lossy_hosts:
            lost = 1 - (1 - self.loss_out[source]) * (1 - self.loss_in[target])
            if lost and random() < lost:
                self.lost += 1
                return math.inf
        if self._plain and not self._own:
            link = self._by_site[self.site[source]][self.site[target]].link
            return now + link.delay_s + link.jitter_s * random()
        return self._transit(source, target, size, now)

    def duplicated(self, source: int, target: int) -> bool:
        """Draw whether a datagram that arrives is to arrive once more."""
        if self._plain and not self._own:
            return False
        chance = self._path(source, target).link.duplicate
        return chance > 0 and self._random() < chance

    def _path(self, source: int, target: int) -> Path:
        if self._own:
            own = self._own.get(source * self.hosts + target)
            if own is not None:
                return own
        shared = self._by_site[self.site[source]][self.site[target]]
        if shared.link.burst is None and shared.link.bytes_per_s == math.inf:
            return shared
        own = self._own[source * self.hosts + target] = Path(shared.link)  # its state is its own
        return own

    def _transit(self, source: int, target: int, size: int, now: float) -> float:
        path = self._path(source, target)
        link, random = path.link, self._random
        loss = link.loss
        if link.burst is not None:
            path.bad = random() >= link.burst.ends if path.bad else random() < link.burst.begins
            if path.bad:
                loss, path.burst_at = link.burst.loss, now
        if loss and random() < loss:
            self.lost += 1
            return math.inf
        at = now
        if link.bytes_per_s < math.inf:
            if path.free_at - now > link.backlog_s:
                self.lost += 1
                return math.inf
            at = path.free_at = max(now, path.free_at) + size / link.bytes_per_s
        at += link.delay_s + link.jitter_s * random()
        if link.reorder and random() < link.reorder:
            at += link.reorder_s * random()
        return at


def _is_plain(link: Link) -> bool:
    """Whether *link* delays and does nothing else, so that the quick way through holds."""
    odd = (link.loss, link.duplicate, link.reorder)
    return not any(odd) and link.burst is None and link.bytes_per_s == math.inf
