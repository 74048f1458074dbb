"""A hostile cluster for one node, drawn from a seed: valid key, extreme values, any order of inputs, any times.

`Attack.step` gives the node one input and checks what it asks for; `check` compares its books with a recount.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random

from gossipd.config import LOCAL
from gossipd.core.items import claim_digest, record_digest
from gossipd.core.membership.precedence import rank
from gossipd.crypto.keyring import Keyring
from gossipd.crypto.seal import AcceptorSeal, InitiatorSeal, Opener, Sealer, SeenStreams
from gossipd.errors import PeerError, RequestError
from gossipd.ids import Address, Incarnation, NodeId, Version
from gossipd.limits import DATAGRAM_BYTES_MAX, INTEGER_MAX, QUEUE_MESSAGES_MAX, STREAM_FRAME_BYTES_MAX, SYNC_BUCKETS_MAX
from gossipd.node.actions import Action, CloseStream, OpenStream, Publish, RunCheck, SendDatagram, SendStream
from gossipd.node.node import Node
from gossipd.node.view import KEPT, Holder
from gossipd.records import Claim, Content, NodeInfo, Opaque, Record, Service, Status
from gossipd.wire.codec import decode_envelope_untrusted, decode_stream_untrusted, encode_message, join_envelope
from gossipd.wire.frames import FrameReader, frame
from gossipd.wire.messages import (
    Ack,
    Announce,
    Fetch,
    Message,
    Nack,
    Ping,
    PingRequest,
    StreamMessage,
    SyncDiff,
    SyncItems,
    SyncOpen,
    Twin,
)
from gossipd.wire.records import make_record
from tests.node.living import any_command

KEY, NEXT_KEY = bytes(range(32)), bytes(range(1, 33))
BOTH = Keyring((KEY, NEXT_KEY))
ME, HOME = NodeId("n0"), Address("10.0.0.1", 7_950)
NAMES = [ME, *(NodeId(f"n{number}") for number in range(1, 7)), NodeId("z" * 63)]
ADDRESSES = [
    HOME,
    *(Address("10.0.0.1", 7_950 + number) for number in range(1, 7)),
    Address("2001:db8::1", 1),
    Address("255.255.255.255", 65_535),
]
EPOCHS = [0, 1, 999, *[1_000] * 20, *range(1_001, 1_008), INTEGER_MAX - 1, INTEGER_MAX]
COUNTS = [*[0] * 8, *range(1, 12), 2**52, INTEGER_MAX - 1, INTEGER_MAX]
AGES = [0, 0, 1, 86_399, 86_400, 2**32 - 1]
PAUSES = [*[0.0, 0.001, 0.004, 0.01, 0.05] * 6, *[0.2, 0.5, 1.0] * 3, 5.0, 40.0, 4_000.0, 100_000.0, -0.5]
HOLDERS = (KEPT, Holder(kind="connection", connection=1))


class End:
    """The peer's end of a stream, whichever side opened it."""

    def __init__(self, seal: AcceptorSeal | InitiatorSeal, *, may_speak: bool) -> None:
        self.seal = seal
        self.reader = FrameReader(STREAM_FRAME_BYTES_MAX)
        self.may_speak = may_speak
        """Who opened a stream has the key of a second frame only after the answer; who accepted, after the opening."""
        self.answered = False
        self.said = 0
        self.sender: NodeId = NAMES[1]


