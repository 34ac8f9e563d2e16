"""Every reason to refuse a command, by example, and the order in which the reasons are looked for.

A refused command's group is its own frame and REJECTED, and the book stays as it was.
"""

from collections.abc import Callable
from typing import Any

import pytest

from engine.rejects import RejectReason
from feed.messages import (
    ALL_SYMBOLS,
    NO_CLIENT_ORDER_ID,
    CancelOrder,
    CancelReason,
    Capacity,
    DefineInstrument,
    EnterOrder,
    LogIn,
    MassCancel,
    OrderType,
    PostOnly,
    Rejected,
    ReplaceOrder,
    SelfTradePrevention,
    SetTradingState,
    ShortSale,
    Side,
    TimeInForce,
    TradingState,
    symbol_field,
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
    Ticket,
    rejected,
    row,
)

NOBODY = symbol_field("NOBODY")
GREATEST_PRICE = 1_999_999_900
SmallFloor = Callable[[int], Floor]

# A correct order for MSFT, whose tick size is 5 and lot size 10; the examples spoil it.
GOOD = EnterOrder(
    client=ALICE,
    user_ref_num=1,
    symbol=MSFT,
    side=BUY,
    order_type=OrderType.LIMIT,
    time_in_force=TimeInForce.DAY,
    post_only=PostOnly.NO,
    quantity=20,
    price=100,
    stop_price=0,
    capacity=Capacity.AGENCY,
    client_order_id=NO_CLIENT_ORDER_ID,
)
GOOD_STOP_LIMIT = GOOD._replace(order_type=OrderType.STOP_LIMIT, stop_price=100)
GOOD_STOP = GOOD_STOP_LIMIT._replace(order_type=OrderType.STOP, price=0)
GOOD_MARKET = GOOD._replace(order_type=OrderType.MARKET, price=0)


class Attempts:
    """Sends a command again and again, with what was wrong put right step by step."""

    def __init__(self, floor: Floor, command: EnterOrder | ReplaceOrder) -> None:
        self.floor = floor
        self.command = command

    def __call__(self, **cured: Any) -> list[int]:
        """The reasons to refuse the command, once these fields are put right."""
        number = self.command.user_ref_num + 1
        self.command = self.command._replace(user_ref_num=number, **cured)
        events = self.floor.submit(self.command)
        return [event.reason for event in events if isinstance(event, Rejected)]


def test_orders_that_the_examples_spoil_are_good(floor: Floor) -> None:
    for number, order in enumerate((GOOD, GOOD_STOP_LIMIT, GOOD_STOP, GOOD_MARKET), 1):
        events = floor.submit(order._replace(user_ref_num=number))
        assert not any(isinstance(event, Rejected) for event in events)


# ENTER_ORDER


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (GOOD._replace(symbol=NOBODY), RejectReason.UNKNOWN_SYMBOL),
        (GOOD._replace(symbol=ALL_SYMBOLS), RejectReason.UNKNOWN_SYMBOL),
        (GOOD._replace(side=ord("E")), RejectReason.INVALID_SIDE),
        (GOOD._replace(side=0), RejectReason.INVALID_SIDE),
        (GOOD._replace(order_type=ord("P")), RejectReason.INVALID_ORDER_TYPE),
        (GOOD._replace(time_in_force=ord("2")), RejectReason.INVALID_TIME_IN_FORCE),
        (GOOD._replace(post_only=ord("Y")), RejectReason.INVALID_POST_ONLY),
        (GOOD._replace(capacity=ord("X")), RejectReason.INVALID_CAPACITY),
        (GOOD._replace(side=SELL_SHORT), RejectReason.SHORT_SALE_FORBIDDEN),
        (GOOD._replace(quantity=0), RejectReason.INVALID_QUANTITY),
        (GOOD._replace(quantity=15), RejectReason.INVALID_QUANTITY),
        (GOOD._replace(quantity=1_000_000), RejectReason.INVALID_QUANTITY),
        (GOOD._replace(quantity=2**32 - 6), RejectReason.INVALID_QUANTITY),
        (GOOD._replace(price=0), RejectReason.INVALID_PRICE),
        (GOOD._replace(price=1), RejectReason.INVALID_PRICE),
        (GOOD._replace(price=102), RejectReason.INVALID_PRICE),
        (GOOD._replace(price=GREATEST_PRICE + 5), RejectReason.INVALID_PRICE),
        (GOOD._replace(price=2**64 - 1), RejectReason.INVALID_PRICE),
        (GOOD_MARKET._replace(price=100), RejectReason.INVALID_PRICE),
        (GOOD_STOP._replace(price=100), RejectReason.INVALID_PRICE),
        (GOOD_STOP_LIMIT._replace(price=0), RejectReason.INVALID_PRICE),
        (GOOD._replace(stop_price=100), RejectReason.INVALID_STOP_PRICE),
        (GOOD_MARKET._replace(stop_price=100), RejectReason.INVALID_STOP_PRICE),
        (GOOD_STOP._replace(stop_price=0), RejectReason.INVALID_STOP_PRICE),
        (GOOD_STOP._replace(stop_price=102), RejectReason.INVALID_STOP_PRICE),
        (GOOD_STOP._replace(stop_price=GREATEST_PRICE + 5), RejectReason.INVALID_STOP_PRICE),
        (GOOD_STOP_LIMIT._replace(stop_price=0), RejectReason.INVALID_STOP_PRICE),
        (
            GOOD._replace(post_only=PostOnly.YES, time_in_force=TimeInForce.IMMEDIATE_OR_CANCEL),
            RejectReason.POST_ONLY_COMBINATION,
        ),
        (
            GOOD._replace(post_only=PostOnly.YES, time_in_force=TimeInForce.FILL_OR_KILL),
            RejectReason.POST_ONLY_COMBINATION,
        ),
        (GOOD_MARKET._replace(post_only=PostOnly.YES), RejectReason.POST_ONLY_COMBINATION),
        (GOOD_STOP._replace(post_only=PostOnly.YES), RejectReason.POST_ONLY_COMBINATION),
        (GOOD_STOP_LIMIT._replace(post_only=PostOnly.YES), RejectReason.POST_ONLY_COMBINATION),
    ],
)
def test_order_is_refused_for_what_is_wrong_with_it(
    floor: Floor, order: EnterOrder, reason: RejectReason
) -> None:
    assert floor.submit(order) == [Rejected(ALICE, 1, reason)]
    assert floor.book(MSFT) == []


