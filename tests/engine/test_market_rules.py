"""The machine's rules by example: one situation a test, and the whole group that it causes.

Here is how orders trade. How they are changed and canceled is in test_market_changes, stop orders
in test_market_stops, refusals in test_market_refusals, what is let into the list at all in
test_market_admission.
"""

import pytest

from feed.messages import CancelReason, PostOnly, SelfTradePrevention, TimeInForce, Trade
from tests.engine.floor import (
    AAPL,
    ALICE,
    BOB,
    BUY,
    CAROL,
    MSFT,
    SELL,
    SELL_SHORT,
    Floor,
    Ticket,
    canceled,
    row,
    trade,
)

IOC = TimeInForce.IMMEDIATE_OR_CANCEL
FOK = TimeInForce.FILL_OR_KILL


# Price-time priority


def test_order_that_meets_nobody_rests_whole_and_says_nothing(floor: Floor) -> None:
    bid = floor.enter(ALICE, BUY, 10, 100)
    ask = floor.enter(BOB, SELL, 7, 101)
    assert bid.events == ask.events == []
    assert floor.book() == [row(bid, 100, 10), row(ask, 101, 7)]


def test_buy_trades_with_the_lowest_ask_first_then_with_the_earliest(floor: Floor) -> None:
    dear = floor.enter(BOB, SELL, 5, 102)
    first = floor.enter(BOB, SELL, 5, 101)
    second = floor.enter(CAROL, SELL, 5, 101)
    taker = floor.enter(ALICE, BUY, 12, 102)
    assert taker.events == [
        trade(first, taker, 5, 101),
        trade(second, taker, 5, 101),
        trade(dear, taker, 2, 102),
    ]
    assert floor.book() == [row(dear, 102, 3)]


def test_sell_trades_with_the_highest_bid_first_then_with_the_earliest(floor: Floor) -> None:
    cheap = floor.enter(BOB, BUY, 5, 98)
    first = floor.enter(BOB, BUY, 5, 99)
    second = floor.enter(CAROL, BUY, 5, 99)
    taker = floor.enter(ALICE, SELL, 12, 98)
    assert taker.events == [
        trade(first, taker, 5, 99),
        trade(second, taker, 5, 99),
        trade(cheap, taker, 2, 98),
    ]
    assert floor.book() == [row(cheap, 98, 3)]


def test_what_the_makers_leave_of_a_limit_order_rests_at_its_own_price(floor: Floor) -> None:
    maker = floor.enter(BOB, SELL, 4, 100)
    out_of_reach = floor.enter(BOB, SELL, 4, 103)
    taker = floor.enter(ALICE, BUY, 10, 102)
    assert taker.events == [trade(maker, taker, 4, 100)]
    assert floor.book() == [row(taker, 102, 6), row(out_of_reach, 103, 4)]


def test_maker_that_trades_in_part_stays_at_the_head_of_its_queue(floor: Floor) -> None:
    first = floor.enter(BOB, SELL, 10, 100)
    second = floor.enter(CAROL, SELL, 10, 100)
    floor.enter(ALICE, BUY, 4, 100)
    taker = floor.enter(ALICE, BUY, 8, 100)
    assert taker.events == [trade(first, taker, 6, 100), trade(second, taker, 2, 100)]


def test_short_sale_trades_and_rests_with_the_sells(floor: Floor) -> None:
    bid = floor.enter(BOB, BUY, 4, 100)
    short = floor.enter(ALICE, SELL_SHORT, 10, 100)
    buyer = floor.enter(CAROL, BUY, 6, 100)
    assert short.events == [trade(bid, short, 4, 100)]
    assert buyer.events == [trade(short, buyer, 6, 100)]


def test_instruments_have_books_of_their_own(floor: Floor) -> None:
    floor.enter(BOB, SELL, 10, 100, symbol=MSFT)
    taker = floor.enter(ALICE, BUY, 10, 100, symbol=AAPL)
    assert taker.events == []


# Orders that never rest


