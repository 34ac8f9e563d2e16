"""An instrument leaves with its orders, and may come back."""

import pytest

from engine.rejects import RejectReason
from feed.messages import (
    CancelOrder,
    CancelReason,
    DefineInstrument,
    InstrumentState,
    MoveOut,
    NewDay,
    OrderType,
    PostOnly,
    SetTradingState,
    ShortSale,
    TradingState,
)
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
    canceled,
    rejected,
    row,
)
from tests.engine.moves import (
    ARRIVAL,
    ARRIVING,
    AWAY,
    GOOG,
    GTC,
    HALTED,
    LISTING,
    MOVED,
    ORDER,
    TRADING,
    arriving,
    enter,
    moved,
    order_went,
    refused,
    went,
)

# Out


def test_an_instrument_leaves_with_all_of_its_orders_in_the_order_of_their_priority(
    floor: Floor,
) -> None:
    low = floor.enter(ALICE, BUY, 10, 94)
    first = floor.enter(BOB, BUY, 10, 95, time=GTC)
    second = floor.enter(CAROL, BUY, 10, 95, post_only=PostOnly.YES)
    floor.enter(CAROL, BUY, 10, 50, symbol=MSFT)
    far = floor.enter(ALICE, SELL_SHORT, 10, 105)
    near = floor.enter(BOB, SELL, 10, 100)
    floor.enter(CAROL, BUY, 3, 100)
    floor.cancel(near, remaining=5)
    late = floor.enter(ALICE, BUY, 5, 113, stop=112)
    early = floor.enter(BOB, BUY, 5, stop=110)
    lower = floor.enter(ALICE, SELL, 5, stop=85)
    higher = floor.enter(CAROL, SELL, 5, 80, stop=90)
    assert moved(floor) == [
        went(AAPL, last_price=100),
        order_went(first, 10, 95, time_in_force=GTC),
        order_went(second, 10, 95, post_only=PostOnly.YES),
        order_went(low, 10, 94),
        order_went(near, 10, 100, leaves=5, executed=3),
        order_went(far, 10, 105),
        order_went(early, 5, stop=110, order_type=OrderType.STOP),
        order_went(late, 5, 113, stop=112, order_type=OrderType.STOP_LIMIT),
        order_went(higher, 5, 80, stop=90, order_type=OrderType.STOP_LIMIT),
        order_went(lower, 5, stop=85, order_type=OrderType.STOP),
    ]
    assert floor.book() == []
    assert len(floor.book(MSFT)) == 1


def test_a_replaced_order_leaves_behind_those_that_it_stands_behind(floor: Floor) -> None:
    first = floor.enter(ALICE, BUY, 10, 95)
    second = floor.enter(BOB, BUY, 10, 95)
    again = floor.replace(first, 20, 95)
    assert moved(floor)[1:] == [order_went(second, 10, 95), order_went(again, 20, 95)]


def test_an_instrument_leaves_without_orders_too(floor: Floor) -> None:
    assert moved(floor) == [went(AAPL)]


def test_only_what_is_halted_may_leave(floor: Floor) -> None:
    bid = floor.enter(ALICE, BUY, 10, 95)
    assert floor.submit(AWAY) == refused(RejectReason.NOT_HALTED)
    assert floor.book() == [row(bid, 95, 10)]
    arriving(floor)
    assert floor.submit(MoveOut(GOOG, 3)) == refused(RejectReason.NOT_HALTED)
    assert floor.submit(MoveOut(b"NOBODY  ", 2)) == refused(RejectReason.UNKNOWN_SYMBOL)


def test_what_has_left_does_not_leave_again(floor: Floor) -> None:
    moved(floor)
    assert not floor.market.admits(0, AWAY)
    again = floor.market.apply(floor.next_sequence, 0, AWAY)
    assert again == refused(RejectReason.MOVED)


def test_orders_that_have_left_live_here_no_more(floor: Floor) -> None:
    bid = floor.enter(ALICE, BUY, 10, 95)
    other = floor.enter(ALICE, BUY, 10, 95, symbol=MSFT)
    moved(floor)
    assert not floor.market.admits(1, CancelOrder(ALICE, bid.user_ref_num, 0))
    assert floor.mass_cancel(ALICE) == [canceled(other, 10, CancelReason.USER)]
    assert floor.submit(NewDay(20260105)) == []


