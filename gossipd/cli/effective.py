"""The effective settings as TOML that can be read back, each with the source that decided it. Keys are never shown."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from gossipd.cli.settings import Effective, Settings

COMMENT_COLUMN = 44


def as_toml(settings: Settings) -> str:
    """Return every setting, tables last; what has no value is a comment."""
    text = []
    for table, entries in groupby(settings.effective.items(), key=lambda item: _table(item[0])):
        if table:
            text.append(f"\n[{table}]\n")
        text += [_line(key.removeprefix(f"{table}."), effective, settings) for key, effective in entries]
    return "".join(text)


def _table(key: str) -> str:
    return key.partition(".")[0] if "." in key else ""


def _line(key: str, effective: Effective, settings: Settings) -> str:
    comment = effective.source
    if effective.value is None:
        return f"# {key} is not set\n"
    if key == "keyring" and settings.config.keyring is not None:
        comment += (
            f"; key ids, sealing key first: {', '.join(settings.config.keyring.key_ids(settings.config.cluster))}"
        )
    assignment = f"{_key(key)} = {_value(key, effective.value)}"
    return f"{assignment:<{COMMENT_COLUMN}}  # {comment}\n"


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if bare else _string(key)


def _value(key: str, value: Any) -> str:
    if key == "socket_mode":
        return f'"{value:04o}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple):
        return f"[{', '.join(_string(str(part)) for part in value)}]"
    return _string(str(value))


_ESCAPES: Mapping[int, str] = {
    ord("\\"): "\\\\",
    ord('"'): '\\"',
    **{code: f"\\u{code:04x}" for code in (*range(0x20), *range(0x7F, 0xA0))},
}


def _string(text: str) -> str:
    """Return *text* as a basic string of TOML."""
    return f'"{text.translate(_ESCAPES)}"'
