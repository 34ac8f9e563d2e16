"""The operations that benchmarks time: seeded, and the same for every machine."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from feed.messages import (
    NO_CLIENT_ORDER_ID,
    CancelOrder,
    Capacity,
    Command,
    EnterOrder,
    OrderType,
    PostOnly,
    Side,
    TimeInForce,
    symbol_field,
)
from tools.bench.plain_book import PlainBook

SYMBOL = symbol_field("BENCH")
TICK = 100
CLIENTS = 10
PREFILL = 10_000  # resting orders at the start: a liquid stock's book
_MID = 1_000_000
_FARTHEST_TICKS = 50
_MEAN_TICKS = 12  # most orders stand near the best price
_LARGEST = 100
_STEP_EVERY = 500  # operations between two steps of the mid
_SHARE_RESTING = 0.55
_SHARE_CANCELING = 0.35  # the others trade
_MOST_MAKERS = 5


class Operation(NamedTuple):
    """Enter an order, or cancel one; a canceled order's other fields are not used."""

    number: int
    enters: bool
    is_buy: bool
    price: int
    quantity: int


class Workload(NamedTuple):
    """Operations to time on a book that has been filled before, and what must come of them."""

    name: str
    prefill: Sequence[Operation]
    operations: Sequence[Operation]
    trades: int
    resting: Sequence[tuple[int, int]]  # number and open quantity, as `PlainBook.resting`


class _Generator:
    """Draws operations that fit a book, which it keeps beside."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self.book = PlainBook()
        self._live: list[int] = []
        self._places: dict[int, int] = {}  # of each live order in that list
        self._number = 0
        self._mid = _MID

    def rest(self) -> Operation:
        is_buy = self._random.random() < 0.5
        distance = min(_FARTHEST_TICKS, int(self._random.expovariate(1 / _MEAN_TICKS)))
        price = self._mid + (-distance if is_buy else distance + 1) * TICK
        opposite = self.book.best_price(not is_buy)
        if opposite is not None:
            price = min(price, opposite - TICK) if is_buy else max(price, opposite + TICK)
        operation = self._enter(is_buy, price, self._random.randint(1, _LARGEST))
        self._places[operation.number] = len(self._live)
        self._live.append(operation.number)
        return operation

    def cancel(self) -> Operation:
        number = self._random.choice(self._live)
        self._drop(number)
        self.book.cancel(number)
        return Operation(number, False, False, 0, 0)

    def trade(self, *, makers: int, whole: bool) -> Operation:
        """An order that trades with so many; with the last one in part where not `whole`."""
        is_buy = self._random.random() < 0.5
        taken = self._best_of(is_buy=not is_buy)[:makers]
        quantity = sum(open_quantity for _, open_quantity in taken)
        if not whole:
            quantity -= self._random.randrange(taken[-1][1])
        price = self.book.best_price(not is_buy)
        assert price is not None, "a workload's book never runs dry"
        before = len(self.book.trades)
        operation = self._enter(is_buy, price, quantity)
        trades = self.book.trades[before:]
        for trade, (maker, open_quantity) in zip(trades, taken, strict=True):
            if trade.quantity == open_quantity:
                self._drop(maker)
        return operation

    def mixed(self) -> Operation:
        if self._random.randrange(_STEP_EVERY) == 0:
            self._mid += self._random.choice((-TICK, TICK))
        drawn = self._random.random()
        if drawn < _SHARE_RESTING or len(self._live) < PREFILL // 2:
            return self.rest()
        if drawn < _SHARE_RESTING + _SHARE_CANCELING:
            return self.cancel()
        return self.trade(makers=self._random.randint(1, _MOST_MAKERS), whole=False)

    def _enter(self, is_buy: bool, price: int, quantity: int) -> Operation:
        self._number += 1
        self.book.enter(self._number, is_buy, price, quantity)
        return Operation(self._number, True, is_buy, price, quantity)

    def _best_of(self, *, is_buy: bool) -> list[tuple[int, int]]:
        orders = self.book.best(is_buy)
        assert orders, "a workload's book never runs dry"
        return orders

    def _drop(self, number: int) -> None:
        place = self._places.pop(number)
        last = self._live.pop()
        if last != number:
            self._live[place] = last
            self._places[last] = place


def workloads(operations: int, seed: int) -> list[Workload]:
    """One workload of orders that rest, one of cancels, one of orders that trade, one of all."""
    return [
        _workload("rest", operations, seed, 0),
        _workload("cancel", operations, seed, operations),
        _workload("trade", operations, seed, 2 * operations),
        _workload("mixed", operations, seed, 0),
    ]


def _workload(name: str, operations: int, seed: int, more_prefill: int) -> Workload:
    generator = _Generator(seed)
    draw = {
        "rest": generator.rest,
        "cancel": generator.cancel,
        "trade": lambda: generator.trade(makers=1, whole=True),
        "mixed": generator.mixed,
    }[name]
    prefill = [generator.rest() for _ in range(PREFILL + more_prefill)]
    timed = [draw() for _ in range(operations)]
    book = generator.book
    return Workload(name, prefill, timed, len(book.trades), book.resting())


def client_of(number: int) -> int:
    """The client, from 1, that an operation on this order belongs to."""
    return 1 + number % CLIENTS


def commands(operations: Sequence[Operation]) -> list[Command]:
    """The operations as commands of the market; an order's number is its user_ref_num."""
    return [_command(operation) for operation in operations]


def _command(operation: Operation) -> Command:
    number, enters, is_buy, price, quantity = operation
    if not enters:
        return CancelOrder(client_of(number), number, 0)
    return EnterOrder(
        client_of(number),
        number,
        SYMBOL,
        int(Side.BUY if is_buy else Side.SELL),
        int(OrderType.LIMIT),
        int(TimeInForce.DAY),
        int(PostOnly.NO),
        quantity,
        price,
        0,
        int(Capacity.PRINCIPAL),
        NO_CLIENT_ORDER_ID,
    )
