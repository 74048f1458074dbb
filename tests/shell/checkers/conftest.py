import gc
import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """No descriptor and no child process may outlive a test."""
    gc.collect()  # what tests elsewhere left to it is not ours
    before = _descriptors()
    yield
    assert _descriptors() == before
    gc.collect()  # what is only kept alive by a cycle warns here, not in somebody else's test
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def _descriptors() -> list[str]:
    """Return the numbers of our descriptors, but for that of the folder that is being read."""
    folder = os.open("/proc/self/fd", os.O_RDONLY)
    try:
        return [name for name in sorted(os.listdir(folder)) if name != str(folder)]
    finally:
        os.close(folder)
