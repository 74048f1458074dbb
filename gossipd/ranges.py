"""Numbers within their ranges: one check and one wording, for the daemon's settings, and for what a client's caller gives."""

import math
from typing import Any

from gossipd.errors import ConfigError

SECONDS_MAX = 1e9
"""The longest time that may be asked for, 30 years: more than anybody waits, and less than sockets and threads refuse."""


def in_range(value: object, least: float, most: float) -> bool:
    """Return whether *value* is a number, no bool, from *least* to *most*; NaN is not, and infinity only if *most* is."""
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def check_ranges(section: str, settings: Any, **expected: tuple[float, float]) -> None:
    """Raise ConfigError for the first field outside its inclusive range."""
    for name, (least, most) in expected.items():
        value = getattr(settings, name)
        if not in_range(value, least, most):
            span = f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
            raise ConfigError(f"{section}.{name}={value!r}, expected {span}")


def check_seconds(name: str, value: object, *, zero: bool = False, most: float = SECONDS_MAX) -> float:
    """Return *value*, seconds above 0, or 0 if *zero*, up to *most*. Raises: ValueError."""
    if not in_range(value, 0, most) or (value == 0 and not zero):
        least = "seconds of 0 or more" if zero else "seconds above 0"
        raise ValueError(f"{name}={value!r}, expected {least}" + (f", at most {most:.0e}" if most < math.inf else ""))
    assert isinstance(value, int | float)
    return value
