"""Seconds as a caller gives them: checked before anything begins."""

from gossipd.errors import RequestError
from gossipd.ranges import check_seconds


def seconds(name: str, value: object, *, zero: bool = False) -> float:
    """Return *value*. Raises: RequestError `bad_request` unless it is a time that one can wait, above 0 or, if *zero*, 0."""
    try:
        return check_seconds(name, value, zero=zero)
    except ValueError as error:
        raise RequestError("bad_request", str(error)) from None


def seconds_or_none(name: str, value: object, *, zero: bool = False) -> float | None:
    """Return *value*, as `seconds`, or None."""
    return None if value is None else seconds(name, value, zero=zero)
