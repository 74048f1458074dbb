"""What the simulator costs: processor time of one core for a world of a thousand nodes, real sealed bytes and all checkers off."""

import time

from simulations.world import World

NODES = 1_000
VIRTUAL_S = 120.0
CRASHES = 10


def simulator_s() -> float:
    """Return processor seconds for VIRTUAL_S of NODES nodes, CRASHES of them crashing at 30 s, warm start included."""
    began = time.process_time()
    world = World(NODES, seed=1)
    world.start_warm()
    world.run(30.0)
    for number in range(CRASHES):
        world.stop(number * (NODES // CRASHES))
    world.run(VIRTUAL_S - 30.0)
    world.finish()
    return time.process_time() - began
