"""What a local client may ask, as frozen values, and the strict reading of `params` into them.

A parameter is never guessed, converted or ignored: whatever is not exactly right is refused with its name, its value
and what was expected. Methods and their parameters are one table, METHODS, from which the reference page is checked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from gossipd.errors import RequestError
from gossipd.ids import LABEL_RULE, is_label
from gossipd.limits import (
    LABEL_KEY_BYTES_MAX,
    LABEL_VALUE_BYTES_MAX,
    LABELS_MAX,
    RECORDS_MAX,
    SEEDS_MAX,
    SERVICE_ID_BYTES_MAX,
)
from gossipd.records import Service
from gossipd.validation import HOST_BYTES_MAX, check_service

TARGET_BYTES_MAX = 262
"""A target to join: a host name of 253 bytes, brackets, ':' and a port."""

SUBJECT_BYTES_MAX = 64 + SERVICE_ID_BYTES_MAX
"""A subject of `why`: a node's name, '/', an instance id."""

SHOWN_CHARACTERS_MAX = 64
"""How much of a wrong value an error repeats."""


@dataclass(frozen=True, slots=True)
class Members:
    """Every member, the failed and departed ones included."""


@dataclass(frozen=True, slots=True)
class Services:
    """Every service name, with counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolve:
    """The instances of *service*, with *tag* if given, at most *limit*; the unreachable only if asked for."""

    service: str
    tag: str | None = None
    include_unreachable: bool = False
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """Publish *service*. *kept*: by the daemon, over restarts; otherwise it goes with the connection that asked."""

    service: Service
    kept: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Deregister:
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A snapshot, then every change: of the instances of *service*, or of all *services*, and of the *members*."""

    service: str | None = None
    services: bool = False
    members: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwatch:
    """End the watch that was opened with request id *id*."""

    id: int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leave:
    """Leave the cluster; the daemon stops."""