def test_market_order_takes_every_price_and_loses_what_is_left(floor: Floor) -> None:
    near = floor.enter(BOB, SELL, 5, 100)
    far = floor.enter(BOB, SELL, 5, 1_999_999_900)
    taker = floor.enter(ALICE, BUY, 12)
    assert taker.events == [
        trade(near, taker, 5, 100),
        trade(far, taker, 5, 1_999_999_900),
        canceled(taker, 2, CancelReason.IMMEDIATE),
    ]
    assert floor.book() == []


def test_market_order_into_an_empty_book_is_canceled_whole(floor: Floor) -> None:
    taker = floor.enter(ALICE, SELL, 12)
    assert taker.events == [canceled(taker, 12, CancelReason.IMMEDIATE)]


def test_immediate_or_cancel_trades_what_its_price_allows_and_loses_the_rest(floor: Floor) -> None:
    maker = floor.enter(BOB, SELL, 5, 100)
    dear = floor.enter(BOB, SELL, 5, 102)
    taker = floor.enter(ALICE, BUY, 12, 101, time=IOC)
    assert taker.events == [
        trade(maker, taker, 5, 100),
        canceled(taker, 7, CancelReason.IMMEDIATE),
    ]
    assert floor.book() == [row(dear, 102, 5)]


def test_fill_or_kill_trades_when_the_book_can_fill_it_exactly(floor: Floor) -> None:
    near = floor.enter(BOB, SELL, 5, 100)
    far = floor.enter(CAROL, SELL, 5, 101)
    taker = floor.enter(ALICE, BUY, 10, 101, time=FOK)
    assert taker.events == [trade(near, taker, 5, 100), trade(far, taker, 5, 101)]


def test_fill_or_kill_sell_counts_the_bids_down_to_its_very_price(floor: Floor) -> None:
    near = floor.enter(BOB, BUY, 5, 101)
    far = floor.enter(CAROL, BUY, 5, 100)
    floor.enter(CAROL, BUY, 5, 99)
    killed = floor.enter(ALICE, SELL, 11, 100, time=FOK)
    filled = floor.enter(ALICE, SELL, 10, 100, time=FOK)
    assert killed.events == [canceled(killed, 11, CancelReason.FILL_OR_KILL)]
    assert filled.events == [trade(near, filled, 5, 101), trade(far, filled, 5, 100)]


def test_fill_or_kill_that_lacks_one_is_canceled_whole_and_nobody_notices(floor: Floor) -> None:
    near = floor.enter(BOB, SELL, 5, 100)
    far = floor.enter(CAROL, SELL, 5, 101)
    dear = floor.enter(CAROL, SELL, 5, 102)
    taker = floor.enter(ALICE, BUY, 11, 101, time=FOK)
    assert taker.events == [canceled(taker, 11, CancelReason.FILL_OR_KILL)]
    assert floor.book() == [row(near, 100, 5), row(far, 101, 5), row(dear, 102, 5)]


def test_fill_or_kill_market_order_looks_at_the_whole_book(floor: Floor) -> None:
    near = floor.enter(BOB, SELL, 5, 100)
    far = floor.enter(CAROL, SELL, 5, 900)
    killed = floor.enter(ALICE, BUY, 11, time=FOK)
    filled = floor.enter(ALICE, BUY, 10, time=FOK)
    assert killed.events == [canceled(killed, 11, CancelReason.FILL_OR_KILL)]
    assert filled.events == [trade(near, filled, 5, 100), trade(far, filled, 5, 900)]


def test_post_only_order_rests_next_to_the_other_side(floor: Floor) -> None:
    ask = floor.enter(BOB, SELL, 5, 101)
    bid = floor.enter(ALICE, BUY, 5, 100, post_only=PostOnly.YES)
    assert bid.events == []
    assert floor.book() == [row(bid, 100, 5), row(ask, 101, 5)]


# Self-trade prevention: Alice has an order between two of Bob's


def three_asks(floor: Floor, mode: SelfTradePrevention) -> tuple[Ticket, Ticket, Ticket]:
    floor.log_in(ALICE, mode)
    asks = [floor.enter(client, SELL, 5, 100) for client in (BOB, ALICE, BOB)]
    return asks[0], asks[1], asks[2]


