"""Stop orders by example: when they wait, when they wake, and in which order."""

import pytest

from engine.rejects import RejectReason
from feed.messages import CancelReason, SelfTradePrevention, Side, TimeInForce
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

IOC = TimeInForce.IMMEDIATE_OR_CANCEL
FOK = TimeInForce.FILL_OR_KILL
AROUND_A_TRADE_AT_100 = [
    (BUY, 99, True),
    (BUY, 100, True),
    (BUY, 101, False),
    (SELL, 101, True),
    (SELL, 100, True),
    (SELL, 99, False),
]


# Waiting


def test_stop_order_waits_outside_the_book_while_nothing_has_traded(floor: Floor) -> None:
    stop = floor.enter(ALICE, BUY, 10, stop=100)
    stop_limit = floor.enter(ALICE, BUY, 10, 100, stop=90)
    seller = floor.enter(BOB, SELL, 10, 95)
    assert stop.events == stop_limit.events == seller.events == []
    assert floor.book() == [row(seller, 95, 10)]


def test_waiting_stop_order_can_be_reduced_and_canceled(floor: Floor) -> None:
    stop = floor.enter(ALICE, BUY, 10, stop=100)
    assert floor.cancel(stop, remaining=4) == [canceled(stop, 6, CancelReason.USER)]
    assert floor.cancel(stop) == [canceled(stop, 4, CancelReason.USER)]


def test_quotes_alone_wake_nobody(floor: Floor) -> None:
    floor.enter(ALICE, BUY, 10, stop=100)
    ask = floor.enter(BOB, SELL, 10, 105)
    bid = floor.enter(CAROL, BUY, 10, 104)
    assert ask.events == bid.events == []


# Waking


@pytest.mark.parametrize(("side", "stop_price", "wakes"), AROUND_A_TRADE_AT_100)
def test_stop_order_wakes_at_a_trade_at_its_price_or_beyond(
    floor: Floor, side: Side, stop_price: int, wakes: bool
) -> None:
    stop = floor.enter(ALICE, side, 10, stop=stop_price)
    maker = floor.enter(BOB, SELL, 5, 100)
    taker = floor.enter(CAROL, BUY, 5, 100)
    events = [triggered(stop, 10), canceled(stop, 10, CancelReason.IMMEDIATE)]
    assert taker.events == [trade(maker, taker, 5, 100), *(events if wakes else [])]


@pytest.mark.parametrize(("side", "stop_price", "wakes"), AROUND_A_TRADE_AT_100)
def test_stop_order_that_the_last_trade_has_reached_wakes_as_it_enters(
    floor: Floor, side: Side, stop_price: int, wakes: bool
) -> None:
    floor.print_price(100)
    stop = floor.enter(ALICE, side, 10, stop=stop_price)
    events = [triggered(stop, 10), canceled(stop, 10, CancelReason.IMMEDIATE)]
    assert stop.events == (events if wakes else [])


def test_only_the_last_trade_counts_as_a_stop_order_enters(floor: Floor) -> None:
    floor.print_price(110)
    floor.print_price(100)
    assert floor.enter(ALICE, BUY, 10, stop=105).events == []


def test_trades_of_another_instrument_wake_nobody(floor: Floor) -> None:
    floor.enter(ALICE, BUY, 10, stop=100, symbol=MSFT)
    floor.enter(BOB, SELL, 10, 105, symbol=AAPL)
    taker = floor.enter(CAROL, BUY, 10, 105, symbol=AAPL)
    assert len(taker.events) == 1
    assert floor.enter(ALICE, BUY, 10, stop=100, symbol=MSFT).events == []


def test_every_trade_of_an_order_counts_and_not_only_its_last(floor: Floor) -> None:
    stop = floor.enter(ALICE, SELL, 1, stop=98)
    low = floor.enter(BOB, SELL, 5, 97)
    high = floor.enter(BOB, SELL, 5, 105)
    taker = floor.enter(CAROL, BUY, 10, 105)
    assert taker.events == [
        trade(low, taker, 5, 97),
        trade(high, taker, 5, 105),
        triggered(stop, 1),
        canceled(stop, 1, CancelReason.IMMEDIATE),
    ]


def test_triggered_stop_order_trades_at_any_price_and_loses_the_rest(floor: Floor) -> None:
    stop = floor.enter(ALICE, BUY, 10, stop=100)
    near = floor.enter(BOB, SELL, 5, 100)
    far = floor.enter(BOB, SELL, 3, 500)
    taker = floor.enter(CAROL, BUY, 2, 100)
    assert taker.events == [
        trade(near, taker, 2, 100),
        triggered(stop, 10),
        trade(near, stop, 3, 100),
        trade(far, stop, 3, 500),
        canceled(stop, 4, CancelReason.IMMEDIATE),
    ]


