"""An auditor's orders, and the queues in which they wait: plain, and none of the engine's.

A queue is a heap of which what has left is taken off when it comes to the top: nothing of it is
shared with the sorted ladders of the machines, so that a mistake in those shows.
"""

from enum import Enum, auto
from heapq import heapify, heappop, heappush

from feed.messages import SelfTradePrevention, TradingState


class Standing(Enum):
    """Where an order is."""

    ACTIVE = auto()  # it is being matched
    RESTING = auto()  # in the book
    WAITING = auto()  # for its stop price
    ENDED = auto()


class Order:
    """What the list has said of an order so far."""

    __slots__ = (
        "asked",
        "canceled",
        "client",
        "entered",
        "executed",
        "is_buy",
        "limit",
        "number",
        "place",
        "post_only",
        "queue",
        "replaced",
        "standing",
        "stop_price",
        "symbol",
        "time_in_force",
        "user_ref_num",
    )

    def __init__(
        self, number: int, client: int, user_ref_num: int, symbol: bytes, *, is_buy: bool
    ) -> None:
        self.number = number
        self.client = client
        self.user_ref_num = user_ref_num
        self.symbol = symbol
        self.is_buy = is_buy
        self.limit = 0  # 0 without one
        self.stop_price = 0
        self.time_in_force = 0
        self.post_only = False
        self.asked = 0  # the quantity that was asked for last
        self.entered = 0
        self.replaced = 0  # what replaces have added to the quantity, or taken off it
        self.executed = 0
        self.canceled = 0
        self.place = number  # the lower, the earlier it came to where it stands
        self.standing = Standing.ACTIVE
        self.queue: Queue | None = None

    @property
    def open(self) -> int:
        """What is left of it."""
        return self.entered + self.replaced - self.executed - self.canceled

    def leave(self) -> None:
        """Leave the queue that it waits in, if it waits in one."""
        if self.queue is not None:
            self.queue.leave(self)

    def __str__(self) -> str:
        return f"order {self.number:,} (client {self.client}, {self.user_ref_num})"


class Client:
    """What the list has said of a client."""

    __slots__ = ("home_sequence", "last_user_ref_num", "orders", "self_trade_prevention")

    def __init__(self) -> None:
        self.last_user_ref_num = 0
        self.home_sequence = 0  # of its last log-in, as that says
        self.self_trade_prevention = int(SelfTradePrevention.OFF)
        self.orders: dict[int, Order] = {}  # the live ones, by user_ref_num


class Queue:
    """The orders on one side of a book, or the stops of one side, first to be reached first."""

    def __init__(self, *, highest_first: bool) -> None:
        self._sign = -1 if highest_first else 1
        self._heap: list[tuple[int, int, Order]] = []  # signed price, place
        self._size = 0

    def add(self, order: Order, price: int) -> None:
        """Put an order in, at its place among those of the same price."""
        heappush(self._heap, (price * self._sign, order.place, order))
        order.queue = self
        self._size += 1

    def leave(self, order: Order) -> None:
        """Take an order out; it stays in the heap until it comes to the top, or is in the way."""
        order.queue = None
        self._size -= 1
        if len(self._heap) > 2 * self._size + 64:
            self._heap = [each for each in self._heap if self._is_there(each)]
            heapify(self._heap)

    def first(self) -> Order | None:
        """The order that is reached first."""
        heap = self._heap
        while heap:
            if self._is_there(heap[0]):
                return heap[0][2]
            heappop(heap)
        return None

    def _is_there(self, entry: tuple[int, int, Order]) -> bool:
        _, place, order = entry
        return order.queue is self and order.place == place


class Instrument:
    """What is listed under a symbol, as far as an auditor asks."""

    __slots__ = (
        "adopted_sequence",
        "asks",
        "bids",
        "buy_stops",
        "last_price",
        "lot_size",
        "moves",
        "sell_stops",
        "short_sale",
        "state",
        "symbol",
        "tick_size",
    )

    def __init__(
        self, symbol: bytes, tick_size: int = 0, lot_size: int = 0, short_sale: int = 0
    ) -> None:
        self.symbol = symbol
        self.tick_size = tick_size
        self.lot_size = lot_size
        self.short_sale = short_sale
        self.state = int(TradingState.TRADING)
        self.moves = 0  # from shard to shard
        self.adopted_sequence = 0  # of the last order that arrived, by the list that it came from
        self.last_price = 0
        self.bids = Queue(highest_first=True)
        self.asks = Queue(highest_first=False)
        self.buy_stops = Queue(highest_first=False)
        self.sell_stops = Queue(highest_first=True)

    @property
    def is_halted(self) -> bool:
        """Whether nothing may trade."""
        return self.state != TradingState.TRADING

    @property
    def queues(self) -> tuple[Queue, ...]:
        """All orders that stand here, in the order in which they leave with it."""
        return self.bids, self.asks, self.buy_stops, self.sell_stops

    def book(self, *, is_buy: bool) -> Queue:
        """The side of the book where orders of this side rest."""
        return self.bids if is_buy else self.asks

    def stops(self, *, is_buy: bool) -> Queue:
        """Where the stop orders of this side wait."""
        return self.buy_stops if is_buy else self.sell_stops
