"""Reduce, replace, cancel, mass cancel and halt, by example: the whole group of each situation."""

import pytest

from engine.rejects import RejectReason
from feed.messages import (
    ALL_SYMBOLS,
    CancelReason,
    MassCancel,
    PostOnly,
    SelfTradePrevention,
    TimeInForce,
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
    Floor,
    canceled,
    rejected,
    replaced,
    row,
    trade,
)

# Cancel and reduce


def test_cancel_takes_off_all_that_is_left(floor: Floor) -> None:
    order = floor.enter(ALICE, SELL, 10, 100)
    floor.enter(BOB, BUY, 4, 100)
    assert floor.cancel(order) == [canceled(order, 6, CancelReason.USER)]
    assert floor.book() == []


def test_reduced_order_keeps_its_place_in_the_queue(floor: Floor) -> None:
    first = floor.enter(ALICE, SELL, 10, 100)
    second = floor.enter(BOB, SELL, 10, 100)
    assert floor.cancel(first, remaining=3) == [canceled(first, 7, CancelReason.USER)]
    assert floor.book() == [row(first, 100, 3), row(second, 100, 10)]
    taker = floor.enter(CAROL, BUY, 5, 100)
    assert taker.events == [trade(first, taker, 3, 100), trade(second, taker, 2, 100)]


def test_reduce_may_leave_what_is_no_whole_lot(floor: Floor) -> None:
    order = floor.enter(ALICE, SELL, 20, 100, symbol=MSFT)
    assert floor.cancel(order, remaining=7) == [canceled(order, 13, CancelReason.USER)]
    taker = floor.enter(CAROL, BUY, 10, 100, symbol=MSFT)
    assert taker.events == [trade(order, taker, 7, 100)]


# Replace


@pytest.mark.parametrize("quantity", [10, 4])
def test_replace_keeps_the_place_when_the_price_stays_and_nothing_grows(
    floor: Floor, quantity: int
) -> None:
    first = floor.enter(ALICE, SELL, 10, 100)
    second = floor.enter(BOB, SELL, 10, 100)
    new = floor.replace(first, quantity, 100)
    assert new.events == [replaced(first, new, quantity, 100, keeps=True)]
    assert floor.book() == [row(first, 100, quantity), row(second, 100, 10)]


def test_replace_with_more_quantity_goes_to_the_end_of_the_queue(floor: Floor) -> None:
    first = floor.enter(ALICE, SELL, 10, 100)
    second = floor.enter(BOB, SELL, 10, 100)
    new = floor.replace(first, 11, 100)
    assert new.events == [replaced(first, new, 11, 100, keeps=False)]
    assert floor.book() == [row(second, 100, 10), row(first, 100, 11)]


def test_replace_at_another_price_goes_to_the_end_of_the_queue_there(floor: Floor) -> None:
    moved = floor.enter(ALICE, SELL, 10, 100)
    other = floor.enter(BOB, SELL, 10, 101)
    new = floor.replace(moved, 5, 101)
    assert new.events == [replaced(moved, new, 5, 101, keeps=False)]
    assert floor.book() == [row(other, 101, 10), row(moved, 101, 5)]


def test_replace_that_crosses_trades_like_an_incoming_order(floor: Floor) -> None:
    ask = floor.enter(BOB, SELL, 4, 102)
    bid = floor.enter(ALICE, BUY, 10, 100)
    new = floor.replace(bid, 10, 102)
    assert new.events == [
        replaced(bid, new, 10, 102, keeps=False),
        trade(ask, new, 4, 102),
    ]
    assert floor.book() == [row(bid, 102, 6)]


def test_replaced_order_keeps_its_number_and_trades_under_its_new_user_ref_num(
    floor: Floor,
) -> None:
    old = floor.enter(ALICE, SELL, 10, 100)
    new = floor.replace(old, 10, 101)
    taker = floor.enter(BOB, BUY, 10, 101)
    assert (new.number, new.user_ref_num) == (old.number, old.user_ref_num + 1)
    assert taker.events == [trade(new, taker, 10, 101)]