def test_triggered_stop_limit_order_trades_up_to_its_limit_and_rests(floor: Floor) -> None:
    stop = floor.enter(ALICE, BUY, 10, 101, stop=100)
    near = floor.enter(BOB, SELL, 5, 100)
    far = floor.enter(BOB, SELL, 3, 102)
    taker = floor.enter(CAROL, BUY, 2, 100)
    assert taker.events == [
        trade(near, taker, 2, 100),
        triggered(stop, 10, 101),
        trade(near, stop, 3, 100),
    ]
    assert floor.book() == [row(stop, 101, 7), row(far, 102, 3)]


def test_time_in_force_of_a_stop_order_holds_from_its_waking(floor: Floor) -> None:
    immediate = floor.enter(ALICE, BUY, 10, 100, stop=100, time=IOC)
    killed = floor.enter(ALICE, BUY, 10, 100, stop=100, time=FOK)
    killed_at_any_price = floor.enter(ALICE, BUY, 10, stop=100, time=FOK)
    maker = floor.enter(BOB, SELL, 15, 100)
    taker = floor.enter(CAROL, BUY, 1, 100)
    assert taker.events == [
        trade(maker, taker, 1, 100),
        triggered(immediate, 10, 100),
        trade(maker, immediate, 10, 100),
        triggered(killed, 10, 100),
        canceled(killed, 10, CancelReason.FILL_OR_KILL),
        triggered(killed_at_any_price, 10),
        canceled(killed_at_any_price, 10, CancelReason.FILL_OR_KILL),
    ]


def test_rest_of_the_incoming_order_is_canceled_before_a_stop_order_wakes(floor: Floor) -> None:
    stop = floor.enter(ALICE, BUY, 1, stop=100)
    maker = floor.enter(BOB, SELL, 5, 100)
    taker = floor.enter(CAROL, BUY, 8, 100, time=IOC)
    assert taker.events == [
        trade(maker, taker, 5, 100),
        canceled(taker, 3, CancelReason.IMMEDIATE),
        triggered(stop, 1),
        canceled(stop, 1, CancelReason.IMMEDIATE),
    ]


def test_triggered_order_can_trade_with_the_order_that_woke_it(floor: Floor) -> None:
    stop = floor.enter(ALICE, SELL, 3, stop=100)
    maker = floor.enter(BOB, SELL, 5, 100)
    taker = floor.enter(CAROL, BUY, 8, 100)
    assert taker.events == [
        trade(maker, taker, 5, 100),
        triggered(stop, 3),
        trade(taker, stop, 3, 100),
    ]


def test_triggered_order_is_the_newer_one_when_it_meets_its_own_client(floor: Floor) -> None:
    floor.log_in(ALICE, SelfTradePrevention.CANCEL_NEWEST)
    stop = floor.enter(ALICE, BUY, 10, stop=100)
    maker = floor.enter(BOB, SELL, 5, 100)
    own = floor.enter(ALICE, SELL, 5, 101)
    taker = floor.enter(CAROL, BUY, 5, 100)
    assert taker.events == [
        trade(maker, taker, 5, 100),
        triggered(stop, 10),
        canceled(stop, 10, CancelReason.SELF_TRADE),
    ]
    assert floor.book() == [row(own, 101, 5)]


# The order of waking


def test_stops_wake_buys_first_then_sells_nearest_first_then_by_arrival(floor: Floor) -> None:
    far_sell = floor.enter(ALICE, SELL, 1, stop=101)
    near_sell = floor.enter(ALICE, SELL, 2, stop=102)
    second_buy = floor.enter(ALICE, BUY, 3, stop=99)
    third_buy = floor.enter(ALICE, BUY, 4, stop=99)
    first_buy = floor.enter(ALICE, BUY, 5, stop=98)
    maker = floor.enter(BOB, SELL, 7, 100)
    taker = floor.enter(CAROL, BUY, 7, 100)
    assert taker.events == [
        trade(maker, taker, 7, 100),
        triggered(first_buy, 5),
        canceled(first_buy, 5, CancelReason.IMMEDIATE),
        triggered(second_buy, 3),
        canceled(second_buy, 3, CancelReason.IMMEDIATE),
        triggered(third_buy, 4),
        canceled(third_buy, 4, CancelReason.IMMEDIATE),
        triggered(near_sell, 2),
        canceled(near_sell, 2, CancelReason.IMMEDIATE),
        triggered(far_sell, 1),
        canceled(far_sell, 1, CancelReason.IMMEDIATE),
    ]


