"""Three daemons that agree, for the tests of a module; each example uses services of its own."""

from collections.abc import Iterator

import pytest

from simulations.reality.cluster import Cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        cluster.start_together(3)
        yield cluster