@pytest.mark.parametrize(
    "order",
    [
        GOOD._replace(price=5),
        GOOD._replace(price=GREATEST_PRICE),
        GOOD._replace(quantity=10),
        GOOD._replace(quantity=999_990),
        GOOD._replace(symbol=AAPL, quantity=999_999),
    ],
)
def test_order_at_the_very_limit_is_taken(floor: Floor, order: EnterOrder) -> None:
    assert floor.submit(order) == []


@pytest.mark.parametrize("owner", [ALICE, BOB])
@pytest.mark.parametrize(("side", "other_side"), [(BUY, SELL), (SELL, BUY)])
def test_post_only_order_that_crosses_is_refused_whoever_stands_there(
    floor: Floor, owner: int, side: int, other_side: int
) -> None:
    floor.log_in(ALICE, SelfTradePrevention.CANCEL_OLDEST)
    resting = floor.enter(owner, Side(other_side), 10, 100)
    refused = floor.enter(ALICE, Side(side), 10, 100, post_only=PostOnly.YES)
    assert refused.events == [rejected(refused, RejectReason.POST_ONLY_WOULD_TRADE)]
    assert [entry[2] for entry in floor.book()] == [resting.number]


def test_order_is_refused_when_the_shard_is_full_and_taken_once_there_is_room(
    small_floor: SmallFloor,
) -> None:
    floor = small_floor(2)
    first = floor.enter(ALICE, BUY, 1, 99)
    floor.enter(BOB, SELL, 1, stop=50)  # a waiting stop order takes room too
    never_rests = floor.enter(CAROL, SELL, 1, 99, time=TimeInForce.IMMEDIATE_OR_CANCEL)
    assert never_rests.events == [rejected(never_rests, RejectReason.TOO_MANY_ORDERS)]
    floor.cancel(first)
    assert floor.enter(CAROL, SELL, 1, 99).events == []


def test_reasons_to_refuse_an_order_are_looked_for_in_the_order_of_the_page(
    small_floor: SmallFloor,
) -> None:
    floor = small_floor(1)
    resting = floor.enter(BOB, SELL, 10, 100, symbol=MSFT)
    floor.set_state(MSFT, TradingState.HALTED)
    order = EnterOrder(ALICE, 0, NOBODY, 0, 0, 0, 0, 15, 0, 1, 0, NO_CLIENT_ORDER_ID)
    attempt = Attempts(floor, order)
    assert attempt() == [RejectReason.UNKNOWN_SYMBOL]
    assert attempt(symbol=MSFT) == [RejectReason.INVALID_SIDE]
    assert attempt(side=SELL_SHORT) == [RejectReason.INVALID_ORDER_TYPE]
    assert attempt(order_type=OrderType.LIMIT) == [RejectReason.INVALID_TIME_IN_FORCE]
    immediate = TimeInForce.IMMEDIATE_OR_CANCEL
    assert attempt(time_in_force=immediate) == [RejectReason.INVALID_POST_ONLY]
    assert attempt(post_only=PostOnly.YES) == [RejectReason.INVALID_CAPACITY]
    assert attempt(capacity=Capacity.OTHER) == [RejectReason.HALTED]
    floor.set_state(MSFT, TradingState.TRADING)
    assert attempt() == [RejectReason.SHORT_SALE_FORBIDDEN]
    assert attempt(side=BUY) == [RejectReason.INVALID_QUANTITY]
    assert attempt(quantity=20) == [RejectReason.INVALID_PRICE]
    assert attempt(price=100) == [RejectReason.INVALID_STOP_PRICE]
    assert attempt(stop_price=0) == [RejectReason.POST_ONLY_COMBINATION]
    assert attempt(time_in_force=TimeInForce.DAY) == [RejectReason.POST_ONLY_WOULD_TRADE]
    assert attempt(price=95) == [RejectReason.TOO_MANY_ORDERS]
    floor.cancel(resting)
    assert attempt() == []


