"""Marks of other shards, and the log-ins of clients that are at home there."""

import pytest

from engine.market import MAX_MARKS
from engine.rejects import RejectReason
from feed.messages import (
    CancelOrder,
    LogIn,
    Rejected,
    SelfTradePrevention,
    ShardMark,
)
from tests.engine.driving import AnyMarket
from tests.engine.floor import ALICE, BUY, Floor

OFF, BOTH = SelfTradePrevention.OFF, SelfTradePrevention.CANCEL_BOTH
WRONG_MARK = [Rejected(0, 0, RejectReason.INVALID_MARK)]
STRANGER = 77


def admits(floor: Floor, *marks: ShardMark) -> list[bool]:
    return [floor.market.admits(0, mark) for mark in marks]


def test_a_mark_stands_alone_in_its_group(floor: Floor) -> None:
    assert floor.submit(ShardMark(2, 10)) == []


def test_a_mark_is_admitted_only_where_it_is_later_than_the_one_before(floor: Floor) -> None:
    floor.submit(ShardMark(2, 10))
    later = [ShardMark(2, sequence) for sequence in (1, 9, 10, 11, 2**64 - 1)]
    assert admits(floor, *later) == [False, False, False, True, True]
    floor.submit(ShardMark(2, 2**64 - 1))
    assert admits(floor, *later) == [False] * 5


def test_each_shard_has_a_mark_of_its_own(floor: Floor) -> None:
    floor.submit(ShardMark(2, 10))
    assert admits(floor, ShardMark(1, 1), ShardMark(3, 9), ShardMark(2**16 - 1, 10)) == [True] * 3


def test_a_mark_of_no_shard_or_at_no_place_is_not_admitted(floor: Floor) -> None:
    assert admits(floor, ShardMark(0, 1), ShardMark(1, 0), ShardMark(0, 0)) == [False] * 3


def test_any_gateway_may_mark_and_needs_no_log_in(floor: Floor) -> None:
    assert all(floor.market.admits(login, ShardMark(2, 1)) for login in (0, 1, 12345))


def test_only_so_many_shards_are_marked(floor: Floor) -> None:
    for shard in range(1, MAX_MARKS + 1):
        floor.submit(ShardMark(shard, shard))
    one_more = ShardMark(MAX_MARKS + 1, 1)
    assert admits(floor, one_more, ShardMark(MAX_MARKS, 1), ShardMark(1, 2)) == [
        False,
        False,
        True,
    ]
    assert floor.market.apply(floor.next_sequence, 0, one_more) == WRONG_MARK


def test_a_mark_that_should_not_have_been_admitted_is_rejected_and_changes_nothing(
    floor: Floor,
) -> None:
    floor.submit(ShardMark(2, 10))
    sequence = floor.next_sequence
    for wrong in (ShardMark(2, 10), ShardMark(2, 9), ShardMark(0, 99), ShardMark(3, 0)):
        assert floor.market.apply(sequence, 0, wrong) == WRONG_MARK
        sequence += 2
    assert admits(floor, ShardMark(2, 11), ShardMark(3, 1)) == [True, True]


# Log-ins away from home


def test_the_latest_log_in_at_home_counts_in_whatever_order_they_come(floor: Floor) -> None:
    login = floor.logins[ALICE]
    assert floor.submit(LogIn(ALICE, login + 2, OFF, 20)) == []
    late = [LogIn(ALICE, login + 1, OFF, home) for home in (0, 10, 19, 20, 21)]
    admitted = [floor.market.admits(0, each) for each in late]
    assert admitted == [False, False, False, True, True]


def test_a_repeat_of_a_log_in_is_not_admitted_for_a_later_place_at_home(floor: Floor) -> None:
    assert not floor.market.admits(0, LogIn(ALICE, floor.logins[ALICE], OFF, 1))


def test_a_client_that_is_new_here_may_have_logged_in_anywhere(floor: Floor) -> None:
    for home in (0, 1, 2**64 - 1):
        assert floor.market.admits(0, LogIn(STRANGER, 5, OFF, home))


def test_a_log_in_that_is_refused_leaves_the_place_at_home_as_it_was(floor: Floor) -> None:
    floor.submit(LogIn(ALICE, 70, OFF, 20))
    floor.submit(LogIn(ALICE, 71, 0, 30))
    assert floor.market.admits(0, LogIn(ALICE, 72, OFF, 20))
    assert not floor.market.admits(0, LogIn(ALICE, 72, OFF, 19))


def test_a_log_in_that_is_carried_out_all_the_same_is_the_one_in_force(floor: Floor) -> None:
    floor.submit(LogIn(ALICE, 70, OFF, 20))
    assert floor.market.apply(floor.next_sequence, 0, LogIn(ALICE, 60, BOTH, 10)) == []
    assert floor.market.admits(60, CancelOrder(ALICE, 1, 0))
    assert not floor.market.admits(70, CancelOrder(ALICE, 1, 0))
    assert floor.market.admits(0, LogIn(ALICE, 61, OFF, 11))


def test_orders_and_numbers_outlive_a_log_in_from_elsewhere(floor: Floor) -> None:
    bid = floor.enter(ALICE, BUY, 10, 100)
    floor.submit(LogIn(ALICE, 70, OFF, 20))
    floor.logins[ALICE] = 70
    assert not floor.market.admits(70, CancelOrder(ALICE, bid.user_ref_num, 10))
    assert floor.cancel(bid)


@pytest.mark.parametrize("number", [0, 1, 77])
def test_nobody_is_logged_in_under_no_log_in(floor: Floor, number: int) -> None:
    market: AnyMarket = floor.market
    assert not market.admits(0, CancelOrder(number, 9, 0))