def test_client_that_wants_no_prevention_trades_with_itself(floor: Floor) -> None:
    first, own, last = three_asks(floor, SelfTradePrevention.OFF)
    taker = floor.enter(ALICE, BUY, 15, 100)
    assert taker.events == [
        trade(first, taker, 5, 100),
        trade(own, taker, 5, 100),
        trade(last, taker, 5, 100),
    ]


def test_cancel_newest_cancels_the_rest_of_the_incoming_order(floor: Floor) -> None:
    first, own, last = three_asks(floor, SelfTradePrevention.CANCEL_NEWEST)
    taker = floor.enter(ALICE, BUY, 15, 100)
    assert taker.events == [
        trade(first, taker, 5, 100),
        canceled(taker, 10, CancelReason.SELF_TRADE),
    ]
    assert floor.book() == [row(own, 100, 5), row(last, 100, 5)]


def test_cancel_oldest_cancels_the_maker_and_goes_on(floor: Floor) -> None:
    first, own, last = three_asks(floor, SelfTradePrevention.CANCEL_OLDEST)
    taker = floor.enter(ALICE, BUY, 15, 100)
    assert taker.events == [
        trade(first, taker, 5, 100),
        canceled(own, 5, CancelReason.SELF_TRADE),
        trade(last, taker, 5, 100),
    ]
    assert floor.book() == [row(taker, 100, 5)]


def test_cancel_both_cancels_the_maker_and_then_the_rest_of_the_incoming(floor: Floor) -> None:
    first, own, last = three_asks(floor, SelfTradePrevention.CANCEL_BOTH)
    taker = floor.enter(ALICE, BUY, 15, 100)
    assert taker.events == [
        trade(first, taker, 5, 100),
        canceled(own, 5, CancelReason.SELF_TRADE),
        canceled(taker, 10, CancelReason.SELF_TRADE),
    ]
    assert floor.book() == [row(last, 100, 5)]


@pytest.mark.parametrize("mode", SelfTradePrevention)
def test_order_that_is_filled_before_it_meets_its_own_client_cancels_nobody(
    floor: Floor, mode: SelfTradePrevention
) -> None:
    first, own, last = three_asks(floor, mode)
    taker = floor.enter(ALICE, BUY, 5, 100)
    assert taker.events == [trade(first, taker, 5, 100)]
    assert floor.book() == [row(own, 100, 5), row(last, 100, 5)]


def test_newest_log_in_decides_how_self_trades_are_prevented(floor: Floor) -> None:
    _, own, _ = three_asks(floor, SelfTradePrevention.OFF)
    floor.log_in(ALICE, SelfTradePrevention.CANCEL_BOTH)
    taker = floor.enter(ALICE, BUY, 10, 100)
    assert taker.events[1:] == [
        canceled(own, 5, CancelReason.SELF_TRADE),
        canceled(taker, 5, CancelReason.SELF_TRADE),
    ]


@pytest.mark.parametrize(
    ("mode", "fillable"),
    [
        (SelfTradePrevention.OFF, 15),
        (SelfTradePrevention.CANCEL_NEWEST, 5),
        (SelfTradePrevention.CANCEL_OLDEST, 10),
        (SelfTradePrevention.CANCEL_BOTH, 5),
    ],
)
def test_fill_or_kill_counts_only_what_self_trade_prevention_lets_it_have(
    floor: Floor, mode: SelfTradePrevention, fillable: int
) -> None:
    first, own, last = three_asks(floor, mode)
    killed = floor.enter(ALICE, BUY, fillable + 1, 100, time=FOK)
    assert killed.events == [canceled(killed, fillable + 1, CancelReason.FILL_OR_KILL)]
    assert floor.book() == [row(first, 100, 5), row(own, 100, 5), row(last, 100, 5)]
    filled = floor.enter(ALICE, BUY, fillable, 100, time=FOK)
    assert filled.events[0] == trade(first, filled, 5, 100)
    traded = [event.quantity for event in filled.events if isinstance(event, Trade)]
    assert sum(traded) == fillable
