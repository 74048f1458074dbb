"""What the daemon answers, as values: instances with how far they can be trusted. And what is asked, checked before it is sent."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypedDict

from gossipd.balancing.endpoint import Endpoint
from gossipd.client.patience import seconds_or_none
from gossipd.errors import RequestError
from gossipd.limits import CLIENT_LAST_ANSWERS_MAX

HOLD_S = 10.0
"""Longest time that old rows are held for a daemon that has restarted. It meets a peer that lives within a second; one that has met
none for so long is alone, or cut off, and what it says is all that can be known. The same if it counts fewer members than before:
without its peer book it may take the first that it meets, who restarted with it, for all."""

METHOD_PREFIX = "rpc:"
"""Begins the metadata key of each method that an instance offers; the value is OFFERED."""

OFFERED = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How far an answer can be trusted (docs/reference/local-api.md, "The view")."""

    isolated: bool = False
    met: bool = True
    members_alive: int = 0
    members_known: int = 0
    stalest_owner_age_s: float = 0.0
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The instances of *service*. Iterates over them."""

    service: str
    endpoints: tuple[Endpoint, ...]
    view: View = field(default_factory=View)
    stale: bool = False
    """The daemon is away, or has met nobody since it restarted: this is the last good answer to the same question."""
    age_s: float = 0.0
    """Seconds since the daemon gave it."""

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self.endpoints)

    def __len__(self) -> int:
        return len(self.endpoints)

    def aged(self, age_s: float) -> "Answer":
        """Return it as the last good answer."""
        return replace(self, stale=True, age_s=age_s)


def endpoint_of(row: object) -> Endpoint:
    """Return a row of `resolve` as an endpoint; fields that we do not know are passed over. Raises: RequestError `bad_answer`."""
    try:
        assert isinstance(row, dict)
        known = {name: row[name] for name in ROW_FIELDS if name in row}
        return Endpoint(**known | {"tags": tuple(row.get("tags", ()))})
    except (AssertionError, TypeError, ValueError) as error:
        raise RequestError("bad_answer", f"a row is no instance: {error}") from None


ROW_FIELDS = (
    "node",
    "id",
    "address",
    "port",
    "service",
    "protocol",
    "weight",
    "zone",
    "region",
    "ready",
    "serving",
    "terminating",
    "degraded",
    "metadata",
)
"""What a row of `resolve` and an Endpoint both have, but for the tags."""


def answer_of(service: str, result: Mapping[str, object]) -> Answer:
    """Return the result of `resolve` or `wait`. Raises: RequestError `bad_answer`."""
    rows = result.get("instances")
    if not isinstance(rows, list):
        raise RequestError("bad_answer", "the answer has no list of instances")
    return Answer(service=service, endpoints=tuple(map(endpoint_of, rows)), view=view_of(result.get("view")))


def view_of(view: object) -> View:
    """Return a view; what is missing in it is as in an empty one."""
    if not isinstance(view, dict):
        return View()
    return View(**{name: view[name] for name in View.__dataclass_fields__ if name in view})


def knows_less(view: View, before: View) -> bool:
    """Return whether a daemon of this *view*, which may have restarted since *before*, may still lack what it knew then.

    By `met` it says so itself, if it has its peer book.
    """
    return not view.met or view.members_alive < before.members_alive


class Filters(TypedDict, total=False):
    """What instances are asked for by; without *status* only ready ones."""

    tags: Iterable[str]
    metadata: Mapping[str, str]
    methods: Iterable[str]
    """Only instances that offer all of these (`Offer.methods`)."""
    status: Iterable[str] | Literal["any"]
    zone: str
    node: str
    near: bool
    limit: int
    max_age_s: float
    min_members: int


class Offer(TypedDict, total=False):
    """What an instance says of itself (docs/reference/local-api.md, "register")."""

    id: str
    address: str
    protocol: str
    tags: Iterable[str]
    metadata: Mapping[str, str]
    methods: Iterable[str]
    """Names of what it can be asked to do; `resolve` filters by them."""
    weight: int
    checks: Iterable[str | Mapping[str, object]]
    lease_s: float


def question(service: str, filters: Filters) -> dict[str, object]:
    """Return the parameters of `resolve`. Raises: RequestError `bad_request` for an unknown filter, or a wrong type."""
    _expect_text("service", service)
    given: dict[str, Any] = {"service": service, **_known(filters, Filters)}
    if given.get("status", "any") != "any":
        given["status"] = texts("status", given["status"])
    given["max_age"] = seconds_or_none("max_age_s", given.pop("max_age_s", None), zero=True)
    return _described(given)


def registration(name: str, port: int, offer: Offer) -> dict[str, object]:
    """Return the parameters of `register`. Raises: RequestError `bad_request` for an unknown field, or a wrong type."""
    _expect_text("name", name)
    given: dict[str, Any] = {"name": name, "port": port, **_known(offer, Offer)}
    if "checks" in given:
        given["checks"] = _listed("checks", given["checks"], of="checks")
    given["lease"] = seconds_or_none("lease_s", given.pop("lease_s", None))
    return _described(given)


def _described(given: dict[str, Any]) -> dict[str, object]:
    """Write tags, metadata and methods as the daemon takes them."""
    given["tags"] = texts("tags", given.get("tags", ())) or None
    given["metadata"] = with_methods(given.get("metadata"), given.pop("methods", ())) or None
    return given


def _known(given: Mapping[str, object], kind: type) -> Mapping[str, object]:
    for name in given:
        if name not in kind.__annotations__:
            expected = ", ".join(sorted(kind.__annotations__))
            raise RequestError("bad_request", f"{name}={given[name]!r}, expected one of {expected}")
    return given


class LastGood:
    """The last answer to each question, for when the daemon is away; the question not asked for longest is forgotten."""

    def __init__(self, most: int = CLIENT_LAST_ANSWERS_MAX) -> None:
        self._most = most
        self._answers: OrderedDict[str, tuple[Answer, float]] = OrderedDict()

    def keep(self, question: Mapping[str, object], answer: Answer, *, now: float) -> None:
        """The daemon gave *answer* at *now*."""
        self._answers[repr(question)] = (answer, now)
        self._answers.move_to_end(repr(question))
        if len(self._answers) > self._most:
            self._answers.popitem(last=False)

    def judge(self, question: Mapping[str, object], answer: Answer, *, connected_s: float, now: float) -> Answer:
        """Return what to make of *answer*, which a daemon gave *connected_s* seconds after the connection to it was made.

        One that has met no peer since it started, or fewer than it knew, does not know all instances yet: for HOLD_S the last good
        ones stand beside its own. Else it is the last good answer from now on.
        """
        kept = self.find(question, now=now)
        if kept is None or connected_s >= HOLD_S or not knows_less(answer.view, kept.view):
            self.keep(question, answer, now=now)
            return answer
        rows = {one.key: one for one in (*kept.endpoints, *answer.endpoints)}
        limit = question.get("limit")
        most = limit if isinstance(limit, int) else len(rows)
        return replace(kept, endpoints=tuple(rows.values())[:most], view=answer.view)

    def find(self, question: Mapping[str, object], *, now: float) -> Answer | None:
        """Return the last good answer, marked stale; None if there was none."""
        kept = self._answers.get(repr(question))
        return None if kept is None else kept[0].aged(now - kept[1])


def with_methods(metadata: Mapping[str, str] | None, methods: Iterable[str]) -> dict[str, str]:
    """Return *metadata* with an entry for each method that is offered, or asked for. Raises: RequestError `bad_request`."""
    if metadata is not None and not isinstance(metadata, Mapping):
        raise RequestError("bad_request", f"metadata={metadata!r}, expected a map of strings")
    return {**(metadata or {}), **{METHOD_PREFIX + method: OFFERED for method in texts("methods", methods)}}


def methods_of(endpoint: Endpoint) -> tuple[str, ...]:
    """Return the methods that *endpoint* offers, sorted."""
    return tuple(sorted(key.removeprefix(METHOD_PREFIX) for key in endpoint.metadata if key.startswith(METHOD_PREFIX)))


def texts(name: str, values: Iterable[str]) -> list[str]:
    """Return *values* as a list. Raises: RequestError `bad_request` if it is one string, or holds anything else."""
    listed = _listed(name, values, of="strings")
    if not all(isinstance(value, str) for value in listed):
        raise RequestError("bad_request", f"{name}={values!r}, expected a list of strings")
    return listed


def _listed(name: str, values: object, *, of: str) -> list[Any]:
    """Return *values* as a list. Raises: RequestError `bad_request` if it is one string, or nothing that holds values."""
    if isinstance(values, str):
        raise RequestError("bad_request", f"{name}={values!r}, expected a list of {of}: {name}={[values]!r}")
    if not isinstance(values, Iterable):
        raise RequestError("bad_request", f"{name}={values!r}, expected a list of {of}")
    return list(values)


def _expect_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise RequestError("bad_request", f"{name}={value!r}, expected a string")
