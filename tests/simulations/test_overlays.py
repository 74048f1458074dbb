"""What holds only what differs from the common state answers as what holds everything."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gossipd.core.items import ItemIndex, ItemKey
from gossipd.crypto.seal import _Session
from gossipd.ids import Address, NodeId
from gossipd.limits import REPLAY_WINDOW
from gossipd.node.peers import PeerBook
from simulations.inside import _SparseSession
from simulations.overlays import CommonItems, OverlaidBook, OverlaidIndex

OWNERS = ("", "ann", "bob")
KEYS = [(owner, key) for owner in OWNERS for key in ("x", "y", "z")]


def a_digest(number: int) -> int:
    return Random(number).getrandbits(64)


def two_indices(held: list[ItemKey]) -> tuple[ItemIndex, OverlaidIndex]:
    plain, overlaid = ItemIndex(), ItemIndex()
    for number, key in enumerate(held):
        plain.put(key, a_digest(number))
    overlaid.__class__ = OverlaidIndex
    assert isinstance(overlaid, OverlaidIndex)
    overlaid.take_over(CommonItems(plain))
    return plain, overlaid


@given(
    held=st.lists(st.sampled_from(KEYS), unique=True),
    changes=st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 20) | st.none()), max_size=30),
)
def test_an_overlaid_index_answers_as_one_that_holds_all(
    held: list[ItemKey], changes: list[tuple[ItemKey, int | None]]
) -> None:
    plain, overlaid = two_indices(held)
    digest_of = {key: a_digest(number) for number, key in enumerate(held)}
    for key, number in changes:
        owned = None if number is None else a_digest(1_000 + 21 * KEYS.index(key) + number)
        for index in (plain, overlaid):
            index.drop(key) if owned is None else index.put(key, owned)
        digest_of |= {} if owned is None else {key: owned}
        assert (len(overlaid), overlaid.root()) == (len(plain), plain.root())
    for count in (4, 4_096):
        assert overlaid.xor_buckets(count) == plain.xor_buckets(count)
        assert [overlaid.digests_in(at, count) for at in range(count)] == [
            plain.digests_in(at, count) for at in range(count)
        ]
    asked = [*digest_of.values(), *map(a_digest, range(40)), 2**64]
    assert [overlaid.key_of(digest) for digest in asked] == [plain.key_of(digest) for digest in asked]
    expected = 0
    for (owner, _), digest in plain._digest_of.items():
        expected ^= digest if owner else 0
    assert overlaid.catalog_root == expected


def test_what_one_index_holds_another_over_the_same_does_not() -> None:
    plain, one = two_indices(KEYS)
    other = ItemIndex()
    other.__class__ = OverlaidIndex
    assert isinstance(other, OverlaidIndex)
    other.take_over(one._common)
    one.put(KEYS[0], a_digest(99))
    one.drop(KEYS[1])
    assert one.root() != plain.root()
    assert (other.root(), len(other), other.key_of(a_digest(99))) == (plain.root(), len(KEYS), None)
    assert other.key_of(a_digest(1)) == KEYS[1]


NAMES = [NodeId(name) for name in ("ann", "bob", "cyd", "dan", "eve")]


@given(noted=st.lists(st.tuples(st.sampled_from(NAMES), st.integers(1, 3)), max_size=12))
def test_an_overlaid_book_tells_the_same_peers_in_the_same_order(noted: list[tuple[NodeId, int]]) -> None:
    met = {name: Address("10.0.0.1", port) for port, name in enumerate(NAMES[:4], 1)}
    plain, overlaid = (PeerBook([], age_most_s=100.0, now=5.0) for _ in range(2))
    for name in NAMES[1:4]:
        plain.note(name, met[name], now=5.0)
    overlaid.__class__ = OverlaidBook
    assert isinstance(overlaid, OverlaidBook)
    overlaid.take_over(met, me=NAMES[0], now=5.0)
    for at, (name, port) in enumerate(noted):
        for book in (plain, overlaid):
            book.note(name, Address("10.0.0.2", port), now=6.0 + at)
        assert overlaid.addresses() == plain.addresses()
        assert len(overlaid) == len(plain)
    live = [NAMES[2], NAMES[3]]
    assert overlaid.entries(live=live, now=20.0) == plain.entries(live=live, now=20.0)
    assert overlaid.addresses() == plain.addresses()


STEPS = (0, 1, 1, 1, 2, 5, REPLAY_WINDOW - 1, REPLAY_WINDOW, 3 * REPLAY_WINDOW)


@given(moves=st.lists(st.tuples(st.sampled_from(STEPS), st.booleans()), max_size=40))
def test_a_sparse_session_knows_what_a_dense_one_knows(moves: list[tuple[int, bool]]) -> None:
    dense, sparse = _Session(b"", None, 0), _SparseSession(b"", None, 0)
    counter = 0
    for step, back in moves:
        counter = max(0, counter + (-step if back else step))
        assert sparse.was_seen(counter) == dense.was_seen(counter)
        if not dense.was_seen(counter):
            sparse.mark(counter)
            dense.mark(counter)
        assert sparse.newest == dense.newest
