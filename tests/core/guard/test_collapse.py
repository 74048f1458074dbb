"""Silence alone takes no service away before its time; what owners say counts at once."""

from dataclasses import replace

import pytest

from gossipd.config import GuardConfig
from gossipd.errors import ConfigError
from gossipd.records import Mode
from tests.core.guard.builders import ALIVE, CRITICAL, DEAD, DRAINING, LEFT, SETTINGS, SUSPECT, Scene


def test_the_last_ready_instance_is_kept_and_marked_until_its_time_is_over() -> None:
    scene = Scene()
    scene.start(1)
    scene.die("n0")
    assert scene.shown() == {"n0": "degraded"}
    assert scene.causes() == [("last", 1)]
    scene.pass_time(119.9)
    assert scene.shown() == {"n0": "degraded"}
    scene.pass_time(0.1)
    assert scene.shown() == {"n0": "gone"}
    assert scene.causes() == [("time", 0)]


def test_half_may_go_at_once_but_no_more() -> None:
    half, more = Scene(), Scene()
    half.start(10)
    half.die(*(f"n{at}" for at in range(5)))
    assert (half.ready(), half.causes()) == (5, [])
    more.start(10)
    more.die(*(f"n{at}" for at in range(6)))
    assert (more.ready(), more.causes()) == (10, [("share", 6)])


def test_losses_add_up_over_the_window_and_what_went_before_is_not_brought_back() -> None:
    scene = Scene()
    scene.start(10)
    for at in range(6):
        scene.die(f"n{at}")
        scene.pass_time(10.0)
    assert [scene.shown()[f"n{at}"] for at in range(6)] == [*["gone"] * 5, "degraded"]


def test_losses_apart_by_more_than_the_window_do_not_add_up() -> None:
    scene = Scene()
    scene.start(10)
    for at in range(6):
        scene.die(f"n{at}")
        scene.pass_time(20.0)
    assert scene.ready() == 4
    assert scene.causes() == []


def test_while_a_service_is_guarded_whoever_falls_silent_is_kept_for_a_time_of_its_own() -> None:
    scene = Scene()
    scene.start(3)
    scene.die("n0", "n1")
    scene.pass_time(100.0)
    scene.die("n2")
    assert scene.shown() == {"n0": "degraded", "n1": "degraded", "n2": "degraded"}
    scene.pass_time(20.0)
    assert scene.shown() == {"n0": "gone", "n1": "gone", "n2": "degraded"}
    scene.pass_time(100.0)
    assert scene.ready() == 0


def test_an_owner_that_is_heard_again_clears_the_mark_without_a_blip() -> None:
    scene = Scene()
    scene.start(2)
    scene.die("n0", "n1")
    scene.causes()
    scene.member("n1", ALIVE)
    assert scene.shown() == {"n0": "degraded", "n1": "ready"}
    scene.member("n0", SUSPECT)
    assert scene.shown() == {"n0": "ready", "n1": "ready"}
    assert scene.causes() == [("heard", 0)]
    assert scene.guard.next_deadline() == float("inf")


@pytest.mark.parametrize("said", [CRITICAL, DRAINING, None])
def test_what_an_owner_says_of_a_kept_instance_counts_at_once(said: object) -> None:
    scene = Scene()
    scene.start(1)
    scene.die("n0")
    scene.causes()
    scene.publish("n0", said)  # type: ignore[arg-type]
    assert scene.shown() == {}
    assert scene.causes() == [("owner", 0)]
    assert len(scene.guard.collapse) == 0


def test_an_owner_that_says_it_is_well_is_not_yet_heard_itself() -> None:
    scene = Scene()
    scene.start(1)
    scene.die("n0")
    scene.publish("n0", service="api")
    assert scene.shown("web") == {}
    assert scene.shown("api") == {"n0": "gone"}


def test_a_node_that_goes_under_maintenance_takes_its_kept_instances_along() -> None:
    scene = Scene()
    scene.start(2)
    scene.die("n0", "n1")
    scene.mode("n0", Mode.MAINTENANCE)
    assert scene.shown() == {"n1": "degraded"}


def test_an_instance_that_its_owner_takes_out_is_no_loss() -> None:
    scene = Scene()
    scene.start(4)
    for name in ("n0", "n1", "n2"):
        scene.publish(name, CRITICAL)
    assert scene.shown() == {"n3": "ready"}
    assert scene.causes() == []
    scene.die("n0", "n1")
    assert (scene.shown(), scene.causes()) == ({"n3": "ready"}, [])


def test_one_that_leaves_by_itself_is_no_loss() -> None:
    scene = Scene()
    scene.start(3)
    scene.member("n0", LEFT)
    scene.member("n1", LEFT)
    assert (scene.shown(), scene.causes()) == ({"n2": "ready"}, [])


def test_those_who_leave_count_no_more_among_the_ready() -> None:
    scene = Scene()
    scene.start(4)
    scene.die("n0")
    scene.member("n1", LEFT)
    scene.die("n2")
    assert scene.shown() == {"n0": "gone", "n2": "degraded", "n3": "ready"}


def test_a_guarded_service_loses_nothing_to_silence_also_when_its_window_is_over() -> None:
    scene = Scene()
    scene.start(20)
    scene.die(*(f"n{at}" for at in range(11)))
    scene.pass_time(70.0)
    scene.die("n19")
    assert scene.shown()["n19"] == "degraded"


def test_while_isolated_what_is_kept_is_not_given_up_for_a_replacement() -> None:
    scene = Scene()
    scene.start(1)
    scene.die("n0")
    scene.isolate(True)
    scene.member("m0", ALIVE)
    scene.publish("m0")
    assert scene.shown() == {"m0": "degraded", "n0": "degraded"}


