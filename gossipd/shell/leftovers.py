"""What imports leave in memory and a running daemon never needs: half a megabyte in CPython 3.11."""

import gc
import linecache
import sys
from dataclasses import is_dataclass


def drop_leftovers() -> None:
    """Free the class that each frozen dataclass with slots replaced, and the text of methods that attrs compiled for trio.

    Those classes are held by the `__setattr__` and `__delattr__` of their successors, which take them for their own class. Python
    3.13 mends that as we do (python/cpython#105936); where it did, there is nothing to be done.
    """
    for name, module in list(sys.modules.items()):
        if name.startswith("gossipd."):
            for made in vars(module).values():
                if isinstance(made, type) and is_dataclass(made):
                    _hold_itself(made)
    linecache.clearcache()
    gc.collect()


def _hold_itself(made: type) -> None:
    for method in (vars(made).get("__setattr__"), vars(made).get("__delattr__")):
        if method is not None:
            held = dict(zip(method.__code__.co_freevars, method.__closure__ or (), strict=True))
            if "cls" in held:
                held["cls"].cell_contents = made