class Attack:
    """One node under attack; everything follows from *seed*."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.now = self.rng.choice([0.0, 1e6])
        self.node = Node(
            LOCAL,
            me=ME,
            epoch=1_000,
            address=HOME,
            rng=Random(seed + 1),
            entropy=Random(seed + 2).randbytes,
            now=self.now,
            keyring=BOTH,
            seeds=[ADDRESSES[1], HOME],
        )
        self.history: list[Action] = []
        self.events: Counter[str] = Counter()
        self._sealers = [Sealer(BOTH, "gossipd", self.rng.randbytes(12)) for _ in range(3)]
        self._opener = Opener(BOTH, "gossipd", b"nobody's one")
        self._ends: dict[int, End] = {}
        self._connecting: list[int] = []
        self._datagrams: list[bytes] = [b""]
        self._sequences = [0, 2**32 - 1]
        self._asked: list[tuple[int, NodeId]] = []
        self._hashes = [bytes(8)]
        self._runs: list[int] = []
        self._take(self.node.start(now=self.now))

    # -------------------------------------------------------------------------------------------------------- the inputs

    def step(self) -> None:
        """Give the node one input."""
        self.now += self.rng.choice(PAUSES)
        act: Callable[[], None] = self.rng.choices(
            [self._say, self._answer, self._noise, self._tick, self._accept, self._talk, self._network, self._command],
            weights=[40, 20, 10, 25, 6, 40, 10, 6],
        )[0]
        act()

    def _say(self) -> None:
        messages = [self._message() for _ in range(self.rng.choice([1, 1, 2, 5, 12]))]
        sender = self.rng.choice(NAMES)
        payload = join_envelope(sender, [encode_message(message) for message in messages])
        if self.rng.random() < 0.1:
            payload = self._damaged(payload)
        if len(payload) <= 1_359:
            data = self.rng.choice(self._sealers).seal(payload)
            self._datagrams.append(data)
            source = self.rng.choice([*[ADDRESSES[NAMES.index(sender)]] * 20, *ADDRESSES])
            self._take(self.node.receive_datagram(data, source, now=self.now))
            self._about_us(messages, sender, whole=payload)

    def _answer(self) -> None:
        """Let somebody whom the node pinged answer, as it should be."""
        for sequence, target in self._asked[-3:]:
            if target in NAMES[1:]:
                data = self._sealers[0].seal(join_envelope(target, [encode_message(Ack(sequence=sequence))]))
                self._take(self.node.receive_datagram(data, ADDRESSES[NAMES.index(target)], now=self.now))

    def _noise(self) -> None:
        data = self.rng.choice(self._datagrams[-50:])
        match self.rng.randrange(4):
            case 0:
                data = self.rng.randbytes(self.rng.choice([0, 1, 24, 25, 41, 200, 1_400, 1_401]))
            case 1:
                data = self._damaged(data)
        self._receive(data)

    def _tick(self) -> None:
        """Let every deadline come that is due: each must move on."""
        self.now = max(self.now, min(self.node.next_deadline(), self.now + 60.0))
        for _ in range(4):
            if self.node.next_deadline() > self.now:
                return
            self._take(self.node.handle_timer(now=self.now))
        raise AssertionError(f"next_deadline {self.node.next_deadline()} stays at or before {self.now}")

    def _accept(self) -> None:
        stream, actions = self.node.accept_stream(self.rng.choice(ADDRESSES), now=self.now)
        if stream is not None:
            seal = InitiatorSeal(BOTH, "gossipd", self.rng.randbytes(12), SeenStreams())
            self._ends[stream] = End(seal, may_speak=True)
            self._ends[stream].sender = self.rng.choice(NAMES)
        self._take(actions)

    def _talk(self) -> None:
        """Say something on a stream, in pieces; sometimes noise."""
        stream = self.rng.choice([*(number for number, end in self._ends.items() if end.may_speak), 99_999])
        data = self.rng.randbytes(self.rng.choice([1, 4, 60]))
        end = self._ends.get(stream)
        if end is not None and self.rng.random() < 0.95:
            sender = end.sender if self.rng.random() < 0.97 else self.rng.choice(NAMES)
            payload = join_envelope(sender, [encode_message(self._next_message(end))])
            data = frame(end.seal.seal(self._damaged(payload) if self.rng.random() < 0.05 else payload))
            end.may_speak = end.answered
            end.said += 1
        for part in self._cut(data):
            self._take(self.node.receive_stream(stream, part, now=self.now))

    def _network(self) -> None:
        """A stream that the node opened is connected, or any stream ends."""
        if self._connecting and self.rng.random() < 0.8:
            self._take(self.node.stream_opened(self._connecting.pop(), now=self.now))
        elif self._ends:
            stream = self.rng.choice(list(self._ends))
            del self._ends[stream]
            self._connecting = [number for number in self._connecting if number != stream]
            error = self.rng.choice([None, "connection refused"])
            self._take(self.node.stream_closed(stream, now=self.now, error=error))

    def _command(self) -> None:
        with suppress(RequestError):
            self._one_command()

    def _one_command(self) -> None:
        rng, node, now = self.rng, self.node, self.now
        id = rng.choice("abc")
        match rng.randrange(12):
            case 0 | 1:
                service = Service(name="web", id=id, port=rng.choice([1, 65_535]), metadata=self._metadata())
                self._take(node.register(service, holder=rng.choice(HOLDERS), now=now)[1])
            case 2:
                self._take(node.deregister(id, now=now))
            case 3:
                self._take(node.connection_lost(1, now=now))
            case 4:
                self._take(node.set_labels([("zone", rng.choice("xy"))], now=now))
            case 5:
                self._take(node.sync_with(rng.choice(ADDRESSES), now=now)[1])
            case 6:
                node.set_keyring(rng.choice([BOTH, Keyring((NEXT_KEY, KEY))]), now=now)
            case 7:
                node.note_lag(1.0, now=now)
                node.peer_book(now=now)
            case 8 | 9 | 10:
                self._take(any_command(rng, node, self._runs[-5:], now=now))
            case _:
                if rng.random() < 0.05:
                    self._take(node.leave(now=now))

    def _receive(self, data: bytes) -> None:
        self._take(self.node.receive_datagram(data, self.rng.choice(ADDRESSES), now=self.now))

    def _damaged(self, data: bytes) -> bytes:
        damaged = bytearray(data or b"\0")
        for _ in range(self.rng.choice([1, 1, 3])):
            damaged[self.rng.randrange(len(damaged))] = self.rng.randrange(256)
        return bytes(damaged[: self.rng.choice([len(damaged), self.rng.randint(0, len(damaged))])])

    def _cut(self, data: bytes) -> list[bytes]:
        at = sorted(self.rng.randint(0, len(data)) for _ in range(self.rng.choice([0, 0, 1, 3])))
        return [part for start, end in zip([0, *at], [*at, len(data)], strict=True) if (part := data[start:end])]

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return () if self.rng.random() < 0.7 else (("key", "v" * 1_024), ("other", "w" * 1_024))

    def _claim(self) -> Claim:
        member, status = self.rng.choice(NAMES), self.rng.choice(list(Status))
        own = status in (Status.ALIVE, Status.LEFT)
        return Claim(
            member=member,
            incarnation=Incarnation(self.rng.choice(EPOCHS), self.rng.choice(COUNTS)),
            status=status,
            address=self.rng.choice(ADDRESSES) if self.rng.random() < 0.5 else ADDRESSES[NAMES.index(member)],
            accuser=member if own else self.rng.choice(NAMES),
            protocol_min=self.rng.choice([1, 1, 1, 2]),
            protocol_max=255,
            age_s=0 if status is Status.ALIVE else self.rng.choice(AGES),
        )

    def _record(self) -> Record:
        seq = self.rng.choice([1, 2, 3, 50, 2**52, INTEGER_MAX])
        floor = min(seq - 1, self.rng.choice([0, 0, 1, seq - 1]))
        id = self.rng.choice("abcd")
        chosen: tuple[str, Content | None] = self.rng.choice(
            [
                (
                    f"service/{id}",
                    Service(name=self.rng.choice(["web", "db"]), id=id, port=1, metadata=self._metadata()),
                ),
                (f"service/{id}", None),
                ("node", NodeInfo(software="x")),
                (f"flag/{id}", Opaque("flag", b"\xff" * self.rng.choice([1, self.rng.randrange(900), 3_000]))),
            ]
        )
        record = make_record(self.rng.choice(NAMES), Version(self.rng.choice(EPOCHS), seq), floor, *chosen)
        self._hashes.append(record_digest(record).to_bytes(8))
        return record

    def _small_record(self) -> Record:
        while len((record := self._record()).encoded) > 1_000:
            pass
        return record

    def _message(self) -> Message:
        rng, name = self.rng, self.rng.choice(NAMES)
        sequence = rng.choice(self._sequences[-20:])
        version = Version(rng.choice(EPOCHS), rng.choice([1, 5, INTEGER_MAX]))
        where = rng.choice(ADDRESSES)
        makers: list[Callable[[], Message]] = [
            lambda: Ping(sequence=sequence, target=name),
            lambda: Ack(sequence=sequence),
            lambda: Nack(sequence=sequence),
            lambda: PingRequest(sequence=sequence, target=name, window_ms=rng.choice([1, 300, 600_000])),
            self._claim,
            self._claim,
            self._claim,
            self._small_record,
            self._small_record,
            lambda: Announce(owner=name, version=version, digest=rng.choice(self._hashes)),
            lambda: Twin(incarnation=Incarnation(rng.choice(EPOCHS), 0), address=where),
        ]
        return rng.choice(makers)()

    def _next_message(self, end: End) -> StreamMessage:
        """What would come next in a sync, or anything."""
        opens = [SyncOpen, SyncItems, SyncItems, Fetch]
        answers = [SyncDiff, SyncItems, SyncItems, SyncItems]
        wanted = (opens if isinstance(end.seal, InitiatorSeal) else answers)[min(end.said, 3)]
        in_turn = self.rng.random() < 0.8
        while not isinstance(message := self._stream_message(), wanted) and in_turn:
            pass
        return message

    def _stream_message(self) -> StreamMessage:
        rng = self.rng
        some = b"".join(rng.choice(self._hashes) for _ in range(rng.choice([1, 2, 40])))
        item: list[Callable[[], Claim | Record]] = [self._claim, self._record]
        items = tuple(rng.choice(item)() for _ in range(rng.choice([0, 1, 6])))
        buckets = tuple(sorted({rng.choice([0, 1, 7, 12, 15, rng.choice([3, 4_095])]) for _ in range(3)}))
        hashes = tuple(rng.choice([b"", some]) for _ in buckets)
        sums = rng.choice([bytes(8), rng.randbytes(8)]) * rng.choice([1, 2, 16, 4_096])
        makers: list[Callable[[], StreamMessage]] = [
            lambda: Ping(sequence=rng.choice(self._sequences[-20:]), target=rng.choice(NAMES[:2])),
            lambda: Ack(sequence=rng.choice(self._sequences[-20:])),
            lambda: SyncOpen(buckets=sums),
            lambda: SyncDiff(buckets=buckets, hashes=hashes, last=rng.random() < 0.7),
            lambda: SyncItems(items=items, last=rng.random() < 0.7),
            lambda: SyncItems(items=items),
            lambda: Fetch(digests=some),
        ]
        return rng.choice(makers)()

    # -------------------------------------------------------------------------------------------------------- the checks

    def _take(self, actions: Sequence[Action]) -> None:
        """Check that a peer can read all that goes out; follow the node's streams."""
        self.history += actions
        for action in actions:
            match action:
                case SendDatagram():
                    assert len(action.data) <= DATAGRAM_BYTES_MAX
                    assert action.targets
                    opened = self._opener.open_untrusted(action.data)  # each counter once, or this raises
                    for message in decode_envelope_untrusted(opened.payload).messages:
                        if isinstance(message, Ping | PingRequest):
                            self._sequences.append(message.sequence)
                            self._asked.append((message.sequence, message.target))
                    self._datagrams.append(action.data)
                case OpenStream():
                    assert action.stream not in self._ends
                    seal = AcceptorSeal(BOTH, "gossipd", self.rng.randbytes(12), SeenStreams())
                    self._ends[action.stream] = End(seal, may_speak=False)
                    self._connecting.append(action.stream)
                case SendStream():
                    end = self._ends[action.stream]
                    for part in end.reader.feed(action.data):
                        _, said = decode_stream_untrusted(end.seal.open_untrusted(part))
                        self._sequences += [said.sequence] if isinstance(said, Ping) else []
                        end.may_speak = end.answered = True
                case RunCheck():
                    self._runs.append(action.run)
                case CloseStream():
                    del self._ends[action.stream]
                    self._connecting = [number for number in self._connecting if number != action.stream]
                case Publish():
                    self.events[type(action.event).__name__] += 1

    def _about_us(self, messages: Sequence[Message], sender: NodeId, *, whole: bytes) -> None:
        """Our own claim outranks what was just said about us, but for a living twin and what cannot be outbid."""
        try:
            said = decode_envelope_untrusted(whole).messages
        except PeerError:
            return
        own = self.node._m.table.own
        for claim in said:
            if not isinstance(claim, Claim) or claim.member != ME or sender == ME or self.node.leaving:
                continue
            twin = claim.address != HOME and claim.status in (Status.ALIVE, Status.SUSPECT)
            if not twin and claim.incarnation.epoch < INTEGER_MAX:
                assert rank(own) >= rank(claim), (own, claim)

    def check(self) -> None:
        """Compare the node's books with a recount, and look through every door."""
        m = self.node._m
        assert self.node.next_deadline() == self.node._next_deadline()
        expected: dict[tuple[str, str], int] = {
            ("", name): claim_digest(row.claim) for name, row in m.table.rows.items()
        }
        owners = m.catalog._owners
        for owner, row in owners.items():
            expected |= {(owner, key): record_digest(record) for key, record in row.records.items()}
            assert not row.records.keys() & row.lingering.keys()
            held = [*row.records.values(), *row.lingering.values()]
            assert row.bytes == sum(len(record.encoded) for record in held)
        assert m.items._digest_of == expected
        sums = [0] * SYNC_BUCKETS_MAX
        for digest in expected.values():
            sums[digest >> 52] ^= digest
        assert m.items.xor_buckets(SYNC_BUCKETS_MAX) == sums
        assert len(m.catalog) == sum(map(len, owners.values()))
        assert m.catalog.bytes == sum(row.bytes for row in owners.values())
        others = {name: row.claim.status for name, row in m.table.rows.items() if name != ME}
        assert m.table.live == sorted(name for name, status in others.items() if status <= Status.SUSPECT)
        assert set(m.table.dead) == {name for name, status in others.items() if status is Status.DEAD}
        assert set(m.table.suspicions._open) == {name for name, status in others.items() if status is Status.SUSPECT}
        assert len(m.spreader.membership) <= QUEUE_MESSAGES_MAX
        assert len(m.spreader.catalog) <= QUEUE_MESSAGES_MAX
        assert set(m.relays._open) == set(m.relays._ends._at)
        ours = {key: record.version for key, record in owners[ME].records.items() if record.content is not None}
        assert ours == {key: record.version for key, record in m.author._live.items()}
        self._look()

    def _look(self) -> None:
        view, now = self.node.view, self.now
        view.services(now=now)
        view.info(now=now)
        view.statistics(now=now)
        view.trust(now=now)
        for row in view.members(now=now):
            view.why(row.name, now=now)
        for instance in view.instances(now=now):
            view.why(f"{instance.node}/{instance.id}", now=now)
