"""Durations as people write them: a number of seconds, or Go's words for hours, minutes, seconds and milliseconds."""

import re
from math import fsum

from gossipd.validation import shown

_CHARACTERS_MAX = 32
_UNITS_S = {"h": 3_600.0, "m": 60.0, "s": 1.0}
_PART = r"([0-9]+(?:\.[0-9]+)?)(ms|h|m|s)"


def parse_duration(text: str) -> float | None:
    """Return the seconds in *text*, "10s", "1m30s", "250ms"; None if it is not a duration."""
    if len(text) > _CHARACTERS_MAX or not re.fullmatch(f"(?:{_PART})+", text):
        return None
    parts = re.findall(_PART, text)
    return fsum(float(number) / 1_000 if unit == "ms" else float(number) * _UNITS_S[unit] for number, unit in parts)


def read_duration(field: str, value: object, least: float, most: float) -> float:
    """Return the seconds that *value* means, a number of seconds or text such as "1m30s", from *least* to *most*.

    Raises: ValueError, "interval=-1, expected 0.1 to 86400 seconds".
    """
    expected = f"{field}={shown(value)}, expected {least:.12g} to {most:.12g} seconds"
    if isinstance(value, str):
        seconds = parse_duration(value)
        if seconds is None:
            raise ValueError(f"{expected}, as a number or as in '10s', '1m30s', '250ms'")
    elif isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(expected)
    else:
        seconds = float(value)
    if not least <= seconds <= most:
        raise ValueError(expected)
    return seconds
