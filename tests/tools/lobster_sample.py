"""Order flow in LOBSTER's format, made up by a seed, with the truth about its book beside it."""

from random import Random
from typing import NamedTuple

from tools.replay.lobster import EventType

_LEVELS = 10  # of an order book file
_MID = 1_000_000
_TICK = 100


class Sample(NamedTuple):
    """Two files, and what a replay of them has to come to."""

    messages: str
    opening: str
    lines: list[str]  # the best prices after each event
    known: int  # executions of orders that entered in the file
    unknown: int


class _Order:
    def __init__(self, number: int, is_buy: bool, price: int, quantity: int, known: bool) -> None:
        self.number = number
        self.is_buy = is_buy
        self.price = price
        self.quantity = quantity
        self.known = known


class _Maker:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.orders: list[_Order] = []  # live ones, in the order of their arrival
        self.messages: list[str] = []
        self.lines: list[str] = []
        self.executions = {True: 0, False: 0}
        self._number = 0
        for distance in range(1, 6):
            for is_buy in (True, False):
                for _ in range(self.random.randint(1, 3)):
                    self._add(is_buy, distance + 2, known=False)

    def enter(self) -> None:
        is_buy = self.random.random() < 0.5
        order = self._add(is_buy, self.random.randint(0, 8), known=True)
        self._write(EventType.ENTER, order, order.quantity)

    def cancel(self) -> None:
        order = self.random.choice(self.orders)
        if order.quantity > 1 and self.random.random() < 0.3:
            quantity = self.random.randint(1, order.quantity - 1)
            self._take(EventType.REDUCE, order, quantity)
        else:
            self._take(EventType.DELETE, order, order.quantity)

    def execute(self) -> None:
        is_buy = self.random.random() < 0.5
        side = [order for order in self.orders if order.is_buy == is_buy]
        if not side:
            return self.enter()
        best = (max if is_buy else min)(order.price for order in side)
        order = next(order for order in side if order.price == best)
        self.executions[order.known] += 1
        self._take(EventType.EXECUTE, order, self.random.randint(1, order.quantity))

    def execute_hidden(self) -> None:
        hidden = _Order(0, True, _MID + _TICK // 2, 5, known=False)
        self._write(EventType.EXECUTE_HIDDEN, hidden, 5)

    def opening(self) -> str:
        bids, asks = self._levels(is_buy=True), self._levels(is_buy=False)
        bids += [(-9_999_999_999, 0)] * (_LEVELS - len(bids))
        asks += [(9_999_999_999, 0)] * (_LEVELS - len(asks))
        levels = zip(asks[:_LEVELS], bids[:_LEVELS], strict=True)
        return ",".join(f"{ask[0]},{ask[1]},{bid[0]},{bid[1]}" for ask, bid in levels) + "\n"

    def _add(self, is_buy: bool, distance: int, *, known: bool) -> _Order:
        """An order that rests, so far from the middle or as near as the other side lets it."""
        opposite = [order.price for order in self.orders if order.is_buy != is_buy]
        if is_buy:
            price = min(_MID - distance * _TICK, min(opposite, default=2 * _MID) - _TICK)
        else:
            price = max(_MID + distance * _TICK, max(opposite, default=0) + _TICK)
        self._number += self.random.randint(1, 9)
        order = _Order(self._number, is_buy, price, self.random.randint(1, 300), known)
        self.orders.append(order)
        return order

    def _take(self, kind: EventType, order: _Order, quantity: int) -> None:
        order.quantity -= quantity
        if not order.quantity:
            self.orders.remove(order)
        self._write(kind, order, quantity)

    def _write(self, kind: EventType, order: _Order, quantity: int) -> None:
        seconds = f"{34_200 + len(self.messages)}.{self.random.randrange(10**9):09}"
        direction = 1 if order.is_buy else -1
        self.messages.append(
            f"{seconds},{kind.value},{order.number},{quantity},{order.price},{direction}\n"
        )
        bid, ask = self._levels(is_buy=True)[:1], self._levels(is_buy=False)[:1]
        sides = [f"{side[0][0]},{side[0][1]}" if side else "," for side in (bid, ask)]
        self.lines.append(",".join(sides))

    def _levels(self, *, is_buy: bool) -> list[tuple[int, int]]:
        levels: dict[int, int] = {}
        for order in self.orders:
            if order.is_buy == is_buy:
                levels[order.price] = levels.get(order.price, 0) + order.quantity
        return sorted(levels.items(), reverse=is_buy)


def make_sample(seed: int, events: int) -> Sample:
    """So many events; the first one is an order that enters."""
    maker = _Maker(seed)
    maker.enter()
    opening = maker.opening()
    draws = (maker.enter, maker.cancel, maker.execute, maker.execute_hidden)
    while len(maker.messages) < events:
        (draw,) = maker.random.choices(draws, (45, 35, 15, 5))
        (draw if maker.orders else maker.enter)()
    known, unknown = maker.executions[True], maker.executions[False]
    return Sample("".join(maker.messages), opening, maker.lines, known, unknown)
