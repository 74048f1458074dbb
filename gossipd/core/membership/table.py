"""The member table: what we believe of everybody, and what changes it.

Rows merge by `precedence`, so order and duplicates do not matter. Departs, for that reason: a suspect or dead claim about a name
that we do not know is kept (memberlist ignores it, rules 13 and 17); that the forgotten do not come back is ensured by the age that
travels with a verdict, and by the epoch. A sync's "dead" about a member that lives here only raises suspicion (rule 27), and the
member is told at once: after a cut there are many of these, and their refutations shall overtake the doubts. About a suspect it
makes an accuser of the verdict's author, or of whom we sync with: two of them end the suspicion of whoever missed the verdict.
"""

import math
from bisect import bisect_left, insort
from dataclasses import dataclass, replace

from gossipd.config import ProtocolConfig
from gossipd.core.deadlines import Deadlines
from gossipd.core.effects import Effect, Report, Send, Spread
from gossipd.core.events import EpochRaised, MemberChanged, NameConflict
from gossipd.core.items import ItemIndex, claim_check, claim_digest
from gossipd.core.membership.awareness import Awareness
from gossipd.core.membership.precedence import supersedes
from gossipd.core.membership.refute import Verdict, judge, refutation
from gossipd.core.membership.suspicion import Suspicions
from gossipd.ids import Address, Incarnation, NodeId
from gossipd.limits import AGE_S_MAX, INTEGER_MAX, MEMBERS_MAX
from gossipd.records import Claim, Status
from gossipd.wire.messages import PROTOCOL_VERSION, Ping, Refutation, Twin

TWIN_NOTICE_S = 10.0
"""Seconds between two notices to a process that bears our name."""

UNAWAITED = 0
"""The sequence of a ping that is to make its target answer an accusation; nobody waits for the Ack."""

SETTLED_S = 10.0
"""Seconds after which we take it that everybody who knows a member knows where and in which epoch it is."""

LIVE = (Status.ALIVE, Status.SUSPECT)


@dataclass(slots=True)
class Row:
    """One member: the claim that holds, and when what was last seen of it. Times are the node's own clock."""

    claim: Claim
    changed_at: float
    vouched_at: float
    """When the member last was believed alive or was heard itself."""
    verdict_at: float
    """When DEAD or LEFT was reached by whoever reached it first; meaningless while live."""
    known_at: float
    """When we learned its epoch, address and protocols; our own: when we last learned that others took them for others."""

    @property
    def live(self) -> bool:
        return self.claim.status in LIVE