# REPLACE_ORDER


def test_replace_of_an_order_that_is_not_live_is_refused(floor: Floor) -> None:
    ended = floor.enter(ALICE, BUY, 10, time=TimeInForce.IMMEDIATE_OR_CANCEL)
    bobs = floor.enter(BOB, BUY, 10, 100)
    never_was = Ticket(ALICE, 77, 0, AAPL, BUY, [])
    for order in (ended, never_was, bobs._replace(client=ALICE)):
        refused = floor.replace(order, 5, 100)
        assert refused.events == [rejected(refused, RejectReason.ORDER_NOT_LIVE)]


def test_replace_by_the_user_ref_num_that_an_earlier_replace_has_spent_is_refused(
    floor: Floor,
) -> None:
    old = floor.enter(ALICE, BUY, 10, 100)
    floor.replace(old, 10, 101)
    refused = floor.replace(old, 10, 102)
    assert refused.events == [rejected(refused, RejectReason.ORDER_NOT_LIVE)]


@pytest.mark.parametrize(
    ("order", "quantity", "price", "stop", "reason"),
    [
        (GOOD, 0, 100, 0, RejectReason.INVALID_QUANTITY),
        (GOOD, 15, 100, 0, RejectReason.INVALID_QUANTITY),
        (GOOD, 1_000_000, 100, 0, RejectReason.INVALID_QUANTITY),
        (GOOD, 20, 0, 0, RejectReason.INVALID_PRICE),
        (GOOD, 20, 102, 0, RejectReason.INVALID_PRICE),
        (GOOD, 20, GREATEST_PRICE + 5, 0, RejectReason.INVALID_PRICE),
        (GOOD, 20, 100, 100, RejectReason.INVALID_STOP_PRICE),
        (GOOD_STOP, 20, 100, 0, RejectReason.INVALID_PRICE),
        (GOOD_STOP, 20, 0, 102, RejectReason.INVALID_STOP_PRICE),
        (GOOD_STOP_LIMIT, 20, 0, 0, RejectReason.INVALID_PRICE),
        (GOOD_STOP_LIMIT, 20, 100, GREATEST_PRICE + 5, RejectReason.INVALID_STOP_PRICE),
    ],
)
def test_replace_is_refused_for_what_is_wrong_with_its_terms(
    floor: Floor, order: EnterOrder, quantity: int, price: int, stop: int, reason: RejectReason
) -> None:
    number = floor.next_sequence
    floor.submit(order._replace(user_ref_num=floor.next_user_ref_num(ALICE)))
    before = floor.book(MSFT)
    refused = floor.replace(Ticket(ALICE, 1, number, MSFT, BUY, []), quantity, price, stop=stop)
    assert refused.events == [rejected(refused, reason)]
    assert floor.book(MSFT) == before


def test_reasons_to_refuse_a_replace_are_looked_for_in_the_order_of_the_page(floor: Floor) -> None:
    order = floor.enter(ALICE, SELL, 30, 105, post_only=PostOnly.YES, symbol=MSFT)
    floor.enter(BOB, BUY, 20, 105, symbol=MSFT)
    bid = floor.enter(BOB, BUY, 10, 100, symbol=MSFT)
    floor.set_state(MSFT, TradingState.HALTED)
    attempt = Attempts(floor, ReplaceOrder(ALICE, 99, 1, 15, 1, 1, 0, NO_CLIENT_ORDER_ID))
    assert attempt() == [RejectReason.ORDER_NOT_LIVE]
    assert attempt(original_user_ref_num=1) == [RejectReason.INVALID_TIME_IN_FORCE]
    assert attempt(time_in_force=TimeInForce.FILL_OR_KILL) == [RejectReason.HALTED]
    floor.set_state(MSFT, TradingState.TRADING)
    assert attempt() == [RejectReason.INVALID_QUANTITY]
    assert attempt(quantity=20) == [RejectReason.QUANTITY_ALREADY_EXECUTED]
    assert attempt(quantity=30) == [RejectReason.INVALID_PRICE]
    assert attempt(price=100) == [RejectReason.INVALID_STOP_PRICE]
    assert attempt(stop_price=0) == [RejectReason.POST_ONLY_COMBINATION]
    assert attempt(time_in_force=TimeInForce.DAY) == [RejectReason.POST_ONLY_WOULD_TRADE]
    floor.cancel(bid)
    assert attempt() == []
    assert floor.book(MSFT) == [row(order, 100, 10)]


