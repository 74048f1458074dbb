"""Checks as people write them: what each word becomes, that every mistake is named, and that writing and reading agree."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipd.check_reading import KEYS, check_as_map, kind_of, parse_check, read_checks
from gossipd.check_targets import METHODS
from gossipd.checks import CHECK_KINDS, Alias, Check, Grpc, Http, Script, Target, Tcp, Ttl, Unix
from gossipd.durations import parse_duration, read_duration
from gossipd.records import Health
from tests import strategies as own


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ({"ttl": "30s"}, Ttl(ttl_s=30.0)),
        ({"ttl": 1.5}, Ttl(ttl_s=1.5)),
        ({"tcp": True}, Tcp()),
        ({"tcp": 8080}, Tcp(port=8080)),
        ({"tcp": ":8080"}, Tcp(port=8080)),
        ({"tcp": "8080"}, Tcp(port=8080)),
        ({"tcp": "DB-1.example"}, Tcp(host="db-1.example")),
        ({"tcp": "db-1:5432"}, Tcp(host="db-1", port=5432)),
        ({"tcp": "[::1]:80"}, Tcp(host="::1", port=80)),
        ({"tcp": "[::1]"}, Tcp(host="::1")),
        ({"http": "/health?deep=1"}, Http(url="/health?deep=1")),
        ({"http": "http:/health"}, Http(url="/health")),
        ({"http": "https:/health"}, Http(url="https:/health")),
        ({"http": "http://a.example"}, Http(url="http://a.example/")),
        ({"http": "http://a.example:81?x=1"}, Http(url="http://a.example:81/?x=1")),
        ({"http": "https://[::1]:8443/health"}, Http(url="https://[::1]:8443/health")),
        (
            {
                "http": "/",
                "method": "POST",
                "headers": {"B": "2", "A": ["1", "0"]},
                "body": "ä\n",
                "expect": [404, 200],
            },
            Http(url="/", method="POST", headers=(("A", "1"), ("A", "0"), ("B", "2")), body="ä\n", expect=(200, 404)),
        ),
        (
            {"http": "https:/", "expect": 418, "tls_skip_verify": True, "tls_server_name": "a.example"},
            Http(url="https:/", expect=(418,), tls_skip_verify=True, tls_server_name="a.example"),
        ),
        ({"http": "/", "body_bytes_max": 0}, Http(url="/", body_bytes_max=0)),
        ({"grpc": True}, Grpc()),
        ({"grpc": 50051}, Grpc(port=50051)),
        ({"grpc": "50051"}, Grpc(port=50051)),
        ({"grpc": "shop.Cart"}, Grpc(service="shop.Cart")),
        ({"grpc": "/50051"}, Grpc(service="50051")),
        ({"grpc": "10.0.0.1:50051"}, Grpc(host="10.0.0.1", port=50051)),
        ({"grpc": ":50051/shop.Cart"}, Grpc(port=50051, service="shop.Cart")),
        ({"grpc": "db-1/", "grpc_use_tls": True}, Grpc(host="db-1", tls=True)),
        ({"grpc": "[::1]:50051/a/b"}, Grpc(host="::1", port=50051, service="a/b")),
        ({"script": ["/bin/check", "", "a b"]}, Script(args=("/bin/check", "", "a b"))),
        ({"script": "pgrep web | wc -l", "shell": True}, Script(args=("pgrep web | wc -l",), shell=True)),
        ({"unix": "/run/web.sock"}, Unix(path="/run/web.sock")),
        ({"alias": "web-1"}, Alias(id="web-1")),
        ({"alias": True, "alias_node": "n2"}, Alias(node="n2")),
    ],
    ids=str,
)
def test_a_kinds_own_key_says_what_is_tried(written: dict[str, object], target: Target) -> None:
    assert read_checks([written])[0].target == target


def test_the_other_words_are_consuls() -> None:
    written = {
        "http": "/health",
        "id": "deep",
        "interval": "1m30s",
        "timeout": "250ms",
        "success_before_passing": 2,
        "failures_before_warning": 3,
        "failures_before_critical": 4,
        "deregister_critical_after": "1.5h",
        "initial": "passing",
        "gate": "open",
        "output_bytes_max": 10,
        "notes": "the whole stack",
    }
    assert read_checks([{"tcp": True, "id": "open"}, written])[1] == Check(
        id="deep",
        target=Http(url="/health"),
        interval_s=90.0,
        timeout_s=0.25,
        success_before_passing=2,
        failures_before_warning=3,
        failures_before_critical=4,
        deregister_critical_after_s=5_400.0,
        initial=Health.PASSING,
        gate="open",
        output_bytes_max=10,
        notes="the whole stack",
    )


def test_what_is_not_said_follows_from_what_is() -> None:
    quick, patient = read_checks([{"tcp": 1, "interval": 2}, {"tcp": 2, "failures_before_critical": 3}])
    assert (quick.timeout_s, patient.timeout_s) == (2.0, 5.0)
    assert (quick.failures_before_warning, patient.failures_before_warning) == (1, 3)


def test_checks_without_an_id_are_called_by_their_kind() -> None:
    ids = [check.id for check in read_checks(["tcp", "http:/a", {"tcp": 81, "id": "mine"}, "http:/b", "tcp:82"])]
    assert ids == ["tcp", "http", "mine", "http-2", "tcp-3"]


@pytest.mark.parametrize(
    ("text", "target", "interval_s"),
    [
        ("tcp", Tcp(), 10.0),
        ("tcp:8080", Tcp(port=8080), 10.0),
        ("tcp@1m", Tcp(), 60.0),
        ("http:/health", Http(url="/health"), 10.0),
        ("http:/health@5s", Http(url="/health"), 5.0),
        ("http:/users/@me", Http(url="/users/@me"), 10.0),
        ("http://a.example:81/health@5s", Http(url="http://a.example:81/health"), 5.0),
        ("https:/health", Http(url="https:/health"), 10.0),
        ("grpc", Grpc(), 10.0),
        ("grpc:shop.Cart", Grpc(service="shop.Cart"), 10.0),
        ("script:/bin/check 'a b' c@100ms", Script(args=("/bin/check", "a b", "c")), 0.1),
        ("unix:/run/web.sock", Unix(path="/run/web.sock"), 10.0),
        ("ttl:30s", Ttl(ttl_s=30.0), 10.0),
        ("alias:web-1", Alias(id="web-1"), 10.0),
        ("alias", Alias(), 10.0),
    ],
)
def test_the_short_form_says_kind_target_and_interval(text: str, target: Target, interval_s: float) -> None:
    check = parse_check(text)
    assert (check.target, check.interval_s, check.id) == (target, interval_s, kind_of(target))
    assert read_checks([text]) == (check,)


HTTP = {"http": "/"}
TCP: dict[object, object] = {"tcp": True}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("tcp", "checks='tcp', expected a list of checks"),
        (None, "checks=None, expected a list of checks"),
        ([TCP] * 17, "checks: 17 checks, expected at most 16"),
        ([7], "checks[0]=7, expected a map, or text such as"),
        ([{}], "checks[0]: none given, expected exactly one of ttl, tcp"),
        ([{"tcp": 1, "http": "/"}], "checks[0]: tcp and http given, expected exactly one of"),
        ([{**TCP, "intervall": 10}], "checks[0]: unknown key 'intervall', expected interval"),
        ([{**TCP, 7: 10}], "checks[0]: unknown key 7, expected one of id, notes"),
        ([{"udp": 53}], "checks[0]: unknown key 'udp', expected one of ttl, tcp"),
        ([{**TCP, "method": "GET"}], "checks[0].method='GET', expected only beside http"),
        ([{"ttl": 1, "interval": 1}], "checks[0].interval=1, expected only beside tcp, http, grpc, script, unix"),
        ([{"ttl": 0}], "checks[0].ttl=0, expected 0.1 to 86400 seconds"),
        ([{"ttl": True}], "checks[0].ttl=True, expected 0.1 to 86400 seconds"),
        ([{**TCP, "interval": -1}], "checks[0].interval=-1, expected 0.1 to 86400 seconds"),
        ([{**TCP, "interval": 0}], "checks[0].interval=0, expected 0.1 to 86400 seconds"),
        ([{**TCP, "interval": "0s"}], "checks[0].interval='0s', expected 0.1 to 86400 seconds"),
        ([{**TCP, "interval": float("nan")}], "checks[0].interval=nan, expected 0.1 to 86400 seconds"),
        ([{**TCP, "interval": 10**400}], "checks[0].interval=a number of 1329 bits, expected 0.1 to 86400"),
        (
            [{**TCP, "interval": "10"}],
            "checks[0].interval='10', expected 0.1 to 86400 seconds, as a number or as in '10s'",
        ),
        ([{**TCP, "interval": "ten"}], "checks[0].interval='ten', expected"),
        ([{**TCP, "interval": None}], "checks[0].interval=None, expected 0.1 to 86400 seconds"),
        ([{**TCP, "timeout": 11}], "checks[0].timeout=11, expected at most the interval, 10 seconds"),
        ([{**TCP, "timeout": "6s", "interval": 5}], "checks[0].timeout='6s', expected at most the interval, 5 seconds"),
        ([{**TCP, "timeout": 0}], "checks[0].timeout=0, expected 0.01 to 86400 seconds"),
        ([{**TCP, "success_before_passing": 0}], "checks[0].success_before_passing=0, expected 1 to 1000"),
        ([{**TCP, "failures_before_critical": 1.5}], "checks[0].failures_before_critical=1.5, expected 1 to 1000"),
        (
            [{**TCP, "failures_before_warning": 2}],
            "failures_before_warning=2, expected at most failures_before_critical, 1",
        ),
        ([{**TCP, "deregister_critical_after": 0}], "checks[0].deregister_critical_after=0, expected 0.1 to 2592000"),
        ([{**TCP, "initial": "green"}], "checks[0].initial='green', expected passing, warning, critical"),
        ([{**TCP, "initial": 0}], "checks[0].initial=0, expected passing, warning, critical"),
        ([{**TCP, "output_bytes_max": 65_537}], "checks[0].output_bytes_max=65537, expected 1 to 65536"),
        ([{**TCP, "notes": 7}], "checks[0].notes=7, expected text"),
        ([{**TCP, "id": ""}], "checks[0].id='', expected 1 to 128 bytes"),
        ([TCP, {"http": "/", "id": "tcp"}], "checks[1].id='tcp', expected each id once"),
        ([{**TCP, "gate": "open"}], "checks[0].gate='open', expected the id of another check of the same instance"),
        ([{**TCP, "gate": "tcp"}], "checks[0].gate='tcp', expected a check that does not wait for this one"),
        (
            [{**TCP, "id": "a", "gate": "b"}, {**TCP, "id": "b", "gate": "c"}, {**TCP, "id": "c", "gate": "a"}],
            "checks[0].gate='b', expected a check that does not wait for this one",
        ),
        ([{"tcp": 0}], "checks[0].tcp=0, expected 1 to 65535"),
        ([{"tcp": "db:0"}], "checks[0].tcp=0, expected 1 to 65535"),
        ([{"tcp": "db:99999999999999999999"}], "expected true, PORT, HOST or HOST:PORT"),
        ([{"tcp": "db:"}], "checks[0].tcp='db:', expected true, PORT, HOST or HOST:PORT"),
        ([{"tcp": "::1"}], "checks[0].tcp='::1', expected true, PORT, HOST or HOST:PORT, an IPv6 address as [::1]:80"),
        ([{"tcp": False}], "checks[0].tcp=False, expected true, PORT"),
        ([{"tcp": "a_b:1"}], "checks[0].tcp='a_b', expected an IP address or a host name"),
        ([{"tcp": "[::1]:80x"}], "expected true, PORT, HOST or HOST:PORT"),
        ([{"http": "health"}], "checks[0].http='health', expected http://HOST[:PORT]/PATH"),
        ([{"http": "ftp://a/"}], "expected http://HOST[:PORT]/PATH"),
        ([{"http": "//a/"}], "expected http://HOST[:PORT]/PATH"),
        ([{"http": "http://me:secret@a/"}], "expected http://HOST[:PORT]/PATH"),
        ([{"http": "http://a:0/"}], "checks[0].http port=0, expected 1 to 65535"),
        ([{"http": "/a b"}], "expected http://HOST[:PORT]/PATH"),
        ([{"http": "/a\r\nX: y"}], "expected no control characters"),
        ([{"http": "/a#b"}], "expected http://HOST[:PORT]/PATH"),
        ([{"http": "/" * 2_049}], "expected 0 to 2048 bytes of UTF-8"),
        ([{"http": True}], "checks[0].http=True, expected text"),
        ([{**HTTP, "method": "get"}], "checks[0].method='get', expected GET, HEAD, POST"),
        ([{**HTTP, "headers": ["A"]}], "checks[0].headers=a list, expected a map of names to text"),
        ([{**HTTP, "headers": {"A b": "1"}}], "checks[0].headers['A b'], expected the name of a header"),
        ([{**HTTP, "headers": {"Content-Length": "1"}}], "checks[0].headers['Content-Length'], expected the name"),
        ([{**HTTP, "headers": {"A": "1\r\n2"}}], "checks[0].headers['A']='1\\r\\n2', expected text of visible ASCII"),
        ([{**HTTP, "headers": {"A": ["1", 2]}}], "checks[0].headers['A']=2, expected text of visible ASCII"),
        ([{**HTTP, "headers": {"A": ["1"] * 33}}], "checks[0].headers: 33 headers, expected at most 32"),
        ([{**HTTP, "headers": {"A": "1" * 2_048}}], "checks[0].headers: 2049 bytes, expected at most 2048"),
        ([{**HTTP, "body": "\ud800"}], "checks[0].body='\\ud800', expected text of at most 4096 bytes"),
        ([{**HTTP, "body": "x" * 4_097}], "expected text of at most 4096 bytes of UTF-8"),
        ([{**HTTP, "expect": [200, 600]}], "checks[0].expect=600, expected 200 to 599"),
        ([{**HTTP, "expect": True}], "checks[0].expect=True, expected 200 to 599"),
        ([{**HTTP, "expect": list(range(200, 265))}], "checks[0].expect: 65 statuses, expected at most 64"),
        ([{**HTTP, "body_bytes_max": -1}], "checks[0].body_bytes_max=-1, expected 0 to 1048576"),
        ([{**HTTP, "tls_skip_verify": True}], "checks[0].tls_skip_verify=True, expected only beside an https URL"),
        ([{"http": "https:/", "tls_skip_verify": 1}], "checks[0].tls_skip_verify=1, expected true or false"),
        (
            [{"http": "https:/", "tls_server_name": "a b"}],
            "checks[0].tls_server_name='a b', expected an IP address or a",
        ),
        (
            [{"grpc": True, "tls_server_name": "a"}],
            "checks[0].tls_server_name='a', expected only beside grpc_use_tls=true",
        ),
        ([{"grpc": "a:b/c"}], "checks[0].grpc='a:b', expected true, PORT"),
        ([{"grpc": "/" + "s" * 129}], "expected 0 to 128 bytes of UTF-8"),
        ([{"script": []}], "checks[0].script: 0 words, expected 1 to 64"),
        ([{"script": ["a"] * 65}], "checks[0].script: 65 words, expected 1 to 64"),
        ([{"script": ["a", "b" * 2_048]}], "checks[0].script: 2051 bytes, expected at most 2048"),
        ([{"script": ["", "b"]}], "checks[0].script[0]='', expected text, the first not empty"),
        ([{"script": ["a", "b\0"]}], "checks[0].script[1]='b\\x00', expected text"),
        (
            [{"script": "a b"}],
            "checks[0].script='a b', expected a list of program and arguments; or text and shell=true",
        ),
        ([{"script": ["a"], "shell": True}], "checks[0].script=a list, expected a list of program and arguments; or"),
        ([{"unix": "run.sock"}], "checks[0].unix='run.sock', expected a path that begins with '/'"),
        ([{"unix": "/" * 108}], "expected 0 to 107 bytes of UTF-8"),
        ([{"alias": ""}], "checks[0].alias='', expected 1 to 128 bytes"),
        ([{"alias": True, "alias_node": "N2"}], "checks[0].alias_node='N2', expected a DNS label"),
        (["udp:53"], "checks[0]='udp:53', expected one of ttl, tcp, http, grpc, script, unix, alias, then ':'"),
        (["http"], "checks[0].http=True, expected text"),
        (["ttl"], "checks[0].ttl=True, expected 0.1 to 86400 seconds"),
        (["tcp@0s"], "checks[0].interval='0s', expected 0.1 to 86400 seconds"),
        (["tcp@-5s"], "checks[0]='tcp@-5s', expected an interval such as '5s' after the '@'"),
        (["http:/health@-5s"], "checks[0]='http:/health@-5s', expected an interval such as '5s' after the '@'"),
        (["http:/health@5"], "checks[0]='http:/health@5', expected an interval such as '5s' after the '@'"),
        (["script:a 'b"], "expected words as a shell reads them: No closing quotation"),
        (["x" * 2_049], "expected 1 to 2048 bytes of UTF-8"),
    ],
    ids=lambda value: "" if isinstance(value, str) else None,
)
def test_a_mistake_is_named_with_its_field_its_value_and_what_was_expected(written: object, expected: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        read_checks(written)
    assert expected in str(caught.value)
    assert len(str(caught.value)) < 500


def test_durations_are_gos_words() -> None:
    texts = ("10s", "1m30s", "250ms", "1.5h", "700ms", "0s", "1d", "10", "-1s", "s", "", "1s ", "1" * 40 + "s")
    seconds = [10.0, 90.0, 0.25, 5_400.0, 0.7, 0.0, None, None, None, None, None, None, None]
    assert [parse_duration(text) for text in texts] == seconds
    assert read_duration("deadline", "0s", 0, 10) == 0.0


seconds = st.floats(0.1, 86_400).map(lambda value: round(value, 3))
streaks = st.integers(1, 1_000)
host_or_none = st.none() | own.hosts | st.just("db-1.example")
port_or_none = st.none() | own.ports
paths = st.from_regex(r"/([!\"$-.0-~][!\"$-~]{0,20})?", fullmatch=True)
urls = st.one_of(
    paths,
    paths.map("https:{}".format),
    st.builds("http://a.example:{}{}".format, own.ports, paths),
    paths.map("https://[2001:db8::1]{}".format),
)
tokens = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,8}", fullmatch=True).map("X-{}".format)
header_lists = st.dictionaries(tokens, st.lists(st.from_regex(r"[!-~]{0,9}", fullmatch=True), min_size=1, max_size=3))
headers = header_lists.map(
    lambda named: tuple((n, v) for n in sorted(named, key=lambda n: (n.lower(), n)) for v in named[n])[:8]
)
plain = st.text(st.characters(codec="utf-8"), max_size=99)
arguments = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)


@st.composite
def https(draw: st.DrawFn) -> Http:
    url = draw(urls)
    return Http(
        url=url,
        method=draw(st.sampled_from(METHODS)),
        headers=draw(headers),
        body=draw(plain),
        expect=tuple(sorted(draw(st.sets(st.integers(200, 599), max_size=4)))),
        body_bytes_max=draw(st.integers(0, 1_048_576)),
        tls_skip_verify=url.startswith("https") and draw(st.booleans()),
        tls_server_name=draw(host_or_none) if url.startswith("https") else None,
    )


@st.composite
def grpcs(draw: st.DrawFn) -> Grpc:
    tls = draw(st.booleans())
    return Grpc(
        host=draw(host_or_none),
        port=draw(port_or_none),
        service=draw(own.texts(100, bytes_min=0)),
        tls=tls,
        tls_skip_verify=tls and draw(st.booleans()),
        tls_server_name=draw(host_or_none) if tls else None,
    )


tried = st.one_of(
    st.builds(Tcp, host=host_or_none, port=port_or_none),
    https(),
    grpcs(),
    st.builds(Script, args=st.lists(arguments, min_size=1, max_size=4).map(tuple)),
    st.builds(Script, args=st.tuples(arguments), shell=st.just(True)),
    st.builds(Unix, path=own.texts(90).map("/{}".format)),
)
ttls = st.builds(Ttl, ttl_s=seconds)
aliases = st.builds(Alias, id=st.none() | own.texts(100), node=st.none() | own.names)


@st.composite
def check_lists(draw: st.DrawFn) -> tuple[Check, ...]:
    """Checks as an instance may have them: ids that differ, a gate only to one before."""
    checks: list[Check] = []
    for id in draw(st.lists(own.texts(128), max_size=4, unique=True)):
        target: Target = draw(st.one_of(tried, ttls, aliases))
        check = Check(id=id, target=target, notes=draw(own.texts(99, bytes_min=0)))
        changes: dict[str, object] = {"deregister_critical_after_s": draw(st.none() | seconds)}
        if not isinstance(target, Alias):
            changes |= {"initial": draw(st.sampled_from(Health)), "output_bytes_max": draw(st.integers(1, 65_536))}
        if not isinstance(target, Ttl | Alias):
            interval_s, critical = draw(seconds), draw(streaks)
            changes |= {
                "interval_s": interval_s,
                "timeout_s": draw(st.floats(0.01, interval_s)),
                "success_before_passing": draw(streaks),
                "failures_before_warning": draw(st.integers(1, critical)),
                "failures_before_critical": critical,
                "gate": draw(st.sampled_from([None, *(known.id for known in checks)])),
            }
        checks.append(replace(check, **changes))  # type: ignore[arg-type]
    return tuple(checks)


@given(check_lists())
def test_what_is_written_down_is_read_as_the_same(checks: tuple[Check, ...]) -> None:
    maps = [check_as_map(check) for check in checks]
    assert read_checks(json.loads(json.dumps(maps))) == checks
    assert read_checks(maps) == checks


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["1s", "/", "a:1", "get"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(sorted({*CHECK_KINDS, *(key for keys in KEYS.values() for key in keys)})) | st.text()
near_misses = st.lists(st.dictionaries(keys, values, max_size=4) | st.text() | values, max_size=3)
short_forms = st.builds("{}{}{}".format, st.sampled_from(CHECK_KINDS), st.sampled_from(":/@"), st.text())


@given(st.one_of(values, near_misses, st.lists(short_forms, max_size=2)))
def test_whatever_json_brings_is_read_or_refused_with_a_value_error(written: object) -> None:
    try:
        checks = read_checks(written)
    except ValueError:
        return
    assert read_checks([check_as_map(check) for check in checks]) == checks
