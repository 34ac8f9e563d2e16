"""The operations that benchmarks time: seeded, and the same for every machine."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple, TypeAlias

from feed.messages import (
    NO_CLIENT_ORDER_ID,
    CancelOrder,
    Capacity,
    EnterOrder,
    OrderType,
    PostOnly,
    ReplaceOrder,
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
_ORDERS_OF_LEVEL = 100  # that a book of any depth has at one price, on the average
_MEAN_TICKS = 12  # most orders stand near the best price
_LARGEST = 100
_STEP_EVERY = 500  # operations between two steps of the mid
_SHARE_RESTING = 0.55
_SHARE_CANCELING = 0.35  # the others trade
_MOST_MAKERS = 5


ClientCommand: TypeAlias = EnterOrder | ReplaceOrder | CancelOrder


class Operation(NamedTuple):
    """Enter an order, or cancel one; a canceled order's other fields are not used."""

    number: int
    enters: bool
    is_buy: bool
    price: int
    quantity: int


class Workload(NamedTuple):
    """Commands to time on a book that has been filled before, and what must come of them."""

    name: str
    prefill: Sequence[Operation]
    operations: Sequence[Operation]  # what the commands come to in a book that knows no others
    commands: Sequence[ClientCommand]
    trades: int
    resting: Sequence[tuple[int, int]]  # number and open quantity, as `PlainBook.resting`


