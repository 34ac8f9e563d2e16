"""A move of a symbol from one shard to another: what is done, step by step, and done again.

Each step looks first at what stands in the two lists by now, so that a move that was interrupted
goes on where it was, whoever died: the source's primary, the destination's, or whoever moves. What
is looked at is committed, so that no takeover can take it back. The machine's rules see to it that
no step takes effect twice.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from feed.messages import AdoptOrder, InstrumentState, TradingState
from feed.subscriber import Group
from tools.console import CommandError
from tools.move_groups import ArrivedOrder, Departure, read_departure

# So many orders in one request: a line of some 25,000 characters, of the 65,536 that there may be.
BATCH_ORDERS = 200
# More than any sound move takes, with some takeovers in between.
_MOST_LOOKS = 50
# After a primary was lost with a departure. One of very many orders is a long group, over which a
# busy machine may seem dead to the others: it gets another try when they have calmed down.
CALM_S = 0.5
_TOLD = 5  # of the orders that did not arrive; the lists have them all

_HALTED, _MOVED = TradingState.HALTED.name, TradingState.MOVED.name
_ARRIVING = TradingState.ARRIVING.name


class Instrument(NamedTuple):
    """An instrument as a shard's list has it."""

    symbol: str
    state: str  # the name of a TradingState
    moves: int  # from shard to shard
    orders: int  # live ones


class MovingShard(Protocol):
    """One of the two shards, as a move uses it."""

    @property
    def shard(self) -> int: ...

    async def instrument(self, symbol: str) -> Instrument | None:
        """The instrument, as what is committed has it; None where there is none."""
        ...

    async def commit(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """Ask the primary for something, and wait until what it did is committed; its answer.

        None when that is not known, since another primary came. Raises CommandError when it is
        refused.
        """
        ...

    async def departure(self, symbol: str, moves: int) -> Group | None:
        """The group in which the instrument left in that move; None when nobody holds it."""
        ...

    async def arrived(self, symbol: str, moves: int) -> list[ArrivedOrder]:
        """The orders that have arrived so far in that move."""
        ...


class Moved(NamedTuple):
    """What has come over."""

    symbol: str
    source: int
    destination: int
    orders: int
    quantity: int
    moves: int


async def move_symbol(symbol: str, source: MovingShard, destination: MovingShard) -> Moved:
    """Bring a halted symbol with its orders from one shard to another; it stays halted there.

    Raises CommandError when a shard does not let it go or come, and when orders did not arrive as
    they were.
    """
    moves = await _let_go(symbol, source, destination.shard)
    group = await source.departure(symbol, moves)
    if group is None:
        raise CommandError(
            f"nobody in shard {source.shard} holds the frames any more in which {symbol} left it"
        )
    departure = read_departure(group, symbol, moves)
    await _bring_in(symbol, departure, destination)
    _require_equal(departure, await destination.arrived(symbol, moves), destination.shard)
    quantity = sum(order.leaves for order in departure.orders)
    orders = len(departure.orders)
    return Moved(symbol, source.shard, destination.shard, orders, quantity, moves)


def refuse_to_go(symbol: str, known: Instrument | None, shard: int) -> str | None:
    """Why a symbol can't leave a shard; None when it can, or has."""
    if known is None:
        return f"{symbol} is not listed in shard {shard}"
    if known.state == _ARRIVING:
        return f"{symbol} is still arriving in shard {shard}: finish that move first"
    if known.state not in (_HALTED, _MOVED):
        return f"{symbol} trades in shard {shard}: halt it first, with lockstep halt {symbol}"
    return None


async def _let_go(symbol: str, source: MovingShard, to: int) -> int:
    """Let it leave the source, if it has not yet; how often it has moved by then."""
    for _ in range(_MOST_LOOKS):
        known = await source.instrument(symbol)
        refusal = refuse_to_go(symbol, known, source.shard)
        if refusal is not None or known is None:
            raise CommandError(str(refusal))
        if known.state == _MOVED:
            return known.moves
        request = {"request": "move-out", "symbol": symbol, "shard": to}
        if await source.commit(request) is None:
            await asyncio.sleep(CALM_S)
    raise CommandError(f"shard {source.shard} does not let {symbol} go")


async def _bring_in(symbol: str, departure: Departure, destination: MovingShard) -> None:
    """Let all that left arrive, as far as it has not yet; it is halted then."""
    moves = departure.instrument.moves
    for _ in range(_MOST_LOOKS):
        known = await destination.instrument(symbol)
        has_gone = known is not None and known.state == _MOVED and known.moves < moves
        if known is None or has_gone:
            await destination.commit(_adopt_instrument(symbol, departure.instrument))
        elif known.moves != moves:
            raise CommandError(
                f"shard {destination.shard} has a {symbol} of its own ({known.state}): no other "
                "one can come"
            )
        elif known.state == _ARRIVING:
            arrived = await destination.arrived(symbol, moves)
            last = max((order.source_sequence for order, _ in arrived), default=0)
            left = [order for order in departure.orders if order.source_sequence > last]
            if left:
                await _bring_orders(symbol, left, destination)
            else:
                await destination.commit({"request": "halt", "symbol": symbol})
        else:
            return
    raise CommandError(f"shard {destination.shard} does not take {symbol} in")


async def _bring_orders(
    symbol: str, orders: Sequence[AdoptOrder], destination: MovingShard
) -> None:
    """Let these orders arrive, as far as one primary leads.

    Each batch waits for the one before: were that one lost with its primary, the machine would
    take the later orders and refuse the earlier ones for ever.
    """
    for begin in range(0, len(orders), BATCH_ORDERS):
        batch = orders[begin : begin + BATCH_ORDERS]
        if await destination.commit(_adopt_orders(symbol, batch)) is None:
            return


def _adopt_instrument(symbol: str, state: InstrumentState) -> dict[str, Any]:
    return {
        "request": "adopt-instrument",
        "symbol": symbol,
        "tick_size": state.tick_size,
        "lot_size": state.lot_size,
        "short_sale": state.short_sale,
        "last_price": state.last_price,
        "moves": state.moves,
    }


def _adopt_orders(symbol: str, orders: Sequence[AdoptOrder]) -> dict[str, Any]:
    return {
        "request": "adopt-orders",
        "symbol": symbol,
        "moves": orders[0].moves,
        "orders": [order[2:] for order in orders],
    }


def _require_equal(departure: Departure, arrived: Sequence[ArrivedOrder], shard: int) -> None:
    """Raise CommandError unless each order came over, once, as it was, and in its place.

    What its client has canceled since stands in the list after that, and is right.
    """
    taken = [order for order, is_taken in arrived if is_taken]
    if taken == list(departure.orders):
        return
    lost = [order for order in departure.orders if order not in set(taken)]
    told = ", ".join(f"{each.user_ref_num} of client {each.client}" for each in lost[:_TOLD])
    raise CommandError(
        f"of {len(departure.orders)} orders, {len(lost)} did not arrive in shard {shard} as they "
        f"were: {told or 'but others did'}"
    )
