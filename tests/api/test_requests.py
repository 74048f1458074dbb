"""Parameters are exactly right or refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipd.api.choosing import STATUSES
from gossipd.api.methods import LEASE_S, METHODS, WAIT_S, parse_request
from gossipd.api.requests import (
    CALLER,
    Checks,
    CheckUpdate,
    Demand,
    Deregister,
    Drain,
    Heartbeat,
    Info,
    Join,
    Leave,
    Maintenance,
    Members,
    Progress,
    Register,
    Registrations,
    Request,
    Resolve,
    Services,
    Statistics,
    Undamp,
    Undrain,
    Unwatch,
    Wait,
    Watch,
    Where,
    Why,
)
from gossipd.check_reading import parse_check
from gossipd.checks import CheckResult
from gossipd.errors import RequestError
from gossipd.records import Health, Service

PLAIN = {"name": "web", "port": 80}
WEB = Service(name="web", id="web", port=80)

FULL = {
    "name": "web",
    "id": "web-1",
    "port": 8080,
    "address": "10.0.0.9",
    "protocol": "http",
    "tags": ["v2", "blue"],
    "metadata": {"b": "2", "a": ""},
    "weight": 0,
    "kept": True,
}


@pytest.mark.parametrize(
    ("method", "params", "request_"),
    [
        ("members", {}, Members()),
        ("services", {}, Services()),
        ("info", {}, Info()),
        ("statistics", {}, Statistics()),
        ("leave", {}, Leave()),
        ("resolve", {"service": "web"}, Resolve(service="web")),
        (
            "resolve",
            {"service": "web", "tags": ["v2", "v1"], "metadata": {"a": "1"}, "zone": "z", "node": "ann", "limit": 3},
            Resolve(
                service="web",
                where=Where(tags=("v1", "v2"), metadata=(("a", "1"),), zone="z", node="ann"),
                limit=3,
            ),
        ),
        ("resolve", {"service": "web", "status": "any"}, Resolve(service="web", where=Where(status=tuple(STATUSES)))),
        (
            "resolve",
            {"service": "web", "status": ["draining", "passing"], "near": True},
            Resolve(service="web", where=Where(status=("passing", "draining")), near=True),
        ),
        ("resolve", {"service": "web", "tags": [], "metadata": {}, "near": False}, Resolve(service="web")),
        (
            "resolve",
            {"service": "web", "max_age": "500ms", "min_members": 3},
            Resolve(service="web", demand=Demand(max_age_s=0.5, min_members=3)),
        ),
        ("register", {"name": "web", "port": 80}, Register(service=Service(name="web", id="web", port=80))),
        (
            "register",
            FULL,
            Register(
                service=Service(
                    name="web",
                    id="web-1",
                    port=8080,
                    address="10.0.0.9",
                    protocol="http",
                    tags=("blue", "v2"),
                    metadata=(("a", ""), ("b", "2")),
                    weight=0,
                ),
                holder="kept",
            ),
        ),
        ("register", {**PLAIN, "lease": True}, Register(service=WEB, holder="lease", lease_s=LEASE_S)),
        ("register", {**PLAIN, "lease": "1m30s"}, Register(service=WEB, holder="lease", lease_s=90.0)),
        ("register", {**PLAIN, "pid": True, "kept": False}, Register(service=WEB, holder="pid", pid=CALLER)),
        ("register", {**PLAIN, "pid": 4711}, Register(service=WEB, holder="pid", pid=4711)),
        (
            "register",
            {**PLAIN, "checks": ["tcp", {"http": "/health", "interval": "5s"}]},
            Register(service=WEB, checks=(parse_check("tcp"), parse_check("http:/health@5s"))),
        ),
        ("heartbeat", {"id": "web"}, Heartbeat(id="web")),
        (
            "check_update",
            {"id": "web", "status": "warning"},
            CheckUpdate(id="web", result=CheckResult(health=Health.WARNING)),
        ),
        (
            "check_update",
            {"id": "web", "check": "ttl", "status": "critical", "output": "no\ndisk"},
            CheckUpdate(id="web", check="ttl", result=CheckResult(health=Health.CRITICAL, output="no\ndisk")),
        ),
        ("drain", {}, Drain()),
        (
            "drain",
            {"id": "web", "reason": "new", "deadline": "5m"},
            Drain(id="web", reason="new", deadline_s=300.0),
        ),
        ("undrain", {"id": "web"}, Undrain(id="web")),
        ("undrain", {}, Undrain()),
        ("maintenance", {"enable": True}, Maintenance(reason="")),
        ("maintenance", {"id": "web", "enable": True, "reason": "disk"}, Maintenance(id="web", reason="disk")),
        ("maintenance", {"id": "web", "enable": False}, Maintenance(id="web", reason=None)),
        ("progress", {"id": "web", "remaining": 0}, Progress(id="web", remaining=0)),
        ("undamp", {"id": "web"}, Undamp(id="web")),
        ("checks", {}, Checks()),
        ("checks", {"id": "web"}, Checks(id="web")),
        ("registrations", {}, Registrations()),
        ("deregister", {"id": "web-1"}, Deregister(id="web-1")),
        ("watch", {}, Watch(services=True)),
        ("watch", {"service": "web"}, Watch(service="web")),
        ("watch", {"service": "web", "services": False}, Watch(service="web")),
        ("watch", {"members": True}, Watch(members=True)),
        ("watch", {"members": True, "services": True}, Watch(members=True, services=True)),
        ("watch", {"members": True, "service": "web"}, Watch(members=True, service="web")),
        ("watch", {"since": 7}, Watch(services=True, since=7)),
        ("wait", {"service": "web"}, Wait(resolve=Resolve(service="web"), ready=1, timeout_s=WAIT_S)),
        (
            "wait",
            {"service": "web", "zone": "a", "ready": 2, "timeout": "1m", "min_members": 3},
            Wait(
                resolve=Resolve(service="web", where=Where(zone="a"), demand=Demand(min_members=3)),
                ready=2,
                timeout_s=60.0,
            ),
        ),
        ("unwatch", {"id": 3}, Unwatch(id=3)),
        ("unwatch", {"id": "w"}, Unwatch(id="w")),
        ("join", {"targets": ["h1", "h2:7700"]}, Join(targets=("h1", "h2:7700"))),
        ("why", {"subject": "ann/web"}, Why(subject="ann/web")),
    ],
)
def test_right_parameters_become_a_request(method: str, params: dict[str, object], request_: Request) -> None:
    assert parse_request(method, params) == request_


@pytest.mark.parametrize(
    ("method", "params", "code", "words"),
    [
        ("memebers", {}, "unknown_method", ["method='memebers'", "perhaps 'members'"]),
        ("\ud800" * 9_000, {}, "unknown_method", ["one of members, services"]),
        ("members", {"x": 1}, "bad_request", ["params has 'x'", "members", "no parameters"]),
        ("register", {"adress": "h"}, "bad_request", ["'adress'", "perhaps 'address'"]),
        ("resolve", {}, "bad_request", ["params.service is missing"]),
        ("resolve", {"service": "Web"}, "bad_request", ["params.service='Web'", "a DNS label"]),
        ("resolve", {"service": 5}, "bad_request", ["params.service=5"]),
        ("resolve", {"service": None}, "bad_request", ["params.service=null"]),
        ("resolve", {"service": "web", "limit": 0}, "bad_request", ["params.limit=0", "1 to 200000"]),
        ("resolve", {"service": "web", "limit": True}, "bad_request", ["params.limit=true"]),
        ("resolve", {"service": "web", "limit": 1.0}, "bad_request", ["params.limit=1.0"]),
        ("resolve", {"service": "web", "near": 1}, "bad_request", ["params.near=1, expected true or false"]),
        ("resolve", {"service": "web", "tag": "v1"}, "bad_request", ["'tag'", "perhaps 'tags'"]),
        ("resolve", {"service": "web", "include_unreachable": True}, "bad_request", ["'include_unreachable'"]),
        ("resolve", {"service": "web", "tags": [""]}, "bad_request", ["params.tags[0]=''", "1 to 128 bytes"]),
        ("resolve", {"service": "web", "tags": [b"v1"]}, "bad_request", ["params.tags[0]=bytes"]),
        ("resolve", {"service": "web", "metadata": {"a": 1}}, "bad_request", ["params.metadata['a']=1"]),
        (
            "resolve",
            {"service": "web", "status": "ready"},
            "bad_request",
            ["params.status='ready'", "'any', or a list"],
        ),
        ("resolve", {"service": "web", "status": []}, "bad_request", ["params.status=a list of 0", "passing, warning"]),
        ("resolve", {"service": "web", "status": ["up"]}, "bad_request", ["params.status[0]='up'", "one of passing"]),
        ("resolve", {"service": "web", "status": ["passing"] * 2}, "bad_request", ["params.status[1]=", "none twice"]),
        ("resolve", {"service": "web", "zone": ""}, "bad_request", ["params.zone=''"]),
        ("resolve", {"service": "web", "node": "A B"}, "bad_request", ["params.node='A B'", "a DNS label"]),
        ("resolve", {"service": "web", "max_age": -1}, "bad_request", ["params.max_age=-1", "seconds"]),
        ("resolve", {"service": "web", "min_members": 0}, "bad_request", ["params.min_members=0", "1 to 10000"]),
        ("register", {"name": "web"}, "bad_request", ["params.port is missing"]),
        ("register", {"name": "web", "port": 0}, "bad_request", ["params.port=0, expected 1 to 65535"]),
        ("register", {"name": "web", "port": "80"}, "bad_request", ["params.port='80'"]),
        ("register", {"name": "web", "port": 80, "id": "x" * 129}, "bad_request", ["params.id=", "1 to 128 bytes"]),
        ("register", {"name": "web", "port": 80, "id": "\ud800"}, "bad_request", ["params.id=", "valid Unicode"]),
        ("register", {"name": "web", "port": 80, "id": "a\nb"}, "bad_request", ["params.id=", "control characters"]),
        ("register", {"name": "web", "port": 80, "tags": "v1"}, "bad_request", ["params.tags='v1'", "a list"]),
        ("register", {"name": "web", "port": 80, "tags": ["a", 1]}, "bad_request", ["params.tags[1]=1"]),
        ("register", {"name": "web", "port": 80, "tags": ["a", "a"]}, "bad_request", ["params.tags[1]='a'", "twice"]),
        ("register", {"name": "web", "port": 80, "tags": ["a"] * 65}, "bad_request", ["a list of 65", "at most 64"]),
        ("register", {"name": "web", "port": 80, "metadata": []}, "bad_request", ["params.metadata=a list of 0"]),
        ("register", {"name": "web", "port": 80, "metadata": {"a": 1}}, "bad_request", ["params.metadata['a']=1"]),
        ("register", {"name": "web", "port": 80, "weight": -1}, "bad_request", ["params.weight=-1"]),
        ("register", {"name": "web", "port": 80, "kept": "yes"}, "bad_request", ["params.kept='yes'"]),
        ("register", {"name": "web", "port": 80, "address": "no host"}, "bad_request", ["params.address="]),
        ("register", {"name": "web", "port": 80, "protocol": "T P"}, "bad_request", ["params.protocol="]),
        ("register", {**PLAIN, "lease": False}, "bad_request", ["params.lease=false", "true, or"]),
        ("register", {**PLAIN, "lease": 0}, "bad_request", ["params.lease=0", "0.1 to 86400 seconds"]),
        ("register", {**PLAIN, "lease": "soon"}, "bad_request", ["params.lease='soon'", "'1m30s'"]),
        ("register", {**PLAIN, "pid": 0}, "bad_request", ["params.pid=0", "1 to 4194304"]),
        ("register", {**PLAIN, "pid": False}, "bad_request", ["params.pid=false", "true for your own"]),
        ("register", {**PLAIN, "pid": 5, "kept": True}, "bad_request", ["params has pid and kept", "one of them"]),
        ("register", {**PLAIN, "checks": "tcp"}, "bad_request", ["params.checks='tcp'", "a list of checks"]),
        ("register", {**PLAIN, "checks": [{"tcp": 0}]}, "bad_request", ["params.checks[0].tcp=0", "1 to 65535"]),
        ("register", {**PLAIN, "checks": [{"pop3": 1}]}, "bad_request", ["params.checks[0]: unknown key 'pop3'"]),
        ("heartbeat", {}, "bad_request", ["params.id is missing"]),
        ("check_update", {"id": "web"}, "bad_request", ["params.status is missing"]),
        (
            "check_update",
            {"id": "web", "status": "ok"},
            "bad_request",
            ["params.status='ok'", "passing, warning, critical"],
        ),
        ("check_update", {"id": "web", "status": []}, "bad_request", ["params.status=a list of 0"]),
        ("check_update", {"id": "web", "status": "passing", "output": 1}, "bad_request", ["params.output=1"]),
        ("drain", {"deadline": -1}, "bad_request", ["params.deadline=-1", "0 to 2592000 seconds"]),
        ("drain", {"reason": "x" * 257}, "bad_request", ["params.reason='xxx", "0 to 256 bytes"]),
        ("drain", {"reason": "a\nb"}, "bad_request", ["params.reason=", "no control characters"]),
        ("drain", {"id": None}, "bad_request", ["params.id=null"]),
        ("maintenance", {}, "bad_request", ["params.enable is missing"]),
        ("maintenance", {"enable": 1}, "bad_request", ["params.enable=1", "true or false"]),
        ("maintenance", {"enable": False, "reason": "x"}, "bad_request", ["params.reason='x'", "nothing where"]),
        ("progress", {"id": "web", "remaining": -1}, "bad_request", ["params.remaining=-1", "0 to"]),
        ("watch", {"service": "web", "services": True}, "bad_request", ["params.services=true"]),
        ("watch", {"services": False}, "bad_request", ["params.services=false"]),
        ("watch", {"since": -1}, "bad_request", ["params.since=-1", "0 to"]),
        ("watch", {"since": "7"}, "bad_request", ["params.since='7'"]),
        ("wait", {"service": "web", "ready": 0}, "bad_request", ["params.ready=0", "1 to 200000"]),
        ("wait", {"service": "web", "timeout": 3601}, "bad_request", ["params.timeout=3601", "0 to 3600 seconds"]),
        ("wait", {"service": "web", "status": "any"}, "bad_request", ["'status'", "wait does not take"]),
        ("unwatch", {"id": None}, "bad_request", ["params.id=null"]),
        ("unwatch", {"id": True}, "bad_request", ["params.id=true"]),
        ("join", {"targets": []}, "bad_request", ["at least one"]),
        ("join", {"targets": ["h"] * 2}, "bad_request", ["params.targets[1]='h'"]),
        ("join", {"targets": [[]]}, "bad_request", ["params.targets[0]=a list of 0"]),
        ("why", {"subject": ""}, "bad_request", ["params.subject=''"]),
    ],
)
def test_wrong_parameters_are_refused_by_name(
    method: str, params: dict[str, object], code: str, words: list[str]
) -> None:
    with pytest.raises(RequestError) as caught:
        parse_request(method, params)
    assert caught.value.code == code
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert len(message) < 400
    assert message.isascii()


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)
NAMES = st.sampled_from(sorted({name for names, _ in METHODS.values() for name in names}))


@given(st.sampled_from(sorted(METHODS)), st.dictionaries(NAMES | st.text(max_size=3), ANYTHING, max_size=5))
def test_any_parameters_make_a_request_or_a_request_error(method: str, params: dict[str, object]) -> None:
    code = ""
    try:
        parse_request(method, params)
    except RequestError as error:
        code = error.code
        str(error).encode()
    assert code in ("", "bad_request")
