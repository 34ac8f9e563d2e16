"""Days, and how long orders live, by example: the whole group of each situation."""

from datetime import date, timedelta

import pytest

from engine.days import is_day
from engine.rejects import RejectReason
from feed.messages import (
    CancelReason,
    Event,
    NewDay,
    PostOnly,
    Rejected,
    SelfTradePrevention,
    TimeInForce,
    TradingState,
)
from tests.engine.driving import take
from tests.engine.floor import (
    AAPL,
    ALICE,
    BOB,
    BUY,
    CAROL,
    MSFT,
    SELL,
    Floor,
    canceled,
    rejected,
    replaced,
    row,
    trade,
    triggered,
)
from tests.engine.machines import MACHINES

DAY, GTC = TimeInForce.DAY, TimeInForce.GOOD_TILL_CANCEL
IOC, FOK = TimeInForce.IMMEDIATE_OR_CANCEL, TimeInForce.FILL_OR_KILL
EXPIRED = CancelReason.EXPIRED
REFUSED: list[Event] = [Rejected(0, 0, RejectReason.INVALID_DAY)]


# A day begins


def test_what_was_for_the_day_expires_in_the_order_of_numbers(floor: Floor) -> None:
    first = floor.enter(CAROL, SELL, 10, 105)
    second = floor.enter(ALICE, BUY, 20, 95, symbol=MSFT)
    stop = floor.enter(BOB, BUY, 5, stop=120)
    last = floor.enter(ALICE, SELL, 10, 104)
    floor.enter(BOB, BUY, 4, 104)
    assert floor.submit(NewDay(20260105)) == [
        canceled(first, 10, EXPIRED),
        canceled(second, 20, EXPIRED),
        canceled(stop, 5, EXPIRED),
        canceled(last, 6, EXPIRED),
    ]
    assert floor.book() == floor.book(MSFT) == []
    assert floor.submit(NewDay(20260106)) == []


def test_orders_that_are_good_till_canceled_keep_their_place_through_the_night(
    floor: Floor,
) -> None:
    first = floor.enter(ALICE, SELL, 10, 105, time=GTC)
    floor.enter(BOB, SELL, 10, 105)
    second = floor.enter(CAROL, SELL, 10, 105, time=GTC)
    waits = floor.enter(BOB, BUY, 5, 110, stop=105, time=GTC)
    floor.submit(NewDay(20260105))
    assert floor.book() == [row(first, 105, 10), row(second, 105, 10)]
    taker = floor.enter(BOB, BUY, 12, 105)
    assert taker.events == [
        trade(first, taker, 10, 105),
        trade(second, taker, 2, 105),
        triggered(waits, 5, 110),
        trade(second, waits, 5, 105),
    ]


def test_a_stop_that_could_not_rest_waits_on(floor: Floor) -> None:
    waits = floor.enter(ALICE, BUY, 5, stop=105, time=IOC)
    kills = floor.enter(ALICE, BUY, 5, 105, stop=105, time=FOK)
    assert floor.submit(NewDay(20260105)) == []
    resting = floor.enter(BOB, SELL, 1, 105)
    taker = floor.enter(CAROL, BUY, 1, 105)
    assert taker.events == [
        trade(resting, taker, 1, 105),
        triggered(waits, 5),
        canceled(waits, 5, CancelReason.IMMEDIATE),
        triggered(kills, 5, 105),
        canceled(kills, 5, CancelReason.FILL_OR_KILL),
    ]


def test_halts_last_prices_log_ins_and_spent_numbers_outlive_the_day(floor: Floor) -> None:
    floor.print_price(100)
    floor.set_state(MSFT, TradingState.HALTED)
    floor.log_in(ALICE, SelfTradePrevention.CANCEL_NEWEST)
    floor.submit(NewDay(20260105))
    halted = floor.enter(BOB, BUY, 10, 100, symbol=MSFT)
    assert halted.events == [rejected(halted, RejectReason.HALTED)]
    reached = floor.enter(BOB, BUY, 5, 90, stop=99)
    assert reached.events == [triggered(reached, 5, 90)]
    own = floor.enter(ALICE, SELL, 5, 91)
    newest = floor.enter(ALICE, BUY, 5, 91)
    assert newest.events == [canceled(newest, 5, CancelReason.SELF_TRADE)]
    assert floor.book() == [row(reached, 90, 5), row(own, 91, 5)]
    floor.user_ref_nums[BOB] = 0
    with pytest.raises(AssertionError, match="not admitted"):
        floor.enter(BOB, BUY, 1, 1)
    assert floor.submit(NewDay(20260106)) == [
        canceled(reached, 5, EXPIRED),
        canceled(own, 5, EXPIRED),
    ]


# Which days there are


