"""Draws the operations of the neutral workload, with a book beside that says what comes of them."""

from enum import IntEnum
from heapq import heappop, heappush
from random import Random
from typing import NamedTuple

DEPTH = 10_000  # orders that rest at the start, of all symbols together
_LEAST_DEPTH = 40  # of one symbol
_MIDDLE = 10_000
_FARTHEST_TICKS = 50
_MEAN_TICKS = 12
_LARGEST = 100
_SHARE_RESTING = 0.55
_SHARE_CANCELING = 0.35  # the others trade
_MOST_MAKERS = 5
_STEP_EVERY = 500  # operations on a single symbol between two steps of its middle
_STEPS_PER_TURNOVER = 20.0  # on many: the middle moves about as often as levels turn over
_TOLERANCE = 0.03  # how far the depth may go from its start before the mix leans against it
_LEANING = 0.05


class OperationKind(IntEnum):
    """What an operation does; to an engine, NEW and TRADE are the same."""

    NEW = 0  # a limit order that rests
    CANCEL = 1  # repeats its order's side, price and first quantity
    TRADE = 2  # a limit order that is filled in full


class Operation(NamedTuple):
    """One operation, as it stands in a workload's file."""

    kind: int
    side: int  # 0 buys, 1 sells
    symbol: int  # from 0
    order: int  # each new one has the next number
    price: int
    quantity: int


class Totals(NamedTuple):
    """What comes of a workload."""

    trades: int
    quantity: int
    notional: int  # the sum of price times quantity
    resting: int
    resting_quantity: int


class _Side:
    """One side of a symbol's book. Keys are prices, negated for bids: the least is the best."""

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._keys: list[int] = []
        self._levels: dict[int, dict[int, int]] = {}  # what is open, by key and order

    def best(self) -> int | None:
        """The best price."""
        while self._keys and self._keys[0] not in self._levels:
            heappop(self._keys)
        return self._keys[0] * self._sign if self._keys else None

    def first(self, price: int) -> tuple[int, int]:
        """The order that trades next at this price, and what it has open."""
        return next(iter(self._levels[price * self._sign].items()))

    def put(self, order: int, price: int, quantity: int) -> None:
        """Set what an order has open; one that is new goes to the end of the queue."""
        key = price * self._sign
        if key not in self._levels:
            self._levels[key] = {}
            heappush(self._keys, key)
        self._levels[key][order] = quantity

    def drop(self, order: int, price: int) -> None:
        """Take an order off."""
        level = self._levels[price * self._sign]
        del level[order]
        if not level:
            del self._levels[price * self._sign]

    def open_quantity(self) -> int:
        """What all orders have open."""
        return sum(sum(level.values()) for level in self._levels.values())


class _Symbol:
    def __init__(self) -> None:
        self.sides = (_Side(-1), _Side(1))
        self.middle = _MIDDLE
        self.live: list[int] = []
        self._places: dict[int, int] = {}  # of each live order in that list

    def add(self, order: int) -> None:
        self._places[order] = len(self.live)
        self.live.append(order)

    def remove(self, order: int) -> None:
        place = self._places.pop(order)
        last = self.live.pop()
        if last != order:
            self.live[place] = last
            self._places[last] = place


