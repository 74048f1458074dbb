"""Laws between nodes, whatever the network does to messages: loss, duplicates, any order, then syncs alone."""

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gossipd.config import LOCAL
from gossipd.errors import RequestError
from gossipd.node.view import KEPT
from tests.network import Network, a_service, address_of, instances, members

SIZE = 4
FAST_SYNCS = replace(LOCAL, sync=replace(LOCAL.sync, interval_s=1.0))

commands = st.lists(
    st.tuples(st.integers(0, SIZE - 1), st.sampled_from(["a", "b", "c"]), st.integers(0, 4), st.floats(0.0, 0.5)),
    max_size=30,
)
"""(node, instance id, port or 0 for deregister, seconds until the next)."""


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32),
    loss=st.floats(0, 1),
    doubled=st.floats(0, 1),
    delay_s=st.floats(0.0005, 0.2),
    do=commands,
)
def test_after_any_loss_duplication_and_disorder_syncs_alone_make_all_views_equal_and_right(
    seed: int, loss: float, doubled: float, delay_s: float, do: list[tuple[int, str, int, float]]
) -> None:
    net = Network(seed=seed, config=FAST_SYNCS, loss=loss, doubled=doubled, delay_s=delay_s)
    nodes = [net.add(number, seeds=(address_of(0),) if number else ()) for number in range(SIZE)]
    truth: dict[str, tuple[int, str]] = {}
    for number, id, port, pause_s in do:
        node, key = nodes[number], f"n{number}/{id}"
        if port:
            net.do(node, node.register(a_service(id=id, port=port), holder=KEPT, now=net.now)[1])
            truth[key] = (port, "passing")
        else:
            try:
                net.do(node, node.deregister(id, now=net.now))
            except RequestError:
                assert key not in truth
            truth.pop(key, None)
        net.run(pause_s)
    net.loss, everybody = 1.0, {f"n{number}": "alive" for number in range(SIZE)}
    net.run_until(
        lambda: all(instances(node, net.now) == truth and members(node, net.now) == everybody for node in nodes),
        within_s=120,
    )
