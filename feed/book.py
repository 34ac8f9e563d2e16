"""A subscriber's books: every instrument's price levels, built from whole committed groups.

The rules are those of docs/machine.md, seen from outside: an order that was not refused stands with
its whole quantity, TRADE and CANCELED take from it, REPLACED gives it new terms, a stop order shows
up once it is TRIGGERED. What a group leaves of its incoming orders joins the book at the group's
end, so that between groups the book is exactly the engine's, and never crossed.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from sortedcontainers import SortedDict

from feed.codec import Frame
from feed.messages import (
    BookSide,
    Canceled,
    DefineInstrument,
    EnterOrder,
    OrderType,
    Rejected,
    Replaced,
    SetTradingState,
    Trade,
    TradingState,
    Triggered,
    book_side,
    unpad,
)
from feed.subscriber import Group

_ENTRY = struct.Struct(">8sBQQI")  # the fields of BookEntry

_TRADING_STATES = frozenset(TradingState)


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


class _Order:
    """A live order. `queue` is None while it waits for its stop price or is still matching."""

    __slots__ = ("book", "number", "price", "quantity", "queue", "side", "waits")

    def __init__(self, number: int, book: "Book", side: BookSide, price: int, quantity: int):
        self.number = number
        self.book = book
        self.side = side
        self.price = price
        self.quantity = quantity
        self.waits = False
        self.queue: _Queue | None = None


class _Queue:
    """The orders of one level, by number, in time priority."""

    __slots__ = ("orders", "price", "quantity")

    def __init__(self, price: int) -> None:
        self.price = price
        self.quantity = 0
        self.orders: dict[int, _Order] = {}


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
        self._sides: tuple[SortedDict[int, _Queue], SortedDict[int, _Queue]] = (
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
                _require(rank == _rank(side, queue.price), "a level stands at another price")
                _require(bool(orders), "a level is empty")
                _require(queue.quantity == sum(order.quantity for order in orders), "a level's sum")
                for order in orders:
                    _require(order.quantity > 0, f"order {order.number} rests with nothing left")
                    _require(
                        (order.book, order.side, order.price) == (self, side, queue.price)
                        and order.queue is queue,
                        f"order {order.number} rests at another place than it knows",
                    )
        bid, ask = self.best_bid, self.best_ask
        crossed = bid is not None and ask is not None and bid.price >= ask.price
        _require(not crossed, f"{unpad(self.symbol)} is crossed: {bid} and {ask}")

    def _best(self, side: BookSide) -> Level | None:
        levels = self._sides[side]
        return _level(levels.peekitem(0)[1]) if levels else None

    def _levels(self, side: BookSide, depth: int | None) -> list[Level]:
        return [_level(queue) for queue in islice(self._sides[side].values(), depth)]

    def _insert(self, order: _Order) -> None:
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
            queue = levels[rank] = _Queue(order.price)
        queue.orders[order.number] = order
        queue.quantity += order.quantity
        order.queue = queue

    def _remove(self, order: _Order) -> None:
        """Take `order` out of its queue, if it is in one."""
        queue = order.queue
        if queue is None:
            return
        del queue.orders[order.number]
        queue.quantity -= order.quantity
        order.queue = None
        if not queue.orders:
            del self._sides[order.side][_rank(order.side, queue.price)]


class Books:
    """The books of all instruments of a shard, kept by whole groups from sequence 1 on.

    As many orders as the machine lets live at once are held. A group that does not fit raises
    BookError; the books are then worthless and have to be built anew.
    """

    __slots__ = ("_books", "_matching", "_orders", "sequence", "trade_count", "volume")

    def __init__(self) -> None:
        self.sequence = 0  # of the last frame applied
        self.trade_count = 0
        self.volume = 0
        self._books: SortedDict[bytes, Book] = SortedDict()
        self._orders: dict[int, _Order] = {}
        self._matching: list[_Order] = []  # this group's incoming orders, in the order they came

    def __len__(self) -> int:
        return len(self._books)

    def __iter__(self) -> Iterator[Book]:
        """The books by symbol, ascending."""
        return iter(self._books.values())

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._books

    def __getitem__(self, symbol: bytes) -> Book:
        """The book of a symbol as it stands in frames (`feed.messages.symbol_field`).

        Raises KeyError when no such instrument has been listed.
        """
        return self._books[symbol]

    @property
    def order_count(self) -> int:
        """How many orders live: those that rest and the stops that wait."""
        return len(self._orders)

    def apply(self, group: Group) -> None:
        """Take a whole group into the books; groups come in sequence, without a hole.

        Raises BookError when the group does not follow the last one, or contradicts the books.
        """
        frames = group.frames
        first = frames[0].sequence
        if first != self.sequence + 1:
            raise BookError(f"the group at {first} does not follow {self.sequence}")
        messages = [frame.message() for frame in frames]
        if not isinstance(messages[-1], Rejected):
            for frame, message in zip(frames, messages, strict=True):
                self._apply(frame, message)
            self._rest()
        self.sequence = frames[-1].sequence

    def entries(self) -> Iterator[BookEntry]:
        """The resting orders of all books in canonical order."""
        for book in self:
            yield from book.entries()

    def digest(self) -> str:
        """The digest of all books, equal to the engine's at the same sequence number."""
        return book_digest(self.entries())

    def check(self) -> None:
        """Raise BookError unless every invariant of the books holds."""
        _require(not self._matching, "an order still matches between groups")
        for book in self:
            book.check()
        resting = {entry.order_number for entry in self.entries()}
        known = {number for number, order in self._orders.items() if not order.waits}
        _require(resting == known, "the index of numbers and the levels hold different orders")
        for order in self._orders.values():
            _require(order.quantity > 0, f"order {order.number} lives with nothing left")
            _require(not (order.waits and order.queue), f"order {order.number} waits and rests")

    def _apply(self, frame: Frame, message: object) -> None:
        match message:
            case EnterOrder():
                self._enter(frame.sequence, message)
            case Trade():
                self._trade(message)
            case Canceled():
                self._take(self._order(message.order_number), message.quantity)
            case Replaced():
                self._replace(message)
            case Triggered():
                self._trigger(message)
            case DefineInstrument():
                self._define(message)
            case SetTradingState():
                self._set_state(message)
            case _:
                pass  # log-ins, epochs, and commands whose events say what they did

    def _enter(self, number: int, message: EnterOrder) -> None:
        book = self._book(message.symbol)
        order = _Order(number, book, book_side(message.side), message.price, message.quantity)
        order.waits = message.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
        self._orders[number] = order
        if not order.waits:
            self._matching.append(order)

    def _trade(self, message: Trade) -> None:
        book = self._book(message.symbol)
        self._take(self._order(message.maker_number), message.quantity)
        self._take(self._order(message.taker_number), message.quantity)
        book.last_price = message.price
        book.last_quantity = message.quantity
        book.trade_count += 1
        book.volume += message.quantity
        self.trade_count += 1
        self.volume += message.quantity

    def _replace(self, message: Replaced) -> None:
        order = self._order(message.order_number)
        if order.waits:
            order.price, order.quantity = message.price, message.quantity
        elif message.keeps_priority:
            stays = message.price == order.price and message.quantity <= order.quantity
            _require(stays, f"order {order.number} moved or grew, and can't keep its place")
            self._take(order, order.quantity - message.quantity)
        else:
            order.book._remove(order)
            order.price, order.quantity = message.price, message.quantity
            self._matching.append(order)

    def _trigger(self, message: Triggered) -> None:
        order = self._order(message.order_number)
        _require(order.waits, f"order {order.number} was triggered, but waited for no stop price")
        _require(order.quantity == message.quantity, f"order {order.number} woke with another size")
        order.waits = False
        order.price = message.price
        self._matching.append(order)

    def _set_state(self, message: SetTradingState) -> None:
        _require(message.state in _TRADING_STATES, f"trading state {message.state} is not known")
        self._book(message.symbol).trading_state = TradingState(message.state)

    def _define(self, message: DefineInstrument) -> None:
        _require(message.symbol not in self._books, f"{unpad(message.symbol)} was listed twice")
        self._books[message.symbol] = Book(message.symbol, message.tick_size, message.lot_size)

    def _take(self, order: _Order, quantity: int) -> None:
        """Take quantity off an order, and the order out of the books when nothing is left."""
        left = order.quantity - quantity
        if left < 0:
            raise BookError(f"order {order.number} has {order.quantity}, less than {quantity}")
        if left == 0:
            order.book._remove(order)
            del self._orders[order.number]
        elif order.queue is not None:
            order.queue.quantity -= quantity
        order.quantity = left

    def _rest(self) -> None:
        """Let what is left of the group's incoming orders join the book, first come first."""
        for order in self._matching:
            if order.quantity:
                order.book._insert(order)
        self._matching.clear()

    def _order(self, number: int) -> _Order:
        order = self._orders.get(number)
        if order is None:
            raise BookError(f"an event names order {number}, which does not live")
        return order

    def _book(self, symbol: bytes) -> Book:
        book = self._books.get(symbol)
        if book is None:
            raise BookError(f"no instrument {unpad(symbol)} has been listed")
        return book


def _rank(side: BookSide, price: int) -> int:
    return -price if side is BookSide.BID else price


def _level(queue: _Queue) -> Level:
    return Level(queue.price, queue.quantity, len(queue.orders))


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise BookError(otherwise)
