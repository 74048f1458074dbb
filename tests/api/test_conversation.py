"""One client's side of the protocol: turns, and what is held for a client that does not read."""

from gossipd.api.conversation import OUTPUT_BYTES_HIGH, REQUESTS_PER_TURN_MAX
from tests.fakes_api import FakeCommands, a_conversation


def test_a_turn_ends_after_so_many_requests_and_the_next_goes_on() -> None:
    conversation = a_conversation(FakeCommands())
    conversation.receive(b'{"method":"info"}\n' * (REQUESTS_PER_TURN_MAX + 1))
    conversation.work(now=1.0)
    assert (conversation.taken, conversation.waiting) == (REQUESTS_PER_TURN_MAX, True)
    conversation.work(now=1.0)
    assert (conversation.taken, conversation.waiting) == (REQUESTS_PER_TURN_MAX + 1, False)


def test_nothing_is_answered_while_too_many_answers_wait() -> None:
    conversation = a_conversation(FakeCommands())
    conversation.receive(b"{\n" * 10_000)
    while not conversation.full:
        conversation.work(now=1.0)
    taken = conversation.taken
    conversation.work(now=1.0)
    assert (conversation.taken, conversation.waiting) == (taken, True)
    data, owes = conversation.output(now=1.0)
    assert owes
    assert OUTPUT_BYTES_HIGH <= len(data) < OUTPUT_BYTES_HIGH + 1_000
    conversation.work(now=1.0)
    assert conversation.taken > taken


def test_bytes_of_half_a_message_are_what_is_left_when_nothing_waits() -> None:
    conversation = a_conversation(FakeCommands())
    conversation.receive(b'{"method":"info"}\n{"meth')
    conversation.work(now=1.0)
    assert (conversation.waiting, conversation.half_bytes) == (False, 6)
