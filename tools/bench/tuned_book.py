"""The fastest book of plain Python that we know: the yardstick of the neutral workload.

As `tools.bench.plain_book`, which is easier to read, but it walks a level once for all the orders
that are filled there, and looks each thing up once.
"""

from heapq import heappop, heappush

_Level = dict[int, list[int]]  # by number, in the order of arrival: the open quantity


class TunedBook:
    """Price-time priority over heaps of prices and a dict of orders a level.

    Prices are kept negated for bids, so that the best is the lowest on both sides. A level that has
    been emptied leaves its price in the heap until it comes to the top.
    """

    __slots__ = ("_heaps", "_levels", "_places", "trades")

    def __init__(self) -> None:
        self.trades: list[tuple[int, int, int, int]] = []  # taker, maker, price and quantity
        self._heaps: tuple[list[int], list[int]] = ([], [])  # of keys: bids, asks
        self._levels: tuple[dict[int, _Level], dict[int, _Level]] = ({}, {})
        self._places: dict[int, tuple[_Level, list[int], int, int]] = {}  # of the live orders

    def enter(self, number: int, side: int, price: int, quantity: int) -> None:
        """Let an order trade, and what is left of it rest; a buy has side 0, a sell 1."""
        heap = self._heaps[1 - side]
        limit = -price if side else price
        while heap and heap[0] <= limit:
            key = heap[0]
            level = self._levels[1 - side].get(key)
            if level is None:
                heappop(heap)
                continue
            quantity = self._trade(number, level, abs(key), quantity)
            if not level:
                del self._levels[1 - side][key]
                heappop(heap)
            if not quantity:
                return
        key = price if side else -price
        level = self._levels[side].get(key)
        if level is None:
            level = self._levels[side][key] = {}
            heappush(self._heaps[side], key)
        leaves = level[number] = [quantity]
        self._places[number] = level, leaves, side, key

    def cancel(self, number: int) -> None:
        """Take a live order off the book."""
        level, _, side, key = self._places.pop(number)
        del level[number]
        if not level:
            del self._levels[side][key]

    def resting(self) -> tuple[int, int]:
        """How many orders rest, and what they have open all together."""
        return len(self._places), sum(leaves[0] for _, leaves, _, _ in self._places.values())

    def _trade(self, taker: int, level: _Level, price: int, quantity: int) -> int:
        """Trade with one level, whose filled orders leave it; the quantity that is left."""
        append = self.trades.append
        filled = []
        for maker, leaves in level.items():
            open_quantity = leaves[0]
            if open_quantity > quantity:
                leaves[0] = open_quantity - quantity
                append((taker, maker, price, quantity))
                quantity = 0
                break
            append((taker, maker, price, open_quantity))
            filled.append(maker)
            quantity -= open_quantity
            if not quantity:
                break
        for maker in filled:
            del level[maker], self._places[maker]
        return quantity
