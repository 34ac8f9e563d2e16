"""How an instrument leaves a market with its orders, and how one comes in from another.

docs/machine.md tells the rules, under "Moves".
"""

from typing import TYPE_CHECKING

from engine.book import Instrument
from engine.checks import is_price, refuse_listing
from engine.orders import Client
from engine.rejects import RejectReason
from engine.restoring import ladder_of, order_of, refuse_place, refuse_terms
from engine.state import instrument_state, order_state
from feed.messages import (
    AdoptInstrument,
    AdoptOrder,
    Event,
    MoveOut,
    OrderState,
    TradingState,
)

if TYPE_CHECKING:
    from engine.market import Market

MAX_MOVES = 2**32 - 1  # what the count of an instrument's moves can hold

_HALTED = int(TradingState.HALTED)
_MOVED = int(TradingState.MOVED)
_ARRIVING = int(TradingState.ARRIVING)


def may_move_out(market: "Market", command: MoveOut) -> bool:
    """Whether it would do or say anything that is not known yet."""
    instrument = market.instruments.get(command.symbol)
    return instrument is None or instrument.state != _MOVED


def may_adopt_instrument(market: "Market", command: AdoptInstrument) -> bool:
    """Whether the symbol is free, be it since the instrument left in an earlier move."""
    known = market.instruments.get(command.symbol)
    return known is None or (known.state == _MOVED and command.moves > known.moves)


def may_adopt_order(market: "Market", command: AdoptOrder) -> bool:
    """Whether it is a later order than those that this very arrival has brought."""
    instrument = market.instruments.get(command.symbol)
    return (
        instrument is not None
        and instrument.state == _ARRIVING
        and command.moves == instrument.moves
        and command.source_sequence > instrument.adopted_sequence
    )


def move_out(market: "Market", command: MoveOut) -> RejectReason | list[Event]:
    """Let an instrument go with all of its orders: why not, or what went."""
    instrument = market.instruments.get(command.symbol)
    if instrument is None:
        return RejectReason.UNKNOWN_SYMBOL
    if instrument.state == _MOVED:
        return RejectReason.MOVED
    if instrument.state != _HALTED:
        return RejectReason.NOT_HALTED
    if instrument.moves == MAX_MOVES:
        return RejectReason.MOVED
    instrument.moves += 1
    events: list[Event] = [instrument_state(instrument)]
    for ladder in instrument.ladders:
        for order in ladder.orders():
            events.append(order_state(order))
            del market.orders[order.number]
            del order.owner.orders[order.user_ref_num]
    gone = Instrument(
        instrument.symbol, instrument.tick_size, instrument.lot_size, instrument.short_sale
    )
    gone.last_price = instrument.last_price
    gone.moves = instrument.moves
    gone.state = _MOVED
    market.instruments[command.symbol] = gone
    return events


def adopt_instrument(market: "Market", command: AdoptInstrument) -> RejectReason | None:
    """Let an instrument arrive, without its orders yet; why not, where it can't."""
    symbol, tick_size, lot_size, short_sale, last_price, moves = command
    is_free = may_adopt_instrument(market, command)
    reason = refuse_listing(symbol, tick_size, lot_size, short_sale, is_free=is_free)
    if reason is not None:
        return reason
    instrument = Instrument(symbol, tick_size, lot_size, short_sale)
    if last_price and not is_price(instrument, last_price):
        return RejectReason.INVALID_PRICE
    instrument.last_price = last_price
    instrument.moves = moves
    instrument.state = _ARRIVING
    market.instruments[symbol] = instrument
    return None


def adopt_order(
    market: "Market", sequence: int, command: AdoptOrder, order_limit: int
) -> RejectReason | None:
    """Let an order stand behind all at its price, under this number; why not, where it can't."""
    if not may_adopt_order(market, command):
        return RejectReason.INVALID_ORDER
    instrument = market.instruments[command.symbol]
    instrument.adopted_sequence = command.source_sequence
    symbol, _, _, number, user_ref_num, *terms = command
    record = OrderState(sequence, number, user_ref_num, symbol, *terms)
    known = market.clients.get(number)
    client = known or Client()
    order = order_of(record, client)
    is_wrong = (
        refuse_terms(instrument, record) is not None
        or refuse_place(instrument, order) is not None
        or user_ref_num in client.orders
        or len(market.orders) >= order_limit
    )
    if is_wrong:
        return RejectReason.INVALID_ORDER
    ladder_of(instrument, order).add(order, order.stop_price or order.price)
    market.clients[number] = client
    client.orders[user_ref_num] = order
    market.orders[sequence] = order
    return None
