"""The budget of what clients have not read."""

from functools import partial

from gossipd.api.backlog import Backlog


def test_whoever_has_read_nothing_for_longest_is_closed_when_the_budget_is_spent() -> None:
    closed: list[int] = []
    backlog = Backlog(most=100)
    for connection in (1, 2, 3):
        backlog.hold(connection, 30, read=True, close=partial(closed.append, connection))
    backlog.hold(1, 20, read=True, close=lambda: closed.append(1))  # it reads, if slowly
    backlog.hold(4, 40, read=True, close=lambda: closed.append(4))
    assert (closed, backlog.total) == ([2], 90)


def test_who_does_not_read_does_not_gain_a_place_by_being_owed_more() -> None:
    closed: list[int] = []
    backlog = Backlog(most=100)
    backlog.hold(1, 10, read=True, close=lambda: closed.append(1))
    backlog.hold(2, 10, read=True, close=lambda: closed.append(2))
    backlog.hold(1, 50, read=False, close=lambda: closed.append(1))
    backlog.hold(3, 60, read=True, close=lambda: closed.append(3))
    assert (closed, backlog.total) == ([1], 70)


def test_a_single_client_may_be_owed_more_than_the_budget() -> None:
    closed: list[int] = []
    backlog = Backlog(most=100)
    backlog.hold(1, 500, read=True, close=lambda: closed.append(1))
    assert (closed, backlog.total) == ([], 500)


def test_who_has_read_all_or_has_ended_holds_nothing() -> None:
    backlog = Backlog(most=100)
    backlog.hold(1, 60, read=True, close=lambda: None)
    backlog.drop(1)
    backlog.hold(2, 60, read=True, close=lambda: None)
    backlog.hold(2, 0, read=True, close=lambda: None)
    assert backlog.total == 0
    backlog.drop(3)
    assert backlog.total == 0
