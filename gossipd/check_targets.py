"""What a check tries, as people write it: the kind's own key (`HOST:PORT`, a URL, a command) and the keys that go with it."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from gossipd.checks import Alias, Grpc, Http, Script, Target, Tcp, Ttl, Unix
from gossipd.durations import read_duration
from gossipd.ids import LABEL_RULE, is_label
from gossipd.limits import (
    CHECK_ANSWER_BYTES_MAX,
    CHECK_ARGS_MAX,
    CHECK_BODY_BYTES_MAX,
    CHECK_HEADERS_MAX,
    CHECK_INTERVAL_S_MAX,
    CHECK_INTERVAL_S_MIN,
    CHECK_TARGET_BYTES_MAX,
    LABELS_MAX,
    SERVICE_ID_BYTES_MAX,
)
from gossipd.validation import check_host, check_integer, check_text, shown

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""Methods of an http check."""

HEADERS_REFUSED = ("connection", "content-length", "transfer-encoding", "upgrade", "expect", "te", "trailer")
"""Headers that decide how a request is framed: the daemon's to set."""

UNIX_PATH_BYTES_MAX = 107
"""Longest path of a Unix socket on Linux."""

TLS_KEYS = ("tls_skip_verify", "tls_server_name")

KEYS: dict[str, tuple[str, ...]] = {
    "http": ("method", "headers", "body", "expect", "body_bytes_max", *TLS_KEYS),
    "grpc": ("grpc_use_tls", *TLS_KEYS),
    "script": ("shell",),
    "alias": ("alias_node",),
}
"""By kind, the keys that belong to what it tries."""

# Patterns as text: they are compiled, and kept, when the first check needs them.
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110 section 5.6.2
_HEADER_VALUE = r"(?:[!-~](?:[ -~]*[!-~])?)?"

_URL = (
    r"(?:(?P<scheme>https?):)?(?://(?P<host>[^/?@:\[\]]+|\[[^\]]*\])(?::(?P<port>[0-9]{1,5}))?)?(?P<path>[/?][!-~]*)?"
)
_URL_EXPECTED = "http://HOST[:PORT]/PATH, https://HOST[:PORT]/PATH, /PATH, or https:/PATH"


class Url(NamedTuple):
    """A URL taken apart; *host* None: the instance's own address and port."""

    tls: bool
    host: str | None
    port: int | None
    """None: the instance's if *host* is None, else 80 or 443."""
    path: str
    """With the query; begins with '/'."""


def split_url(field: str, text: str) -> Url:
    """Return the parts of *text*. Raises: ValueError: not http or https, user names, fragments, spaces."""
    check_text(field, text, bytes_max=CHECK_TARGET_BYTES_MAX)
    found = re.fullmatch(_URL, text)
    if found is None or "#" in text or not _is_whole(found["scheme"], found["host"], found["path"] or ""):
        raise ValueError(f"{field}={shown(text)}, expected {_URL_EXPECTED}")
    host = None if found["host"] is None else check_host(field, found["host"].strip("[]"))
    port = None if found["port"] is None else check_integer(f"{field} port", int(found["port"]), 1, 65_535)
    path = found["path"] or "/"
    return Url(found["scheme"] == "https", host, port, path if path.startswith("/") else f"/{path}")


def _is_whole(scheme: str | None, host: str | None, path: str) -> bool:
    """Return whether a URL has a scheme and a host, or else a path that nobody takes for a host."""
    return scheme is not None if host is not None else path.startswith("/") and not path.startswith("//")


def url_text(url: Url) -> str:
    """Return *url* in its one form: what `split_url` takes apart again."""
    if url.host is None:
        return f"https:{url.path}" if url.tls else url.path
    return f"{'https' if url.tls else 'http'}://{address_text(url.host, url.port)}{url.path}"


def read_address(field: str, value: object) -> tuple[str | None, int | None]:
    """Return host and port: of true or "" neither, of 8080, "8080" or ":8080" the port, of "db", "[::1]" the host.

    What is None is the instance's own. Raises: ValueError.
    """
    expected = f"{field}={shown(value)}, expected true, PORT, HOST or HOST:PORT, an IPv6 address as [::1]:80"
    if value is True:
        return None, None
    if type(value) is int:
        return None, check_integer(field, value, 1, 65_535)
    if type(value) is not str:
        raise ValueError(expected)
    host, found, port = value.rpartition(":")
    if "]" in port:  # the colon belongs to an IPv6 address
        host, found, port = value, "", ""
    elif not found:
        host, port = ("", value) if value.isascii() and value.isdigit() else (value, "")
    if (found and not port) or (port and not (port.isascii() and port.isdigit() and len(port) <= 5)):
        raise ValueError(expected)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(expected)
    return check_host(field, host) if host else None, check_integer(field, int(port), 1, 65_535) if port else None


def address_text(host: str | None, port: int | None) -> str:
    """Return what `read_address` reads as *host* and *port*."""
    shown_host = "" if host is None else f"[{host}]" if ":" in host else host
    return shown_host if port is None else f"{shown_host}:{port}"


