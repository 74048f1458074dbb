"""Three daemons that agree, for all tests of examples; each example uses services of its own, or leaves none."""

from collections.abc import Iterator

import pytest

from simulations.reality.cluster import Cluster

QUICK = "[catalog]\nconnection_grace_s = 0.3\n"
"""Who is killed is waited for no longer than that."""


@pytest.fixture(scope="package")
def cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        settings = cluster.directory / "settings.toml"
        settings.write_text(QUICK)
        cluster.start_together(3, options={"config": settings})
        yield cluster
