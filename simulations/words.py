"""Values as words: a ground, a fault or a command as Kind:field=value..., with no letter that a shell minds, and back."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import NoneType
from typing import Any, get_args, get_type_hints

from gossipd.records import Health
from simulations.faults import Hosts
from simulations.network import Link

HOST_FIELDS = ("hosts", "groups", "sources", "targets", "seeds")


def written(part: Any) -> str:
    """Return *part*, a dataclass, as words; fields that have their default are left out."""
    return ":".join([type(part).__name__, *_pairs(part)])


def _pairs(part: Any) -> list[str]:
    values = [(field, getattr(part, field.name)) for field in fields(part)]
    return [
        f"{field.name}={_value(value)}" for field, value in values if field.default is MISSING or value != field.default
    ]


def _value(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return str(int(value))
        case tuple() if value and isinstance(value[0], tuple):
            return "/".join(map(_value, value))
        case tuple():
            return ",".join(map(str, value))
        case float():
            return repr(value)
        case Health():
            return value.name.lower()
        case Link():
            return ",".join(_pairs(value))
        case _:
            return str(value)


def read(text: str, kinds: Mapping[str, type], *, nodes: int) -> Any:
    """Return the value of one of *kinds* that `written` wrote, in a world of so many *nodes*. Raises: ValueError."""
    kind_name, *pairs = text.split(":")
    kind = kinds.get(kind_name)
    if kind is None:
        raise ValueError(f"{kind_name!r}, expected one of: {', '.join(kinds)}")
    try:
        return kind(**_fields(kind, pairs, text, nodes))
    except TypeError:
        raise ValueError(f"{text!r}, expected all of: {', '.join(get_type_hints(kind))}") from None


def _fields(kind: type, pairs: list[str], text: str, nodes: int) -> dict[str, Any]:
    types = get_type_hints(kind)
    values: dict[str, Any] = {}
    for pair in pairs:
        field, _, value = pair.partition("=")
        if field not in types or field in values:
            raise ValueError(f"{pair!r} in {text!r}, expected each once: {', '.join(types)}")
        try:
            values[field] = _parsed(types[field], value, nodes if field in HOST_FIELDS else None)
        except ValueError as error:
            raise ValueError(f"{pair!r} in {text!r}: {error}") from None
    return values


def _parsed(wanted: Any, text: str, below: int | None) -> Any:
    if NoneType in get_args(wanted):
        return None if text == "none" else _parsed(get_args(wanted)[0], text, below)
    if wanted == tuple[Hosts, ...]:
        return tuple(_parsed(Hosts, part, below) for part in text.split("/"))
    if wanted == Hosts:
        hosts = tuple(int(number) for number in text.split(",") if number)
        if below is not None and not all(0 <= host < below for host in hosts):
            raise ValueError(f"hosts {text}, expected numbers from 0 to {below - 1}")
        return hosts
    if wanted is bool:
        return bool(int(text))
    if wanted is Link:
        return Link(**_fields(Link, [pair for pair in text.split(",") if pair], text, 0))
    if wanted is Health:
        if text.upper() not in Health.__members__:
            raise ValueError(f"{text!r}, expected one of: {', '.join(Health.__members__).lower()}")
        return Health[text.upper()]
    if wanted in (int, float, str):
        return wanted(text)
    raise ValueError(f"{text!r}, expected to be left out")