@pytest.mark.parametrize(
    "day", [0, 1, 101, 9991231, 20260230, 20250229, 19000229, 20260001, 20261301, 20260100]
)
def test_what_is_no_date_is_refused_and_ends_no_order(floor: Floor, day: int) -> None:
    order = floor.enter(ALICE, SELL, 10, 105)
    assert floor.submit(NewDay(day)) == REFUSED
    assert floor.book() == [row(order, 105, 10)]


@pytest.mark.parametrize("day", [100000101, 2**31, 2**32 - 1, 99991232])
def test_no_year_has_more_than_four_digits(floor: Floor, day: int) -> None:
    assert floor.submit(NewDay(day)) == REFUSED
    assert floor.submit(NewDay(99991231)) == []


@pytest.mark.parametrize("day", [20240228, 20240229])
def test_a_day_that_is_not_later_than_the_one_before_is_refused(floor: Floor, day: int) -> None:
    assert floor.submit(NewDay(20240229)) == []
    order = floor.enter(ALICE, SELL, 10, 105)
    assert floor.submit(NewDay(day)) == REFUSED
    assert floor.book() == [row(order, 105, 10)]
    assert floor.submit(NewDay(20240301)) == [canceled(order, 10, EXPIRED)]


def test_a_day_is_admitted_under_any_log_in(floor: Floor) -> None:
    assert take(floor.market, 99, NewDay(20260105), floor.next_sequence, 0) == []


def test_days_are_those_of_the_calendar() -> None:
    first, last = date(1896, 1, 1), date(2110, 1, 1)
    days = (first + timedelta(days=n) for n in range((last - first).days))
    dates = {int(day.strftime("%Y%m%d")) for day in days}
    assert {day for day in range(18960101, 21100101) if is_day(day)} == dates
    assert is_day(10000101)
    assert not is_day(9991231)


@pytest.mark.parametrize("machine", MACHINES)
def test_machines_know_the_day(machine: str) -> None:
    market = MACHINES[machine]()
    assert market.day == 0
    market.carry_out(NewDay(20260105), 1, 0)
    market.carry_out(NewDay(20260105), 2, 0)
    assert market.day == 20260105


# Good till canceled, and the day's other orders


@pytest.mark.parametrize(("before", "after"), [(DAY, GTC), (GTC, DAY)])
@pytest.mark.parametrize("quantity", [10, 4])
def test_a_replace_that_changes_only_how_long_it_rests_keeps_its_place(
    floor: Floor, before: TimeInForce, after: TimeInForce, quantity: int
) -> None:
    order = floor.enter(ALICE, SELL, 10, 105, time=before)
    behind = floor.enter(BOB, SELL, 10, 105, time=GTC)
    new = floor.replace(order, quantity, 105, time=after)
    assert new.events == [replaced(order, new, quantity, 105, keeps=True)]
    assert floor.book() == [row(order, 105, quantity), row(behind, 105, 10)]
    expired = [canceled(new, quantity, EXPIRED)] if after is DAY else []
    assert floor.submit(NewDay(20260105)) == expired


def test_a_replace_that_loses_its_place_takes_its_time_in_force_over(floor: Floor) -> None:
    order = floor.enter(ALICE, SELL, 10, 105)
    floor.replace(order, 10, 106, time=GTC)
    assert floor.submit(NewDay(20260105)) == []
    assert floor.book() == [row(order, 106, 10)]


def test_a_stop_takes_its_new_time_in_force_over(floor: Floor) -> None:
    stays = floor.replace(floor.enter(ALICE, BUY, 5, stop=105), 5, time=GTC)
    ends = floor.replace(floor.enter(ALICE, BUY, 5, stop=105, time=GTC), 5, time=DAY)
    assert floor.submit(NewDay(20260105)) == [canceled(ends, 5, EXPIRED)]
    assert floor.cancel(stays) == [canceled(stays, 5, CancelReason.USER)]


def test_post_only_goes_with_good_till_canceled(floor: Floor) -> None:
    order = floor.enter(ALICE, SELL, 10, 105, time=GTC, post_only=PostOnly.YES)
    assert floor.book() == [row(order, 105, 10)]
    new = floor.replace(order, 10, 106, time=GTC)
    assert new.events == [replaced(order, new, 10, 106, keeps=False)]
    would_trade = floor.enter(BOB, BUY, 10, 106, time=GTC, post_only=PostOnly.YES)
    assert would_trade.events == [rejected(would_trade, RejectReason.POST_ONLY_WOULD_TRADE)]


def test_what_is_left_of_an_order_that_is_good_till_canceled_rests(floor: Floor) -> None:
    maker = floor.enter(ALICE, SELL, 10, 105)
    taker = floor.enter(BOB, BUY, 12, 105, time=GTC)
    assert taker.events == [trade(maker, taker, 10, 105)]
    assert floor.book(AAPL) == [row(taker, 105, 2)]


def test_a_market_order_that_is_good_till_canceled_does_not_rest(floor: Floor) -> None:
    order = floor.enter(ALICE, BUY, 10, time=GTC)
    assert order.events == [canceled(order, 10, CancelReason.IMMEDIATE)]
