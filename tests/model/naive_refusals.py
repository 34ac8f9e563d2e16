"""Why the naive market refuses a command: the checks of docs/machine.md, in its order."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date

from engine.rejects import RejectReason
from feed.messages import (
    ALL_SYMBOLS,
    AdoptInstrument,
    AdoptOrder,
    CancelOrder,
    CancelReason,
    Capacity,
    Command,
    DefineInstrument,
    EnterOrder,
    LogIn,
    MassCancel,
    MoveOut,
    NewDay,
    OrderType,
    PostOnly,
    ReplaceOrder,
    SelfTradePrevention,
    SetTradingState,
    ShardMark,
    ShortSale,
    Side,
    TimeInForce,
    TradingState,
)
from tests.model.naive_state import Instrument, NaiveState, Order

GREATEST_QUANTITY = 999_999
GREATEST_PRICE = 1_999_999_900
GREATEST_MOVES = 2**32 - 1
MOST_MARKS = 64
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
        asked_for=command.quantity,
    )


def adopted_order(number: int, command: AdoptOrder) -> Order:
    """The order that comes with an instrument from another shard."""
    return Order(
        number=number,
        client=command.client,
        user_ref_num=command.user_ref_num,
        symbol=command.symbol,
        side=command.side,
        order_type=command.order_type,
        time_in_force=command.time_in_force,
        post_only=command.post_only,
        quantity=command.leaves,
        price=command.price,
        stop_price=command.stop_price,
        capacity=command.capacity,
        asked_for=command.quantity,
        executed=command.executed,
    )


def new_terms(order: Order, command: ReplaceOrder) -> Order:
    """The order as it is to be after a replace; the quantity asked for counts what was executed."""
    return replace(
        order,
        user_ref_num=command.user_ref_num,
        quantity=command.quantity - order.executed,
        asked_for=command.quantity,
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
            known = command.state in (TradingState.HALTED, TradingState.TRADING)
            yield known, RejectReason.INVALID_TRADING_STATE
            now = state.instruments[command.symbol].state
            yield now != TradingState.MOVED, RejectReason.MOVED
            resumes_early = now == TradingState.ARRIVING and command.state == TradingState.TRADING
            yield not resumes_early, RejectReason.NOT_HALTED
        case DefineInstrument():
            is_free = command.symbol not in state.instruments
            yield from _listing_checks(command, is_free)
        case ShardMark():
            yield goes_further(state, command), RejectReason.INVALID_MARK
        case MoveOut(symbol):
            yield symbol in state.instruments, RejectReason.UNKNOWN_SYMBOL
            instrument = state.instruments[symbol]
            yield instrument.state != TradingState.MOVED, RejectReason.MOVED
            yield instrument.state == TradingState.HALTED, RejectReason.NOT_HALTED
            yield instrument.moves < GREATEST_MOVES, RejectReason.MOVED
        case AdoptInstrument():
            yield from _listing_checks(command, has_room(state, command))
            terms = Instrument(command.tick_size, command.lot_size, command.short_sale)
            has_traded = command.last_price != 0
            price_is_right = _price_is_right(command.last_price, has_traded, terms)
            yield price_is_right, RejectReason.INVALID_PRICE
        case AdoptOrder():
            for holds in _adopt_order_checks(state, command):
                yield holds, RejectReason.INVALID_ORDER
        case NewDay(day):
            yield _is_date(day) and day > state.day, RejectReason.INVALID_DAY
        case LogIn():
            known = command.self_trade_prevention in list(SelfTradePrevention)
            yield known, RejectReason.INVALID_SELF_TRADE_PREVENTION


def goes_further(state: NaiveState, mark: ShardMark) -> bool:
    """Whether a mark says anything new, and there is room for it."""
    others = [shard for shard in state.marks if shard != mark.shard]
    is_later = mark.sequence > state.marks.get(mark.shard, 0)
    return mark.shard >= 1 and is_later and len(others) < MOST_MARKS


def has_room(state: NaiveState, command: AdoptInstrument) -> bool:
    """Whether nothing stands under the symbol, or what has moved away, and fewer times."""
    known = state.instruments.get(command.symbol)
    if known is None:
        return True
    return known.state == TradingState.MOVED and command.moves > known.moves


def arrives(state: NaiveState, command: AdoptOrder) -> bool:
    """Whether the order is a next one of the arrival that is under way."""
    known = state.instruments.get(command.symbol)
    return (
        known is not None
        and known.state == TradingState.ARRIVING
        and command.moves == known.moves
        and command.source_sequence > known.adopted_sequence
    )


def _listing_checks(command: DefineInstrument | AdoptInstrument, is_free: bool) -> Checks:
    yield command.symbol != ALL_SYMBOLS, RejectReason.INVALID_SYMBOL
    yield is_free, RejectReason.INSTRUMENT_EXISTS
    sized = command.tick_size >= 1 and command.lot_size >= 1
    yield sized, RejectReason.INVALID_TICK_OR_LOT_SIZE
    yield command.short_sale in list(ShortSale), RejectReason.INVALID_SHORT_SALE


def _adopt_order_checks(state: NaiveState, command: AdoptOrder) -> Iterator[bool]:
    yield command.symbol in state.instruments
    instrument = state.instruments[command.symbol]
    yield instrument.state == TradingState.ARRIVING
    yield command.moves == instrument.moves
    # How far the arrival has come counts this order already, for good or bad.

    yield command.side in list(Side)
    yield command.order_type in list(OrderType)
    yield command.time_in_force in list(TimeInForce)
    yield command.post_only in list(PostOnly)
    yield command.capacity in list(Capacity)
    yield command.side != Side.SELL_SHORT or instrument.short_sale == ShortSale.ALLOWED

    yield _is_quantity(command.quantity, instrument)
    yield command.leaves > 0
    yield command.leaves + command.executed <= command.quantity
    has_limit = command.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    yield _price_is_right(command.price, has_limit, instrument)
    order = adopted_order(0, command)
    yield _price_is_right(command.stop_price, order.waits, instrument)
    if order.waits:
        yield command.executed == 0
        yield command.post_only == PostOnly.NO
        last_prices = [] if instrument.last_price is None else [instrument.last_price]
        yield not state.stop_is_reached(order, last_prices)
    else:
        yield command.order_type == OrderType.LIMIT
        yield command.time_in_force in RESTING_TIMES
        yield not state.makers(order)
    yield state.live_order(command.client, command.user_ref_num) is None
    yield len(state.orders) < state.order_limit


def _enter_order_checks(state: NaiveState, command: EnterOrder) -> Checks:
    yield command.symbol in state.instruments, RejectReason.UNKNOWN_SYMBOL
    instrument = state.instruments[command.symbol]

    yield command.side in list(Side), RejectReason.INVALID_SIDE
    yield command.order_type in list(OrderType), RejectReason.INVALID_ORDER_TYPE
    yield command.time_in_force in list(TimeInForce), RejectReason.INVALID_TIME_IN_FORCE
    yield command.post_only in list(PostOnly), RejectReason.INVALID_POST_ONLY
    yield command.capacity in list(Capacity), RejectReason.INVALID_CAPACITY

    yield instrument.state != TradingState.MOVED, RejectReason.MOVED
    yield instrument.state == TradingState.TRADING, RejectReason.HALTED
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
    yield instrument.state == TradingState.TRADING, RejectReason.HALTED

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
