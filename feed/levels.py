"""The book of one instrument: its price levels, and the orders at each in their priority.

`feed.book` keeps it by what the list says.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from sortedcontainers import SortedDict

from feed.messages import BookSide, TradingState, unpad

_ENTRY = struct.Struct(">8sBQQI")  # the fields of BookEntry


class BookError(Exception):
    """The groups do not fit the books: the list was not read from its beginning, or is broken."""


class BookEntry(NamedTuple):
    """One resting order, as the digest of the books sees it."""

    symbol: bytes
    side: BookSide
    price: int
    order_number: int
    quantity: int


class Level(NamedTuple):
    """One price of one side: the quantity and the number of the orders that rest there."""

    price: int
    quantity: int
    order_count: int


def book_digest(entries: Iterable[BookEntry]) -> str:
    """The SHA-256, in hex, of resting orders in canonical order.

    That order is: symbols ascending, bids before asks, best price first, then time priority. Two
    books with one digest hold the same orders in the same queues.
    """
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(_ENTRY.pack(*entry))
    return digest.hexdigest()


class Order:
    """A live order. `queue` is None while it waits for its stop price or is still matching."""

    __slots__ = ("book", "number", "price", "quantity", "queue", "side", "waits")

    def __init__(self, number: int, book: "Book", side: BookSide, price: int, quantity: int):
        self.number = number
        self.book = book
        self.side = side
        self.price = price
        self.quantity = quantity
        self.waits = False
        self.queue: Queue | None = None


class Queue:
    """The orders of one level, by number, in time priority."""

    __slots__ = ("orders", "price", "quantity")

    def __init__(self, price: int) -> None:
        self.price = price
        self.quantity = 0
        self.orders: dict[int, Order] = {}


class Book:
    """One instrument: its resting orders by level, its trading state and its last trade."""

    __slots__ = (
        "_sides",
        "last_price",
        "last_quantity",
        "lot_size",
        "symbol",
        "tick_size",
        "trade_count",
        "trading_state",
        "volume",
    )

    def __init__(self, symbol: bytes, tick_size: int = 1, lot_size: int = 1) -> None:
        self.symbol = symbol
        self.tick_size = tick_size
        self.lot_size = lot_size
        self.trading_state = TradingState.TRADING
        self.last_price: int | None = None
        self.last_quantity: int | None = None
        self.trade_count = 0
        self.volume = 0
        # By rank: the price for asks, its negative for bids, so that the best comes first in both.
        self._sides: tuple[SortedDict[int, Queue], SortedDict[int, Queue]] = (
            SortedDict(),
            SortedDict(),
        )

    @property
    def best_bid(self) -> Level | None:
        """The highest level that somebody buys at."""
        return self._best(BookSide.BID)

    @property
    def best_ask(self) -> Level | None:
        """The lowest level that somebody sells at."""
        return self._best(BookSide.ASK)

    def bids(self, depth: int | None = None) -> list[Level]:
        """The best `depth` levels to sell to, highest price first; all without a depth."""
        return self._levels(BookSide.BID, depth)

    def asks(self, depth: int | None = None) -> list[Level]:
        """The best `depth` levels to buy from, lowest price first; all without a depth."""
        return self._levels(BookSide.ASK, depth)

    def entries(self) -> Iterator[BookEntry]:
        """The resting orders in canonical order."""
        for side in BookSide:
            for queue in self._sides[side].values():
                for order in queue.orders.values():
                    yield BookEntry(self.symbol, side, queue.price, order.number, order.quantity)

    def check(self) -> None:
        """Raise BookError unless levels and orders agree and the book is not crossed."""
        for side in BookSide:
            for rank, queue in self._sides[side].items():
                orders = queue.orders.values()
                require(rank == _rank(side, queue.price), "a level stands at another price")
                require(bool(orders), "a level is empty")
                require(queue.quantity == sum(order.quantity for order in orders), "a level's sum")
                for order in orders:
                    require(order.quantity > 0, f"order {order.number} rests with nothing left")
                    require(
                        (order.book, order.side, order.price) == (self, side, queue.price)
                        and order.queue is queue,
                        f"order {order.number} rests at another place than it knows",
                    )
        bid, ask = self.best_bid, self.best_ask
        crossed = bid is not None and ask is not None and bid.price >= ask.price
        require(not crossed, f"{unpad(self.symbol)} is crossed: {bid} and {ask}")

    def _best(self, side: BookSide) -> Level | None:
        levels = self._sides[side]
        return _level(levels.peekitem(0)[1]) if levels else None

    def _levels(self, side: BookSide, depth: int | None) -> list[Level]:
        return [_level(queue) for queue in islice(self._sides[side].values(), depth)]

    def insert(self, order: Order) -> None:
        """Put `order` at the tail of the queue at its price."""
        levels = self._sides[order.side]
        others = self._sides[1 - order.side]
        rank = _rank(order.side, order.price)
        if order.price == 0:
            raise BookError(f"order {order.number} has no price to rest at")
        if others and rank <= -others.peekitem(0)[0]:
            raise BookError(f"order {order.number} rests where it should have traded")
        queue = levels.get(rank)
        if queue is None:
            queue = levels[rank] = Queue(order.price)
        queue.orders[order.number] = order
        queue.quantity += order.quantity
        order.queue = queue

    def remove(self, order: Order) -> None:
        """Take `order` out of its queue, if it is in one."""
        queue = order.queue
        if queue is None:
            return
        del queue.orders[order.number]
        queue.quantity -= order.quantity
        order.queue = None
        if not queue.orders:
            del self._sides[order.side][_rank(order.side, queue.price)]


def _rank(side: BookSide, price: int) -> int:
    return -price if side is BookSide.BID else price


def _level(queue: Queue) -> Level:
    return Level(queue.price, queue.quantity, len(queue.orders))


def require(holds: bool, otherwise: str) -> None:
    """Raise BookError unless it holds."""
    if not holds:
        raise BookError(otherwise)
