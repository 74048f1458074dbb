"""Rows are what readers see of the machines, and nothing once they have seen it."""

import gc
import tracemalloc

from gossipd.config import LOCAL
from gossipd.node.view import KEPT
from tests.network import Network, a_service


def test_rows_that_nobody_holds_any_more_take_no_memory() -> None:
    net = Network(config=LOCAL)
    (node,) = net.cluster(1)
    for number in range(100):
        net.do(node, node.register(a_service(id=f"web-{number}"), holder=KEPT, now=net.now)[1])
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(10):
            assert len(node.view.instances(now=net.now)) == 100
        assert tracemalloc.get_traced_memory()[0] < 50_000
    finally:
        tracemalloc.stop()