def read_grpc(field: str, value: object) -> tuple[str | None, int | None, str]:
    """Return host, port and service of true, PORT, SERVICE, HOST:PORT, or HOST:PORT/SERVICE, each of the three optional.

    A word with neither ':' nor '/' is a service. Raises: ValueError.
    """
    if type(value) is not str:
        return *read_address(field, value), ""
    address, slash, service = value.partition("/")
    if not slash and ":" not in address and not address.isdigit():
        address, service = "", address
    host, port = read_address(field, address)
    return host, port, check_text(f"{field} service", service, bytes_min=0, bytes_max=SERVICE_ID_BYTES_MAX)


class Given:
    """One check as it was given: its map of *values*, found at *where*. Each reader returns the checked value, or *default*."""

    def __init__(self, values: dict[str, object], where: str) -> None:
        self.values = values
        self.where = where

    def field(self, key: str) -> str:
        return f"{self.where}.{key}"

    def wrong(self, key: str, expected: str) -> ValueError:
        return ValueError(f"{self.field(key)}={shown(self.values.get(key))}, expected {expected}")

    def text(self, key: str, bytes_max: int, *, bytes_min: int = 0, default: str = "") -> str:
        value = self.values.get(key, default)
        return check_text(self.field(key), value, bytes_min=bytes_min, bytes_max=bytes_max)  # type: ignore[arg-type]

    def optional(self, key: str, bytes_max: int) -> str | None:
        return self.text(key, bytes_max, bytes_min=1) if key in self.values else None

    def flag(self, key: str) -> bool:
        value = self.values.get(key, False)
        if type(value) is not bool:
            raise self.wrong(key, "true or false")
        return value

    def integer(self, key: str, least: int, most: int, *, default: int) -> int:
        return check_integer(self.field(key), self.values.get(key, default), least, most)  # type: ignore[arg-type]

    def seconds(self, key: str, least: float, most: float, *, default: float = 0.0) -> float:
        return read_duration(self.field(key), self.values.get(key, default), least, most)


def read_target(kind: str, given: Given) -> Target:
    """Return what the check of *kind* in *given* tries. Raises: ValueError."""
    return _READERS[kind](given)


def target_as_map(target: Target) -> dict[str, object]:
    """Return *target* as the keys that `read_target` reads as the same, the kind's own first; defaults are left out."""
    match target:
        case Ttl():
            return {"ttl": target.ttl_s}
        case Tcp():
            return {"tcp": address_text(target.host, target.port) or True}
        case Http():
            return _http_map(target)
        case Grpc():
            address = address_text(target.host, target.port)
            values: dict[str, object] = {"grpc": f"{address}/{target.service}" if address or target.service else True}
            return values | ({"grpc_use_tls": True} if target.tls else {}) | _tls_map(target)
        case Script():
            return {"script": target.args[0], "shell": True} if target.shell else {"script": list(target.args)}
        case Unix():
            return {"unix": target.path}
        case Alias():
            own: dict[str, object] = {"alias": target.id or True}
            return own | ({} if target.node is None else {"alias_node": target.node})


def _ttl(given: Given) -> Target:
    return Ttl(ttl_s=given.seconds("ttl", CHECK_INTERVAL_S_MIN, CHECK_INTERVAL_S_MAX))


def _tcp(given: Given) -> Target:
    host, port = read_address(given.field("tcp"), given.values["tcp"])
    return Tcp(host=host, port=port)


def _http(given: Given) -> Target:
    url = split_url(given.field("http"), given.text("http", CHECK_TARGET_BYTES_MAX))
    method = given.text("method", LABELS_MAX, default="GET")
    if method not in METHODS:
        raise given.wrong("method", ", ".join(METHODS))
    expect = given.values.get("expect", [])
    statuses: list[Any] = expect if isinstance(expect, list) else [expect]
    if len(statuses) > LABELS_MAX:
        raise ValueError(f"{given.field('expect')}: {len(statuses)} statuses, expected at most {LABELS_MAX}")
    if not url.tls:
        _expect_no_tls(given, "an https URL")
    return Http(
        url=url_text(url),
        method=method,
        headers=_headers(given),
        body=_body(given),
        expect=tuple(sorted({check_integer(given.field("expect"), status, 200, 599) for status in statuses})),
        body_bytes_max=given.integer("body_bytes_max", 0, CHECK_ANSWER_BYTES_MAX, default=_HTTP.body_bytes_max),
        tls_skip_verify=given.flag("tls_skip_verify"),
        tls_server_name=_server_name(given),
    )