def test_nobody_trades_what_has_left(floor: Floor) -> None:
    bid = floor.enter(ALICE, BUY, 10, 95)
    moved(floor)
    entered = floor.enter(BOB, SELL, 10, 95)
    assert entered.events == [rejected(entered, RejectReason.MOVED)]
    replaced = floor.replace(bid, 5, 95)
    assert replaced.events == [rejected(replaced, RejectReason.ORDER_NOT_LIVE)]
    assert floor.mass_cancel(ALICE, AAPL) == []
    wrong = floor.enter(BOB, SELL, 0, 95)
    assert wrong.events == [rejected(wrong, RejectReason.MOVED)]  # before its quantity is looked at


def test_numbers_that_clients_have_used_stay_used(floor: Floor) -> None:
    bid = floor.enter(ALICE, BUY, 10, 95)
    moved(floor)
    login = floor.logins[ALICE]
    assert not floor.market.admits(login, enter(ALICE, bid.user_ref_num, MSFT))
    assert floor.market.admits(login, enter(ALICE, bid.user_ref_num + 1, MSFT))


@pytest.mark.parametrize("state", [HALTED, TRADING])
def test_what_has_left_is_neither_halted_nor_resumed(floor: Floor, state: TradingState) -> None:
    moved(floor)
    assert floor.set_state(AAPL, state) == refused(RejectReason.MOVED)
    assert floor.enter(ALICE, BUY, 1, 1).events[0][2] == RejectReason.MOVED


@pytest.mark.parametrize("state", [MOVED, ARRIVING, 0])
def test_no_command_sets_the_stages_of_a_move(floor: Floor, state: int) -> None:
    wrong = refused(RejectReason.INVALID_TRADING_STATE)
    assert floor.submit(SetTradingState(AAPL, state)) == wrong
    moved(floor)
    assert floor.submit(SetTradingState(AAPL, state)) == wrong
    assert floor.submit(SetTradingState(b"NOBODY  ", state)) == refused(RejectReason.UNKNOWN_SYMBOL)


def test_a_listing_does_not_bring_back_what_has_left(floor: Floor) -> None:
    moved(floor)
    assert not floor.market.admits(0, LISTING)
    other = LISTING._replace(lot_size=2)
    assert floor.submit(other) == refused(RejectReason.INSTRUMENT_EXISTS)
    assert floor.enter(ALICE, BUY, 1, 1).events[0][2] == RejectReason.MOVED


# Back again


def test_what_has_left_may_come_back_but_by_a_later_move_alone(floor: Floor) -> None:
    moved(floor)
    back = ARRIVAL._replace(symbol=AAPL)
    admitted = [floor.market.admits(0, back._replace(moves=moves)) for moves in (0, 1, 2, 9)]
    assert admitted == [False, False, True, True]
    early = floor.market.apply(floor.next_sequence, 0, back)
    assert early == refused(RejectReason.INSTRUMENT_EXISTS)
    floor.next_sequence += 2
    assert floor.submit(back._replace(moves=2)) == []
    assert floor.submit(ORDER._replace(symbol=AAPL, moves=2)) == []
    floor.set_state(AAPL, HALTED)
    # With the terms that it came back with, and one move further.
    assert floor.submit(AWAY)[0] == InstrumentState(
        AAPL, 5, 10, ShortSale.FORBIDDEN, HALTED, 100, 3, 0
    )


def test_an_instrument_that_has_moved_as_often_as_can_be_counted_stays(floor: Floor) -> None:
    floor.submit(ARRIVAL._replace(moves=2**32 - 1))
    floor.set_state(GOOG, HALTED)
    assert floor.submit(MoveOut(GOOG, 2)) == refused(RejectReason.MOVED)
    assert floor.set_state(GOOG, TRADING) == []
    assert floor.enter(ALICE, BUY, 10, 95, symbol=GOOG).events == []


@pytest.mark.parametrize("terms", [LISTING, LISTING._replace(tick_size=2)])
def test_no_listing_takes_the_place_of_what_arrives(floor: Floor, terms: DefineInstrument) -> None:
    floor.submit(ARRIVAL._replace(symbol=GOOG, tick_size=1, lot_size=1, short_sale=ord("Y")))
    listing = terms._replace(symbol=GOOG)
    is_same = terms is LISTING
    assert floor.market.admits(0, listing) is not is_same
    if not is_same:
        assert floor.submit(listing) == refused(RejectReason.INSTRUMENT_EXISTS)


def test_moves_need_no_log_in(floor: Floor) -> None:
    for login in (0, 1, 12345):
        assert floor.market.admits(login, AWAY)
        assert floor.market.admits(login, MoveOut(b"NOBODY  ", 2))
        assert floor.market.admits(login, ARRIVAL)
