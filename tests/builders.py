"""Claims, tables and machines for tests of membership and broadcast: what a test does not say is the plainest there is."""

from collections.abc import Sequence
from random import Random

from gossipd.config import LAN, ProbeConfig, ProtocolConfig
from gossipd.core.effects import Effect, Report, Send, Spread, Tell
from gossipd.core.events import MemberChanged
from gossipd.core.items import ItemIndex
from gossipd.core.membership.awareness import Awareness
from gossipd.core.membership.probe import Prober
from gossipd.core.membership.table import Table
from gossipd.ids import Address, Incarnation, NodeId
from gossipd.records import Claim, Status
from gossipd.wire.messages import Ping

ANN, BOB, CAT, DAN, EVE, FAY = (NodeId(name) for name in ("ann", "bob", "cat", "dan", "eve", "fay"))
ALIVE, SUSPECT, DEAD, LEFT = Status
FIRST = Incarnation(1, 0)


def home(member: NodeId) -> Address:
    """Return where *member* lives unless a test says otherwise."""
    return Address("10.0.0.1", 7_000 + sum(member.encode()))


ELSEWHERE = Address("10.0.9.9", 7_946)


def a_claim(
    member: NodeId = BOB,
    status: Status = ALIVE,
    counter: int = 0,
    *,
    epoch: int = 1,
    accuser: NodeId | None = None,
    address: Address | None = None,
    age_s: int = 0,
    protocol: tuple[int, int] = (1, 1),
) -> Claim:
    """Return a claim; ALIVE and LEFT are the member's own, an accusation is CAT's unless *accuser* is given."""
    own = status in (ALIVE, LEFT)
    return Claim(
        member=member,
        incarnation=Incarnation(epoch, counter),
        status=status,
        address=address or home(member),
        accuser=accuser or (member if own else CAT),
        protocol_min=protocol[0],
        protocol_max=protocol[1],
        age_s=age_s,
    )


def a_table(
    *claims: Claim,
    me: NodeId = ANN,
    config: ProtocolConfig = LAN,
    awareness: Awareness | None = None,
    index: ItemIndex | None = None,
    now: float = 0.0,
) -> Table:
    """Return the table of *me* that has taken in *claims* by gossip from BOB."""
    table = Table(
        config,
        own=a_claim(me),
        index=ItemIndex() if index is None else index,
        awareness=awareness or Awareness(config.probe.awareness_max),
        now=now,
    )
    for claim in claims:
        table.merge(claim, source=BOB, how="gossip", now=now)
    return table


def a_prober(
    *peers: NodeId,
    table: Table | None = None,
    awareness: Awareness | None = None,
    config: ProbeConfig = LAN.probe,
    seed: int = 1,
    now: float = 0.0,
) -> Prober:
    """Return the prober of ANN, who believes *peers* (or the live members of *table*) alive."""
    table = table or a_table(*(a_claim(peer) for peer in peers), now=now)
    awareness = awareness or Awareness(config.awareness_max)
    prober = Prober(config, table=table, awareness=awareness, rng=Random(seed), now=now)
    for member in table.live:
        prober.member_added(member, now=now)
    return prober


def the_ping(effects: Sequence[Effect]) -> Tell:
    """Return the one probe among *effects*."""
    (tell,) = [effect for effect in effects if isinstance(effect, Tell) and isinstance(effect.message, Ping)]
    return tell


def sequence_of(effect: Effect) -> int:
    """Return the sequence number of the probe message that *effect* sends."""
    assert isinstance(effect, Tell | Send)
    sequence = getattr(effect.message, "sequence", None)
    assert isinstance(sequence, int)
    return sequence


def news(effects: Sequence[Effect]) -> list[object]:
    """Return what *effects* spread."""
    return [effect.item for effect in effects if isinstance(effect, Spread)]


def changes(effects: Sequence[Effect]) -> list[tuple[NodeId, Status | None, Status | None]]:
    """Return who changed from what to what, as users hear it."""
    events = [effect.event for effect in effects if isinstance(effect, Report)]
    return [(event.member, event.before, event.after) for event in events if isinstance(event, MemberChanged)]