def test_replaced_quantity_counts_what_has_been_executed(floor: Floor) -> None:
    order = floor.enter(ALICE, SELL, 10, 100)
    floor.enter(BOB, BUY, 4, 100)
    new = floor.replace(order, 7, 100)
    assert new.events == [replaced(order, new, 3, 100, keeps=True)]
    assert floor.book() == [row(order, 100, 3)]


def test_replaced_quantity_does_not_count_what_was_taken_off(floor: Floor) -> None:
    order = floor.enter(ALICE, SELL, 10, 100)
    floor.cancel(order, remaining=2)
    new = floor.replace(order, 3, 100)
    assert new.events == [replaced(order, new, 3, 100, keeps=False)]


def test_replace_to_what_has_been_executed_is_refused(floor: Floor) -> None:
    order = floor.enter(ALICE, SELL, 10, 100)
    floor.enter(BOB, BUY, 4, 100)
    new = floor.replace(order, 4, 100)
    assert new.events == [rejected(new, RejectReason.QUANTITY_ALREADY_EXECUTED)]
    assert floor.book() == [row(order, 100, 6)]


def test_refused_replace_leaves_the_order_under_its_old_user_ref_num(floor: Floor) -> None:
    order = floor.enter(ALICE, SELL, 10, 100)
    refused = floor.replace(order, 0, 100)
    assert refused.events == [rejected(refused, RejectReason.INVALID_QUANTITY)]
    assert floor.cancel(order) == [canceled(order, 10, CancelReason.USER)]


def test_replace_to_immediate_or_cancel_comes_in_again_and_does_not_rest(floor: Floor) -> None:
    order = floor.enter(ALICE, SELL, 10, 100)
    new = floor.replace(order, 10, 100, time=TimeInForce.IMMEDIATE_OR_CANCEL)
    assert new.events == [
        replaced(order, new, 10, 100, keeps=False),
        canceled(new, 10, CancelReason.IMMEDIATE),
    ]
    assert floor.book() == []


def test_replace_to_fill_or_kill_trades_whole_or_ends(floor: Floor) -> None:
    bid = floor.enter(BOB, BUY, 9, 99)
    order = floor.enter(ALICE, SELL, 10, 100)
    new = floor.replace(order, 10, 99, time=TimeInForce.FILL_OR_KILL)
    assert new.events == [
        replaced(order, new, 10, 99, keeps=False),
        canceled(new, 10, CancelReason.FILL_OR_KILL),
    ]
    assert floor.book() == [row(bid, 99, 9)]


def test_replace_that_meets_its_own_client_is_the_newer_of_the_two(floor: Floor) -> None:
    floor.log_in(ALICE, SelfTradePrevention.CANCEL_NEWEST)
    bid = floor.enter(ALICE, BUY, 10, 100)
    ask = floor.enter(ALICE, SELL, 10, 101)
    new = floor.replace(bid, 10, 101)
    assert new.events == [
        replaced(bid, new, 10, 101, keeps=False),
        canceled(new, 10, CancelReason.SELF_TRADE),
    ]
    assert floor.book() == [row(ask, 101, 10)]


def test_post_only_order_may_be_replaced_up_to_the_other_side(floor: Floor) -> None:
    ask = floor.enter(BOB, SELL, 10, 102)
    bid = floor.enter(ALICE, BUY, 10, 100, post_only=PostOnly.YES)
    new = floor.replace(bid, 10, 101)
    assert new.events == [replaced(bid, new, 10, 101, keeps=False)]
    refused = floor.replace(new, 10, 102)
    assert refused.events == [rejected(refused, RejectReason.POST_ONLY_WOULD_TRADE)]
    assert floor.book() == [row(bid, 101, 10), row(ask, 102, 10)]


# Mass cancel


