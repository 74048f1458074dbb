"""An instance as a value."""

from dataclasses import FrozenInstanceError

import pytest

from gossipd.balancing import Endpoint
from tests.balancing.builders import an_endpoint


def test_an_endpoint_is_known_by_node_and_id_and_tells_where_it_is() -> None:
    endpoint = Endpoint(node="ann", id="web-1", address="2001:db8::1", port=80, metadata={"build": "7"})
    assert endpoint.key == ("ann", "web-1")
    assert endpoint.authority == "[2001:db8::1]:80"
    assert an_endpoint("ann").authority == "10.0.0.1:80"
    assert endpoint.metadata["build"] == "7"


def test_equal_endpoints_are_equal_and_can_stand_in_sets() -> None:
    assert len({an_endpoint("ann"), an_endpoint("ann"), an_endpoint("ann", weight=2)}) == 2
    with pytest.raises(FrozenInstanceError):
        an_endpoint("ann").weight = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("field", "value"), [("weight", -1), ("weight", 65_536), ("weight", 1.5), ("port", 0), ("port", True)]
)
def test_a_wrong_field_is_refused_with_its_value_and_the_expectation(field: str, value: object) -> None:
    fields: dict[str, object] = {"node": "ann", "id": "web", "address": "10.0.0.1", "port": 80, field: value}
    with pytest.raises(ValueError, match=f"{field}={value!r}, expected a whole number from"):
        Endpoint(**fields)  # type: ignore[arg-type]
