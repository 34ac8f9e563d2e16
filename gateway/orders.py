"""A user's arguments to the OUCH messages of commands; what can't be said is a ValueError.

Only what would not fit a message is refused here. Whether an order is sensible the exchange says,
with a reason.
"""

from feed.messages import (
    ALL_SYMBOLS,
    CLIENT_ORDER_ID_BYTES,
    SYMBOL_BYTES,
    Capacity,
    OrderType,
    PostOnly,
    Side,
    TimeInForce,
    pad,
    symbol_field,
)
from feed.symbols import names_several
from gateway import ouch
from gateway.ouch import MARKET_PRICE, NO_APPENDAGE, Appendage
from gateway.rejects import GatewayReject

LARGEST_QUANTITY = 2**32 - 1  # in the field; the exchange takes far less
LARGEST_PRICE = 2**64 - 1

_HAS_LIMIT = {
    OrderType.LIMIT: True,
    OrderType.MARKET: False,
    OrderType.STOP: False,
    OrderType.STOP_LIMIT: True,
}
_HAS_STOP = {
    OrderType.LIMIT: False,
    OrderType.MARKET: False,
    OrderType.STOP: True,
    OrderType.STOP_LIMIT: True,
}


def enter_order(
    user_ref_num: int,
    symbol: str,
    side: Side,
    quantity: int,
    price: int,
    *,
    order_type: OrderType | None,
    stop_price: int,
    time_in_force: TimeInForce,
    post_only: bool,
    capacity: Capacity,
    client_order_id: str,
) -> ouch.EnterOrder:
    """A new order; price and stop price 0 stand for none.

    The order type follows from the prices; one that is given has to agree with them.
    """
    _check_prices(price, stop_price)
    if order_type is not None and (_HAS_LIMIT[order_type], _HAS_STOP[order_type]) != (
        price != 0,
        stop_price != 0,
    ):
        raise ValueError(
            f"price {price} and stop price {stop_price} don't make an order of type"
            f" {order_type.name}"
        )
    return ouch.EnterOrder(
        user_ref_num,
        Side(side),
        _quantity(quantity),
        order_symbol(symbol),
        price or MARKET_PRICE,
        TimeInForce(time_in_force),
        capacity=Capacity(capacity),
        client_order_id=pad(client_order_id, CLIENT_ORDER_ID_BYTES),
        appendage=Appendage(PostOnly.YES if post_only else None, stop_price or None),
    )


def replace_order(
    original_user_ref_num: int,
    user_ref_num: int,
    quantity: int,
    price: int,
    *,
    stop_price: int,
    time_in_force: TimeInForce,
    client_order_id: str,
) -> ouch.ReplaceOrder:
    """Other terms for an order; price 0 for one without a limit, stop price 0 keeps what it has."""
    _check_prices(price, stop_price)
    return ouch.ReplaceOrder(
        original_user_ref_num,
        user_ref_num,
        _quantity(quantity),
        price or MARKET_PRICE,
        TimeInForce(time_in_force),
        client_order_id=pad(client_order_id, CLIENT_ORDER_ID_BYTES),
        appendage=Appendage(stop_price=stop_price) if stop_price else NO_APPENDAGE,
    )


def mass_cancel(user_ref_num: int, symbol: str | None) -> ouch.MassCancel:
    """A cancel of all orders, in one symbol or in all."""
    field = ALL_SYMBOLS if symbol is None else order_symbol(symbol)
    return ouch.MassCancel(user_ref_num, symbol=field)


def cancel_order(user_ref_num: int, remaining: int) -> ouch.CancelOrder:
    """A reduction of an order to what should remain open of it."""
    return ouch.CancelOrder(user_ref_num, _quantity(remaining))


def order_symbol(symbol: str) -> bytes:
    """A symbol's field; of several that do not fit into it, it is said that they are several."""
    if len(symbol) > SYMBOL_BYTES and names_several(symbol.encode()):
        raise ValueError(f"{symbol!r}: {GatewayReject.TWO_SYMBOLS.text}")
    return symbol_field(symbol)


def check_entered(user_ref_num: int, last_user_ref_num: int) -> None:
    """Raises ValueError for the number of an order that was never entered."""
    if not 1 <= user_ref_num <= last_user_ref_num:
        raise ValueError(f"no order was entered with user_ref_num {user_ref_num}")


def _quantity(quantity: int) -> int:
    if not 0 <= quantity <= LARGEST_QUANTITY:
        raise ValueError(f"quantity {quantity} is not between 0 and {LARGEST_QUANTITY}")
    return quantity


def _check_prices(price: int, stop_price: int) -> None:
    if price == MARKET_PRICE:
        raise ValueError("an order without a limit has price 0 here")
    for name, value in (("price", price), ("stop price", stop_price)):
        if not 0 <= value <= LARGEST_PRICE:
            raise ValueError(f"{name} {value} is not between 0 and {LARGEST_PRICE}, in 1/10,000")