def _headers(given: Given) -> tuple[tuple[str, str], ...]:
    headers = given.values.get("headers", {})
    if type(headers) is not dict:
        raise given.wrong("headers", "a map of names to text, or to lists of text")
    pairs: list[tuple[str, str]] = []
    for name, value in headers.items():
        field = f"{given.field('headers')}[{shown(name)}]"
        if type(name) is not str or not re.fullmatch(_TOKEN, name) or name.lower() in HEADERS_REFUSED:
            raise ValueError(f"{field}, expected the name of a header, none of {', '.join(HEADERS_REFUSED)}")
        for text in value if isinstance(value, list) else [value]:
            if type(text) is not str or not re.fullmatch(_HEADER_VALUE, text):
                raise ValueError(f"{field}={shown(text)}, expected text of visible ASCII, spaces only within")
            pairs.append((name, text))
    if len(pairs) > CHECK_HEADERS_MAX:
        raise ValueError(f"{given.field('headers')}: {len(pairs)} headers, expected at most {CHECK_HEADERS_MAX}")
    size = sum(len(name) + len(text) for name, text in pairs)
    if size > CHECK_TARGET_BYTES_MAX:
        raise ValueError(f"{given.field('headers')}: {size} bytes, expected at most {CHECK_TARGET_BYTES_MAX}")
    return tuple(sorted(pairs, key=lambda pair: (pair[0].lower(), pair[0])))


def _body(given: Given) -> str:
    body = given.values.get("body", "")
    if type(body) is not str or not _is_unicode(body) or len(body.encode()) > CHECK_BODY_BYTES_MAX:
        raise given.wrong("body", f"text of at most {CHECK_BODY_BYTES_MAX} bytes of UTF-8")
    return body


def _http_map(target: Http) -> dict[str, object]:
    headers: dict[str, list[str]] = {}
    for name, text in target.headers:
        headers.setdefault(name, []).append(text)
    values: dict[str, object] = {"http": target.url}
    if target.method != _HTTP.method:
        values["method"] = target.method
    if headers:
        values["headers"] = {name: texts if len(texts) > 1 else texts[0] for name, texts in headers.items()}
    if target.body:
        values["body"] = target.body
    if target.expect:
        values["expect"] = list(target.expect)
    if target.body_bytes_max != _HTTP.body_bytes_max:
        values["body_bytes_max"] = target.body_bytes_max
    return values | _tls_map(target)


def _grpc(given: Given) -> Target:
    host, port, service = read_grpc(given.field("grpc"), given.values["grpc"])
    tls = given.flag("grpc_use_tls")
    if not tls:
        _expect_no_tls(given, "grpc_use_tls=true")
    return Grpc(
        host=host,
        port=port,
        service=service,
        tls=tls,
        tls_skip_verify=given.flag("tls_skip_verify"),
        tls_server_name=_server_name(given),
    )


def _expect_no_tls(given: Given, beside: str) -> None:
    for key in TLS_KEYS:
        if key in given.values:
            raise given.wrong(key, f"only beside {beside}")


def _server_name(given: Given) -> str | None:
    name = given.values.get("tls_server_name")
    return None if name is None else check_host(given.field("tls_server_name"), name)  # type: ignore[arg-type]


def _tls_map(target: Http | Grpc) -> dict[str, object]:
    values: dict[str, object] = {"tls_skip_verify": True} if target.tls_skip_verify else {}
    return values | ({} if target.tls_server_name is None else {"tls_server_name": target.tls_server_name})


def _script(given: Given) -> Target:
    script = given.values["script"]
    shell = given.flag("shell")
    if shell != (type(script) is str):
        expected = "a list of program and arguments; or text and shell=true, for a command line of /bin/sh"
        raise given.wrong("script", expected)
    args: list[Any] = script if isinstance(script, list) else [script]
    for at, text in enumerate(args):
        if type(text) is not str or "\0" in text or not _is_unicode(text) or (at == 0 and not text):
            raise ValueError(f"{given.field('script')}[{at}]={shown(text)}, expected text, the first not empty")
    if not 0 < len(args) <= CHECK_ARGS_MAX:
        raise ValueError(f"{given.field('script')}: {len(args)} words, expected 1 to {CHECK_ARGS_MAX}")
    size = sum(len(text.encode()) + 1 for text in args)
    if size > CHECK_TARGET_BYTES_MAX:
        raise ValueError(f"{given.field('script')}: {size} bytes, expected at most {CHECK_TARGET_BYTES_MAX}")
    return Script(args=tuple(args), shell=shell)


def _unix(given: Given) -> Target:
    path = given.text("unix", UNIX_PATH_BYTES_MAX)
    if not path.startswith("/"):
        raise given.wrong("unix", "a path that begins with '/'")
    return Unix(path=path)


def _alias(given: Given) -> Target:
    id = None if given.values["alias"] is True else given.text("alias", SERVICE_ID_BYTES_MAX, bytes_min=1)
    node = given.optional("alias_node", LABELS_MAX)
    if node is not None and not is_label(node):
        raise given.wrong("alias_node", LABEL_RULE)
    return Alias(id=id, node=node)


def _is_unicode(text: str) -> bool:
    """Return whether *text* has no lone surrogates, which JSON can spell and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_HTTP = Http(url="/")
_READERS: dict[str, Callable[[Given], Target]] = {
    "ttl": _ttl,
    "tcp": _tcp,
    "http": _http,
    "grpc": _grpc,
    "script": _script,
    "unix": _unix,
    "alias": _alias,
}
