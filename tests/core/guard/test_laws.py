"""Laws of the guard, whatever happens to members, records and time."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gossipd.config import GuardConfig
from gossipd.records import Mode
from tests.core.guard.builders import ALIVE, CRITICAL, DEAD, DRAINING, LEFT, LIVE, READY, SETTINGS, SUSPECT, Scene

MEMBERS = [f"n{number}" for number in range(6)]
SERVICES = ["web", "api"]

doings = st.lists(
    st.one_of(
        st.tuples(
            st.just("member"), st.sampled_from(MEMBERS), st.sampled_from([ALIVE, SUSPECT, DEAD, DEAD, LEFT, None])
        ),
        st.tuples(
            st.just("publish"),
            st.sampled_from(MEMBERS),
            st.tuples(st.sampled_from(SERVICES), st.sampled_from([READY, READY, CRITICAL, DRAINING, None])),
        ),
        st.tuples(st.just("mode"), st.sampled_from(MEMBERS), st.sampled_from([Mode.NORMAL, Mode.MAINTENANCE])),
        st.tuples(st.just("isolate"), st.just(""), st.booleans()),
        st.tuples(st.just("pass"), st.just(""), st.sampled_from([0.5, 5.0, 30.0, 70.0, 130.0]) | st.floats(0, 200)),
        st.tuples(st.just("sleep"), st.just(""), st.sampled_from([1.0, 100.0])),
    ),
    max_size=60,
)


def do(scene: Scene, what: str, name: str, how: object) -> None:
    match what:
        case "member":
            before = scene.status.get(name)  # type: ignore[call-overload]
            if how is DEAD and before not in LIVE and before is not None:
                return  # nobody is found dead twice
            if how is None and before in LIVE:
                return  # only the gone are forgotten
            scene.member(name, how)  # type: ignore[arg-type]
        case "publish":
            assert isinstance(how, tuple)
            service, state = how
            scene.publish(name, state, service=service, id=service)
        case "mode":
            scene.mode(name, how)  # type: ignore[arg-type]
        case "isolate":
            if scene.guard.isolated is not how:
                scene.isolate(bool(how))
        case "pass":
            scene.pass_time(float(how))  # type: ignore[arg-type]
        case "sleep":
            scene.guard.shift(float(how))  # type: ignore[arg-type]
            scene.now += float(how)  # type: ignore[arg-type]
            scene.settle()


def a_scene(start: bool) -> Scene:
    scene = Scene()
    if start:
        for service in SERVICES:
            for name in MEMBERS:
                if scene.status.get(name) is None:  # type: ignore[call-overload]
                    scene.member(name, ALIVE)
                scene.publish(name, service=service, id=service)
    return scene


@settings(max_examples=150, deadline=None)
@given(start=st.booleans(), story=doings)
def test_silence_empties_no_service_that_was_not_silent_for_as_long_as_it_is_kept(
    start: bool, story: list[tuple[str, str, object]]
) -> None:
    """Law 1. Whoever was last answered as ready is answered for hold_s more, unless its owner says otherwise."""
    scene = a_scene(start)
    gone_at: dict[tuple[str, str], float] = {}
    for what, name, how in story:
        before = {service: scene.shown(service) for service in SERVICES}
        do(scene, what, name, how)
        for service in SERVICES:
            shown, was = scene.shown(service), before[service]
            for each in shown:
                alive = scene.guard.reachable(each)  # type: ignore[arg-type]
                gone_at[service, each] = scene.now if alive else gone_at.get((service, each), -1e9)
            had = {each for each, state in was.items() if state != "gone"}
            has = {each for each, state in shown.items() if state != "gone"}
            if had and not has and what != "pass":
                assert not had & shown.keys(), (what, name, how, was, shown)  # all of them: their owners said so
            if what == "pass":
                for each in had - has:
                    assert has or scene.now - gone_at[service, each] >= SETTINGS.hold_s


@settings(max_examples=150, deadline=None)
@given(start=st.booleans(), story=doings)
def test_after_quiet_the_answer_is_as_without_a_guard_and_nothing_is_remembered(
    start: bool, story: list[tuple[str, str, object]]
) -> None:
    """Laws 2 and 3."""
    scene = a_scene(start)
    for what, name, how in story:
        do(scene, what, name, how)
        kept = len(scene.guard.collapse)
        assert kept <= 2 * sum(len(records) for records in scene.records.values())
        for service in SERVICES:  # what lives is never marked or missing
            shown, plain = scene.shown(service), scene.plain(service)
            assert all(shown[each] != "gone" for each in plain if plain[each] == "ready")
    if scene.guard.isolated:
        scene.isolate(False)
    scene.pass_time(SETTINGS.hold_s + SETTINGS.batch_s)
    for service in SERVICES:
        assert scene.shown(service) == scene.plain(service)
    assert scene.guard.verdicts_held == 0
    assert len(scene.guard.collapse) == 0
    assert scene.guard.next_deadline() == float("inf")


@settings(max_examples=100, deadline=None)
@given(story=doings)
def test_with_nothing_to_guard_the_guard_changes_nothing(story: list[tuple[str, str, object]]) -> None:
    """The policy drop without a batch is the plain answer at every moment."""
    scene = Scene(GuardConfig(policy="drop", batch_s=0.0))
    for what, name, how in story:
        do(scene, what, name, how)
        for service in SERVICES:
            assert scene.shown(service) == scene.plain(service)


@settings(max_examples=100, deadline=None)
@given(story=doings)
def test_the_count_that_decides_is_the_true_one(story: list[tuple[str, str, object]]) -> None:
    scene = a_scene(True)
    for what, name, how in story:
        do(scene, what, name, how)
        for service, losses in scene.guard.collapse._services.items():
            reachable = {name for name in scene.shown(service) if scene.guard.reachable(name)}  # type: ignore[arg-type]
            assert losses.ready in (None, len(reachable))
