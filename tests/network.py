"""A network of nodes in memory, on a clock of its own: just enough to test the node's rules between nodes.

Real sealed bytes go from node to node. Everything is drawn from one seed, and every action is kept in `history`, so a run repeats.
"""

import heapq
import math
from collections.abc import Callable, Sequence
from itertools import count
from random import Random

from gossipd.config import LAN, ProtocolConfig
from gossipd.core.events import Event
from gossipd.crypto.keyring import Keyring
from gossipd.ids import Address, NodeId
from gossipd.node.actions import Action, CloseStream, OpenStream, Publish, SendDatagram, SendStream
from gossipd.node.node import Node
from gossipd.node.peers import PeerEntry
from gossipd.node.registrations import NOTHING_KEPT, Kept
from gossipd.records import Service

KEY = Keyring((bytes(range(32)),))
FIRST_PORT = 7000


def address_of(number: int) -> Address:
    """Return where node *number* listens."""
    return Address("127.0.0.1", FIRST_PORT + number)


def a_service(name: str = "web", id: str | None = None, port: int = 80) -> Service:
    return Service(name=name, id=name if id is None else id, port=port)


def no_cut(_source: Address, _target: Address) -> bool:
    """Nothing is cut."""
    return False


class Network:
    """Delivers datagrams after *delay_s* (up to twice that), loses and doubles some, and carries streams in order."""

    def __init__(
        self,
        *,
        seed: int = 1,
        config: ProtocolConfig = LAN,
        loss: float = 0.0,
        doubled: float = 0.0,
        delay_s: float = 0.001,
        keyring: Keyring | None = KEY,
    ) -> None:
        self.now = 0.0
        self.config = config
        self.loss = loss
        self.doubled = doubled
        self.nodes: dict[Address, Node] = {}
        self.history: list[tuple[float, Address, Action]] = []
        self.events: list[tuple[float, NodeId, Event]] = []
        self.frozen: set[Address] = set()
        self.cut: Callable[[Address, Address], bool] = no_cut
        self._keyring = keyring
        self._delay_s = delay_s
        self._rng = Random(seed)
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._links: dict[tuple[Address, int], tuple[Address, int]] = {}
        self._link_free: dict[tuple[Address, int], float] = {}

    def add(
        self,
        number: int,
        *,
        name: str | None = None,
        epoch: int = 1_000,
        seeds: Sequence[Address] = (),
        keyring: Keyring | None = None,
        peers: Sequence[PeerEntry] = (),
        kept: Kept = NOTHING_KEPT,
        restarted: bool = False,
        labels: Sequence[tuple[str, str]] = (),
    ) -> Node:
        """Start node *number*, called n<number> unless named, at its address."""
        address = address_of(number)
        me = NodeId(name or f"n{number}")
        entropy = Random(f"{me} {address} {epoch} {self.now}")
        node = Node(
            self.config,
            me=me,
            epoch=epoch,
            address=address,
            rng=Random(f"{me} {epoch}"),
            entropy=entropy.randbytes,
            now=self.now,
            keyring=keyring or self._keyring,
            seeds=seeds,
            peers=peers,
            kept=kept,
            restarted=restarted,
            labels=labels,
        )
        self.nodes[address] = node
        self.do(node, node.start(now=self.now))
        return node

    def cluster(self, size: int) -> list[Node]:
        """Start *size* nodes that join through the first, and run until every view is complete."""
        nodes = [self.add(number, seeds=() if number == 0 else (address_of(0),)) for number in range(size)]
        self.run_until(lambda: all(len(members(node, self.now)) == size for node in nodes), within_s=10)
        return nodes

    def crash(self, node: Node) -> None:
        """Let *node* vanish without a word."""
        del self.nodes[self.where(node)]

    def where(self, node: Node) -> Address:
        return next(address for address, other in self.nodes.items() if other is node)

    def do(self, node: Node, actions: Sequence[Action]) -> None:
        """Perform what *node* asked for."""
        source = self.where(node)
        for action in actions:
            self.history.append((self.now, source, action))
            match action:
                case SendDatagram():
                    for target in action.targets:
                        self.datagram(action.data, source, target)
                case OpenStream():
                    self._at(self._delay_s, lambda a=action: self._open(source, a))  # type: ignore[misc]
                case SendStream() | CloseStream():
                    self._after_earlier((source, action.stream), action)
                case Publish():
                    self.events.append((self.now, node.me, action.event))

    def datagram(self, data: bytes, source: Address, target: Address) -> None:
        """Put a datagram on the wire."""
        for _ in range(1 + (self._rng.random() < self.doubled)):
            if self._rng.random() >= self.loss:
                delay_s = self._delay_s * (1 + self._rng.random())
                self._at(delay_s, lambda: self._deliver(data, source, target))

    def run(self, seconds: float) -> None:
        """Let *seconds* pass."""
        self.run_until(lambda: False, within_s=seconds, must=False)

    def run_until(self, condition: Callable[[], bool], *, within_s: float, must: bool = True) -> float:
        """Run until *condition* holds, seen after each step; return how long it took. Fails after *within_s* unless not *must*."""
        started, end = self.now, self.now + within_s
        while not condition():
            due = min((node.next_deadline() for node in self._awake()), default=math.inf)
            first = min(self._heap[0][0] if self._heap else math.inf, due)
            if first > end:
                assert not must, f"not within {within_s} s"
                self.now = end
                break
            self.now = max(self.now, first)
            if self._heap and self._heap[0][0] <= due:
                heapq.heappop(self._heap)[2]()
            else:
                node = min(self._awake(), key=lambda node: node.next_deadline())
                self.do(node, node.handle_timer(now=self.now))
        return self.now - started

    def heard(self, kind: type[Event], by: Node | None = None) -> list[Event]:
        """Return the events of *kind* so far, of one node or of all."""
        return [event for _, me, event in self.events if isinstance(event, kind) and by in (None, self._named(me))]

    def _named(self, me: NodeId) -> Node | None:
        return next((node for node in self.nodes.values() if node.me == me), None)

    def _awake(self) -> list[Node]:
        return [node for address, node in self.nodes.items() if address not in self.frozen]

    def _at(self, delay_s: float, step: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now + delay_s, next(self._order), step))

    def _deliver(self, data: bytes, source: Address, target: Address) -> None:
        node = self.nodes.get(target)
        if node is None or self.cut(source, target):
            return
        if target in self.frozen:  # waits in the socket buffer
            self._at(0.05, lambda: self._deliver(data, source, target))
            return
        self.do(node, node.receive_datagram(data, source, now=self.now))

    def _open(self, source: Address, action: OpenStream) -> None:
        node, peer = self.nodes.get(source), self.nodes.get(action.target)
        if node is None:
            return
        if action.target in self.frozen:
            self._at(0.05, lambda: self._open(source, action))
            return
        if peer is None or self.cut(source, action.target):
            self.do(node, node.stream_closed(action.stream, now=self.now, error="connection refused"))
            return
        stream, actions = peer.accept_stream(Address("127.0.0.1", 50_000), now=self.now)
        self.do(peer, actions)
        assert stream is not None
        self._links[source, action.stream] = (action.target, stream)
        self._links[action.target, stream] = (source, action.stream)
        self.do(node, node.stream_opened(action.stream, now=self.now))

    def _after_earlier(self, end: tuple[Address, int], action: SendStream | CloseStream) -> None:
        at = max(self.now + self._delay_s, self._link_free.get(end, 0.0))
        self._link_free[end] = at + 1e-9
        self._at(at - self.now, lambda: self._carry(end, action))

    def _carry(self, end: tuple[Address, int], action: SendStream | CloseStream) -> None:
        if end not in self._links:
            return
        target, stream = self._links[end]
        node = self.nodes.get(target)
        if node is None or self.cut(end[0], target):
            return
        if isinstance(action, SendStream):
            self.do(node, node.receive_stream(stream, action.data, now=self.now))
        else:
            self.do(node, node.stream_closed(stream, now=self.now))


def members(node: Node, now: float) -> dict[str, str]:
    """Return what *node* believes of each member."""
    return {row.name: row.status for row in node.view.members(now=now)}


def instances(node: Node, now: float) -> dict[str, tuple[int, str]]:
    """Return port and status of each instance that *node* knows, by node/id."""
    return {f"{row.node}/{row.id}": (row.port, row.status) for row in node.view.instances(now=now)}
