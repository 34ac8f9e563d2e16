"""Why the naive market refuses a command: the checks of docs/machine.md, in its order."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date

from engine.rejects import RejectReason
from feed.messages import (
    ALL_SYMBOLS,
    CancelOrder,
    CancelReason,
    Capacity,
    Command,
    DefineInstrument,
    EnterOrder,
    LogIn,
    MassCancel,
    NewDay,
    OrderType,
    PostOnly,
    ReplaceOrder,
    SelfTradePrevention,
    SetTradingState,
    ShortSale,
    Side,
    TimeInForce,
    TradingState,
)
from tests.model.naive_state import Instrument, NaiveState, Order

GREATEST_QUANTITY = 999_999
GREATEST_PRICE = 1_999_999_900
RESTING_TIMES = (TimeInForce.DAY, TimeInForce.GOOD_TILL_CANCEL)

Checks = Iterator[tuple[bool, RejectReason]]  # what must hold, and the reason where it does not


def refusal(state: NaiveState, command: Command) -> RejectReason | None:
    """The reason of the first check that the command fails."""
    for holds, reason in _checks(state, command):
        if not holds:
            return reason
    return None


def new_order(number: int, command: EnterOrder) -> Order:
    """The order that a command enters."""
    return Order(
        number=number,
        client=command.client,
        user_ref_num=command.user_ref_num,
        symbol=command.symbol,
        side=command.side,
        order_type=command.order_type,
        time_in_force=command.time_in_force,
        post_only=command.post_only,
        quantity=command.quantity,
        price=command.price,
        stop_price=command.stop_price,
        capacity=command.capacity,
    )


def new_terms(order: Order, command: ReplaceOrder) -> Order:
    """The order as it is to be after a replace; the quantity asked for counts what was executed."""
    return replace(
        order,
        user_ref_num=command.user_ref_num,
        quantity=command.quantity - order.executed,
        price=command.price,
        stop_price=command.stop_price or order.stop_price,
        time_in_force=command.time_in_force,
    )


def _checks(state: NaiveState, command: Command) -> Checks:
    match command:
        case EnterOrder():
            yield from _enter_order_checks(state, command)
        case ReplaceOrder():
            yield from _replace_order_checks(state, command)
        case CancelOrder():
            order = state.live_order(command.client, command.user_ref_num)
            yield order is not None, RejectReason.ORDER_NOT_LIVE
        case MassCancel():
            known = command.symbol == ALL_SYMBOLS or command.symbol in state.instruments
            yield known, RejectReason.UNKNOWN_SYMBOL
            known = command.reason in (CancelReason.USER, CancelReason.LINK_LOST)
            yield known, RejectReason.INVALID_REASON
        case SetTradingState():
            yield command.symbol in state.instruments, RejectReason.UNKNOWN_SYMBOL
            yield command.state in list(TradingState), RejectReason.INVALID_TRADING_STATE
        case DefineInstrument():
            yield command.symbol != ALL_SYMBOLS, RejectReason.INVALID_SYMBOL
            yield command.symbol not in state.instruments, RejectReason.INSTRUMENT_EXISTS
            sized = command.tick_size >= 1 and command.lot_size >= 1
            yield sized, RejectReason.INVALID_TICK_OR_LOT_SIZE
            yield command.short_sale in list(ShortSale), RejectReason.INVALID_SHORT_SALE
        case NewDay(day):
            yield _is_date(day) and day > state.day, RejectReason.INVALID_DAY
        case LogIn():
            known = command.self_trade_prevention in list(SelfTradePrevention)
            yield known, RejectReason.INVALID_SELF_TRADE_PREVENTION


def _enter_order_checks(state: NaiveState, command: EnterOrder) -> Checks:
    yield command.symbol in state.instruments, RejectReason.UNKNOWN_SYMBOL
    instrument = state.instruments[command.symbol]

    yield command.side in list(Side), RejectReason.INVALID_SIDE
    yield command.order_type in list(OrderType), RejectReason.INVALID_ORDER_TYPE
    yield command.time_in_force in list(TimeInForce), RejectReason.INVALID_TIME_IN_FORCE
    yield command.post_only in list(PostOnly), RejectReason.INVALID_POST_ONLY
    yield command.capacity in list(Capacity), RejectReason.INVALID_CAPACITY

    yield not instrument.halted, RejectReason.HALTED
    may_sell = command.side != Side.SELL_SHORT or instrument.short_sale == ShortSale.ALLOWED
    yield may_sell, RejectReason.SHORT_SALE_FORBIDDEN

    yield _is_quantity(command.quantity, instrument), RejectReason.INVALID_QUANTITY
    has_limit = command.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    has_stop = command.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
    yield _price_is_right(command.price, has_limit, instrument), RejectReason.INVALID_PRICE
    yield _price_is_right(command.stop_price, has_stop, instrument), RejectReason.INVALID_STOP_PRICE

    post_only = command.post_only == PostOnly.YES
    may_rest = command.order_type == OrderType.LIMIT and command.time_in_force in RESTING_TIMES
    yield not post_only or may_rest, RejectReason.POST_ONLY_COMBINATION
    crosses = bool(state.makers(new_order(0, command)))
    yield not (post_only and crosses), RejectReason.POST_ONLY_WOULD_TRADE
    yield len(state.orders) < state.order_limit, RejectReason.TOO_MANY_ORDERS


def _replace_order_checks(state: NaiveState, command: ReplaceOrder) -> Checks:
    order = state.live_order(command.client, command.original_user_ref_num)
    yield order is not None, RejectReason.ORDER_NOT_LIVE
    assert order is not None
    instrument = state.instruments[order.symbol]

    yield command.time_in_force in list(TimeInForce), RejectReason.INVALID_TIME_IN_FORCE
    yield not instrument.halted, RejectReason.HALTED

    yield _is_quantity(command.quantity, instrument), RejectReason.INVALID_QUANTITY
    yield command.quantity > order.executed, RejectReason.QUANTITY_ALREADY_EXECUTED
    has_limit = order.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    yield _price_is_right(command.price, has_limit, instrument), RejectReason.INVALID_PRICE
    has_new_stop = order.waits and command.stop_price != 0
    stop_is_right = _price_is_right(command.stop_price, has_new_stop, instrument)
    yield stop_is_right, RejectReason.INVALID_STOP_PRICE

    post_only = order.post_only == PostOnly.YES
    may_rest = command.time_in_force in RESTING_TIMES
    yield not post_only or may_rest, RejectReason.POST_ONLY_COMBINATION
    crosses = bool(state.makers(new_terms(order, command)))
    yield not (post_only and crosses), RejectReason.POST_ONLY_WOULD_TRADE


def _is_date(day: int) -> bool:
    text = str(day)
    if len(text) != len("YYYYMMDD"):
        return False
    try:
        date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return False
    return True


def _is_quantity(quantity: int, instrument: Instrument) -> bool:
    return 1 <= quantity <= GREATEST_QUANTITY and quantity % instrument.lot_size == 0


def _price_is_right(price: int, has_price: bool, instrument: Instrument) -> bool:
    if not has_price:
        return price == 0
    tick_size = instrument.tick_size
    return tick_size <= price <= GREATEST_PRICE and price % tick_size == 0
