"""The methods of the local socket: their parameters, and how these become a request. One table, METHODS, from which the
reference page is checked."""

from collections.abc import Callable, Mapping

from gossipd.api import requests
from gossipd.api.choosing import STATUSES
from gossipd.api.params import Params, nearest, shown, wrong
from gossipd.api.requests import Request
from gossipd.check_reading import HEALTHS, read_checks
from gossipd.checks import CheckResult
from gossipd.errors import RequestError
from gossipd.limits import (
    AGE_S_MAX,
    API_WAIT_S_MAX,
    CHECK_INTERVAL_S_MAX,
    CHECK_INTERVAL_S_MIN,
    CHECK_OUTPUT_BYTES_MAX,
    DRAIN_S_MAX,
    INTEGER_MAX,
    LABEL_KEY_BYTES_MAX,
    LABEL_VALUE_BYTES_MAX,
    LABELS_MAX,
    MEMBERS_MAX,
    REASON_BYTES_MAX,
    RECORDS_MAX,
    SEEDS_MAX,
    SERVICE_ID_BYTES_MAX,
)
from gossipd.node.view import HolderKind
from gossipd.records import Service
from gossipd.validation import HOST_BYTES_MAX, check_reason, check_service

TARGET_BYTES_MAX = 262
"""A target to join: a host name of 253 bytes, brackets, ':' and a port."""

SUBJECT_BYTES_MAX = 64 + SERVICE_ID_BYTES_MAX
"""A subject of `why`: a node's name, '/', an instance id."""

LEASE_S = 30.0
"""A lease whose length was not said; Eureka's."""

WAIT_S = 30.0
"""How long `wait` waits if nobody says."""

PID_MAX = 2**22
"""Linux's largest process id (PID_MAX_LIMIT)."""


def _members(_params: Params) -> Request:
    return requests.Members()


def _services(_params: Params) -> Request:
    return requests.Services()


def _resolve(params: Params) -> Request:
    service = params.label("service")
    if len(params) == 1:  # what is asked most, and must be quick
        return requests.Resolve(service=service)
    return requests.Resolve(
        service=service,
        where=_where(params),
        near=params.flag("near"),
        limit=params.integer("limit", low=1, high=RECORDS_MAX) if params.has("limit") else None,
        demand=_demand(params),
    )


def _wait(params: Params) -> Request:
    return requests.Wait(
        resolve=requests.Resolve(service=params.label("service"), where=_where(params), demand=_demand(params)),
        ready=params.integer("ready", low=1, high=RECORDS_MAX) if params.has("ready") else 1,
        timeout_s=params.seconds("timeout", low=0, high=API_WAIT_S_MAX) if params.has("timeout") else WAIT_S,
    )


def _where(params: Params) -> requests.Where | None:
    tags = params.texts("tags", entries_max=LABELS_MAX, bytes_max=LABEL_KEY_BYTES_MAX) if params.has("tags") else []
    where = requests.Where(
        tags=tuple(sorted(tags)),
        metadata=tuple(sorted(params.mapping("metadata").items())) if params.has("metadata") else (),
        status=_status(params) if params.has("status") else None,
        zone=params.text("zone", bytes_max=LABEL_VALUE_BYTES_MAX) if params.has("zone") else None,
        node=params.label("node") if params.has("node") else None,
    )
    return None if where == requests.Where() else where


def _status(params: Params) -> tuple[str, ...]:
    value = params.value("status")
    if value == "any":
        return tuple(STATUSES)
    expected = f"'any', or a list of {', '.join(STATUSES)}"
    if type(value) is not list or not value:
        raise wrong("params.status", value, expected)
    for at, word in enumerate(value):
        if type(word) is not str or word not in STATUSES or word in value[:at]:
            raise wrong(f"params.status[{at}]", word, f"one of {', '.join(STATUSES)}, none twice")
    return tuple(sorted(value, key=STATUSES.__getitem__))


