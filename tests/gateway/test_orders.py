"""A user's arguments to the messages of commands."""

import pytest

from feed.messages import (
    ALL_SYMBOLS,
    NO_CLIENT_ORDER_ID,
    Capacity,
    OrderType,
    PostOnly,
    Side,
    TimeInForce,
)
from gateway import orders, ouch
from gateway.ouch import MARKET_PRICE, Appendage


def enter(
    symbol: str = "AAPL",
    quantity: int = 100,
    price: int = 1_850_000,
    order_type: OrderType | None = None,
    stop_price: int = 0,
    post_only: bool = False,
    client_order_id: str = "",
) -> ouch.EnterOrder:
    return orders.enter_order(
        5,
        symbol,
        Side.SELL,
        quantity,
        price,
        order_type=order_type,
        stop_price=stop_price,
        time_in_force=TimeInForce.FILL_OR_KILL,
        post_only=post_only,
        capacity=Capacity.PRINCIPAL,
        client_order_id=client_order_id,
    )


def test_an_order_has_all_that_was_asked_for() -> None:
    assert enter(stop_price=1_860_000, post_only=True, client_order_id="mine") == ouch.EnterOrder(
        5,
        Side.SELL,
        100,
        b"AAPL    ",
        1_850_000,
        TimeInForce.FILL_OR_KILL,
        capacity=Capacity.PRINCIPAL,
        client_order_id=b"mine          ",
        appendage=Appendage(PostOnly.YES, 1_860_000),
    )


@pytest.mark.parametrize(
    ("price", "stop_price", "order_type"),
    [
        (1, 0, OrderType.LIMIT),
        (0, 0, OrderType.MARKET),
        (0, 1, OrderType.STOP),
        (1, 1, OrderType.STOP_LIMIT),
    ],
)
def test_an_order_type_has_to_agree_with_the_prices(
    price: int, stop_price: int, order_type: OrderType
) -> None:
    for given_type in OrderType:
        if given_type is order_type:
            order = enter(price=price, stop_price=stop_price, order_type=given_type)
            assert order == enter(price=price, stop_price=stop_price)
            assert order.price == (price or MARKET_PRICE)
        else:
            with pytest.raises(ValueError, match=given_type.name):
                enter(price=price, stop_price=stop_price, order_type=given_type)


def test_a_replacement_has_all_that_was_asked_for() -> None:
    def replace(price: int, stop_price: int) -> ouch.ReplaceOrder:
        return orders.replace_order(
            5,
            6,
            80,
            price,
            stop_price=stop_price,
            time_in_force=TimeInForce.DAY,
            client_order_id="",
        )

    limited = ouch.ReplaceOrder(5, 6, 80, 1_840_000, TimeInForce.DAY)
    assert limited.client_order_id == NO_CLIENT_ORDER_ID
    assert replace(1_840_000, 0) == limited
    assert replace(0, 9) == limited._replace(price=MARKET_PRICE, appendage=Appendage(None, 9))


def test_a_mass_cancel_is_of_one_symbol_or_of_all() -> None:
    assert orders.mass_cancel(5, "AAPL") == ouch.MassCancel(5, symbol=b"AAPL    ")
    assert orders.mass_cancel(5, None) == ouch.MassCancel(5, symbol=ALL_SYMBOLS)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"symbol": ""}, "not a symbol"),
        ({"symbol": "ALONGNAME"}, "longer than 8"),
        ({"symbol": "AAPL/MSFT"}, "'AAPL/MSFT': an order is for one symbol"),
        ({"symbol": "AAPL MSFT"}, "an order is for one symbol"),
        ({"symbol": "\u00c4\u00d6"}, "not printable ASCII"),
        ({"quantity": -1}, "quantity -1"),
        ({"quantity": 2**32}, "quantity"),
        ({"price": -1}, "price -1"),
        ({"price": 2**64}, "price"),
        ({"price": MARKET_PRICE}, "price 0"),
        ({"stop_price": -1}, "stop price -1"),
        ({"stop_price": 2**64}, "stop price"),
        ({"client_order_id": "fifteen letters"}, "longer than 14"),
        ({"client_order_id": "\n"}, "not printable ASCII"),
    ],
)
def test_what_fits_no_message_is_refused(arguments: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        enter(**arguments)  # type: ignore[arg-type]


def test_what_names_several_symbols_and_fits_is_for_the_gateway_to_refuse() -> None:
    assert enter(symbol="A/B").symbol == b"A/B     "


def test_only_orders_that_were_entered_can_be_changed() -> None:
    orders.check_entered(1, 5)
    orders.check_entered(5, 5)
    for number in (-1, 0, 6):
        with pytest.raises(ValueError, match=f"user_ref_num {number}"):
            orders.check_entered(number, 5)
    assert orders.cancel_order(5, 20) == ouch.CancelOrder(5, 20)
    with pytest.raises(ValueError, match="quantity"):
        orders.cancel_order(5, -1)