class NeutralFlow:
    """Draws one operation after the other, all of which fit the books."""

    def __init__(self, symbols: int, seed: int) -> None:
        self.depth = max(DEPTH // symbols, _LEAST_DEPTH)  # of one symbol, when it is filled
        self._random = Random(seed)
        self._symbols = [_Symbol() for _ in range(symbols)]
        self._step = min(1.0, _STEPS_PER_TURNOVER / self.depth) if symbols > 1 else 1 / _STEP_EVERY
        self._placed: dict[int, Operation] = {}  # the live orders, as they came
        self._order = 0
        self._trades = self._quantity = self._notional = 0

    def busy_symbols(self, count: int) -> list[int]:
        """Which symbol each of so many operations is on: the n-th busiest has a share of 1 / n."""
        ranks = list(range(len(self._symbols)))
        self._random.shuffle(ranks)
        weights = [1 / (rank + 1) for rank in range(len(ranks))]
        return self._random.choices(ranks, weights=weights, k=count)

    def next(self, symbol: int) -> Operation:
        """The next operation on this symbol, of the kinds' shares."""
        book = self._symbols[symbol]
        if self._random.random() < self._step:
            book.middle += self._random.choice((-1, 1))
        match self._kind(len(book.live)):
            case OperationKind.CANCEL if book.live:
                return self._cancel(book)
            case OperationKind.TRADE if all(side.best() is not None for side in book.sides):
                return self._trade(symbol)
        return self.rest(symbol)

    def rest(self, symbol: int) -> Operation:
        """A limit order that rests, most likely near the middle."""
        book = self._symbols[symbol]
        side = self._random.randrange(2)
        away = 1 if side else -1
        distance = min(_FARTHEST_TICKS, int(self._random.expovariate(1 / _MEAN_TICKS)))
        price = book.middle + away * distance
        opposite = book.sides[1 - side].best()
        if opposite is not None and (price - opposite) * away <= 0:
            farther = opposite + away * (1 + distance)
            is_near = abs(farther - book.middle) <= _FARTHEST_TICKS
            price = farther if is_near else opposite + away
        operation = self._enter(OperationKind.NEW, side, symbol, price, self._size())
        book.sides[side].put(operation.order, price, operation.quantity)
        book.add(operation.order)
        self._placed[operation.order] = operation
        return operation

    def totals(self) -> Totals:
        """What has come of all operations."""
        return Totals(
            self._trades,
            self._quantity,
            self._notional,
            sum(len(book.live) for book in self._symbols),
            sum(side.open_quantity() for book in self._symbols for side in book.sides),
        )

    def _kind(self, live: int) -> OperationKind:
        """A kind by its share; where the depth has gone far from its start, it is drawn back."""
        drawn = self._random.random()
        leans = self._random.random() < _LEANING
        if drawn < _SHARE_RESTING:
            is_deep = live > self.depth * (1 + _TOLERANCE)
            return OperationKind.CANCEL if is_deep and leans else OperationKind.NEW
        is_shallow = live < self.depth * (1 - _TOLERANCE)
        if is_shallow and (leans or live < self.depth // 2):
            return OperationKind.NEW
        is_cancel = drawn < _SHARE_RESTING + _SHARE_CANCELING
        return OperationKind.CANCEL if is_cancel else OperationKind.TRADE

    def _cancel(self, book: _Symbol) -> Operation:
        order = self._random.choice(book.live)
        placed = self._drop(book, order)
        return placed._replace(kind=int(OperationKind.CANCEL))

    def _trade(self, symbol: int) -> Operation:
        """An order that is filled by one to five makers, the last one in part where it can be."""
        book = self._symbols[symbol]
        side = self._random.randrange(2)
        makers = book.sides[1 - side]
        wanted = 1 + self._random.randrange(_MOST_MAKERS)
        total = price = 0
        for number in range(1, wanted + 1):
            best = makers.best()
            if best is None:
                break
            price = best
            maker, open_quantity = makers.first(price)
            taken = open_quantity
            if number == wanted and taken > 1:
                taken = 1 + self._random.randrange(taken - 1)
            self._count(price, taken)
            total += taken
            if taken == open_quantity:
                self._drop(book, maker)
            else:
                makers.put(maker, price, open_quantity - taken)
        return self._enter(OperationKind.TRADE, side, symbol, price, total)

    def _count(self, price: int, quantity: int) -> None:
        self._trades += 1
        self._quantity += quantity
        self._notional += price * quantity

    def _drop(self, book: _Symbol, order: int) -> Operation:
        placed = self._placed.pop(order)
        book.sides[placed.side].drop(order, placed.price)
        book.remove(order)
        return placed

    def _enter(
        self, kind: OperationKind, side: int, symbol: int, price: int, quantity: int
    ) -> Operation:
        self._order += 1
        return Operation(int(kind), side, symbol, self._order, price, quantity)

    def _size(self) -> int:
        return 1 + self._random.randrange(_LARGEST)