def test_one_that_leaves_after_all_is_kept_no_longer() -> None:
    scene = Scene()
    scene.start(1)
    scene.die("n0")
    scene.member("n0", LEFT)
    assert scene.shown() == {}
    assert scene.guard.collapse.kept == 0


def test_a_forgotten_member_is_kept_no_longer() -> None:
    scene = Scene(replace(SETTINGS, hold_s=1_000.0))
    scene.start(1)
    scene.die("n0")
    scene.member("n0", None)
    assert len(scene.guard.collapse) == 0


def test_a_service_that_is_as_large_as_before_without_the_kept_needs_them_no_more() -> None:
    scene = Scene()
    scene.start(1)
    scene.die("n0")
    scene.causes()
    scene.member("m0", ALIVE)
    scene.publish("m0", CRITICAL)
    assert scene.shown() == {"n0": "degraded"}
    scene.publish("m0")
    assert scene.shown() == {"m0": "ready", "n0": "gone"}
    assert scene.causes() == [("replaced", 0)]


def test_those_who_return_first_do_not_end_the_guard_for_the_others() -> None:
    scene = Scene()
    scene.start(10)
    scene.die(*(f"n{at}" for at in range(8)))
    for at in range(8):
        scene.member(f"n{at}", ALIVE)
        assert scene.ready() == 10


def test_a_node_that_dies_and_returns_again_and_again_does_not_add_up() -> None:
    scene = Scene()
    scene.start(4)
    for _ in range(5):
        scene.die("n0")
        assert scene.shown()["n0"] == "gone"
        scene.member("n0", ALIVE)
        scene.pass_time(2.0)
    assert scene.causes() == []


def test_drop_keeps_nothing_and_remembers_nothing() -> None:
    scene = Scene(replace(SETTINGS, policy="drop"))
    scene.start(1)
    scene.die("n0")
    assert scene.shown() == {"n0": "gone"}
    assert len(scene.guard.collapse) == 0


def test_while_isolated_nothing_remote_goes_and_the_news_has_time_to_come_afterwards() -> None:
    scene = Scene()
    scene.start(10)
    scene.die("n9")
    scene.isolate(True)
    scene.die("n0", "n1")
    scene.pass_time(1_000.0)
    assert [scene.shown()[name] for name in ("n0", "n1", "n2", "n9")] == [*["degraded"] * 3, "gone"]
    scene.isolate(False)
    assert scene.shown()["n0"] == "ready"
    scene.member("n0", ALIVE)
    scene.pass_time(10.0)
    assert [scene.shown()[name] for name in ("n0", "n1", "n2")] == ["ready", "gone", "ready"]


def test_what_the_guard_keeps_outlasts_isolation_by_a_batch() -> None:
    scene = Scene()
    scene.start(1)
    scene.die("n0")
    scene.isolate(True)
    scene.pass_time(500.0)
    scene.isolate(False)
    scene.pass_time(9.9)
    assert scene.shown() == {"n0": "degraded"}
    scene.pass_time(0.1)
    assert scene.shown() == {"n0": "gone"}


def test_with_drop_isolation_keeps_nothing_either() -> None:
    scene = Scene(replace(SETTINGS, policy="drop"))
    scene.start(3)
    scene.isolate(True)
    scene.die("n0")
    assert scene.shown() == {"n0": "gone", "n1": "ready", "n2": "ready"}


def test_what_we_slept_through_does_not_count_as_time() -> None:
    scene = Scene()
    scene.start(1)
    scene.die("n0")
    scene.now = 1_000.0
    scene.guard.shift(1_000.0)
    scene.settle()
    assert scene.shown() == {"n0": "degraded"}
    scene.pass_time(120.0)
    assert scene.shown() == {"n0": "gone"}


def test_what_is_too_much_to_remember_goes_without_a_look_and_is_counted() -> None:
    scene = Scene(remembered_max=7)
    scene.start(3)
    for name in ("n0", "n1", "n2"):
        scene.publish(name, service="api", id="api")
    scene.die("n0", "n1", "n2")
    assert scene.shown("api") == {"n0": "degraded", "n1": "degraded", "n2": "degraded"}
    assert scene.shown("web") == {"n0": "gone", "n1": "gone", "n2": "gone"}
    assert scene.guard.collapse.refused == 3


def test_a_large_service_is_counted_once_in_a_window_however_many_fall_silent() -> None:
    scene = Scene(replace(SETTINGS, window_s=600.0))
    scene.start(1_000)
    scene.scanned = 0
    for at in range(100):
        scene.die(f"n{at}")
        scene.publish(f"n{500 + at}", CRITICAL)
        scene.pass_time(1.0)
    assert scene.scanned == 1_000
    assert scene.ready() == 800


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("policy", "hold", "guard.policy='hold', expected one of keep, drop, refuse"),
        ("share", 1.5, "guard.share=1.5, expected 0 to 1"),
        ("batch_s", -1, "guard.batch_s=-1, expected 0 to 600"),
        ("hold_s", 0, "guard.hold_s=0, expected 1 to 86400"),
    ],
)
def test_a_wrong_setting_is_named(field: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        GuardConfig(**{field: value})  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_dead_twice_over_is_dead_once() -> None:
    scene = Scene()
    scene.start(1)
    scene.die("n0")
    scene.member("n0", DEAD)
    scene.pass_time(200.0)
    assert scene.shown() == {"n0": "gone"}