def test_stops_that_a_triggered_order_wakes_join_the_end_of_the_queue(floor: Floor) -> None:
    first = floor.enter(ALICE, BUY, 5, stop=100)
    sell = floor.enter(ALICE, SELL, 5, stop=100)
    cascaded = floor.enter(ALICE, BUY, 5, stop=110)
    maker = floor.enter(BOB, SELL, 5, 100)
    far = floor.enter(BOB, SELL, 5, 110)
    bid = floor.enter(BOB, BUY, 5, 90)
    taker = floor.enter(CAROL, BUY, 5, 100)
    assert taker.events == [
        trade(maker, taker, 5, 100),
        triggered(first, 5),
        trade(far, first, 5, 110),  # reaches the stop at 110, behind the sell that waits already
        triggered(sell, 5),
        trade(bid, sell, 5, 90),
        triggered(cascaded, 5),
        canceled(cascaded, 5, CancelReason.IMMEDIATE),
    ]


def test_price_of_the_cascades_last_trade_is_the_last_price(floor: Floor) -> None:
    floor.enter(ALICE, BUY, 5, stop=100)
    floor.enter(BOB, SELL, 5, 100)
    floor.enter(BOB, SELL, 5, 110)
    floor.enter(CAROL, BUY, 5, 100)
    late = floor.enter(ALICE, BUY, 1, stop=110)
    assert late.events == [triggered(late, 1), canceled(late, 1, CancelReason.IMMEDIATE)]


def test_replaced_order_that_trades_wakes_stops_too(floor: Floor) -> None:
    stop = floor.enter(ALICE, BUY, 1, stop=100)
    ask = floor.enter(BOB, SELL, 5, 100)
    bid = floor.enter(CAROL, BUY, 5, 99)
    new = floor.replace(bid, 5, 100)
    assert new.events == [
        replaced(bid, new, 5, 100, keeps=False),
        trade(ask, new, 5, 100),
        triggered(stop, 1),
        canceled(stop, 1, CancelReason.IMMEDIATE),
    ]


# Replacing a stop order


def test_replaced_stop_order_waits_at_the_end_of_the_stops_of_its_price(floor: Floor) -> None:
    first = floor.enter(ALICE, BUY, 1, stop=100)
    second = floor.enter(ALICE, BUY, 2, stop=100)
    new = floor.replace(first, 1)
    assert new.events == [replaced(first, new, 1, 0, keeps=False, stop=100)]
    maker = floor.enter(BOB, SELL, 5, 100)
    taker = floor.enter(CAROL, BUY, 5, 100)
    assert taker.events == [
        trade(maker, taker, 5, 100),
        triggered(second, 2),
        canceled(second, 2, CancelReason.IMMEDIATE),
        triggered(new, 1),
        canceled(new, 1, CancelReason.IMMEDIATE),
    ]


def test_replaced_stop_limit_order_takes_new_limit_stop_price_and_time(floor: Floor) -> None:
    stop = floor.enter(ALICE, BUY, 10, 105, stop=104)
    new = floor.replace(stop, 8, 103, stop=101, time=IOC)
    assert new.events == [replaced(stop, new, 8, 103, keeps=False, stop=101)]
    maker = floor.enter(BOB, SELL, 5, 101)
    taker = floor.enter(CAROL, BUY, 5, 101)
    assert taker.events == [
        trade(maker, taker, 5, 101),
        triggered(new, 8, 103),
        canceled(new, 8, CancelReason.IMMEDIATE),
    ]


def test_replaced_stop_order_wakes_when_the_last_trade_has_reached_its_new_price(
    floor: Floor,
) -> None:
    floor.print_price(100)
    stop = floor.enter(ALICE, BUY, 10, stop=105)
    new = floor.replace(stop, 10, stop=100)
    assert new.events == [
        replaced(stop, new, 10, 0, keeps=False, stop=100),
        triggered(new, 10),
        canceled(new, 10, CancelReason.IMMEDIATE),
    ]


def test_stop_order_that_woke_and_rests_is_replaced_like_any_limit_order(floor: Floor) -> None:
    floor.print_price(100)
    stop = floor.enter(ALICE, BUY, 10, 95, stop=100)
    assert stop.events == [triggered(stop, 10, 95)]
    refused = floor.replace(stop, 10, 95, stop=100)
    assert refused.events == [rejected(refused, RejectReason.INVALID_STOP_PRICE)]
    new = floor.replace(stop, 10, 95)
    assert new.events == [replaced(stop, new, 10, 95, keeps=True)]
    assert floor.book() == [row(stop, 95, 10)]
