"""A subscriber's books: every instrument's price levels, built from whole committed groups.

The rules are those of docs/machine.md, seen from outside: an order that was not refused stands with
its whole quantity, TRADE and CANCELED take from it, REPLACED gives it new terms, a stop order shows
up once it is TRIGGERED. What a group leaves of its incoming orders joins the book at the group's
end, so that between groups the book is exactly the engine's, and never crossed. A MOVE_OUT takes an
instrument's orders away, as the ORDER_STATE events of its group tell them; in the shard where they
arrive, ADOPT_ORDER brings them one by one. Whoever comes late begins with a snapshot instead of the
first group.
"""

from collections.abc import Iterator
from typing import Self

from sortedcontainers import SortedDict

from feed.codec import Frame
from feed.levels import Book, BookEntry, BookError, Level, Order, book_digest, require
from feed.messages import (
    AdoptInstrument,
    AdoptOrder,
    Canceled,
    DefineInstrument,
    EnterOrder,
    InstrumentState,
    MoveOut,
    OrderState,
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
from feed.snapshot import SnapshotError, StateDigest, WholeSnapshot
from feed.subscriber import Group

__all__ = ["Book", "BookEntry", "BookError", "Books", "Level", "book_digest"]

_TRADING_STATES = frozenset(TradingState)


class Books:
    """The books of all instruments of a shard, kept by whole groups from sequence 1 on, or from a
    snapshot on; then trades, volumes and last quantities are those since the snapshot.

    As many orders as the machine lets live at once are held. A group that does not fit raises
    BookError; the books are then worthless and have to be built anew.
    """

    __slots__ = ("_books", "_matching", "_orders", "sequence", "trade_count", "volume")

    def __init__(self) -> None:
        self.sequence = 0  # of the last frame applied
        self.trade_count = 0
        self.volume = 0
        self._books: SortedDict[bytes, Book] = SortedDict()
        self._orders: dict[int, Order] = {}
        self._matching: list[Order] = []  # this group's incoming orders, in the order they came

    @classmethod
    def from_snapshot(cls, snapshot: WholeSnapshot) -> Self:
        """The books after frame `snapshot.head.sequence`, to be gone on with after that.

        Raises SnapshotError when the snapshot's state is not one that books can be in.
        """
        books = cls()
        digest = StateDigest()
        try:
            for run in snapshot.state():
                digest.update(run)
                for frame in run:
                    books._restore(frame.message())
        except BookError as error:
            raise SnapshotError(f"the snapshot's state is impossible: {error}") from error
        if digest.digest() != snapshot.end.state_digest:
            raise SnapshotError("the snapshot's state has another digest than it says")
        books.sequence = snapshot.head.sequence
        return books

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
            if isinstance(messages[0], MoveOut):
                self._finish_move(messages[0])
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
        require(not self._matching, "an order still matches between groups")
        for book in self:
            book.check()
        resting = {entry.order_number for entry in self.entries()}
        known = {number for number, order in self._orders.items() if not order.waits}
        require(resting == known, "the index of numbers and the levels hold different orders")
        for order in self._orders.values():
            require(order.quantity > 0, f"order {order.number} lives with nothing left")
            require(not (order.waits and order.queue), f"order {order.number} waits and rests")

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
            case SetTradingState() | InstrumentState():
                self._set_state(message)
            case OrderState():
                self._move_order(message)
            case AdoptInstrument():
                self._adopt(message)
            case AdoptOrder():
                self._adopt_order(frame.sequence, message)
            case _:
                pass  # log-ins, epochs, marks, and commands whose events say what they did

    def _restore(self, message: object) -> None:
        """Take in one frame of a snapshot's state; those of a queue come in their priority."""
        match message:
            case InstrumentState():
                self._define(message)
                self._set_state(message)
                self._books[message.symbol].last_price = message.last_price or None
            case OrderState():
                require(message.number not in self._orders, f"order {message.number} lives twice")
                self._put_in(message.number, message)
            case _:
                pass  # the day, the marks, and what is remembered of clients

    def _put_in(self, number: int, message: OrderState | AdoptOrder) -> None:
        """An order that entered elsewhere stands here: behind those at its price, or it waits."""
        book, side = self._book(message.symbol), book_side(message.side)
        order = Order(number, book, side, message.price, message.leaves)
        require(order.quantity > 0, f"order {number} lives with nothing left")
        order.waits = message.stop_price > 0
        self._orders[number] = order
        if not order.waits:
            book.insert(order)

    def _adopt(self, message: AdoptInstrument) -> None:
        """An instrument arrives, new here or from here once; what it traded here is still told."""
        book = self._books.get(message.symbol)
        if book is None:
            book = self._books[message.symbol] = Book(message.symbol)
        else:
            is_gone = book.trading_state is TradingState.MOVED
            require(is_gone, f"{unpad(message.symbol)} arrives, and never left")
        book.tick_size, book.lot_size = message.tick_size, message.lot_size
        book.last_price = message.last_price or None
        book.trading_state = TradingState.ARRIVING

    def _adopt_order(self, number: int, message: AdoptOrder) -> None:
        arrives = self._book(message.symbol).trading_state is TradingState.ARRIVING
        require(arrives, f"order {number} arrives, and {unpad(message.symbol)} does not")
        self._put_in(number, message)

    def _move_order(self, message: OrderState) -> None:
        """An order leaves with its instrument, as it stands."""
        order = self._order(message.number)
        told = (self._book(message.symbol), book_side(message.side), message.price, message.leaves)
        stands = (order.book, order.side, order.price, order.quantity)
        is_same = told == stands and order.waits == (message.stop_price > 0)
        require(is_same, f"order {order.number} leaves with other terms than it has")
        self._take(order, order.quantity)

    def _finish_move(self, command: MoveOut) -> None:
        """All orders of the instrument have left; its last trade is still told."""
        book = self._book(command.symbol)
        left = [order.number for order in self._orders.values() if order.book is book]
        require(not left, f"{unpad(command.symbol)} has moved without its orders {left}")
        book.trading_state = TradingState.MOVED

    def _enter(self, number: int, message: EnterOrder) -> None:
        book = self._book(message.symbol)
        order = Order(number, book, book_side(message.side), message.price, message.quantity)
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
            require(stays, f"order {order.number} moved or grew, and can't keep its place")
            self._take(order, order.quantity - message.quantity)
        else:
            order.book.remove(order)
            order.price, order.quantity = message.price, message.quantity
            self._matching.append(order)

    def _trigger(self, message: Triggered) -> None:
        order = self._order(message.order_number)
        require(order.waits, f"order {order.number} was triggered, but waited for no stop price")
        require(order.quantity == message.quantity, f"order {order.number} woke with another size")
        order.waits = False
        order.price = message.price
        self._matching.append(order)

    def _set_state(self, message: SetTradingState | InstrumentState) -> None:
        require(message.state in _TRADING_STATES, f"trading state {message.state} is not known")
        self._book(message.symbol).trading_state = TradingState(message.state)

    def _define(self, message: DefineInstrument | InstrumentState) -> None:
        require(message.symbol not in self._books, f"{unpad(message.symbol)} was listed twice")
        self._books[message.symbol] = Book(message.symbol, message.tick_size, message.lot_size)

    def _take(self, order: Order, quantity: int) -> None:
        """Take quantity off an order, and the order out of the books when nothing is left."""
        left = order.quantity - quantity
        if left < 0:
            raise BookError(f"order {order.number} has {order.quantity}, less than {quantity}")
        if left == 0:
            order.book.remove(order)
            del self._orders[order.number]
        elif order.queue is not None:
            order.queue.quantity -= quantity
        order.quantity = left

    def _rest(self) -> None:
        """Let what is left of the group's incoming orders join the book, first come first."""
        for order in self._matching:
            if order.quantity:
                order.book.insert(order)
        self._matching.clear()

    def _order(self, number: int) -> Order:
        order = self._orders.get(number)
        if order is None:
            raise BookError(f"an event names order {number}, which does not live")
        return order

    def _book(self, symbol: bytes) -> Book:
        book = self._books.get(symbol)
        if book is None:
            raise BookError(f"no instrument {unpad(symbol)} has been listed")
        return book
