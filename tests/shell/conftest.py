from collections.abc import Iterator

import pytest

from tests.shell.fakes import ReadableLog


@pytest.fixture
def readable() -> Iterator[ReadableLog]:
    made = ReadableLog()
    yield made
    made.close()
