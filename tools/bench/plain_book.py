"""A minimal book in plain Python: the yardstick that benchmarks run beside the real machine.

It has one instrument and limit orders alone: no clients, no checks, no frames. What it costs shows
how fast this computer and this Python are, so that a ratio to it means the same on another one.
"""

from heapq import heappop, heappush
from typing import NamedTuple


class PlainTrade(NamedTuple):
    """A trade: the taker, the maker, the maker's price and the quantity."""

    taker: int
    maker: int
    price: int
    quantity: int


class PlainBook:
    """Price-time priority over heaps of prices and a dict of orders a level.

    Prices are kept negated for bids, so that the best is the lowest on both sides. A level that has
    been emptied leaves its price in the heap until it comes to the top.
    """

    def __init__(self) -> None:
        self.trades: list[PlainTrade] = []
        self._heaps: tuple[list[int], list[int]] = ([], [])
        self._levels: tuple[dict[int, dict[int, int]], dict[int, dict[int, int]]] = ({}, {})
        self._places: dict[int, tuple[int, int]] = {}  # side and key of the live orders

    def enter(self, number: int, is_buy: bool, price: int, quantity: int) -> None:
        """Let an order trade, and what is left of it rest."""
        side = 0 if is_buy else 1
        limit = price if is_buy else -price  # as a key of the other side
        while quantity:
            key = self._best_key(1 - side)
            if key is None or key > limit:
                break
            level = self._levels[1 - side][key]
            maker, open_quantity = next(iter(level.items()))
            traded = min(quantity, open_quantity)
            quantity -= traded
            self.trades.append(PlainTrade(number, maker, abs(key), traded))
            if traded == open_quantity:
                self.cancel(maker)
            else:
                level[maker] = open_quantity - traded
        if quantity:
            key = -price if is_buy else price
            rested = self._levels[side].get(key)
            if rested is None:
                rested = self._levels[side][key] = {}
                heappush(self._heaps[side], key)
            rested[number] = quantity
            self._places[number] = side, key

    def cancel(self, number: int) -> None:
        """Take a live order off the book."""
        side, key = self._places.pop(number)
        level = self._levels[side][key]
        del level[number]
        if not level:
            del self._levels[side][key]

    def best(self, is_buy: bool) -> list[tuple[int, int]]:
        """Number and open quantity of the orders at the best price of a side, first come first."""
        side = 0 if is_buy else 1
        key = self._best_key(side)
        return [] if key is None else list(self._levels[side][key].items())

    def best_price(self, is_buy: bool) -> int | None:
        """The best price of a side."""
        key = self._best_key(0 if is_buy else 1)
        return None if key is None else abs(key)

    def place(self, number: int) -> tuple[bool, int]:
        """Whether a live order buys, and its price."""
        side, key = self._places[number]
        return side == 0, abs(key)

    def resting(self) -> list[tuple[int, int]]:
        """Number and open quantity of all orders: bids and then asks, first to trade first."""
        return [
            order
            for levels in self._levels
            for _, level in sorted(levels.items())
            for order in level.items()
        ]

    def _best_key(self, side: int) -> int | None:
        heap, levels = self._heaps[side], self._levels[side]
        while heap and heap[0] not in levels:
            heappop(heap)
        return heap[0] if heap else None