class Generator:
    """Draws operations that fit a book, which it keeps beside."""

    def __init__(self, seed: int, *, depth: int | None = None) -> None:
        """`depth` is how many orders rest when the operations begin; it is not filled yet."""
        self.book = PlainBook()
        self._random = Random(seed)
        self._fewest = (PREFILL if depth is None else depth) // 2
        self._live: list[int] = []
        self._places: dict[int, int] = {}  # of each live order in that list
        self._number = 0
        self._mid = _MID

    def rest(self) -> Operation:
        """An order that rests near the best price."""
        return self._rest(int(self._random.expovariate(1 / _MEAN_TICKS)), _FARTHEST_TICKS)

    def rest_anywhere(self, depth: int) -> Operation:
        """An order that rests anywhere in a book of this depth, which has levels in proportion."""
        levels = max(1, depth // _ORDERS_OF_LEVEL // 2)  # of a side
        return self._rest(self._random.randrange(levels), levels)

    def cancel(self) -> Operation:
        """A cancel of any live order."""
        number = self._random.choice(self._live)
        self._drop(number)
        self.book.cancel(number)
        return _cancel(number)

    def trade(self, *, makers: int, whole: bool) -> Operation:
        """An order that trades with so many; with the last one in part where not `whole`."""
        is_buy = self._random.random() < 0.5
        taken = self._best_of(is_buy=not is_buy)[:makers]
        quantity = sum(open_quantity for _, open_quantity in taken)
        if not whole:
            quantity -= self._random.randrange(taken[-1][1])
        price = self._best_price(is_buy=not is_buy)
        before = len(self.book.trades)
        operation = self._enter(is_buy, price, quantity)
        trades = self.book.trades[before:]
        for trade, (maker, open_quantity) in zip(trades, taken, strict=True):
            if trade.quantity == open_quantity:
                self._drop(maker)
        return operation

    def replace(self) -> tuple[Operation, Operation]:
        """A cancel of any live order, and an order of its client that rests at another price."""
        original = self._random.choice(self._live)
        is_buy, price = self.book.place(original)
        self._drop(original)
        self.book.cancel(original)
        self._number += (original - self._number - 1) % CLIENTS
        opposite = self._best_price(is_buy=not is_buy)
        away = -TICK if is_buy else TICK
        renewed = opposite + away * self._random.randint(1, _MEAN_TICKS)
        operation = self._enter(
            is_buy, renewed if renewed != price else renewed + away, self._quantity()
        )
        self._add(operation.number)
        return _cancel(original), operation

    def miss(self) -> tuple[Operation, Operation]:
        """An order that finds nothing to trade with, and its cancel."""
        is_buy = self._random.random() < 0.5
        price = self._best_price(is_buy=not is_buy) + (-TICK if is_buy else TICK)
        operation = self._enter(is_buy, price, self._quantity())
        self.book.cancel(operation.number)
        return operation, _cancel(operation.number)

    def mixed(self) -> Operation:
        """55 % orders that rest, 35 % cancels, the others trade; the middle wanders."""
        if self._random.randrange(_STEP_EVERY) == 0:
            self._mid += self._random.choice((-TICK, TICK))
        drawn = self._random.random()
        if drawn < _SHARE_RESTING or len(self._live) < self._fewest:
            return self.rest()
        if drawn < _SHARE_RESTING + _SHARE_CANCELING:
            return self.cancel()
        return self.trade(makers=self._random.randint(1, _MOST_MAKERS), whole=False)

    def cancel_all(self) -> list[Operation]:
        """Cancels of all live orders."""
        return [self.cancel() for _ in range(len(self._live))]

    def _rest(self, distance: int, farthest: int) -> Operation:
        is_buy = self._random.random() < 0.5
        distance = min(farthest, distance)
        price = self._mid + (-distance if is_buy else distance + 1) * TICK
        opposite = self.book.best_price(not is_buy)
        if opposite is not None:
            price = min(price, opposite - TICK) if is_buy else max(price, opposite + TICK)
        operation = self._enter(is_buy, price, self._quantity())
        self._add(operation.number)
        return operation

    def _enter(self, is_buy: bool, price: int, quantity: int) -> Operation:
        self._number += 1
        self.book.enter(self._number, is_buy, price, quantity)
        return Operation(self._number, True, is_buy, price, quantity)

    def _quantity(self) -> int:
        return self._random.randint(1, _LARGEST)

    def _best_of(self, *, is_buy: bool) -> list[tuple[int, int]]:
        orders = self.book.best(is_buy)
        assert orders, "a workload's book never runs dry"
        return orders

    def _best_price(self, *, is_buy: bool) -> int:
        price = self.book.best_price(is_buy)
        assert price is not None, "a workload's book never runs dry"
        return price

    def _add(self, number: int) -> None:
        self._places[number] = len(self._live)
        self._live.append(number)

    def _drop(self, number: int) -> None:
        place = self._places.pop(number)
        last = self._live.pop()
        if last != number:
            self._live[place] = last
            self._places[last] = place


def workloads(operations: int, seed: int) -> list[Workload]:
    """One workload for each kind of command, the last one of several kinds."""
    return [
        _workload("rest", operations, seed, 0),
        _workload("cancel", operations, seed, operations),
        _workload("trade", operations, seed, 2 * operations),
        _workload("replace", operations, seed, 0),
        _workload("immediate-or-cancel", operations, seed, 0),
        _workload("mixed", operations, seed, 0),
    ]


def _workload(name: str, count: int, seed: int, more_prefill: int) -> Workload:
    generator = Generator(seed)
    prefill = [generator.rest() for _ in range(PREFILL + more_prefill)]
    operations: list[Operation] = []
    timed: list[ClientCommand] = []
    for _ in range(count):
        if name == "replace":
            canceled, entered = generator.replace()
            operations += canceled, entered
            timed.append(_replace(canceled.number, entered))
        elif name == "immediate-or-cancel":
            entered, canceled = generator.miss()
            operations += entered, canceled
            timed.append(_enter(entered, TimeInForce.IMMEDIATE_OR_CANCEL))
        else:
            operation = _single(generator, name)
            operations.append(operation)
            timed.append(_command(operation))
    book = generator.book
    return Workload(name, prefill, operations, timed, len(book.trades), book.resting())


def _single(generator: Generator, name: str) -> Operation:
    match name:
        case "rest":
            return generator.rest()
        case "cancel":
            return generator.cancel()
        case "trade":
            return generator.trade(makers=1, whole=True)
    return generator.mixed()


def client_of(number: int) -> int:
    """The client, from 1, that an operation on this order belongs to."""
    return 1 + number % CLIENTS


def commands(operations: Sequence[Operation]) -> list[ClientCommand]:
    """The operations as commands of the market; an order's number is its user_ref_num."""
    return [_command(operation) for operation in operations]


def _cancel(number: int) -> Operation:
    return Operation(number, False, False, 0, 0)


def _command(operation: Operation) -> ClientCommand:
    if not operation.enters:
        return CancelOrder(client_of(operation.number), operation.number, 0)
    return _enter(operation, TimeInForce.DAY)


def _enter(operation: Operation, time_in_force: TimeInForce) -> ClientCommand:
    number, _, is_buy, price, quantity = operation
    return EnterOrder(
        client_of(number),
        number,
        SYMBOL,
        int(Side.BUY if is_buy else Side.SELL),
        int(OrderType.LIMIT),
        int(time_in_force),
        int(PostOnly.NO),
        quantity,
        price,
        0,
        int(Capacity.PRINCIPAL),
        NO_CLIENT_ORDER_ID,
    )


def _replace(original: int, renewed: Operation) -> ClientCommand:
    number, _, _, price, quantity = renewed
    client = client_of(number)
    assert client == client_of(original)
    day = int(TimeInForce.DAY)
    return ReplaceOrder(client, original, number, quantity, price, 0, day, NO_CLIENT_ORDER_ID)