@dataclass(frozen=True, slots=True)
class Info:
    """The daemon itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """The evidence behind what is believed of *subject*: a member, or an instance as `id` or `node/id`."""

    subject: str


@dataclass(frozen=True, slots=True)
class Statistics:
    """The counters of the node and of this socket."""


Request = (
    Members | Services | Resolve | Register | Deregister | Watch | Unwatch | Join | Leave | Info | Why | Statistics
)


class Params:
    """The untrusted parameters of one request. Each reader returns the checked value, or *default* where it is
    absent."""

    def __init__(self, given: Mapping[str, object]) -> None:
        self._given = given

    def has(self, name: str) -> bool:
        return name in self._given

    def text(self, name: str, *, bytes_max: int) -> str:
        return _text(f"params.{name}", self._required(name), bytes_max=bytes_max)

    def label(self, name: str) -> str:
        value = self._required(name)
        if type(value) is not str or not is_label(value):
            raise _wrong(f"params.{name}", value, LABEL_RULE)
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self._given.get(name, default)
        if type(value) is not bool:
            raise _wrong(f"params.{name}", value, "true or false")
        return value

    def integer(self, name: str, *, low: int, high: int) -> int:
        value = self._required(name)
        if type(value) is not int or not low <= value <= high:
            raise _wrong(f"params.{name}", value, f"{low} to {high}")
        return value

    def texts(self, name: str, *, entries_max: int, bytes_max: int) -> list[str]:
        """Return the distinct strings of the required list *name*, in their order."""
        values = self._required(name)
        if type(values) is not list or len(values) > entries_max:
            raise _wrong(f"params.{name}", values, f"a list of at most {entries_max} strings")
        texts = [_text(f"params.{name}[{at}]", value, bytes_max=bytes_max) for at, value in enumerate(values)]
        for at, text in enumerate(texts):
            if text in texts[:at]:
                raise _wrong(f"params.{name}[{at}]", text, "no string twice")
        return texts

    def mapping(self, name: str) -> dict[str, str]:
        values = self._required(name)
        if type(values) is not dict or len(values) > LABELS_MAX:
            raise _wrong(f"params.{name}", values, f"a map of at most {LABELS_MAX} strings")
        return {
            _text(f"a key of params.{name}", key, bytes_max=LABEL_KEY_BYTES_MAX): _text(
                f"params.{name}[{_shown(key)}]", value, bytes_max=LABEL_VALUE_BYTES_MAX, bytes_min=0
            )
            for key, value in values.items()
        }

    def value(self, name: str) -> object:
        return self._required(name)

    def _required(self, name: str) -> object:
        if name not in self._given:
            raise RequestError("bad_request", f"params.{name} is missing")
        return self._given[name]


def _members(_params: Params) -> Request:
    return Members()


def _services(_params: Params) -> Request:
    return Services()


def _resolve(params: Params) -> Request:
    return Resolve(
        service=params.label("service"),
        tag=params.text("tag", bytes_max=LABEL_KEY_BYTES_MAX) if params.has("tag") else None,
        include_unreachable=params.flag("include_unreachable"),
        limit=params.integer("limit", low=1, high=RECORDS_MAX) if params.has("limit") else None,
    )


def _register(params: Params) -> Request:
    name = params.label("name")
    tags = params.texts("tags", entries_max=LABELS_MAX, bytes_max=LABEL_KEY_BYTES_MAX) if params.has("tags") else []
    service = Service(
        name=name,
        id=params.text("id", bytes_max=SERVICE_ID_BYTES_MAX) if params.has("id") else name,
        port=params.integer("port", low=1, high=65_535),
        address=params.text("address", bytes_max=HOST_BYTES_MAX) if params.has("address") else None,
        protocol=params.text("protocol", bytes_max=63) if params.has("protocol") else "tcp",
        tags=tuple(sorted(tags)),
        metadata=tuple(sorted(params.mapping("metadata").items())) if params.has("metadata") else (),
        weight=params.integer("weight", low=0, high=65_535) if params.has("weight") else 1,
    )
    kept = params.flag("kept")
    try:
        return Register(service=check_service(service), kept=kept)
    except ValueError as error:
        raise RequestError("bad_request", f"params.{error}") from None


def _deregister(params: Params) -> Request:
    return Deregister(id=params.text("id", bytes_max=SERVICE_ID_BYTES_MAX))


def _watch(params: Params) -> Request:
    service = params.label("service") if params.has("service") else None
    members = params.flag("members")
    services = params.flag("services", default=service is None and not members)
    if services and service is not None:
        raise RequestError("bad_request", "params.services=true, expected false or nothing beside params.service")
    if not (services or members or service is not None):
        raise RequestError("bad_request", "params.services=false, expected true, or else members or a service")
    return Watch(service=service, services=services, members=members)


def _unwatch(params: Params) -> Request:
    id = params.value("id")
    if type(id) is not int and type(id) is not str:
        raise _wrong("params.id", id, "the id of the request that opened the watch")
    return Unwatch(id=id)


def _join(params: Params) -> Request:
    targets = params.texts("targets", entries_max=SEEDS_MAX, bytes_max=TARGET_BYTES_MAX)
    if not targets:
        raise RequestError("bad_request", "params.targets=[], expected at least one host or host:port")
    return Join(targets=tuple(targets))


def _leave(_params: Params) -> Request:
    return Leave()


def _info(_params: Params) -> Request:
    return Info()


def _why(params: Params) -> Request:
    return Why(subject=params.text("subject", bytes_max=SUBJECT_BYTES_MAX))


def _statistics(_params: Params) -> Request:
    return Statistics()


_SERVICE_PARAMS = ("name", "id", "port", "address", "protocol", "tags", "metadata", "weight")

METHODS: Mapping[str, tuple[tuple[str, ...], Callable[[Params], Request]]] = {
    "members": ((), _members),
    "services": ((), _services),
    "resolve": (("service", "tag", "include_unreachable", "limit"), _resolve),
    "register": ((*_SERVICE_PARAMS, "kept"), _register),
    "deregister": (("id",), _deregister),
    "watch": (("service", "services", "members"), _watch),
    "unwatch": (("id",), _unwatch),
    "join": (("targets",), _join),
    "leave": ((), _leave),
    "info": ((), _info),
    "why": (("subject",), _why),
    "statistics": ((), _statistics),
}
"""Each method's parameters, and how they are read."""


def parse_request(method: str, params: Mapping[str, object]) -> Request:
    """Return the checked request.

    Raises: RequestError("unknown_method") with the nearest name; RequestError("bad_request") naming the parameter, its
    value and what was expected.
    """
    found = METHODS.get(method)
    if found is None:
        raise RequestError("unknown_method", f"method={_shown(method)}, expected {_nearest(method, METHODS)}")
    names, read = found
    for name in params:
        if name not in names:
            takes = _nearest(name, names) if names else "no parameters"
            raise RequestError(
                "bad_request", f"params has {_shown(name)}, which {method} does not take: expected {takes}"
            )
    return read(Params(params))


def _text(field: str, value: object, *, bytes_max: int, bytes_min: int = 1) -> str:
    if type(value) is str and bytes_min <= len(value) <= bytes_max:
        try:
            if len(value.encode()) <= bytes_max:
                return value
        except UnicodeEncodeError:  # half of a surrogate pair
            raise _wrong(field, value, "a string of valid Unicode") from None
    raise _wrong(field, value, f"a string of {bytes_min} to {bytes_max} bytes")


def _wrong(field: str, value: object, expected: str) -> RequestError:
    return RequestError("bad_request", f"{field}={_shown(value)}, expected {expected}")


def _shown(value: object) -> str:
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


def _nearest(word: str, among: Mapping[str, object] | tuple[str, ...]) -> str:
    """Return the name that *word* was probably meant to be, else all of them."""
    near = get_close_matches(word[:SHOWN_CHARACTERS_MAX], among, n=1)
    return f"perhaps {near[0]!r}" if near else f"one of {', '.join(among)}"
