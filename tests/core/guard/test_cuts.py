"""Verdicts that belong together are seen together, and no verdict waits for long."""

from dataclasses import replace

from tests.core.guard.builders import ALIVE, DEAD, LEFT, SETTINGS, SUSPECT, Scene


def a_scene(count: int = 20, **changes: float) -> Scene:
    """Return a scene whose service is too large to collapse in these tests."""
    scene = Scene(replace(SETTINGS, **changes))  # type: ignore[arg-type]
    scene.start(count)
    return scene


def test_a_lone_verdict_shows_at_once() -> None:
    scene = a_scene()
    scene.die("n1")
    assert scene.cuts() == [("n1",)]
    assert scene.shown()["n1"] == "gone"


def test_verdicts_wait_while_others_are_suspect_and_then_show_as_one() -> None:
    scene = a_scene()
    for name in ("n1", "n2", "n3"):
        scene.member(name, SUSPECT)
    scene.member("n2", DEAD)
    scene.now = 3.0
    scene.member("n1", DEAD)
    assert (scene.cuts(), scene.ready()) == ([], 20)
    scene.member("n3", DEAD)
    assert scene.cuts() == [("n1", "n2", "n3")]
    assert scene.ready() == 17


def test_a_suspect_that_refutes_ends_the_wait_of_the_others() -> None:
    scene = a_scene()
    scene.member("n1", SUSPECT)
    scene.member("n2", SUSPECT)
    scene.member("n1", DEAD)
    assert scene.cuts() == []
    scene.member("n2", ALIVE)
    assert scene.cuts() == [("n1",)]


def test_no_verdict_waits_for_longer_than_a_batch_may_last() -> None:
    scene = a_scene()
    scene.member("n9", SUSPECT)
    scene.die("n1")
    scene.pass_time(6.0)
    scene.die("n2")
    scene.pass_time(3.9)
    assert scene.cuts() == []
    scene.pass_time(0.1)
    assert scene.cuts() == [("n1", "n2")]


def test_one_that_returns_meanwhile_was_never_gone() -> None:
    scene = a_scene()
    scene.member("n9", SUSPECT)
    scene.die("n1", "n2")
    scene.member("n1", ALIVE)
    scene.pass_time(10.0)
    assert scene.cuts() == [("n2",)]
    scene.member("n2", ALIVE)
    assert set(scene.shown().values()) == {"ready"}


def test_the_last_to_return_leaves_no_deadline_behind() -> None:
    scene = a_scene()
    scene.member("n9", SUSPECT)
    scene.die("n1")
    scene.member("n1", ALIVE)
    assert scene.guard.next_deadline() == float("inf")


def test_one_that_says_goodbye_while_its_verdict_is_held_is_gone_at_once_and_no_cut() -> None:
    scene = a_scene()
    scene.member("n9", SUSPECT)
    scene.die("n1")
    scene.member("n1", LEFT)
    assert "n1" not in scene.shown()
    scene.pass_time(20.0)
    assert scene.cuts() == []


def test_one_that_is_met_dead_is_gone_without_a_cut() -> None:
    scene = a_scene()
    scene.publish("stranger")
    scene.member("stranger", DEAD)
    assert scene.shown()["stranger"] == "gone"
    assert scene.cuts() == []


def test_without_a_batch_every_verdict_shows_at_once() -> None:
    scene = a_scene(batch_s=0.0)
    scene.member("n9", SUSPECT)
    scene.die("n1", "n2")
    assert scene.cuts() == [("n1",), ("n2",)]


def test_what_we_slept_through_does_not_end_the_wait() -> None:
    scene = a_scene()
    scene.member("n9", SUSPECT)
    scene.die("n1")
    scene.now = 60.0
    scene.guard.shift(60.0)
    scene.settle()
    assert scene.cuts() == []
    assert scene.guard.next_deadline() == 70.0
