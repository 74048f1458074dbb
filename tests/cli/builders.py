"""Rows and views as the local API answers them."""

from typing import Any

WELL = {"isolated": False, "met": True, "members_alive": 3, "members_known": 3, "stalest_owner_age_s": 0.4, "index": 17}
ISOLATED = {**WELL, "isolated": True, "members_alive": 1, "stalest_owner_age_s": 75.0}


def a_member(name: str = "n1", **changes: Any) -> dict[str, Any]:
    row = {
        "name": name,
        "status": "alive",
        "address": "10.0.0.1:7950",
        "epoch": 1_700_000_000_000,
        "counter": 0,
        "since_s": 61.0,
        "vouched_s": 0.25,
        "rtt_ms": 0.42,
        "me": False,
        "labels": {"zone": "a"},
        "software": "0.1.0",
        "services": 2,
    }
    return row | changes


def an_instance(node: str = "n1", **changes: Any) -> dict[str, Any]:
    row = {
        "service": "web",
        "id": f"web-{node}",
        "node": node,
        "address": "10.0.0.1",
        "port": 8080,
        "protocol": "tcp",
        "tags": ["v2"],
        "metadata": {},
        "weight": 1,
        "status": "passing",
        "ready": True,
        "serving": True,
        "terminating": False,
        "degraded": False,
        "damped": False,
        "reason": None,
        "zone": "a",
        "region": None,
        "node_status": "alive",
        "age_s": 0.2,
    }
    return row | changes


def a_service(name: str = "web", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "instances": 3,
        "ready": 2,
        "passing": 2,
        "degraded": 0,
        "nodes": 3,
        "tags": ["v1", "v2"],
    } | changes


def a_registration(id: str = "web", **changes: Any) -> dict[str, Any]:
    return {
        "id": id,
        "service": "web",
        "holder": "kept",
        "health": "passing",
        "mode": "normal",
        "damped": False,
        "penalty": 0.0,
        "reason": None,
        "checks": 0,
        "drain": None,
        "lease_left_s": None,
    } | changes


def a_drain(**changes: Any) -> dict[str, Any]:
    return {"since_s": 1.0, "deadline_left_s": 4.0, "heard": True, "remaining": None, "done": False} | changes


def a_check(id: str = "http", **changes: Any) -> dict[str, Any]:
    return {
        "instance": "web",
        "id": id,
        "kind": "http",
        "health": "passing",
        "output": "200 OK",
        "since_s": 60.0,
        "last_run_s": 2.5,
        "next_run_s": 7.5,
        "took_s": 0.002,
        "failures": 0,
        "successes": 6,
        "notes": "",
    } | changes


NODE = {"mode": "normal", "reason": None, "drain": None}
