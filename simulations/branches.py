"""Branches: a world that was costly to bring to some moment goes on from there in many ways, each with other luck.

Each branch is a forked process, which has the whole world without copying it until it writes. What happens in it follows from the
world and the branch's number alone, so that one is told again by bringing the world to the moment and calling `reseed`.
"""

import gc
import multiprocessing  # noqa: TID251  processes of ours alone: whoever calls `follow` waits for them
import warnings
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection  # noqa: TID251
from random import Random
from typing import TypeVar

from simulations import inside
from simulations.world import World

T = TypeVar("T")

_FORK = multiprocessing.get_context("fork")


class BranchFailed(Exception):
    """The process of a branch ended without a result; what went wrong it has printed."""


def reseed(world: World, branch: int) -> Random:
    """Let all that *world* draws from now on follow from its seed and *branch*; return what the caller is to draw from."""
    seed = f"{world.seed} branch {branch}"
    world.note(f"branch {branch}")
    world.rng.seed(f"{seed} story")
    world.network.reseed(f"{seed} network")
    for host in world.running():
        assert host.node is not None
        inside.machines(host.node).rng.seed(f"{seed} node {host.number}")
    return Random(f"{seed} caller")


def follow(branches: Iterable[int], what: Callable[[int], T]) -> list[T]:
    """Return ``what(branch)`` of each of *branches*, each in a process of its own that ends with it, one after another.

    What *what* changes, no other branch and not the caller sees; its results are pickled.
    Raises: BranchFailed.
    """
    gc.collect()
    gc.freeze()  # a collection in a branch would write to every object, and so copy them all
    try:
        return [_fork(branch, what) for branch in branches]
    finally:
        gc.unfreeze()


def _fork(branch: int, what: Callable[[int], T]) -> T:
    results, sender = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=_send, args=(sender, branch, what))
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # of threads, which numpy has: a branch takes none of their locks
        process.start()
    sender.close()
    try:
        result: T = results.recv()
    except EOFError:
        raise BranchFailed(f"branch {branch} ended without a result") from None
    finally:
        results.close()
        process.join()
    return result


def _send(sender: Connection, branch: int, what: Callable[[int], T]) -> None:
    """Be the process of *branch*."""
    sender.send(what(branch))
