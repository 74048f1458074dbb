"""The reference of the client names all that is public, with the arguments that it takes."""

import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

import gossipd.balancing
import gossipd.client
from gossipd.client import Client, Discovery, Mirror, Registered, aio, aio_transport, transport
from gossipd.client.answers import Filters, Offer

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
CODE = re.findall(r"`([^`]+)`", PAGE)
NAMES = {re.split(r"[(.]", code)[0] for code in CODE}
MODULES = [gossipd.client, gossipd.balancing, aio, transport, aio_transport]
MADE = {
    "Answer",
    "View",
    "Mirror",
    "Registered",
    "Endpoint",
    "Lease",
    "Attempts",
    "CallStatistics",
    "Balancer",
    "NotCalled",
}
"""Classes that users are given, or that the page describes by their attributes."""


def signature_of(taker: object, *, bound: bool) -> str:
    """Return the arguments of *taker* as the page writes them: without types."""
    parameters = list(inspect.signature(taker).parameters.values())[not bound :]  # type: ignore[arg-type]
    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]
    return str(inspect.Signature(plain)).strip("()")


def is_said(name: str, arguments: str) -> bool:
    said = {code.replace('"', "'") for code in CODE}
    return f"{name}({arguments})" in said


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.__name__))
def test_each_public_name_is_there_with_its_arguments(module: ModuleType) -> None:
    assert set(module.__all__) - NAMES == set()
    takers = {name: getattr(module, name) for name in module.__all__ if name not in MADE}
    wrong = {
        name: arguments
        for name, taker in takers.items()
        if inspect.isfunction(taker) or (inspect.isclass(taker) and "Transport" not in name)
        if not is_said(name, arguments := signature_of(taker, bound=True))
    }
    assert wrong == {}


@pytest.mark.parametrize("kind", [Discovery, Mirror, Registered], ids=lambda kind: str(kind.__name__))
def test_each_method_is_there_with_its_arguments(kind: type) -> None:
    public = {name: inspect.getattr_static(kind, name) for name in dir(kind) if not name.startswith("_")}
    assert set(public) - NAMES == set()
    methods = {name: method for name, method in public.items() if inspect.isfunction(method)}
    wrong = {
        name: arguments
        for name, method in methods.items()
        if not is_said(name, arguments := signature_of(method, bound=False))
    }
    assert wrong == {}


def test_each_attribute_filter_and_field_of_an_offer_is_there() -> None:
    made = [
        getattr(gossipd.client, name, None) or getattr(gossipd.balancing, name, None) for name in MADE - {"NotCalled"}
    ]
    public = {name for kind in [*made, Client] for name in dir(kind) if not name.startswith("_")}
    assert {*public, *Filters.__annotations__, *Offer.__annotations__} - NAMES == set()
