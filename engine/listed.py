"""What an operator is told of each instrument of a market."""

from typing import NamedTuple


class ListedInstrument(NamedTuple):
    """An instrument that a market knows, even if it is in another shard by now."""

    symbol: bytes
    state: int  # a TradingState
    moves: int  # from shard to shard
    orders: int  # the live ones, in the book and beside it
