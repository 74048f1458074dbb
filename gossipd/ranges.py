"""Numbers of settings within their ranges: one check and one wording, for the daemon's settings and for a client's."""

import math
from typing import Any

from gossipd.errors import ConfigError


def check_ranges(section: str, settings: Any, **expected: tuple[float, float]) -> None:
    """Raise ConfigError for the first field outside its inclusive range; NaN is outside every range, infinity is no maximum."""
    for name, (least, most) in expected.items():
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            span = f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
            raise ConfigError(f"{section}.{name}={value!r}, expected {span}")
