"""Price levels, the sides of a book and the stops beside it, on sortedcontainers."""

from collections.abc import Iterator

from sortedcontainers import SortedList

from engine.orders import Order
from feed.messages import TradingState


class Level:
    """The orders at one price, in the order of their priority."""

    __slots__ = ("orders", "price", "quantity")

    def __init__(self, price: int) -> None:
        self.price = price
        self.quantity = 0
        self.orders: dict[int, Order] = {}  # by number; a dict keeps the order of arrival

    def first(self) -> Order:
        """The order that trades next."""
        return next(iter(self.orders.values()))


class Ladder:
    """Price levels in the order in which they are reached: one side of a book, or of its stops."""

    __slots__ = ("_keys", "_levels", "_sign", "best")

    def __init__(self, *, highest_first: bool) -> None:
        self.best: Level | None = None  # the level that is reached first
        self._sign = -1 if highest_first else 1
        self._levels: dict[int, Level] = {}  # by price
        self._keys: SortedList[int] = SortedList()  # prices, negated where the highest is first

    def __iter__(self) -> Iterator[Level]:
        return (self._levels[key * self._sign] for key in self._keys)

    def orders(self) -> Iterator[Order]:
        """Every order, in the order in which they would trade."""
        for level in self:
            yield from level.orders.values()

    def best_within(self, limit: int) -> Level | None:
        """The level that is reached first, if its price is the limit or better."""
        best = self.best
        if best is None or (limit - best.price) * self._sign < 0:
            return None
        return best

    def add(self, order: Order, price: int) -> None:
        """Put an order at the end of the queue at this price."""
        level = self._levels.get(price)
        if level is None:
            level = self._levels[price] = Level(price)
            self._keys.add(price * self._sign)
            self._find_best()
        level.orders[order.number] = order
        level.quantity += order.leaves
        order.ladder = self
        order.level = level

    def remove(self, order: Order) -> None:
        """Take an order out, and its level when nothing else is there."""
        level = order.level
        assert order.ladder is self, "order stands elsewhere"
        assert level is not None
        del level.orders[order.number]
        level.quantity -= order.leaves
        order.ladder = order.level = None
        if not level.orders:
            del self._levels[level.price]
            self._keys.remove(level.price * self._sign)
            self._find_best()

    def execute(self, order: Order, quantity: int) -> None:
        """Trade this quantity of an order; it leaves the ladder when it is filled."""
        self._take(order, quantity)
        order.executed += quantity

    def cancel(self, order: Order, quantity: int) -> None:
        """Take this quantity off an order, which keeps its place; nothing left, it leaves."""
        self._take(order, quantity)
        order.canceled += quantity

    def _take(self, order: Order, quantity: int) -> None:
        if order.leaves == quantity:
            self.remove(order)
        else:
            assert order.level is not None
            order.level.quantity -= quantity
        order.leaves -= quantity

    def _find_best(self) -> None:
        self.best = self._levels[self._keys[0] * self._sign] if self._keys else None


class Instrument:
    """What is listed under a symbol: its rules, its book and the stops that wait beside it."""

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

    def __init__(self, symbol: bytes, tick_size: int, lot_size: int, short_sale: int) -> None:
        self.symbol = symbol
        self.tick_size = tick_size
        self.lot_size = lot_size
        self.short_sale = short_sale
        self.state = int(TradingState.TRADING)
        self.last_price = 0  # of the last trade; 0 before the first
        self.moves = 0  # from shard to shard
        self.adopted_sequence = 0  # while it arrives: the `source_sequence` of its last order
        self.bids = Ladder(highest_first=True)
        self.asks = Ladder(highest_first=False)
        self.buy_stops = Ladder(highest_first=False)
        self.sell_stops = Ladder(highest_first=True)

    @property
    def ladders(self) -> tuple[Ladder, Ladder, Ladder, Ladder]:
        """Everywhere an order of this instrument may stand."""
        return self.bids, self.asks, self.buy_stops, self.sell_stops