def _demand(params: Params) -> requests.Demand | None:
    if not (params.has("max_age") or params.has("min_members")):
        return None
    return requests.Demand(
        max_age_s=params.seconds("max_age", low=0, high=AGE_S_MAX) if params.has("max_age") else None,
        min_members=params.integer("min_members", low=1, high=MEMBERS_MAX) if params.has("min_members") else None,
    )


def _register(params: Params) -> Request:
    name = params.label("name")
    tags = params.texts("tags", entries_max=LABELS_MAX, bytes_max=LABEL_KEY_BYTES_MAX) if params.has("tags") else []
    service = Service(
        name=name,
        id=_id(params) if params.has("id") else name,
        port=params.integer("port", low=1, high=65_535),
        address=params.text("address", bytes_max=HOST_BYTES_MAX) if params.has("address") else None,
        protocol=params.text("protocol", bytes_max=63) if params.has("protocol") else "tcp",
        tags=tuple(sorted(tags)),
        metadata=tuple(sorted(params.mapping("metadata").items())) if params.has("metadata") else (),
        weight=params.integer("weight", low=0, high=65_535) if params.has("weight") else 1,
    )
    holder = _holder(params)
    try:
        return requests.Register(
            service=check_service(service),
            checks=read_checks(params.value("checks"), field="checks") if params.has("checks") else (),
            holder=holder,
            lease_s=_lease_s(params) if holder == "lease" else None,
            pid=_pid(params) if holder == "pid" else None,
        )
    except ValueError as error:
        raise RequestError("bad_request", f"params.{error}") from None


def _holder(params: Params) -> HolderKind:
    """Return who holds the registration: at most one of three parameters may say."""
    given: list[HolderKind] = []
    if params.has("lease"):
        given.append("lease")
    if params.has("pid"):
        given.append("pid")
    if params.flag("kept"):
        given.append("kept")
    if len(given) > 1:
        raise RequestError("bad_request", f"params has {' and '.join(given)}, expected one of them, or none")
    return given[0] if given else "connection"


def _lease_s(params: Params) -> float:
    value = params.value("lease")
    if value is True:
        return LEASE_S
    if value is False:
        raise wrong("params.lease", value, "true, or a number of seconds")
    return params.seconds("lease", low=CHECK_INTERVAL_S_MIN, high=CHECK_INTERVAL_S_MAX)


def _pid(params: Params) -> int:
    value = params.value("pid")
    if value is True:
        return requests.CALLER
    if type(value) is not int or not 1 <= value <= PID_MAX:
        raise wrong("params.pid", value, f"true for your own, or 1 to {PID_MAX}")
    return value


def _id(params: Params) -> str:
    return params.text("id", bytes_max=SERVICE_ID_BYTES_MAX)


def _subject(params: Params) -> str | None:
    """Return the instance that is meant; None: the node."""
    return _id(params) if params.has("id") else None


def _reason(params: Params) -> str:
    if not params.has("reason"):
        return ""
    try:
        return check_reason(params.text("reason", bytes_min=0, bytes_max=REASON_BYTES_MAX))
    except ValueError as error:
        raise RequestError("bad_request", f"params.{error}") from None


def _deregister(params: Params) -> Request:
    return requests.Deregister(id=_id(params))


def _heartbeat(params: Params) -> Request:
    return requests.Heartbeat(id=_id(params))


def _check_update(params: Params) -> Request:
    output = params.text("output", bytes_min=0, bytes_max=CHECK_OUTPUT_BYTES_MAX) if params.has("output") else ""
    return requests.CheckUpdate(
        id=_id(params),
        check=params.text("check", bytes_max=SERVICE_ID_BYTES_MAX) if params.has("check") else None,
        result=CheckResult(health=HEALTHS[params.word("status", HEALTHS)], output=output),
    )


def _drain(params: Params) -> Request:
    deadline_s = params.seconds("deadline", low=0, high=DRAIN_S_MAX) if params.has("deadline") else None
    return requests.Drain(id=_subject(params), reason=_reason(params), deadline_s=deadline_s)


