"""What a service and a label may hold, and that every refusal names field, value and expectation."""

from dataclasses import replace

import pytest
from hypothesis import given

from gossipd.records import NodeInfo, Service
from gossipd.validation import check_labels, check_node_info, check_service
from tests import strategies

WEB = Service(name="web", id="web-1", port=80)


@given(strategies.services)
def test_a_good_service_is_returned_as_it_is(service: Service) -> None:
    assert check_service(service) == service


def test_tags_metadata_and_address_are_put_into_one_form() -> None:
    untidy = replace(WEB, tags=("b", "a", "b"), metadata=(("b", "2"), ("a", "1")), address="2001:DB8:0::1")
    tidy = replace(WEB, tags=("a", "b"), metadata=(("a", "1"), ("b", "2")), address="2001:db8::1")
    assert check_service(untidy) == tidy
    assert check_service(replace(WEB, address="DB-1.Example")).address == "db-1.example"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"port": 0}, "port=0, expected 1 to 65535"),
        ({"port": 65_536}, "port=65536, expected 1 to 65535"),
        ({"port": True}, "port=True, expected 1 to 65535"),
        ({"port": 80.0}, "port=80.0, expected 1 to 65535"),
        ({"port": "80"}, "port='80', expected 1 to 65535"),
        ({"port": 10**5_000}, "port=a number of 16610 bits, expected 1 to 65535"),
        ({"weight": -1}, "weight=-1, expected 0 to 65535"),
        ({"name": "Web"}, "name='Web', expected a DNS label"),
        ({"name": 7}, "name=7, expected text"),
        ({"id": ""}, "id='', expected 1 to 128 bytes of UTF-8"),
        ({"id": "é" * 65}, "expected 1 to 128 bytes of UTF-8"),
        ({"id": "a\nb"}, "id='a\\nb', expected no control characters"),
        ({"id": "\ud800"}, "id='\\ud800', expected no control characters"),
        ({"address": "a" * 254}, "..., expected an IP address or a host name of at most 253 bytes"),
        ({"address": "300.1.1.1"}, "address='300.1.1.1', expected an IP address or a host name"),
        ({"address": "a..b"}, "address='a..b', expected an IP address or a host name"),
        ({"address": "a.b."}, "address='a.b.', expected an IP address or a host name"),
        ({"address": "a_b"}, "address='a_b', expected an IP address or a host name"),
        ({"address": "fe80::1%eth0"}, "address='fe80::1%eth0', expected an IP address or a host name"),
        ({"address": "::ffff:192.0.2.1"}, "expected 192.0.2.1"),
        ({"protocol": "TCP"}, "protocol='TCP', expected a DNS label"),
        ({"tags": "blue"}, "tags='blue', expected a list of text"),
        ({"tags": ("",)}, "tags='', expected 1 to 128 bytes"),
        ({"tags": tuple(map(str, range(65)))}, "65 tags, expected at most 64"),
        ({"metadata": (("a", "1"), ("a", "2"))}, "metadata key='a', expected each key once"),
        ({"metadata": (("a", 1),)}, "metadata['a']=1, expected text"),
        ({"metadata": (("a", "\x00"),)}, "metadata['a']='\\x00', expected no control characters"),
        ({"metadata": (("a", "x" * 1_025),)}, "expected at most 1024 bytes"),
        ({"metadata": tuple((str(n), "") for n in range(65))}, "more than 64 entries, expected at most 64"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_wrong_field_is_named_with_its_value_and_what_was_expected(changes: dict[str, object], expected: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        check_service(replace(WEB, **changes))  # type: ignore[arg-type]
    assert expected in str(caught.value)
    assert len(str(caught.value)) < 250


def test_a_value_may_have_lines_and_may_be_empty() -> None:
    assert check_labels([("b", "one\n\ttwo\r\n"), ("a", "")]) == (("a", ""), ("b", "one\n\ttwo\r\n"))


def test_a_nodes_labels_are_sorted() -> None:
    info = check_node_info(NodeInfo(labels=(("zone", "a"), ("region", "b")), software="1.0"))
    assert info == NodeInfo(labels=(("region", "b"), ("zone", "a")), software="1.0")
