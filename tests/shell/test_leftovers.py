"""A running daemon does not hold what only its imports needed."""

import gc
import linecache
import sys
from dataclasses import FrozenInstanceError

import pytest

from gossipd.records import Service
from gossipd.shell.leftovers import drop_leftovers


def test_no_class_is_held_that_a_frozen_one_replaced() -> None:
    drop_leftovers()
    name = (Service.__module__, Service.__qualname__)
    classes = [each for each in gc.get_objects() if isinstance(each, type)]
    assert [each for each in classes if (each.__module__, each.__qualname__) == name] == [Service]


@pytest.mark.parametrize("name", ["port", "unknown"])
def test_what_is_frozen_stays_frozen(name: str) -> None:
    drop_leftovers()
    service = Service(name="web", id="web", port=80)
    with pytest.raises(FrozenInstanceError):
        setattr(service, name, 81)
    with pytest.raises(FrozenInstanceError):
        delattr(service, name)


def test_no_text_of_compiled_methods_is_held() -> None:
    linecache.cache["<made up>"] = (4, None, ["pass"], "<made up>")
    drop_leftovers()
    assert "<made up>" not in linecache.cache


def test_no_directory_that_imports_searched_is_held() -> None:
    sys.path_importer_cache["/made/up"] = None
    drop_leftovers()
    assert "/made/up" not in sys.path_importer_cache