class Table:
    """All members, ourselves included. Bounded by MEMBERS_MAX; what is refused is counted in `refused`."""

    def __init__(
        self, config: ProtocolConfig, *, own: Claim, index: ItemIndex, awareness: Awareness, now: float
    ) -> None:
        self._config = config
        self._index = index
        self._awareness = awareness
        self.me = own.member
        self.own = own
        self.suspicions = Suspicions(config)
        self.rows: dict[NodeId, Row] = {}
        self.live: list[NodeId] = []
        """Names of the others that are ALIVE or SUSPECT, sorted."""
        self.dead: dict[NodeId, None] = {}
        """Names of the others that are DEAD, in the order in which they were found to be."""
        self.refused: dict[str, int] = {}
        self.refutations = 0
        self.conflict_at = -math.inf
        self.conflict_address: Address | None = None
        self._forget: Deadlines[NodeId] = Deadlines()
        self._put(own, now=now, changed=True)

    def row(self, member: NodeId) -> Row | None:
        return self.rows.get(member)

    def recently_dead(self, *, within_s: float, now: float) -> list[NodeId]:
        """Return the names of the DEAD that we found to be so at most *within_s* ago: they may have to hear of it."""
        recent = []
        for name in reversed(self.dead):  # the latest found first
            if now - self.rows[name].changed_at > within_s:
                break
            recent.append(name)
        return recent

    def claim_to_send(self, member: NodeId, *, now: float) -> Claim:
        """Return the claim that holds about *member*, with the age of its verdict as of *now*."""
        row = self.rows[member]
        if row.live:
            return row.claim
        return replace(row.claim, age_s=min(AGE_S_MAX, max(0, int(now - row.verdict_at))))

    def neighbours(self) -> list[NodeId]:
        """Return the live members next to us on the ring of sorted names: none, one or two."""
        if not self.live:
            return []
        at = bisect_left(self.live, self.me)
        after, before = self.live[at % len(self.live)], self.live[at - 1]
        return [after] if after == before else [after, before]

    def shortened(self, claim: Claim, *, now: float) -> Claim | Refutation:
        """Return how *claim*, which holds here, is to be told: as a Refutation, if those whom we tell can make it out."""
        settled = now - self.rows[claim.member].known_at >= SETTLED_S
        if claim.status is not Status.ALIVE or not settled:
            return claim
        return Refutation(member=claim.member, counter=claim.incarnation.counter, check=claim_check(claim))

    def claim_of(self, refutation: Refutation) -> Claim | None:
        """Return the claim that *refutation* stands for; None if we do not know its member as whoever wrote it does."""
        row = self.rows.get(refutation.member)
        if row is None:
            return None
        claim, counter = row.claim, refutation.counter
        if claim.status is not Status.ALIVE or claim.incarnation.counter != counter:
            again = Incarnation(claim.incarnation.epoch, counter)
            claim = replace(claim, incarnation=again, status=Status.ALIVE, accuser=claim.member, age_s=0)
        return claim if claim_check(claim) == refutation.check else None

    def accuse(self, member: NodeId, *, now: float) -> list[Effect]:
        """Claim that *member* is suspect because our own probe failed; nothing if it is not live."""
        row = self.rows.get(member)
        if row is None or not row.live:
            return []
        claim = replace(row.claim, status=Status.SUSPECT, accuser=self.me)
        return self.merge(claim, source=self.me, how="probe", now=now)

    def merge(self, claim: Claim, *, source: NodeId, how: str, now: float) -> list[Effect]:
        """Take in *claim*, which *source* handed us by "gossip", "sync", "probe" or "timer"."""
        if claim.member == self.me:
            return self._about_us(claim, now=now)
        if not claim.protocol_min <= PROTOCOL_VERSION <= claim.protocol_max:
            return self._refuse("incompatible")
        if claim.age_s and claim.status in LIVE:
            claim = replace(claim, age_s=0)  # only a verdict has an age
        row = self.rows.get(claim.member)
        if row is None:
            return self._meet(claim, source=source, how=how, now=now)
        asked: list[Effect] = []
        told_dead = how == "sync" and claim.status is Status.DEAD and row.live and supersedes(claim, row.claim)
        if told_dead:
            claim = replace(claim, status=Status.SUSPECT, age_s=0)
            if self._config.probe.buddy:
                ping = Ping(sequence=UNAWAITED, target=claim.member)
                asked = [Send(target=row.claim.address, message=ping, first=claim)]
        if not supersedes(claim, row.claim):
            if claim.status is row.claim.status is Status.SUSPECT and claim.incarnation == row.claim.incarnation:
                if self._confirm(claim.member, claim.accuser):
                    return [Spread(item=claim, urgent=False)]
                if told_dead:  # whoever heard the verdict names the same accuser; whoever missed it would wait alone
                    self._confirm(claim.member, source)
            return []
        before = row.claim
        self._put(claim, now=now, changed=claim.status is not before.status)
        self._time_suspicion(claim, now=now)
        if before.status is claim.status is Status.DEAD:
            return []
        spread = Spread(item=claim, urgent=_is_urgent(claim, before))
        return [*asked, spread, self._changed(claim, before.status, source=source, how=how)]

    def withdraw(self, *, now: float) -> list[MemberChanged]:
        """Unsay the accusations that are ours alone, and return what that changes: we were the one cut off.

        Not a merge: it is as if we had never spoken. Whoever heard us holds a claim that its subject refutes.
        """
        unsaid = [name for name in self.suspicions.accused_by_only(self.me) if self.rows[name].claim.accuser == self.me]
        changes = []
        for name in unsaid:
            row = self.rows[name]
            vouched_at = row.vouched_at
            self.suspicions.cancel(name)
            self._put(replace(row.claim, status=Status.ALIVE, accuser=name), now=now, changed=True)
            row.vouched_at = vouched_at  # we take back our word, and have heard nothing
            changes.append(self._change(row.claim, Status.SUSPECT, source=self.me, how="self"))
        return changes

    def heard(self, member: NodeId, *, now: float) -> None:
        """Note that *member* itself was heard."""
        row = self.rows.get(member)
        if row is not None:
            row.vouched_at = now

    def twin_seen(self, address: Address, incarnation: Incarnation, *, now: float) -> list[Effect]:
        """A live process at *address* bears our name; say so at most once in TWIN_NOTICE_S, to it and to our users."""
        self.conflict_address = address
        if now - self.conflict_at < TWIN_NOTICE_S:
            return []
        self.conflict_at = now
        notice = Twin(incarnation=self.own.incarnation, address=self.own.address)
        return [
            Report(event=NameConflict(address=address, incarnation=incarnation)),
            Send(target=address, message=notice),
        ]

    def raise_epoch(self, above: int, *, now: float) -> list[Effect]:
        """Take an epoch later than *above*: a former run of ours outranks us, its disk or its clock lost.

        Nothing if there is none: then *above* is forged, and a claim that no peer can read would silence us.
        """
        if above >= INTEGER_MAX:
            return self._refuse("epoch")
        raised = replace(self.own, incarnation=Incarnation(above + 1, 0))
        effects = self._own_changed(raised, how="self", now=now)
        return [effects[0], Report(event=EpochRaised(epoch=above + 1)), *effects[1:]]

    def leave(self, *, now: float) -> list[Effect]:
        """Say goodbye: the claim that only its member may make. Nothing the second time."""
        if self.own.status is Status.LEFT:
            return []
        left = replace(self.own, status=Status.LEFT, incarnation=refutation(self.own, self.own).incarnation)
        return self._own_changed(left, how="command", now=now)

    def next_deadline(self) -> float:
        """Return when a suspicion runs out or a member is to be forgotten; `math.inf` when neither is ahead."""
        return min(self.suspicions.next_deadline(), self._forget.next())

    def handle_timer(self, *, now: float) -> list[Effect]:
        """Declare dead whose time is up; forget who has been gone for long enough."""
        effects: list[Effect] = []
        for member, incarnation in self.suspicions.pop_due(members=len(self.live) + 1, now=now):
            row = self.rows.get(member)
            if row is not None and row.claim.status is Status.SUSPECT and row.claim.incarnation == incarnation:
                dead = replace(row.claim, status=Status.DEAD, accuser=self.me)
                effects += self.merge(dead, source=self.me, how="timer", now=now)
        effects += [self._forget_member(member) for member in self._forget.pop_due(now)]
        return effects

    def _meet(self, claim: Claim, *, source: NodeId, how: str, now: float) -> list[Effect]:
        if claim.status not in LIVE and claim.age_s >= self._config.sync.forget_after_s:
            return self._refuse("forgotten")
        effects: list[Effect] = []
        if len(self.rows) >= MEMBERS_MAX:
            if claim.status not in LIVE or not len(self._forget):
                return self._refuse("members")
            effects.append(
                self._forget_member(self._forget.pop_first())
            )  # whoever has been gone for longest makes room
        self._put(claim, now=now, changed=True)
        self._time_suspicion(claim, now=now)
        if claim.status in LIVE or how != "sync":
            effects.append(Spread(item=claim, urgent=_is_urgent(claim, None)))
        return [*effects, self._changed(claim, None, source=source, how=how)]

    def _about_us(self, claim: Claim, *, now: float) -> list[Effect]:
        match judge(self.own, claim):
            case Verdict.IGNORE:
                return []
            case Verdict.CONFLICT:
                return self.twin_seen(claim.address, claim.incarnation, now=now)
            case Verdict.REFUTE:
                self.refutations += 1
                self._awareness.apply(1)
                if _identity(claim) != _identity(self.own):  # whoever holds that can make out no Refutation of ours
                    self.rows[self.me].known_at = now
                return self._own_changed(refutation(self.own, claim), how="self", now=now)
            case Verdict.OUTBID:
                return self.raise_epoch(claim.incarnation.epoch, now=now)

    def _own_changed(self, claim: Claim, *, how: str, now: float) -> list[Effect]:
        before = self.own.status
        self.own = claim
        self._put(claim, now=now, changed=claim.status is not before)
        return [Spread(item=claim), self._changed(claim, before, source=self.me, how=how)]

    def _confirm(self, member: NodeId, accuser: NodeId) -> bool:
        row = self.rows.get(accuser)
        known = row is not None and row.live  # invented names must not hurry the verdict
        return known and self.suspicions.confirm(member, accuser)

    def _time_suspicion(self, claim: Claim, *, now: float) -> None:
        if claim.status is Status.SUSPECT:
            self.suspicions.start(claim.member, claim.incarnation, claim.accuser, members=len(self.live) + 1, now=now)
        else:
            self.suspicions.cancel(claim.member)

    def _put(self, claim: Claim, *, now: float, changed: bool) -> None:
        """Write the row, and keep the live list, the index and the forgetting in step with it."""
        row = self.rows.get(claim.member)
        was_live = row is not None and row.live
        live = claim.status in LIVE
        verdict_at = now - claim.age_s
        if row is None:
            row = self.rows[claim.member] = Row(claim, now, now if live else verdict_at, verdict_at, now)
        else:
            if not live and not was_live and claim.incarnation == row.claim.incarnation:
                verdict_at = min(verdict_at, row.verdict_at)
            if row.claim.status is Status.ALIVE or claim.status is Status.ALIVE:
                row.vouched_at = now
            if _identity(row.claim) != _identity(claim):
                row.known_at = now
            row.claim, row.verdict_at = claim, verdict_at
            if changed:
                row.changed_at = now
        self._index.put(("", claim.member), claim_digest(claim))
        if claim.member == self.me:
            return
        if claim.status is Status.DEAD:
            self.dead.setdefault(claim.member)
        else:
            self.dead.pop(claim.member, None)
        if live:
            self._forget.cancel(claim.member)
        else:
            self._forget.set(claim.member, verdict_at + self._config.sync.forget_after_s)
        if live and not was_live:
            insort(self.live, claim.member)
        elif was_live and not live:
            del self.live[bisect_left(self.live, claim.member)]

    def _refuse(self, reason: str) -> list[Effect]:
        self.refused[reason] = self.refused.get(reason, 0) + 1
        return []

    def _forget_member(self, member: NodeId) -> Report:
        """Drop the row of a member that is DEAD or LEFT."""
        claim = self.rows.pop(member).claim
        self.dead.pop(member, None)
        self._index.drop(("", member))
        change = self._change(claim, claim.status, source=self.me, how="timer")
        return Report(event=replace(change, after=None))

    def _changed(self, claim: Claim, before: Status | None, *, source: NodeId, how: str) -> Report:
        return Report(event=self._change(claim, before, source=source, how=how))

    def _change(self, claim: Claim, before: Status | None, *, source: NodeId, how: str) -> MemberChanged:
        return MemberChanged(
            member=claim.member,
            before=before,
            after=claim.status,
            incarnation=claim.incarnation,
            address=claim.address,
            accuser=claim.accuser,
            source=source,
            how=how,
        )


def _identity(claim: Claim) -> tuple[object, ...]:
    """Return what a Refutation leaves out."""
    return (claim.incarnation.epoch, claim.address, claim.protocol_min, claim.protocol_max)


def _is_urgent(claim: Claim, before: Claim | None) -> bool:
    """Whether *claim*, which replaces *before*, changes what users see: a doubt does not, nor does a refutation of what we never
    believed; after a cut of two halves each member has to refute, and half of us need not hurry to tell."""
    if claim.status is Status.SUSPECT:
        return False
    return before is None or (claim.status, claim.incarnation.epoch) != (before.status, before.incarnation.epoch)
