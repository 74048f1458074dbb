"""Names and addresses, checked where they enter."""

import pytest

from gossipd.ids import Address, is_label, parse_address, split_host_port


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("web-1", "web-1", 7_946),
        ("web-1:80", "web-1", 80),
        ("10.0.0.1", "10.0.0.1", 7_946),
        ("10.0.0.1:0", "10.0.0.1", 0),
        ("::1", "::1", 7_946),
        ("fe80::1:80", "fe80::1:80", 7_946),
        ("[::1]", "::1", 7_946),
        ("[::1]:65535", "::1", 65_535),
    ],
)
def test_a_host_comes_with_or_without_a_port_and_ipv6_with_one_in_brackets(text: str, host: str, port: int) -> None:
    """Scenario 57."""
    assert split_host_port(text, default_port=7_946) == (host, port)


@pytest.mark.parametrize(
    "text", ["", ":80", "web:", "web:65536", "web:-1", "web:http", "web:\u0661", "[::1", "[::1]80", "[::1]:", "[]:80"]
)
def test_half_an_address_is_refused(text: str) -> None:
    """Scenario 57."""
    with pytest.raises(ValueError, match="expected"):
        split_host_port(text, default_port=7_946)


def test_an_address_is_kept_in_canonical_form_and_written_so_that_it_can_be_read_again() -> None:
    address = parse_address("[2001:DB8:0::1]:80", default_port=7_946)
    assert address == Address("2001:db8::1", 80)
    assert str(address) == "[2001:db8::1]:80"
    assert parse_address(str(address), default_port=1) == address
    assert str(Address("10.0.0.1", 80)) == "10.0.0.1:80"


@pytest.mark.parametrize("text", ["web-1", "web-1:80", "10.0.0.256", "10.0.0.1:x"])
def test_a_name_is_no_address(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  ipaddress words its own errors
        parse_address(text, default_port=7_946)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("a", True), ("web-1", True), ("9", True), ("a" * 63, True), ("a" * 64, False), ("", False)]
    + [(text, False) for text in ("-a", "a-", "A", "a.b", "a_b", "a\n", "\u00e4")],
)
def test_a_name_is_a_dns_label_in_lower_case(text: str, is_one: bool) -> None:
    """Scenario 57."""
    assert is_label(text) is is_one
