"""Takes its share of the shards; every worker works out for itself who owns which, and all agree: python worker.py ann"""

import signal
import sys
import time

from gossipd.balancing import RingHash
from gossipd.client import Discovery
from gossipd.errors import NoInstance

SHARDS = [f"shard-{number}" for number in range(240)]


def main(name: str) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    ring = RingHash()
    with (
        Discovery() as discovery,
        discovery.registered("worker", id=name, port=9, drain_s=0),  # nobody calls a worker: any port, and no drain
        discovery.mirror("worker") as mirror,
    ):
        for _, workers in mirror.changes():
            ring.update(workers)
            mine = [shard for shard in SHARDS if owner(ring, shard) == name]
            print(f"{name} has {len(mine)}:", *mine, flush=True)


def owner(ring: RingHash, shard: str) -> str | None:
    try:
        return ring.pick(shard, now=time.monotonic()).id
    except NoInstance:  # maintenance, say
        return None


if __name__ == "__main__":
    main(sys.argv[1])
