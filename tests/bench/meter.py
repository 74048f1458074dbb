"""How fast something is that is done again and again, and the processor time of both ends."""

import time
from collections.abc import Iterable, Iterator

from tests.bench.machine import cpu_seconds
from tests.bench.results import Speed, percentile

SECONDS = 2.0
LAPS_MAX = 200_000


class Meter:
    """Times the body of `for _ in meter.laps():`, in sync and async code alike, for *seconds* or *laps_max* laps.

    *server*: processes that answer. *each*: requests in one lap. `speed` has the result; its client is this whole process.
    """

    def __init__(
        self, server: Iterable[int], *, seconds: float = SECONDS, laps_max: int = LAPS_MAX, each: int = 1
    ) -> None:
        self._server = list(server)
        self._seconds = seconds
        self._laps_max = laps_max
        self._each = each
        self.speed: Speed

    def laps(self) -> Iterator[None]:
        took: list[float] = []
        server_cpu, client_cpu = cpu_seconds(self._server), time.process_time()
        begun = last = time.perf_counter()
        while last - begun < self._seconds and len(took) < self._laps_max:
            yield
            now = time.perf_counter()
            took.append(now - last)
            last = now
        self.speed = Speed(
            requests=len(took) * self._each,
            seconds=last - begun,
            client_cpu_s=time.process_time() - client_cpu,
            server_cpu_s=cpu_seconds(self._server) - server_cpu,
            p50_s=percentile(took, 0.5) / self._each,
            p99_s=percentile(took, 0.99) / self._each,
        )
