"""What is on its way to the primary, what of it is done, and what is sent again."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.codec import WireError
from feed.datagrams import Decision, Submission, encode_decision, encode_submission
from feed.messages import CancelOrder
from gateway.limits import SECOND_NS
from gateway.settings import UplinkLimits
from gateway.uplink import Submissions, Uplink
from tests.gateway.groups import ALICE, BOB, log_in, order
from tests.submissions import take_submissions

LOGIN = 77


def uplink(pending: int = 100, per_client: int = 50) -> Uplink:
    return Uplink(UplinkLimits(pending=pending, pending_per_client=per_client))


def sent(uplink: Uplink) -> list[Submission]:
    return take_submissions(bytearray(uplink.take_output()))


def decide(
    uplink: Uplink, submission: int, sequence: int, now_ns: int = 0, *, epoch: int = 1
) -> None:
    uplink.on_data(encode_decision(Decision(epoch, submission, sequence)), now_ns)
    uplink.check()


def submit_batch(uplink: Uplink, client: int, *numbers: int) -> list[Submission]:
    """Orders that a client sent at once."""
    batch = [Submission(LOGIN, order(client, number)) for number in numbers]
    data = b"".join(map(encode_submission, batch))
    uplink.submit_all(client, LOGIN, Submissions(data, len(batch)), 0)
    uplink.check()
    return batch


def submit_orders(uplink: Uplink, client: int, *numbers: int) -> list[Submission]:
    orders = [order(client, number) for number in numbers]
    for command in orders:
        uplink.submit(LOGIN, command, 0)
    uplink.check()
    return [Submission(LOGIN, command) for command in orders]


def test_what_is_submitted_goes_out_once_and_stays_until_it_is_decided_and_delivered() -> None:
    up = uplink()
    up.on_connected(1, 0)
    orders = submit_orders(up, ALICE, 1, 2, 3)
    assert sent(up) == orders
    assert sent(up) == []
    decide(up, 2, 10)
    up.on_delivered(9, 1)
    assert up.pending_count == 3
    up.on_delivered(10, 1)
    assert up.pending_count == 1
    decide(up, 3, 10)
    up.on_delivered(10, 1)
    assert up.pending_count == 0
    up.check()


def test_without_a_connection_submissions_wait_for_one() -> None:
    up = uplink()
    orders = submit_orders(up, ALICE, 1, 2)
    assert sent(up) == []
    up.on_connected(1, 0)
    assert sent(up) == orders
    assert (up.submissions, up.resent) == (2, 0)


def test_after_a_lost_connection_all_that_may_be_lost_is_sent_again_in_its_order() -> None:
    up = uplink()
    up.on_connected(1, 0)
    orders = submit_orders(up, ALICE, 1, 2, 3, 4)
    sent(up)
    decide(up, 1, 10)
    up.on_delivered(10, 1)  # the first is committed, the second decided, the others neither
    decide(up, 2, 11)
    assert up.on_lost() == []
    up.check()
    orders += submit_orders(up, BOB, 1)
    up.on_connected(1, 0)
    up.check()
    assert sent(up) == orders[1:]
    assert up.resent == 4
    decide(up, 4, 60)
    up.on_delivered(60, 1)
    assert up.pending_count == 0


def test_a_log_in_is_not_sent_again_but_handed_back() -> None:
    up = uplink()
    up.on_connected(1, 0)
    up.submit(5, log_in(ALICE, 5), 0)
    orders = submit_orders(up, BOB, 1)
    sent(up)
    assert up.on_lost() == [5]
    up.on_connected(1, 0)
    assert sent(up) == orders
    up.check()


def test_a_log_in_can_be_taken_back_only_before_it_is_sent() -> None:
    up = uplink()
    up.submit(5, log_in(ALICE, 5), 0)
    up.submit(6, log_in(BOB, 6), 0)
    assert up.withdraw(5)
    up.check()
    up.on_connected(1, 0)
    assert sent(up) == [Submission(6, log_in(BOB, 6))]
    assert not up.withdraw(6)
    assert up.pending_count == 1


def test_log_ins_that_are_decided_are_told_of_once() -> None:
    up = uplink()
    up.on_connected(1, 0)
    up.submit(5, log_in(ALICE, 5), 0)
    submit_orders(up, BOB, 1)
    up.submit(6, log_in(BOB, 6), 0)
    decide(up, 2, 10)
    decide(up, 3, 11)
    assert [up.on_delivered(sequence, 1) for sequence in (9, 10, 11, 12)] == [[], [5], [6], []]


def test_decisions_may_come_in_pieces() -> None:
    up = uplink()
    up.on_connected(1, 0)
    submit_orders(up, ALICE, 1, 2)
    data = encode_decision(Decision(1, 1, 10)) + encode_decision(Decision(1, 2, 11))
    for i in range(len(data)):
        up.on_data(data[i : i + 1], 0)
        up.check()
    up.on_delivered(11, 1)
    assert up.pending_count == 0
    assert up.decisions == 2


@pytest.mark.parametrize(
    ("decisions", "why"),
    [
        ([(1, 3, 10)], "3 submissions decided, of 2 with 0"),
        ([(1, 2, 10), (1, 1, 11)], "1 submissions decided, of 2 with 2"),
        ([(1, 1, 10), (1, 2, 9)], "a decision at 9 after one at 10"),
        ([(2, 1, 10)], "a decision of epoch 2, not 1"),
        ([(1, 1, 10), (0, 2, 11)], "a decision of epoch 0, not 1"),
    ],
)
def test_impossible_decisions_are_an_error(decisions: list[tuple[int, int, int]], why: str) -> None:
    up = uplink()
    up.on_connected(1, 0)
    submit_orders(up, ALICE, 1, 2)
    data = b"".join(encode_decision(Decision(*decision)) for decision in decisions)
    with pytest.raises(WireError, match=why):
        up.on_data(data, 0)


def test_a_new_epoch_voids_what_the_old_primary_decided() -> None:
    up = uplink()
    up.on_feed_epoch(1)
    up.on_connected(1, 0)
    orders = submit_orders(up, ALICE, 1, 2)
    sent(up)
    decide(up, 1, 10)
    up.on_delivered(9, 1)
    up.on_feed_epoch(1)
    assert not up.is_outdated
    up.on_feed_epoch(2)
    assert up.is_outdated
    decide(up, 2, 11)  # the old primary's last word
    up.on_delivered(20, 2)  # where it said that these were, there is something else
    assert up.pending_count == 2
    up.on_lost()
    up.on_connected(2, 0)
    assert not up.is_outdated
    assert sent(up) == orders
    decide(up, 2, 30, epoch=2)
    up.on_delivered(30, 2)
    assert up.pending_count == 0


def test_what_was_delivered_before_the_list_came_to_a_later_epoch_is_done() -> None:
    up = uplink()
    up.on_connected(1, 0)
    orders = submit_orders(up, ALICE, 1, 2)
    sent(up)
    decide(up, 1, 10)
    decide(up, 2, 11)
    up.on_feed_epoch(2)  # the packets are of the next epoch already, the list not yet
    up.on_delivered(10, 1)
    up.on_delivered(11, 2)
    assert up.pending_count == 1
    up.on_lost()
    up.on_connected(2, 0)
    assert sent(up) == orders[1:]


def test_a_decision_of_an_epoch_that_the_list_has_not_come_to_waits_for_it() -> None:
    up = uplink()
    up.on_feed_epoch(1)
    up.on_connected(2, 0)  # ZooKeeper was faster than the feed
    assert not up.is_outdated
    submit_orders(up, ALICE, 1)
    decide(up, 1, 10, epoch=2)
    up.on_delivered(15, 1)
    assert up.pending_count == 1
    up.on_feed_epoch(2)
    assert not up.is_outdated
    up.on_delivered(15, 1)
    assert up.pending_count == 1
    up.on_delivered(16, 2)
    assert up.pending_count == 0


def test_a_primary_at_the_old_address_is_taken_for_the_newest_that_the_feed_shows() -> None:
    up = uplink()
    up.on_feed_epoch(4)
    up.on_connected(1, 0)
    assert not up.is_outdated
    submit_orders(up, ALICE, 1)
    decide(up, 1, 10, epoch=4)
    with pytest.raises(WireError, match="a decision of epoch 1, not 4"):
        decide(up, 1, 10, epoch=1)


def test_one_client_that_fills_its_share_leaves_room_for_the_others() -> None:
    up = uplink(pending=10, per_client=4)
    assert (up.room(ALICE), up.room(BOB)) == (4, 4)
    submit_orders(up, ALICE, 1, 2, 3, 4)
    assert (up.room(ALICE), up.room(BOB)) == (0, 4)
    assert (up.has_room_again(ALICE), up.has_room_again(BOB)) == (False, True)


def test_who_had_to_wait_is_read_again_when_half_is_free() -> None:
    up = uplink(pending=4, per_client=4)
    up.on_connected(1, 0)
    submit_orders(up, ALICE, 1, 2, 3, 4)
    assert up.room(BOB) == 0
    decide(up, 1, 10)
    up.on_delivered(10, 1)
    assert (up.room(ALICE), up.has_room_again(ALICE)) == (1, False)
    decide(up, 2, 11)
    up.on_delivered(11, 1)
    assert up.has_room_again(ALICE)
    assert up.has_room_again(BOB)


def test_a_primary_that_decides_nothing_is_overdue() -> None:
    limit_ns = 10 * SECOND_NS
    up = Uplink(UplinkLimits(decision_timeout_ns=limit_ns))
    up.on_connected(1, 0)
    assert not up.is_overdue(100 * limit_ns)  # it has been asked nothing
    up.submit(LOGIN, order(ALICE, 1), 5)
    up.submit(LOGIN, order(ALICE, 2), 7)
    assert [up.is_overdue(limit_ns + 4), up.is_overdue(limit_ns + 5)] == [False, True]
    decide(up, 1, 10, limit_ns)
    assert [up.is_overdue(2 * limit_ns - 1), up.is_overdue(2 * limit_ns)] == [False, True]
    decide(up, 2, 11, limit_ns)
    assert not up.is_overdue(100 * limit_ns)


@given(st.binary(max_size=200))
def test_foreign_bytes_from_the_primary_are_an_error_or_decide_what_was_sent(data: bytes) -> None:
    up = uplink()
    up.on_connected(1, 0)
    submit_orders(up, ALICE, 1, 2)
    up.submit(LOGIN, CancelOrder(ALICE, 1, 0), 0)
    try:
        up.on_data(data, 0)
    except WireError:
        up.on_lost()
    up.check()
    assert up.pending_count == 3


def test_a_decision_is_an_epoch_and_two_numbers_of_eight_bytes() -> None:
    assert encode_decision(Decision(3, 1, 2)) == struct.pack(">IQQ", 3, 1, 2)


def test_a_decision_may_end_within_what_a_client_sent_at_once() -> None:
    up = uplink()
    up.on_connected(1, 0)
    alice = submit_batch(up, ALICE, 1, 2, 3)
    bob = submit_batch(up, BOB, 1, 2)
    assert sent(up) == alice + bob
    assert (up.room(ALICE), up.room(BOB), up.pending_count) == (47, 48, 5)
    decide(up, 2, 10)
    decide(up, 4, 12)
    up.on_delivered(10, 1)
    assert (up.room(ALICE), up.room(BOB), up.pending_count) == (49, 48, 3)
    up.on_lost()
    up.check()
    up.on_connected(1, 0)
    assert sent(up) == [*alice[2:], *bob]
    assert (up.submissions, up.resent) == (5, 3)
    decide(up, 2, 12)
    up.on_delivered(12, 1)
    up.check()
    up.on_lost()
    up.on_connected(1, 0)
    assert sent(up) == bob[1:]


@given(
    batches=st.lists(st.integers(1, 6), min_size=1, max_size=8),
    decisions=st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=8),
)
def test_batches_are_what_single_commands_would_be(
    batches: list[int], decisions: list[tuple[int, bool]]
) -> None:
    together, one_by_one = uplink(1000, 1000), uplink(1000, 1000)
    number = 0
    for place, size in enumerate(batches):
        client, numbers = (ALICE, BOB)[place % 2], range(number + 1, number + size + 1)
        submit_batch(together, client, *numbers)
        submit_orders(one_by_one, client, *numbers)
        number += size
    for up in (together, one_by_one):
        up.on_connected(1, 0)
    decided = 0
    for sequence, (more, is_lost) in enumerate(decisions, 1):
        assert together.take_output() == one_by_one.take_output()
        decided += min(more, together.pending_count)
        for up in (together, one_by_one):
            decide(up, decided, sequence)
            up.on_delivered(sequence, 1)
            up.check()
            if is_lost:
                up.on_lost()
                up.on_connected(1, 0)
        decided = 0 if is_lost else decided
        for client in (ALICE, BOB):
            assert together.room(client) == one_by_one.room(client)
        assert together.pending_count == one_by_one.pending_count
        assert together.resent == one_by_one.resent
    assert together.take_output() == one_by_one.take_output()