def _undrain(params: Params) -> Request:
    return requests.Undrain(id=_subject(params))


def _maintenance(params: Params) -> Request:
    params.value("enable")
    reason = _reason(params)
    if params.flag("enable"):
        return requests.Maintenance(id=_subject(params), reason=reason)
    if params.has("reason"):
        raise wrong("params.reason", reason, "nothing where params.enable is false")
    return requests.Maintenance(id=_subject(params), reason=None)


def _progress(params: Params) -> Request:
    return requests.Progress(id=_id(params), remaining=params.integer("remaining", low=0, high=INTEGER_MAX))


def _undamp(params: Params) -> Request:
    return requests.Undamp(id=_id(params))


def _checks(params: Params) -> Request:
    return requests.Checks(id=_subject(params))


def _registrations(_params: Params) -> Request:
    return requests.Registrations()


def _watch(params: Params) -> Request:
    service = params.label("service") if params.has("service") else None
    members = params.flag("members")
    services = params.flag("services", default=service is None and not members)
    if services and service is not None:
        raise RequestError("bad_request", "params.services=true, expected false or nothing beside params.service")
    if not (services or members or service is not None):
        raise RequestError("bad_request", "params.services=false, expected true, or else members or a service")
    since = params.integer("since", low=0, high=INTEGER_MAX) if params.has("since") else None
    return requests.Watch(service=service, services=services, members=members, since=since)


def _unwatch(params: Params) -> Request:
    id = params.value("id")
    if type(id) is not int and type(id) is not str:
        raise wrong("params.id", id, "the id of the request that opened the watch")
    return requests.Unwatch(id=id)


def _join(params: Params) -> Request:
    targets = params.texts("targets", entries_max=SEEDS_MAX, bytes_max=TARGET_BYTES_MAX)
    if not targets:
        raise RequestError("bad_request", "params.targets=[], expected at least one host or host:port")
    return requests.Join(targets=tuple(targets))


def _leave(_params: Params) -> Request:
    return requests.Leave()


def _info(_params: Params) -> Request:
    return requests.Info()


def _why(params: Params) -> Request:
    return requests.Why(subject=params.text("subject", bytes_max=SUBJECT_BYTES_MAX))


def _statistics(_params: Params) -> Request:
    return requests.Statistics()


_SERVICE_PARAMS = ("name", "id", "port", "address", "protocol", "tags", "metadata", "weight", "checks")
_FILTERS = ("tags", "metadata", "zone", "node")

METHODS: Mapping[str, tuple[tuple[str, ...], Callable[[Params], Request]]] = {
    "members": ((), _members),
    "services": ((), _services),
    "resolve": (("service", *_FILTERS, "status", "near", "limit", "max_age", "min_members"), _resolve),
    "wait": (("service", *_FILTERS, "ready", "timeout", "max_age", "min_members"), _wait),
    "register": ((*_SERVICE_PARAMS, "lease", "pid", "kept"), _register),
    "deregister": (("id",), _deregister),
    "heartbeat": (("id",), _heartbeat),
    "check_update": (("id", "check", "status", "output"), _check_update),
    "drain": (("id", "reason", "deadline"), _drain),
    "undrain": (("id",), _undrain),
    "maintenance": (("id", "enable", "reason"), _maintenance),
    "progress": (("id", "remaining"), _progress),
    "undamp": (("id",), _undamp),
    "checks": (("id",), _checks),
    "registrations": ((), _registrations),
    "watch": (("service", "services", "members", "since"), _watch),
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
        raise RequestError("unknown_method", f"method={shown(method)}, expected {nearest(method, METHODS)}")
    names, read = found
    for name in params:
        if name not in names:
            takes = nearest(name, names) if names else "no parameters"
            raise RequestError(
                "bad_request", f"params has {shown(name)}, which {method} does not take: expected {takes}"
            )
    return read(Params(params))
