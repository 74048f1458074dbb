"""A daemon's settings cannot hold a wrong value, and what is wrong is named with what was expected."""

from pathlib import Path
from typing import Any

import pytest

from gossipd.daemon_config import PORT, DaemonConfig
from gossipd.errors import ConfigError
from gossipd.ids import Address


def a_config(**settings: Any) -> DaemonConfig:
    return DaemonConfig(**({"name": "ann", "socket": "/run/gossipd.sock"} | settings))


def test_by_default_only_loopback_is_bound_and_nothing_is_stored() -> None:
    config = a_config()
    assert config.bind_addresses == (Address("127.0.0.1", PORT),)
    assert (config.advertise_address, config.data_dir, config.join) == (None, None, ())


def test_insecure_binds_every_interface_by_default() -> None:
    assert a_config(insecure=True).bind_addresses == (Address("0.0.0.0", PORT),)


def test_addresses_are_read_with_and_without_ports() -> None:
    config = a_config(bind=("127.0.0.1", "[::1]:0", Address("127.0.0.2", 9)), advertise="2001:DB8::1")
    assert config.bind_addresses == (Address("127.0.0.1", PORT), Address("::1", 0), Address("127.0.0.2", 9))
    assert config.advertise_address == Address("2001:db8::1", 0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "Ann"}, r"^name='Ann', expected a DNS label"),
        ({"name": ""}, r"^name='', expected"),
        ({"cluster": "a b"}, r"^cluster='a b', expected a DNS label"),
        ({"socket": "/" + "x" * 107}, r"^socket='/x+', expected a path of 1 to 107 bytes"),
        ({"socket": Path("/" + "ü" * 60)}, r"expected a path of 1 to 107 bytes"),
        ({"socket": ""}, r"^socket='', expected a path"),
        ({"socket_mode": 0o1777}, r"^socket_mode='0o1777', expected 0 to 0o777"),
        ({"data_dir": ""}, r"^data_dir='', expected a path"),
        ({"log_format": "xml"}, r"^log_format='xml', expected text or json"),
        ({"log_level": "loud"}, r"^log_level='loud', expected debug or info or warning or error"),
        ({"bind": ("localhost",)}, r"^bind='localhost', expected an IP address, with or without a port"),
        ({"bind": ("127.0.0.1:99999",)}, r"^bind='127.0.0.1:99999', expected"),
        ({"bind": ("127.0.0.1", "127.0.0.1:7950")}, r"expected each address once"),
        ({"bind": tuple(f"127.0.0.{n}" for n in range(17))}, r"^bind=17, expected at most 16 addresses"),
        ({"bind": ("0.0.0.0",)}, r"^bind='0.0.0.0:7950', expected a loopback address, because there is no keyring"),
        ({"bind": ("::",)}, r"^bind='\[::\]:7950', expected a loopback address"),
        ({"bind": ("127.0.0.1", "192.0.2.1")}, r"^bind='192.0.2.1:7950', expected a loopback address"),
        ({"advertise": "0.0.0.0"}, r"^advertise='0.0.0.0', expected the address of one host"),
        ({"advertise": "224.0.0.1"}, r"^advertise='224.0.0.1', expected the address of one host"),
        ({"advertise": "ann.example"}, r"^advertise='ann.example', expected an IP address"),
        ({"join": ("seed:",)}, r"^join='seed:', expected a port after"),
        ({"join": ("seed:0",)}, r"^join='seed:0', expected a host and a port from 1 to 65535"),
        ({"join": ("se\x1bed",)}, r"expected a host"),
        ({"join": ("seed",) * 257}, r"^join=257, expected at most 256 hosts"),
        ({"labels": (("b", ""), ("a", ""))}, r"^labels=\['b', 'a'\], expected keys in their order"),
        ({"labels": (("a", ""), ("a", ""))}, r"^labels key='a', expected each key once"),
        ({"labels": (("", "x"),)}, r"^labels key='', expected 1 to 128 bytes"),
        ({"labels": (("zone", "x" * 1_025),)}, r"^labels\['zone'\]='x+\.\.\., expected at most 1024 bytes"),
        ({"labels": (("zone", "a\x02"),)}, r"^labels\['zone'\]='a\\x02', expected no control characters"),
        ({"labels": tuple((f"k{n:03}", "") for n in range(65))}, r"^labels: more than 64 entries, expected at most 64"),
        (
            {"labels": tuple((f"k{n:02}", "x" * 1_021) for n in range(16))},
            r"^labels: 16384 bytes in all, expected at most",
        ),
    ],
)
def test_a_wrong_setting_is_refused_by_name(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        a_config(**wrong)
