"""The strict reading of `params`: each value is exactly right, or refused with its name, its value and what was expected.

Nothing is guessed, converted or ignored. Knows no method.
"""

from collections.abc import Mapping
from difflib import get_close_matches

from gossipd.durations import read_duration
from gossipd.errors import RequestError
from gossipd.ids import LABEL_RULE, is_label
from gossipd.limits import LABEL_KEY_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX

SHOWN_CHARACTERS_MAX = 64
"""How much of a wrong value an error repeats."""


class Params:
    """The untrusted parameters of one request. Each reader returns the checked value. Raises: RequestError("bad_request")."""

    def __init__(self, given: Mapping[str, object]) -> None:
        self._given = given

    def __len__(self) -> int:
        return len(self._given)

    def has(self, name: str) -> bool:
        return name in self._given

    def value(self, name: str) -> object:
        if name not in self._given:
            raise RequestError("bad_request", f"params.{name} is missing")
        return self._given[name]

    def text(self, name: str, *, bytes_max: int, bytes_min: int = 1) -> str:
        return _text(f"params.{name}", self.value(name), bytes_max=bytes_max, bytes_min=bytes_min)

    def label(self, name: str) -> str:
        value = self.value(name)
        if type(value) is not str or not is_label(value):
            raise wrong(f"params.{name}", value, LABEL_RULE)
        return value

    def word(self, name: str, words: Mapping[str, object]) -> str:
        """Return one of *words*."""
        value = self.value(name)
        if type(value) is not str or value not in words:
            raise wrong(f"params.{name}", value, ", ".join(words))
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return the boolean *name*, *default* where it is absent."""
        value = self._given.get(name, default)
        if type(value) is not bool:
            raise wrong(f"params.{name}", value, "true or false")
        return value

    def integer(self, name: str, *, low: int, high: int) -> int:
        value = self.value(name)
        if type(value) is not int or not low <= value <= high:
            raise wrong(f"params.{name}", value, f"{low} to {high}")
        return value

    def seconds(self, name: str, *, low: float, high: float) -> float:
        """Return what a number of seconds or text such as "1m30s" means."""
        try:
            return read_duration(f"params.{name}", self.value(name), low, high)
        except ValueError as error:
            raise RequestError("bad_request", str(error)) from None

    def texts(self, name: str, *, entries_max: int, bytes_max: int) -> list[str]:
        """Return the distinct strings of the list *name*, in their order."""
        values = self.value(name)
        if type(values) is not list or len(values) > entries_max:
            raise wrong(f"params.{name}", values, f"a list of at most {entries_max} strings")
        texts = [_text(f"params.{name}[{at}]", value, bytes_max=bytes_max) for at, value in enumerate(values)]
        for at, text in enumerate(texts):
            if text in texts[:at]:
                raise wrong(f"params.{name}[{at}]", text, "no string twice")
        return texts

    def mapping(self, name: str) -> dict[str, str]:
        values = self.value(name)
        if type(values) is not dict or len(values) > LABELS_MAX:
            raise wrong(f"params.{name}", values, f"a map of at most {LABELS_MAX} strings")
        return {
            _text(f"a key of params.{name}", key, bytes_max=LABEL_KEY_BYTES_MAX): _text(
                f"params.{name}[{shown(key)}]", value, bytes_max=LABEL_VALUE_BYTES_MAX, bytes_min=0
            )
            for key, value in values.items()
        }


def wrong(field: str, value: object, expected: str) -> RequestError:
    """Return the refusal of *value*, in ASCII."""
    return RequestError("bad_request", f"{field}={shown(value)}, expected {expected}")


def shown(value: object) -> str:
    """Return *value* as the client wrote it, in ASCII and cut; of what could be deep or long, only the kind and
    size."""
    if value is None or type(value) is bool:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str | int | float):
        text = ascii(value)
        return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}..."
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"a map of {len(value)}"
    return type(value).__name__


def nearest(word: str, among: Mapping[str, object] | tuple[str, ...]) -> str:
    """Return the name that *word* was probably meant to be, else all of them."""
    near = get_close_matches(word[:SHOWN_CHARACTERS_MAX], among, n=1)
    return f"perhaps {near[0]!r}" if near else f"one of {', '.join(among)}"


def _text(field: str, value: object, *, bytes_max: int, bytes_min: int = 1) -> str:
    if type(value) is str and bytes_min <= len(value) <= bytes_max:
        try:
            if len(value.encode()) <= bytes_max:
                return value
        except UnicodeEncodeError:  # half of a surrogate pair
            raise wrong(field, value, "a string of valid Unicode") from None
    raise wrong(field, value, f"a string of {bytes_min} to {bytes_max} bytes")