# The other commands


def test_cancel_of_an_order_that_never_was_is_refused(floor: Floor) -> None:
    refusal = Rejected(ALICE, 5, RejectReason.ORDER_NOT_LIVE)
    assert floor.submit(CancelOrder(ALICE, 5, 0)) == [refusal]


@pytest.mark.parametrize(
    ("symbol", "reason", "refusal"),
    [
        (NOBODY, CancelReason.USER, RejectReason.UNKNOWN_SYMBOL),
        (NOBODY, 0, RejectReason.UNKNOWN_SYMBOL),
        (ALL_SYMBOLS, 0, RejectReason.INVALID_REASON),
        (ALL_SYMBOLS, CancelReason.SELF_TRADE, RejectReason.INVALID_REASON),
    ],
)
def test_mass_cancel_is_refused_for_what_is_wrong_with_it(
    floor: Floor, symbol: bytes, reason: int, refusal: RejectReason
) -> None:
    floor.enter(ALICE, BUY, 10, 100)
    assert floor.submit(MassCancel(ALICE, 2, symbol, reason)) == [Rejected(ALICE, 2, refusal)]
    assert len(floor.book()) == 1


def test_log_in_with_an_unknown_mode_is_refused_and_the_earlier_one_holds(floor: Floor) -> None:
    refusal = Rejected(ALICE, 0, RejectReason.INVALID_SELF_TRADE_PREVENTION)
    assert floor.log_in(ALICE, ord("X")) == [refusal]
    assert floor.enter(ALICE, BUY, 10, 100).events == []


@pytest.mark.parametrize(
    ("symbol", "state", "reason"),
    [
        (NOBODY, TradingState.HALTED, RejectReason.UNKNOWN_SYMBOL),
        (NOBODY, 0, RejectReason.UNKNOWN_SYMBOL),
        (AAPL, ord("P"), RejectReason.INVALID_TRADING_STATE),
    ],
)
def test_trading_state_is_refused_for_what_is_wrong_with_it(
    floor: Floor, symbol: bytes, state: int, reason: RejectReason
) -> None:
    assert floor.submit(SetTradingState(symbol, state)) == [Rejected(0, 0, reason)]
    assert floor.enter(ALICE, BUY, 10, 100).events == []


@pytest.mark.parametrize(
    ("instrument", "reason"),
    [
        (DefineInstrument(ALL_SYMBOLS, 0, 0, 0), RejectReason.INVALID_SYMBOL),
        (DefineInstrument(AAPL, 0, 0, 0), RejectReason.INSTRUMENT_EXISTS),
        (DefineInstrument(NOBODY, 0, 1, 0), RejectReason.INVALID_TICK_OR_LOT_SIZE),
        (DefineInstrument(NOBODY, 1, 0, 0), RejectReason.INVALID_TICK_OR_LOT_SIZE),
        (DefineInstrument(NOBODY, 1, 1, 0), RejectReason.INVALID_SHORT_SALE),
    ],
)
def test_instrument_is_refused_for_what_is_wrong_with_it(
    floor: Floor, instrument: DefineInstrument, reason: RejectReason
) -> None:
    assert floor.submit(instrument) == [Rejected(0, 0, reason)]
    order = floor.enter(ALICE, BUY, 10, 100, symbol=NOBODY)
    assert order.events == [rejected(order, RejectReason.UNKNOWN_SYMBOL)]


def test_refused_log_in_is_no_log_in(floor: Floor) -> None:
    floor.submit(LogIn(77, 5, 0))
    assert not floor.market.admits(5, CancelOrder(77, 1, 0))


def test_instrument_that_is_listed_again_keeps_its_rules(floor: Floor) -> None:
    floor.submit(DefineInstrument(MSFT, 1, 1, ShortSale.ALLOWED))
    order = floor.enter(ALICE, SELL_SHORT, 1, 1, symbol=MSFT)
    assert order.events == [rejected(order, RejectReason.SHORT_SALE_FORBIDDEN)]
