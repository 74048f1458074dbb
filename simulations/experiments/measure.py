"""What several experiments look at: detections, traffic, members that fall silent without a crash."""

import math
from collections.abc import Callable, Sequence

from gossipd.core.effects import Effect
from gossipd.core.events import Event, MemberChanged
from gossipd.core.membership.table import Table
from gossipd.ids import Address, NodeId
from gossipd.node.actions import Action, SendDatagram, SendStream
from gossipd.node.node import Node
from gossipd.records import Status
from simulations import inside
from simulations.beliefs import ALIVE, SUSPECT
from simulations.host import Host
from simulations.watching import Watcher
from simulations.world import World


class MuteNode(Node):
    """A node that can be made to answer nothing: to those who probe it, it has crashed, while its own probing goes on.

    So that very many crashes can be measured in one world: none takes a prober away from the others, and none has to rejoin.
    """

    mute = False

    def receive_datagram(self, data: bytes, source: Address, *, now: float) -> list[Action]:
        return self._unless_mute(super().receive_datagram(data, source, now=now))

    def receive_stream(self, stream: int, data: bytes, *, now: float) -> list[Action]:
        return self._unless_mute(super().receive_stream(stream, data, now=now))

    def _unless_mute(self, actions: Sequence[Action]) -> list[Action]:
        if not self.mute:
            return list(actions)
        return [action for action in actions if not isinstance(action, SendDatagram | SendStream)]


def set_mute(world: World, number: int, mute: bool) -> None:
    node = world.hosts[number].node
    assert isinstance(node, MuteNode)
    node.mute = mute


class _NotingTable(Table):
    """A table whose owner's accusations are noted and go no further."""

    noted: Callable[[NodeId], None]

    def accuse(self, member: NodeId, *, now: float) -> list[Effect]:
        self.noted(member)
        return []


def note_accusations(world: World, noted: Callable[[int], None]) -> None:
    """Call *noted* with whoever is accused in *world*, all of whose hosts run, and let nobody else hear of it.

    Every probe goes as ever; what is saved is the gossip that follows an accusation.
    """
    for host in world.running():
        assert host.node is not None
        table = inside.machines(host.node).table
        table.__class__ = _NotingTable
        assert isinstance(table, _NotingTable)
        table.noted = lambda member: noted(world.number_of[member])


class Detections(Watcher):
    """When each victim was first suspected, first declared dead, and given up by the last; a victim is told with `expect`."""

    def __init__(self) -> None:
        self.suspected: dict[int, float] = {}
        self.dead: dict[int, float] = {}
        self.gone: dict[int, float] = {}
        self.isolations = 0
        self._victims: set[int] = set()

    def expect(self, victim: int) -> None:
        """*victim* crashes now: forget what was seen of it before."""
        self._victims.add(victim)
        for seen in (self.suspected, self.dead, self.gone):
            seen.pop(victim, None)

    def on_event(self, host: Host, event: Event) -> None:
        if not isinstance(event, MemberChanged):
            return
        victim = self.world.number_of.get(event.member, -1)
        if victim not in self._victims or host.number == victim:
            return
        now = self.world.now
        if event.after is Status.SUSPECT:
            self.suspected.setdefault(victim, now)
        elif event.after is Status.DEAD:
            self.dead.setdefault(victim, now)
            counts = self.world.beliefs.counts[victim]
            if counts[ALIVE] + counts[SUSPECT] == 0:
                self.gone.setdefault(victim, now)
                self._victims.discard(victim)


def agreed_alive(world: World, number: int) -> bool:
    """Return whether every running member believes *number* alive."""
    return world.beliefs.counts[number][ALIVE] == len(world.running()) - 1


def sent(world: World) -> tuple[int, int]:
    """Return datagrams and bytes that all hosts sent so far, streams' bytes and all headers included."""
    traffic = [host.traffic for host in world.hosts]
    return sum(of.datagrams_out for of in traffic), sum(of.bytes_out + of.stream_bytes_out for of in traffic)


def suspicion_least_s(alpha: float, members: int, interval_s: float = 1.0) -> float:
    """Return Lifeguard's Min."""
    return alpha * max(1.0, math.log10(members)) * interval_s
