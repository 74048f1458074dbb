"""Workers that share shards by consistent hashing: all agree, and who leaves hands on its own shards and no other's."""

from contextlib import ExitStack

import pytest

from docs.howto.examples.worker import SHARDS
from simulations.reality.cluster import Cluster, wait_until
from tests.examples.programs import Program

pytestmark = pytest.mark.slow

NAMES = ("ann", "bob", "cy", "dee")

Shares = dict[str, set[str]]


def test_who_leaves_hands_on_its_shards_and_no_others_move(cluster: Cluster) -> None:
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(Program("worker.py", cluster[f"n{1 + number % 3}"], name))
            for number, name in enumerate(NAMES)
        }
        all_four = wait_until(lambda: _shares(workers), what="four share all shards")
        workers["ann"].process.terminate()
        assert workers["ann"].process.wait() == 0
        del workers["ann"]
        without_ann = wait_until(lambda: _shares(workers), what="three share all shards")
        assert _moved(all_four, without_ann) == all_four["ann"]
        workers["bob"].process.kill()
        del workers["bob"]
        without_bob = wait_until(lambda: _shares(workers), what="two share all shards")
        assert _moved(without_ann, without_bob) == without_ann["bob"]
    for shares in (all_four, without_ann, without_bob):
        fair = len(SHARDS) / len(shares)
        assert all(0.6 * fair < len(share) < 1.5 * fair for share in shares.values()), shares


def _shares(workers: dict[str, Program]) -> Shares:
    """Return what each worker says it has, as soon as every one has some and every shard is had by one; empty before."""
    shares = {name: _last_share(worker) for name, worker in workers.items()}
    all_had = [shard for share in shares.values() for shard in share]
    return shares if all(shares.values()) and sorted(all_had) == sorted(SHARDS) else {}


def _last_share(worker: Program) -> set[str]:
    return set(worker.lines[-1].partition(": ")[2].split()) if worker.lines else set()


def _moved(before: Shares, after: Shares) -> set[str]:
    return {shard for name, share in after.items() for shard in share - before[name]}
