"""The checks that a command must pass: each refusal of docs/machine.md, in its order there."""

from engine.book import Instrument
from engine.codes import (
    CAPACITIES,
    ORDER_TYPES,
    POST_ONLY,
    RESTING_TIMES,
    SHORT_SALE_CODES,
    SIDES,
    TIMES_IN_FORCE,
    WITH_LIMIT,
    WITH_STOP,
)
from engine.orders import Order
from engine.rejects import RejectReason
from feed.messages import (
    ALL_SYMBOLS,
    EnterOrder,
    OrderType,
    PostOnly,
    ReplaceOrder,
    ShortSale,
    Side,
    TradingState,
)

MAX_QUANTITY = 999_999  # OUCH 5.0's own limit
MAX_PRICE = 1_999_999_900  # OUCH's 199,999.99

_BUY = int(Side.BUY)
_SELL_SHORT = int(Side.SELL_SHORT)
_FORBIDDEN = int(ShortSale.FORBIDDEN)
_LIMIT = int(OrderType.LIMIT)
_POST_ONLY_YES = int(PostOnly.YES)
_TRADING = int(TradingState.TRADING)
_MOVED = int(TradingState.MOVED)


def refuse_enter(instrument: Instrument | None, command: EnterOrder) -> RejectReason | None:
    """Why a new order is refused; None when it is fine."""
    if instrument is None:
        return RejectReason.UNKNOWN_SYMBOL
    _, _, _, side, order_type, time_in_force, post_only, quantity, price, stop, capacity, _ = (
        command
    )
    if side not in SIDES:
        return RejectReason.INVALID_SIDE
    if order_type not in ORDER_TYPES:
        return RejectReason.INVALID_ORDER_TYPE
    if time_in_force not in TIMES_IN_FORCE:
        return RejectReason.INVALID_TIME_IN_FORCE
    if post_only not in POST_ONLY:
        return RejectReason.INVALID_POST_ONLY
    if capacity not in CAPACITIES:
        return RejectReason.INVALID_CAPACITY
    if instrument.state != _TRADING:
        return RejectReason.MOVED if instrument.state == _MOVED else RejectReason.HALTED
    if side == _SELL_SHORT and instrument.short_sale == _FORBIDDEN:
        return RejectReason.SHORT_SALE_FORBIDDEN
    if not is_quantity(instrument, quantity):
        return RejectReason.INVALID_QUANTITY
    reason = _refuse_prices(
        instrument, price, stop, order_type in WITH_LIMIT, order_type in WITH_STOP
    )
    if reason is None and post_only == _POST_ONLY_YES:
        is_plain = order_type == _LIMIT and time_in_force in RESTING_TIMES
        return _refuse_post_only(instrument, side == _BUY, price, is_plain)
    return reason


def refuse_replace(
    instrument: Instrument, order: Order, command: ReplaceOrder
) -> RejectReason | None:
    """Why new terms for a live order are refused; None when they are fine."""
    if command.time_in_force not in TIMES_IN_FORCE:
        return RejectReason.INVALID_TIME_IN_FORCE
    if instrument.state != _TRADING:  # nothing that has moved has orders to replace
        return RejectReason.HALTED
    if not is_quantity(instrument, command.quantity):
        return RejectReason.INVALID_QUANTITY
    if command.quantity <= order.executed:
        return RejectReason.QUANTITY_ALREADY_EXECUTED
    sets_stop = order.stop_price != 0 and command.stop_price != 0
    reason = _refuse_prices(
        instrument, command.price, command.stop_price, order.has_limit, sets_stop
    )
    if reason is None and order.post_only == _POST_ONLY_YES:
        is_plain = command.time_in_force in RESTING_TIMES
        return _refuse_post_only(instrument, order.is_buy, command.price, is_plain)
    return reason


def _refuse_prices(
    instrument: Instrument, price: int, stop_price: int, has_limit: bool, has_stop: bool
) -> RejectReason | None:
    """Why a price won't do; `has_limit` and `has_stop`: which ones there are."""
    if not is_price(instrument, price) if has_limit else price:
        return RejectReason.INVALID_PRICE
    if not is_price(instrument, stop_price) if has_stop else stop_price:
        return RejectReason.INVALID_STOP_PRICE
    return None


def _refuse_post_only(
    instrument: Instrument, is_buy: bool, price: int, is_plain: bool
) -> RejectReason | None:
    """Why an order may not be post-only; `is_plain`: it is a limit order that may rest."""
    if not is_plain:
        return RejectReason.POST_ONLY_COMBINATION
    opposite = instrument.asks if is_buy else instrument.bids
    if opposite.best_within(price) is not None:
        return RejectReason.POST_ONLY_WOULD_TRADE
    return None


def refuse_listing(
    symbol: bytes, tick_size: int, lot_size: int, short_sale: int, *, is_free: bool
) -> RejectReason | None:
    """Why an instrument can't be listed so; `is_free`: nothing else stands under its symbol."""
    if symbol == ALL_SYMBOLS:
        return RejectReason.INVALID_SYMBOL
    if not is_free:
        return RejectReason.INSTRUMENT_EXISTS
    if not (tick_size and lot_size):
        return RejectReason.INVALID_TICK_OR_LOT_SIZE
    if short_sale not in SHORT_SALE_CODES:
        return RejectReason.INVALID_SHORT_SALE
    return None


def is_quantity(instrument: Instrument, quantity: int) -> bool:
    """Whether an order may ask for so much."""
    return 0 < quantity <= MAX_QUANTITY and quantity % instrument.lot_size == 0


def is_price(instrument: Instrument, price: int) -> bool:
    """Whether an order may name this price."""
    return 0 < price <= MAX_PRICE and price % instrument.tick_size == 0
