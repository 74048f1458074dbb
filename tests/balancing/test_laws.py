"""What holds for every balancer, whatever happens to the set and to the calls."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipd.balancing import Balancer, Endpoint
from gossipd.balancing.endpoint import Key
from gossipd.errors import NoInstance
from tests.balancing.builders import ALL, an_endpoint, endpoints, fed

every = pytest.mark.parametrize("name", ALL)
weights = st.one_of(st.just(0), st.integers(1, 5), st.just(65_535))
places = st.sampled_from([None, "a", "b"])
one = st.builds(an_endpoint, st.sampled_from("pqrstuvw"), weight=weights, ready=st.booleans(), zone=places)
sets = st.lists(one, max_size=8, unique_by=lambda endpoint: endpoint.node)
few = settings(max_examples=60, deadline=None)


class Clock:
    """A history of picks and calls at times that only grow."""

    def __init__(self, balancer: Balancer) -> None:
        self.balancer = balancer
        self.now = 0.0
        self.begun: list[Endpoint] = []

    def pick(self, key: int, avoid: frozenset[Key] = frozenset()) -> Endpoint:
        """Pick, begin a call, and end an older one."""
        self.now += 0.01
        endpoint = self.balancer.pick(key, now=self.now, avoid=avoid)
        self.balancer.begin(endpoint, now=self.now)
        self.begun.append(endpoint)
        if key % 3:
            self.balancer.end(self.begun.pop(0), now=self.now, latency_s=key % 7 / 100 or None, failed=key % 5 == 0)
        return endpoint


def allowed(known: list[Endpoint]) -> list[Endpoint]:
    """Return who may be picked, in the words of the law."""
    ready = [endpoint for endpoint in known if endpoint.ready]
    return ready if all(endpoint.weight == 0 for endpoint in ready) else [one for one in ready if one.weight]


@every
@few
@given(st.lists(sets, min_size=1, max_size=4), st.data())
def test_only_a_current_ready_endpoint_with_a_weight_is_picked(
    name: str, versions: list[list[Endpoint]], data: st.DataObject
) -> None:
    history = Clock(ALL[name](1))
    for known in versions:
        history.balancer.update(known)
        may = allowed(known)
        avoid = (
            frozenset(data.draw(st.sets(st.sampled_from([one.key for one in known])))) if known else frozenset[Key]()
        )
        for key in range(12):
            if not may:
                with pytest.raises(NoInstance):
                    history.pick(key)
                continue
            assert history.pick(key) in may
            picked = history.pick(key, avoid)
            assert picked in may
            assert picked.key not in avoid or all(one.key in avoid for one in may)


@every
@few
@given(st.lists(sets, min_size=1, max_size=3), st.integers(0, 9))
def test_equal_seeds_and_equal_sets_in_any_order_give_equal_picks(
    name: str, versions: list[list[Endpoint]], seed: int
) -> None:
    one, other = Clock(ALL[name](seed)), Clock(ALL[name](seed))
    for known in versions:
        shuffled = list(known)
        Random(seed).shuffle(shuffled)
        one.balancer.update(known)
        other.balancer.update(shuffled)
        if allowed(known):
            assert [one.pick(key).key for key in range(20)] == [other.pick(key).key for key in range(20)]


@every
def test_an_update_that_changes_nothing_changes_no_pick(name: str) -> None:
    known = endpoints(5, weights=(1, 2))
    one, other = Clock(fed(ALL[name](3), known)), Clock(fed(ALL[name](3), known))
    for key in range(40):
        other.balancer.update(reversed(known))
        assert one.pick(key) == other.pick(key)


@every
def test_everybody_gets_work(name: str) -> None:
    history = Clock(fed(ALL[name](3), endpoints(6)))
    assert len({history.pick(key).node for key in range(400)}) == 6


@every
def test_the_newest_facts_of_an_endpoint_are_returned(name: str) -> None:
    balancer = fed(ALL[name](3), [an_endpoint("ann")])
    moved = Endpoint(node="ann", id="web", address="10.9.9.9", port=81, metadata={"build": "2"})
    balancer.update([moved])
    assert balancer.pick("k", now=0.0) is moved


@every
def test_the_work_of_those_to_be_avoided_is_shared_by_all_others(name: str) -> None:
    """Not that the next in line gets it all."""
    history = Clock(fed(ALL[name](3), endpoints(5)))
    avoid = frozenset({("n00", "web"), ("n01", "web")})
    counts = Counter(history.pick(key, avoid).node for key in range(600))
    assert set(counts) == {"n02", "n03", "n04"}
    assert max(counts.values()) < 400


@every
def test_no_ready_instance_is_an_error_that_says_what_to_do(name: str) -> None:
    balancer = ALL[name](3)
    with pytest.raises(NoInstance, match="no instance is known: see with `gossipd services`"):
        balancer.pick("k", now=0.0)
    balancer.update([an_endpoint("ann", ready=False), an_endpoint("bob", ready=False)])
    with pytest.raises(NoInstance, match="none of the 2 known instances is ready: wait for one, or ask `gossipd why"):
        balancer.pick("k", now=0.0)


@every
def test_the_same_instance_twice_is_an_error_and_changes_nothing(name: str) -> None:
    balancer = fed(ALL[name](3), [an_endpoint("ann")])
    with pytest.raises(ValueError, match="node='bob' id='web' twice, expected each instance once"):
        balancer.update([an_endpoint("bob"), an_endpoint("bob", weight=2)])
    assert balancer.pick("k", now=0.0).node == "ann"


@every
def test_calls_of_an_endpoint_that_has_gone_are_no_error(name: str) -> None:
    ann, bob = an_endpoint("ann"), an_endpoint("bob")
    balancer = fed(ALL[name](3), [ann, bob])
    balancer.begin(ann, now=0.0)
    balancer.update([bob])
    balancer.begin(ann, now=0.0)
    balancer.end(ann, now=1.0, latency_s=1.0)
    balancer.update([ann, bob])
    balancer.end(ann, now=1.0)  # of the call that began in its first life
    assert {balancer.pick(key, now=2.0).node for key in range(50)} <= {"ann", "bob"}
