"""What the naive market knows, and the questions that it asks of it.

Every live order is in one list. Whatever is to be known (the best maker, the stops that a trade
reached, a client's orders) is found by looking at all of them and sorting.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from feed.messages import (
    ALL_SYMBOLS,
    BookSide,
    OrderType,
    SelfTradePrevention,
    TradingState,
    book_side,
)

BookRow = tuple[bytes, BookSide, int, int, int]  # symbol, side, price, order number, open quantity


@dataclass(slots=True)
class Instrument:
    """A listed instrument, or one that has moved away; `last_price` is None until its first
    trade."""

    tick_size: int
    lot_size: int
    short_sale: int
    state: int = TradingState.TRADING
    last_price: int | None = None
    moves: int = 0
    adopted_sequence: int = 0


@dataclass(slots=True)
class Client:
    """A client that has logged in at least once, or that has an order from another shard."""

    login: int
    self_trade_prevention: int
    last_user_ref_num: int = 0
    home_sequence: int = 0


@dataclass(slots=True)
class Order:
    """An order with something left to trade; a stop order that woke is a limit or market order."""

    number: int
    client: int
    user_ref_num: int
    symbol: bytes
    side: int
    order_type: int
    time_in_force: int
    post_only: int
    quantity: int  # open
    price: int
    stop_price: int
    capacity: int
    asked_for: int  # open, executed and canceled
    executed: int = 0
    arrival: int = 0  # later arrivals stand behind earlier ones at the same price

    @property
    def book_side(self) -> BookSide:
        """The side that the order is on, or would be once it rests."""
        return book_side(self.side)

    @property
    def waits(self) -> bool:
        """Whether the order waits for its stop price, outside the book."""
        return self.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)


class NaiveState:
    """The whole state: what is listed, who has logged in, and every live order."""

    def __init__(self, order_limit: int = 4_000_000) -> None:
        self.order_limit = order_limit
        self.instruments: dict[bytes, Instrument] = {}
        self.clients: dict[int, Client] = {}
        self.orders: list[Order] = []
        self.arrivals = 0
        self.day = 0  # as YYYYMMDD; 0 before the first
        self.marks: dict[int, int] = {}  # by shard

    def live_order(self, client: int, user_ref_num: int) -> Order | None:
        """The client's live order that goes by this user_ref_num."""
        for order in self.orders:
            if order.client == client and order.user_ref_num == user_ref_num:
                return order
        return None

    def orders_to_cancel(self, client: int, symbol: bytes) -> list[Order]:
        """The client's live orders in one symbol, or in all where it is blank, by number."""
        chosen = [
            order
            for order in self.orders
            if order.client == client and symbol in (ALL_SYMBOLS, order.symbol)
        ]
        return sorted(chosen, key=lambda order: order.number)

    def side_of_book(self, symbol: bytes, side: BookSide) -> list[Order]:
        """The resting orders of one side, best price first, then the earliest."""
        resting = [
            order
            for order in self.orders
            if order.symbol == symbol and order.book_side == side and not order.waits
        ]
        if side is BookSide.BID:
            return sorted(resting, key=lambda order: (-order.price, order.arrival))
        return sorted(resting, key=lambda order: (order.price, order.arrival))

    def makers(self, taker: Order) -> list[Order]:
        """The resting orders whose price the taker accepts, in the order in which it meets them."""
        other_side = BookSide.ASK if taker.book_side is BookSide.BID else BookSide.BID
        return [
            maker for maker in self.side_of_book(taker.symbol, other_side) if accepts(taker, maker)
        ]

    def fillable(self, taker: Order) -> int:
        """How much the taker would trade before its time is over, at most what it asks for."""
        quantity = 0
        for maker in self.makers(taker):
            if maker.client == taker.client:
                mode = self.clients[taker.client].self_trade_prevention
                if mode in (SelfTradePrevention.CANCEL_NEWEST, SelfTradePrevention.CANCEL_BOTH):
                    break  # here the taker would be canceled
                if mode == SelfTradePrevention.CANCEL_OLDEST:
                    continue  # here the maker would be
            quantity += maker.quantity
        return min(quantity, taker.quantity)

    def stop_is_reached(self, order: Order, prices: Sequence[int]) -> bool:
        """Whether a trade at one of these prices triggers the order."""
        if order.book_side is BookSide.BID:
            return any(price >= order.stop_price for price in prices)
        return any(price <= order.stop_price for price in prices)

    def reached_stops(self, symbol: bytes, prices: Sequence[int]) -> list[Order]:
        """The waiting orders that trades at these prices trigger, in the order they wake in."""
        waiting = self.waiting_stops(symbol)
        return [order for order in waiting if self.stop_is_reached(order, prices)]

    def waiting_stops(self, symbol: bytes) -> list[Order]:
        """All that wait, in the order in which they would wake: buys, then sells."""
        waiting = [order for order in self.orders if order.symbol == symbol and order.waits]
        buys = [order for order in waiting if order.book_side is BookSide.BID]
        sells = [order for order in waiting if order.book_side is BookSide.ASK]
        buys.sort(key=lambda order: (order.stop_price, order.arrival))
        sells.sort(key=lambda order: (-order.stop_price, order.arrival))
        return buys + sells

    def book_entries(self) -> list[BookRow]:
        """The book in canonical order: by symbol, bids before asks, best first, then earliest."""
        return [
            (symbol, side, order.price, order.number, order.quantity)
            for symbol in sorted(self.instruments)
            for side in (BookSide.BID, BookSide.ASK)
            for order in self.side_of_book(symbol, side)
        ]


def accepts(taker: Order, maker: Order) -> bool:
    """Whether the taker would trade at the maker's price."""
    if taker.order_type == OrderType.MARKET:
        return True
    if taker.book_side is BookSide.BID:
        return maker.price <= taker.price
    return maker.price >= taker.price
