"""Which user_ref_nums were used where."""

from array import array

from gateway.days import DayState
from gateway.numbers import Numbers
from tests.gateway.groups import ALICE, BOB


def used(*numbers: int) -> "array[int]":
    return array("I", numbers)


def test_an_order_is_found_where_its_number_was_used() -> None:
    numbers = Numbers()
    numbers.use(ALICE, 1, used(1, 4))
    numbers.use(ALICE, 2, used(2, 3))
    numbers.use(ALICE, 1, used(9))
    numbers.check()
    assert [numbers.shard_of(ALICE, each) for each in (1, 2, 3, 4, 5, 9)] == [1, 2, 2, 1, None, 1]
    assert numbers.shard_of(BOB, 1) is None
    assert (numbers.last(ALICE), numbers.last_in(ALICE, 1), numbers.last_in(ALICE, 2)) == (9, 9, 3)
    assert (numbers.last(BOB), numbers.last_in(BOB, 1)) == (0, 0)
    assert numbers.is_used(ALICE, 3)
    assert not numbers.is_used(ALICE, 5)


def test_what_is_on_its_way_is_found_until_it_is_void() -> None:
    numbers = Numbers()
    numbers.send(ALICE, 7, 2)
    assert numbers.shard_of(ALICE, 7) == 2
    assert not numbers.is_used(ALICE, 7)
    numbers.forget_sent(ALICE)
    assert numbers.shard_of(ALICE, 7) is None
    numbers.send(ALICE, 8, 2)
    numbers.use(ALICE, 2, used(8))
    numbers.forget_sent(ALICE)
    assert numbers.shard_of(ALICE, 8) == 2


def test_an_order_that_moves_is_found_where_it_is() -> None:
    numbers = Numbers()
    numbers.use(ALICE, 1, used(5))
    numbers.adopt(ALICE, 5, 2)
    assert numbers.shard_of(ALICE, 5) == 2
    numbers.adopt(ALICE, 5, 1)
    assert numbers.shard_of(ALICE, 5) == 1
    assert numbers.last_in(ALICE, 2) == 0


def test_a_snapshot_tells_of_live_orders_and_of_how_far_numbers_went() -> None:
    numbers = Numbers()
    numbers.restore(1, DayState(20261123, {ALICE: 10}, {ALICE: used(3, 40)}, {}))
    numbers.use(ALICE, 1, used(11))
    numbers.check()
    assert numbers.shard_of(ALICE, 3) == numbers.shard_of(ALICE, 40) == 1
    assert numbers.last(ALICE) == 11
    assert numbers.may_be_used_in(ALICE, 10, 1)
    assert not numbers.may_be_used_in(ALICE, 11, 1)
    assert not numbers.may_be_used_in(ALICE, 10, 2)