def test_mass_cancel_takes_a_clients_orders_by_number_wherever_they_stand(floor: Floor) -> None:
    bid = floor.enter(ALICE, BUY, 1, 90)
    other_symbol = floor.enter(ALICE, SELL, 10, 200, symbol=MSFT)
    stop = floor.enter(ALICE, BUY, 3, stop=150)
    best_bid = floor.enter(ALICE, BUY, 4, 99)
    bobs = floor.enter(BOB, BUY, 5, 99)
    assert floor.mass_cancel(ALICE) == [
        canceled(bid, 1, CancelReason.USER),
        canceled(other_symbol, 10, CancelReason.USER),
        canceled(stop, 3, CancelReason.USER),
        canceled(best_bid, 4, CancelReason.USER),
    ]
    assert floor.book() == [row(bobs, 99, 5)]


def test_mass_cancel_goes_by_number_and_not_by_the_time_of_a_replace(floor: Floor) -> None:
    first = floor.enter(ALICE, BUY, 1, 90)
    second = floor.enter(ALICE, BUY, 2, 90)
    first = floor.replace(first, 5, 91)
    assert floor.mass_cancel(ALICE) == [
        canceled(first, 5, CancelReason.USER),
        canceled(second, 2, CancelReason.USER),
    ]


def test_mass_cancel_of_one_symbol_leaves_the_others(floor: Floor) -> None:
    kept = floor.enter(ALICE, BUY, 1, 90)
    gone = floor.enter(ALICE, BUY, 10, 90, symbol=MSFT)
    assert floor.mass_cancel(ALICE, MSFT) == [canceled(gone, 10, CancelReason.USER)]
    assert floor.book() == [row(kept, 90, 1)]


def test_mass_cancel_of_a_client_without_orders_stands_alone(floor: Floor) -> None:
    floor.enter(BOB, BUY, 1, 90)
    assert floor.mass_cancel(ALICE) == []


def test_gateways_mass_cancel_gives_its_own_reason(floor: Floor) -> None:
    order = floor.enter(ALICE, BUY, 1, 90)
    command = MassCancel(ALICE, 0, ALL_SYMBOLS, CancelReason.LINK_LOST)
    assert floor.submit(command) == [canceled(order, 1, CancelReason.LINK_LOST)]


# Halt and resume


def test_halted_instrument_refuses_orders_and_replaces_but_not_cancels(floor: Floor) -> None:
    kept = floor.enter(ALICE, SELL, 10, 100)
    gone = floor.enter(ALICE, SELL, 10, 101)
    assert floor.set_state(AAPL, TradingState.HALTED) == []
    refused = floor.enter(BOB, BUY, 10, 100)
    refused_replace = floor.replace(kept, 5, 100)
    assert refused.events == [rejected(refused, RejectReason.HALTED)]
    assert refused_replace.events == [rejected(refused_replace, RejectReason.HALTED)]
    assert floor.cancel(kept, remaining=4) == [canceled(kept, 6, CancelReason.USER)]
    assert floor.cancel(gone) == [canceled(gone, 10, CancelReason.USER)]
    assert floor.mass_cancel(ALICE) == [canceled(kept, 4, CancelReason.USER)]


def test_resting_orders_outlast_a_halt_and_trade_after_it(floor: Floor) -> None:
    ask = floor.enter(ALICE, SELL, 10, 100)
    floor.set_state(AAPL, TradingState.HALTED)
    assert floor.book() == [row(ask, 100, 10)]
    assert floor.set_state(AAPL, TradingState.TRADING) == []
    taker = floor.enter(BOB, BUY, 10, 100)
    assert taker.events == [trade(ask, taker, 10, 100)]


def test_halt_of_one_instrument_leaves_the_others_trading(floor: Floor) -> None:
    floor.set_state(AAPL, TradingState.HALTED)
    ask = floor.enter(ALICE, SELL, 10, 100, symbol=MSFT)
    taker = floor.enter(BOB, BUY, 10, 100, symbol=MSFT)
    assert taker.events == [trade(ask, taker, 10, 100)]
